//! What the engine can say about itself: for `consensus_explain` and metrics.

use basalt_primitives::{Height, Millis, Round, validators::VoteKind};

use crate::{Bft, Timing};

/// What a height is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Before the first input.
    NotStarted,
    /// This node is no validator at this height: it follows.
    Following,
    /// The sign record was lost: asking the others what this key may have signed.
    Recovering,
    /// The key must not vote at this height, because it may have voted here before its record was lost.
    Barred,
    /// The parent is decided and not executed yet.
    AwaitingExecution,
    /// Nothing to do: no transactions, nothing to certify, no heartbeat due.
    Idle,
    /// The block interval has not passed.
    Pacing,
    /// Too few validators have come to this round.
    AwaitingRound,
    /// A block is due and no proposal has arrived.
    AwaitingProposal,
    /// A proposal is here and being judged, or was judged premature.
    Validating,
    /// Too few prepare votes.
    Preparing,
    /// Too few commit votes.
    Committing,
}

/// A picture of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The height being agreed on.
    pub height: Height,
    /// Newest decided height.
    pub decided: Height,
    /// Newest executed height.
    pub executed: Height,
    /// The highest height a peer has spoken of.
    pub seen: Height,
    /// The round this validator is in.
    pub round: Round,
    /// What is being waited for.
    pub step: Step,
    /// This validator's index.
    pub own: Option<u16>,
    /// The proposer of the round.
    pub proposer: Option<u16>,
    /// Validators that are skipped at this height, because headers prove them absent.
    pub skipped: Vec<u16>,
    /// Who has prepared in this round.
    pub prepared: Vec<u16>,
    /// Who has committed in this round.
    pub committed: Vec<u16>,
    /// Who has asked for which round, where that is this round or later.
    pub changed: Vec<(u16, Round)>,
    /// Validators from which the current step still lacks something.
    pub missing: Vec<u16>,
    /// Power that votes in the current step.
    pub power: u64,
    /// Power needed: the quorum, or what a recovery asks for.
    pub needed: u64,
    /// The round whose block this validator is locked on.
    pub locked: Option<Round>,
    /// How long the current round has run and how long it may; `None` while its timer stands still.
    pub timer: Option<(Millis, Millis)>,
    /// When (mono) the engine next acts by itself.
    pub next_deadline: Option<Millis>,
    /// How fast it sees the network agree, and how near that comes to the cap.
    pub timing: Timing,
}

impl Bft {
    /// What the engine is doing, for whom it waits and until when.
    #[must_use]
    pub fn status(&self) -> Status {
        let height = self.height();
        let mut status = Status {
            height,
            decided: height.prev().unwrap_or_default(),
            executed: Height::GENESIS,
            seen: self.seen_height(),
            round: self.local.round,
            step: Step::NotStarted,
            own: None,
            proposer: None,
            skipped: Vec::new(),
            prepared: self.votes.voters(VoteKind::Prepare, self.local.round),
            committed: self.votes.voters(VoteKind::Commit, self.local.round),
            changed: self.votes.changes().map(|(from, m, _)| (from, m.round)).collect(),
            missing: Vec::new(),
            power: 0,
            needed: 0,
            locked: self.local.prepared.as_ref().map(|p| p.certificate.round),
            timer: self.local.timer_since.map(|since| (self.now - since, self.round_timeout(self.local.round))),
            next_deadline: self.next_deadline(),
            timing: self.timing(),
        };
        status.changed.retain(|(_, round)| *round >= self.local.round);
        if self.chain.is_none() {
            return status;
        }
        status.executed = self.chain().executed;
        status.own = self.own_index();
        status.step = self.current_step();
        if let Some(set) = self.set() {
            status.proposer = self.proposer(self.local.round);
            status.skipped = self.chain().turns.at(height).map_or_else(Vec::new, |a| a.skipped(set, height));
            let present = self.present(&status);
            status.power = set.power_of(present.iter().copied());
            status.needed = match &self.recovery {
                Some(recovery) => recovery.needed(set, self.config.key.as_ref()),
                None => set.quorum(),
            };
            status.missing = match status.step {
                Step::AwaitingProposal => status.proposer.into_iter().collect(),
                Step::Recovering | Step::AwaitingRound | Step::Preparing | Step::Committing => {
                    set.remaining().map(|(i, _)| i).filter(|i| !present.contains(i)).collect()
                }
                _ => Vec::new(),
            };
        }
        status
    }

    fn current_step(&self) -> Step {
        let chain = self.chain();
        let round = self.local.round;
        let said = &self.local.said;
        match () {
            () if self.own_index().is_none() => Step::Following,
            () if self.recovery.is_some() => Step::Recovering,
            () if self.guard.forbids(self.height()) => Step::Barred,
            () if chain.executed < chain.head.height() => Step::AwaitingExecution,
            () if said.commit.is_some_and(|vote| vote.round == round) => Step::Committing,
            () if said.prepare.is_some() => Step::Preparing,
            () if self.votes.proposal(round).is_some() => Step::Validating,
            () if !self.wanted() => Step::Idle,
            () if !self.due() => Step::Pacing,
            () if self.local.timer_since.is_none() => Step::AwaitingRound,
            () => Step::AwaitingProposal,
        }
    }

    /// Who has contributed what the current step needs.
    fn present(&self, status: &Status) -> Vec<u16> {
        match (status.step, &self.recovery, self.set()) {
            (Step::Recovering, Some(recovery), Some(set)) => recovery.answered(set),
            (Step::Committing, ..) => status.committed.clone(),
            (Step::Preparing, ..) => status.prepared.clone(),
            (Step::AwaitingRound | Step::Idle | Step::Pacing, ..) => status.changed.iter().map(|(v, _)| *v).collect(),
            _ => Vec::new(),
        }
    }
}
