//! Named scenarios: each makes of a seed a network and a plan of what goes wrong in it.

use basalt_primitives::Millis;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::plan::{Crash, Cut, DIFFICULTY, INTERVAL_MS, Op, Plan, Role};

type Make = fn(u64, Option<usize>) -> Plan;

/// A family of runs.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Name on the command line.
    pub name: &'static str,
    /// What happens in it, in one line.
    pub about: &'static str,
    make: Make,
}

impl Scenario {
    const fn new(name: &'static str, about: &'static str, make: Make) -> Self {
        Self { name, about, make }
    }

    /// The plan of a seed. Without a number of nodes the scenario chooses one.
    #[must_use]
    pub fn plan(&self, seed: u64, nodes: Option<usize>) -> Plan {
        (self.make)(seed, nodes)
    }

    /// A scenario by its name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|scenario| scenario.name == name)
    }
}

/// Everything at once, drawn from the seed: what CI runs.
pub const CHAOS: Scenario =
    Scenario::new("chaos", "loss, delay, cuts, crashes, clocks, cheats: drawn from the seed", Plan::chaos);

/// All scenarios.
pub const ALL: &[Scenario] = &[
    CHAOS,
    Scenario::new("calm", "nothing goes wrong", calm),
    Scenario::new("lossy", "a third of all messages is lost, many come twice", lossy),
    Scenario::new("slow-wires", "messages take up to a block interval", slow_wires),
    Scenario::new("clocks", "wall clocks are off by up to an hour, and jump", clocks),
    Scenario::new("all-down", "all nodes are killed at once, three times", all_down),
    Scenario::new("deep-partition", "two halves for some twenty blocks, then one again", deep_partition),
    Scenario::new("too-deep", "apart for longer than finality: an alarm, then a checkpoint", too_deep),
    Scenario::new("eclipse", "one node hears only an attacker for a while", eclipse),
    Scenario::new("private-chain", "60 % of the work mine in secret, up to near the finality depth", private_chain),
    Scenario::new("private-too-deep", "and beyond it: refused with an alarm", private_too_deep),
    Scenario::new("selfish", "selfish mining with 10 to 45 % of the work", selfish),
    Scenario::new("selfish-swift", "the same, and the selfish miner hears and speaks first", selfish_swift),
    Scenario::new("backdater", "45 % of the work always choose the least timestamp", backdater),
    Scenario::new("postdater", "45 % of the work always choose the greatest", postdater),
    Scenario::new("hopper", "half of the work comes and goes with the difficulty", hopper),
    Scenario::new("rate-steps", "the hash rate falls to a quarter and comes back", rate_steps),
    Scenario::new("forger", "one miner sends false headers and blocks of every kind", forger),
    Scenario::new("withholder", "one miner gives nobody the bodies of its blocks", withholder),
    Scenario::new("full-tree", "so many branches that the header tree is full", full_tree),
];

fn equal(nodes: usize) -> Vec<f64> {
    vec![1.0 / nodes as f64; nodes]
}

fn calm(seed: u64, nodes: Option<usize>) -> Plan {
    Plan::calm(seed, &equal(nodes.unwrap_or(4)))
}

/// A calm network that is given time, and randomness for what goes wrong in it.
fn troubled(seed: u64, nodes: Option<usize>) -> (Plan, ChaCha8Rng) {
    let mut plan = calm(seed, nodes);
    plan.heal_at = 60 * INTERVAL_MS;
    let n = plan.shares.len();
    plan.submissions = (0..25).map(|i| (i * plan.heal_at / 26, i as usize % n)).collect();
    (plan, ChaCha8Rng::seed_from_u64(seed ^ 0x5ce0_0b0b))
}

fn lossy(seed: u64, nodes: Option<usize>) -> Plan {
    let (mut plan, _) = troubled(seed, nodes);
    (plan.loss, plan.duplicate, plan.spike) = (0.33, 0.3, 0.02);
    plan
}

fn slow_wires(seed: u64, nodes: Option<usize>) -> Plan {
    let (mut plan, _) = troubled(seed, nodes);
    plan.delay = (500, INTERVAL_MS);
    plan
}

fn clocks(seed: u64, nodes: Option<usize>) -> Plan {
    let (mut plan, mut rng) = troubled(seed, nodes);
    let honest = rng.random_range(0..plan.clocks.len());
    for (_, clock) in plan.clocks.iter_mut().enumerate().filter(|(node, _)| *node != honest) {
        let from = rng.random_range(0..40) * INTERVAL_MS;
        clock.push((from, rng.random_range(-3_600_000..=3_600_000)));
        clock.push((from + rng.random_range(1..8) * INTERVAL_MS, 0));
    }
    plan
}

fn all_down(seed: u64, nodes: Option<usize>) -> Plan {
    let (mut plan, mut rng) = troubled(seed, nodes);
    for round in 1..4 {
        let at = round * 15 * INTERVAL_MS + rng.random_range(0..INTERVAL_MS);
        plan.crashes.extend((0..plan.shares.len()).map(|node| Crash { at, node, down: rng.random_range(1..3_000) }));
    }
    plan
}

