//! The event loop: true time, crashes, what people do, and the judgement at the end.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap, VecDeque},
};

use basalt_consensus::{Input, sim::Violation};
use basalt_primitives::{B256, Header, Height, Millis, SealedBlock};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{
    oracle,
    plan::{Plan, Role},
    store::{Archive, Disk, HASH, Node, Process, address, genesis, maker},
    wire::Wire,
};
use crate::{Message, Record, Sealing, Work};

pub use basalt_consensus::sim::Failure;

/// More events than this in one run is a storm, which is a failure of its own.
const MAX_EVENTS: u64 = 4_000_000;

pub(super) enum Event {
    Deliver { to: usize, from: usize, wire: Wire },
    Feed { node: usize, epoch: u64, input: Box<Input<Message, Record>> },
    Tick { node: usize, epoch: u64 },
    Synced { node: usize, epoch: u64 },
    FetchDone { node: usize, epoch: u64, block: B256, hint: usize },
    Found { node: usize, epoch: u64, job: u64 },
    Gossip { node: usize, epoch: u64 },
    Submit { node: usize, tx: u64 },
    Crash(usize),
    Restart(usize),
    Recovered { node: usize, epoch: u64 },
    Op(usize),
    Heal,
}

struct Scheduled {
    at: Millis,
    seq: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.seq) == (other.at, other.seq)
    }
}
impl Eq for Scheduled {}
impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.seq).cmp(&(other.at, other.seq))
    }
}

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Height of the chain that all honest nodes share.
    pub height: Height,
    /// Messages sent, counted per receiver.
    pub messages: u64,
    /// Events handled.
    pub events: u64,
    /// Blocks ever made.
    pub made: u64,
    /// Reorgs, counted per honest node.
    pub reorgs: u64,
    /// Most blocks that one took back.
    pub deepest: u64,
    /// Blocks of the shared chain by who made them.
    pub by_maker: Vec<u64>,
    /// Its headers, block 1 first.
    pub headers: Vec<Header>,
    /// Crashes that took place.
    pub crashes: u64,
    /// Alarms of honest nodes.
    pub alarms: u64,
    /// From healing until everything was settled.
    pub settled_after: Millis,
}

/// An assertion of the engine that fails is a violation as well.
fn guarded<T>(run: impl FnOnce() -> Result<T, Violation>) -> Result<T, Violation> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        Err(Violation::new("no panic", text.unwrap_or_else(|| "the engine panicked".to_owned())))
    })
}

/// A simulated network.
pub struct World {
    pub(super) plan: Plan,
    pub(super) rng: ChaCha8Rng,
    pub(super) now: Millis,
    pub(super) nodes: Vec<Node>,
    pub(super) archive: Archive,
    pub(super) summary: Summary,
    pub(super) genesis: SealedBlock,
    pub(super) next_job: u64,
    /// Headers that were found lawful.
    pub(super) lawful: BTreeSet<B256>,
    /// Reorgs of honest nodes, by where the chains part and how much is abandoned.
    pub(super) reorgs: BTreeSet<(B256, u64)>,
    /// False things left to say.
    pub(super) forgeries: u32,
    submitted: BTreeSet<u64>,
    events: BinaryHeap<Reverse<Scheduled>>,
    seq: u64,
    log: Option<Vec<String>>,
}

