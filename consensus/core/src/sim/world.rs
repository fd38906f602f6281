//! The event loop: true time, the network, crashes, and the judgement at the end.

use std::{cmp::Reverse, collections::BinaryHeap};

use basalt_primitives::{B256, Height, Millis};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{
    Lab, Plan, Violation,
    mempool::{self, Mempool},
    node::{Disk, Entry, Node, Process},
    oracle::Oracles,
};
use crate::{Engine, Input, InputOf, Restored, Verified};

/// Sync side and gossip of a node act this often.
const POLL_MS: Millis = 250;
/// Blocks got at once.
const SYNC_RANGE: usize = 32;
/// More events than this in one run is a storm, which is a failure of its own.
const MAX_EVENTS: u64 = 2_000_000;

pub(super) enum Event<L: Lab> {
    Deliver { to: usize, from: u16, signed: <L::Engine as Engine>::Signed },
    Feed { node: usize, epoch: u64, input: Box<InputOf<L::Engine>> },
    Tick { node: usize, epoch: u64 },
    Synced { node: usize, epoch: u64 },
    Executed { node: usize, epoch: u64 },
    FetchDone { node: usize, epoch: u64, block: B256, height: Height, hint: u16 },
    Poll { node: usize, epoch: u64 },
    Submit { node: usize, tx: u64 },
    Crash(usize),
    Restart(usize),
    Heal,
}

struct Scheduled<L: Lab> {
    at: Millis,
    seq: u64,
    event: Event<L>,
}

impl<L: Lab> PartialEq for Scheduled<L> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.seq) == (other.at, other.seq)
    }
}
impl<L: Lab> Eq for Scheduled<L> {}
impl<L: Lab> PartialOrd for Scheduled<L> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<L: Lab> Ord for Scheduled<L> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.seq).cmp(&(other.at, other.seq))
    }
}

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Height everybody reached.
    pub height: Height,
    /// Messages sent, counted per receiver.
    pub messages: u64,
    /// Events handled.
    pub events: u64,
    /// When each height was first decided.
    pub decided_at: Vec<Millis>,
    /// From healing until everything submitted was committed everywhere.
    pub settled_after: Millis,
}

/// A run that broke an invariant.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Seed of the plan.
    pub seed: u64,
    /// What broke.
    pub violation: Violation,
    /// Whether a second run broke the same way. If not, something in it is not deterministic.
    pub reproduced: bool,
    /// The plan, in full.
    pub plan: String,
    /// Everything that happened.
    pub events: Vec<String>,
}

impl Failure {
    /// The last `count` events.
    #[must_use]
    pub fn tail(&self, count: usize) -> &[String] {
        &self.events[self.events.len().saturating_sub(count)..]
    }
}

impl std::fmt::Display for Failure {
    /// With the last events: 120, or as many as `BASALT_SIM_LOG` says.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { seed, violation, plan, .. } = self;
        let same = if self.reproduced { "" } else { " (NOT reproduced: the run is not deterministic)" };
        let keep = std::env::var("BASALT_SIM_LOG").ok().and_then(|n| n.parse().ok()).unwrap_or(120);
        write!(f, "seed {seed}: {violation}{same}\nplan: {plan}\nlast events:\n{}", self.tail(keep).join("\n"))
    }
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
pub struct World<'a, L: Lab> {
    pub(super) lab: &'a L,
    pub(super) plan: Plan,
    pub(super) rng: ChaCha8Rng,
    pub(super) now: Millis,
    pub(super) nodes: Vec<Node<L>>,
    pub(super) oracles: Oracles,
    pub(super) submitted: u64,
    pub(super) summary: Summary,
    pub(super) provocations: u32,
    events: BinaryHeap<Reverse<Scheduled<L>>>,
    seq: u64,
    log: Option<Vec<String>>,
}

impl<'a, L: Lab> World<'a, L> {
    /// A world before its first event.
    #[must_use]
    pub fn new(lab: &'a L, plan: Plan) -> Self {
        let mut world = Self {
            lab,
            rng: ChaCha8Rng::seed_from_u64(plan.seed),
            now: 0,
            nodes: Vec::new(),
            oracles: Oracles::default(),
            submitted: 0,
            summary: Summary::default(),
            provocations: 0,
            events: BinaryHeap::new(),
            seq: 0,
            log: None,
            plan,
        };
        world.populate();
        world
    }

