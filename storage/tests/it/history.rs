//! Older states against a model that keeps every one of them whole.

use std::collections::BTreeMap;

use basalt_primitives::{
    Address, B256, Height, U256,
    state::{Account, StateBefore, StateChanges, StorageChanges},
};
use basalt_storage::{
    Ledger, Reader as _, StorageError,
    tables::{Table, height_key, meta},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{
    chain::{ALICE, CONTRACT, account, grow, next, open},
    opening::raw,
};

#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    accounts: BTreeMap<Address, Account>,
    slots: BTreeMap<(Address, U256), U256>,
}

fn address(n: u8) -> Address {
    // Neighbours, so that a seek that leaves its account is noticed.
    let mut a = Address::repeat_byte(0x77);
    a.0[19] = n;
    a
}

impl Model {
    fn apply(&mut self, changes: &StateChanges) {
        for (a, s) in &changes.storage {
            if s.wiped {
                self.slots.retain(|(of, _), _| of != a);
            }
            self.slots.extend(s.slots.iter().map(|(slot, v)| ((*a, *slot), *v)));
        }
        for (a, account) in &changes.accounts {
            match account {
                Some(account) => drop(self.accounts.insert(*a, *account)),
                None => {
                    self.accounts.remove(a);
                    self.slots.retain(|(of, _), _| of != a);
                }
            }
        }
        self.slots.retain(|_, v| !v.is_zero());
    }

    fn before(&self, changes: &StateChanges) -> StateBefore {
        let slot = |a: &Address, s: &U256| self.slots.get(&(*a, *s)).copied().unwrap_or_default();
        let kept = changes.storage.iter().filter(|(_, s)| !s.wiped);
        StateBefore {
            accounts: changes.accounts.keys().map(|a| self.accounts.get(a).copied()).collect(),
            slots: kept.flat_map(|(a, s)| s.slots.keys().map(move |k| slot(a, k))).collect(),
        }
    }
}

/// What a block might change: new values, old ones again, deletions, wipes.
fn changes(rng: &mut StdRng, model: &Model) -> StateChanges {
    let mut changes = StateChanges::default();
    for n in 0..6 {
        if rng.random_bool(0.6) {
            continue;
        }
        let a = address(n);
        let exists = model.accounts.contains_key(&a);
        if rng.random_bool(0.15) {
            changes.accounts.insert(a, None);
            continue;
        }
        let code_hash = if rng.random_bool(0.3) { B256::repeat_byte(7) } else { Account::default().code_hash };
        let new = Account { code_hash, ..account(rng.random_range(0..3), rng.random_range(0..3)) };
        changes.accounts.insert(a, Some(new));
        if rng.random_bool(0.7) {
            let slots = (0..4).filter(|_| rng.random_bool(0.5)).collect::<Vec<u64>>();
            let slots = slots.into_iter().map(|s| (U256::from(s), U256::from(rng.random_range(0..3u64)))).collect();
            changes.storage.insert(a, StorageChanges { wiped: exists && rng.random_bool(0.2), slots });
        }
    }
    if rng.random_bool(0.5) {
        changes.before = Some(model.before(&changes));
    }
    changes
}

fn assert_states(ledger: &Ledger, models: &[Model], first: u64) {
    let snapshot = ledger.snapshot();
    assert_eq!(snapshot.oldest_state().unwrap(), Height(first));
    for (height, model) in models.iter().enumerate().skip(first as usize) {
        let state = snapshot.state_at(Height(height as u64)).unwrap();
        for n in 0..7 {
            let a = address(n);
            assert_eq!(state.account(&a).unwrap(), model.accounts.get(&a).copied(), "account {n} after {height}");
            for s in 0..5 {
                let value = model.slots.get(&(a, U256::from(s))).copied().unwrap_or_default();
                assert_eq!(state.storage(&a, &U256::from(s)).unwrap(), value, "slot {s} of {n} after {height}");
            }
        }
    }
    let head = models.len() as u64 - 1;
    for gone in (0..first).chain([head + 1]) {
        let refused = snapshot.state_at(Height(gone));
        assert!(matches!(refused, Err(StorageError::StateNotKept { .. })), "{gone}: {refused:?}");
    }
}

fn commit(ledger: &Ledger, models: &mut Vec<Model>, changes: StateChanges) {
    let mut made = next(&ledger.head(), 1);
    let mut model = models.last().unwrap().clone();
    model.apply(&changes);
    made.changes = changes;
    models.push(model);
    ledger.commit(&made.commit()).unwrap();
}

