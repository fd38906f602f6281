//! The sign record: what must be on disk before a validator speaks, so that no crash makes it contradict itself.

use basalt_primitives::{B256, Height, Round, SealedBlock};

use crate::message::PreparedCertificate;

/// A prepared block: the certificate and the body, which only ever go together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// Prepare votes of a quorum.
    pub certificate: PreparedCertificate,
    /// The block they are for.
    pub block: SealedBlock,
}

/// One entry of the sign record. Entries of heights up to the newest executed block may be dropped, except the newest entry:
/// an empty record counts as none, and one that holds only [`Record::Initial`] as that of a key never used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// First entry of a new key, written by `network create` or `node init` and by nobody else: it has signed nothing.
    Initial {
        /// Hash of the genesis block.
        genesis: B256,
    },
    /// A commit vote for `prepared` in the round of its certificate. Synced before the vote leaves.
    Vote {
        /// Height of the vote.
        height: Height,
        /// What is voted for, and why.
        prepared: Prepared,
    },
    /// The validator is in this round or about to be, and votes no more in lower ones. Synced before its round change, or
    /// its first vote in a round above 0, leaves.
    Round {
        /// Height of the round.
        height: Height,
        /// The round.
        round: Round,
    },
    /// A record begun anew after the disk was lost: this key votes at `height` only above `round`, at the next height only
    /// above round 0, and below `height` never.
    Recovered {
        /// The height.
        height: Height,
        /// The round.
        round: Round,
        /// What the others had prepared at that height.
        prepared: Option<Prepared>,
        /// Power of the validators whose answers this rests on.
        answers: u64,
    },
    /// Written by `basalt validator reset-record` where the record is lost, and by nobody else: an operator lets this key
    /// recover with answers of less power than is safe by itself (see the crate documentation). As the newest entry it
    /// releases; a [`Record::Recovered`] after it ends it.
    Released {
        /// Hash of the genesis block.
        genesis: B256,
        /// Power that must answer.
        answers: u64,
    },
}

impl Record {
    /// The height it speaks of; 0 for the initial one.
    #[must_use]
    pub const fn height(&self) -> Height {
        match self {
            Self::Initial { .. } | Self::Released { .. } => Height::GENESIS,
            Self::Vote { height, .. } | Self::Round { height, .. } | Self::Recovered { height, .. } => *height,
        }
    }
}
