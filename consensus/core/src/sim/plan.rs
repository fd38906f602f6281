//! What goes wrong, and when.

use basalt_primitives::{Millis, ValidatorSet};
use rand::{RngExt, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

/// Links that carry nothing for a while. Pairs are directed, by node.
#[derive(Clone, Debug)]
pub struct Cut {
    /// From when.
    pub from: Millis,
    /// Until when.
    pub until: Millis,
    /// The dead links.
    pub links: Vec<(usize, usize)>,
}

/// What becomes of a record in the middle of whose write a node crashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncCrash {
    /// It is on disk.
    Kept,
    /// Nothing of it is.
    Lost,
    /// Half of it is, and is cut off at the next start.
    Torn,
}

/// A change of the validator set, voted for in a transaction.
#[derive(Clone, Debug)]
pub struct SetChange {
    /// When the transaction is submitted.
    pub at: Millis,
    /// To which node.
    pub node: usize,
    /// The validators from then on: number of the key, and power.
    pub members: Vec<(u16, u64)>,
}

/// A time in which all messages sent take longer.
#[derive(Clone, Copy, Debug)]
pub struct Lag {
    /// From when.
    pub from: Millis,
    /// Until when.
    pub until: Millis,
    /// How much longer they take.
    pub extra: Millis,
}

/// A crash of one node.
#[derive(Clone, Debug, Default)]
pub struct Crash {
    /// When.
    pub at: Millis,
    /// Which node.
    pub node: usize,
    /// How many more effects it carries out before it dies: 0 dies at once, 1 after the next sync or send, and so on.
    pub fuse: u32,
    /// Instead: it dies in the middle of a sync, the `fuse`th from then.
    pub during_sync: bool,
    /// What becomes of the record it was writing, if any; drawn when not said.
    pub record: Option<SyncCrash>,
    /// How long it stays down.
    pub down: Millis,
    /// Whether the sign record is gone.
    pub lose_record: bool,
    /// Whether the ledger is gone.
    pub lose_ledger: bool,
}

/// A run's adversities. Everything ends at `heal_at`.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Seed of everything that is drawn during the run.
    pub seed: u64,
    /// When the network, the clocks and all nodes are well again.
    pub heal_at: Millis,
    /// How long after that everything must be committed everywhere.
    pub bound: Millis,
    /// Probability that a message is lost.
    pub loss: f64,
    /// Probability that a message comes twice.
    pub duplicate: f64,
    /// Ordinary delay of a message: at least this…
    pub delay_min: Millis,
    /// …and at most this.
    pub delay: Millis,
    /// Probability of an extraordinary delay, up to `spike_ms`.
    pub spike: f64,
    /// The longest extraordinary delay.
    pub spike_ms: Millis,
    /// Longest sync of a record.
    pub sync_ms: Millis,
    /// Longest execution of a block.
    pub execute_ms: Millis,
    /// Longest building of a block; judging one takes half.
    pub build_ms: Millis,
    /// Everything takes its longest time instead of one drawn up to it.
    pub steady: bool,
    /// Times of slow wires.
    pub lags: Vec<Lag>,
    /// Slow nodes, and how many times longer what they do takes.
    pub slow: Vec<(usize, u64)>,
    /// Partitions.
    pub cuts: Vec<Cut>,
    /// Crashes.
    pub crashes: Vec<Crash>,
    /// Wall clock of each node, added to true time until the world heals: (from when, offset).
    pub clocks: Vec<Vec<(Millis, i64)>>,
    /// When transactions are submitted, and to which node.
    pub submissions: Vec<(Millis, usize)>,
    /// Changes of the validator set.
    pub changes: Vec<SetChange>,
    /// More is wrong than the protocol promises to bear: it must stay safe, and may stand still.
    pub safety_only: bool,
    /// The kind of adversary each validator is, if any.
    pub byzantine: Vec<Option<u8>>,
    /// Validators that never start.
    pub silent: Vec<u16>,
    /// Validators whose key runs in two nodes at once; the second is node n, n + 1, …
    pub twins: Vec<u16>,
}

impl Plan {
    /// A world in which nothing goes wrong.
    #[must_use]
    pub fn calm(seed: u64, validators: usize) -> Self {
        Self {
            seed,
            heal_at: 2_000,
            bound: 10_000,
            delay_min: 1,
            delay: 10,
            build_ms: 10,
            sync_ms: 2,
            execute_ms: 5,
            clocks: vec![vec![(0, 0)]; validators],
            submissions: (0..10).map(|i| (i * 150, i as usize % validators)).collect(),
            byzantine: vec![None; validators],
            ..Self::default()
        }
    }

