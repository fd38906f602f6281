//! What validators have said about one height: votes, proposals and round changes, bounded, with contradictions found.
//!
//! Memory per validator is bounded whatever it sends: votes of its [`ROUNDS_KEPT`] highest rounds, its highest round change.
//! Proposals above round 0 need the signatures of a quorum, so nobody can flood them; the [`PROPOSALS_KEPT`] highest rounds
//! stay. What is dropped comes again by retransmission if it still matters.

use std::collections::{BTreeMap, BTreeSet};

use basalt_consensus::Evidence;
use basalt_primitives::{
    B256, CommitSignature, Height, Millis, Round, SealedBlock, Signature, ValidatorSet, validators::VoteKind,
};

use crate::{
    election::{self, Absences},
    message::{Message, Proposal, RoundChange, SignedMessage, Vote},
    mutation::Mutation,
};

/// Rounds of one validator whose votes are kept.
pub const ROUNDS_KEPT: usize = 8;
/// Rounds whose proposals are kept.
pub const PROPOSALS_KEPT: usize = 3;

/// The votes of one kind at one height.
#[derive(Debug, Default)]
struct Ballot {
    votes: BTreeMap<(u16, Round), (B256, Signature)>,
    tally: BTreeMap<(Round, B256), u64>,
}

impl Ballot {
    /// Counts a vote once. Gives back the block and signature of an earlier vote for another block in the same round.
    fn add(&mut self, set: &ValidatorSet, from: u16, vote: Vote, signature: Signature) -> Option<(B256, Signature)> {
        let power = Some(set.power_at(from)).filter(|power| *power > 0)?;
        if let Some(first) = self.votes.get(&(from, vote.round)) {
            if Mutation::DuplicatesCounted.on() {
                *self.tally.entry((vote.round, vote.block_hash)).or_default() += power;
            }
            return (first.0 != vote.block_hash).then_some(*first);
        }
        self.votes.insert((from, vote.round), (vote.block_hash, signature));
        *self.tally.entry((vote.round, vote.block_hash)).or_default() += power;
        self.drop_lowest(from, power);
        None
    }

    fn drop_lowest(&mut self, from: u16, power: u64) {
        let mut own = self.votes.range((from, Round::ZERO)..=(from, Round(u32::MAX))).map(|(k, v)| (*k, v.0));
        let Some((key, hash)) = own.next() else { return };
        if own.count() < ROUNDS_KEPT {
            return;
        }
        self.votes.remove(&key);
        if let Some(sum) = self.tally.get_mut(&(key.1, hash)) {
            *sum -= power;
            if *sum == 0 {
                self.tally.remove(&(key.1, hash));
            }
        }
    }

    fn signatures(&self, round: Round, hash: B256) -> Vec<CommitSignature> {
        let of_round = self.votes.iter().filter(|((_, r), (h, _))| *r == round && *h == hash);
        of_round
            .map(|((validator, _), (_, signature))| CommitSignature { validator: *validator, signature: *signature })
            .collect()
    }

    fn voters(&self, round: Round) -> Vec<u16> {
        self.votes.keys().filter(|(_, r)| *r == round).map(|(v, _)| *v).collect()
    }
}

/// A proposal and when it was first seen.
#[derive(Debug)]
struct Seen {
    signed: SignedMessage,
    at: Millis,
}

/// Everything heard about one height.
#[derive(Debug)]
pub struct HeightVotes {
    height: Height,
    prepares: Ballot,
    commits: Ballot,
    proposals: BTreeMap<Round, Seen>,
    changes: BTreeMap<u16, SignedMessage>,
    reported: BTreeSet<(u16, &'static str)>,
}

impl HeightVotes {
    /// Nothing heard yet.
    pub fn new(height: Height) -> Self {
        Self {
            height,
            prepares: Ballot::default(),
            commits: Ballot::default(),
            proposals: BTreeMap::new(),
            changes: BTreeMap::new(),
            reported: BTreeSet::new(),
        }
    }

    /// The height.
    pub const fn height(&self) -> Height {
        self.height
    }

    /// Takes a message of this height. Gives back evidence if it contradicts an earlier one: once per validator and kind.
    pub fn add(
        &mut self,
        now: Millis,
        set: &ValidatorSet,
        absences: &Absences,
        signed: SignedMessage,
    ) -> Option<Evidence<SignedMessage>> {
        debug_assert_eq!(signed.message.height(), self.height);
        let earlier = match &signed.message {
            Message::Prepare(vote) => {
                let first = self.prepares.add(set, signed.from, *vote, signed.signature);
                first.map(|(block_hash, s)| (Message::Prepare(Vote { block_hash, ..*vote }), s))
            }
            Message::Commit(vote) => {
                let first = self.commits.add(set, signed.from, *vote, signed.signature);
                first.map(|(block_hash, s)| (Message::Commit(Vote { block_hash, ..*vote }), s))
            }
            Message::Proposal(_) => self.add_proposal(now, set, absences, &signed),
            Message::RoundChange(_) => {
                self.add_change(set, &signed);
                None
            }
            Message::Decided(_) | Message::SignStateRequest(_) | Message::SignState(_) => None,
        };
        let (message, signature) = earlier?;
        let first = SignedMessage { from: signed.from, message, signature };
        self.reported.insert((signed.from, signed.message.name())).then(|| Evidence {
            validator: signed.from,
            height: self.height,
            round: signed.message.round(),
            first,
            second: signed,
        })
    }

