//! The binary hash tree over transaction and receipt hashes, shaped as RFC 6962 section 2.1: leaves are hashed with
//! prefix 0x00 and inner nodes with 0x01, so a leaf can never pass for a node, and no leaf is doubled.

use alloy_primitives::B256;

use crate::HashFn;

/// A proof that a leaf is in a tree: the sibling hashes from the leaf up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InclusionProof {
    /// Position of the leaf.
    pub index: u64,
    /// Number of leaves in the tree.
    pub leaves: u64,
    /// Sibling hashes, the leaf's first.
    pub path: Vec<B256>,
}

fn leaf(hash_fn: HashFn, data: &B256) -> B256 {
    let mut buf = [0u8; 33];
    buf[1..].copy_from_slice(data.as_slice());
    hash_fn.hash(&buf)
}

fn node(hash_fn: HashFn, left: &B256, right: &B256) -> B256 {
    let mut buf = [1u8; 65];
    buf[1..33].copy_from_slice(left.as_slice());
    buf[33..].copy_from_slice(right.as_slice());
    hash_fn.hash(&buf)
}

/// Largest power of two below n (n ≥ 2): where RFC 6962 splits a list.
const fn split(n: usize) -> usize {
    n.next_power_of_two() / 2
}

/// The root over the leaves; of none, the hash of the empty string.
#[must_use]
pub fn root(hash_fn: HashFn, leaves: &[B256]) -> B256 {
    match leaves {
        [] => hash_fn.hash(&[]),
        [one] => leaf(hash_fn, one),
        _ => {
            let (l, r) = leaves.split_at(split(leaves.len()));
            node(hash_fn, &root(hash_fn, l), &root(hash_fn, r))
        }
    }
}

/// The proof for the leaf at `index`, or `None` when there is no such leaf.
#[must_use]
pub fn prove(hash_fn: HashFn, leaves: &[B256], index: usize) -> Option<InclusionProof> {
    if index >= leaves.len() {
        return None;
    }
    let mut path = Vec::new();
    build_path(hash_fn, leaves, index, &mut path);
    Some(InclusionProof { index: index as u64, leaves: leaves.len() as u64, path })
}

fn build_path(hash_fn: HashFn, leaves: &[B256], index: usize, path: &mut Vec<B256>) {
    if leaves.len() < 2 {
        return;
    }
    let at = split(leaves.len());
    let (l, r) = leaves.split_at(at);
    if index < at {
        build_path(hash_fn, l, index, path);
        path.push(root(hash_fn, r));
    } else {
        build_path(hash_fn, r, index - at, path);
        path.push(root(hash_fn, l));
    }
}

impl InclusionProof {
    /// The root this proof leads to for the leaf, or `None` when the proof's shape is impossible.
    #[must_use]
    pub fn root(&self, hash_fn: HashFn, data: &B256) -> Option<B256> {
        if self.index >= self.leaves {
            return None;
        }
        let mut path = self.path.iter();
        let root = fold(hash_fn, self.index, self.leaves, data, &mut path)?;
        path.next().is_none().then_some(root)
    }
}

fn fold<'a>(
    hash_fn: HashFn,
    index: u64,
    leaves: u64,
    data: &B256,
    path: &mut impl Iterator<Item = &'a B256>,
) -> Option<B256> {
    if leaves == 1 {
        return Some(leaf(hash_fn, data));
    }
    let at = 1u64 << (63 - (leaves - 1).leading_zeros()); // largest power of two below `leaves`
    if index < at {
        let l = fold(hash_fn, index, at, data, path)?;
        Some(node(hash_fn, &l, path.next()?))
    } else {
        let r = fold(hash_fn, index - at, leaves - at, data, path)?;
        Some(node(hash_fn, path.next()?, &r))
    }
}
