//! The state commitment: Ethereum's Merkle-Patricia trie, secure (keys are hashed), kept up to date block by block.
//!
//! A block's [`StateChanges`] come in, the new root and the nodes to write go out ([`StateTrie::apply`]). The result is
//! speculative until [`StateTrie::commit`] or [`StateTrie::discard`], so a proposer can compute roots of blocks that may
//! never be agreed on. Nodes live in an arena with the names (hashes) of their children; what was used lately stays in
//! memory within a budget, the rest is loaded by path through [`TrieReader`] and checked against the hash its parent
//! names, so a damaged store leads to an error and never to a wrong root. ADR-0006 has the reasons and the figures.

mod arena;
mod codec;
mod error;
mod evict;
mod keccak;
mod node;
mod proof;
mod rehash;
#[cfg(test)]
mod tests;
mod update;

use alloy_primitives::{
    B256, U256, keccak256,
    map::{B256Map, hash_map},
};
use alloy_trie::EMPTY_ROOT_HASH;
use basalt_primitives::state::{Account, StateChanges, StorageChanges, TrieKey, TrieUpdates};

pub use error::{Place, TrieError};
pub use proof::{AccountProof, StorageProof, proof};

use crate::ports::TrieReader;
use arena::Arena;
use codec::Leaves;
use keccak::keccak_each;
use node::{Kid, NodeRef, Value};
use rehash::{Writes, rehash};
use update::{NewValue, Op, Pass};

/// Root of a trie without keys.
pub const EMPTY_ROOT: B256 = EMPTY_ROOT_HASH;

/// Of an account that is deleted together with its storage, at most this many storage nodes are deleted at once. More stay
/// behind as garbage that nothing names; only rules before EIP-6780 lead here at all.
const MAX_WIPED_NODES: usize = 100_000;

/// What a block makes of the trie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrieBatch {
    /// The new state root.
    pub root: B256,
    /// Nodes to write and to delete, in one batch with the block.
    pub updates: TrieUpdates,
}

/// The state trie: the account trie and, below it, a storage trie per contract.
pub struct StateTrie {
    arena: Arena,
    root: Option<Kid>,
    /// Roots of storage tries that are, at least in part, in memory.
    storages: B256Map<Kid>,
    memory_budget: usize,
    /// Set between `apply` and the decision on it: the root before, and the storage roots before.
    undecided: Option<Undo>,
}

#[derive(Default)]
struct Undo {
    root: Option<Kid>,
    storages: Vec<(B256, Option<Kid>)>,
    /// Storage tries that went as a whole: their nodes leave memory when the block is kept.
    dropped: Vec<Kid>,
}

impl StateTrie {
    /// A trie with this root, nothing of it in memory yet. `memory_budget`: bytes of nodes kept between blocks.
    #[must_use]
    pub fn open(root: B256, memory_budget: usize) -> Self {
        let root = (root != EMPTY_ROOT).then(|| Kid::cold(NodeRef::hash(root)));
        Self { arena: Arena::new(), root, storages: B256Map::default(), memory_budget, undecided: None }
    }

    /// The state root, of the last [`apply`](Self::apply) where that is undecided.
    #[must_use]
    pub fn root(&self) -> B256 {
        self.root.and_then(|k| k.node.as_hash()).unwrap_or(EMPTY_ROOT)
    }

    /// Bytes held by nodes in memory.
    #[must_use]
    pub const fn memory(&self) -> usize {
        self.arena.bytes()
    }

    /// Turns to another root, with nothing of it in memory yet: to another branch of a chain that is not final. What was
    /// undecided is dropped.
    pub fn turn_to(&mut self, root: B256) {
        if root != self.root() {
            *self = Self::open(root, self.memory_budget);
        }
    }

    /// Changes the memory budget; takes effect at once when nothing is undecided, else with the decision.
    pub fn set_memory_budget(&mut self, bytes: usize) {
        self.memory_budget = bytes;
        if self.undecided.is_none() {
            self.shrink();
        }
    }

