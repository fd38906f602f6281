//! The rules a header must keep, as far as headers alone can tell. What the body and the results of execution must be, the
//! driver judges.

use basalt_primitives::{Height, Millis, PowParams, U256};

use crate::{
    SealedHeader, Work,
    asert::Schedule,
    mutation::Mutation,
    tree::{Slot, Tree},
};

/// Why a header is refused, for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not one above its parent.
    #[error("its height is {0}, not one above its parent's")]
    Height(Height),
    /// Not the target that is due.
    #[error("its target is {given}, and {due} is due")]
    Target {
        /// What it says.
        given: U256,
        /// What the chain's schedule says.
        due: U256,
    },
    /// Not above the median of the eleven timestamps before it.
    #[error("its time, {time} ms, is not above the median of the eleven before it, {median} ms")]
    Median {
        /// Its time.
        time: Millis,
        /// The median.
        median: Millis,
    },
    /// Another block stands there by the operator's word.
    #[error("the operator's checkpoint names another block of height {0}")]
    Checkpoint(Height),
    /// The block below it is invalid.
    #[error("it rests on an invalid block")]
    OnInvalid,
    /// More work than can be written.
    #[error("its chain claims more than 2^256 hashes")]
    Work,
    /// The tree is full of chains that count for more.
    #[error("the header tree is full")]
    Full,
}

/// The target that is due after a block.
pub(crate) fn target_after(params: &PowParams, tree: &Tree, parent: Slot) -> U256 {
    let parent = tree.get(parent);
    let schedule = Schedule::of(params);
    if Mutation::RelativeTarget.on()
        && parent.height.0 > 1
        && let Some(before) = parent.parent
    {
        let reference = Schedule { reference: parent.target, ..schedule };
        let passed = i128::from(parent.time) - i128::from(tree.get(before).time);
        return reference.target(passed, 0);
    }
    schedule.after(parent.height.0, parent.time, parent.first_ms)
}

/// Checks a sealed header against its parent and gives back the work of its chain. The clock is not asked here.
pub(crate) fn check(params: &PowParams, tree: &Tree, parent: Slot, header: &SealedHeader) -> Result<Work, Refusal> {
    let above = tree.get(parent);
    if header.height() != above.height.next() {
        return Err(Refusal::Height(header.height()));
    }
    let (given, due) = (header.target(), target_after(params, tree, parent));
    if given != due && !Mutation::TargetUnchecked.on() {
        return Err(Refusal::Target { given, due });
    }
    let (time, median) = (header.time(), tree.median_time(parent));
    if time <= median && !Mutation::MedianUnchecked.on() {
        return Err(Refusal::Median { time, median });
    }
    Work::of(given).and_then(|own| above.work.plus(own)).ok_or(Refusal::Work)
}
