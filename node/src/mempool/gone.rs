//! Why transactions left the pool without being in a block, or never came in: remembered for a while, for whoever asks.

use std::collections::VecDeque;

use alloy_primitives::{Address, B256, map::B256Map};
use basalt_primitives::Height;

use super::PoolError;

/// Why a transaction is not in the pool.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Gone {
    /// Another one took its nonce.
    #[error("it was replaced by {0}")]
    Replaced(B256),
    /// The pool was full.
    #[error("it gave way when the pool was full")]
    Evicted,
    /// Its window is over.
    #[error("it was valid until block {0}")]
    Expired(Height),
    /// It waited too long.
    #[error("it waited longer than the pool keeps a transaction")]
    TooOld,
    /// The account's nonce passed it.
    #[error("another transaction of its sender with its nonce is in a block")]
    NonceUsed,
    /// The account cannot pay it.
    #[error("its sender's balance no longer covered it together with what comes before it")]
    Unpayable,
    /// What came before it left.
    #[error("a transaction before it left the pool, and its nonce was then too far ahead")]
    TooFar,
    /// The executor refused it.
    #[error("it could not run when a block was built: {0}")]
    Impossible(String),
    /// A block carried it, but it did not run.
    #[error("block {0} carried it, but it could not run: {1}")]
    Skipped(Height, String),
    /// It came by RPC and was not taken.
    #[error("it was not taken: {0}")]
    Refused(PoolError),
}

impl Gone {
    /// What to do.
    #[must_use]
    pub const fn mend(&self) -> &'static str {
        match self {
            Self::Replaced(_) => "nothing, if that was wanted; ask about the one that replaced it",
            Self::Evicted => "send it again, with a higher fee if fees are charged, or when fewer wait",
            Self::Expired(_) => "sign it again with a later validUntil",
            Self::TooOld => "send it again; if it waited for a fee or an earlier nonce, mend that first",
            Self::NonceUsed => "if it is still wanted, sign it again with the account's next nonce",
            Self::Unpayable => "add funds to the sender and send it again",
            Self::TooFar => "send the earlier nonces first, then this one again",
            Self::Impossible(_) | Self::Skipped(..) => "change what the reason names, and sign it again",
            Self::Refused(_) => "do what the reason says, and send it again",
        }
    }
}

/// A transaction that is not in the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Why.
    pub why: Gone,
    /// Its sender.
    pub sender: Address,
    /// Its nonce.
    pub nonce: u64,
}

/// The last that left: no more than a limit.
#[derive(Debug)]
pub(super) struct Memory {
    limit: usize,
    left: B256Map<Left>,
    order: VecDeque<(B256, Address)>,
}

impl Memory {
    pub fn new(limit: usize) -> Self {
        Self { limit, left: B256Map::default(), order: VecDeque::new() }
    }

    pub fn note(&mut self, hash: B256, left: Left) {
        let sender = left.sender;
        if self.left.insert(hash, left).is_none() {
            self.order.push_back((hash, sender));
        }
        if self.order.len() > self.limit
            && let Some((oldest, _)) = self.order.pop_front()
        {
            self.left.remove(&oldest);
        }
    }

    pub fn get(&self, hash: &B256) -> Option<&Left> {
        self.left.get(hash)
    }

    /// The last of a sender that left. Goes through all of them, which is some microseconds: for people who ask.
    pub fn last_of(&self, sender: &Address) -> Option<(B256, &Left)> {
        let (hash, _) = self.order.iter().rev().find(|(_, s)| s == sender)?;
        Some((*hash, self.left.get(hash)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_are_remembered() {
        let mut memory = Memory::new(2);
        let left = |nonce| Left { why: Gone::TooOld, sender: Address::repeat_byte(7), nonce };
        let hash = |n| B256::repeat_byte(n);
        for n in 1..=3 {
            memory.note(hash(n), left(n.into()));
        }
        assert_eq!((memory.get(&hash(1)), memory.get(&hash(2))), (None, Some(&left(2))));
        assert_eq!(memory.last_of(&Address::repeat_byte(7)), Some((hash(3), &left(3))));
        assert_eq!(memory.last_of(&Address::repeat_byte(8)), None);
        memory.note(hash(3), Left { why: Gone::Evicted, ..left(3) });
        assert_eq!(memory.order.len(), 2, "the same again takes no second place");
    }
}
