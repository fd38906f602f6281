//! A small network of engines whose validator sets change by height: every message takes a millisecond, nothing else takes
//! any time.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use basalt_bft::{
    Bft, Config, Message, Record, SignedMessage,
    election::history_from,
    sim::{BftLab, test_params},
};
use basalt_consensus::{BuildRequest, Effect, Engine, Input, Past, Restored, Target, Verdict, Verified, sim::Lab};
use basalt_primitives::{
    B256, Block, CommitCertificate, HashFn, Header, Height, Millis, PublicKey, Round, SealedBlock, Signature,
    Validator, ValidatorSet, chainspec::BftParams,
};

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

type In = Input<SignedMessage, Record>;

pub struct Node {
    engine: Option<Bft>,
    key: PublicKey,
    pub records: Option<Vec<Record>>,
    pub ledger: Vec<(SealedBlock, Option<Arc<CommitCertificate>>)>,
    /// The heights it has voted or proposed at.
    pub spoke_at: BTreeSet<u64>,
}

pub struct Net {
    pub nodes: Vec<Node>,
    sets: Box<dyn Fn(u64) -> Vec<usize>>,
    /// The first height of a set override, and who is declared lost.
    pub lost: Option<(u64, Vec<usize>)>,
    /// Nodes that have not been given the override, and go by the set of the first height for ever.
    pub unaware: BTreeSet<usize>,
    /// Messages lost: out of 100, drawn from this.
    pub loss: Option<(ChaCha8Rng, u32)>,
    now: Millis,
    queue: VecDeque<(Millis, usize, SignedMessage)>,
    genesis: SealedBlock,
}

fn key(node: usize) -> PublicKey {
    PublicKey([node as u8 + 1; 32])
}

impl Net {
    /// Nodes with a first record each, started; `sets` gives the validators of a height.
    pub fn new(nodes: usize, sets: impl Fn(u64) -> Vec<usize> + 'static) -> Self {
        let genesis = BftLab::equal(1).genesis().clone();
        let node = |i| Node {
            engine: None,
            key: key(i),
            records: Some(vec![Record::Initial { genesis: genesis.hash() }]),
            ledger: vec![(genesis.clone(), None)],
            spoke_at: BTreeSet::new(),
        };
        let nodes = (0..nodes).map(node).collect();
        Self {
            nodes,
            sets: Box::new(sets),
            lost: None,
            unaware: BTreeSet::new(),
            loss: None,
            now: 0,
            queue: VecDeque::new(),
            genesis,
        }
    }

    pub fn set(&self, height: u64) -> Arc<ValidatorSet> {
        let validator = |i: usize| Validator { public_key: key(i), power: 1 };
        Arc::new(ValidatorSet::new((self.sets)(height).into_iter().map(validator).collect()).expect("a sound set"))
    }

    /// The set of a height as a node sees it.
    pub fn view(&self, node: usize, height: u64) -> Arc<ValidatorSet> {
        let Some((first, lost)) = self.lost.as_ref().filter(|(first, _)| height >= *first) else {
            return self.set(height);
        };
        if self.unaware.contains(&node) {
            return self.set(1);
        }
        let keys: Vec<PublicKey> = lost.iter().map(|i| key(*i)).collect();
        if height <= first + 1 {
            return Arc::new(self.set(height).without(&keys, height == *first).expect("somebody remains"));
        }
        let rest = self.set(height).as_slice().iter().filter(|v| !keys.contains(&v.public_key)).cloned().collect();
        Arc::new(ValidatorSet::new(rest).expect("somebody remains"))
    }

    pub fn start(&mut self, node: usize) {
        // So that a lone validator does not decide without end while the others wait for their turn.
        let params = BftParams { block_interval_ms: 5, ..test_params() };
        let config = Config { key: Some(key(node)), genesis: self.genesis.hash(), params };
        let (head, certificate) = self.nodes[node].ledger.last().cloned().expect("genesis");
        let height = head.height();
        let past = (history_from(height).0..=height.0).map(|h| {
            let first_round = self.nodes[node].ledger[h as usize].0.header().first_round;
            Past { height: Height(h), first_round, set: self.view(node, h) }
        });
        let restored = Restored {
            past: past.collect(),
            head,
            certificate,
            had_transactions: false,
            sets: (1..=2).map(|d| (Height(height.0 + d), self.view(node, height.0 + d))).collect(),
            records: self.nodes[node].records.clone(),
            nonce: self.now + 1,
        };
        self.nodes[node].engine = Some(Bft::new(config));
        self.input(node, Input::Restored(restored));
        self.input(node, Input::Work { pending: true });
    }

