//! A bench for one engine: inputs in, effects out, in words.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub mod net;

use std::{collections::BTreeMap, sync::Arc};

use basalt_bft::{
    Bft, Message, PreparedCertificate, Proposal, Record, RoundChange, SignState, SignStateRequest, SignedMessage,
    SignedRoundChange, Vote,
    sim::{BftLab, test_params, votes_of},
};
use basalt_consensus::{Effect, Engine, Input, Past, Restored, Target, Verdict, Verified, sim::Lab};
use basalt_primitives::{
    Address, B256, Block, CommitCertificate, HashFn, Header, Height, Millis, PublicKey, Round, SealedBlock, Signature,
    chainspec::BftParams, validators::VoteKind,
};

type In = Input<SignedMessage, Record>;

/// One engine, validator `own` of n, with everything others say made by hand.
pub struct Bench {
    pub lab: BftLab,
    pub engine: Bft,
    pub own: u16,
    pub now: Millis,
    pub head: SealedBlock,
    pub head_certificate: Option<CommitCertificate>,
    /// What the engine recorded.
    pub records: Vec<Record>,
    names: BTreeMap<B256, String>,
}

impl Bench {
    /// A validator of a new network, started.
    pub fn new(n: usize, own: u16) -> Self {
        let mut bench = Self::with_params(n, own, test_params());
        let first = bench.lab.first_records();
        assert_eq!(bench.start(Some(first), false), ["persist round 1/0"]);
        bench
    }

    /// Not started.
    pub fn with_params(n: usize, own: u16, params: BftParams) -> Self {
        let lab = BftLab::new(&vec![1; n], params);
        let (engine, head) = (lab.engine(own), lab.genesis().clone());
        let names = BTreeMap::new();
        Self { lab, engine, own, now: 0, head, head_certificate: None, records: Vec::new(), names }
    }

    /// Starts at the bench's head.
    pub fn start(&mut self, records: Option<Vec<Record>>, had_transactions: bool) -> Vec<String> {
        let height = self.head.height().0;
        let sets = (1..=3).map(|d| (Height(height + d), self.lab.set().clone())).collect();
        let certificate = self.head_certificate.clone().map(Arc::new);
        let head = self.head.clone();
        let past = self.past();
        self.engine = self.lab.engine(self.own);
        self.records = records.clone().unwrap_or_default();
        self.input(Input::Restored(Restored { head, certificate, had_transactions, sets, past, records, nonce: 77 }))
    }

    /// What a start at the bench's head takes up, with one set for all heights.
    pub fn restored(
        &self,
        set: &Arc<basalt_primitives::ValidatorSet>,
        records: Option<Vec<Record>>,
    ) -> Restored<Record> {
        let height = self.head.height().0;
        Restored {
            head: self.head.clone(),
            certificate: self.head_certificate.clone().map(Arc::new),
            had_transactions: false,
            sets: (1..=2).map(|d| (Height(height + d), set.clone())).collect(),
            past: self.past(),
            records,
            nonce: 77,
        }
    }

    /// The same disk, a new process, another set.
    pub fn start_with(&mut self, set: &Arc<basalt_primitives::ValidatorSet>) -> Vec<String> {
        let restored = self.restored(set, Some(self.records.clone()));
        self.engine = self.lab.engine(self.own);
        self.input(Input::Restored(restored))
    }

    /// The decided heights: every first proposal was in round 0.
    fn past(&self) -> Vec<Past> {
        let set = self.lab.set();
        let past = |h| Past { height: Height(h), first_round: Round::ZERO, set: set.clone() };
        (1..=self.head.height().0).map(past).collect()
    }

    /// The same disk, a new process.
    pub fn restart(&mut self) -> Vec<String> {
        let records = Some(self.records.clone());
        self.start(records, false)
    }

    /// Gives an input, hands the engine's own messages back as the driver does, and puts all effects in words.
    pub fn input(&mut self, input: In) -> Vec<String> {
        let mut words = Vec::new();
        let mut effects: std::collections::VecDeque<_> = self.engine.step(self.now, 0, input).into();
        while let Some(effect) = effects.pop_front() {
            words.push(self.describe(&effect));
            match effect {
                Effect::Persist(record) => self.records.push(record),
                Effect::Send { to: Target::All, message } => {
                    let message = self.lab.verified(self.own, message);
                    effects.extend(self.engine.step(self.now, 0, Input::Message { from: self.own, message }));
                }
                _ => {}
            }
        }
        words
    }

