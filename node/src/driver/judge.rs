//! Judges proposed blocks: is this a valid child of the head, with a body whose transactions are signed?

use basalt_consensus::Verdict;
use basalt_primitives::SealedBlock;

use super::{
    rules::{self, BlockError, Sets},
    verify::Verifier,
};
use crate::{chain::Chain, clock::SharedClock};

/// What judging needs to know.
#[derive(Clone)]
pub struct Judge {
    /// The chain; its head is the parent.
    pub chain: Chain,
    /// Checks bodies, once.
    pub verifier: Verifier,
    /// Against which block times are held.
    pub clock: SharedClock,
}

impl Judge {
    /// Whether a proposed block may be voted for, and if not, why.
    pub fn check(&self, block: &SealedBlock) -> Result<(), BlockError> {
        let Chain { ledger, sets, spec, genesis, .. } = &self.chain;
        let (head, height) = (ledger.head(), block.height());
        let (parent, this, next) = (sets.at(head.height()), sets.at(height), sets.at(height.next()));
        let (Some(parent), Some(this), Some(next)) = (parent, this, next) else {
            return Err(BlockError::NotNext { height, head: head.height() });
        };
        let sets = Sets { parent: &parent, this: &this, next: &next };
        rules::check_block(spec, *genesis, &head, sets, block, Some(self.clock.wall_ms()))?;
        self.verifier.check_body(block)?;
        match self.verifier.bodies.get(&block.hash()) {
            Some(Err(reason)) => Err(BlockError::InvalidBody(reason)),
            _ => Ok(()),
        }
    }
}

/// What the engine is told of a judgement.
#[must_use]
pub const fn verdict(judged: &Result<(), BlockError>) -> Verdict {
    match judged {
        Ok(()) => Verdict::Valid,
        Err(BlockError::Early { .. }) => Verdict::NotYet,
        Err(_) => Verdict::Invalid,
    }
}