    /// Adversities drawn from a seed, within what the protocol promises to bear: validators that lie, run twice, stay away
    /// for ever or lose their record hold no more power than f, in any set there ever is. `keys` is the number of nodes: those
    /// beyond the set are no validators until a change makes them so.
    #[must_use]
    pub fn chaos(seed: u64, set: &ValidatorSet, keys: usize, kinds: u8) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x5eed_0001);
        let rng = &mut rng;
        let mut plan = Self::calm(seed, keys);
        plan.heal_at = rng.random_range(4_000..10_000);
        plan.bound = 20_000;
        plan.loss = *pick(rng, &[0.0, 0.0, 0.02, 0.1, 0.3]);
        plan.duplicate = *pick(rng, &[0.0, 0.05, 0.3]);
        plan.delay = *pick(rng, &[2, 20, 60]);
        plan.spike = *pick(rng, &[0.0, 0.0, 0.01, 0.1]);
        plan.spike_ms = *pick(rng, &[300, 3_000]);
        plan.sync_ms = *pick(rng, &[1, 10, 80]);
        plan.execute_ms = *pick(rng, &[1, 20, 200]);
        let faulty = plan.draw_faulty(rng, set, kinds);
        let nodes = keys + plan.twins.len();
        plan.draw_cuts(rng, nodes);
        plan.draw_crashes(rng, nodes, &faulty.wipeable);
        plan.draw_clocks(rng, nodes);
        plan.draw_slowness(rng, nodes);
        let count = rng.random_range(1..40);
        plan.submissions =
            (0..count).map(|_| (rng.random_range(0..plan.heal_at + 500), rng.random_range(0..keys))).collect();
        plan.submissions.sort_unstable();
        if keys > set.len() || rng.random_bool(0.15) {
            plan.draw_changes(rng, keys, &faulty.all);
        }
        plan
    }

    /// Draws who is faulty; gives back who may lose its record.
    fn draw_faulty(&mut self, rng: &mut ChaCha8Rng, set: &ValidatorSet, kinds: u8) -> Faulty {
        let mut order: Vec<u16> = (0..set.len() as u16).collect();
        order.shuffle(rng);
        let mut faulty = Faulty::default();
        let mut budget = if rng.random_bool(0.7) { set.max_faulty() } else { 0 };
        for validator in order {
            let power = set.get(validator).map_or(u64::MAX, |v| v.power);
            if power > budget {
                continue;
            }
            budget -= power;
            faulty.all.push(validator);
            match rng.random_range(0..8) {
                0..=3 => self.byzantine[usize::from(validator)] = Some(rng.random_range(0..kinds)),
                4 => self.twins.push(validator),
                5 => self.silent.push(validator),
                _ => faulty.wipeable.push(usize::from(validator)),
            }
        }
        faulty
    }

    /// Sets that come one after the other while everything else goes wrong. The faulty never hold more than f of one.
    fn draw_changes(&mut self, rng: &mut ChaCha8Rng, keys: usize, faulty: &[u16]) {
        for _ in 0..rng.random_range(1..5) {
            let mut order: Vec<u16> = (0..keys as u16).collect();
            order.shuffle(rng);
            let size = rng.random_range(1..=keys);
            let mut members: Vec<(u16, u64)> = order.into_iter().take(size).map(|key| (key, 1)).collect();
            let bad = |m: &[(u16, u64)]| m.iter().filter(|(key, _)| faulty.contains(key)).count();
            while bad(&members) > members.len().saturating_sub(1) / 3 {
                let at = members.iter().position(|(key, _)| faulty.contains(key)).unwrap_or_default();
                members.remove(at);
            }
            if !members.is_empty() {
                let at = rng.random_range(0..self.heal_at);
                self.changes.push(SetChange { at, node: rng.random_range(0..keys), members });
            }
        }
    }

    fn draw_slowness(&mut self, rng: &mut ChaCha8Rng, nodes: usize) {
        if rng.random_bool(0.2) {
            self.slow.push((rng.random_range(0..nodes), rng.random_range(2..20)));
        }
        if rng.random_bool(0.2) {
            let from = rng.random_range(0..self.heal_at);
            let until = (from + rng.random_range(100..3_000)).min(self.heal_at);
            self.lags.push(Lag { from, until, extra: rng.random_range(50..1_500) });
        }
    }

    fn draw_cuts(&mut self, rng: &mut ChaCha8Rng, nodes: usize) {
        for _ in 0..rng.random_range(0..4) {
            let from = rng.random_range(0..self.heal_at);
            let until = from + rng.random_range(100..5_000);
            let side: Vec<bool> = (0..nodes).map(|_| rng.random_bool(0.5)).collect();
            let (symmetric, flaky) = (rng.random_bool(0.6), rng.random_bool(0.2));
            let links = pairs(nodes).filter(|(a, b)| {
                let across = side[*a] != side[*b] && (symmetric || side[*a]);
                if flaky { rng.random_bool(0.4) } else { across }
            });
            let links = links.collect();
            self.cuts.push(Cut { from, until, links });
        }
    }

    fn draw_crashes(&mut self, rng: &mut ChaCha8Rng, nodes: usize, wipeable: &[usize]) {
        for _ in 0..rng.random_range(0..7) {
            let node = rng.random_range(0..nodes);
            self.crashes.push(draw_crash(rng, self.heal_at, node));
        }
        for node in wipeable {
            for _ in 0..rng.random_range(1..3) {
                let crash = draw_crash(rng, self.heal_at, *node);
                self.crashes.push(Crash { lose_record: true, lose_ledger: rng.random_bool(0.7), ..crash });
            }
        }
        if rng.random_bool(0.25) {
            let together = draw_crash(rng, self.heal_at, 0);
            for node in 0..nodes {
                let (fuse, down) = (rng.random_range(0..4), together.down + rng.random_range(0..300));
                self.crashes.push(Crash { node, fuse, down, ..together.clone() });
            }
        }
    }

    fn draw_clocks(&mut self, rng: &mut ChaCha8Rng, nodes: usize) {
        self.clocks = vec![Vec::new(); nodes];
        for clock in &mut self.clocks {
            clock.push((0, rng.random_range(-200..=200)));
            if rng.random_bool(0.15) {
                clock.push((rng.random_range(0..self.heal_at), rng.random_range(-5_000..=5_000)));
            }
        }
    }

    /// Whether a link carries anything at a moment.
    #[must_use]
    pub fn connected(&self, at: Millis, from: usize, to: usize) -> bool {
        let dead = |cut: &Cut| cut.from <= at && at < cut.until && cut.links.contains(&(from, to));
        at >= self.heal_at || !self.cuts.iter().any(dead)
    }

    /// What times of slow wires add to a message sent now.
    #[must_use]
    pub fn lag(&self, at: Millis) -> Millis {
        let here = |lag: &&Lag| lag.from <= at && at < lag.until;
        if at >= self.heal_at { 0 } else { self.lags.iter().filter(here).map(|lag| lag.extra).sum() }
    }

    /// How many times longer a node takes for everything.
    #[must_use]
    pub fn slowness(&self, at: Millis, node: usize) -> u64 {
        let factor = self.slow.iter().find(|(slow, _)| *slow == node).map_or(1, |(_, factor)| *factor);
        if at >= self.heal_at { 1 } else { factor }
    }

    /// What a node's wall clock adds to true time.
    #[must_use]
    pub fn clock_offset(&self, at: Millis, node: usize) -> i64 {
        if at >= self.heal_at {
            return 0;
        }
        let clock = self.clocks.get(node).map_or(&[][..], Vec::as_slice);
        clock.iter().rev().find(|(from, _)| *from <= at).map_or(0, |(_, offset)| *offset)
    }
}

/// Who is not to be relied on.
#[derive(Debug, Default)]
struct Faulty {
    /// Numbers of all of them.
    all: Vec<u16>,
    /// Those among them that lose their records.
    wipeable: Vec<usize>,
}

fn draw_crash(rng: &mut ChaCha8Rng, before: Millis, node: usize) -> Crash {
    let down = *pick(rng, &[1, 50, 500, 3_000]);
    let (at, fuse) = (rng.random_range(0..before), rng.random_range(0..6));
    Crash { at, node, fuse, during_sync: rng.random_bool(0.3), down, ..Crash::default() }
}

fn pick<'a, T>(rng: &mut ChaCha8Rng, choices: &'a [T]) -> &'a T {
    &choices[rng.random_range(0..choices.len())]
}

fn pairs(nodes: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..nodes).flat_map(move |a| (0..nodes).map(move |b| (a, b))).filter(|(a, b)| a != b)
}
