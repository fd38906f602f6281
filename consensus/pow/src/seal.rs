//! Sealed headers: a header with its hash, whose nonce has been checked against its own target.
//!
//! The check costs three hashes and needs nothing but the header, so the driver's worker pool does it; a [`SealedHeader`] cannot be
//! had without. Whether that target is the right one is for the engine to say.

use std::sync::Arc;

use basalt_primitives::{B256, HashFn, Header, Height, Millis, Seal, SealedBlock, U256, WorkHash};

use crate::mutation::Mutation;

/// What sealing a header on some chain takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealing {
    /// The chain's hash function.
    pub hash_fn: HashFn,
    /// What miners hash.
    pub work_hash: WorkHash,
}

/// A header that meets its own target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedHeader {
    hash: B256,
    header: Arc<Header>,
    target: U256,
}

/// Why a header is not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It carries no target and nonce.
    #[error("the header of height {0} has no proof of work")]
    None(Height),
    /// The number its nonce leads to is above its target.
    #[error("the header of height {0} does not meet its target")]
    NotMet(Height),
}

impl Sealing {
    /// Checks a header's seal against its own target.
    pub fn check(&self, header: Header) -> Result<SealedHeader, SealError> {
        let height = header.height;
        let Seal::Work { target, nonce } = header.seal else { return Err(SealError::None(height)) };
        let sealing_hash = header.sealing_hash(self.hash_fn).ok_or(SealError::None(height))?;
        let met = self.work_hash.number(sealing_hash, nonce) <= target || Mutation::SealUnchecked.on();
        if target.is_zero() || !met {
            return Err(SealError::NotMet(height));
        }
        Ok(SealedHeader { hash: header.hash(self.hash_fn), header: Arc::new(header), target })
    }

    /// Tries nonces from `from` on, `tries` of them, for a header that carries its target; gives back the one that seals it.
    #[must_use]
    pub fn search(&self, header: &Header, from: u64, tries: u64) -> Option<u64> {
        let Seal::Work { target, .. } = header.seal else { return None };
        let sealing_hash = header.sealing_hash(self.hash_fn)?;
        (0..tries).map(|i| from.wrapping_add(i)).find(|nonce| self.work_hash.number(sealing_hash, *nonce) <= target)
    }
}

impl SealedHeader {
    /// The header of a block that is in the tree, so it was checked on the way in.
    pub(crate) fn of_judged(block: &SealedBlock, target: U256) -> Self {
        Self { hash: block.hash(), header: Arc::new(block.header().clone()), target }
    }

    /// The block hash.
    #[must_use]
    pub const fn hash(&self) -> B256 {
        self.hash
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The header, by value.
    #[must_use]
    pub fn into_header(self) -> Header {
        Arc::unwrap_or_clone(self.header)
    }

    /// The target it meets.
    #[must_use]
    pub const fn target(&self) -> U256 {
        self.target
    }

    /// Its height.
    #[must_use]
    pub fn height(&self) -> Height {
        self.header.height
    }

    /// Its timestamp.
    #[must_use]
    pub fn time(&self) -> Millis {
        self.header.timestamp_ms
    }

    /// Hash of its parent.
    #[must_use]
    pub fn parent(&self) -> B256 {
        self.header.parent_hash
    }
}
