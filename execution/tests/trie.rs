//! The state trie against alloy's, computed from scratch after every block.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256};
use alloy_trie::{Nibbles, TrieAccount, proof::verify_proof};
use basalt_execution::{
    MemoryState, StateTrie, TrieError,
    trie::{EMPTY_ROOT, proof},
};
use basalt_primitives::state::{Account, StateChanges, StorageChanges, TrieKey};
use common::reference_root;
use proptest::prelude::*;

fn address(n: u8) -> Address {
    Address::with_last_byte(n)
}

fn account() -> impl Strategy<Value = Account> {
    let balance = prop_oneof![Just(U256::ZERO), any::<u64>().prop_map(U256::from), Just(U256::MAX)];
    (1..5u64, balance, any::<bool>()).prop_map(|(nonce, balance, code)| Account {
        nonce,
        balance,
        code_hash: if code { B256::repeat_byte(7) } else { KECCAK256_EMPTY },
    })
}

fn storage() -> impl Strategy<Value = StorageChanges> {
    let value = prop_oneof![Just(U256::ZERO), (1..300u64).prop_map(U256::from), Just(U256::MAX)];
    let slots = prop::collection::btree_map((0..20u64).prop_map(U256::from), value, 0..12);
    (prop::bool::weighted(0.15), slots).prop_map(|(wiped, mut slots)| {
        if wiped {
            slots.retain(|_, v| !v.is_zero());
        }
        StorageChanges { wiped, slots }
    })
}

fn changes() -> impl Strategy<Value = StateChanges> {
    let one = (0..60u8, prop::option::weighted(0.8, (account(), prop::option::weighted(0.4, storage()))));
    prop::collection::vec(one, 0..20).prop_map(|all| {
        let mut out = StateChanges::default();
        for (n, change) in all {
            let at = address(n);
            out.storage.remove(&at);
            out.accounts.insert(at, change.as_ref().map(|(a, _)| *a));
            if let Some((_, Some(storage))) = change {
                out.storage.insert(at, storage);
            }
        }
        out
    })
}

#[derive(Clone, Debug)]
enum Then {
    Keep,
    Discard,
    Reopen,
    Budget(usize),
}

fn then() -> impl Strategy<Value = Then> {
    prop_oneof![
        3 => Just(Then::Keep),
        2 => Just(Then::Discard),
        1 => Just(Then::Reopen),
        2 => (0..20_000usize).prop_map(Then::Budget),
    ]
}

/// Nodes of whole tries hang only below accounts that exist.
fn stored_tries_are_alive(state: &MemoryState) {
    let with_storage: BTreeSet<B256> =
        state.accounts().keys().filter(|a| state.slots(a).is_some()).map(keccak256).collect();
    for TrieKey { account, path } in state.nodes().keys() {
        assert!(account.is_none_or(|a| with_storage.contains(&a)), "garbage at {account:?} {path:?}");
    }
}

