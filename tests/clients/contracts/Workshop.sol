// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// Lives and dies in one constructor, or refuses to live.
contract Mayfly {
    constructor(uint256 kind, address payable heir) payable {
        if (kind % 4 == 0) revert("not today");
        if (kind % 4 == 1) selfdestruct(heir);
        if (kind % 4 == 2) assembly { return(0, 24577) } // one byte more than EIP-170 allows
        if (kind % 4 == 3) assembly { mstore8(0, 0xef) return(0, 1) } // EIP-3541
    }
}

/// The rarer things an EVM does: delegate calls, transient storage, logs of all sizes, code of others, precompiles.
/// Its storage begins as Machine's does, so that each can run the other's code.
contract Workshop {
    mapping(uint256 => uint256) public slots;
    uint256[] public list;
    address public child;
    uint256 public steps;
    uint256 transient flash;

    receive() external payable {}

    /// Any kind of call to anyone; what came back goes to storage.
    function probe(uint256 kind, address to, uint256 value, uint256 gas_, bytes calldata data) external payable {
        bool ok;
        bytes memory out;
        if (kind % 3 == 0) (ok, out) = to.call{value: value, gas: gas_}(data);
        if (kind % 3 == 1) (ok, out) = to.staticcall{gas: gas_}(data);
        if (kind % 3 == 2) (ok, out) = to.delegatecall{gas: gas_}(data);
        slots[100 + kind % 3] = uint256(keccak256(abi.encode(ok, out)));
    }

    /// The deprecated kin of delegatecall, and return data that is cut off.
    function callcode(address to, bytes memory data, uint256 room) external {
        assembly {
            let ok := callcode(gas(), to, 0, add(data, 32), mload(data), 0x80, mod(room, 96))
            sstore(200, add(ok, mul(returndatasize(), 2)))
            log1(0x80, mod(room, 96), ok)
        }
    }

    function logs(uint256 topics, uint256 size) external {
        assembly {
            let p := mload(0x40)
            for { let i := 0 } lt(i, size) { i := add(i, 32) } { mstore(add(p, i), xor(i, size)) }
            switch mod(topics, 5)
            case 0 { log0(p, size) }
            case 1 { log1(p, size, size) }
            case 2 { log2(p, size, size, 2) }
            case 3 { log3(p, size, size, 2, 3) }
            default { log4(p, size, size, 2, 3, 4) }
        }
    }

    /// Transient storage lasts through calls into oneself and not beyond.
    function flicker(uint256 value) external returns (uint256) {
        slots[300] = flash;
        flash += value;
        if (value > 0) this.flicker(value - 1);
        slots[301 + value] = flash;
        return flash;
    }

    function copies(address of_, uint256 from, uint256 size) external returns (bytes32 h) {
        assembly {
            let p := mload(0x40)
            extcodecopy(of_, p, from, size)
            mcopy(add(p, 7), p, size)
            h := xor(keccak256(p, add(size, 7)), extcodehash(of_))
            sstore(400, h)
            sstore(401, extcodesize(of_))
        }
    }

    function mayfly(uint256 kind, address payable heir, bool again) external payable {
        bytes memory code = abi.encodePacked(type(Mayfly).creationCode, abi.encode(kind, heir));
        address made;
        uint256 value = msg.value;
        assembly {
            made := create2(value, add(code, 32), mload(code), kind)
            if again { made := create(0, add(code, 32), mload(code)) }
            sstore(500, made)
            sstore(501, returndatasize())
        }
    }

    /// Writes a slot back and forth: refunds up to their cap (EIP-3529).
    function refunds(uint256 count) external {
        for (uint256 i; i < count; i++) slots[600 + i] = slots[600 + i] == 0 ? 1 : 0;
    }

    /// Calls itself until the 63/64 that are passed on do not suffice.
    function dig(uint256 depth) external returns (uint256) {
        if (gasleft() < 40_000 || depth == 0) return gasleft();
        try this.dig(depth - 1) returns (uint256 left) {
            steps = left;
            return left;
        } catch {
            steps = depth;
            return depth;
        }
    }

    /// Fails after having done much, with return data of any size.
    function fail(uint256 size) external {
        slots[700]++;
        emit Failing(size);
        assembly { revert(0, size) }
    }

    event Failing(uint256 indexed size);
}
