//! State held in memory: for tests, simulators and the making of genesis.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, Bytes, U256};
use basalt_primitives::state::{Account, StateChanges, TrieKey, TrieUpdates};

use crate::ports::{StateError, StateReader, TrieReader};

/// Flat state and trie nodes in maps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryState {
    accounts: BTreeMap<Address, Account>,
    storage: BTreeMap<Address, BTreeMap<U256, U256>>,
    code: BTreeMap<B256, Bytes>,
    block_hashes: BTreeMap<u64, B256>,
    signers: BTreeMap<u64, Vec<u16>>,
    nodes: BTreeMap<TrieKey, Bytes>,
}

impl MemoryState {
    /// Nothing at all.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes over what a block changed.
    pub fn apply(&mut self, changes: &StateChanges) {
        for (address, storage) in &changes.storage {
            let slots = self.storage.entry(*address).or_default();
            if storage.wiped {
                slots.clear();
            }
            for (slot, value) in &storage.slots {
                if value.is_zero() {
                    slots.remove(slot);
                } else {
                    slots.insert(*slot, *value);
                }
            }
        }
        for (address, account) in &changes.accounts {
            if let Some(account) = account {
                self.accounts.insert(*address, *account);
            } else {
                self.accounts.remove(address);
                self.storage.remove(address);
            }
        }
        self.storage.retain(|_, slots| !slots.is_empty());
        self.code.extend(changes.code.iter().map(|(h, c)| (*h, c.clone())));
    }

    /// Takes over trie nodes.
    pub fn apply_trie(&mut self, updates: &TrieUpdates) {
        for (key, node) in &updates.nodes {
            match node {
                Some(node) => self.nodes.insert(key.clone(), Bytes::copy_from_slice(node)),
                None => self.nodes.remove(key),
            };
        }
    }

    /// Remembers the hash of a block, for the BLOCKHASH instruction.
    pub fn set_block_hash(&mut self, height: u64, hash: B256) {
        self.block_hashes.insert(height, hash);
    }

    /// Remembers whose signatures are in the certificate of a block, as the next block carries it.
    pub fn set_signers(&mut self, height: u64, indexes: &[u16]) {
        self.signers.insert(height, indexes.to_vec());
    }

    /// Loses what [`Self::set_signers`] was told: for tests of readers that cannot tell.
    pub fn forget_signers(&mut self) {
        self.signers.clear();
    }

    /// All accounts, by address.
    #[must_use]
    pub const fn accounts(&self) -> &BTreeMap<Address, Account> {
        &self.accounts
    }

    /// The non-zero slots of an account.
    #[must_use]
    pub fn slots(&self, address: &Address) -> Option<&BTreeMap<U256, U256>> {
        self.storage.get(address)
    }

    /// All trie nodes, by place.
    #[must_use]
    pub const fn nodes(&self) -> &BTreeMap<TrieKey, Bytes> {
        &self.nodes
    }

    /// Sets or removes one trie node, whatever that breaks: for tests of damaged stores.
    pub fn set_node(&mut self, key: TrieKey, node: Option<Bytes>) {
        match node {
            Some(node) => self.nodes.insert(key, node),
            None => self.nodes.remove(&key),
        };
    }
}

impl StateReader for MemoryState {
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError> {
        Ok(self.accounts.get(address).copied())
    }

    fn storage(&self, address: &Address, slot: U256) -> Result<U256, StateError> {
        Ok(self.storage.get(address).and_then(|s| s.get(&slot)).copied().unwrap_or_default())
    }

    fn code(&self, hash: &B256) -> Result<Option<Bytes>, StateError> {
        Ok(self.code.get(hash).cloned())
    }

    fn block_hash(&self, height: u64) -> Result<Option<B256>, StateError> {
        Ok(self.block_hashes.get(&height).copied())
    }

    fn certificate_signers(&self, height: u64) -> Result<Vec<u16>, StateError> {
        self.signers.get(&height).cloned().ok_or(StateError::Unavailable(height))
    }
}

impl TrieReader for MemoryState {
    fn node(&self, key: &TrieKey) -> Result<Option<Bytes>, StateError> {
        Ok(self.nodes.get(key).cloned())
    }
}
