//! Which validators vote at which height.
//!
//! In: genesis, the state at start, and what each block changes. Out: the set of every height up to two above the newest
//! executed block, whose state determines it. Old sets come from the log of changes that the validator contract keeps, so
//! they need no table of their own: they are as durable as the state, and atomic with it.
//!
//! At the two heights of a set override (ADR-0015), which the operators hand to every node as a file, the lost members are
//! marked. The contract's log shows for ever that an override was carried out, so a node can tell a ledger that has passed its
//! height with it from one that has passed it without, and from one whose file was taken away.

use std::{collections::BTreeMap, sync::Arc};

use basalt_execution::{StateError, StateReader, system};
use basalt_primitives::{
    Address, B256, ChainSpec, Height, PublicKey, SetOverride, U256, ValidatorSet,
    set_override::OverrideError,
    state::StateChanges,
    system::{
        VALIDATORS,
        validators::{self, Change, Kind, slot},
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
    /// An override that is none of this chain's.
    #[error("the set override of height {height} (`consensus.override`) is refused: {source}")]
    Override {
        /// Its height.
        height: Height,
        /// Why.
        source: OverrideError,
    },
    /// Two overrides for the same heights.
    #[error(
        "two set overrides (`consensus.override`) are for heights {0} and {1}, but each covers two heights; remove one"
    )]
    Overlap(Height, Height),
    /// The ledger was carried on by an override whose file is not there.
    #[error(
        "this chain was restarted at height {0} by a set override, and its certificates cannot be verified without the file; \
         get it from any other node's operator and name it in `consensus.override`"
    )]
    OverrideMissing(Height),
    /// The ledger has decided the override's height without it.
    #[error(
        "the set override of height {height} (`consensus.override`) comes too late: this ledger, at height {head}, has that \
         block without it; nothing may be undone, so take the file out, and if the chain stands still, make a new override \
         for a height above the head of every remaining validator"
    )]
    TooLate {
        /// The override's height.
        height: Height,
        /// The ledger's.
        head: Height,
    },
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
    /// By rising height, not overlapping.
    overrides: Vec<SetOverride>,
    /// The sets of the heights that overrides cover, as far as they are known; those overrides are verified.
    overridden: BTreeMap<Height, Arc<ValidatorSet>>,
    /// Members that the log says an override removed, by the first height without them.
    removed: BTreeMap<Height, Vec<PublicKey>>,
    genesis: B256,
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
    /// The sets of a chain whose newest executed block is `head`, with the state after it and the overrides its operators
    /// have agreed on.
    pub fn open(
        spec: &ChainSpec,
        state: &dyn StateReader,
        head: Height,
        mut overrides: Vec<SetOverride>,
    ) -> Result<Self, SetsError> {
        let genesis = spec.validators.iter().map(|v| (v.validator.public_key, v.name.clone())).collect();
        overrides.sort_unstable_by_key(|o| o.height);
        if let Some(w) = overrides.windows(2).find(|w| w[1].height.0 - w[0].height.0 < 2) {
            return Err(SetsError::Overlap(w[0].height, w[1].height));
        }
        let mut sets = Sets {
            epochs: vec![match spec.pow() {
                None => Epoch::new(Height::GENESIS, genesis)?,
                // Nobody ever votes.
                Some(_) => Epoch { first: Height::GENESIS, set: Arc::new(ValidatorSet::none()), members: [].into() },
            }],
            changes: 0,
            known: head,
            overrides,
            overridden: BTreeMap::new(),
            removed: BTreeMap::new(),
            genesis: spec.genesis_block().hash(),
        };
        sets.take(&system::changes(state, 0)?)?;
        sets.known = if spec.pow().is_some() { Height::MAX } else { above(head) };
        let newest = system::members(state)?;
        let replayed = &sets.newest().members;
        let same =
            newest.len() == replayed.len() && newest.iter().zip(replayed.iter()).all(|(m, (key, _))| m.key == *key);
        if !same && !newest.is_empty() {
            return Err(SetsError::Log("replaying every change since genesis leads to another set"));
        }
        sets.check_carried_out(head)?;
        sets.mark_lost()?;
        Ok(Self(Arc::new(RwLock::new(sets))))
    }

    /// The set that votes at a height; `None` while it is not determined: more than two above the newest executed block.
    #[must_use]
    pub fn at(&self, height: Height) -> Option<Arc<ValidatorSet>> {
        let overridden = self.0.read().overridden.get(&height).cloned();
        overridden.or_else(|| self.epoch(height).map(|e| e.set))
    }

    /// The set of a height as the header before it announces it: at the first height of an override without it, since that
    /// header is older than the override.
    #[must_use]
    pub fn announced(&self, height: Height) -> Option<Arc<ValidatorSet>> {
        let first = self.0.read().overrides.iter().any(|o| o.height == height);
        if first { self.epoch(height).map(|e| e.set) } else { self.at(height) }
    }

    /// The heights of the overrides this node was given, lowest first.
    #[must_use]
    pub fn overrides(&self) -> Vec<Height> {
        self.0.read().overrides.iter().map(|o| o.height).collect()
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
        sets.mark_lost()
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

    /// The members at a known height, none marked.
    fn plain(&self, height: Height) -> &Epoch {
        &self.epochs[self.epochs.partition_point(|e| e.first <= height) - 1]
    }

    /// What the ledger has passed and what this node was given must fit: every override in the log has its file, and every
    /// file of a height that is decided was carried out.
    fn check_carried_out(&self, head: Height) -> Result<(), SetsError> {
        let given = |first: Height| self.overrides.iter().find(|o| above(o.height) == first);
        if let Some(first) = self.removed.keys().find(|first| given(**first).is_none()) {
            return Err(SetsError::OverrideMissing(Height(first.0 - 2)));
        }
        for o in self.overrides.iter().filter(|o| o.height <= head) {
            let members = &self.plain(o.height.next()).members;
            let want: Vec<_> = members.iter().map(|(key, _)| *key).filter(|key| o.lost.contains(key)).collect();
            if self.removed.get(&above(o.height)).map_or(&[][..], Vec::as_slice) != want {
                return Err(SetsError::TooLate { height: o.height, head });
            }
        }
        Ok(())
    }

    /// Verifies the overrides whose height has become known, and marks the lost in the sets of their heights.
    fn mark_lost(&mut self) -> Result<(), SetsError> {
        for o in self.overrides.iter().filter(|o| o.height <= self.known) {
            let refused = |source| SetsError::Override { height: o.height, source };
            if !self.overridden.contains_key(&o.height) {
                o.check(self.genesis, &self.plain(o.height).set).map_err(refused)?;
            }
            for height in [o.height, o.height.next()].into_iter().filter(|h| *h <= self.known) {
                if !self.overridden.contains_key(&height) {
                    let marked = o.applied(height, &self.plain(height).set)?;
                    self.overridden.insert(height, Arc::new(marked));
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, changes: &[Change]) -> Result<(), SetsError> {
        for change in changes {
            let newest = self.newest();
            if change.valid_from < newest.first {
                return Err(SetsError::Log("a change takes effect before the one before it"));
            }
            let mut members = newest.members.to_vec();
            if change.kind == Kind::Override {
                self.removed.entry(change.valid_from).or_default().push(change.key);
            }
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
        let sets = ValidatorSets::open(&spec, &state, Height(0), Vec::new()).expect("opens");
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
        let again = ValidatorSets::open(&spec, &state, Height(5), Vec::new()).expect("opens");
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
        assert!(matches!(ValidatorSets::open(&spec, &state, Height(5), Vec::new()), Err(SetsError::Log(_))));
    }

    /// A chain of two validators, and an override without the second, signed by the first.
    fn overridden(height: u64) -> (ChainSpec, SetOverride) {
        let mut spec = spec();
        let second = basalt_primitives::Validator { public_key: key(2), power: 1 };
        spec.validators.push(basalt_primitives::chainspec::GenesisValidator { name: "two".into(), validator: second });
        let spec = spec.with_system_contracts();
        let mut o = SetOverride::new(spec.genesis_block().hash(), Height(height), vec![key(2)]).expect("sound");
        o.sign(&SecretKey::from_bytes(&[1; 32]));
        (spec, o)
    }

    /// Executes empty blocks with an override.
    fn run(spec: &ChainSpec, o: &SetOverride, sets: Option<&ValidatorSets>, to: u64) -> MemoryState {
        let mut state = MemoryState::new();
        state.apply(&genesis_changes(spec));
        let executor =
            basalt_execution::Executor::new(Arc::new(spec.clone())).with_overrides([(o.height, o.lost.clone())].into());
        for h in 1..=to {
            let header = basalt_primitives::Header { height: Height(h), ..spec.genesis_block().header().clone() };
            let env = basalt_execution::BlockEnv::of(&header);
            let none: [basalt_primitives::Transaction; 0] = [];
            let done = executor.execute(&env, &none, &state).expect("executes");
            if let Some(sets) = sets {
                sets.executed(Height(h), &done.changes, &state).expect("takes it up");
            }
            state.apply(&done.changes);
        }
        state
    }

    #[test]
    fn an_override_marks_two_heights_and_is_announced_from_its_second_on() {
        let (spec, o) = overridden(5);
        let mut fresh = MemoryState::new();
        fresh.apply(&genesis_changes(&spec));
        let sets = ValidatorSets::open(&spec, &fresh, Height(0), vec![o.clone()]).expect("opens before it is known");
        let state = run(&spec, &o, Some(&sets), 6);
        let shape = |sets: &ValidatorSets, h| sets.at(Height(h)).map(|s| (s.len(), s.total_power(), s.quorum()));
        let all: Vec<_> = (4..9).filter_map(|h| shape(&sets, h)).collect();
        assert_eq!(all, [(2, 2, 2), (2, 1, 1), (2, 1, 1), (1, 1, 1), (1, 1, 1)]);
        let announced = |h| sets.announced(Height(h)).expect("known").is_overridden();
        assert_eq!([4, 5, 6, 7].map(announced), [false, false, true, false]);
        assert!(sets.at_known(Height(5)).may_prepare([0, 1]));
        // A restart finds the same, before, within and after.
        for head in 3..=6 {
            let state = run(&spec, &o, None, head);
            let again = ValidatorSets::open(&spec, &state, Height(head), vec![o.clone()]).expect("opens");
            for h in 0..=head + 2 {
                assert_eq!(again.at(Height(h)), sets.at(Height(h)), "height {h} at {head}");
                assert_eq!(again.announced(Height(h)), sets.announced(Height(h)), "height {h} at {head}");
            }
        }
        let without = ValidatorSets::open(&spec, &state, Height(6), Vec::new());
        assert!(matches!(without, Err(SetsError::OverrideMissing(Height(5)))), "{without:?}");
    }

    #[test]
    fn an_override_that_does_not_fit_the_ledger_is_refused() {
        let (spec, o) = overridden(5);
        let mut state = MemoryState::new();
        state.apply(&genesis_changes(&spec));
        let open = |head, overrides| ValidatorSets::open(&spec, &state, Height(head), overrides).map(drop);
        assert!(open(4, vec![o.clone()]).is_ok());
        let late = open(5, vec![o.clone()]);
        assert!(matches!(late, Err(SetsError::TooLate { height: Height(5), head: Height(5) })), "{late:?}");
        let mut unsigned = o.clone();
        unsigned.signatures.clear();
        let refused = open(4, vec![unsigned]);
        let why = OverrideError::Missing(vec![key(1)]);
        assert!(matches!(refused, Err(SetsError::Override { height: Height(5), source }) if source == why));
        let next = SetOverride::new(o.genesis, Height(6), vec![key(2)]).expect("sound");
        assert!(matches!(open(1, vec![next, o]), Err(SetsError::Overlap(Height(5), Height(6)))));
    }

    fn genesis_changes(spec: &ChainSpec) -> StateChanges {
        basalt_execution::genesis_state(spec).expect("a sound spec").0
    }
}
