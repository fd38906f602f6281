//! Twins: validators that run twice under one key, each copy honest, in every arrangement of partitions (Bano et al., "Twins:
//! BFT Systems Made Robust", OPODIS 2021). Two honest copies that do not know of each other equivocate in all the ways that
//! matter, so a search through partitions is a search through Byzantine behaviour.
//!
//! The runner is light: real engines; no signatures, no delays. A [`Schedule`] is a list of [`Step`]s: who can hear whom, how
//! many hops messages travel, whose time runs out afterwards. In a hop everything said in the last one arrives, inside its
//! group; what crosses groups is lost, and comes again only as the engine repeats it. Proposers follow the engine's own rule.
//! Schedules with an even number walk through all sequences of two-way splits, those with an odd one are drawn at random.
//!
//! The oracle: no two nodes, twins included, decide different blocks at one height. (Twins hold a certificate as well as anybody.)

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use basalt_bft::{Bft, Message, Record, SignedMessage, sim::BftLab};
use basalt_consensus::{Effect, Engine, Input, Restored, Target, Verdict, Verified, sim::Lab};
use basalt_primitives::{B256, Block, CommitCertificate, HashFn, Height, Millis, SealedBlock, Signature, ValidatorSet};
use rand::{RngExt, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

type In = Input<SignedMessage, Record>;
type Out = Effect<Message, SignedMessage, Record>;

/// Steps of a systematic schedule.
const PHASES: u32 = 5;
/// Hops of a systematic step: enough for a block from proposal to decision.
const HOPS: u32 = 4;
/// Messages handled in one hop at most, so that no schedule runs away.
const MAX_FLIGHT: usize = 20_000;

/// Who hears whom for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The group of each node. Nodes n, n + 1, … are the twins.
    pub groups: Vec<u8>,
    /// How many hops messages travel.
    pub hops: u32,
    /// Whose timers run out at the end.
    pub late: Vec<bool>,
}

/// One arrangement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Schedule {
    /// Number of validators.
    pub validators: usize,
    /// Which of them run twice.
    pub twins: Vec<u16>,
    /// What happens.
    pub steps: Vec<Step>,
}

impl Schedule {
    /// Schedule number `number` for n validators of which some are twinned. The same number gives the same schedule.
    #[must_use]
    pub fn numbered(n: usize, twinned: usize, number: u64) -> Self {
        if number.is_multiple_of(2) {
            Self::systematic(n, twinned, number / 2)
        } else {
            Self::drawn(n, twinned, number)
        }
    }

    /// All sequences of [`PHASES`] two-way splits, times who is twinned; taken with a stride that visits each once.
    fn systematic(n: usize, twinned: usize, number: u64) -> Self {
        let nodes = n + twinned;
        let splits = 1u128 << (nodes - 1);
        let total = splits.pow(PHASES) * n as u128;
        // Odd and without the factors 3, 5, 7: coprime to every total there is for n = 4, 7, 10.
        let mut at = u128::from(number) * 0x9e37_79b9_7f4a_7c17 % total;
        let first = (at % n as u128) as u16;
        at /= n as u128;
        let mut steps = Vec::new();
        for _ in 0..PHASES {
            let split = at % splits;
            at /= splits;
            let groups = (0..nodes).map(|node| (split << 1 >> node & 1) as u8).collect();
            steps.push(Step { groups, hops: HOPS, late: vec![true; nodes] });
        }
        let twins = (0..twinned as u16).map(|i| (first + i) % n as u16).collect();
        Self { validators: n, twins, steps }
    }

    fn drawn(n: usize, twinned: usize, number: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(number ^ 0x7415_0000);
        let mut order: Vec<u16> = (0..n as u16).collect();
        order.shuffle(&mut rng);
        order.truncate(twinned);
        let nodes = n + twinned;
        let steps = (0..rng.random_range(4..12)).map(|_| {
            let parts = rng.random_range(1..4);
            let all_late = rng.random_bool(0.5);
            Step {
                groups: (0..nodes).map(|_| rng.random_range(0..parts)).collect(),
                hops: rng.random_range(1..5),
                late: (0..nodes).map(|_| all_late || rng.random_bool(0.5)).collect(),
            }
        });
        let steps = steps.collect();
        Self { validators: n, twins: order, steps }
    }
}