    pub fn from(&mut self, from: u16, message: Message) -> Vec<String> {
        self.input(Input::Message { from, message: Verified::assume(self.lab.signed(from, message)) })
    }

    /// From a validator that the lab does not know; its signature is nobody's business here.
    pub fn hear(&mut self, from: u16, message: Message) -> Vec<String> {
        let signed = SignedMessage { from, message, signature: Signature([0; 64]) };
        self.input(Input::Message { from, message: Verified::assume(signed) })
    }

    pub fn work(&mut self) -> Vec<String> {
        self.input(Input::Work { pending: true })
    }

    /// Time passes; ticks come when the engine asked for them.
    pub fn wait(&mut self, millis: Millis) -> Vec<String> {
        let until = self.now + millis;
        let mut words = Vec::new();
        while let Some(at) = self.engine.deadline().filter(|at| *at <= until) {
            self.now = at.max(self.now);
            words.extend(self.input(Input::Tick));
        }
        self.now = until;
        words
    }

    pub fn judged(&mut self, block: &SealedBlock, verdict: Verdict) -> Vec<String> {
        self.input(Input::Validated { block: block.hash(), verdict })
    }

    /// The whole path of a decided block: execution ends.
    pub fn executed(&mut self, block: &SealedBlock, had_transactions: bool) -> Vec<String> {
        let certificate = self.certificate(block, 0, &self.quorum());
        let words = self.input(Input::Executed {
            height: block.height(),
            block: block.hash(),
            had_transactions,
            timestamp_ms: block.header().timestamp_ms,
        });
        let height = Height(block.height().0 + 2);
        (self.head, self.head_certificate) = (block.clone(), Some(certificate));
        let set = self.lab.set().clone();
        [words, self.input(Input::ValidatorSet { height, set })].concat()
    }

    /// Execution ends; the caller says who votes later.
    pub fn executed_only(&mut self, block: &SealedBlock) -> Vec<String> {
        let (height, timestamp_ms) = (block.height(), block.header().timestamp_ms);
        self.input(Input::Executed { height, block: block.hash(), had_transactions: false, timestamp_ms })
    }

    pub fn quorum(&self) -> Vec<u16> {
        (0..self.lab.set().quorum() as u16).collect()
    }

    /// A block on the head, named.
    pub fn block(&mut self, name: &str, round: u32) -> SealedBlock {
        let (head, certificate) = (self.head.clone(), self.head_certificate.clone());
        self.block_on(&head, certificate, name, round)
    }

    pub fn block_on(
        &mut self,
        parent: &SealedBlock,
        last_certificate: Option<CommitCertificate>,
        name: &str,
        round: u32,
    ) -> SealedBlock {
        let header = Header {
            height: parent.height().next(),
            timestamp_ms: parent.header().timestamp_ms + 1 + self.names.len() as u64,
            parent_hash: parent.hash(),
            first_round: Round(round),
            proposer: self.address(parent.height().next(), round),
            ..parent.header().clone()
        };
        let block = SealedBlock::new(Block { header, last_certificate, transactions: Vec::new() }, HashFn::Sha256);
        self.names.insert(block.hash(), name.to_owned());
        block
    }

    /// Of the proposer when nobody is skipped.
    fn address(&self, height: Height, round: u32) -> Address {
        let index = (height.0 + u64::from(round)) % self.lab.set().len() as u64;
        self.lab.set().get(index as u16).map(|v| v.address()).expect("a validator")
    }

    pub fn vote(&self, block: &SealedBlock, round: u32) -> Vote {
        Vote { height: block.height(), round: Round(round), block_hash: block.hash() }
    }

    pub fn certificate(&self, block: &SealedBlock, round: u32, by: &[u16]) -> CommitCertificate {
        let vote = self.vote(block, round);
        let signatures = votes_of(&self.lab, VoteKind::Commit, vote, by);
        CommitCertificate { height: vote.height, round: vote.round, block_hash: vote.block_hash, signatures }
    }

    pub fn prepared(&self, block: &SealedBlock, round: u32, by: &[u16]) -> PreparedCertificate {
        let vote = self.vote(block, round);
        let signatures = votes_of(&self.lab, VoteKind::Prepare, vote, by);
        PreparedCertificate { round: vote.round, block_hash: vote.block_hash, signatures }
    }

    pub fn change(&self, height: u64, round: u32, prepared: Option<PreparedCertificate>) -> Message {
        Message::RoundChange(RoundChange { height: Height(height), round: Round(round), prepared })
    }

