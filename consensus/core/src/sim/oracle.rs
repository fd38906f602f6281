//! What must hold in every run. Each invariant is a function, written once.

use std::collections::{BTreeMap, BTreeSet};

use basalt_primitives::{B256, CommitCertificate, Height, Millis, Round, SealedBlock, ValidatorSet};

use super::{Lab, Statement};
use crate::Engine;

/// An invariant that did not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{oracle}: {what}")]
pub struct Violation {
    /// The oracle's name.
    pub oracle: &'static str,
    /// What it saw.
    pub what: String,
}

impl Violation {
    /// What an oracle saw.
    pub fn new(oracle: &'static str, what: impl Into<String>) -> Self {
        Self { oracle, what: what.into() }
    }
}

/// Persist before you speak: what a message rests on is on the speaker's disk when it leaves.
pub fn spoken_is_recorded<L: Lab>(
    lab: &L,
    records: Option<&Vec<<L::Engine as Engine>::Record>>,
    message: &<L::Engine as Engine>::Message,
) -> Result<(), Violation> {
    if records.is_some_and(|records| lab.recorded(records, message)) {
        return Ok(());
    }
    Err(Violation::new("persist before you speak", format!("{} left without its record", lab.describe(message))))
}

/// What has been seen so far by someone who sees everything.
#[derive(Debug, Default)]
pub struct Oracles {
    decided: BTreeMap<Height, B256>,
    said: BTreeMap<(u16, &'static str, Height, Round), B256>,
    promised: BTreeMap<(Height, u16), Round>,
    committed: BTreeMap<u64, Height>,
    states: BTreeMap<Height, B256>,
}

impl Oracles {
    /// Agreement: no two honest nodes decide different blocks at one height.
    pub fn agreement(&mut self, block: &SealedBlock) -> Result<(), Violation> {
        let first = *self.decided.entry(block.height()).or_insert_with(|| block.hash());
        if first == block.hash() {
            return Ok(());
        }
        Err(Violation::new(
            "agreement",
            format!("{first} and {} both decided at height {}", block.hash(), block.height()),
        ))
    }

    /// A transaction is committed at one height and no other.
    pub fn committed_once(
        &mut self,
        height: Height,
        transactions: impl IntoIterator<Item = u64>,
    ) -> Result<(), Violation> {
        for tx in transactions {
            let first = *self.committed.entry(tx).or_insert(height);
            if first != height {
                let what = format!("transaction {tx} committed at height {first} and at {height}");
                return Err(Violation::new("committed once", what));
            }
        }
        Ok(())
    }

    /// No committed transaction is lost: a ledger that reaches the height where one was committed has it.
    pub fn nothing_lost(&self, height: Height, ledger: &BTreeSet<u64>) -> Result<(), Violation> {
        let missing = self.committed.iter().find(|(tx, at)| **at <= height && !ledger.contains(tx));
        missing.map_or(Ok(()), |(tx, at)| {
            let what = format!("transaction {tx}, committed at height {at}, is not in a ledger of height {height}");
            Err(Violation::new("no committed transaction lost", what))
        })
    }

    /// Same state root: whoever executes a height comes to the same state.
    pub fn same_state_root(&mut self, height: Height, root: B256) -> Result<(), Violation> {
        let first = *self.states.entry(height).or_insert(root);
        if first == root {
            return Ok(());
        }
        Err(Violation::new("same state root", format!("height {height} led to {first} and to {root}")))
    }

    /// No equivocation: an honest validator says one thing per kind and round, whatever crashes in between, and votes for
    /// nothing new below a round it has promised to have left.
    pub fn no_equivocation(&mut self, validator: u16, statement: Statement) -> Result<(), Violation> {
        let Statement { kind, height, round, block } = statement;
        let promised = self.promised.get(&(height, validator)).copied().unwrap_or_default();
        match self.said.insert((validator, kind, height, round), block) {
            Some(first) if first != block => Err(Violation::new(
                "no equivocation",
                format!("validator {validator} said {kind} {height}/{round} for {first} and for {block}"),
            )),
            None if round < promised => Err(Violation::new(
                "no equivocation",
                format!("validator {validator} said {kind} {height}/{round} after promising round {promised}"),
            )),
            _ => Ok(()),
        }
    }