    /// Computes the trie after a block. Must be decided by [`commit`](Self::commit) or [`discard`](Self::discard) before the
    /// next. `reader` answers with the nodes of the last committed state. After an error the trie is as before.
    pub fn apply(&mut self, changes: &StateChanges, reader: &dyn TrieReader) -> Result<TrieBatch, TrieError> {
        self.begin()?;
        let updates = match self.apply_changes(changes, reader) {
            Ok(updates) => updates,
            Err(e) => {
                self.discard();
                return Err(e);
            }
        };
        Ok(TrieBatch { root: self.root(), updates })
    }

    /// As [`apply`](Self::apply), for a trie that is no state: hashed keys and values of any kind, `None` deletes. For
    /// Ethereum's own trie tests and tests with clustered keys.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub fn apply_raw(
        &mut self,
        ops: &[(B256, Option<Vec<u8>>)],
        reader: &dyn TrieReader,
    ) -> Result<TrieBatch, TrieError> {
        self.begin()?;
        let mut work = Work { reader, gone: Vec::new() };
        let keys: Vec<B256> = ops.iter().map(|(key, _)| *key).collect();
        let values = ops.iter().map(|(_, v)| v.as_ref().map(|v| NewValue::Raw(v.as_slice().into())));
        let mut ops = sorted_ops(&keys, values.collect());
        let warm = self.warm_root(&mut work, Leaves::Raw);
        if let Err(e) = warm.and_then(|()| self.apply_ops(None, Leaves::Raw, self.root, &mut ops, &mut work)) {
            self.discard();
            return Err(e);
        }
        let writes = self.rehash_root();
        Ok(TrieBatch { root: self.root(), updates: Writes::into_updates([writes, Writes::default()], work.gone) })
    }

    /// Keeps the result of [`apply`](Self::apply), whose updates must be readable through the reader from now on, and
    /// brings memory back within the budget.
    pub fn commit(&mut self) {
        let Some(mut undo) = self.undecided.take() else { return };
        self.arena.commit();
        undo.dropped.iter_mut().for_each(|kid| evict::forget(&mut self.arena, kid));
        self.shrink();
    }

    /// Returns to the state before [`apply`](Self::apply).
    pub fn discard(&mut self) {
        let Some(undo) = self.undecided.take() else { return };
        self.arena.discard();
        self.root = undo.root;
        for (account, kid) in undo.storages.into_iter().rev() {
            match kid {
                Some(kid) => self.storages.insert(account, kid),
                None => self.storages.remove(&account),
            };
        }
    }

    fn begin(&mut self) -> Result<(), TrieError> {
        if self.undecided.is_some() {
            return Err(TrieError::Undecided);
        }
        self.arena.begin();
        self.undecided = Some(Undo { root: self.root, ..Undo::default() });
        Ok(())
    }

    /// Brings the root node to memory, where it stays even if this block is discarded.
    fn warm_root(&mut self, work: &mut Work<'_>, leaves: Leaves) -> Result<(), TrieError> {
        if let Some(kid) = self.root {
            let mut orphans = Vec::new();
            self.root = Some(warm_root(&mut work.pass(&mut self.arena, None, leaves, &mut orphans), kid)?);
            self.undo().root = self.root;
        }
        Ok(())
    }

    fn apply_changes(&mut self, changes: &StateChanges, reader: &dyn TrieReader) -> Result<TrieUpdates, TrieError> {
        let mut work = Work { reader, gone: Vec::new() };
        self.warm_root(&mut work, Leaves::Accounts)?;
        let (roots, storages) = self.apply_storages(changes, &mut work)?;
        let mut ops = account_ops(changes, &roots);
        let orphans = self.apply_ops(None, Leaves::Accounts, self.root, &mut ops, &mut work)?;
        for (account, storage_root) in orphans {
            self.drop_storage(account, storage_root, &mut work)?;
        }
        let accounts = self.rehash_root();
        Ok(Writes::into_updates([accounts, storages], work.gone))
    }

    fn rehash_root(&mut self) -> Writes {
        let Some(kid) = self.root else { return Writes::default() };
        let mut roots = [(None, kid)];
        let writes = rehash(&mut self.arena, &mut roots);
        self.root = Some(roots[0].1);
        writes
    }

    fn apply_ops(
        &mut self,
        account: Option<B256>,
        leaves: Leaves,
        root: Option<Kid>,
        ops: &mut [Op],
        work: &mut Work<'_>,
    ) -> Result<Vec<(B256, B256)>, TrieError> {
        let mut orphans = Vec::new();
        if ops.is_empty() {
            return Ok(orphans);
        }
        let new = work.pass(&mut self.arena, account, leaves, &mut orphans).update(root, 0, ops)?;
        match account {
            None => self.root = new,
            Some(account) => {
                match new {
                    Some(kid) => self.storages.insert(account, kid),
                    None => self.storages.remove(&account),
                };
            }
        }
        Ok(orphans)
    }

    /// Brings the storage tries up to date; answers with their new roots and nodes.
    fn apply_storages(
        &mut self,
        changes: &StateChanges,
        work: &mut Work<'_>,
    ) -> Result<(B256Map<B256>, Writes), TrieError> {
        let mut touched = Vec::with_capacity(changes.storage.len());
        for (address, storage) in &changes.storage {
            match changes.accounts.get(address) {
                None => return Err(TrieError::Changes(*address)),
                Some(None) => {}
                Some(Some(_)) => touched.push((keccak256(address), storage)),
            }
        }
        touched.sort_unstable_by_key(|(account, _)| *account);
        for (account, storage) in &touched {
            self.apply_storage(*account, storage, work)?;
        }
        let kid = |(account, _): &(B256, _)| self.storages.get(account).map(|kid| (Some(*account), *kid));
        let mut roots: Vec<(Option<B256>, Kid)> = touched.iter().filter_map(kid).collect();
        let writes = rehash(&mut self.arena, &mut roots);
        let mut hashes: B256Map<B256> = touched.iter().map(|(account, _)| (*account, EMPTY_ROOT)).collect();
        for (account, kid) in roots.into_iter().filter_map(|(account, kid)| Some((account?, kid))) {
            hashes.extend(kid.node.as_hash().map(|hash| (account, hash)));
            self.storages.insert(account, kid);
        }
        Ok((hashes, writes))
    }

    fn apply_storage(&mut self, account: B256, storage: &StorageChanges, work: &mut Work<'_>) -> Result<(), TrieError> {
        let mut before = self.storage_root(account, work)?;
        if storage.wiped {
            self.drop_storage(account, before, work)?;
            before = EMPTY_ROOT;
        }
        let root = self.open_storage(account, before, work)?;
        self.undo().storages.push((account, root));
        let slots: Vec<[u8; 32]> = storage.slots.keys().map(U256::to_be_bytes).collect();
        let keys = keccak_each(&slots.iter().map(<[u8; 32]>::as_slice).collect::<Vec<_>>());
        let values = storage.slots.values().map(|v| (!v.is_zero()).then_some(NewValue::Slot(*v)));
        let mut ops = sorted_ops(&keys, values.collect());
        self.apply_ops(Some(account), Leaves::Slots, root, &mut ops, work)?;
        Ok(())
    }

    /// The account's storage root before this block.
    fn storage_root(&mut self, account: B256, work: &mut Work<'_>) -> Result<B256, TrieError> {
        let Some(root) = self.root else { return Ok(EMPTY_ROOT) };
        let mut orphans = Vec::new();
        let found = work.pass(&mut self.arena, None, Leaves::Accounts, &mut orphans).find(root, &account)?;
        Ok(found.as_ref().map_or(EMPTY_ROOT, Value::storage_root))
    }

    /// The root node of a storage trie, in memory.
    fn open_storage(&mut self, account: B256, root: B256, work: &mut Work<'_>) -> Result<Option<Kid>, TrieError> {
        if root == EMPTY_ROOT {
            return Ok(None);
        }
        match self.storages.entry(account) {
            hash_map::Entry::Occupied(e) => Ok(Some(*e.get())),
            hash_map::Entry::Vacant(e) => {
                let mut orphans = Vec::new();
                let mut pass = work.pass(&mut self.arena, Some(account), Leaves::Slots, &mut orphans);
                let kid = warm_root(&mut pass, Kid::cold(NodeRef::hash(root)))?;
                Ok(Some(*e.insert(kid)))
            }
        }
    }

    /// Deletes a whole storage trie.
    fn drop_storage(&mut self, account: B256, root: B256, work: &mut Work<'_>) -> Result<(), TrieError> {
        if root == EMPTY_ROOT {
            return Ok(());
        }
        let before = self.storages.remove(&account);
        self.undo().storages.push((account, before));
        self.undo().dropped.extend(before);
        let mut places = proof::places_below(work.reader, account, root, MAX_WIPED_NODES)?;
        work.gone.append(&mut places);
        Ok(())
    }

    const fn undo(&mut self) -> &mut Undo {
        self.undecided.as_mut().expect("set by apply for as long as it works")
    }

    /// Drops what was longest unused until a quarter of the budget is free, once the budget is exceeded.
    fn shrink(&mut self) {
        if self.arena.bytes() <= self.memory_budget {
            return;
        }
        let mut ages = evict::Ages::new();
        self.root.iter().chain(self.storages.values()).for_each(|kid| ages.count(&self.arena, kid));
        let cutoff = ages.cutoff(self.memory_budget / 4 * 3);
        self.storages.retain(|_, kid| {
            evict::evict(&mut self.arena, kid, cutoff);
            !kid.is_cold()
        });
        if let Some(kid) = &mut self.root {
            evict::evict(&mut self.arena, kid, cutoff);
        }
    }
}

