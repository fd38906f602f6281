//! How long this validator waits for a round, learnt from how long rounds take.
//!
//! In: for each height decided by voting, how long the deciding round took here, on the monotonic clock, and whether a round
//! ran out of time although its proposer was alive. Out: the *base*, the timeout of round 0, and what an operator should
//! know about the cap ([`Timing`]).
//!
//! The base is local; nothing is agreed on by it. It never leaves [`BftParams::round_timeout_ms`]…[`BftParams::round_timeout_cap_ms`]:
//! - **F** (floor): twice the *typical* time, which two thirds of the recent heights did not exceed. Fewer than a third of the
//!   proposers are Byzantine, and the window spans a whole rotation, so they do not move it by proposing late.
//! - **G** (grow): doubled, at most once a height, when a round of a live proposer ran out of time: so a network that has
//!   become slow does not start from scratch at each height.
//! - **S** (shrink): a quarter less after a height without, down to the floor. A Byzantine proposer that lets its rounds run
//!   out each time it is elected doubles the base once in n > 3f heights, which the heights between take back.

use std::collections::VecDeque;

use basalt_primitives::{Millis, ValidatorSet, chainspec::BftParams};

/// Fewest heights that are looked back on; more where a rotation is longer.
const WINDOW: usize = 16;

/// What has been learnt.
#[derive(Debug)]
pub(crate) struct Pace {
    base: Millis,
    /// Times of recent deciding rounds, oldest first.
    took: VecDeque<Millis>,
}

impl Pace {
    pub const fn new(params: &BftParams) -> Self {
        Self { base: params.round_timeout_ms, took: VecDeque::new() }
    }

    /// The timeout of round 0.
    pub const fn base(&self) -> Millis {
        self.base
    }

    /// A height was decided: `took` so long in the deciding round here, if this validator was in it all along; in a round
    /// before it a live proposer `ran_out` of time.
    pub fn decided(&mut self, params: &BftParams, set: &ValidatorSet, took: Option<Millis>, ran_out: bool) {
        self.took.extend(took);
        while self.took.len() > WINDOW.max(set.len()) {
            self.took.pop_front();
        }
        let (least, most) = (params.round_timeout_ms, params.round_timeout_cap_ms);
        let floor = self.typical().map_or(least, |ms| (2 * ms).clamp(least, most));
        let next = if ran_out { self.base.saturating_mul(2) } else { self.base - self.base / 4 };
        self.base = next.clamp(floor, most);
    }

    /// What two thirds of the recent heights did not exceed.
    fn typical(&self) -> Option<Millis> {
        let mut sorted: Vec<Millis> = self.took.iter().copied().collect();
        sorted.sort_unstable();
        sorted.get((2 * sorted.len()).div_ceil(3).saturating_sub(1)).copied()
    }

    pub fn timing(&self, params: &BftParams, capped_ran_out: bool) -> Timing {
        let typical_ms = self.typical();
        Timing {
            base_ms: self.base,
            cap_ms: params.round_timeout_cap_ms,
            heights: self.took.len(),
            last_ms: self.took.back().copied(),
            typical_ms,
            slowest_ms: self.took.iter().max().copied(),
            near_cap: capped_ran_out || typical_ms.is_some_and(|ms| ms > params.round_timeout_cap_ms / 2),
        }
    }
}

/// How fast this validator sees the network agree, and what it makes of it. From the moment a round's timer starts until its
/// block is decided, in heights this validator voted at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Timeout of round 0 at present, in milliseconds.
    pub base_ms: Millis,
    /// The chain's cap on any round's timeout.
    pub cap_ms: Millis,
    /// How many recent heights the following figures are from.
    pub heights: usize,
    /// The newest height's deciding round.
    pub last_ms: Option<Millis>,
    /// What two thirds of them did not exceed.
    pub typical_ms: Option<Millis>,
    /// The slowest of them.
    pub slowest_ms: Option<Millis>,
    /// Rounds take more than half of the cap, or run out of it although their proposers are alive.
    pub near_cap: bool,
}