    /// The round and block a node was locked on at a height, by its record.
    pub fn lock(&self, node: usize, height: u64) -> Option<(Round, B256)> {
        let records = self.nodes[node].records.iter().flatten().rev();
        let lock = |r: &Record| match r {
            Record::Vote { height: at, prepared } if at.0 == height => {
                Some((prepared.certificate.round, prepared.certificate.block_hash))
            }
            _ => None,
        };
        records.into_iter().find_map(lock)
    }

    pub fn stop(&mut self, node: usize) {
        self.nodes[node].engine = None;
    }

    pub fn height(&self, node: usize) -> u64 {
        self.nodes[node].ledger.len() as u64 - 1
    }

    /// The validators whose votes are in a node's certificate of a height, as nodes.
    pub fn signers(&self, node: usize, height: u64) -> Vec<usize> {
        let certificate = self.nodes[node].ledger[height as usize].1.as_ref().expect("not genesis");
        let members = (self.sets)(height);
        certificate.signatures.iter().map(|s| members[usize::from(s.validator)]).collect()
    }

    pub fn engine(&self, node: usize) -> &Bft {
        self.nodes[node].engine.as_ref().expect("up")
    }

    /// Runs until all nodes that are up have a height; fails when that takes longer than `within`.
    pub fn run_to(&mut self, height: u64, within: Millis) {
        let all: Vec<usize> = (0..self.nodes.len()).collect();
        self.run_some_to(&all, height, within);
    }

    /// As [`Self::run_to`], waiting for some nodes only.
    pub fn run_some_to(&mut self, nodes: &[usize], height: u64, within: Millis) {
        let end = self.now + within;
        while nodes.iter().any(|i| self.nodes[*i].engine.is_some() && self.height(*i) < height) {
            assert!(self.now <= end, "not at height {height} within {within} ms: {}", self.explain());
            self.run_once(end);
        }
        self.check_agreement();
    }

    /// Runs for a time.
    pub fn run_for(&mut self, time: Millis) {
        let end = self.now + time;
        while self.now < end {
            self.run_once(end);
        }
        self.check_agreement();
    }

    fn run_once(&mut self, end: Millis) {
        {
            while let Some((_, to, signed)) = self.queue.pop_front_if(|(at, ..)| *at <= self.now) {
                self.deliver(to, signed);
            }
            self.sync();
            let deadlines = self.nodes.iter().filter_map(|n| n.engine.as_ref()?.deadline());
            let next = deadlines.chain(self.queue.front().map(|(at, ..)| *at)).min().unwrap_or(end);
            self.now = next.max(self.now + 1);
            for node in 0..self.nodes.len() {
                self.input(node, Input::Tick);
            }
        }
    }

    fn explain(&self) -> String {
        let status = |n: &Node| format!("{:?}\n", n.engine.as_ref().map(Bft::status));
        self.nodes.iter().map(status).collect()
    }

    fn check_agreement(&self) {
        for (a, b) in self.nodes.iter().zip(self.nodes.iter().skip(1)) {
            assert!(a.ledger.iter().zip(&b.ledger).all(|((x, _), (y, _))| x.hash() == y.hash()), "they disagree");
        }
    }

    fn deliver(&mut self, to: usize, signed: SignedMessage) {
        let sound = signed.check(&self.view(to, signed.message.height().0)).is_ok();
        if !sound && !self.unaware.is_empty() {
            return; // One side does not take what the other says.
        }
        assert!(sound, "an honest message breaks a rule: {signed:?}");
        self.input(to, Input::Message { from: signed.from, message: Verified::assume(signed) });
    }

