// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ERC20Votes} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Votes.sol";
import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {ERC721URIStorage} from "@openzeppelin/contracts/token/ERC721/extensions/ERC721URIStorage.sol";
import {ERC1155} from "@openzeppelin/contracts/token/ERC1155/ERC1155.sol";
import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";

/// A token that is paid with, signed for (EIP-2612) and voted with; minted by who has the role.
contract Coin is ERC20, ERC20Permit, ERC20Votes, AccessControl {
    bytes32 public constant MINTER = keccak256("MINTER");

    constructor(address admin) ERC20("Coin", "COIN") ERC20Permit("Coin") {
        _grantRole(DEFAULT_ADMIN_ROLE, admin);
    }

    function mint(address to, uint256 amount) external onlyRole(MINTER) {
        _mint(to, amount);
    }

    function _update(address from, address to, uint256 value) internal override(ERC20, ERC20Votes) {
        super._update(from, to, value);
    }

    function nonces(address owner) public view override(ERC20Permit, Nonces) returns (uint256) {
        return super.nonces(owner);
    }
}

contract Deed is ERC721URIStorage {
    uint256 public next;

    constructor() ERC721("Deed", "DEED") {}

    function mint(address to, string calldata uri) external returns (uint256 id) {
        id = next++;
        _safeMint(to, id);
        _setTokenURI(id, uri);
    }
}

contract Goods is ERC1155 {
    constructor() ERC1155("https://goods.example/{id}.json") {
        uint256[] memory ids = new uint256[](2);
        uint256[] memory amounts = new uint256[](2);
        (ids[0], ids[1], amounts[0], amounts[1]) = (1, 2, 100, 50);
        _mintBatch(msg.sender, ids, amounts, "");
    }
}
