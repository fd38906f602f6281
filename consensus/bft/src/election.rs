//! Who proposes. One function, so that whoever needs to know asks the same question, and the skip list it reads.
//!
//! In: the validator set of a height and what the headers two and more below it prove about absences. Out: the proposer of
//! each round. Nothing here is observed locally, so all nodes give the same answer whatever they saw.
//!
//! # The skip list
//!
//! Header N carries the round r of its first proposal, which every preparer has checked ([`crate::message`]): so the
//! proposers of rounds 0…r−1 had their turn at N and produced nothing. Each gets a *strike*; whoever's proposal was first
//! loses all of its own. A validator with s ≥ 2 strikes is *skipped* for 2^(s−2) turns, at most [`MAX_TURNS`] (a turn is as
//! many heights as the set has validators): it moves to the end of each height's rounds. One strike alone skips nobody:
//! every restart costs a validator the round 0 of a height (rule R1), and that is no absence.
//!
//! - *Nobody is left out*: the rounds 0…n−1 of a height are a permutation of the validators, whoever is skipped.
//! - *Never more than f at once*, by power. A strike while the list is full counts, and skips nobody; nobody waits for a
//!   place, so while no honest validator is struck the honest among the skipped only grow fewer. (Should f shrink with the
//!   set, those with most strikes stay, then those with the longest skip, then the lowest keys.)
//! - *Where more than f failed in one height*, it was the network that failed and nobody is struck. With f = 0 (up to three equal
//!   validators) nobody ever is.
//! - *The list lags by one height*, as validator sets do: height H reads headers up to H − 2. So the proposers of the next
//!   height are known while the present one is being agreed on.
//! - *It starts afresh* at multiples of [`PERIOD`], so that a node that starts needs no more headers than that.

use std::{collections::BTreeMap, sync::Arc};

use basalt_consensus::Past;
use basalt_primitives::{Height, PublicKey, Round, Validator, ValidatorSet};

/// Heights after which all strikes are forgotten.
pub const PERIOD: u64 = 1024;
/// Most turns a validator is skipped for in a row.
pub const MAX_TURNS: u64 = 64;

/// The first of the decided heights that a node with this head must know to tell who is skipped: the start of the period, or
/// the head itself where a period has just begun. Height 0 has no proposer and is never asked for.
#[must_use]
pub fn history_from(head: Height) -> Height {
    let next = head.0 + 1;
    Height((next - next % PERIOD).min(head.0).max(1))
}

/// Index of the proposer of a round: round robin over the set, those that are skipped after all others, so that within as
/// many rounds as there are validators every one has its turn. Members that a set override declared lost have none.
#[must_use]
pub fn proposer(set: &ValidatorSet, absences: &Absences, height: Height, round: Round) -> u16 {
    let order = order(set, absences, height);
    order[round.0 as usize % order.len()]
}

/// The proposers of the rounds 0…n−1 of a height, after which they come again; n is the number of those not declared lost.
#[must_use]
pub fn order(set: &ValidatorSet, absences: &Absences, height: Height) -> Vec<u16> {
    let n = set.len() as u64;
    let rotated = (0..n).map(|offset| (height.0 % n + offset) % n);
    let rotated = rotated.map(|index| u16::try_from(index).expect("a set has at most 256 validators"));
    let rotated = rotated.filter(|index| !set.is_lost(*index));
    let skipped = absences.skipped(set, height);
    let (last, mut order): (Vec<u16>, Vec<u16>) = rotated.partition(|v| skipped.contains(v));
    order.extend(last);
    order
}

/// What the headers say against one validator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    /// Turns it let pass since it last proposed.
    strikes: u32,
    /// It is skipped at lower heights than this.
    until: Height,
}

/// Who has been absent, as of the headers two below a height. By key, because indexes change with the set; never more
/// entries than validators.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Absences(BTreeMap<PublicKey, Mark>);

