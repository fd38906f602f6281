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
        let (parent, this, next) = (sets.at(head.height()), sets.at(height), sets.announced(height.next()));
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

/// What the engine is told of a judgement. A block that was decided by the others while it waited here is not judged any more,
/// and nothing is held against it.
#[must_use]
pub fn verdict(judged: &Result<(), BlockError>) -> Verdict {
    match judged {
        Ok(()) => Verdict::Valid,
        Err(BlockError::Early { .. }) => Verdict::NotYet,
        Err(BlockError::NotNext { height, head }) if height <= head => Verdict::NotYet,
        Err(_) => Verdict::Invalid,
    }
}

#[cfg(test)]
mod tests {
    use basalt_primitives::Height;

    use super::*;

    #[test]
    fn a_block_decided_meanwhile_is_not_called_invalid() {
        let not_next = |height, head| Err(BlockError::NotNext { height: Height(height), head: Height(head) });
        assert_eq!(verdict(&not_next(5, 5)), Verdict::NotYet);
        assert_eq!(verdict(&not_next(5, 6)), Verdict::NotYet);
        assert_eq!(verdict(&not_next(7, 5)), Verdict::Invalid, "its parent is executed here before it is judged");
        assert_eq!(verdict(&Err(BlockError::Field("seal"))), Verdict::Invalid);
    }
}
