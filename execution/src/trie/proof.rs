//! Merkle proofs (EIP-1186) and walks, straight from the store: no part of a [`super::StateTrie`] is needed or touched,
//! so any thread with a consistent view of the store can answer.

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_trie::EMPTY_ROOT_HASH;
use basalt_primitives::state::{Account, TrieKey};

use super::{
    codec::Leaves,
    error::TrieError,
    node::{Kid, Node, NodeRef, Value, common, kid_index, nibble, prefix, with_nibble},
    update::read_node,
};
use crate::ports::TrieReader;

/// Proof of an account, and of some of its slots, against a state root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountProof {
    /// The account, or `None`: the proof then shows that it does not exist.
    pub account: Option<Account>,
    /// Root of its storage.
    pub storage_root: B256,
    /// Nodes from the root to the account, or to where its way ends.
    pub nodes: Vec<Bytes>,
    /// The slots asked for, in order.
    pub storage: Vec<StorageProof>,
}

/// Proof of a slot against an account's storage root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageProof {
    /// The slot.
    pub slot: U256,
    /// Its value; zero when it was never set.
    pub value: U256,
    /// Nodes from the storage root on.
    pub nodes: Vec<Bytes>,
}

/// Proves an account and slots of it against the state root `root`, which must be the one the reader's nodes belong to.
pub fn proof(
    reader: &dyn TrieReader,
    root: B256,
    address: &Address,
    slots: &[U256],
) -> Result<AccountProof, TrieError> {
    let key = keccak256(address);
    let (found, nodes) = walk(reader, None, root, &key, Leaves::Accounts)?;
    let full = found.as_ref().and_then(Value::to_account);
    let storage_root = full.map_or(EMPTY_ROOT_HASH, |f| f.storage_root);
    let prove_slot = |slot: &U256| {
        let at = keccak256(slot.to_be_bytes::<32>());
        let (found, nodes) = walk(reader, Some(key), storage_root, &at, Leaves::Slots)?;
        let value = if let Some(Value::Slot(v)) = found { v } else { U256::ZERO };
        Ok(StorageProof { slot: *slot, value, nodes })
    };
    let storage = slots.iter().map(prove_slot).collect::<Result<_, TrieError>>()?;
    Ok(AccountProof { account: full.map(|f| f.account), storage_root, nodes, storage })
}

type Walk = (Option<Value>, Vec<Bytes>);

fn walk(
    reader: &dyn TrieReader,
    account: Option<B256>,
    root: B256,
    key: &B256,
    leaves: Leaves,
) -> Result<Walk, TrieError> {
    let mut nodes = Vec::new();
    if root == EMPTY_ROOT_HASH {
        return Ok((None, nodes));
    }
    let (mut at, mut depth) = (Kid::cold(NodeRef::hash(root)), 0);
    loop {
        let node = read_node(reader, account, &at, key, depth, leaves)?;
        if at.node.as_hash().is_some() {
            nodes.extend(reader.node(&TrieKey { account, path: prefix(key, depth) })?);
        }
        match node {
            Node::Leaf { key: own, value, .. } => return Ok(((own == *key).then_some(value), nodes)),
            Node::Extension { key: own, end, kid, .. } => {
                if common(&own, key) < usize::from(end) {
                    return Ok((None, nodes));
                }
                (at, depth) = (kid, usize::from(end));
            }
            Node::Branch { mask, kids, .. } => {
                let n = nibble(key, depth);
                if mask & 1 << n == 0 {
                    return Ok((None, nodes));
                }
                (at, depth) = (kids[kid_index(mask, n)], depth + 1);
            }
            Node::Vacant => unreachable!("reading gives nodes"),
        }
    }
}

/// The places of a storage trie's nodes, at most `max` of them.
pub(super) fn places_below(
    reader: &dyn TrieReader,
    account: B256,
    root: B256,
    max: usize,
) -> Result<Vec<TrieKey>, TrieError> {
    let mut places = Vec::new();
    let mut rest = vec![(Kid::cold(NodeRef::hash(root)), B256::ZERO, 0)];
    while let Some((kid, key, depth)) = rest.pop() {
        if places.len() >= max {
            break;
        }
        if kid.node.as_hash().is_some() {
            places.push(TrieKey { account: Some(account), path: prefix(&key, depth) });
        }
        match read_node(reader, Some(account), &kid, &key, depth, Leaves::Slots)? {
            Node::Extension { key, end, kid, .. } => rest.push((kid, key, usize::from(end))),
            Node::Branch { mask, kids, .. } => {
                let nibbles = (0..16).filter(|n| mask & 1 << n != 0);
                rest.extend(nibbles.zip(kids).map(|(n, kid)| (kid, with_nibble(&key, depth, n), depth + 1)));
            }
            _ => {}
        }
    }
    Ok(places)
}
