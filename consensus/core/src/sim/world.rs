//! The event loop: true time, the network, crashes, and the judgement at the end.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::Arc,
};

use basalt_primitives::{B256, Height, Millis, Validator, ValidatorSet};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{
    Cut, Lab, Plan, Violation,
    mempool::{self, Mempool, State},
    node::{Disk, Entry, Node},
    oracle::Oracles,
};
use crate::{Engine, InputOf};

/// Sync side and gossip of a node act this often.
pub(super) const POLL_MS: Millis = 250;
/// More events than this in one run is a storm, which is a failure of its own.
const MAX_EVENTS: u64 = 2_000_000;

pub(super) enum Event<L: Lab> {
    Deliver {
        to: usize,
        from: u16,
        signed: <L::Engine as Engine>::Signed,
    },
    Feed {
        node: usize,
        epoch: u64,
        input: Box<InputOf<L::Engine>>,
    },
    Tick {
        node: usize,
        epoch: u64,
    },
    Synced {
        node: usize,
        epoch: u64,
    },
    Executed {
        node: usize,
        epoch: u64,
    },
    FetchDone {
        node: usize,
        epoch: u64,
        block: B256,
        height: Height,
        hint: u16,
    },
    Poll {
        node: usize,
        epoch: u64,
    },
    Submit {
        node: usize,
        tx: u64,
    },
    Crash(usize),
    Restart(usize),
    /// A cut begins or ends: for the log.
    Cut(usize, bool),
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
    /// When each height was first executed.
    pub executed_at: Vec<Millis>,
    /// When an honest validator first proposed a block of each height.
    pub proposed_at: BTreeMap<Height, Millis>,
    /// Crashes that took place.
    pub crashes: u64,
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
    /// The validator sets that the plan's changes lead to.
    pub(super) sets: Vec<Arc<ValidatorSet>>,
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
            sets: plan.changes.iter().map(|change| Arc::new(members(lab, &change.members))).collect(),
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
            let late = self.now > self.plan.heal_at + self.plan.bound;
            if late && !self.plan.safety_only {
                return Err(self.stuck());
            }
            if late || self.settled() {
                return self.finish();
            }
        }
        if self.plan.safety_only { self.finish() } else { Err(self.stuck()) }
    }

    fn finish(&mut self) -> Result<Summary, Violation> {
        for node in self.nodes.iter().filter(|n| n.honest) {
            self.oracles.nothing_lost(node.disk.head().block.height(), &node.disk.done)?;
        }
        self.summary.settled_after = self.now.saturating_sub(self.plan.heal_at);
        self.summary.height = self.oracles.height();
        Ok(self.summary.clone())
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
        let validators = (0..self.lab.keys().len() as u16).chain(self.plan.twins.clone());
        let state = State { root: B256::ZERO, set: self.lab.set().clone() };
        for validator in validators {
            let kind = self.plan.byzantine.get(usize::from(validator)).copied().flatten();
            let twin = self.plan.twins.contains(&validator);
            let entry = Entry { block: genesis.clone(), certificate: None, state: state.clone() };
            let disk = Disk {
                ledger: vec![entry],
                done: Default::default(),
                records: Some(self.lab.first_records()),
                torn: false,
            };
            self.nodes.push(Node {
                validator,
                disk,
                process: None,
                starts: 0,
                pool: Mempool::default(),
                clients: Default::default(),
                adversary: kind.map(|kind| self.lab.adversary(validator, kind)),
                honest: kind.is_none() && !twin,
                wiped: false,
                armed: None,
                silent: self.plan.silent.contains(&validator),
            });
        }
        for node in 0..self.nodes.len() {
            let delay = self.rng.random_range(0..50);
            self.schedule(delay, Event::Restart(node));
        }
        for (tx, (at, node)) in self.plan.submissions.clone().into_iter().enumerate() {
            self.schedule(at, Event::Submit { node, tx: mempool::ORDINARY + tx as u64 });
        }
        for (tx, change) in self.plan.changes.clone().into_iter().enumerate() {
            self.schedule(change.at, Event::Submit { node: change.node, tx: tx as u64 });
        }
        for cut in 0..self.plan.cuts.len() {
            let Cut { from, until, .. } = self.plan.cuts[cut];
            self.schedule(from, Event::Cut(cut, true));
            self.schedule(until.min(self.plan.heal_at), Event::Cut(cut, false));
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
            Event::Cut(cut, begins) => {
                let verb = if begins { "CUT" } else { "uncut" };
                self.log(|w| format!("{verb} {}", links(&w.plan.cuts[cut].links)));
                Ok(())
            }
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

    /// Liveness: the world is well, and every honest node has everything that was submitted, with its results certified.
    fn settled(&self) -> bool {
        if self.now < self.plan.heal_at
            || self.submitted < (self.plan.submissions.len() + self.plan.changes.len()) as u64
        {
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

/// The set of these keys and powers.
fn members<L: Lab>(lab: &L, members: &[(u16, u64)]) -> ValidatorSet {
    let validator = |(key, power): &(u16, u64)| Validator { public_key: lab.keys()[usize::from(*key)], power: *power };
    ValidatorSet::new(members.iter().map(validator).collect()).expect("a plan's sets are sound")
}

/// Directed links, in a few words.
fn links(links: &[(usize, usize)]) -> String {
    let words: Vec<String> = links.iter().map(|(from, to)| format!("n{from}→n{to}")).collect();
    words.join(" ")
}
