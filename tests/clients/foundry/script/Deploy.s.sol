// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Counter, Tally} from "../src/Counter.sol";
import {vm} from "../src/Vm.sol";

/// Deploys a counter and a tally, and uses both: five transactions that forge simulates first and then sends.
contract Deploy {
    bool public constant IS_SCRIPT = true;

    function run() external returns (Counter counter, Tally tally) {
        vm.startBroadcast();
        counter = new Counter(7);
        tally = new Tally(counter);
        counter.add{value: 3}(5);
        tally.twice(10);
        tally.twice(1);
        vm.stopBroadcast();
        require(counter.number() == 34, "counted wrong");
    }
}
