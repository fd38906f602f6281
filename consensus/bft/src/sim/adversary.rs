//! Validators that do not keep to the protocol. Each runs an honest engine, whose words it twists.

use std::{collections::BTreeMap, sync::Arc};

use basalt_primitives::{B256, HashFn, Height, Round, SealedBlock, ValidatorSet};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::{Message, Proposal, RoundChange, SignedMessage, Vote, election};

/// Messages an adversary remembers.
const MEMORY: usize = 64;

/// What an adversary does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Proposes and votes for one block to half of the validators and for another to the rest.
    Equivocator,
    /// Votes for every proposal it hears of, at once, in both phases, beside what its engine says.
    YesSayer,
    /// Speaks to few.
    Withholder,
    /// Says old things again.
    Replayer,
    /// Forgets what was prepared, and asks for rounds far ahead.
    Forgetter,
    /// Votes for blocks that do not exist.
    Inventor,
    /// Says that what is being voted on is decided, and that its state is wherever it likes.
    Impostor,
    /// Proposes new blocks in rounds that nobody has asked for.
    Usurper,
    /// Any of the above, from one message to the next.
    Fickle,
}

/// A Byzantine validator.
#[derive(Debug)]
pub struct Adversary {
    set: Arc<ValidatorSet>,
    own: u16,
    kind: Kind,
    /// The other face of each block it has equivocated about.
    twisted: BTreeMap<B256, B256>,
    memory: Vec<Message>,
}

impl Adversary {
    pub(super) const fn new(set: Arc<ValidatorSet>, own: u16, kind: u8) -> Self {
        Self { set, own, kind: Self::kind_of(kind), twisted: BTreeMap::new(), memory: Vec::new() }
    }

    const fn kind_of(kind: u8) -> Kind {
        match kind % 9 {
            0 => Kind::Equivocator,
            1 => Kind::YesSayer,
            2 => Kind::Withholder,
            3 => Kind::Replayer,
            4 => Kind::Forgetter,
            5 => Kind::Inventor,
            6 => Kind::Impostor,
            7 => Kind::Usurper,
            _ => Kind::Fickle,
        }
    }

    fn kind(&self, rng: &mut ChaCha8Rng) -> Kind {
        match self.kind {
            Kind::Fickle => Self::kind_of(rng.random_range(0..8)),
            kind => kind,
        }
    }

    pub(super) fn corrupt(&mut self, rng: &mut ChaCha8Rng, to: u16, message: &Message) -> Vec<Message> {
        self.remember(rng, message);
        let honest = vec![message.clone()];
        match self.kind(rng) {
            Kind::Equivocator if to % 2 == 1 => vec![self.other_face(message)],
            Kind::Withholder if (u64::from(to) + message.height().0).is_multiple_of(3) => Vec::new(),
            Kind::Replayer => honest.into_iter().chain(self.recall(rng)).collect(),
            Kind::Forgetter => vec![forget(rng, message)],
            Kind::Inventor if rng.random_bool(0.5) => vec![invent(rng, message)],
            _ => honest,
        }
    }

    pub(super) fn provoke(&mut self, rng: &mut ChaCha8Rng, to: u16, heard: &SignedMessage) -> Vec<Message> {
        let (height, round) = (heard.message.height(), heard.message.round());
        let kind = self.kind(rng);
        match (&heard.message, kind) {
            (Message::Proposal(p), Kind::YesSayer | Kind::Equivocator) => {
                let vote = Vote { height, round, block_hash: p.block.hash() };
                vec![Message::Prepare(vote), Message::Commit(vote)]
            }
            (Message::Proposal(p), Kind::Usurper) => self.usurp(p),
            (Message::Prepare(vote), Kind::YesSayer) if rng.random_bool(0.3) => vec![Message::Commit(*vote)],
            (Message::Commit(_) | Message::RoundChange(_), Kind::Replayer) => self.recall(rng).into_iter().collect(),
            (Message::Prepare(_), Kind::Forgetter) if rng.random_bool(0.2) => {
                let round = Round(round.0 + rng.random_range(1..4));
                vec![Message::RoundChange(RoundChange { height, round, prepared: None })]
            }
            (Message::SignStateRequest(request), Kind::Impostor) => {
                vec![Message::SignState(crate::SignState {
                    height: Height(height.0 + rng.random_range(0..3)),
                    asker: request.key,
                    nonce: request.nonce,
                    round: Round(rng.random_range(0..u32::MAX)),
                    prepared: None,
                })]
            }
            (Message::Commit(vote), Kind::Impostor) => {
                let certificate = basalt_primitives::CommitCertificate {
                    height,
                    round,
                    block_hash: vote.block_hash,
                    signatures: vec![basalt_primitives::CommitSignature {
                        validator: heard.from,
                        signature: heard.signature,
                    }],
                };
                vec![Message::Decided(certificate)]
            }
            _ => Vec::new(),
        }
        .into_iter()
        .filter(|_| to != self.own)
        .collect()
    }

