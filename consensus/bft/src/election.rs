//! Who proposes. One function, so that whoever needs to know asks the same question.

use basalt_primitives::{Height, Round, ValidatorSet};

/// Index of the proposer of a round: round robin over the set, so that every validator gets its turn and no two
/// consecutive rounds of a height have the same proposer (unless there is only one validator).
///
/// This is where skipping absent proposers (by what the certificates in blocks prove) and election by stake come in; both
/// are functions of the chain alone and change nothing else.
#[must_use]
pub fn proposer(set: &ValidatorSet, height: Height, round: Round) -> u16 {
    let n = set.len() as u64;
    let index = (height.0 % n + u64::from(round.0) % n) % n;
    u16::try_from(index).expect("a set has at most 256 validators")
}
