//! What a network is and what goes wrong in it.

use basalt_primitives::{Millis, PowParams, U256, WorkHash};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Time between blocks in simulated networks.
pub const INTERVAL_MS: Millis = 10_000;
/// Hashes that a block takes at the initial target, on average.
pub const DIFFICULTY: u64 = 64;

/// How a miner behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Role {
    /// By the protocol.
    #[default]
    Honest,
    /// Selfish mining (Eyal and Sirer 2014, algorithm 1). A swift one hears and speaks without delay, so that in a race nearly all
    /// others have its block first (their γ near 1); one that is not always comes second (γ near 0).
    Selfish {
        /// Whether its messages take no time.
        swift: bool,
    },
    /// Mines in secret until it has so many blocks more than it left the others with, and they have less work; then shows all.
    Private {
        /// Blocks it makes in secret.
        depth: u64,
    },
    /// A double spend: mines in secret from the first block on, deaf to all others, until they have so many blocks and it has more
    /// work; then shows all.
    DoubleSpend {
        /// Confirmations that its victim waits for.
        z: u64,
    },
    /// Always the least timestamp that the rules allow.
    Backdater,
    /// Always the greatest.
    Postdater,
    /// Mines only while a block takes fewer hashes than this.
    Hopper {
        /// Hashes.
        below: u64,
    },
    /// Sends false headers and blocks of every kind beside its honest ones.
    Forger,
    /// Announces blocks, and gives nobody their bodies.
    Withholder,
}

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

impl Cut {
    /// Between one side and all others, both ways.
    #[must_use]
    pub fn around(side: &[usize], nodes: usize, from: Millis, until: Millis) -> Self {
        let across = |(a, b): &(usize, usize)| side.contains(a) != side.contains(b);
        let links = (0..nodes).flat_map(|a| (0..nodes).map(move |b| (a, b))).filter(across).collect();
        Self { from, until, links }
    }
}

/// A crash of one node.
#[derive(Clone, Copy, Debug)]
pub struct Crash {
    /// When.
    pub at: Millis,
    /// Which node.
    pub node: usize,
    /// How long it stays down.
    pub down: Millis,
}

/// Something that people do.
#[derive(Clone, Copy, Debug)]
pub enum Op {
    /// The operators of all nodes set a checkpoint: the newest final block of this node.
    CheckpointOf(usize),
    /// A miner's hash rate changes.
    Rate {
        /// Which.
        node: usize,
        /// To what share of the whole network's usual rate.
        share: f64,
    },
}

/// A run's network and adversities. Everything but what the roles do ends at `heal_at`.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Seed of everything that is drawn during the run.
    pub seed: u64,
    /// The chain's parameters.
    pub params: PowParams,
    /// Each miner's share of the work that the initial target is made for; 0 does not mine.
    pub shares: Vec<f64>,
    /// Each miner's behaviour.
    pub roles: Vec<Role>,
    /// When the network, the clocks and all nodes are well again.
    pub heal_at: Millis,
    /// How long after that everything must be settled.
    pub bound: Millis,
    /// Least and most delay of a message.
    pub delay: (Millis, Millis),
    /// Probability that a message is lost.
    pub loss: f64,
    /// Probability that it comes twice.
    pub duplicate: f64,
    /// Probability of a delay of up to 30 s.
    pub spike: f64,
    /// Longest sync of a record.
    pub sync_ms: Millis,
    /// Longest judging of a block.
    pub judge_ms: Millis,
    /// Partitions.
    pub cuts: Vec<Cut>,
    /// Crashes.
    pub crashes: Vec<Crash>,
    /// Each node's wall clock, added to true time until the world heals: (from when, offset).
    pub clocks: Vec<Vec<(Millis, i64)>>,
    /// When transactions are submitted, and to which node.
    pub submissions: Vec<(Millis, usize)>,
    /// What people do, and when.
    pub ops: Vec<(Millis, Op)>,
    /// Whether some node must have raised an alarm in the end. Where it must not, none may.
    pub alarms: bool,
    /// Nobody holds what finality rests on against an attacker: nodes may end on different final blocks.
    pub may_split: bool,
    /// The run is for counting: no need to settle.
    pub count_only: bool,
    /// Most headers in a node's tree.
    pub capacity: usize,
    /// Final blocks below the newest final one that nodes remember.
    pub margin: u64,
}

/// Parameters of simulated chains: a half-life of 120 blocks, final at 32 and safe at 8.
#[must_use]
pub fn test_params() -> PowParams {
    PowParams {
        work_hash: WorkHash::Sha256d,
        block_interval_ms: INTERVAL_MS,
        half_life_ms: 120 * INTERVAL_MS,
        initial_target: U256::MAX / U256::from(DIFFICULTY),
        max_target: U256::MAX / U256::from(4),
        future_drift_ms: 15_000,
        finality_depth: 32,
        safe_depth: 8,
        block_reward: U256::ZERO,
    }
}

