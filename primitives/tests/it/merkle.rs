//! The hash tree: the RFC 6962 shape, proofs that hold for every leaf and for nothing else.

use alloy_primitives::B256;
use basalt_primitives::{
    HashFn,
    merkle::{InclusionProof, prove, root},
};
use proptest::prelude::*;

const ALL: [HashFn; 3] = [HashFn::Sha256, HashFn::Keccak256, HashFn::Blake3];

fn leaves(n: usize) -> Vec<B256> {
    (0..n).map(|i| B256::with_last_byte(u8::try_from(i).unwrap())).collect()
}

/// RFC 6962 section 2.1 written out for five leaves.
#[test]
fn shape_is_that_of_rfc_6962() {
    for f in ALL {
        let leaf = |d: &B256| f.hash(&[&[0], d.as_slice()].concat());
        let node = |l: B256, r: B256| f.hash(&[&[1], l.as_slice(), r.as_slice()].concat());
        let d = leaves(5);
        assert_eq!(root(f, &[]), f.hash(b""));
        assert_eq!(root(f, &d[..1]), leaf(&d[0]));
        assert_eq!(root(f, &d[..2]), node(leaf(&d[0]), leaf(&d[1])));
        assert_eq!(root(f, &d[..3]), node(node(leaf(&d[0]), leaf(&d[1])), leaf(&d[2])));
        let four = node(node(leaf(&d[0]), leaf(&d[1])), node(leaf(&d[2]), leaf(&d[3])));
        assert_eq!(root(f, &d), node(four, leaf(&d[4])));
    }
}

/// The empty tree and a one-leaf tree over the published RFC 6962 reference vector of the empty leaf list.
#[test]
fn empty_tree_is_the_published_value() {
    let want = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(hex::encode(root(HashFn::Sha256, &[])), want);
}

#[test]
fn every_leaf_of_every_small_tree_proves() {
    for f in ALL {
        for n in 1..=33 {
            let d = leaves(n);
            let r = root(f, &d);
            for (i, leaf) in d.iter().enumerate() {
                assert_eq!(prove(f, &d, i).unwrap().root(f, leaf), Some(r), "{n} leaves, leaf {i}");
            }
            assert_eq!(prove(f, &d, n), None);
        }
    }
}

#[test]
fn impossible_proofs_are_refused_whatever_their_numbers() {
    let path = vec![B256::ZERO; 64];
    for (index, leaves) in [(0, 0), (1, 1), (5, 5), (u64::MAX, u64::MAX), (0, u64::MAX - 1), (u64::MAX - 1, u64::MAX)] {
        // No panic and no endless loop; the ones whose shape is possible need a path of just the right length.
        let _ = InclusionProof { index, leaves, path: path.clone() }.root(HashFn::Sha256, &B256::ZERO);
        assert_eq!(InclusionProof { index, leaves, path: vec![] }.root(HashFn::Sha256, &B256::ZERO), None);
    }
}

fn hash_fn() -> impl Strategy<Value = HashFn> {
    prop_oneof![Just(HashFn::Sha256), Just(HashFn::Keccak256), Just(HashFn::Blake3)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A proof proves its leaf; with any change to leaf, index or path it leads to another root, or nowhere.
    #[test]
    fn a_proof_holds_and_any_change_breaks_it(
        f in hash_fn(),
        data in prop::collection::btree_set(any::<[u8; 32]>(), 1..100),
        pick in any::<prop::sample::Index>(),
        bit in 0usize..256,
    ) {
        let d: Vec<B256> = data.into_iter().map(B256::from).collect();
        let i = pick.index(d.len());
        let (r, proof) = (root(f, &d), prove(f, &d, i).unwrap());
        prop_assert_eq!(proof.root(f, &d[i]), Some(r));

        let mut leaf = d[i];
        leaf.0[bit / 8] ^= 1 << (bit % 8);
        prop_assert_ne!(proof.root(f, &leaf), Some(r));
        for index in (0..d.len() as u64 + 2).filter(|j| *j != i as u64) {
            let moved = InclusionProof { index, ..proof.clone() };
            prop_assert_ne!(moved.root(f, &d[i]), Some(r));
        }
        for at in 0..proof.path.len() {
            let mut changed = proof.clone();
            changed.path[at].0[bit / 8] ^= 1 << (bit % 8);
            prop_assert_ne!(changed.root(f, &d[i]), Some(r));
            let mut shorter = proof.clone();
            shorter.path.remove(at);
            prop_assert_ne!(shorter.root(f, &d[i]), Some(r));
        }
        let mut longer = proof.clone();
        longer.path.push(r);
        prop_assert_ne!(longer.root(f, &d[i]), Some(r));
    }

    /// The root binds every leaf, their number and their order.
    #[test]
    fn the_root_binds_the_list(
        f in hash_fn(),
        mut d in prop::collection::vec(any::<[u8; 32]>().prop_map(B256::from), 1..40),
        pick in any::<prop::sample::Index>(),
        bit in 0usize..256,
    ) {
        let r = root(f, &d);
        let i = pick.index(d.len());
        prop_assert_ne!(root(f, &d[..d.len() - 1]), r);
        d.push(*d.last().unwrap());
        prop_assert_ne!(root(f, &d), r, "no leaf is doubled silently");
        d.pop();
        d[i].0[bit / 8] ^= 1 << (bit % 8);
        prop_assert_ne!(root(f, &d), r);
    }
}
