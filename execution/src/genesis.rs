//! The state a chain begins with.

use alloy_primitives::{Bytes, KECCAK256_EMPTY, keccak256};
use basalt_primitives::{
    ChainSpec,
    chainspec::GenesisAccount,
    state::{Account, StateChanges, StorageChanges},
};

use crate::{
    MemoryState,
    trie::{EMPTY_ROOT, StateTrie, TrieBatch, TrieError},
};

/// The accounts of a chain specification, as changes of an empty state, with their root and trie nodes.
pub fn genesis_state(spec: &ChainSpec) -> Result<(StateChanges, TrieBatch), TrieError> {
    let mut changes = StateChanges::default();
    for (address, genesis) in &spec.alloc {
        let code_hash = if genesis.code.is_empty() { KECCAK256_EMPTY } else { keccak256(&genesis.code) };
        let account = Account { nonce: genesis.nonce, balance: genesis.balance, code_hash };
        if account == Account::default() && genesis.storage.is_empty() {
            continue; // An empty account does not exist (EIP-161).
        }
        changes.accounts.insert(*address, Some(account));
        if !genesis.code.is_empty() {
            changes.code.insert(code_hash, Bytes::clone(&genesis.code));
        }
        if !genesis.storage.is_empty() {
            changes.storage.insert(*address, storage_of(genesis));
        }
    }
    let batch = StateTrie::open(EMPTY_ROOT, 0).apply(&changes, &MemoryState::new())?;
    Ok((changes, batch))
}

fn storage_of(genesis: &GenesisAccount) -> StorageChanges {
    let slots = genesis.storage.iter().map(|(slot, value)| ((*slot).into(), (*value).into()));
    StorageChanges { wiped: false, slots: slots.collect() }
}
