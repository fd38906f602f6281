//! What nodes say to each other, and what survives a crash.

use basalt_primitives::{B256, Height, Millis, SealedBlock, U256};

use crate::{SealedHeader, Work};

/// Most headers in one message.
pub const MAX_HEADERS: usize = 512;
/// Most hashes in a locator.
pub const MAX_LOCATOR: usize = 32;

/// A message. Nobody signs: what a header claims, its seal proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Headers in a row, oldest first, at most [`MAX_HEADERS`]: a new head, or an answer.
    Headers(Vec<SealedHeader>),
    /// Asks for the headers after the first of these hashes that is on the asked node's chain, or after genesis where none is. The driver
    /// answers ([`Pow::after`](crate::Pow::after)), since what is final is in its store.
    GetHeaders {
        /// Newest first, at most [`MAX_LOCATOR`].
        locator: Vec<B256>,
    },
}

/// What must survive a crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The lowest block the engine is to know, final. The driver puts it first, from its ledger; genesis needs none.
    Root(Root),
    /// A final block above the root, up to the head of the ledger: so that the engine knows branches that leave the chain below
    /// what is final. The driver puts them after the root, oldest first.
    Trunk(SealedHeader),
    /// A block that was judged valid here. Written before it is announced; may be dropped once it is in the ledger, or below
    /// what is.
    Block(SealedBlock),
    /// The operator's last word on which chain is right.
    Checkpoint {
        /// Height of the block.
        height: Height,
        /// Its hash.
        block: B256,
    },
}

/// A final block with everything that the rules of its descendants rest on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// Hash of the block.
    pub hash: B256,
    /// Its height.
    pub height: Height,
    /// Its timestamp.
    pub time_ms: Millis,
    /// Its target; for genesis, which has none, that of block 1.
    pub target: U256,
    /// Work of the chain up to and with it.
    pub work: Work,
    /// Timestamp of block 1, the anchor of the difficulty.
    pub first_ms: Millis,
    /// Timestamps of up to ten blocks below it, newest first.
    pub times_below: Vec<Millis>,
}