    fn remember(&mut self, rng: &mut ChaCha8Rng, message: &Message) {
        if self.memory.len() < MEMORY {
            self.memory.push(message.clone());
        } else {
            let at = rng.random_range(0..MEMORY);
            self.memory[at] = message.clone();
        }
    }

    fn recall(&self, rng: &mut ChaCha8Rng) -> Option<Message> {
        let at = rng.random_range(0..self.memory.len().max(1));
        self.memory.get(at).cloned()
    }

    /// As far as a liar cares: nobody skipped.
    fn proposer(&self, height: Height, round: Round) -> u16 {
        election::proposer(&self.set, &election::Absences::default(), height, round)
    }

    /// A new block for the next round that this validator is the proposer of.
    fn usurp(&self, heard: &Proposal) -> Vec<Message> {
        let rounds = (1..=self.set.len() as u32).map(|ahead| Round(heard.round.0.saturating_add(ahead)));
        let mine = rounds.into_iter().find(|round| self.proposer(heard.height, *round) == self.own);
        let Some(round) = mine else { return Vec::new() };
        let mut block = heard.block.block().clone();
        block.header.first_round = round;
        block.header.proposer = self.set.get(self.own).map(basalt_primitives::Validator::address).unwrap_or_default();
        let block = SealedBlock::new(block, HashFn::Sha256);
        let proposal = Proposal { height: heard.height, round, block, justification: Vec::new(), prepared: None };
        vec![Message::Proposal(proposal)]
    }

    /// The same message about another block.
    fn other_face(&mut self, message: &Message) -> Message {
        let twist_vote = |twisted: &BTreeMap<B256, B256>, vote: &Vote| {
            let block_hash = twisted.get(&vote.block_hash).copied().unwrap_or(vote.block_hash);
            Vote { block_hash, ..*vote }
        };
        match message {
            Message::Proposal(p) if p.prepared.is_none() => {
                let block = twist(&p.block);
                self.twisted.insert(p.block.hash(), block.hash());
                Message::Proposal(Proposal { block, ..p.clone() })
            }
            Message::Proposal(p) => {
                let mut block = p.block.block().clone();
                block.header.first_round = p.round;
                let block = SealedBlock::new(block, HashFn::Sha256);
                Message::Proposal(Proposal { block, prepared: None, ..p.clone() })
            }
            Message::Prepare(vote) => Message::Prepare(twist_vote(&self.twisted, vote)),
            Message::Commit(vote) => Message::Commit(twist_vote(&self.twisted, vote)),
            other => other.clone(),
        }
    }
}

/// A block as good as this one, but another.
fn twist(block: &SealedBlock) -> SealedBlock {
    let mut other = block.block().clone();
    other.header.timestamp_ms += 1;
    SealedBlock::new(other, HashFn::Sha256)
}

fn forget(rng: &mut ChaCha8Rng, message: &Message) -> Message {
    match message {
        Message::RoundChange(m) => {
            let ahead = if rng.random_bool(0.3) { rng.random_range(0..5) } else { 0 };
            Message::RoundChange(RoundChange { round: Round(m.round.0 + ahead), prepared: None, height: m.height })
        }
        other => other.clone(),
    }
}

fn invent(rng: &mut ChaCha8Rng, message: &Message) -> Message {
    let mut random = |vote: &Vote| Vote { block_hash: B256::from(rng.random::<[u8; 32]>()), ..*vote };
    match message {
        Message::Prepare(vote) => Message::Prepare(random(vote)),
        Message::Commit(vote) => Message::Commit(random(vote)),
        other => other.clone(),
    }
}
