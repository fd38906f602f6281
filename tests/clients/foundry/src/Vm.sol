// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// The cheat codes that these tests use; forge-std, which has all, is no package of npm.
interface Vm {
    function startBroadcast() external;
    function stopBroadcast() external;
    function createSelectFork(string calldata url) external returns (uint256);
    function createSelectFork(string calldata url, uint256 number) external returns (uint256);
    function rollFork(uint256 number) external;
    function envString(string calldata name) external view returns (string memory);
    function envAddress(string calldata name) external view returns (address);
    function envUint(string calldata name) external view returns (uint256);
    function prank(address sender) external;
    function deal(address who, uint256 balance) external;
    function expectRevert(bytes calldata data) external;
    function expectEmit(bool a, bool b, bool c, bool data, address emitter) external;
}

Vm constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