impl World {
    /// A world before its first event.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        let genesis = genesis();
        let mut archive = Archive::default();
        let made = super::store::Made { block: genesis.clone(), work: Work::ZERO, public: true, served: true };
        archive.0.insert(genesis.hash(), made);
        let mut world = Self {
            rng: ChaCha8Rng::seed_from_u64(plan.seed),
            now: 0,
            nodes: Vec::new(),
            archive,
            summary: Summary::default(),
            genesis,
            next_job: 0,
            lawful: BTreeSet::new(),
            reorgs: BTreeSet::new(),
            forgeries: 60,
            submitted: BTreeSet::new(),
            events: BinaryHeap::new(),
            seq: 0,
            log: None,
            plan,
        };
        world.populate();
        world
    }

    /// Runs to the end: everything submitted is on the chain that all honest nodes share, or the time is up.
    pub fn run(&mut self) -> Result<Summary, Violation> {
        while let Some(Reverse(scheduled)) = self.events.pop() {
            self.now = scheduled.at;
            self.summary.events += 1;
            if self.summary.events > MAX_EVENTS {
                return Err(Violation::new("no storm", format!("more than {MAX_EVENTS} events by {} ms", self.now)));
            }
            let settles = matches!(scheduled.event, Event::Gossip { .. });
            self.handle(scheduled.event)?;
            if self.plan.count_only && self.now >= self.plan.heal_at {
                return self.finish();
            }
            if settles && self.settled() {
                return self.finish();
            }
            if self.now > self.plan.heal_at + self.plan.bound {
                return Err(self.stuck());
            }
        }
        Err(self.stuck())
    }

    /// How many reorgs of so many blocks or more the honest nodes saw; nodes that saw the same count once.
    #[must_use]
    pub fn reorgs_of(&self, depth: u64) -> usize {
        self.reorgs.iter().filter(|(_, abandoned)| *abandoned >= depth).count()
    }

    /// Runs a plan with the log on.
    pub fn trace(plan: &Plan) -> (Result<Summary, Violation>, Vec<String>) {
        let mut world = Self::new(plan.clone());
        world.log = Some(Vec::new());
        let result = world.run();
        (result, world.log.unwrap_or_default())
    }

    /// Runs a plan; when it fails, runs it again with the log on, so that the failure carries its last events.
    pub fn check(plan: &Plan) -> Result<Summary, Failure> {
        let first = match guarded(|| Self::new(plan.clone()).run()) {
            Ok(summary) => return Ok(summary),
            Err(violation) => violation,
        };
        let mut world = Self::new(plan.clone());
        world.log = Some(Vec::new());
        let repeated = guarded(|| world.run()).err();
        Err(Failure {
            seed: plan.seed,
            reproduced: repeated.as_ref() == Some(&first),
            violation: first,
            plan: format!("{plan:?}"),
            events: world.log.unwrap_or_default(),
        })
    }

    pub(super) fn log(&mut self, line: impl FnOnce(&Self) -> String) {
        if self.log.is_some() {
            let line = format!("{:>9} {}", self.now, line(self));
            if let Some(log) = &mut self.log {
                log.push(line);
            }
        }
    }

    pub(super) fn schedule(&mut self, delay: Millis, event: Event) {
        self.seq += 1;
        self.events.push(Reverse(Scheduled { at: self.now + delay, seq: self.seq, event }));
    }

    pub(super) fn sealing(&self) -> Sealing {
        Sealing { hash_fn: HASH, work_hash: self.plan.params.work_hash }
    }

    fn populate(&mut self) {
        for (share, role) in self.plan.shares.clone().into_iter().zip(self.plan.roles.clone()) {
            let disk = Disk { ledger: vec![self.genesis.clone()], records: Vec::new(), checkpoint: None };
            self.nodes.push(Node {
                disk,
                process: None,
                starts: 0,
                role,
                share,
                latest_wall: 0,
                ordered: false,
                alarms: 0,
                clients: BTreeSet::new(),
                work_at_crash: Work::ZERO,
                secret: VecDeque::new(),
                racing: false,
            });
        }
        for node in 0..self.nodes.len() {
            let delay = self.rng.random_range(0..500);
            self.schedule(delay, Event::Restart(node));
        }
        for (tx, (at, node)) in self.plan.submissions.clone().into_iter().enumerate() {
            self.schedule(at, Event::Submit { node, tx: tx as u64 });
        }
        for crash in 0..self.plan.crashes.len() {
            self.schedule(self.plan.crashes[crash].at, Event::Crash(crash));
        }
        for op in 0..self.plan.ops.len() {
            self.schedule(self.plan.ops[op].0, Event::Op(op));
        }
        self.schedule(self.plan.heal_at, Event::Heal);
    }

    fn handle(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::Deliver { to, from, wire } => self.deliver(to, from, wire),
            Event::Feed { node, epoch, input } => self.alive(node, epoch, |w| w.step(node, *input)),
            Event::Tick { node, epoch } => self.alive(node, epoch, |w| w.tick(node)),
            Event::Synced { node, epoch } => self.alive(node, epoch, |w| w.record_synced(node)),
            Event::FetchDone { node, epoch, block, hint } => {
                self.alive(node, epoch, |w| w.fetch_done(node, block, hint))
            }
            Event::Found { node, epoch, job } => self.alive(node, epoch, |w| w.found(node, job)),
            Event::Gossip { node, epoch } => self.alive(node, epoch, |w| w.gossip(node, epoch)),
            Event::Submit { node, tx } => {
                self.submitted.insert(tx);
                let node = self.nearest_honest(node);
                self.nodes[node].clients.insert(tx);
                Ok(())
            }
            Event::Crash(crash) => self.crash(crash),
            Event::Restart(node) => self.restart(node),
            Event::Recovered { node, epoch } => self.alive(node, epoch, |w| w.recovered(node)),
            Event::Op(op) => self.operate(self.plan.ops[op].1),
            Event::Heal => self.heal(),
        }
    }

    fn alive(
        &mut self,
        node: usize,
        epoch: u64,
        act: impl FnOnce(&mut Self) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        let same = self.nodes[node].process.as_ref().is_some_and(|p| p.epoch == epoch);
        if same { act(self) } else { Ok(()) }
    }

    fn nearest_honest(&self, node: usize) -> usize {
        let count = self.nodes.len();
        (node..node + count).map(|n| n % count).find(|n| self.nodes[*n].honest()).unwrap_or(node)
    }

    /// The honest chains agree but for their newest blocks, and what they agree on has everything that was submitted.
    fn settled(&self) -> bool {
        let all_in = self.submitted.len() == self.plan.submissions.len();
        let ops_done = self.plan.ops.iter().all(|(at, _)| self.now > *at);
        if self.now < self.plan.heal_at + 3 * self.plan.params.block_interval_ms || !all_in || !ops_done {
            return false;
        }
        let Some(shared) = self.shared() else { return false };
        let Some((newest, process)) = shared.last().zip(self.honest().next()) else { return false };
        let done = process.states.get(newest).map(|state| &state.done);
        done.is_some_and(|done| self.submitted.iter().all(|tx| done.contains(tx)))
    }

    fn honest(&self) -> impl Iterator<Item = &Process> {
        self.nodes.iter().filter(|n| n.honest()).filter_map(|n| n.process.as_ref())
    }

    /// The chain of the honest nodes without the newest blocks; `None` where they differ, or one is down.
    fn shared(&self) -> Option<Vec<B256>> {
        let up = self.honest().count() == self.nodes.iter().filter(|n| n.honest()).count();
        let lowest = self.honest().map(|p| p.chain.len()).min().filter(|_| up)?;
        let keep = lowest.checked_sub(self.plan.params.safe_depth as usize)?;
        let first = self.honest().next()?.chain.get(..keep)?.to_vec();
        self.honest().all(|p| p.chain[..keep] == first[..]).then_some(first)
    }

    fn finish(&mut self) -> Result<Summary, Violation> {
        let shared = match self.shared() {
            Some(shared) => shared,
            None if self.plan.count_only => self.honest().next().map(|p| p.chain.clone()).unwrap_or_default(),
            None => return Err(self.stuck()),
        };
        self.same_ledgers()?;
        let alarms: u64 = self.nodes.iter().filter(|n| n.honest()).map(|n| n.alarms).sum();
        if (alarms > 0) != self.plan.alarms {
            return Err(Violation::new(
                "alarm",
                format!("{alarms} alarms were raised, expected: {}", self.plan.alarms),
            ));
        }
        let header = |hash: &B256| self.archive.header(hash).cloned();
        let headers: Vec<Header> = shared.iter().skip(1).filter_map(header).collect();
        oracle::on_schedule(&self.plan.params, &headers, (0.05, 2.0), 8.0)?;
        let made_by =
            |node: usize| headers.iter().filter(|h| maker(h) == node && h.proposer == address(node)).count() as u64;
        self.summary.by_maker = (0..self.nodes.len()).map(made_by).collect();
        self.summary.height = Height(headers.len() as u64);
        self.summary.made = self.archive.0.len() as u64 - 1;
        self.summary.settled_after = self.now.saturating_sub(self.plan.heal_at);
        (self.summary.alarms, self.summary.headers) = (alarms, headers);
        Ok(self.summary.clone())
    }

    /// Final blocks agree, where no attacker had the work to split them.
    fn same_ledgers(&self) -> Result<(), Violation> {
        let ledgers: Vec<&Vec<SealedBlock>> =
            self.nodes.iter().filter(|n| n.honest()).map(|n| &n.disk.ledger).collect();
        for pair in ledgers.windows(2) {
            let differs = pair[0].iter().zip(pair[1]).find(|(a, b)| a != b);
            if let Some((a, b)) = differs.filter(|_| !self.plan.may_split) {
                let what = format!("{} and {} are both final at height {}", a.hash(), b.hash(), a.height());
                return Err(Violation::new("same final blocks", what));
            }
        }
        Ok(())
    }

    fn stuck(&self) -> Violation {
        let state = |(i, n): (usize, &Node)| {
            let words = n.process.as_ref().map_or_else(|| "down".to_owned(), |p| p.engine.explain().join(" "));
            let pool = n.process.as_ref().map_or(0, |p| p.pool.len());
            format!("  n{i} {:?}, pool {pool}: {words}", n.role)
        };
        let states: Vec<String> = self.nodes.iter().enumerate().map(state).collect();
        let late = self.now.saturating_sub(self.plan.heal_at);
        Violation::new("liveness", format!("not settled {late} ms after healing\n{}", states.join("\n")))
    }

    /// Whether a miner keeps blocks to itself.
    pub(super) fn is_secretive(&self, node: usize) -> bool {
        matches!(self.nodes[node].role, Role::Selfish { .. } | Role::Private { .. } | Role::DoubleSpend { .. })
    }
}