fn check_proofs(state: &MemoryState, root: B256) {
    for n in (0..60).step_by(7) {
        let at = address(n);
        let slots: Vec<U256> = (0..20).step_by(3).map(U256::from).collect();
        let found = proof(state, root, &at, &slots).unwrap();
        assert_eq!(found.account.as_ref(), state.accounts().get(&at));
        let leaf = found.account.map(|a| {
            alloy_rlp::encode(TrieAccount {
                nonce: a.nonce,
                balance: a.balance,
                storage_root: found.storage_root,
                code_hash: a.code_hash,
            })
        });
        verify_proof(root, Nibbles::unpack(keccak256(at)), leaf, &found.nodes).unwrap();
        for slot in &found.storage {
            let stored = state.slots(&at).and_then(|s| s.get(&slot.slot)).copied().unwrap_or_default();
            assert_eq!(slot.value, stored);
            let value = (!stored.is_zero()).then(|| alloy_rlp::encode(stored));
            let key = Nibbles::unpack(keccak256(slot.slot.to_be_bytes::<32>()));
            verify_proof(found.storage_root, key, value, &slot.nodes).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn state_roots_and_proofs_are_ethereums(blocks in prop::collection::vec((changes(), then()), 1..10)) {
        let (mut trie, mut state) = (StateTrie::open(EMPTY_ROOT, usize::MAX), MemoryState::new());
        for (changes, then) in blocks {
            let before = trie.root();
            let batch = trie.apply(&changes, &state).unwrap();
            let mut after = state.clone();
            after.apply(&changes);
            prop_assert_eq!(batch.root, reference_root(&after));
            if matches!(then, Then::Discard) {
                trie.discard();
                prop_assert_eq!(trie.root(), before);
                continue;
            }
            after.apply_trie(&batch.updates);
            state = after;
            trie.commit();
            match then {
                Then::Reopen => trie = StateTrie::open(batch.root, usize::MAX),
                Then::Budget(bytes) => {
                    trie.set_memory_budget(bytes);
                    prop_assert!(trie.memory() <= bytes);
                }
                _ => {}
            }
        }
        stored_tries_are_alive(&state);
        check_proofs(&state, trie.root());
    }
}

fn small_state() -> (StateTrie, MemoryState) {
    let mut changes = StateChanges::default();
    for n in 0..50 {
        changes.accounts.insert(address(n), Some(Account { nonce: 1, ..Account::default() }));
    }
    let (mut trie, mut state) = (StateTrie::open(EMPTY_ROOT, 0), MemoryState::new());
    let batch = trie.apply(&changes, &state).unwrap();
    state.apply(&changes);
    state.apply_trie(&batch.updates);
    trie.commit();
    (trie, state)
}

#[test]
fn a_damaged_node_is_an_error_that_names_its_place() {
    let (mut trie, state) = small_state();
    let touch = |n| {
        let mut changes = StateChanges::default();
        changes.accounts.insert(address(n), Some(Account { nonce: 2, ..Account::default() }));
        changes
    };
    for key in state.nodes().keys() {
        let mut damaged = state.clone();
        let mut node = damaged.nodes()[key].to_vec();
        let middle = node.len() / 2;
        node[middle] ^= 1;
        damaged.set_node(key.clone(), Some(Bytes::from(node)));
        let results: Vec<_> = (0..50)
            .map(|n| {
                let result = trie.apply(&touch(n), &damaged).map(|b| b.root);
                trie.discard();
                trie.set_memory_budget(0);
                result
            })
            .collect();
        let errors = results.iter().filter_map(|r| r.as_ref().err());
        assert!(errors.clone().count() > 0, "{key:?} is on the way to some account");
        for e in errors {
            assert!(matches!(e, TrieError::Mismatch { place, .. } if *place.0 == *key), "{e}");
        }
    }
}

#[test]
fn an_undecided_result_must_be_decided() {
    let (mut trie, state) = small_state();
    trie.apply(&StateChanges::default(), &state).unwrap();
    assert_eq!(trie.apply(&StateChanges::default(), &state), Err(TrieError::Undecided));
    trie.discard();
    assert!(trie.apply(&StateChanges::default(), &state).is_ok());
}

#[test]
fn storage_of_an_unnamed_account_is_refused() {
    let (mut trie, state) = small_state();
    let storage = BTreeMap::from([(address(1), StorageChanges::default())]);
    let changes = StateChanges { storage, ..StateChanges::default() };
    assert_eq!(trie.apply(&changes, &state), Err(TrieError::Changes(address(1))));
}

#[test]
fn a_root_that_cannot_be_read_leaves_the_trie_as_it_was() {
    let (mut trie, state) = small_state();
    let root = trie.root();
    assert!(trie.apply(&StateChanges::default(), &MemoryState::new()).is_err());
    assert_eq!(trie.root(), root);
    assert_eq!(trie.apply(&StateChanges::default(), &state).map(|b| b.root), Ok(root));
}
