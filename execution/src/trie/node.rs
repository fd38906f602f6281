//! Nodes as they are held in memory.

use alloy_primitives::{B256, KECCAK256_EMPTY, U256};
use alloy_trie::EMPTY_ROOT_HASH;
use basalt_primitives::state::Account;

/// Index of a node in the arena.
pub(super) type NodeId = u32;

/// How a parent names a node: by the hash of its encoding, by the encoding itself when that is shorter than a hash,
/// or not yet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct NodeRef {
    len: u8,
    bytes: [u8; 32],
}

impl NodeRef {
    /// The node has changed and was not encoded yet.
    pub(super) const DIRTY: Self = Self { len: 0, bytes: [0; 32] };

    pub(super) const fn hash(hash: B256) -> Self {
        Self { len: 32, bytes: hash.0 }
    }

    /// A node whose encoding is shorter than 32 bytes.
    pub(super) fn inline(encoding: &[u8]) -> Self {
        debug_assert!((1..32).contains(&encoding.len()), "longer nodes go by their hash");
        let mut bytes = [0; 32];
        bytes[..encoding.len()].copy_from_slice(encoding);
        Self { len: encoding.len() as u8, bytes }
    }

    pub(super) const fn is_dirty(&self) -> bool {
        self.len == 0
    }

    pub(super) const fn as_hash(&self) -> Option<B256> {
        if self.len == 32 { Some(B256::new(self.bytes)) } else { None }
    }

    /// The bytes: a hash when there are 32.
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// A child: how it is named and, when it is in memory, where.
#[derive(Clone, Copy)]
pub(super) struct Kid {
    pub(super) id: NodeId,
    pub(super) node: NodeRef,
}

impl Kid {
    const COLD: NodeId = NodeId::MAX;

    /// A node that is not in memory.
    pub(super) const fn cold(node: NodeRef) -> Self {
        Self { id: Self::COLD, node }
    }

    /// A node in memory that has changed.
    pub(super) const fn dirty(id: NodeId) -> Self {
        Self { id, node: NodeRef::DIRTY }
    }

    pub(super) const fn is_cold(&self) -> bool {
        self.id == Self::COLD
    }

    pub(super) const fn forget(&mut self) {
        self.id = Self::COLD;
    }

    /// Whether it names the very same, unchanged node.
    pub(super) fn is_unchanged(&self, before: &Self) -> bool {
        !self.node.is_dirty() && self.node == before.node
    }
}

/// An account with everything its leaf holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FullAccount {
    pub(super) account: Account,
    pub(super) storage_root: B256,
}

/// The value of a leaf. Accounts without code and storage, by far the most, are kept short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Plain { nonce: u64, balance: [u64; 2] },
    Account(Box<FullAccount>),
    Slot(U256),
    Raw(Box<[u8]>),
}

impl Value {
    pub(super) fn account(account: Account, storage_root: B256) -> Self {
        let [low, high, 0, 0] = *account.balance.as_limbs() else {
            return Self::Account(Box::new(FullAccount { account, storage_root }));
        };
        if account.code_hash == KECCAK256_EMPTY && storage_root == EMPTY_ROOT_HASH {
            Self::Plain { nonce: account.nonce, balance: [low, high] }
        } else {
            Self::Account(Box::new(FullAccount { account, storage_root }))
        }
    }

    pub(super) fn to_account(&self) -> Option<FullAccount> {
        match self {
            Self::Plain { nonce, balance: [low, high] } => Some(FullAccount {
                account: Account {
                    nonce: *nonce,
                    balance: U256::from_limbs([*low, *high, 0, 0]),
                    code_hash: KECCAK256_EMPTY,
                },
                storage_root: EMPTY_ROOT_HASH,
            }),
            Self::Account(a) => Some(**a),
            _ => None,
        }
    }

    /// Root of the account's storage; of nothing when this is no account.
    pub(super) fn storage_root(&self) -> B256 {
        match self {
            Self::Account(a) => a.storage_root,
            _ => EMPTY_ROOT_HASH,
        }
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Self::Account(_) => size_of::<FullAccount>() + 16,
            Self::Raw(b) => b.len() + 16,
            _ => 0,
        }
    }
}

/// A node. Leaves and extensions carry a full key, so that moving them up or down needs no copying of paths: the depth at
/// which they hang says where their own part of it begins.
#[derive(Clone)]
pub(super) enum Node {
    /// An unused place of the arena, or one whose node is being worked on.
    Vacant,
    Leaf {
        key: B256,
        value: Value,
        stamp: u32,
    },
    /// The nibbles of `key` from where it hangs up to `end` lead to a branch.
    Extension {
        key: B256,
        end: u8,
        kid: Kid,
        stamp: u32,
    },
    /// One child for every bit set in `mask`, in order.
    Branch {
        mask: u16,
        kids: Vec<Kid>,
        stamp: u32,
    },
}

impl Node {
    pub(super) const fn stamp(&self) -> u32 {
        match self {
            Self::Vacant => 0,
            Self::Leaf { stamp, .. } | Self::Extension { stamp, .. } | Self::Branch { stamp, .. } => *stamp,
        }
    }

    pub(super) const fn set_stamp(&mut self, now: u32) {
        match self {
            Self::Vacant => {}
            Self::Leaf { stamp, .. } | Self::Extension { stamp, .. } | Self::Branch { stamp, .. } => *stamp = now,
        }
    }

    /// Memory held beside the arena's own.
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Leaf { value, .. } => value.heap_bytes(),
            Self::Branch { kids, .. } => kids.capacity() * size_of::<Kid>() + 16,
            _ => 0,
        }
    }
}

/// Where the child of a nibble is among the children, or where it would be.
pub(super) const fn kid_index(mask: u16, nibble: u8) -> usize {
    (mask & ((1 << nibble) - 1)).count_ones() as usize
}

/// The nibble of a key at a depth.
pub(super) fn nibble(key: &B256, depth: usize) -> u8 {
    let byte = key.0[depth / 2];
    if depth.is_multiple_of(2) { byte >> 4 } else { byte & 15 }
}

/// The key with another nibble at a depth.
pub(super) fn with_nibble(key: &B256, depth: usize, n: u8) -> B256 {
    let mut key = *key;
    let byte = &mut key.0[depth / 2];
    *byte = if depth.is_multiple_of(2) { n << 4 | (*byte & 15) } else { (*byte & 0xf0) | n };
    key
}

/// The first nibbles of a key, one per byte.
pub(super) fn prefix(key: &B256, len: usize) -> Vec<u8> {
    (0..len).map(|i| nibble(key, i)).collect()
}

/// How many nibbles two keys have in common.
pub(super) fn common(a: &B256, b: &B256) -> usize {
    match a.0.iter().zip(&b.0).position(|(x, y)| x != y) {
        None => 64,
        Some(i) => i * 2 + usize::from((a.0[i] ^ b.0[i]) < 16),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_stays_small() {
        assert!(size_of::<Node>() <= 88, "{}", size_of::<Node>());
        assert_eq!(size_of::<Kid>(), 40);
    }

    #[test]
    fn nibbles_of_a_key() {
        let a = B256::repeat_byte(0x5a);
        assert_eq!(prefix(&a, 4), [5, 10, 5, 10]);
        assert_eq!(common(&a, &a), 64);
        assert_eq!(common(&a, &with_nibble(&a, 7, 3)), 7);
        assert_eq!(common(&a, &with_nibble(&a, 8, 3)), 8);
        assert_eq!(nibble(&with_nibble(&a, 9, 3), 9), 3);
    }
}
