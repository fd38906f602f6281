//! Lanes, and where a transaction came from.

use alloy_primitives::Address;
use serde::{Deserialize, Serialize};

/// How urgent a transaction is. A better lane goes into blocks first and is the last to give way when the pool is full;
/// within a lane price decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    /// Everyone else.
    #[default]
    Normal,
    /// Senders that the chain specification lists (`essential`).
    Essential,
    /// A validator's call of a system contract.
    System,
}

impl Lane {
    /// All, worst first.
    pub const ALL: [Self; 3] = [Self::Normal, Self::Essential, Self::System];

    /// The part of the pool, and of a block, as one over this, in which the lane comes before others; beyond it its transactions
    /// count as normal. A lane is a way past a crowd, not a way to crowd out.
    pub(super) const fn share(self) -> u64 {
        match self {
            Self::Normal => 1,
            Self::Essential => 2,
            Self::System => 8,
        }
    }

    /// The lane's part of so many transactions.
    pub(super) fn part_of(self, count: usize) -> usize {
        count / self.share() as usize
    }

    /// It and those worse than it, best first.
    pub(super) fn down(self) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().rev().filter(move |l| *l <= self)
    }
}

/// Who brought a transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// Its owner, by RPC.
    #[default]
    Local,
    /// A peer, by a number that stands for it.
    Peer(u64),
}

/// Whether an address is that of a system contract: `0x…0B450001` to `0x…0B4500FF`.
#[must_use]
pub fn is_system_contract(address: &Address) -> bool {
    let (zeros, rest) = address.as_slice().split_at(16);
    zeros.iter().all(|b| *b == 0) && rest[..3] == [0x0b, 0x45, 0] && rest[3] != 0
}