    /// Runs to the end: everything submitted is committed on every honest node within the plan's bound, or not.
    pub fn run(&mut self) -> Result<Summary, Violation> {
        while let Some(Reverse(scheduled)) = self.events.pop() {
            self.now = scheduled.at;
            self.summary.events += 1;
            if self.summary.events > MAX_EVENTS {
                return Err(Violation::new("no storm", format!("more than {MAX_EVENTS} events by {} ms", self.now)));
            }
            self.handle(scheduled.event)?;
            if self.now > self.plan.heal_at + self.plan.bound {
                return Err(self.stuck());
            }
            if self.settled() {
                self.summary.settled_after = self.now - self.plan.heal_at;
                self.summary.height = self.oracles.height();
                return Ok(self.summary.clone());
            }
        }
        Err(self.stuck())
    }

    /// Runs a plan with the log on.
    pub fn trace(lab: &'a L, plan: &Plan) -> (Result<Summary, Violation>, Vec<String>) {
        let mut world = Self::new(lab, plan.clone());
        world.log = Some(Vec::new());
        let result = world.run();
        (result, world.log.unwrap_or_default())
    }

    /// Runs a plan; when it fails, runs it again with the log on, so that the failure carries its last events.
    pub fn check(lab: &'a L, plan: &Plan) -> Result<Summary, Failure> {
        let first = match guarded(|| Self::new(lab, plan.clone()).run()) {
            Ok(summary) => return Ok(summary),
            Err(violation) => violation,
        };
        let mut world = Self::new(lab, plan.clone());
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
            let line = format!("{:>7} {}", self.now, line(self));
            if let Some(log) = &mut self.log {
                log.push(line);
            }
        }
    }

    pub(super) fn schedule(&mut self, delay: Millis, event: Event<L>) {
        self.seq += 1;
        self.events.push(Reverse(Scheduled { at: self.now + delay, seq: self.seq, event }));
    }

    fn populate(&mut self) {
        let genesis = self.lab.genesis().clone();
        let validators = (0..self.lab.set().len() as u16).chain(self.plan.twins.clone());
        for validator in validators {
            let kind = self.plan.byzantine.get(usize::from(validator)).copied().flatten();
            let twin = self.plan.twins.contains(&validator);
            let entry = Entry { block: genesis.clone(), certificate: None, state: B256::ZERO };
            self.nodes.push(Node {
                validator,
                disk: Disk { ledger: vec![entry], done: Default::default(), records: Some(self.lab.first_records()) },
                process: None,
                starts: 0,
                pool: Mempool::default(),
                clients: Default::default(),
                adversary: kind.map(|kind| self.lab.adversary(validator, kind)),
                honest: kind.is_none() && !twin,
                wiped: false,
                silent: self.plan.silent.contains(&validator),
            });
        }
        for node in 0..self.nodes.len() {
            let delay = self.rng.random_range(0..50);
            self.schedule(delay, Event::Restart(node));
        }
        for (tx, (at, node)) in self.plan.submissions.clone().into_iter().enumerate() {
            self.schedule(at, Event::Submit { node, tx: tx as u64 });
        }
        for crash in 0..self.plan.crashes.len() {
            self.schedule(self.plan.crashes[crash].at, Event::Crash(crash));
        }
        self.schedule(self.plan.heal_at, Event::Heal);
    }

    fn handle(&mut self, event: Event<L>) -> Result<(), Violation> {
        match event {
            Event::Deliver { to, from, signed } => self.deliver(to, from, signed),
            Event::Feed { node, epoch, input } => self.alive(node, epoch, |w| w.step(node, *input)),
            Event::Tick { node, epoch } => self.alive(node, epoch, |w| w.tick(node)),
            Event::Synced { node, epoch } => self.alive(node, epoch, |w| w.record_synced(node)),
            Event::Executed { node, epoch } => self.alive(node, epoch, |w| w.block_executed(node)),
            Event::FetchDone { node, epoch, block, height, hint } => {
                self.alive(node, epoch, |w| w.fetch_done(node, block, height, hint))
            }
            Event::Poll { node, epoch } => self.alive(node, epoch, |w| w.poll(node, epoch)),
            Event::Submit { node, tx } => {
                self.submitted += 1;
                let node = self.nearest_honest(node);
                self.nodes[node].clients.insert(tx);
                if self.nodes[node].process.is_some() { self.add_transactions(node, [tx].into()) } else { Ok(()) }
            }
            Event::Crash(crash) => self.plan_crash(crash),
            Event::Restart(node) => self.restart(node),
            Event::Heal => self.heal(),
        }
    }

    /// Nothing is promised to clients of a node that lies or is never there.
    fn nearest_honest(&self, node: usize) -> usize {
        let count = self.nodes.len();
        let honest = |n: &usize| self.nodes[*n].honest && !self.nodes[*n].silent;
        (node..node + count).map(|n| n % count).find(honest).unwrap_or(node)
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

    fn deliver(&mut self, to: usize, from: u16, signed: <L::Engine as Engine>::Signed) -> Result<(), Violation> {
        if self.nodes[to].process.is_none() || !self.lab.verify(&signed) {
            return Ok(());
        }
        if self.nodes[to].adversary.is_some() {
            self.provoke(to, &signed);
        }
        self.step(to, Input::Message { from, message: Verified::assume(signed) })
    }

    /// Sends one message over one link.
    pub(super) fn transmit(&mut self, from: usize, to: usize, signed: &<L::Engine as Engine>::Signed) {
        self.summary.messages += 1;
        let healed = self.now >= self.plan.heal_at;
        let copies = if !healed && self.rng.random_bool(self.plan.duplicate) { 2 } else { 1 };
        for _ in 0..copies {
            let lost = !healed && self.rng.random_bool(self.plan.loss);
            if lost || !self.plan.connected(self.now, from, to) {
                continue;
            }
            let late = !healed && self.rng.random_bool(self.plan.spike);
            let most = if late { self.plan.spike_ms } else { self.plan.delay };
            let delay = self.rng.random_range(self.plan.delay_min..=most.max(self.plan.delay_min));
            let event = Event::Deliver { to, from: self.nodes[from].validator, signed: signed.clone() };
            self.schedule(delay, event);
        }
    }

    fn plan_crash(&mut self, index: usize) -> Result<(), Violation> {
        let crash = self.plan.crashes[index].clone();
        let Some(process) = &mut self.nodes[crash.node].process else { return Ok(()) };
        if crash.fuse > 0 && !crash.lose_record {
            process.dies_syncing = crash.during_sync.then_some(crash.down);
            process.fuse = Some((crash.fuse, crash.down)).filter(|_| !crash.during_sync);
            return Ok(());
        }
        self.crash(crash.node, crash.down)?;
        let disk = &mut self.nodes[crash.node].disk;
        if crash.lose_ledger {
            disk.lose_ledger();
        }
        if crash.lose_record {
            disk.records = None;
            self.nodes[crash.node].wiped = true;
            self.oracles.forget_promises(self.nodes[crash.node].validator);
        }
        Ok(())
    }

    /// The process dies. What was being written may or may not have reached the disk.
    pub(super) fn crash(&mut self, node: usize, down: Millis) -> Result<(), Violation> {
        self.log(|_| format!("n{node} CRASH, down {down} ms"));
        let (record_made_it, block_made_it) = (self.rng.random_bool(0.5), self.rng.random_bool(0.5));
        let this = &mut self.nodes[node];
        let Some(mut process) = this.process.take() else { return Ok(()) };
        if let (true, Some((block, certificate))) = (block_made_it, process.executing.pop_front()) {
            this.disk.append(block, certificate);
        }
        this.pool = Mempool::default();
        self.schedule(down.max(1), Event::Restart(node));
        match process.queue.pop_front() {
            Some(crate::Effect::Persist(record)) if process.syncing && record_made_it => self.keep_record(node, record),
            _ => Ok(()),
        }
    }

    fn restart(&mut self, node: usize) -> Result<(), Violation> {
        let this = &mut self.nodes[node];
        if this.silent || this.process.is_some() {
            return Ok(());
        }
        this.starts += 1;
        let (epoch, head) = (this.starts, this.disk.head().clone());
        let sets = (1..=2).map(|d| (Height(head.block.height().0 + d), self.lab.set().clone())).collect();
        let restored = Restored {
            had_transactions: mempool::transactions(&head.block).next().is_some(),
            certificate: head.certificate.clone(),
            records: this.disk.records.clone(),
            past: this.disk.past(self.lab.set()),
            head: head.block.clone(),
            sets,
            nonce: self.rng.next_u64(),
        };
        this.process = Some(Process {
            engine: self.lab.engine(this.validator),
            epoch,
            booted: self.now,
            mono_base: self.rng.random_range(0..1_000),
            queue: Default::default(),
            syncing: false,
            executing: Default::default(),
            fetched: Default::default(),
            tip: head.block,
            fuse: None,
            tick_at: None,
            dies_syncing: None,
            told_pending: false,
        });
        let known: Vec<String> = restored.records.iter().flatten().map(|_| ".".to_owned()).collect();
        self.log(|w| {
            format!("n{node} start {epoch} at height {}, records {}", w.nodes[node].disk.ledger.len() - 1, known.len())
        });
        self.step(node, Input::Restored(restored))?;
        let clients = self.nodes[node].clients.clone();
        self.add_transactions(node, clients)?;
        let delay = self.rng.random_range(0..POLL_MS);
        self.schedule(delay, Event::Poll { node, epoch });
        Ok(())
    }

    fn heal(&mut self) -> Result<(), Violation> {
        self.log(|_| "HEALED".to_owned());
        for node in 0..self.nodes.len() {
            if let Some(process) = &mut self.nodes[node].process {
                process.fuse = None;
                process.dies_syncing = None;
            }
            self.restart(node)?;
        }
        Ok(())
    }

    /// The sync side: asks one other node for the next blocks and for transactions.
    fn poll(&mut self, node: usize, epoch: u64) -> Result<(), Violation> {
        self.schedule(POLL_MS, Event::Poll { node, epoch });
        let clients = self.nodes[node].clients.clone();
        self.add_transactions(node, clients)?;
        let other = self.rng.random_range(0..self.nodes.len());
        let reachable = self.plan.connected(self.now, node, other) && self.plan.connected(self.now, other, node);
        if other == node || !reachable || self.nodes[other].process.is_none() {
            return Ok(());
        }
        let theirs = self.nodes[other].pool.0.clone();
        self.add_transactions(node, theirs)?;
        let next = self.nodes[node].process.as_ref().map_or(0, |p| p.tip.height().0 + 1) as usize;
        let ledger = &self.nodes[other].disk.ledger;
        let blocks: Vec<Entry> = ledger.get(next..).unwrap_or_default().iter().take(SYNC_RANGE).cloned().collect();
        let certified = blocks.into_iter().filter_map(|e| Some((e.block, e.certificate?)));
        let sound = certified.filter(|(_, certificate)| self.lab.verify_certificate(certificate)).collect();
        if let Some(process) = &mut self.nodes[node].process {
            process.fetched = sound;
        }
        self.alive(node, epoch, |w| w.feed_synced(node))
    }

    /// As far as the node's validator sets reach, two blocks above what is executed; the rest as execution goes on.
    pub(super) fn feed_synced(&mut self, node: usize) -> Result<(), Violation> {
        let executed = self.nodes[node].disk.head().block.height();
        while let Some(process) = &mut self.nodes[node].process {
            let Some((block, certificate)) = process.fetched.pop_front_if(|(b, _)| b.height().0 <= executed.0 + 2)
            else {
                break;
            };
            self.step(node, Input::Synced { block, certificate })?;
        }
        Ok(())
    }

    /// Liveness: the world is well, and every honest node has everything that was submitted, with its results certified.
    fn settled(&self) -> bool {
        if self.now < self.plan.heal_at || self.submitted < self.plan.submissions.len() as u64 {
            return false;
        }
        let all_well = self.nodes.iter().all(|n| n.honest && !n.silent);
        self.nodes.iter().filter(|n| n.honest && !n.silent).all(|node| {
            let Some(process) = &node.process else { return false };
            let certified = mempool::transactions(&node.disk.head().block).next().is_none();
            certified && node.pool.0.is_empty() && (!all_well || self.lab.ready(&process.engine)) && self.complete(node)
        })
    }

    fn complete(&self, node: &Node<L>) -> bool {
        node.disk.done.len() as u64 == self.submitted
    }

    fn stuck(&self) -> Violation {
        let state = |(i, n): (usize, &Node<L>)| {
            let engine = n.process.as_ref().map_or_else(|| "down".to_owned(), |p| self.lab.explain(&p.engine));
            format!("  n{i} ledger {}, pool {}, {engine}", n.disk.ledger.len() - 1, n.pool.0.len())
        };
        let states: Vec<String> = self.nodes.iter().enumerate().map(state).collect();
        let what = format!(
            "not settled {} ms after healing\n{}",
            self.now - self.plan.heal_at.min(self.now),
            states.join("\n")
        );
        Violation::new("liveness", what)
    }
}
