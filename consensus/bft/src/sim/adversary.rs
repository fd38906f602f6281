//! Validators that do not keep to the protocol. Each runs an honest engine, whose words it twists.

use std::{collections::BTreeMap, sync::Arc};

use basalt_consensus::sim::Certified;
use basalt_primitives::{
    B256, CommitCertificate, CommitSignature, HashFn, Height, PublicKey, Round, SealedBlock, ValidatorSet,
};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::{Message, Proposal, RoundChange, SignState, SignedMessage, Vote, election};

/// Messages an adversary remembers.
const MEMORY: usize = 64;

/// What an adversary does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Proposes one block to half of the validators and another to the rest, and votes for both alike.
    Equivocator,
    /// Proposes honestly, but votes for something else before every other validator.
    Conflicter,
    /// Says nothing, though it hears everything.
    Mute,
    /// Speaks to few.
    Withholder,
    /// Says old things again.
    Replayer,
    /// Votes for every proposal it hears of, at once, in both phases, beside what its engine says.
    YesSayer,
    /// Proposes and votes for blocks of a fork of its own.
    Forker,
    /// Asks for rounds far ahead and says that it is in them.
    RoundLiar,
    /// Forgets what was prepared.
    Forgetter,
    /// Votes for blocks that do not exist.
    Inventor,
    /// Says that what is being voted on is decided, and that its state is wherever it likes; gives bad blocks to who syncs.
    Impostor,
    /// Proposes new blocks in rounds that nobody has asked for.
    Usurper,
    /// Any of the above, from one message to the next.
    Fickle,
}

impl Kind {
    /// All of them, with their names.
    pub const ALL: &[(&'static str, Self)] = &[
        ("equivocator", Self::Equivocator),
        ("conflicter", Self::Conflicter),
        ("mute", Self::Mute),
        ("withholder", Self::Withholder),
        ("replayer", Self::Replayer),
        ("yes-sayer", Self::YesSayer),
        ("forker", Self::Forker),
        ("round-liar", Self::RoundLiar),
        ("forgetter", Self::Forgetter),
        ("inventor", Self::Inventor),
        ("impostor", Self::Impostor),
        ("usurper", Self::Usurper),
        ("fickle", Self::Fickle),
    ];

    /// How many kinds there are.
    #[must_use]
    pub fn count() -> u8 {
        u8::try_from(Self::ALL.len()).unwrap_or(u8::MAX)
    }
}

/// A Byzantine validator.
#[derive(Debug)]
pub struct Adversary {
    key: PublicKey,
    own: u16,
    kind: Kind,
    /// The other face of each block it has equivocated about.
    twisted: BTreeMap<B256, B256>,
    memory: Vec<Message>,
    /// The last certificate it has served, to be shown again with another block.
    served: Option<Arc<CommitCertificate>>,
}

impl Adversary {
    pub(super) fn new(key: PublicKey, own: u16, kind: u8) -> Self {
        let kind = Kind::ALL[usize::from(kind) % Kind::ALL.len()].1;
        Self { key, own, kind, twisted: BTreeMap::new(), memory: Vec::new(), served: None }
    }

    fn kind(&self, rng: &mut ChaCha8Rng) -> Kind {
        match self.kind {
            Kind::Fickle => Kind::ALL[rng.random_range(0..Kind::ALL.len() - 1)].1,
            kind => kind,
        }
    }

    pub(super) fn corrupt(&mut self, rng: &mut ChaCha8Rng, to: u16, message: &Message) -> Vec<Message> {
        self.remember(rng, message);
        let honest = vec![message.clone()];
        match self.kind(rng) {
            Kind::Equivocator if to % 2 == 1 => vec![self.other_face(message)],
            Kind::Conflicter if to % 2 == 1 => vec![invent(rng, message)],
            Kind::Mute => Vec::new(),
            Kind::Withholder if (u64::from(to) + message.height().0).is_multiple_of(3) => Vec::new(),
            Kind::Replayer => honest.into_iter().chain(self.recall(rng)).collect(),
            Kind::Forker => vec![self.forked(message)],
            Kind::RoundLiar => vec![exaggerate(rng, message)],
            Kind::Forgetter => vec![forget(message)],
            Kind::Inventor if rng.random_bool(0.5) => vec![invent(rng, message)],
            _ => honest,
        }
    }

    pub(super) fn provoke(
        &mut self,
        rng: &mut ChaCha8Rng,
        set: &ValidatorSet,
        to: u16,
        heard: &SignedMessage,
    ) -> Vec<Message> {
        let (height, round) = (heard.message.height(), heard.message.round());
        if to == self.own {
            return Vec::new();
        }
        match (&heard.message, self.kind(rng)) {
            (Message::Proposal(p), Kind::YesSayer | Kind::Equivocator) => {
                let vote = Vote { height, round, block_hash: p.block.hash() };
                vec![Message::Prepare(vote), Message::Commit(vote)]
            }
            (Message::Proposal(p), Kind::Usurper) => self.usurp(set, p),
            (Message::Prepare(vote), Kind::YesSayer) if rng.random_bool(0.3) => vec![Message::Commit(*vote)],
            (Message::Commit(_) | Message::RoundChange(_), Kind::Replayer) => self.recall(rng).into_iter().collect(),
            (Message::Prepare(_), Kind::RoundLiar) if rng.random_bool(0.2) => {
                let round = Round(round.0 + rng.random_range(1..4));
                vec![Message::RoundChange(RoundChange { height, round, prepared: None })]
            }
            (Message::SignStateRequest(request), Kind::Impostor | Kind::RoundLiar) => {
                vec![Message::SignState(SignState {
                    height: Height(height.0 + rng.random_range(0..3)),
                    asker: request.key,
                    nonce: request.nonce,
                    round: Round(rng.random_range(0..u32::MAX)),
                    prepared: None,
                })]
            }
            (Message::Commit(vote), Kind::Impostor) => vec![impostor_certificate(rng, set, heard, vote)],
            _ => Vec::new(),
        }
    }

