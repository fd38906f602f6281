//! What execution hands to storage: accounts, changes and trie nodes, as plain data, so that neither knows the other.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256};

/// An account without its storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Transactions sent (and contracts made).
    pub nonce: u64,
    /// Wei.
    pub balance: U256,
    /// Keccak-256 of the code; of nothing for a plain account.
    pub code_hash: B256,
}

impl Default for Account {
    fn default() -> Self {
        Self { nonce: 0, balance: U256::ZERO, code_hash: KECCAK256_EMPTY }
    }
}

/// Changes of one account's storage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StorageChanges {
    /// Everything stored before is gone (the contract destroyed itself); `slots` come after.
    pub wiped: bool,
    /// New values; zero deletes the slot.
    pub slots: BTreeMap<U256, U256>,
}

/// What a block changed, against the state before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateChanges {
    /// New values of accounts; `None` deletes the account and its storage.
    pub accounts: BTreeMap<Address, Option<Account>>,
    /// Storage changes by account. An account whose storage changed is also in `accounts`.
    pub storage: BTreeMap<Address, StorageChanges>,
    /// New contract code by hash.
    pub code: BTreeMap<B256, Bytes>,
    /// What the changed accounts and slots were before, where whoever made the changes knows it.
    pub before: Option<StateBefore>,
}

/// What accounts and slots were before a block changed them, in the order in which [`StateChanges`] names them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateBefore {
    /// One for each of [`StateChanges::accounts`].
    pub accounts: Vec<Option<Account>>,
    /// One for each slot of each account in [`StateChanges::storage`] that is not wiped.
    pub slots: Vec<U256>,
}

/// Where a trie node hangs: in the account trie, or in the storage trie of an account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrieKey {
    /// `None`: account trie. `Some(keccak(address))`: that account's storage trie.
    pub account: Option<B256>,
    /// Nibbles from the root, one per byte.
    pub path: Vec<u8>,
}

/// Trie nodes to write; `None` deletes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrieUpdates {
    /// Node encodings by place.
    pub nodes: BTreeMap<TrieKey, Option<Bytes>>,
}
