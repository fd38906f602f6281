//! The event loop: true time, crashes, restarts, and the judgement at the end.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use basalt_bft::sim::BftLab;
use basalt_consensus::{
    Input,
    sim::{Lab as _, Plan, Violation},
};
use basalt_node::driver::executor::Done;
use basalt_primitives::{B256, Bytes, Height, Millis, PublicKey};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{
    Sabotage,
    chain::Setup,
    node::{Node, Start},
    oracle::{Oracles, violation},
    ports::{Action, Doom},
};
use crate::Outcome;

/// A run that has not ended after so many events storms.
const MAX_EVENTS: u64 = 2_000_000;
/// How often a node's sync side and its client look round.
pub(super) const POLL_MS: Millis = 100;

/// Something that happens at a moment.
#[derive(Debug)]
pub(super) enum Event {
    /// A consensus message comes in over the wire.
    Deliver { to: usize, sender: PublicKey, bytes: Bytes },
    /// The verification thread comes to it.
    Verify { node: usize, epoch: u64, sender: PublicKey, bytes: Bytes },
    /// Something for the engine.
    Feed { node: usize, epoch: u64, input: Box<Done> },
    /// The engine's deadline.
    Tick { node: usize, epoch: u64 },
    /// The validation thread has judged its first block.
    Judged { node: usize, epoch: u64 },
    /// The execution thread has done its first job.
    Worked { node: usize, epoch: u64 },
    /// Transactions gossiped by a peer.
    Gossip { to: usize, raws: Vec<Bytes> },
    /// A client has one more transaction.
    Submit { node: usize },
    /// A single block was asked for at a peer.
    FetchAsked { node: usize, epoch: u64, peer: usize, block: B256 },
    /// Its answer.
    FetchAnswered { node: usize, epoch: u64, block: B256, bytes: Option<Bytes> },
    /// A range of blocks was asked for at a peer.
    SyncAsked { node: usize, epoch: u64, peer: usize, from: Height },
    /// Its answer.
    SyncAnswered { node: usize, epoch: u64, blocks: Vec<Bytes> },
    /// Sync side and client look round.
    Poll { node: usize, epoch: u64 },
    /// A planned crash.
    Crash(usize),
    /// A node starts.
    Restart(usize),
    /// Everything is well from now on.
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

/// How a run went.
#[derive(Clone, Debug)]
pub struct Run {
    /// The plan it ran under.
    pub plan: String,
    /// Its events, if they were kept.
    pub events: Vec<String>,
    /// Hash of all events: equal for equal runs.
    pub log_hash: u64,
    /// How it ended.
    pub result: Result<Outcome, Violation>,
}

/// Everything.
pub struct World {
    pub(super) setup: Setup,
    pub(super) plan: Plan,
    pub(super) lab: BftLab,
    pub(super) rng: ChaCha8Rng,
    pub(super) clock: Arc<AtomicU64>,
    pub(super) now: Millis,
    pub(super) nodes: Vec<Node>,
    pub(super) oracles: Oracles,
    /// Transactions that clients have handed to each node, by hash, in order of nonces.
    pub(super) clients: Vec<Vec<(B256, Bytes)>>,
    pub(super) messages: u64,
    handled: u64,
    submitted: usize,
    events: BinaryHeap<Reverse<Scheduled>>,
    seq: u64,
    log: Option<Vec<String>>,
    hasher: DefaultHasher,
    _folder: tempfile::TempDir,
}

/// Memory, where the system has a file system there: a real file, whose sync costs little.
fn folder() -> std::io::Result<tempfile::TempDir> {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir()) } else { tempfile::tempdir() }
}

impl World {
    /// Runs to the end: everything submitted is committed on every node within the plan's bound, or not.
    #[must_use]
    pub fn run(setup: Setup, plan: Plan, sabotage: Sabotage, keep_log: bool) -> Run {
        let described = format!("{plan:?}");
        let mut world = Self::new(setup, plan, sabotage, keep_log);
        let result = world.go();
        Run { plan: described, log_hash: world.hasher.finish(), events: world.log.take().unwrap_or_default(), result }
    }

