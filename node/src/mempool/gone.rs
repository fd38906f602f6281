//! Why transactions left the pool without being in a block: remembered for a while, for whoever asks.

use std::collections::{HashMap, VecDeque};

use alloy_primitives::B256;
use basalt_primitives::Height;

/// Most that are remembered.
const REMEMBERED: usize = 8_192;

/// Why a transaction left the pool.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Gone {
    /// Another one took its nonce.
    #[error("it was replaced by {0}")]
    Replaced(B256),
    /// The pool was full.
    #[error("it gave way when the pool was full; send it again, with a higher fee if fees are charged")]
    Evicted,
    /// Its window is over.
    #[error("it was valid until block {0}; sign it again with a later validUntil")]
    Expired(Height),
    /// It waited too long.
    #[error("it waited longer than the pool keeps a transaction; send it again")]
    TooOld,
    /// The account's nonce passed it.
    #[error("another transaction of its sender with the same nonce, or a later one, is in a block")]
    NonceUsed,
    /// The account cannot pay it.
    #[error("its sender's balance no longer covers it; add funds and send it again")]
    Unpayable,
    /// What came before it left.
    #[error(
        "a transaction before it left the pool and its nonce was then too far ahead; send the earlier nonces first"
    )]
    TooFar,
    /// The executor refused it.
    #[error(
        "it could not run when a block was built: its effects are impossible on the present state; the node's log says why"
    )]
    Impossible,
}

/// The last that left.
#[derive(Debug, Default)]
pub(super) struct Memory {
    why: HashMap<B256, Gone>,
    order: VecDeque<B256>,
}

impl Memory {
    pub fn note(&mut self, hash: B256, gone: Gone) {
        if self.why.insert(hash, gone).is_none() {
            self.order.push_back(hash);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.why.remove(&oldest);
        }
    }

    pub fn why(&self, hash: &B256) -> Option<&Gone> {
        self.why.get(hash)
    }
}