impl Timing {
    /// A warning for the operator, with the mend; `None` while the cap leaves room.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let typical = self.typical_ms.map_or_else(|| "longer".to_owned(), |ms| format!("{ms} ms"));
        self.near_cap.then(|| {
            format!(
                "Agreeing on a block takes {typical} here, and no round may take more than {} ms: blocks will fail when it \
                 gets slower. Find out what is slow (network, disk, execution), or raise roundTimeoutCapMs by a change of the \
                 chain specification.",
                self.cap_ms
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use basalt_primitives::{PublicKey, Validator};

    use super::*;

    const PARAMS: BftParams = BftParams {
        block_interval_ms: 0,
        round_timeout_ms: 1_000,
        round_timeout_cap_ms: 8_000,
        empty_block_ms: None,
        clock_tolerance_ms: 500,
    };

    fn set(n: u8) -> ValidatorSet {
        let validator = |i| Validator { public_key: PublicKey([i; 32]), power: 1 };
        ValidatorSet::new((0..n).map(validator).collect()).expect("a sound set")
    }

    fn pace_after(n: u8, heights: impl IntoIterator<Item = (Millis, bool)>) -> Pace {
        let mut pace = Pace::new(&PARAMS);
        let set = set(n);
        for (took, ran_out) in heights {
            pace.decided(&PARAMS, &set, Some(took), ran_out);
            assert!((1_000..=8_000).contains(&pace.base()), "never outside its bounds: {}", pace.base());
        }
        pace
    }

    #[test]
    fn a_fast_network_keeps_to_the_parameter() {
        assert_eq!(pace_after(4, [(40, false); 100]).base(), 1_000);
        assert_eq!(pace_after(4, []).timing(&PARAMS, false).warning(), None);
    }

    #[test]
    fn a_slow_network_is_learnt_and_unlearnt() {
        let slow = [(1_500, true), (1_600, false), (1_500, false)];
        assert_eq!(pace_after(4, slow).base(), 3_000, "twice the typical time, though the rounds now suffice");
        let then_fast = slow.into_iter().chain([(40, false); 40]);
        assert_eq!(pace_after(4, then_fast).base(), 1_000);
    }

    #[test]
    fn rounds_that_run_out_double_it_up_to_the_cap_and_no_further() {
        let bases: Vec<_> = (1..6).map(|heights| pace_after(4, vec![(40, true); heights]).base()).collect();
        assert_eq!(bases, [2_000, 4_000, 8_000, 8_000, 8_000]);
        assert_eq!(pace_after(4, vec![(u64::MAX / 4, true); 20]).base(), 8_000);
    }

    #[test]
    fn a_third_of_the_proposers_cannot_hold_it_up() {
        for (n, f) in [(4, 1), (7, 2), (31, 10)] {
            // Byzantine proposers just make it each time, the others are fast.
            let late = (0..400u32).map(|h| if h % u32::from(n) < f { (999, false) } else { (40, false) });
            assert_eq!(pace_after(n, late).base(), 1_000, "n = {n}");
            // Or they let their rounds run out: each rotation takes back what they do.
            let out = (0..4 * u64::from(n)).map(|h| (40, h % u64::from(n) < u64::from(f)));
            assert_eq!(pace_after(n, out).base(), 1_000, "n = {n}");
        }
    }

    #[test]
    fn the_operator_is_warned_when_the_cap_comes_near() {
        let timing = pace_after(4, [(3_900, false); 16]).timing(&PARAMS, false);
        assert_eq!((timing.typical_ms, timing.near_cap, timing.warning()), (Some(3_900), false, None));
        let timing = pace_after(4, [(4_100, false); 16]).timing(&PARAMS, false);
        assert!(
            timing.warning().is_some_and(|w| w.contains("4100 ms") && w.contains("roundTimeoutCapMs")),
            "{timing:?}"
        );
        assert!(pace_after(4, []).timing(&PARAMS, true).near_cap, "a round of the full cap ran out");
    }
}
