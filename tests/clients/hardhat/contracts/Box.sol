// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {OwnableUpgradeable} from "@openzeppelin/contracts-upgradeable/access/OwnableUpgradeable.sol";
import {Initializable} from "@openzeppelin/contracts/proxy/utils/Initializable.sol";
import {UUPSUpgradeable} from "@openzeppelin/contracts/proxy/utils/UUPSUpgradeable.sol";

/// Behind a transparent proxy.
contract Box is Initializable {
    uint256 public value;

    function initialize(uint256 value_) external initializer {
        value = value_;
    }
}

contract BoxV2 is Box {
    function increment() external {
        value++;
    }
}

/// Cannot follow Box: its storage is laid out otherwise.
contract BoxBroken is Initializable {
    address public owner;
    uint256 public value;
}

/// Upgrades itself, when its owner says so.
contract Safe is Initializable, OwnableUpgradeable, UUPSUpgradeable {
    uint256 public value;

    function initialize(address owner) external initializer {
        __Ownable_init(owner);
        value = 1;
    }

    function _authorizeUpgrade(address) internal override onlyOwner {}
}

/// @custom:oz-upgrades-unsafe-allow missing-initializer
contract SafeV2 is Safe {
    function version() external pure returns (string memory) {
        return "2";
    }
}
