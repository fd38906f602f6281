//! What is remembered of the last heights, so that they can be explained afterwards.

use std::collections::{BTreeMap, VecDeque};

use basalt_bft::{Status, Step};
use basalt_primitives::{Address, Height, Millis, PublicKey, Round};

use super::FAILED_ROUNDS;

/// Decided heights that wait for their execution to be noted.
const DECIDED: usize = 8;
/// Validators whose last word is kept: no set is larger.
const HEARD: usize = 512;

/// A proposal that this node did not vote for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its height.
    pub height: Height,
    /// Who proposed it.
    pub proposer: Address,
    /// How far its time is ahead of this node's clock, if that is why.
    pub ahead_ms: Option<Millis>,
    /// Why.
    pub reason: String,
}

/// A round that ended without a decision here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Late {
    /// The round.
    pub round: Round,
    /// Index of its proposer.
    pub proposer: Option<u16>,
    /// What was being waited for at its end.
    pub step: Step,
    /// From whom.
    pub missing: Vec<u16>,
    /// Power there was and power needed.
    pub power: (u64, u64),
    /// How long this node was in it.
    pub lasted_ms: Millis,
    /// Its proposal, if it was refused here.
    pub refused: Option<Refused>,
}

/// A height as this node saw it; times are monotonic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Track {
    pub height: Height,
    pub began: Millis,
    pub due: Option<Millis>,
    pub proposed: Option<Millis>,
    pub prepared: Option<Millis>,
    pub committed: Option<Millis>,
    pub executed: Option<Millis>,
    pub round: Option<Round>,
    pub proposer: Option<Address>,
    pub failed: VecDeque<Late>,
    round_began: Millis,
}

impl Track {
    const fn new(height: Height, now: Millis) -> Self {
        Self {
            height,
            began: now,
            due: None,
            proposed: None,
            prepared: None,
            committed: None,
            executed: None,
            round: None,
            proposer: None,
            failed: VecDeque::new(),
            round_began: now,
        }
    }

    fn advance(&mut self, now: Millis, status: &Status) {
        let (voting, proposal) = match status.step {
            Step::Committing => (true, true),
            Step::Preparing | Step::Validating => (false, true),
            _ => (false, false),
        };
        let due = proposal || matches!(status.step, Step::AwaitingProposal | Step::AwaitingRound);
        note(&mut self.due, due, now);
        note(&mut self.proposed, proposal, now);
        note(&mut self.prepared, voting, now);
    }

    fn round_over(&mut self, now: Millis, before: &Status, refused: Option<&Refused>) {
        if self.failed.len() == FAILED_ROUNDS {
            self.failed.pop_front();
        }
        self.failed.push_back(Late {
            round: before.round,
            proposer: before.proposer,
            step: before.step,
            missing: before.missing.clone(),
            power: (before.power, before.needed),
            lasted_ms: now.saturating_sub(self.round_began),
            refused: refused.filter(|r| r.height == self.height).cloned(),
        });
        self.round_began = now;
        // What was proposed and prepared in a round that failed is not what will be decided.
        (self.proposed, self.prepared) = (None, None);
    }
}

fn note(slot: &mut Option<Millis>, happened: bool, now: Millis) {
    if happened {
        slot.get_or_insert(now);
    }
}

/// Takes in what happens. A plain struct: whoever shares it puts a lock around it, which the engine's thread only ever tries.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    /// The engine's newest picture and when it was taken.
    pub(super) status: Option<(Millis, Status)>,
    pub(super) current: Option<Track>,
    pub(super) last: Option<Track>,
    decided: VecDeque<Track>,
    heard: BTreeMap<PublicKey, Millis>,
    pub(super) refused: Option<Refused>,
    /// How much later than its timestamp the newest fresh block was committed, by this node's wall clock.
    pub(super) clock_lag_ms: Option<i64>,
}

impl Recorder {
    /// The engine has taken a step. True when it has left a round of the same height.
    pub fn stepped(&mut self, now: Millis, status: Status) -> bool {
        let before = self.status.take().map(|(_, before)| before);
        let same_height = self.current.as_ref().is_some_and(|t| t.height == status.height);
        if !same_height {
            self.next_height(now, status.height);
        }
        let next_round = before.filter(|b| same_height && b.round < status.round);
        if let Some(track) = &mut self.current {
            if let Some(before) = &next_round {
                track.round_over(now, before, self.refused.as_ref());
            }
            track.advance(now, &status);
        }
        self.status = Some((now, status));
        next_round.is_some()
    }

    fn next_height(&mut self, now: Millis, height: Height) {
        if let Some(mut decided) = self.current.take()
            && decided.height < height
        {
            decided.committed = Some(now);
            if self.decided.len() == DECIDED {
                self.decided.pop_front();
            }
            self.decided.push_back(decided);
        }
        self.current = Some(Track::new(height, now));
    }

    /// A validator was heard.
    pub fn heard(&mut self, now: Millis, validator: &PublicKey) {
        if self.heard.len() < HEARD || self.heard.contains_key(validator) {
            self.heard.insert(*validator, now);
        }
    }

    /// How long ago a validator was last heard.
    pub(super) fn last_heard(&self, now: Millis, validator: &PublicKey) -> Option<Millis> {
        self.heard.get(validator).map(|at| now.saturating_sub(*at))
    }

    /// A proposal was judged and not voted for.
    pub fn refused(&mut self, refused: Refused) {
        self.refused = Some(refused);
    }

    /// A block is executed and on the disk. `lag_ms`: by how much the wall clock was then above the block's time; `None` for
    /// a block that was not decided just now.
    pub fn executed(&mut self, now: Millis, height: Height, round: Round, proposer: Address, lag_ms: Option<i64>) {
        let of_height = self.decided.iter().position(|t| t.height == height);
        let track = match of_height {
            Some(at) => self.decided.drain(..=at).next_back(),
            // The engine's thread has not shown its next step yet.
            None => self.current.clone().filter(|t| t.height == height),
        };
        // A block that was fetched before its height was ever looked at.
        let mut track = track.unwrap_or_else(|| Track::new(height, now));
        track.committed.get_or_insert(now);
        track.executed = Some(now);
        (track.round, track.proposer) = (Some(round), Some(proposer));
        self.last = Some(track);
        self.clock_lag_ms = lag_ms.or(self.clock_lag_ms);
    }

    /// The engine's newest picture.
    #[must_use]
    pub fn status(&self) -> Option<&Status> {
        self.status.as_ref().map(|(_, status)| status)
    }
}
