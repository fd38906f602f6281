//! Merkle proofs of the newest state and of recent older ones.
//!
//! The trie is kept for the newest state only. For an older block the changes since are taken back in memory: what they
//! touched is given the values it had (which history knows), and the trie above it is made again. The root that comes
//! out must be the block's, so a wrong past cannot give a proof at all. The cost grows with what changed since, so it has
//! a limit.

use std::collections::BTreeMap;

use basalt_execution::{
    StateError, StateTrie, TrieError, TrieReader,
    trie::{self, AccountProof},
};
use basalt_primitives::{
    Address, Bytes, Height, U256,
    state::{StateChanges, TrieKey, TrieUpdates},
};
use basalt_storage::{Reader as _, State};

use super::{
    StateView,
    reader::{damaged, read_error},
};
use crate::rpc::ports::ReadError;

/// Proofs go back at most so many blocks.
const MAX_BLOCKS: u64 = 1_024;
/// And at most so many accounts and slots may have changed since.
const MAX_CHANGES: usize = 10_000;
/// Nodes kept in memory between the passes of one proof: there is one pass.
const MEMORY_BUDGET: usize = 1 << 20;

/// Proves an account and slots of it against the state root of the state's block.
pub(super) fn proof(state: &State, address: &Address, slots: &[U256]) -> Result<AccountProof, ReadError> {
    let snapshot = state.snapshot();
    let (head, newest) = (snapshot.head(), StateView(snapshot.clone()));
    let root = head.outcome.state_root;
    if state.height() == head.height() {
        return trie::proof(&newest, root, address, slots).map_err(trie_error);
    }
    let changes = taken_back(state, head.height(), MAX_BLOCKS, MAX_CHANGES)?;
    let batch = StateTrie::open(root, MEMORY_BUDGET).apply(&changes, &newest).map_err(trie_error)?;
    let expected = snapshot.outcome(state.height()).map_err(read_error)?.map(|o| o.state_root);
    if expected != Some(batch.root) {
        return Err(damaged(format!("the past of block {} leads to the root {}", state.height(), batch.root)));
    }
    let then = Overlay { nodes: batch.updates, below: newest };
    trie::proof(&then, batch.root, address, slots).map_err(trie_error)
}

/// The changes that lead from the newest state, that after `head`, back to this one: of at most so many blocks, accounts
/// and slots.
pub(crate) fn taken_back(
    state: &State,
    head: Height,
    max_blocks: u64,
    max_changes: usize,
) -> Result<StateChanges, ReadError> {
    let too_old = || ReadError::ProofTooOld { height: state.height(), max_blocks, max_changes };
    if head.0 - state.height().0 > max_blocks {
        return Err(too_old());
    }
    let mut touched: BTreeMap<Address, Vec<U256>> = BTreeMap::new();
    let mut count = 0;
    for height in (state.height().0 + 1..=head.0).map(Height) {
        let changed = state.snapshot().changed(height).map_err(read_error)?;
        count += changed.accounts.len() + changed.slots.len();
        if count > max_changes {
            return Err(too_old());
        }
        for address in changed.accounts {
            touched.entry(address).or_default();
        }
        for (address, slot) in changed.slots {
            touched.entry(address).or_default().push(slot);
        }
    }
    let mut changes = StateChanges::default();
    for (address, slots) in touched {
        let account = state.account(&address).map_err(read_error)?;
        changes.accounts.insert(address, account);
        if account.is_some() && !slots.is_empty() {
            let storage = changes.storage.entry(address).or_default();
            for slot in slots {
                storage.slots.insert(slot, state.storage(&address, &slot).map_err(read_error)?);
            }
        }
    }
    Ok(changes)
}

/// The newest nodes with those of an older state over them.
struct Overlay {
    nodes: TrieUpdates,
    below: StateView,
}

impl TrieReader for Overlay {
    fn node(&self, key: &TrieKey) -> Result<Option<Bytes>, StateError> {
        match self.nodes.nodes.get(key) {
            Some(node) => Ok(node.clone()),
            None => self.below.node(key),
        }
    }
}

fn trie_error(e: TrieError) -> ReadError {
    damaged(format!("the state trie could not be read: {e}"))
}
