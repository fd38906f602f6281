// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.20;

/// Every caller writes the same slot, so no two calls can run at the same time: the worst case of parallel execution.
contract Contended {
    uint256 public total;

    event Added(address indexed by, uint256 total);

    function add() external {
        total += 1;
        emit Added(msg.sender, total);
    }
}
