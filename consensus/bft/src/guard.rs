//! What this key may have signed before this start, and so must not sign again.

use std::collections::BTreeMap;

use basalt_primitives::{Height, Round};

use crate::mutation::Mutation;
use crate::record::{Prepared, Record};

/// Heights above the restored head at which round 0 is out of bounds after a restart. Votes of round 0 are not recorded,
/// and they are cast only at the height above the newest *executed* block, which is durable: so one would do. The second
/// covers a driver that reports a block as executed just before its batch is on disk.
pub const GUARDED_HEIGHTS: u64 = 2;

/// The heights and rounds in which this key must not vote.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    below: Height,
    rounds: BTreeMap<Height, Round>,
}

impl Guard {
    /// A key that lost its record: the others are at `height` and in `round` at most (see the crate doc).
    pub fn recovered(height: Height, round: Round) -> Self {
        let mut guard = Self::default();
        guard.reached(height, round);
        guard
    }

    /// This key has acted at a height and may have gone on to the next. Below it, all was executed here: a ledger that ends
    /// lower has been lost, and the votes at its heights are not all on record.
    fn reached(&mut self, height: Height, round: Round) {
        self.below = self.below.max(height);
        self.raise(height, round);
        self.raise(height.next(), Round::ZERO);
    }

    fn raise(&mut self, height: Height, round: Round) {
        let slot = self.rounds.entry(height).or_default();
        *slot = round.max(*slot);
    }

    /// Whether votes at a height are forbidden altogether.
    pub fn forbids(&self, height: Height) -> bool {
        height < self.below
    }

    /// Votes at this height are allowed only above this round; `None`: in all rounds.
    pub fn round(&self, height: Height) -> Option<Round> {
        self.rounds.get(&height).copied()
    }

    /// Drops what lies below the height being decided.
    pub fn prune(&mut self, height: Height) {
        self.rounds = self.rounds.split_off(&height);
    }
}

/// What a sign record means for a start whose head is at `head`.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    /// Where not to vote.
    pub guard: Guard,
    /// The locked block at the next height, to be carried in round changes.
    pub prepared: Option<Prepared>,
    /// Whether the last word at the next height was a commit vote for it, which may be repeated.
    pub voted: bool,
    /// Nothing but [`Record::Initial`]: the key has never been used, since every start writes an entry first.
    pub fresh: bool,
}

impl Recorded {
    /// Reads the record, oldest entry first. `None` if there is nothing in it, or nothing but an operator's release, which
    /// is no record.
    pub fn read(head: Height, records: Vec<Record>) -> Option<Self> {
        if matches!(records.last(), None | Some(Record::Released { .. })) {
            return None;
        }
        let next = head.next();
        let mut this = Self::default();
        if Mutation::RecordNotRestored.on() {
            return Some(this);
        }
        if records.iter().all(|r| matches!(r, Record::Initial { .. })) {
            return Some(Self { fresh: true, ..this });
        }
        for height in (1..=GUARDED_HEIGHTS).map(|d| Height(head.0 + d)) {
            if !Mutation::RoundZeroReused.on() {
                this.guard.raise(height, Round::ZERO);
            }
        }
        for record in records {
            match record {
                Record::Initial { .. } | Record::Released { .. } => {}
                Record::Round { height, round } => this.guard.reached(height, round),
                Record::Vote { height, prepared } => {
                    this.guard.reached(height, prepared.certificate.round);
                    if height == next {
                        (this.prepared, this.voted) = (Some(prepared), true);
                    }
                }
                Record::Recovered { height, round, prepared, .. } => {
                    this.guard.reached(height, round);
                    if height == next && prepared.is_some() {
                        (this.prepared, this.voted) = (prepared, false);
                    }
                }
            }
        }
        this.guard.prune(next);
        Some(this)
    }
}