impl Plan {
    /// A network in which nothing goes wrong: miners with these shares.
    #[must_use]
    pub fn calm(seed: u64, shares: &[f64]) -> Self {
        let nodes = shares.len();
        let heal_at = 30 * INTERVAL_MS;
        Self {
            seed,
            params: test_params(),
            shares: shares.to_vec(),
            roles: vec![Role::Honest; nodes],
            heal_at,
            bound: 400 * INTERVAL_MS,
            delay: (10, 150),
            loss: 0.0,
            duplicate: 0.0,
            spike: 0.0,
            sync_ms: 5,
            judge_ms: 40,
            cuts: Vec::new(),
            crashes: Vec::new(),
            clocks: vec![vec![(0, 0)]; nodes],
            submissions: (0..12).map(|i| (1_000 + i * heal_at / 14, i as usize % nodes)).collect(),
            ops: Vec::new(),
            alarms: false,
            may_split: false,
            count_only: false,
            capacity: 4_096,
            margin: 512,
        }
    }

    /// Adversities drawn from a seed, such that no partition is as deep as finality and the honest have most of the work.
    #[must_use]
    pub fn chaos(seed: u64, nodes: Option<usize>) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x5eed_0100);
        let rng = &mut rng;
        let n = nodes.unwrap_or_else(|| rng.random_range(3..7));
        let weights: Vec<f64> = (0..n).map(|_| f64::from(rng.random_range(1..5u32))).collect();
        let all: f64 = weights.iter().sum();
        let shares: Vec<f64> = weights.iter().map(|w| w / all).collect();
        let mut plan = Self::calm(seed, &shares);
        plan.heal_at = rng.random_range(30..90) * INTERVAL_MS;
        plan.params.work_hash = WorkHash::ALL[rng.random_range(0..3)];
        plan.delay = (5, *pick(rng, &[50, 300, 1_500]));
        plan.loss = *pick(rng, &[0.0, 0.0, 0.05, 0.3]);
        plan.duplicate = *pick(rng, &[0.0, 0.1, 0.4]);
        plan.spike = *pick(rng, &[0.0, 0.0, 0.05]);
        plan.sync_ms = *pick(rng, &[1, 30, 200]);
        plan.judge_ms = *pick(rng, &[5, 200, 1_500]);
        plan.draw_roles(rng);
        plan.draw_faults(rng);
        let count = rng.random_range(1..40);
        let submission = |_| (rng.random_range(0..plan.heal_at), rng.random_range(0..n));
        plan.submissions = (0..count).map(submission).collect();
        plan.submissions.sort_unstable();
        plan
    }

    /// At most one that cheats, with at most a third of the work.
    fn draw_roles(&mut self, rng: &mut ChaCha8Rng) {
        let cheat = rng.random_range(0..self.shares.len());
        if self.shares[cheat] > 0.34 || rng.random_bool(0.3) {
            return;
        }
        self.roles[cheat] = *pick(
            rng,
            &[
                Role::Selfish { swift: true },
                Role::Selfish { swift: false },
                Role::Private { depth: 3 },
                Role::Backdater,
                Role::Postdater,
                Role::Hopper { below: DIFFICULTY },
                Role::Forger,
                Role::Forger,
                Role::Forger,
                Role::Withholder,
            ],
        );
    }

    fn draw_faults(&mut self, rng: &mut ChaCha8Rng) {
        let n = self.shares.len();
        for _ in 0..rng.random_range(0..4u32) {
            let from = rng.random_range(0..self.heal_at);
            let until = (from + rng.random_range(1..8) * INTERVAL_MS).min(self.heal_at);
            let side: Vec<usize> = (0..n).filter(|_| rng.random_bool(0.5)).collect();
            let mut cut = Cut::around(&side, n, from, until);
            if rng.random_bool(0.3) {
                cut.links.retain(|(a, _)| side.contains(a));
            }
            self.cuts.push(cut);
        }
        for _ in 0..rng.random_range(0..6u32) {
            let (at, node) = (rng.random_range(0..self.heal_at), rng.random_range(0..n));
            self.crashes.push(Crash { at, node, down: *pick(rng, &[1, 2_000, 60_000]) });
        }
        if rng.random_bool(0.2) {
            let (at, down) = (rng.random_range(0..self.heal_at), *pick(rng, &[1, 5_000]));
            self.crashes.extend((0..n).map(|node| Crash { at, node, down: down + node as Millis }));
        }
        for clock in &mut self.clocks {
            clock[0].1 = rng.random_range(-2_000..=2_000);
            if rng.random_bool(0.15) {
                let from = rng.random_range(0..self.heal_at);
                clock.push((from, rng.random_range(-3_600_000..=3_600_000)));
                clock.push((from + rng.random_range(1..8) * INTERVAL_MS, 0));
            }
        }
    }

    /// Whether a link carries anything at a moment.
    #[must_use]
    pub fn connected(&self, at: Millis, from: usize, to: usize) -> bool {
        let dead = |cut: &Cut| cut.from <= at && at < cut.until && cut.links.contains(&(from, to));
        !self.cuts.iter().any(dead)
    }

    /// What a node's wall clock adds to true time.
    #[must_use]
    pub fn clock_offset(&self, at: Millis, node: usize) -> i64 {
        if at >= self.heal_at {
            return 0;
        }
        self.clocks[node].iter().rev().find(|(from, _)| *from <= at).map_or(0, |(_, offset)| *offset)
    }
}

pub(super) fn pick<'a, T>(rng: &mut ChaCha8Rng, choices: &'a [T]) -> &'a T {
    &choices[rng.random_range(0..choices.len())]
}
