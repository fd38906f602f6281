//! The engine below [`StateTrie`], driven with raw keys: clustered ones make extensions, splits, collapses and nodes short
//! enough to live inside their parents, which hashed keys hardly ever do.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::B256;
use alloy_trie::{HashBuilder, Nibbles};
use proptest::prelude::*;

use super::{
    codec::Leaves,
    node::{Kid, Node, with_nibble},
    update::read_node,
    *,
};
use crate::MemoryState;

type Model = BTreeMap<B256, Vec<u8>>;
type Step = (BTreeMap<B256, Option<Vec<u8>>>, Then);

impl StateTrie {
    /// Drops everything from memory.
    fn forget_all(&mut self) {
        self.root.iter_mut().for_each(|kid| evict::forget(&mut self.arena, kid));
        self.storages.drain().for_each(|(_, mut kid)| evict::forget(&mut self.arena, &mut kid));
        assert_eq!(self.arena.bytes(), 0, "nodes that nothing leads to stayed in memory");
    }
}

fn reference_root(model: &Model) -> B256 {
    let mut builder = HashBuilder::default();
    for (key, value) in model {
        builder.add_leaf(Nibbles::unpack(key), value);
    }
    builder.root()
}

fn apply_to_model(model: &mut Model, ops: &[(B256, Option<Vec<u8>>)]) {
    for (key, value) in ops {
        match value {
            Some(v) => model.insert(*key, v.clone()),
            None => model.remove(key),
        };
    }
}

/// Places of all stored nodes that lead from the root.
fn reachable(store: &MemoryState, root: B256) -> BTreeSet<TrieKey> {
    let mut places = BTreeSet::new();
    let mut rest = Vec::new();
    if root != EMPTY_ROOT {
        rest.push((Kid::cold(NodeRef::hash(root)), B256::ZERO, 0));
    }
    while let Some((kid, key, depth)) = rest.pop() {
        if kid.node.as_hash().is_some() {
            places.insert(TrieKey { account: None, path: node::prefix(&key, depth) });
        }
        match read_node(store, None, &kid, &key, depth, Leaves::Raw).expect("the store is whole") {
            Node::Extension { key, end, kid, .. } => rest.push((kid, key, usize::from(end))),
            Node::Branch { mask, kids, .. } => {
                let nibbles = (0..16).filter(|n| mask & 1 << n != 0);
                rest.extend(nibbles.zip(kids).map(|(n, kid)| (kid, with_nibble(&key, depth, n), depth + 1)));
            }
            _ => {}
        }
    }
    places
}

/// Keys that share long prefixes and differ early, in the middle, and in their very last nibbles.
fn clustered_key() -> impl Strategy<Value = B256> {
    (0..3u8, 0..2u8, 0..3u8, 0..4u8, 0..4u8).prop_map(|(a, b, c, d, e)| {
        let mut key = B256::ZERO;
        (key.0[0], key.0[1], key.0[15], key.0[30], key.0[31]) = (a << 4 | b, b << 4, c, d << 4 | (e & 1), e << 4 | d);
        key
    })
}

fn value() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop_oneof![
        2 => Just(None),
        2 => prop::collection::vec(1..=255u8, 1..3).prop_map(Some),
        2 => prop::collection::vec(any::<u8>(), 33..70).prop_map(Some),
    ]
}

#[derive(Clone, Debug)]
enum Then {
    Keep,
    Forget,
    Evict,
    Discard,
}

fn step() -> impl Strategy<Value = Step> {
    let then =
        prop_oneof![3 => Just(Then::Keep), 2 => Just(Then::Forget), 2 => Just(Then::Evict), 2 => Just(Then::Discard)];
    (prop::collection::btree_map(clustered_key(), value(), 1..24), then)
}

fn run_steps(steps: Vec<Step>) {
    let (mut trie, mut store, mut model) = (StateTrie::open(EMPTY_ROOT, usize::MAX), MemoryState::new(), Model::new());
    for (ops, then) in steps {
        let ops: Vec<_> = ops.into_iter().collect();
        let before = trie.root();
        let batch = trie.apply_raw(&ops, &store).expect("the store is whole");
        let mut after = model.clone();
        apply_to_model(&mut after, &ops);
        assert_eq!(batch.root, reference_root(&after), "root after {ops:?} on {model:?}");
        if matches!(then, Then::Discard) {
            trie.discard();
            assert_eq!(trie.root(), before);
            continue;
        }
        model = after;
        store.apply_trie(&batch.updates);
        trie.memory_budget = if matches!(then, Then::Evict) { 1500 } else { usize::MAX };
        trie.commit();
        assert!(!matches!(then, Then::Evict) || trie.memory() <= 1500);
        if matches!(then, Then::Forget) {
            trie.forget_all();
        }
        let stored: BTreeSet<TrieKey> = store.nodes().keys().cloned().collect();
        assert_eq!(stored, reachable(&store, trie.root()), "the store holds the trie's nodes and no others");
    }
    trie.forget_all();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is inserted, changed, deleted, kept, thrown away or evicted: the root is Ethereum's, and the store holds
    /// exactly the nodes of the trie.
    #[test]
    fn roots_and_stored_nodes_are_right(steps in prop::collection::vec(step(), 1..10)) {
        run_steps(steps);
    }

    /// Decoding what was encoded gives the same node again; bytes from elsewhere never panic.
    #[test]
    fn decoding_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..80), key in any::<[u8; 32]>(), depth in 0..64usize) {
        for leaves in [Leaves::Accounts, Leaves::Slots, Leaves::Raw] {
            let _ = codec::decode(&bytes, &B256::new(key), depth, leaves);
        }
    }
}

#[test]
fn a_failed_apply_changes_nothing() {
    let mut store = MemoryState::new();
    let mut trie = StateTrie::open(EMPTY_ROOT, usize::MAX);
    let key = |a: u8, b: u8| with_nibble(&with_nibble(&B256::ZERO, 0, a), 40, b);
    let ops: Vec<_> = (0..4).flat_map(|a| (0..4).map(move |b| (key(a, b), Some(vec![a + 1; 40])))).collect();
    let batch = trie.apply_raw(&ops, &store).expect("empty store");
    store.apply_trie(&batch.updates);
    trie.commit();
    trie.forget_all();
    let damaged = TrieKey { account: None, path: vec![2] };
    let good = store.nodes().get(&damaged).cloned();
    store.set_node(damaged.clone(), None);
    let change: Vec<_> = (0..4).map(|a| (key(a, 1), None)).collect();
    let failed = trie.apply_raw(&change, &store).expect_err("a node is missing");
    assert!(matches!(&failed, TrieError::Missing { place, .. } if *place.0 == damaged), "{failed}");
    assert!(failed.to_string().contains("account path 2"), "{failed}");
    assert_eq!(trie.root(), batch.root);
    store.set_node(damaged, good);
    let mut model: Model = ops.into_iter().map(|(k, v)| (k, v.expect("set"))).collect();
    apply_to_model(&mut model, &change);
    assert_eq!(trie.apply_raw(&change, &store).expect("mended").root, reference_root(&model));
}
