//! What can go wrong with the trie. A root is either right or an error: never a guess.

use std::fmt;

use alloy_primitives::{Address, B256};
use basalt_primitives::state::TrieKey;

use crate::ports::StateError;

/// Why a root, a proof or a node could not be had.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum TrieError {
    /// The store failed.
    #[error(transparent)]
    State(#[from] StateError),
    /// A node that its parent names is not stored.
    #[error(
        "the state trie is damaged: no node at {place}, where {expected} is expected; run `basalt scrub` or restore a backup"
    )]
    Missing {
        /// Where.
        place: Place,
        /// Hash of the missing node.
        expected: B256,
    },
    /// A stored node is not the one its parent names.
    #[error(
        "the state trie is damaged: the node at {place} hashes to {actual}, not {expected}; run `basalt scrub` or restore a backup"
    )]
    Mismatch {
        /// Where.
        place: Place,
        /// Hash its parent names.
        expected: B256,
        /// Hash of what is stored.
        actual: B256,
    },
    /// A stored node has the right hash and is no trie node.
    #[error("the state trie is damaged: the node at {place} cannot be read ({problem}); restore a backup")]
    Malformed {
        /// Where.
        place: Place,
        /// What is wrong.
        problem: &'static str,
    },
    /// [`apply`](super::StateTrie::apply) was called before the last result was kept or discarded.
    #[error("the trie holds an undecided result; commit or discard it before applying another block")]
    Undecided,
    /// The changes name storage of an account that is not among them.
    #[error("storage of {0} changed, but the account is not among the block's changes")]
    Changes(Address),
}

/// Where a node hangs, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place(pub Box<TrieKey>);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.account {
            None => f.write_str("account path ")?,
            Some(account) => write!(f, "storage of account {account}, path ")?,
        }
        if self.0.path.is_empty() {
            return f.write_str("(root)");
        }
        let digits: Vec<u8> =
            self.0.path.iter().map(|n| char::from_digit(u32::from(*n), 16).map_or(b'?', |c| c as u8)).collect();
        f.write_str(std::str::from_utf8(&digits).unwrap_or("?"))
    }
}

impl Place {
    /// Makes a place from nibbles.
    #[must_use]
    pub fn new(account: Option<B256>, nibbles: &[u8]) -> Self {
        Self(Box::new(TrieKey { account, path: nibbles.to_vec() }))
    }
}
