// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.20;

/// What the client tests deploy: storage, events with indexed fields, a payable method, and failures of each kind.
contract Ledger {
    error NotEnough(uint256 asked, uint256 held);

    event Noted(address indexed by, bytes32 indexed key, uint256 value);

    address public immutable owner = msg.sender;
    mapping(bytes32 => uint256) public notes;
    uint256 public count;

    constructor(uint256 start) {
        count = start;
    }

    function note(bytes32 key, uint256 value) external returns (uint256) {
        notes[key] = value;
        count += 1;
        emit Noted(msg.sender, key, value);
        return count;
    }

    function deposit() external payable {}

    function withdraw(uint256 amount) external {
        if (amount > address(this).balance) revert NotEnough(amount, address(this).balance);
        payable(msg.sender).transfer(amount);
    }

    function refuse() external pure {
        require(false, "refused on purpose");
    }

    function overflow(uint256 value) external pure returns (uint256) {
        return value + type(uint256).max;
    }
}