    pub fn proposal(&self, block: &SealedBlock, round: u32) -> Message {
        let (height, block) = (block.height(), block.clone());
        Message::Proposal(Proposal { height, round: Round(round), block, justification: Vec::new(), prepared: None })
    }

    /// A proposal justified by round changes of these validators, of whom the first claims what was prepared.
    pub fn justified(
        &self,
        block: &SealedBlock,
        round: u32,
        by: &[u16],
        prepared: Option<PreparedCertificate>,
    ) -> Message {
        let height = block.height();
        let entry = |(i, from): (usize, &u16)| {
            let claim = prepared.clone().filter(|_| i == 0);
            let change = self.change(height.0, round, claim.clone());
            let signature = self.lab.signed(*from, change).signature;
            SignedRoundChange { from: *from, prepared: claim.map(|p| p.claim()), signature }
        };
        let justification = by.iter().enumerate().map(entry).collect();
        Message::Proposal(Proposal { height, round: Round(round), block: block.clone(), justification, prepared })
    }

    fn key(&self, validator: u16) -> PublicKey {
        self.lab.set().get(validator).map(|v| v.public_key).expect("a validator")
    }

    pub fn sign_state(&self, height: u64, round: u32, nonce: u64, prepared: Option<PreparedCertificate>) -> Message {
        let asker = self.key(self.own);
        Message::SignState(SignState { height: Height(height), asker, nonce, round: Round(round), prepared })
    }

    pub fn question(&self, asker: u16, nonce: u64) -> Message {
        let key = self.key(asker);
        Message::SignStateRequest(SignStateRequest { height: Height(1), key, nonce })
    }

    fn name(&self, hash: &B256) -> String {
        self.names.get(hash).cloned().unwrap_or_else(|| "?".to_owned())
    }

    fn describe(&self, effect: &Effect<Message, SignedMessage, Record>) -> String {
        match effect {
            Effect::Persist(Record::Vote { height, prepared }) => {
                format!("persist vote {height}/{} {}", prepared.certificate.round, self.name(&prepared.block.hash()))
            }
            Effect::Persist(Record::Round { height, round }) => format!("persist round {height}/{round}"),
            Effect::Persist(Record::Recovered { height, round, prepared, answers }) => {
                let lock = prepared.as_ref().map(|p| self.name(&p.block.hash()));
                let lock = lock.unwrap_or_else(|| "unlocked".into());
                format!("persist recovered {height}/{round} {lock} by {answers}")
            }
            Effect::Persist(Record::Released { .. }) => "persist released".into(),
            Effect::Persist(Record::Initial { .. }) => "persist initial".into(),
            Effect::Send { to, message } => {
                let to = match to {
                    Target::All => String::new(),
                    Target::One(index) => format!(" to {index}"),
                };
                format!("{}{to}", self.describe_message(message))
            }
            Effect::Fetch { block, height, hint } => format!("fetch {} of {height} from {hint}", self.name(block)),
            Effect::Build(r) => format!("build {}/{} at {}", r.height, r.round, r.min_timestamp_ms),
            Effect::Validate { block } => format!("validate {}", self.name(&block.hash())),
            Effect::Execute { block, certificate } => {
                format!("execute {} by {} votes", self.name(&block.hash()), certificate.signatures.len())
            }
            Effect::Forkchoice { finalized, .. } => format!("final {}", self.name(finalized)),
            Effect::Report(e) => format!("report {} {}", e.validator, e.second.message.name()),
            Effect::Seal { .. } => "seal".into(),
            Effect::Alarm(alarm) => format!("alarm {alarm:?}"),
        }
    }

    fn describe_message(&self, message: &Message) -> String {
        let at = format!("{}/{}", message.height(), message.round());
        let lock = |prepared: &Option<PreparedCertificate>| {
            prepared.as_ref().map_or_else(String::new, |p| format!(" locked {}@{}", self.name(&p.block_hash), p.round))
        };
        match message {
            Message::Proposal(m) => format!("propose {at} {}{}", self.name(&m.block.hash()), lock(&m.prepared)),
            Message::Prepare(m) | Message::Commit(m) => format!("{} {at} {}", message.name(), self.name(&m.block_hash)),
            Message::RoundChange(m) => format!("change {at}{}", lock(&m.prepared)),
            Message::Decided(m) => format!("decided {at} {}", self.name(&m.block_hash)),
            Message::SignStateRequest(_) => "ask".into(),
            Message::SignState(m) => format!("state {at}{}", lock(&m.prepared)),
        }
    }
}