/// What one `apply` reads from and collects.
struct Work<'a> {
    reader: &'a dyn TrieReader,
    gone: Vec<TrieKey>,
}

impl Work<'_> {
    fn pass<'p>(
        &'p mut self,
        arena: &'p mut Arena,
        account: Option<B256>,
        leaves: Leaves,
        orphans: &'p mut Vec<(B256, B256)>,
    ) -> Pass<'p> {
        Pass { arena, reader: self.reader, account, leaves, gone: &mut self.gone, orphans }
    }
}

fn warm_root(pass: &mut Pass<'_>, kid: Kid) -> Result<Kid, TrieError> {
    if kid.is_cold() { pass.load(kid, &B256::ZERO, 0, false) } else { Ok(kid) }
}

fn account_ops(changes: &StateChanges, roots: &B256Map<B256>) -> Vec<Op> {
    let addresses: Vec<&[u8]> = changes.accounts.keys().map(|a| a.as_slice()).collect();
    let keys = keccak_each(&addresses);
    let value =
        |(key, account): (&B256, &Option<Account>)| account.map(|a| NewValue::Account(a, roots.get(key).copied()));
    sorted_ops(&keys, keys.iter().zip(changes.accounts.values()).map(value).collect())
}

/// Operations by rising key.
fn sorted_ops(keys: &[B256], mut values: Vec<Option<NewValue>>) -> Vec<Op> {
    // Sorted by a word of the key and an index: whole operations are too large to be moved about.
    let head = |key: &B256| u64::from_be_bytes(key.0[..8].try_into().expect("eight bytes"));
    let mut order: Vec<(u64, usize)> = keys.iter().enumerate().map(|(i, key)| (head(key), i)).collect();
    order.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| keys[a.1].cmp(&keys[b.1])));
    order.into_iter().map(|(_, i)| Op { key: keys[i], value: values[i].take() }).collect()
}
