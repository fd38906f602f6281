//! When things are due: pacing, round timers, repetition. All of it on the monotonic clock.

use basalt_consensus::Target;
use basalt_primitives::{Millis, Round, validators::VoteKind};

use crate::{engine::Bft, message::Message, pace::Timing, rules::Rule};
use basalt_consensus::Verdict;

impl Bft {
    /// How long a round lasts: from the base, doubling, capped.
    #[must_use]
    pub fn round_timeout(&self, round: Round) -> Millis {
        let factor = 1u64.checked_shl(round.0.min(32)).unwrap_or(u64::MAX);
        self.pace.base().saturating_mul(factor).min(self.config.params.round_timeout_cap_ms)
    }

    /// How fast this validator sees the network agree, and how it sets its timeouts by that.
    #[must_use]
    pub fn timing(&self) -> Timing {
        let cap = self.config.params.round_timeout_cap_ms;
        let lost = self.votes.proposed_rounds().filter(|round| *round < self.local.round);
        self.pace.timing(&self.config.params, lost.into_iter().any(|round| self.round_timeout(round) >= cap))
    }

    /// A height ends in this round: what it took here is learnt from, if this validator was there.
    pub(crate) fn learn_pace(&mut self, decided: Round) {
        let Some(set) = self.set().cloned().filter(|_| self.acting().is_some()) else { return };
        let voted = self.local.round == decided && self.local.said.commit.is_some_and(|vote| vote.round == decided);
        let took = self.local.timer_since.filter(|_| voted).map(|since| self.now - since);
        let ran_out = self.votes.proposed_rounds().any(|round| round < decided);
        self.pace.decided(&self.config.params, &set, took, ran_out);
    }

    /// From when a next block is allowed by the block interval.
    fn paced_at(&self) -> Millis {
        self.chain().head_at + self.config.params.block_interval_ms
    }

    /// From when an empty block is wanted.
    fn empty_due_at(&self) -> Option<Millis> {
        let params = &self.config.params;
        params.empty_block_ms.map(|wait| self.chain().head_at + wait.max(params.block_interval_ms))
    }

    /// Whether there is reason to expect a block: work, results to certify, a heartbeat, or one already on its way.
    pub(crate) fn wanted(&self) -> bool {
        let heartbeat = self.empty_due_at().is_some_and(|at| self.now >= at);
        let on_its_way = self.local.prepared.is_some() || self.votes.in_flight();
        self.pending || self.chain().uncertified || heartbeat || on_its_way
    }

    /// Whether a block is to be proposed now by whoever's turn it is.
    pub(crate) fn due(&self) -> bool {
        self.now >= self.paced_at() && self.wanted()
    }

    /// Starts or stops the round timer. In round 0 it runs while a block is due. In later rounds it also waits until a
    /// quorum is there: so validators do not run away from each other while too few are up, and an idle network is still.
    pub(crate) fn run_timer(&mut self) {
        let round = self.local.round;
        let assembled = || {
            let quorum = self.set().map(|set| self.votes.power_at_or_above(set, round) >= set.quorum());
            round == Round::ZERO || self.votes.proposal(round).is_some() || quorum == Some(true)
        };
        let runs = self.acting().is_some() && self.due() && assembled();
        self.local.timer_since = if runs { self.local.timer_since.or(Some(self.now)) } else { None };
    }

    /// When the current round's time is up.
    pub(crate) fn timer_deadline(&self) -> Option<Millis> {
        self.local.timer_since.map(|since| since + self.round_timeout(self.local.round))
    }

    /// Something was said: repeat it soon, then ever more seldom.
    pub(crate) fn repeat_soon(&mut self) {
        let said = &self.local.said;
        let anything =
            said.proposal.is_some() || said.prepare.is_some() || said.commit.is_some() || said.change.is_some();
        if anything {
            let interval = self.repeat_interval();
            let at = self.local.resend.map_or(u64::MAX, |(at, _)| at).min(self.now + interval);
            self.local.resend = Some((at, interval));
        }
    }

    pub(crate) fn repeat_rule(&self) -> Option<Rule> {
        self.local.resend.is_some_and(|(at, _)| self.now >= at).then_some(Rule::Repeat)
    }

    /// T1: says again what may have been lost. The proposal goes only to those who have not prepared.
    pub(crate) fn repeat(&mut self) {
        let Some((_, interval)) = self.local.resend else { return };
        let next = (interval * 2).min(self.config.params.round_timeout_cap_ms).max(1);
        self.local.resend = Some((self.now + next, next));
        if let Some(proposal) = self.local.said.proposal.clone() {
            let prepared = self.votes.voters(VoteKind::Prepare, self.local.round);
            let all = 0..self.set().map_or(0, |set| set.len()) as u16;
            let own = self.own_index();
            for index in all.filter(|i| Some(*i) != own && !prepared.contains(i)) {
                self.send(Target::One(index), proposal.clone());
            }
        }
        let said = &self.local.said;
        let change = said.change.clone().map(Message::RoundChange);
        let votes = said.prepare.map(Message::Prepare).into_iter().chain(said.commit.map(Message::Commit));
        for message in change.into_iter().chain(votes).collect::<Vec<_>>() {
            self.send(Target::All, message);
        }
    }

    /// The next moment at which time alone may enable a rule.
    pub(crate) fn next_deadline(&self) -> Option<Millis> {
        self.chain.as_ref()?;
        let judged = self.votes.proposal(self.local.round).and_then(|p| self.local.verdicts.get(&p.block.hash()));
        let again = match judged {
            Some(Some((Verdict::NotYet, again))) => Some(*again),
            _ => None,
        };
        let asking = self.recovery.as_ref().filter(|_| self.own_index().is_some()).map(|r| r.ask_at());
        let acting = self.acting().is_some();
        let pacing = [Some(self.paced_at()), self.empty_due_at()].into_iter().flatten().filter(|_| acting);
        [self.timer_deadline(), again, asking, self.local.resend.map(|(at, _)| at), Some(self.local.build_retry_at)]
            .into_iter()
            .flatten()
            .chain(pacing)
            .chain(self.local.fetching.values().copied())
            .filter(|at| *at > self.now)
            .min()
    }
}
