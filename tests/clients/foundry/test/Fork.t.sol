// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Counter, Tally} from "../src/Counter.sol";
import {vm} from "../src/Vm.sol";

/// Runs on a copy of the network's state, taken through RPC as it is needed.
contract ForkTest {
    bool public constant IS_TEST = true;

    event Counted(address indexed by, uint256 number);

    Counter counter = Counter(vm.envAddress("COUNTER"));

    function testTheForkIsTheNetwork() external view {
        require(block.chainid == 31337, "chain id");
        require(counter.number() == 34, "state");
        require(address(counter).balance == 3, "balance");
        require(0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266.balance > 1000 ether, "funded account");
    }

    function testWhatIsDoneOnTheForkStaysThere() external {
        address someone = address(0xbeef);
        vm.deal(someone, 1 ether);
        vm.prank(someone);
        vm.expectEmit(true, false, false, true, address(counter));
        emit Counted(someone, 44);
        counter.add{value: 1 ether}(10);
        require(counter.number() == 44 && address(counter).balance == 1 ether + 3, "not counted");
    }

    function testRevertsCarryTheirError() external {
        vm.expectRevert(abi.encodeWithSelector(Counter.TooMuch.selector, 101));
        counter.add(101);
    }

    function testAnOlderBlockHasItsOlderState() external {
        vm.createSelectFork(vm.envString("NETWORK_URL"), vm.envUint("DEPLOYED_AT"));
        require(block.number == vm.envUint("DEPLOYED_AT"), "block number");
        require(counter.number() == 7, "the state of that block");
        vm.rollFork(vm.envUint("DEPLOYED_AT") - 1);
        require(address(counter).code.length == 0, "before it was deployed");
    }

    function testFuzzOnTheFork(uint8 n) external {
        uint256 amount = n % 101;
        counter.add(amount);
        require(counter.number() == 34 + amount, "fuzz");
    }
}