    /// Those that do not vote get the blocks they lack, and those that are two behind.
    fn sync(&mut self) {
        for node in 0..self.nodes.len() {
            let next = self.nodes[node].ledger.len();
            if self.unaware.contains(&node) {
                continue;
            }
            let set = self.view(node, next as u64);
            let votes = set.index_of(&key(node)).is_some();
            let least = if votes { next + 1 } else { next };
            // What was decided by others' rules is no block here.
            let certified = |n: &Node| {
                let (_, certificate) = &n.ledger[next];
                certificate.as_ref().is_some_and(|c| set.is_quorum(c.signatures.iter().map(|s| s.validator)))
            };
            let holder = self.nodes.iter().find(|n| n.engine.is_some() && n.ledger.len() > least && certified(n));
            let Some((block, certificate)) = holder.map(|n| n.ledger[next].clone()) else { continue };
            self.input(node, Input::Synced { block, certificate: certificate.expect("not genesis") });
        }
    }

    fn input(&mut self, node: usize, input: In) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let now = self.now;
            let Some(engine) = &mut self.nodes[node].engine else { return };
            for effect in engine.step(now, now, input) {
                self.effect(node, effect, &mut inputs);
            }
        }
    }

    fn effect(&mut self, node: usize, effect: Effect<Message, SignedMessage, Record>, inputs: &mut VecDeque<In>) {
        match effect {
            Effect::Persist(record) => self.nodes[node].records.get_or_insert_default().push(record),
            Effect::Send { to, message } => self.send(node, to, message, inputs),
            Effect::Fetch { block, height, .. } => {
                let held = |n: &Node| {
                    let stored = n.ledger.get(height.0 as usize).map(|(b, _)| b.clone()).filter(|b| b.hash() == block);
                    stored.or_else(|| n.engine.as_ref()?.block(&block))
                };
                let found = self.nodes.iter().filter(|n| n.engine.is_some()).find_map(held);
                inputs.push_back(found.map_or(Input::FetchFailed { block }, |block| Input::Fetched { block }));
            }
            Effect::Build(request) => {
                let block = self.build(node, &request);
                inputs.push_back(Input::Built { height: request.height, round: request.round, block });
            }
            Effect::Validate { block } => {
                inputs.push_back(Input::Validated { block: block.hash(), verdict: Verdict::Valid });
            }
            Effect::Execute { block, certificate } => {
                let (height, hash, timestamp_ms) = (block.height(), block.hash(), block.header().timestamp_ms);
                self.nodes[node].ledger.push((block, Some(certificate)));
                let later = Height(height.0 + 2);
                inputs.push_back(Input::ValidatorSet { height: later, set: self.view(node, later.0) });
                inputs.push_back(Input::Executed { height, block: hash, had_transactions: true, timestamp_ms });
            }
            Effect::Report(evidence) => panic!("nobody lies here: {evidence:?}"),
            Effect::Forkchoice { .. } | Effect::Seal { .. } | Effect::Alarm(_) => {}
        }
    }

    /// As the driver: signed with the index in the set of the message's height, sent to the validators of that height.
    fn send(&mut self, node: usize, to: Target, message: Message, inputs: &mut VecDeque<In>) {
        let set = self.view(node, message.height().0);
        let from = set.index_of(&self.nodes[node].key).expect("only a validator of the height speaks of it");
        if matches!(message, Message::Proposal(_) | Message::Prepare(_) | Message::Commit(_)) {
            self.nodes[node].spoke_at.insert(message.height().0);
        }
        let signed = SignedMessage { from, message, signature: Signature([node as u8; 64]) };
        for (index, validator) in set.as_slice().iter().enumerate() {
            let receiver = self.nodes.iter().position(|n| n.key == validator.public_key).expect("a node");
            let dropped = self.loss.as_mut().is_some_and(|(rng, percent)| rng.random_ratio(*percent, 100));
            if receiver != node && !dropped && (to == Target::All || to == Target::One(index as u16)) {
                self.queue.push_back((self.now + 1, receiver, signed.clone()));
            }
        }
        if to == Target::All {
            inputs.push_back(Input::Message { from, message: Verified::assume(signed) });
        }
    }

    fn build(&self, node: usize, request: &BuildRequest) -> SealedBlock {
        let parent = &self.nodes[node].ledger.last().expect("genesis").0;
        assert_eq!(parent.hash(), request.parent);
        let header = Header {
            height: request.height,
            timestamp_ms: request.min_timestamp_ms,
            parent_hash: request.parent,
            first_round: request.round,
            proposer: self.nodes[node].key.address(),
            ..parent.header().clone()
        };
        let last_certificate = request.last_certificate.clone();
        SealedBlock::new(Block { header, last_certificate, transactions: Vec::new() }, HashFn::Sha256)
    }
}