/// What a schedule, or many, came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Schedules run.
    pub schedules: u64,
    /// Blocks decided, counted per node.
    pub decisions: u64,
    /// Of these, decided above round 0.
    pub later_rounds: u64,
    /// Equivocations that engines saw and reported.
    pub equivocations: u64,
}

impl Tally {
    /// Both together.
    pub fn add(&mut self, other: &Self) {
        self.schedules += other.schedules;
        self.decisions += other.decisions;
        self.later_rounds += other.later_rounds;
        self.equivocations += other.equivocations;
    }
}

/// Two blocks decided at one height.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Conflict {
    /// The height.
    pub height: u64,
    /// The first block.
    pub first: B256,
    /// The other.
    pub second: B256,
}

/// Runs one schedule.
pub fn run(schedule: &Schedule) -> Result<Tally, Conflict> {
    let mut arena = Arena::new(schedule);
    for step in &schedule.steps {
        arena.step(step);
    }
    arena.tally.schedules = 1;
    arena.conflict.map_or(Ok(arena.tally), Err)
}

/// Processor time of one engine per block, with n validators in a network where all goes well: `blocks` of them, all engines
/// together, divided. Every message is handled, none is signed or verified. `clock` reads the time.
pub fn engine_cost(n: usize, blocks: u64, clock: fn() -> Instant) -> Duration {
    let schedule = Schedule { validators: n, twins: Vec::new(), steps: Vec::new() };
    let mut arena = Arena::new(&schedule);
    arena.most = usize::MAX;
    arena.clock = Some(clock);
    let wanted = blocks * n as u64;
    // A block takes three hops; where it does not, the measurement ends with what there is.
    for _ in 0..8 * blocks {
        if arena.tally.decisions >= wanted {
            break;
        }
        arena.step(&Step { groups: vec![0; n], hops: 1, late: vec![false; n] });
    }
    arena.spent / u32::try_from(arena.tally.decisions.max(1)).unwrap_or(u32::MAX)
}

struct Node {
    engine: Bft,
    validator: u16,
    now: Millis,
    head: SealedBlock,
}

struct Arena {
    set: Arc<ValidatorSet>,
    nodes: Vec<Node>,
    groups: Vec<u8>,
    flight: Vec<(usize, usize, Arc<SignedMessage>)>,
    decided: BTreeMap<Height, B256>,
    conflict: Option<Conflict>,
    tally: Tally,
    /// Most messages under way.
    most: usize,
    /// Time spent in engines, where a clock measures it.
    clock: Option<fn() -> Instant>,
    spent: Duration,
}

impl Arena {
    fn new(schedule: &Schedule) -> Self {
        let lab = BftLab::equal(schedule.validators);
        let validators = (0..schedule.validators as u16).chain(schedule.twins.iter().copied());
        let node =
            |validator: u16| Node { engine: lab.engine(validator), validator, now: 0, head: lab.genesis().clone() };
        let nodes: Vec<Node> = validators.map(node).collect();
        let mut arena = Self {
            set: lab.set().clone(),
            groups: vec![0; nodes.len()],
            nodes,
            flight: Vec::new(),
            decided: BTreeMap::new(),
            conflict: None,
            tally: Tally::default(),
            most: MAX_FLIGHT,
            clock: None,
            spent: Duration::ZERO,
        };
        for node in 0..arena.nodes.len() {
            let sets = (1..=2).map(|h| (Height(h), lab.set().clone())).collect();
            let restored = Restored {
                head: lab.genesis().clone(),
                certificate: None,
                had_transactions: false,
                sets,
                past: Vec::new(),
                records: Some(lab.first_records()),
                nonce: node as u64,
            };
            arena.input(node, Input::Restored(restored));
            arena.input(node, Input::Work { pending: true });
        }
        arena
    }

    fn step(&mut self, step: &Step) {
        self.groups.clone_from(&step.groups);
        for _ in 0..step.hops {
            for (from, to, signed) in std::mem::take(&mut self.flight) {
                if self.groups[from] == self.groups[to] {
                    let message = Verified::assume(signed.as_ref().clone());
                    self.input(to, Input::Message { from: signed.from, message });
                }
            }
        }
        for node in (0..self.nodes.len()).filter(|node| step.late[*node]) {
            self.run_out(node);
        }
    }