    fn add_proposal(
        &mut self,
        at: Millis,
        set: &ValidatorSet,
        absences: &Absences,
        signed: &SignedMessage,
    ) -> Option<(Message, Signature)> {
        let Message::Proposal(proposal) = &signed.message else { return None };
        let elected = election::proposer(set, absences, self.height, proposal.round) == signed.from;
        if !elected || signed.check(set).is_err() {
            return None;
        }
        if let Some(first) = self.proposals.get(&proposal.round) {
            let differs = first.signed.message != signed.message
                && first.signed.message.proposal().is_some_and(|p| p.block != proposal.block);
            return differs.then(|| (first.signed.message.clone(), first.signed.signature));
        }
        self.proposals.insert(proposal.round, Seen { signed: signed.clone(), at });
        if self.proposals.len() > PROPOSALS_KEPT {
            self.proposals.pop_first();
        }
        None
    }

    fn add_change(&mut self, set: &ValidatorSet, signed: &SignedMessage) {
        let higher = self.changes.get(&signed.from).is_none_or(|old| old.message.round() < signed.message.round());
        if higher && signed.check(set).is_ok() {
            self.changes.insert(signed.from, signed.clone());
        }
    }

    /// The proposal of a round.
    pub fn proposal(&self, round: Round) -> Option<&Proposal> {
        self.proposals.get(&round)?.signed.message.proposal()
    }

    /// The rounds whose proposals are here, lowest first.
    pub fn proposed_rounds(&self) -> impl Iterator<Item = Round> {
        self.proposals.keys().copied()
    }

    /// Proposals above a round, lowest first.
    pub fn proposals_above(&self, round: Round) -> impl Iterator<Item = &Proposal> {
        self.proposals.range(round.next()..).filter_map(|(_, seen)| seen.signed.message.proposal())
    }

    /// Whether a block of this height is on its way: proposed, voted for, or claimed to be prepared.
    pub fn in_flight(&self) -> bool {
        let voted = !self.prepares.votes.is_empty() || !self.commits.votes.is_empty();
        voted || !self.proposals.is_empty() || self.changes().any(|(_, m, _)| m.prepared.is_some())
    }

    /// A proposed block by its hash.
    pub fn block(&self, hash: &B256) -> Option<&SealedBlock> {
        self.seen(hash).map(|(block, _)| block)
    }

    /// When a block was first proposed here.
    pub fn first_seen(&self, hash: &B256) -> Option<Millis> {
        self.seen(hash).map(|(_, at)| at)
    }

    fn seen(&self, hash: &B256) -> Option<(&SealedBlock, Millis)> {
        let with_time = self.proposals.values().filter_map(|s| Some((&s.signed.message.proposal()?.block, s.at)));
        with_time.into_iter().find(|(block, _)| block.hash() == *hash)
    }

    /// The block that a quorum has prepared in a round.
    pub fn prepare_quorum(&self, set: &ValidatorSet, round: Round) -> Option<B256> {
        let of_round = self.prepares.tally.range((round, B256::ZERO)..=(round, B256::repeat_byte(0xff)));
        of_round.into_iter().find(|(_, power)| **power >= quorum(set)).map(|((_, hash), _)| *hash)
    }

    /// Round and block that a quorum has committed.
    pub fn commit_quorum(&self, set: &ValidatorSet) -> Option<(Round, B256)> {
        self.commits.tally.iter().find(|(_, power)| **power >= quorum(set)).map(|(key, _)| *key)
    }

    /// The signatures for a block in a round, by rising index.
    pub fn signatures(&self, kind: VoteKind, round: Round, hash: B256) -> Vec<CommitSignature> {
        self.ballot(kind).signatures(round, hash)
    }

    /// Who has voted in a round.
    pub fn voters(&self, kind: VoteKind, round: Round) -> Vec<u16> {
        self.ballot(kind).voters(round)
    }

    const fn ballot(&self, kind: VoteKind) -> &Ballot {
        match kind {
            VoteKind::Prepare => &self.prepares,
            VoteKind::Commit => &self.commits,
        }
    }

    /// The highest round change of each validator.
    pub fn changes(&self) -> impl Iterator<Item = (u16, &RoundChange, Signature)> {
        self.changes.values().filter_map(|s| match &s.message {
            Message::RoundChange(m) => Some((s.from, m, s.signature)),
            _ => None,
        })
    }

    /// The round a validator has asked for.
    pub fn changed_to(&self, from: u16) -> Option<Round> {
        self.changes.get(&from).map(|s| s.message.round())
    }

    /// Power of the validators that asked for this round or a later one.
    pub fn power_at_or_above(&self, set: &ValidatorSet, round: Round) -> u64 {
        set.power_of(self.changes().filter(|(_, m, _)| m.round >= round).map(|(from, ..)| from))
    }

    /// The highest round that validators of at least this power have asked for.
    pub fn highest_round_of(&self, set: &ValidatorSet, power: u64) -> Option<Round> {
        let mut asked: Vec<(Round, u64)> = self.changes().map(|(from, m, _)| (m.round, set.power_at(from))).collect();
        asked.sort_unstable_by(|a, b| b.cmp(a));
        let mut sum = 0;
        asked
            .into_iter()
            .find(|(_, p)| {
                sum += p;
                sum >= power
            })
            .map(|(round, _)| round)
    }
}

/// The quorum, through which a deliberate bug can get.
pub fn quorum(set: &ValidatorSet) -> u64 {
    if Mutation::QuorumTwoFPlusOne.on() && !set.is_overridden() { 2 * set.max_faulty() + 1 } else { set.quorum() }
}
