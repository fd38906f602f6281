//! Newtypes and unit aliases, so that a height cannot be passed where a round is meant.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Milliseconds: of wall time since the Unix epoch, or of a monotonic clock, as the name of the value says.
pub type Millis = u64;

/// A block's number. The genesis block has height 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Height(pub u64);

impl Height {
    /// The height of the genesis block.
    pub const GENESIS: Self = Self(0);

    /// No chain gets here. Decoders refuse more, so that adding to a height that a peer named cannot overflow.
    pub const MAX: Self = Self(1 << 56);

    /// The next height. Panics at `u64::MAX`, far above [`Self::MAX`].
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The height before this one, or `None` at genesis.
    #[must_use]
    pub const fn prev(self) -> Option<Self> {
        match self.0.checked_sub(1) {
            Some(h) => Some(Self(h)),
            None => None,
        }
    }
}

impl fmt::Display for Height {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An attempt to agree on the block of one height. Round 0 is the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Round(pub u32);

impl Round {
    /// The first round of a height.
    pub const ZERO: Self = Self(0);

    /// The next round, saturating.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
