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
    /// Whether a proposed block may be voted for. What is wrong with it goes to the log.
    #[must_use]
    pub fn verdict(&self, block: &SealedBlock) -> Verdict {
        match self.check(block) {
            Ok(()) => Verdict::Valid,
            Err(e @ BlockError::Early { .. }) => {
                tracing::warn!(height = %block.height(), "proposal not voted for yet: {e}");
                Verdict::NotYet
            }
            Err(e) => {
                tracing::warn!(height = %block.height(), hash = %block.hash(), "invalid proposal: {e}");
                Verdict::Invalid
            }
        }
    }

    fn check(&self, block: &SealedBlock) -> Result<(), BlockError> {
        let Chain { ledger, sets, spec, genesis, .. } = &self.chain;
        let (head, height) = (ledger.head(), block.height());
        let (parent, this, next) = (sets.at(head.height()), sets.at(height), sets.at(height.next()));
        let sets = Sets { parent: &parent, this: &this, next: &next };
        rules::check_block(spec, *genesis, &head, sets, block, Some(self.clock.wall_ms()))?;
        self.verifier.check_body(block)?;
        match self.verifier.bodies.get(&block.hash()) {
            Some(Err(reason)) => Err(BlockError::InvalidBody(reason)),
            _ => Ok(()),
        }
    }
}
