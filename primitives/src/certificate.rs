//! Commit certificates: the proof that a quorum of validators committed a block.

use alloy_primitives::B256;

use crate::{HashFn, Height, Round, Signature, layout::Layout};

/// One validator's signature in a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitSignature {
    /// Index in the validator set of the certificate's height.
    pub validator: u16,
    /// Signature over [`crate::validators::vote_bytes`] of the commit vote.
    pub signature: Signature,
}

/// Commit votes of a quorum for one block in one round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitCertificate {
    /// Height of the block.
    pub height: Height,
    /// Round in which the quorum committed.
    pub round: Round,
    /// Hash of the block.
    pub block_hash: B256,
    /// Signatures by rising validator index, each index at most once.
    pub signatures: Vec<CommitSignature>,
}

impl CommitCertificate {
    /// The certificate's hash, carried by the next header.
    #[must_use]
    pub fn hash(&self, hash_fn: HashFn) -> B256 {
        let mut l = Layout::new("basalt/commit-certificate/v1");
        l.u64(self.height.0).u32(self.round.0).fixed(&self.block_hash.0).len(self.signatures.len());
        for s in &self.signatures {
            l.u16(s.validator).fixed(&s.signature.0);
        }
        hash_fn.of(&l)
    }
}