    /// Time passes on one node until its round timer, if it runs, has fired, or a few repetitions are said.
    fn run_out(&mut self, node: usize) {
        let round = self.nodes[node].engine.status().round;
        for _ in 0..6 {
            let Some(at) = self.nodes[node].engine.deadline() else { return };
            self.nodes[node].now = self.nodes[node].now.max(at);
            self.input(node, Input::Tick);
            if self.nodes[node].engine.status().round != round {
                return;
            }
        }
    }

    /// One input, and all that follows on this node at once: records are on disk, blocks built, judged and executed.
    fn input(&mut self, node: usize, input: In) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let this = &mut self.nodes[node];
            let start = self.clock.map(|clock| clock());
            let effects = this.engine.step(this.now, this.now, input);
            if let Some((clock, start)) = self.clock.zip(start) {
                self.spent += clock().duration_since(start);
            }
            for effect in effects {
                self.effect(node, effect, &mut inputs);
            }
        }
    }

    fn effect(&mut self, node: usize, effect: Out, inputs: &mut VecDeque<In>) {
        match effect {
            Effect::Send { to, message } => self.send(node, to, message, inputs),
            Effect::Fetch { block, .. } => inputs.push_back(self.fetch(node, block)),
            Effect::Build(request) => {
                let block = self.build(node, &request);
                inputs.push_back(Input::Built { height: request.height, round: request.round, block });
            }
            Effect::Validate { block } => {
                inputs.push_back(Input::Validated { block: block.hash(), verdict: Verdict::Valid });
            }
            Effect::Execute { block, certificate } => {
                self.decide(&block, &certificate);
                self.nodes[node].head = block.clone();
                let (height, hash) = (block.height(), block.hash());
                inputs.push_back(Input::ValidatorSet { height: Height(height.0 + 2), set: self.set.clone() });
                let timestamp_ms = block.header().timestamp_ms;
                inputs.push_back(Input::Executed { height, block: hash, had_transactions: true, timestamp_ms });
            }
            Effect::Report(_) => self.tally.equivocations += 1,
            Effect::Persist(_) | Effect::Forkchoice { .. } | Effect::Seal { .. } | Effect::Alarm(_) => {}
        }
    }

    fn send(&mut self, node: usize, to: Target, message: Message, inputs: &mut VecDeque<In>) {
        let from = self.nodes[node].validator;
        let signed = SignedMessage { from, message, signature: Signature([0; 64]) };
        if to == Target::All {
            inputs.push_back(Input::Message { from, message: Verified::assume(signed.clone()) });
        }
        let signed = Arc::new(signed);
        for (other, Node { validator, .. }) in self.nodes.iter().enumerate() {
            let meant = to == Target::All || to == Target::One(*validator);
            if other != node && meant && self.flight.len() < self.most {
                self.flight.push((node, other, signed.clone()));
            }
        }
    }

    fn fetch(&self, node: usize, block: B256) -> In {
        let near = |other: &usize| *other != node && self.groups[*other] == self.groups[node];
        let held = |other: usize| {
            let other = &self.nodes[other];
            other.engine.block(&block).or_else(|| Some(other.head.clone()).filter(|b| b.hash() == block))
        };
        let found = (0..self.nodes.len()).filter(near).find_map(held);
        found.map_or(Input::FetchFailed { block }, |block| Input::Fetched { block })
    }

    /// Blocks of two nodes differ, also those of twins.
    fn build(&self, node: usize, request: &basalt_consensus::BuildRequest) -> SealedBlock {
        let this = &self.nodes[node];
        let mut header = this.head.header().clone();
        header.height = request.height;
        header.parent_hash = request.parent;
        header.first_round = request.round;
        header.timestamp_ms = request.min_timestamp_ms + node as u64;
        header.proposer = self.set.get(this.validator).map(|v| v.address()).unwrap_or_default();
        let certificate = request.last_certificate.clone();
        header.last_certificate_hash = certificate.as_ref().map(|c| c.hash(HashFn::Sha256)).unwrap_or_default();
        SealedBlock::new(Block { header, last_certificate: certificate, transactions: Vec::new() }, HashFn::Sha256)
    }

    fn decide(&mut self, block: &SealedBlock, certificate: &CommitCertificate) {
        self.tally.decisions += 1;
        self.tally.later_rounds += u64::from(certificate.round.0 > 0);
        let (height, second) = (block.height(), block.hash());
        let first = *self.decided.entry(height).or_insert(second);
        if first != second {
            self.conflict = Some(Conflict { height: height.0, first, second });
        }
    }
}
