//! Call data of the permission contract.

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};

use super::{Change, Mode, Rights, Role, Until};
use crate::{PublicKey, system::validators::name_word};

/// Kinds of proposals.
pub mod kind {
    /// A node is admitted, or its entry changed.
    pub const SET_NODE: u8 = 1;
    /// A node is removed; a removed one is forgotten.
    pub const REMOVE_NODE: u8 = 2;
    /// An organisation is listed, or its entry changed.
    pub const SET_ORGANISATION: u8 = 3;
    /// An account is listed, or its rule changed.
    pub const SET_ACCOUNT: u8 = 4;
    /// An account is taken off the list.
    pub const REMOVE_ACCOUNT: u8 = 5;
    /// An account may call one contract, or may no more.
    pub const SET_CALL: u8 = 6;
    /// How accounts are judged.
    pub const SET_MODE: u8 = 7;
}

/// Signatures of the functions called from here.
pub const SIGNATURES: [&str; 3] =
    ["propose(uint8,bytes32,uint256,bytes32,bytes32,bytes32)", "approve(uint256)", "withdraw(uint256)"];

/// Signature of the event that names a new proposal.
pub const PROPOSED: &str = "Proposed(uint256,address,uint8,bytes32)";

fn encode(signature: &str, words: &[B256]) -> Bytes {
    let mut data = keccak256(signature)[..4].to_vec();
    words.iter().for_each(|w| data.extend_from_slice(&w.0));
    data.into()
}

/// Proposes a change.
#[must_use]
pub fn propose(change: &Change) -> Bytes {
    let Change { kind, subject, a, b, c, d } = change;
    encode(SIGNATURES[0], &[U256::from(*kind).into(), *subject, (*a).into(), *b, *c, *d])
}

/// Approves a proposal.
#[must_use]
pub fn approve(id: u64) -> Bytes {
    encode(SIGNATURES[1], &[U256::from(id).into()])
}

/// Takes a proposal back.
#[must_use]
pub fn withdraw(id: u64) -> Bytes {
    encode(SIGNATURES[2], &[U256::from(id).into()])
}

impl Change {
    fn new(kind: u8, subject: B256, a: U256, b: Option<B256>) -> Self {
        Self { kind, subject, a, b: b.unwrap_or_default(), c: B256::ZERO, d: B256::ZERO }
    }

    /// Admits a node. `validator` is the consensus key it speaks for, if its role is validator.
    #[must_use]
    pub fn set_node(
        key: &PublicKey,
        role: Role,
        until: Until,
        organisation: Option<B256>,
        validator: Option<&PublicKey>,
        name: &str,
    ) -> Self {
        let change = Self::new(kind::SET_NODE, key.0.into(), until.pack(role as u8, 0), organisation);
        Self { c: validator.map_or(B256::ZERO, |v| v.0.into()), d: name_word(name), ..change }
    }

    /// Removes a node; forgets a removed one.
    #[must_use]
    pub fn remove_node(key: &PublicKey) -> Self {
        Self::new(kind::REMOVE_NODE, key.0.into(), U256::ZERO, None)
    }

    /// Lists an organisation, or changes its entry.
    #[must_use]
    pub fn set_organisation(name: &str, suspended: bool, until: Until) -> Self {
        Self::new(kind::SET_ORGANISATION, name_word(name), until.pack(1 + u8::from(suspended), 0), None)
    }

    /// Lists an account, or changes its rule.
    #[must_use]
    pub fn set_account(
        account: Address,
        rights: Rights,
        blocked: bool,
        until: Until,
        organisation: Option<B256>,
    ) -> Self {
        let flags = if blocked { 3 } else { 1 };
        Self::new(kind::SET_ACCOUNT, account.into_word(), until.pack(rights.0, flags), organisation)
    }

    /// Takes an account off the list.
    #[must_use]
    pub fn remove_account(account: Address) -> Self {
        Self::new(kind::REMOVE_ACCOUNT, account.into_word(), U256::ZERO, None)
    }

    /// Lets an account call one contract, or no more.
    #[must_use]
    pub fn set_call(account: Address, contract: Address, may: bool) -> Self {
        Self::new(kind::SET_CALL, account.into_word(), U256::from(u8::from(may)), Some(contract.into_word()))
    }

    /// Chooses how accounts are judged.
    #[must_use]
    pub fn set_mode(mode: Mode) -> Self {
        Self::new(kind::SET_MODE, B256::ZERO, U256::from(mode as u8), None)
    }
}