fn half(plan: &Plan, seed: u64) -> Vec<usize> {
    let n = plan.shares.len();
    (0..n / 2).map(|i| (i + seed as usize) % n).collect()
}

fn deep_partition(seed: u64, nodes: Option<usize>) -> Plan {
    let (mut plan, mut rng) = troubled(seed, nodes);
    let from = rng.random_range(5..15) * INTERVAL_MS;
    let side = half(&plan, seed);
    plan.cuts.push(Cut::around(&side, plan.shares.len(), from, from + 36 * INTERVAL_MS));
    plan
}

fn too_deep(seed: u64, nodes: Option<usize>) -> Plan {
    let (mut plan, _) = troubled(seed, nodes);
    plan.heal_at = 200 * INTERVAL_MS;
    (plan.alarms, plan.may_split) = (true, true);
    let (side, n) = (half(&plan, seed), plan.shares.len());
    let from = 10 * INTERVAL_MS;
    plan.cuts.push(Cut::around(&side, n, from, 170 * INTERVAL_MS));
    // The operators agree on one of the two, and say so everywhere.
    plan.ops.push((200 * INTERVAL_MS + 1, Op::CheckpointOf(seed as usize / n % n)));
    plan
}

fn eclipse(seed: u64, nodes: Option<usize>) -> Plan {
    let (mut plan, mut rng) = troubled(seed, nodes);
    let n = plan.shares.len();
    let (victim, attacker) = (seed as usize % n, (seed as usize + 1) % n);
    let from = rng.random_range(5..15) * INTERVAL_MS;
    let mut cut = Cut::around(&[victim], n, from, from + 40 * INTERVAL_MS);
    cut.links.retain(|link| *link != (victim, attacker) && *link != (attacker, victim));
    plan.cuts.push(cut);
    // What the attacker tells the victim is its own chain: it hears nobody either.
    plan.cuts.push(Cut::around(&[victim, attacker], n, from, from + 40 * INTERVAL_MS));
    plan
}

/// Miner 0 has this share, the others share the rest.
pub(crate) fn against(seed: u64, nodes: Option<usize>, share: f64, role: Role) -> Plan {
    let (mut plan, _) = troubled(seed, nodes);
    let n = plan.shares.len();
    let rest = (1.0 - share) / (n - 1).max(1) as f64;
    plan.shares = (0..n).map(|node| if node == 0 { share } else { rest }).collect();
    plan.roles[0] = role;
    plan
}

fn private_chain(seed: u64, nodes: Option<usize>) -> Plan {
    let depth = 4 + seed % 24;
    let mut plan = against(seed, nodes, 0.6, Role::Private { depth });
    plan.heal_at = 70 * INTERVAL_MS;
    plan
}

fn private_too_deep(seed: u64, nodes: Option<usize>) -> Plan {
    let mut plan = against(seed, nodes, 0.6, Role::Private { depth: 150 });
    plan.heal_at = 320 * INTERVAL_MS;
    (plan.alarms, plan.may_split) = (true, true);
    // From then on the attacker mines no more: the honest chain goes on, and nobody turns to the other.
    plan.ops.push((plan.heal_at - 1, Op::Rate { node: 0, share: 0.0 }));
    plan.ops.push((plan.heal_at + 1, Op::CheckpointOf(1)));
    plan
}

fn selfish(seed: u64, nodes: Option<usize>) -> Plan {
    against(seed, nodes, 0.1 + 0.05 * (seed % 8) as f64, Role::Selfish { swift: false })
}

fn selfish_swift(seed: u64, nodes: Option<usize>) -> Plan {
    against(seed, nodes, 0.1 + 0.05 * (seed % 8) as f64, Role::Selfish { swift: true })
}

fn backdater(seed: u64, nodes: Option<usize>) -> Plan {
    against(seed, nodes, 0.45, Role::Backdater)
}

fn postdater(seed: u64, nodes: Option<usize>) -> Plan {
    against(seed, nodes, 0.45, Role::Postdater)
}

fn hopper(seed: u64, nodes: Option<usize>) -> Plan {
    against(seed, nodes, 0.5, Role::Hopper { below: DIFFICULTY * 3 / 4 })
}

fn rate_steps(seed: u64, nodes: Option<usize>) -> Plan {
    let (mut plan, _) = troubled(seed, nodes);
    let n = plan.shares.len();
    for node in n / 4..n {
        plan.ops.push((15 * INTERVAL_MS + node as Millis, Op::Rate { node, share: 0.0 }));
        plan.ops.push((45 * INTERVAL_MS + node as Millis, Op::Rate { node, share: 1.0 / n as f64 }));
    }
    plan
}

fn forger(seed: u64, nodes: Option<usize>) -> Plan {
    against(seed, nodes, 0.2, Role::Forger)
}

fn withholder(seed: u64, nodes: Option<usize>) -> Plan {
    against(seed, nodes, 0.3, Role::Withholder)
}

fn full_tree(seed: u64, nodes: Option<usize>) -> Plan {
    let mut plan = against(seed, nodes, 0.25, Role::Forger);
    (plan.margin, plan.capacity) = (64, 160);
    plan.heal_at = 120 * INTERVAL_MS;
    plan
}