    /// What it gives to one that syncs: blocks that nobody certified, with certificates of other blocks or of nobody.
    pub(super) fn serve(
        &mut self,
        rng: &mut ChaCha8Rng,
        mut blocks: Vec<Certified>,
        height: Height,
    ) -> (Vec<Certified>, Height) {
        let kind = self.kind(rng);
        if matches!(kind, Kind::Mute) {
            return (Vec::new(), Height::GENESIS);
        }
        if !matches!(kind, Kind::Impostor | Kind::Forker | Kind::RoundLiar | Kind::Replayer) {
            return (blocks, height);
        }
        let claimed = Height(height.0 + rng.random_range(1..1_000));
        let old = self.served.clone();
        self.served = blocks.first().map(|(_, certificate)| certificate.clone()).or(self.served.take());
        if let Some((block, certificate)) = blocks.last_mut() {
            *block = twist(block);
            match (rng.random_range(0..3), old) {
                (0, Some(old)) => *certificate = old,
                (1, _) => {
                    let mut forged = certificate.as_ref().clone();
                    forged.block_hash = block.hash();
                    *certificate = Arc::new(forged);
                }
                _ => {}
            }
        }
        (blocks, claimed)
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

    /// A new block for the next round that this validator is the proposer of.
    fn usurp(&self, set: &ValidatorSet, heard: &Proposal) -> Vec<Message> {
        let Some(index) = set.index_of(&self.key) else { return Vec::new() };
        let rounds = (1..=set.len() as u32).map(|ahead| Round(heard.round.0.saturating_add(ahead)));
        // As far as a liar cares: nobody skipped.
        let proposer = |round: &Round| election::proposer(set, &election::Absences::default(), heard.height, *round);
        let mine = rounds.into_iter().find(|round| proposer(round) == index);
        let Some(round) = mine else { return Vec::new() };
        let mut block = heard.block.block().clone();
        block.header.first_round = round;
        block.header.proposer = self.key.address();
        let block = SealedBlock::new(block, HashFn::Sha256);
        let proposal = Proposal { height: heard.height, round, block, justification: Vec::new(), prepared: None };
        vec![Message::Proposal(proposal)]
    }

    /// The same message about another block.
    fn other_face(&mut self, message: &Message) -> Message {
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
            Message::Prepare(vote) => Message::Prepare(self.twist_vote(vote)),
            Message::Commit(vote) => Message::Commit(self.twist_vote(vote)),
            other => other.clone(),
        }
    }

    fn twist_vote(&self, vote: &Vote) -> Vote {
        let block_hash = self.twisted.get(&vote.block_hash).copied().unwrap_or(vote.block_hash);
        Vote { block_hash, ..*vote }
    }

    /// Its proposals extend a block that is not the head; its votes are for its forks, where it has made one.
    fn forked(&mut self, message: &Message) -> Message {
        match message {
            Message::Proposal(p) => {
                let mut block = p.block.block().clone();
                block.header.parent_hash = B256::from([0xf0; 32]);
                block.header.first_round = p.round;
                let block = SealedBlock::new(block, HashFn::Sha256);
                self.twisted.insert(p.block.hash(), block.hash());
                Message::Proposal(Proposal { block, ..p.clone() })
            }
            other => self.other_face(other),
        }
    }
}

/// A block as good as this one, but another.
fn twist(block: &SealedBlock) -> SealedBlock {
    let mut other = block.block().clone();
    other.header.timestamp_ms += 1;
    SealedBlock::new(other, HashFn::Sha256)
}

/// A certificate of less than a quorum; or one of many names and few signatures.
fn impostor_certificate(rng: &mut ChaCha8Rng, set: &ValidatorSet, heard: &SignedMessage, vote: &Vote) -> Message {
    let honest = CommitSignature { validator: heard.from, signature: heard.signature };
    let forged = |validator: u16| CommitSignature { validator, signature: heard.signature };
    let signatures = if rng.random_bool(0.5) { vec![honest] } else { (0..set.len() as u16).map(forged).collect() };
    let block_hash = if rng.random_bool(0.5) { vote.block_hash } else { B256::from(rng.random::<[u8; 32]>()) };
    Message::Decided(CommitCertificate { height: vote.height, round: vote.round, block_hash, signatures })
}

fn forget(message: &Message) -> Message {
    match message {
        Message::RoundChange(m) => Message::RoundChange(RoundChange { prepared: None, ..m.clone() }),
        Message::SignState(m) => Message::SignState(SignState { prepared: None, ..m.clone() }),
        other => other.clone(),
    }
}

fn exaggerate(rng: &mut ChaCha8Rng, message: &Message) -> Message {
    match message {
        Message::RoundChange(m) => {
            let ahead = if rng.random_bool(0.3) { rng.random_range(0..5) } else { 0 };
            Message::RoundChange(RoundChange { round: Round(m.round.0 + ahead), prepared: None, height: m.height })
        }
        Message::Prepare(vote) if rng.random_bool(0.2) => {
            Message::Prepare(Vote { round: Round(vote.round.0 + rng.random_range(1..5)), ..*vote })
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