impl Absences {
    /// The validators that are skipped at a height: at most f by power, by rising index.
    #[must_use]
    pub fn skipped(&self, set: &ValidatorSet, height: Height) -> Vec<u16> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let due = self.0.iter().filter(|(_, mark)| height < mark.until);
        let mut due: Vec<_> = due.filter_map(|(key, mark)| Some((*mark, set.index_of(key)?, *key))).collect();
        due.sort_unstable_by_key(|(mark, _, key)| (u32::MAX - mark.strikes, u64::MAX - mark.until.0, *key));
        let mut room = set.max_faulty();
        let mut skipped = Vec::new();
        for (_, index, _) in due {
            let power = set.get(index).map_or(u64::MAX, |v| v.power);
            if power <= room {
                room -= power;
                skipped.push(index);
            }
        }
        skipped.sort_unstable();
        skipped
    }

    /// With the header of one more height. `then` is what that height itself was elected by.
    fn with(&self, then: &Self, set: &ValidatorSet, height: Height, first_round: Round) -> Self {
        let order = order(set, then, height);
        let n = order.len();
        let who = |round: usize| set.get(order[round % n]).expect("an index of the set");
        let absent: Vec<_> = (0..n.min(first_round.0 as usize)).map(who).collect();
        let mut after = Self(self.0.clone());
        after.0.retain(|key, _| set.index_of(key).is_some());
        after.0.remove(&who(first_round.0 as usize).public_key);
        if absent.iter().map(|v| v.power).sum::<u64>() <= set.max_faulty() {
            absent.into_iter().for_each(|validator| after.strike(set, height, validator));
        }
        after
    }

    fn strike(&mut self, set: &ValidatorSet, height: Height, validator: &Validator) {
        // The first height that sees this one.
        let seen = Height(height.0 + 2);
        let due = self.0.iter().filter(|(key, mark)| seen < mark.until && **key != validator.public_key);
        let taken = set.power_of(due.filter_map(|(key, _)| set.index_of(key)));
        let mark = self.0.entry(validator.public_key).or_insert(Mark { strikes: 0, until: height });
        mark.strikes += 1;
        if taken + validator.power <= set.max_faulty() {
            mark.until = Height(height.0 + 1 + turns(mark.strikes) * set.len() as u64);
        }
    }
}

/// For how many turns this many strikes skip a validator.
fn turns(strikes: u32) -> u64 {
    strikes.checked_sub(2).map_or(0, |doublings| 1u64.checked_shl(doublings).map_or(MAX_TURNS, |t| t.min(MAX_TURNS)))
}

/// The skip lists of the height being agreed on and of the one after it: what the decided headers give.
#[derive(Clone, Debug)]
pub struct Turns {
    /// For the height being agreed on.
    now: Arc<Absences>,
    /// For the one after.
    next: Arc<Absences>,
    height: Height,
}

impl Turns {
    /// Where a chain stands at `head`, from its headers since [`history_from`]. Earlier ones in `past` are not looked at.
    ///
    /// Panics when a header is missing: what a driver gives is then not the chain.
    #[must_use]
    pub fn restored(head: Height, past: &[Past]) -> Self {
        let next = head.0 + 1;
        let start = Height((next - next % PERIOD).max(1));
        let mut turns = Self { now: Arc::default(), next: Arc::default(), height: start };
        for decided in past.iter().filter(|p| p.height >= start && p.height <= head) {
            assert_eq!(decided.height, turns.height, "the headers since {start} must be given in order, none missing");
            turns.decided(&decided.set, decided.first_round);
        }
        assert_eq!(turns.height, head.next(), "the headers up to the head must be given");
        turns
    }

    /// The height being agreed on is decided.
    pub fn decided(&mut self, set: &ValidatorSet, first_round: Round) {
        // Two above this height, the first to see it: does a period begin there or just below, this height is forgotten.
        let afresh = (self.height.0 + 2) % PERIOD < 2;
        let after = if afresh { Absences::default() } else { self.next.with(&self.now, set, self.height, first_round) };
        self.now = std::mem::replace(&mut self.next, Arc::new(after));
        self.height = self.height.next();
    }

    /// The list for the height being agreed on or the next one; none is known for others.
    #[must_use]
    pub fn at(&self, height: Height) -> Option<&Arc<Absences>> {
        if height == self.height { Some(&self.now) } else { Some(&self.next).filter(|_| height == self.height.next()) }
    }
}