    fn new(setup: Setup, plan: Plan, sabotage: Sabotage, keep_log: bool) -> Self {
        let folder = folder().expect("a temporary folder");
        let node = |(i, key): (usize, &basalt_primitives::SecretKey)| {
            Node::new(&setup, key.clone(), folder.path().join(format!("node{i}"))).expect("a fresh node")
        };
        let mut nodes: Vec<Node> = setup.keys.iter().enumerate().map(node).collect();
        plan.silent.iter().for_each(|v| nodes[usize::from(*v)].silent = true);
        let victim = nodes.iter().position(|n| !n.silent).unwrap_or_default();
        nodes[victim].sabotage = sabotage;
        let mut world = Self {
            lab: BftLab::equal(nodes.len()),
            rng: ChaCha8Rng::seed_from_u64(plan.seed),
            clock: Arc::default(),
            now: 0,
            clients: vec![Vec::new(); nodes.len()],
            nodes,
            oracles: Oracles::default(),
            messages: 0,
            handled: 0,
            submitted: 0,
            events: BinaryHeap::new(),
            seq: 0,
            log: keep_log.then(Vec::new),
            hasher: DefaultHasher::new(),
            _folder: folder,
            setup,
            plan,
        };
        world.populate();
        world
    }

    fn populate(&mut self) {
        for node in 0..self.nodes.len() {
            let delay = self.rng.random_range(0..50);
            self.schedule(delay, Event::Restart(node));
        }
        for (at, node) in self.plan.submissions.clone() {
            let count = self.nodes.len();
            let there = (node..node + count).map(|n| n % count).find(|n| !self.nodes[*n].silent);
            self.schedule(at, Event::Submit { node: there.unwrap_or(node) });
        }
        for crash in 0..self.plan.crashes.len() {
            self.schedule(self.plan.crashes[crash].at, Event::Crash(crash));
        }
        self.schedule(self.plan.heal_at, Event::Heal);
    }

    fn go(&mut self) -> Result<Outcome, Violation> {
        while let Some(Reverse(scheduled)) = self.events.pop() {
            self.now = scheduled.at;
            self.clock.store(self.now, Ordering::Relaxed);
            self.handled += 1;
            if self.handled > MAX_EVENTS {
                return Err(violation("no storm", format!("more than {MAX_EVENTS} events by {} ms", self.now)));
            }
            self.handle(scheduled.event)?;
            if self.now > self.plan.heal_at + self.plan.bound {
                return Err(self.stuck());
            }
            if self.settled() {
                return self.finish();
            }
        }
        Err(self.stuck())
    }

    fn finish(&self) -> Result<Outcome, Violation> {
        for process in self.nodes.iter().filter_map(|n| n.process.as_ref()) {
            self.oracles.no_committed_transaction_lost(&process.chain)?;
        }
        Ok(Outcome {
            height: self.oracles.height().0,
            messages: self.messages,
            events: self.handled,
            settled_after_ms: self.now - self.plan.heal_at,
        })
    }

    /// Notes what happened: in the hash always, in the log if it is kept.
    pub(super) fn note(&mut self, line: impl FnOnce() -> String) {
        let line = format!("{:>7} {}", self.now, line());
        line.hash(&mut self.hasher);
        if let Some(log) = &mut self.log {
            log.push(line);
        }
    }

    pub(super) fn schedule(&mut self, delay: Millis, event: Event) {
        self.seq += 1;
        self.events.push(Reverse(Scheduled { at: self.now + delay, seq: self.seq, event }));
    }

