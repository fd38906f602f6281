// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

/// What a machine makes of its own; by CREATE2, so the second with the same seed is refused.
contract Child {
    uint256 public immutable seed;
    uint256 public stored;

    constructor(uint256 seed_) payable {
        seed = seed_;
        stored = seed_ + 1;
    }
}

/// Does many kinds of things, each chosen by the caller: what two EVMs are compared on.
contract Machine {
    event Did(address indexed who, bytes32 indexed what, uint256 value);
    error Unlucky(uint256 number);

    mapping(uint256 => uint256) public slots;
    uint256[] public list;
    address public child;
    uint256 public steps;

    constructor(uint256 first) payable {
        list.push(first);
    }

    receive() external payable {
        emit Did(msg.sender, "receive", msg.value);
    }

    function store(uint256 slot, uint256 value) external payable {
        steps++;
        slots[slot] = value;
        emit Did(msg.sender, "store", value);
    }

    function grow(uint256 count) external {
        for (uint256 i; i < count; i++) list.push(uint256(keccak256(abi.encode(i, list.length))));
    }

    function shrink() external {
        while (list.length > 1) list.pop();
    }

    function breed(uint256 seed) external payable returns (address) {
        child = address(new Child{value: msg.value, salt: keccak256(abi.encode(seed))}(seed));
        emit Did(child, "breed", seed);
        return child;
    }

    function unlucky(uint256 number) public pure {
        if (number % 3 == 0) revert Unlucky(number);
        if (number % 3 == 1) revert("just unlucky");
        assert(false);
    }

    /// A failure that is caught costs what was done in it, and nothing else.
    function dare(uint256 number) external {
        steps += 2;
        try this.risk(number) {
            slots[number] = 1;
        } catch (bytes memory why) {
            slots[number] = why.length;
            emit Did(address(this), keccak256(why), number);
        }
    }

    function risk(uint256 number) external {
        slots[number + 1] = number;
        if (number % 2 == 0) unlucky(number);
    }

    function pay(address payable to, uint256 value) external {
        (bool ok,) = to.call{value: value, gas: 30_000}("");
        emit Did(to, ok ? bytes32("paid") : bytes32("refused"), value);
    }

    function descend(uint256 depth) external returns (uint256) {
        steps++;
        return depth == 0 ? steps : this.descend(depth - 1);
    }

    function hashes(bytes calldata data) external returns (bytes32 h) {
        h = sha256(data) ^ keccak256(data) ^ bytes32(bytes20(ripemd160(data)));
        (bool ok, bytes memory out) = address(4).staticcall(data);
        require(ok && out.length == data.length);
        slots[uint256(h) % 7] = uint256(h);
    }

    function burn(uint256 rounds) external pure returns (uint256 x) {
        for (uint256 i; i < rounds; i++) x = addmod(x * 31, i, type(uint128).max);
        if (rounds % 5 == 4) assembly { invalid() }
    }

    function end(address payable heir) external {
        selfdestruct(heir);
    }
}