    /// Rounds are earned: an honest validator asks at most for the round after the highest that an honest one has asked
    /// for. Liars alone carry nobody away. (A validator that lost its record may have to believe one: `excused`.)
    pub fn promise(&mut self, validator: u16, height: Height, round: Round, excused: bool) -> Result<(), Violation> {
        let of_height = self.promised.range((height, 0)..=(height, u16::MAX)).map(|(_, round)| *round);
        let highest = of_height.max().unwrap_or_default();
        if round > highest.next() && !excused {
            let what = format!("validator {validator} asks for {height}/{round}, the others for {highest} at most");
            return Err(Violation::new("rounds are earned", what));
        }
        let promised = self.promised.entry((height, validator)).or_default();
        *promised = round.max(*promised);
        Ok(())
    }

    /// A validator has lost its record, and counts as faulty for what it promised before: nobody can tell it all of that.
    /// What it *voted* it must still not contradict.
    pub fn forget_promises(&mut self, validator: u16) {
        self.promised.retain(|(_, v), _| *v != validator);
    }

    /// The highest height anyone has decided.
    #[must_use]
    pub fn height(&self) -> Height {
        self.decided.last_key_value().map(|(height, _)| *height).unwrap_or_default()
    }
}

/// Validity: a decided block extends its parent.
pub fn validity(parent: &SealedBlock, block: &SealedBlock) -> Result<(), Violation> {
    let (p, b) = (parent.header(), block.header());
    let linked = b.height == p.height.next() && b.parent_hash == parent.hash() && b.timestamp_ms > p.timestamp_ms;
    let certified = block.block().last_certificate.as_ref().map(|c| (c.height, c.block_hash));
    let expected = (p.height > Height::GENESIS).then(|| (p.height, parent.hash()));
    if linked && certified == expected {
        return Ok(());
    }
    Err(Violation::new("validity", format!("block {} of height {} does not extend its parent", block.hash(), b.height)))
}

/// A block certifies the result of its parent: what executing the parent led to here is what its header says.
pub fn certified_result(block: &SealedBlock, parent: Option<B256>) -> Result<(), Violation> {
    match parent {
        Some(root) if root != block.header().parent_state_root => Err(Violation::new(
            "same state root",
            format!("block of height {} certifies another state than its parent led to", block.height()),
        )),
        _ => Ok(()),
    }
}

/// No timer fires by the wall clock: the next deadline is on the monotonic clock, at most the longest timer away. (An engine
/// that mixes up the clocks names a deadline of another time altogether.)
pub fn timers_follow_mono(mono: Millis, deadline: Option<Millis>, longest: Millis) -> Result<(), Violation> {
    match deadline {
        Some(at) if at > mono.saturating_add(longest) => {
            let what = format!("at {mono} ms (mono) the engine wants to wait until {at} ms");
            Err(Violation::new("no timer by wall clock", what))
        }
        _ => Ok(()),
    }
}

/// Certificate soundness: a decision comes with commit votes of a quorum of distinct validators, of the set of its height,
/// for that very block.
pub fn certificate_soundness<L: Lab>(
    lab: &L,
    set: Option<&ValidatorSet>,
    block: &SealedBlock,
    certificate: &CommitCertificate,
) -> Result<(), Violation> {
    let about = certificate.height == block.height() && certificate.block_hash == block.hash();
    if about && set.is_some_and(|set| lab.certificate_holds(set, certificate)) {
        return Ok(());
    }
    Err(Violation::new("certificate soundness", format!("height {} was decided by a bad certificate", block.height())))
}

/// Evidence is never found against an honest validator.
pub fn honest_stay_clean<L: Lab>(
    evidence: &crate::Evidence<<L::Engine as Engine>::Signed>,
    honest: bool,
) -> Result<(), Violation> {
    if !honest {
        return Ok(());
    }
    let (validator, height, round) = (evidence.validator, evidence.height, evidence.round);
    Err(Violation::new("no false evidence", format!("honest validator {validator} accused at {height}/{round}")))
}
