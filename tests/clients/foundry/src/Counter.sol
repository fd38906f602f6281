// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

contract Counter {
    uint256 public number;

    event Counted(address indexed by, uint256 number);
    error TooMuch(uint256 number);

    constructor(uint256 number_) {
        number = number_;
    }

    function add(uint256 n) external payable {
        if (n > 100) revert TooMuch(n);
        number += n;
        emit Counted(msg.sender, number);
    }
}

/// Made by a counter's user through CREATE2, so that its address is known beforehand.
contract Tally {
    Counter public immutable counter;

    constructor(Counter counter_) {
        counter = counter_;
    }

    function twice(uint256 n) external {
        counter.add(n);
        counter.add(n);
    }
}