#[test]
fn every_kept_state_is_the_models_whatever_blocks_pruning_and_restarts_come() {
    for seed in 0..4 {
        let mut rng = StdRng::seed_from_u64(seed);
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = open(dir.path()).unwrap();
        let (mut models, mut first) = (vec![Model::default()], 0);
        for _ in 0..40 {
            let changes = changes(&mut rng, models.last().unwrap());
            commit(&ledger, &mut models, changes);
            match rng.random_range(0..12) {
                0 => {
                    let keep = rng.random_range(0..15);
                    let pruned = ledger.prune_history(keep).unwrap();
                    first = first.max((models.len() as u64 - 1).saturating_sub(keep));
                    assert!(pruned.done && pruned.first == Height(first), "seed {seed}: {pruned:?}");
                }
                1 => {
                    drop(ledger);
                    ledger = open(dir.path()).unwrap();
                }
                2 => drop(ledger.reclaim_history().unwrap()),
                _ => {}
            }
            assert_states(&ledger, &models, first);
        }
    }
}

#[test]
fn a_state_that_is_being_read_survives_pruning() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path()).unwrap();
    grow(&ledger, 5);
    let state = ledger.snapshot().state_at(Height(2)).unwrap();
    assert!(ledger.prune_history(0).unwrap().done);
    ledger.reclaim_history().unwrap();
    assert_eq!(state.account(&ALICE).unwrap(), Some(account(2, 999_998)));
    assert_eq!(state.storage(&CONTRACT, &U256::from(3)).unwrap(), U256::ZERO);
    assert_eq!(state.block_hash(Height(3)).unwrap(), None, "later than the state");
    let refused = ledger.snapshot().state_at(Height(2)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "state of block 2 is not kept here; this node keeps the last 1 blocks (5 to 5); ask an archive node"
    );
}

#[test]
fn pruning_works_in_steps_and_gives_the_disk_back() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path()).unwrap();
    let mut models = vec![Model::default()];
    let mut rng = StdRng::seed_from_u64(3);
    for block in 0..30u64 {
        // Fresh keys and incompressible values, so that files have a size.
        let mut changes = StateChanges::default();
        for _ in 0..1000 {
            let a = Address::from(rng.random::<[u8; 20]>());
            changes.accounts.insert(a, Some(account(block, rng.random())));
        }
        commit(&ledger, &mut models, changes);
    }
    let (_, full) = ledger.reclaim_history().unwrap();
    let (mut steps, mut rows) = (0, 0);
    loop {
        let pruned = ledger.prune_history(3).unwrap();
        (steps, rows) = (steps + 1, rows + pruned.rows);
        assert!(pruned.rows < 10_000, "a step is bounded: {pruned:?}");
        if pruned.done {
            break;
        }
    }
    assert!(steps > 2 && rows == 27 * 1001, "{steps} steps, {rows} rows");
    let (before, after) = ledger.reclaim_history().unwrap();
    assert!(before >= full && after * 5 < full, "{full} bytes before, {after} after");
    drop(ledger);
    let db = raw(dir.path());
    let changed = db.cf_handle(Table::Changed.name()).unwrap();
    assert_eq!(db.get_cf(changed, height_key(Height(27))).unwrap(), None);
    assert!(db.get_cf(changed, height_key(Height(28))).unwrap().is_some());
}

#[test]
fn a_ledger_of_older_software_opens_and_keeps_states_from_its_head_on() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path()).unwrap();
    grow(&ledger, 3);
    drop(ledger);
    let mut db = raw(dir.path());
    let added = Table::ALL.into_iter().skip_while(|t| *t != Table::Changed);
    for table in added {
        let meta_rows = db.cf_handle(Table::Meta.name()).unwrap();
        db.delete_cf(meta_rows, meta::schema(table)).unwrap();
        db.drop_cf(table.name()).unwrap();
    }
    for key in [meta::HISTORY, meta::LOG_INDEX] {
        db.delete_cf(db.cf_handle(Table::Meta.name()).unwrap(), key).unwrap();
    }
    drop(db);
    let ledger = open(dir.path()).unwrap();
    assert_eq!(ledger.snapshot().oldest_state().unwrap(), Height(3));
    grow(&ledger, 2);
    let state = |h| ledger.snapshot().state_at(Height(h));
    assert!(matches!(state(2), Err(StorageError::StateNotKept { .. })));
    assert_eq!(state(3).unwrap().account(&ALICE).unwrap(), Some(account(3, 999_997)));
    drop(ledger);
    assert_eq!(open(dir.path()).unwrap().snapshot().oldest_state().unwrap(), Height(3), "migrated once");
}

#[test]
fn changes_whose_past_is_incomplete_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path()).unwrap();
    let mut made = next(&ledger.head(), 1);
    made.changes.before = Some(StateBefore::default());
    assert!(matches!(ledger.commit(&made.commit()), Err(StorageError::NotNext { .. })));
    assert_eq!(ledger.account(&ALICE).unwrap(), Some(account(0, 1_000_000)), "nothing was written");
}