    fn handle(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::Deliver { to, sender, bytes } => self.delivered(to, sender, bytes),
            Event::Verify { node, epoch, sender, bytes } => self.alive(node, epoch, |w| w.verify(node, sender, bytes)),
            Event::Feed { node, epoch, input } => self.alive(node, epoch, |w| w.drive(node, *input)),
            Event::Tick { node, epoch } => self.alive(node, epoch, |w| w.tick(node)),
            Event::Judged { node, epoch } => self.alive(node, epoch, |w| w.judged(node)),
            Event::Worked { node, epoch } => self.alive(node, epoch, |w| w.worked(node)),
            Event::Gossip { to, raws } => {
                self.admit(to, raws);
                Ok(())
            }
            Event::Submit { node } => {
                self.submit(node);
                Ok(())
            }
            Event::FetchAsked { node, epoch, peer, block } => {
                self.alive(node, epoch, |w| w.fetch_asked(node, epoch, peer, block))
            }
            Event::FetchAnswered { node, epoch, block, bytes } => {
                self.alive(node, epoch, |w| w.fetch_answered(node, block, bytes))
            }
            Event::SyncAsked { node, epoch, peer, from } => {
                self.alive(node, epoch, |w| w.sync_asked(node, epoch, peer, from))
            }
            Event::SyncAnswered { node, epoch, blocks } => self.alive(node, epoch, |w| w.sync_answered(node, blocks)),
            Event::Poll { node, epoch } => self.alive(node, epoch, |w| w.poll(node, epoch)),
            Event::Crash(crash) => self.plan_crash(crash),
            Event::Restart(node) => self.restart(node),
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

    fn submit(&mut self, node: usize) {
        self.submitted += 1;
        let nonce = self.clients[node].len() as u64;
        let raw = self.setup.transaction(node, nonce);
        let spec = &self.setup.spec;
        let tx = basalt_proto::tx::decode(raw.clone(), spec.chain_id, spec.hash_fn).expect("our own encoding");
        self.note(|| format!("n{node} its client sends transaction {nonce}"));
        self.clients[node].push((tx.hash(), raw.clone()));
        self.offer(node, vec![raw]);
    }

    /// Gives an input to a node's driver and sees to what follows.
    pub(super) fn drive(&mut self, node: usize, input: Done) -> Result<(), Violation> {
        let (now, offset) = (self.now, self.plan.clock_offset(self.now, node));
        let Some(process) = &mut self.nodes[node].process else { return Ok(()) };
        if process.busy_until > now {
            let (wait, epoch) = (process.busy_until - now, process.epoch);
            self.schedule(wait, Event::Feed { node, epoch, input: Box::new(input) });
            return Ok(());
        }
        use basalt_node::clock::Clock as _;
        process.clock.set_offset(offset);
        let (mono, wall) = (process.clock.mono_ms(), process.clock.wall_ms());
        let result = process.driver.handle(mono, wall, input);
        let (actions, busy, dead, down) = {
            let mut outbox = process.outbox.borrow_mut();
            let actions = std::mem::take(&mut outbox.actions);
            (actions, std::mem::take(&mut outbox.busy), outbox.dead, process.down)
        };
        process.busy_until = now + busy;
        if let (Err(fatal), false) = (&result, dead) {
            return Err(violation("no node stops by itself", format!("n{node}: {fatal}")));
        }
        for action in actions {
            self.act(node, action)?;
        }
        if dead {
            return self.crash(node, down);
        }
        self.schedule_tick(node);
        Ok(())
    }

    fn act(&mut self, node: usize, action: Action) -> Result<(), Violation> {
        match action {
            Action::Recorded(record) => self.recorded(node, record),
            Action::Send(to, message, after) => self.send(node, to, &message, after),
            Action::Fetch(block, height, hint) => {
                self.fetch(node, block, height, hint);
                Ok(())
            }
            Action::Job(job) => {
                self.queue_job(node, job);
                Ok(())
            }
            Action::Validate(block) => {
                self.queue_judgement(node, block);
                Ok(())
            }
            Action::Report(evidence) => {
                let what =
                    format!("validator {} accused at {}/{}", evidence.validator, evidence.height, evidence.round);
                Err(violation("no false evidence", what))
            }
        }
    }

    fn recorded(&mut self, node: usize, record: basalt_bft::record::Record) -> Result<(), Violation> {
        let wiped = self.nodes[node].wiped;
        if let Some((height, round)) = self.lab.promise(&record) {
            let index = u16::try_from(node).expect("few nodes");
            self.oracles.shared.promise(index, height, round, wiped)?;
        }
        self.nodes[node].records.get_or_insert_default().push(record);
        Ok(())
    }

    fn schedule_tick(&mut self, node: usize) {
        let now = self.now;
        let Some(process) = &mut self.nodes[node].process else { return };
        let Some(at) = process.driver.deadline().map(|mono| process.clock.true_time(mono).max(now + 1)) else { return };
        let at = at.max(process.busy_until);
        if process.tick_at.is_none_or(|earlier| at < earlier) {
            process.tick_at = Some(at);
            let epoch = process.epoch;
            self.schedule(at - now, Event::Tick { node, epoch });
        }
    }

    fn tick(&mut self, node: usize) -> Result<(), Violation> {
        let now = self.now;
        let Some(process) = &mut self.nodes[node].process else { return Ok(()) };
        match process.tick_at.take_if(|at| *at == now) {
            Some(_) => self.drive(node, Input::Tick),
            None => Ok(()),
        }
    }

    fn plan_crash(&mut self, index: usize) -> Result<(), Violation> {
        let crash = self.plan.crashes[index].clone();
        let Some(process) = &mut self.nodes[crash.node].process else { return Ok(()) };
        if crash.fuse > 0 && !crash.lose_record {
            process.down = crash.down;
            let doom = if crash.during_sync { Doom::Syncing } else { Doom::Fuse(crash.fuse) };
            process.outbox.borrow_mut().doom = Some(doom);
            return Ok(());
        }
        self.crash(crash.node, crash.down)?;
        if crash.lose_ledger {
            self.nodes[crash.node].lose_ledger();
        }
        if crash.lose_record {
            let lost = self.nodes[crash.node].lose_record();
            lost.map_err(|e| violation("the simulated disk", e.to_string()))?;
            self.oracles.shared.forget_promises(u16::try_from(crash.node).expect("few nodes"));
        }
        Ok(())
    }

    /// The process dies, and everything in memory with it.
    fn crash(&mut self, node: usize, down: Millis) -> Result<(), Violation> {
        self.note(|| format!("n{node} CRASH, down {down} ms"));
        self.nodes[node].process = None;
        self.schedule(down.max(1), Event::Restart(node));
        Ok(())
    }

    fn restart(&mut self, node: usize) -> Result<(), Violation> {
        if self.nodes[node].silent || self.nodes[node].process.is_some() {
            return Ok(());
        }
        let start = Start {
            setup: &self.setup,
            now: &self.clock,
            mono_base: self.rng.random_range(0..1_000),
            nonce: self.rng.next_u64(),
            sync_ms: self.plan.sync_ms,
        };
        let restored = self.nodes[node].start(&start);
        let restored = restored.map_err(|e| violation("restart", format!("n{node} does not start: {e:#}")))?;
        let (height, records) = (restored.head.height(), restored.records.as_ref().map(Vec::len));
        let epoch = self.nodes[node].starts;
        self.note(|| format!("n{node} start {epoch} at height {height}, records {records:?}"));
        self.drive(node, Input::Restored(restored))?;
        let delay = self.rng.random_range(0..POLL_MS);
        self.schedule(delay, Event::Poll { node, epoch });
        Ok(())
    }

    fn heal(&mut self) -> Result<(), Violation> {
        self.note(|| "HEALED".to_owned());
        for node in 0..self.nodes.len() {
            if let Some(process) = &mut self.nodes[node].process {
                process.outbox.borrow_mut().doom = None;
            }
            self.restart(node)?;
        }
        Ok(())
    }

    /// Liveness: the world is well, and every node has everything that was submitted, with its results certified.
    fn settled(&self) -> bool {
        if self.now < self.plan.heal_at || self.submitted < self.plan.submissions.len() {
            return false;
        }
        let all_well = self.nodes.iter().all(|n| !n.silent);
        let wanted: usize = self.clients.iter().map(Vec::len).sum();
        self.nodes.iter().filter(|n| !n.silent).all(|node| {
            let Some(process) = &node.process else { return false };
            let head = process.chain.ledger.head();
            let certified = head.block.block().transactions.is_empty();
            let done = head.total_transactions == wanted as u64;
            certified && done && (!all_well || self.lab.ready(process.driver.engine()))
        })
    }

    fn stuck(&self) -> Violation {
        let committed = self.oracles.committed();
        let state = |(i, n): (usize, &Node)| {
            let engine = n.process.as_ref().map_or_else(|| "down".to_owned(), |p| self.lab.explain(p.driver.engine()));
            let waiting = self.clients[i].iter().filter(|(hash, _)| !committed.contains(hash)).count();
            format!("  n{i} at {:?}, {waiting} of its client's transactions are in no block; {engine}", n.height())
        };
        let states: Vec<String> = self.nodes.iter().enumerate().map(state).collect();
        let late = self.now - self.plan.heal_at.min(self.now);
        violation("liveness", format!("not settled {late} ms after healing\n{}", states.join("\n")))
    }
}
