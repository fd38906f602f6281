//! The stated time to agreement: what the protocol promises, as functions of network delay and parameters.
//!
//! In: what the network and the machines take at most ([`Network`]), the chain's parameters, how many proposers are absent. Out:
//! milliseconds until a block is decided by every honest validator that is up. `docs/consensus.md` derives the formulas; a test
//! checks them against the simulator, exactly where nothing is left to chance.
//!
//! All of it assumes that messages between honest validators arrive within [`Network::delay_ms`] and that a quorum of honest
//! validators is up. Without that there is safety, and no time.

use basalt_primitives::{Millis, ValidatorSet, chainspec::BftParams};

/// The most that things take, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// One way of a message between two honest validators, checking of signatures included (δ).
    pub delay_ms: Millis,
    /// Building a block.
    pub build_ms: Millis,
    /// Judging a proposed block.
    pub judge_ms: Millis,
    /// Syncing a record to disk.
    pub sync_ms: Millis,
    /// Executing a decided block.
    pub execute_ms: Millis,
    /// How far apart two validators may come to know that a block is due.
    pub skew_ms: Millis,
}

impl Network {
    /// From a proposal leaving its proposer to its decision everywhere: 3δ, one judgement, one sync. Executing the block is no
    /// part of it.
    #[must_use]
    pub const fn proposal_to_decision(&self) -> Millis {
        3 * self.delay_ms + self.judge_ms + self.sync_ms
    }

    /// From a block being due to its decision, with a proposer that is there: 3δ + build + judge + sync.
    #[must_use]
    pub const fn good_case(&self) -> Millis {
        self.build_ms + self.proposal_to_decision()
    }

    /// From one decision to the next under load: the parent is executed first, and the block interval is kept.
    #[must_use]
    pub fn height_to_height(&self, params: &BftParams) -> Millis {
        (self.execute_ms + self.good_case()).max(params.block_interval_ms + self.good_case())
    }

    /// Into the next round once a timer has fired: the round is synced, the round change travels.
    const fn change(&self) -> Millis {
        self.sync_ms + self.delay_ms
    }

    /// From a block being due to its decision when the proposers of its first `absent` rounds say nothing:
    /// Σ (timeout(i) + sync + δ) + skew + good case. `base_ms` is the timeout of round 0 at present
    /// ([`crate::Bft::round_timeout`]): the parameter, unless the network has been slower.
    #[must_use]
    pub fn absent_proposers(&self, params: &BftParams, base_ms: Millis, absent: u32) -> Millis {
        let rounds = (0..absent).map(|round| timeout(params, base_ms, round) + self.change());
        rounds.sum::<Millis>() + if absent > 0 { self.skew_ms } else { 0 } + self.good_case()
    }

    /// From the moment a network is well again to the next decision, whatever went before: 2·cap + f·(cap + sync + δ) +
    /// 2·(sync + δ) + good case. All repeat within the cap, so all are in one round by then; its timer may still have to run out;
    /// f more proposers may be absent or lie. (A validator that lags heights behind syncs beside this and takes no part in it;
    /// the cap must exceed the good case.)
    #[must_use]
    pub fn after_healing(&self, params: &BftParams, set: &ValidatorSet) -> Millis {
        let cap = params.round_timeout_cap_ms;
        let faulty = set.max_faulty() * (cap + self.change());
        2 * cap + faulty + 2 * self.change() + self.skew_ms + self.good_case()
    }

    /// From the last validator of a quorum being back to the next decision, after all had crashed: two rounds. Each asks
    /// for the round after its highest recorded one at once; what was said before the last one was back is repeated within half
    /// a base timeout; a round may have to run out because the recorded ones differ.
    #[must_use]
    pub fn all_crashed(&self, params: &BftParams, base_ms: Millis, recorded_round: u32) -> Millis {
        let (first, second) = (recorded_round.saturating_add(1), recorded_round.saturating_add(2));
        let repeat = params.round_timeout_ms / 2;
        repeat
            + timeout(params, base_ms, first)
            + timeout(params, base_ms, second)
            + 2 * self.change()
            + self.good_case()
    }
}

/// The timeout of a round: doubling from the base, up to the cap.
#[must_use]
pub fn timeout(params: &BftParams, base_ms: Millis, round: u32) -> Millis {
    let factor = 1u64.checked_shl(round.min(32)).unwrap_or(u64::MAX);
    base_ms.saturating_mul(factor).min(params.round_timeout_cap_ms)
}

/// Heights within which a transaction that all validators hold has an honest proposer before it, however long the others
/// keep it out: 2f + 1, counted in power. Of so many heights in a row at most f begin the rotation at a Byzantine validator, and at
/// most f at a skipped one, whose place the next takes.
#[must_use]
pub fn censored_heights(set: &ValidatorSet) -> u64 {
    2 * set.max_faulty() + 1
}

/// Messages of one block in the good case, counted per receiver: one proposal and two votes, each to all others.
#[must_use]
pub const fn messages_per_block(validators: u64) -> u64 {
    let others = validators.saturating_sub(1);
    others + 2 * validators * others
}
