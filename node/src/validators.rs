//! Which validators vote at which height.
//!
//! In: genesis, the state at start, and what each block changes. Out: the set of every height up to two above the newest
//! executed block, whose state determines it. Old sets come from the log of changes that the validator contract keeps, so
//! they need no table of their own: they are as durable as the state, and atomic with it.

use std::sync::Arc;

use basalt_execution::{StateError, StateReader, system};
use basalt_primitives::{
    Address, ChainSpec, Height, PublicKey, U256, ValidatorSet,
    state::StateChanges,
    system::{
        VALIDATORS,
        validators::{self, Change, slot},
    },
    validators::SetError,
};
use parking_lot::RwLock;

/// Why the sets could not be told.
#[derive(Debug, thiserror::Error)]
pub enum SetsError {
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The contract has let a set come about that cannot be.
    #[error("the validator contract holds a set that cannot be: {0}; run `basalt scrub` or restore a backup")]
    Set(#[from] SetError),
    /// The log of changes does not lead to the newest set.
    #[error("the validator contract's log and set disagree: {0}; run `basalt scrub` or restore a backup")]
    Log(&'static str),
}

/// The sets of all heights that are known. Cheap to clone; all clones see the same.
#[derive(Clone, Debug)]
pub struct ValidatorSets(Arc<RwLock<Sets>>);

#[derive(Debug)]
struct Sets {
    /// By rising first height; the first is that of genesis.
    epochs: Vec<Epoch>,
    /// Changes read so far.
    changes: u64,
    /// The highest height whose set is known.
    known: Height,
}

#[derive(Clone, Debug)]
struct Epoch {
    first: Height,
    set: Arc<ValidatorSet>,
    members: Arc<[(PublicKey, String)]>,
}

impl Epoch {
    fn new(first: Height, members: Vec<(PublicKey, String)>) -> Result<Self, SetError> {
        let set = ValidatorSet::new(validators::equal_votes(&members))?;
        Ok(Self { first, set: Arc::new(set), members: members.into() })
    }
}

impl ValidatorSets {
    /// The sets of a chain whose newest executed block is `head`, with the state after it.
    pub fn open(spec: &ChainSpec, state: &dyn StateReader, head: Height) -> Result<Self, SetsError> {
        let genesis = spec.validators.iter().map(|v| (v.validator.public_key, v.name.clone())).collect();
        let mut sets = Sets { epochs: vec![Epoch::new(Height::GENESIS, genesis)?], changes: 0, known: head };
        sets.take(&system::changes(state, 0)?)?;
        sets.known = above(head);
        let newest = system::members(state)?;
        let replayed = &sets.newest().members;
        let same =
            newest.len() == replayed.len() && newest.iter().zip(replayed.iter()).all(|(m, (key, _))| m.key == *key);
        if !same && !newest.is_empty() {
            return Err(SetsError::Log("replaying every change since genesis leads to another set"));
        }
        Ok(Self(Arc::new(RwLock::new(sets))))
    }

    /// The set that votes at a height; `None` while it is not determined: more than two above the newest executed block.
    #[must_use]
    pub fn at(&self, height: Height) -> Option<Arc<ValidatorSet>> {
        self.epoch(height).map(|e| e.set)
    }

    /// The set of a height that is at most two above an executed block.
    ///
    /// # Panics
    /// If it is higher, which is a fault of the caller.
    #[must_use]
    pub fn at_known(&self, height: Height) -> Arc<ValidatorSet> {
        self.at(height).expect("the sets of two heights above an executed block are known")
    }

    /// Keys and names of the set of a height.
    #[must_use]
    pub fn members(&self, height: Height) -> Option<Arc<[(PublicKey, String)]>> {
        self.epoch(height).map(|e| e.members)
    }

    /// The name a validator has now or had last.
    #[must_use]
    pub fn name_of(&self, key: &PublicKey) -> Option<String> {
        let sets = self.0.read();
        let found = sets.epochs.iter().rev().find_map(|e| e.members.iter().find(|(k, _)| k == key));
        found.map(|(_, name)| name.clone()).filter(|name| !name.is_empty())
    }

    /// The name behind an account, if it is or was a validator's.
    #[must_use]
    pub fn name_of_account(&self, account: Address) -> Option<String> {
        let sets = self.0.read();
        let found = sets.epochs.iter().rev().find_map(|e| e.members.iter().find(|(k, _)| k.address() == account));
        found.map(|(_, name)| name.clone()).filter(|name| !name.is_empty())
    }

    fn epoch(&self, height: Height) -> Option<Epoch> {
        let sets = self.0.read();
        if height > sets.known {
            return None;
        }
        let after = sets.epochs.partition_point(|e| e.first <= height);
        Some(sets.epochs[after - 1].clone())
    }

    /// Takes up what a block changes, before it is durable: whoever sees it as the head finds the set of its height + 2.
    /// `before` is the state it changes.
    pub fn executed(&self, height: Height, changes: &StateChanges, before: &dyn StateReader) -> Result<(), SetsError> {
        let mut sets = self.0.write();
        let log = U256::from(slot::CHANGES);
        if changes.storage.get(&VALIDATORS).is_some_and(|s| s.wiped || s.slots.contains_key(&log)) {
            let written = |slot: U256| changes.storage.get(&VALIDATORS).and_then(|s| s.slots.get(&slot)).copied();
            let read = |slot| written(slot).map_or_else(|| before.storage(&VALIDATORS, slot), Ok);
            let new = validators::changes(read, sets.changes).map_err(StateError::from)?;
            sets.take(&new)?;
            let newest = sets.newest();
            tracing::info!(from = %newest.first, validators = newest.members.len(), "the validator set changes");
        }
        sets.known = sets.known.max(above(height));
        Ok(())
    }
}

/// The last height whose set follows from the state after a block.
fn above(executed: Height) -> Height {
    executed.next().next()
}

impl Sets {
    fn newest(&self) -> &Epoch {
        self.epochs.last().expect("genesis is always there")
    }

    fn take(&mut self, changes: &[Change]) -> Result<(), SetsError> {
        for change in changes {
            let newest = self.newest();
            if change.valid_from < newest.first {
                return Err(SetsError::Log("a change takes effect before the one before it"));
            }
            let mut members = newest.members.to_vec();
            validators::apply(&mut members, change).map_err(SetsError::Log)?;
            self.epochs.push(Epoch::new(change.valid_from, members)?);
            self.changes += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use basalt_execution::MemoryState;
    use basalt_primitives::{SecretKey, state::StorageChanges, system::validators::list_base};

    use super::*;

    fn key(n: u8) -> PublicKey {
        SecretKey::from_bytes(&[n; 32]).public_key()
    }

    fn spec() -> ChainSpec {
        let json = serde_json::json!({
            "name": "test", "chainId": 1, "genesisTimeMs": 1, "hashFn": "sha256", "development": true,
            "consensus": { "engine": "pbft", "blockIntervalMs": 0, "roundTimeoutMs": 1000, "roundTimeoutCapMs": 1000,
                "emptyBlockMs": null, "clockToleranceMs": 1 },
            "gasLimit": 30_000_000, "maxBlockBytes": 1 << 20, "fees": { "kind": "zero" }, "forks": { "0": "osaka" },
            "validators": [{ "name": "one", "public_key": key(1), "power": 1 }], "alloc": {},
        });
        ChainSpec::from_json(&json.to_string()).expect("a sound spec").with_system_contracts()
    }

    /// What the contract writes when it adds a key.
    fn adds(n: u64, k: PublicKey, valid_from: u64, index: u64) -> StateChanges {
        let base = list_base(slot::CHANGES) + U256::from(3 * n);
        let member = list_base(slot::MEMBERS) + U256::from(3 * index);
        let head = U256::from(valid_from) | (U256::from(1) << 64) | (U256::from(index) << 72);
        let slots = [
            (U256::from(slot::CHANGES), U256::from(n + 1)),
            (base, head),
            (base + U256::from(1), U256::from_be_bytes(k.0)),
            (U256::from(slot::MEMBERS), U256::from(index + 1)),
            (member, U256::from_be_bytes(k.0)),
        ];
        let storage = StorageChanges { wiped: false, slots: slots.into_iter().collect() };
        StateChanges { storage: [(VALIDATORS, storage)].into(), ..StateChanges::default() }
    }

    #[test]
    fn a_change_holds_from_its_height_on_and_old_sets_stay() {
        let (spec, mut state) = (spec(), MemoryState::new());
        state.apply(&genesis_changes(&spec));
        let sets = ValidatorSets::open(&spec, &state, Height(0)).expect("opens");
        assert_eq!(sets.at(Height(2)).map(|s| s.len()), Some(1));
        assert_eq!(sets.at(Height(3)), None, "not determined before block 1 is executed");
        let change = adds(0, key(7), 7, 1);
        for h in 1..5 {
            sets.executed(Height(h), &StateChanges::default(), &state).expect("nothing to read");
        }
        sets.executed(Height(5), &change, &state).expect("reads the change");
        state.apply(&change);
        assert_eq!(sets.at(Height(6)).map(|s| s.len()), Some(1));
        assert_eq!(sets.at(Height(7)).map(|s| s.len()), Some(2));
        assert_eq!(sets.at(Height(8)), None);
        // A restart finds the same.
        let again = ValidatorSets::open(&spec, &state, Height(5)).expect("opens");
        for h in 0..9 {
            assert_eq!(again.at(Height(h)), sets.at(Height(h)), "height {h}");
        }
    }

    #[test]
    fn a_log_that_does_not_lead_to_the_set_is_refused() {
        let (spec, mut state) = (spec(), MemoryState::new());
        state.apply(&genesis_changes(&spec));
        let mut change = adds(0, key(7), 7, 1);
        let slots = &mut change.storage.get_mut(&VALIDATORS).expect("there").slots;
        slots.insert(list_base(slot::MEMBERS) + U256::from(3), U256::from_be_bytes(key(8).0));
        state.apply(&change);
        assert!(matches!(ValidatorSets::open(&spec, &state, Height(5)), Err(SetsError::Log(_))));
    }

    fn genesis_changes(spec: &ChainSpec) -> StateChanges {
        basalt_execution::genesis_state(spec).expect("a sound spec").0
    }
}
