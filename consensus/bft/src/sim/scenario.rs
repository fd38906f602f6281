//! Named scenarios: each makes, of a seed, a network and a plan of what goes wrong in it.
//!
//! A seed is never a number alone: it is a scenario, a seed and, where given, a number of nodes. Every bug found becomes a
//! scenario, or a seed of one, before it is mended.

use basalt_consensus::sim::{Crash, Plan};

use super::{BftLab, test_params};
use basalt_consensus::sim::Lab;

/// A family of runs.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Name on the command line.
    pub name: &'static str,
    /// What happens in it, in one line.
    pub about: &'static str,
    make: fn(u64, Option<usize>) -> (BftLab, Plan),
}

impl Scenario {
    /// The network and the plan of a seed. Without a number of nodes the scenario chooses one.
    #[must_use]
    pub fn case(&self, seed: u64, nodes: Option<usize>) -> (BftLab, Plan) {
        (self.make)(seed, nodes)
    }

    /// A scenario by its name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|scenario| scenario.name == name)
    }
}

/// Everything at once, drawn from the seed: what CI runs.
pub const CHAOS: Scenario = Scenario {
    name: "chaos",
    about: "loss, delay, cuts, crashes, clocks, liars: everything at once, drawn from the seed",
    make: chaos,
};

/// All scenarios.
pub const ALL: &[Scenario] = &[
    CHAOS,
    Scenario { name: "calm", about: "nothing goes wrong", make: calm },
    Scenario { name: "all-down", about: "all nodes are killed at once and come back", make: all_down },
    Scenario { name: "one-wiped", about: "one node loses ledger and sign record", make: one_wiped },
    Scenario { name: "one-absent", about: "one validator never starts", make: one_absent },
];

fn chaos(seed: u64, nodes: Option<usize>) -> (BftLab, Plan) {
    let lab = BftLab::of_seed(seed, nodes);
    let plan = Plan::chaos(seed, lab.set());
    (lab, plan)
}

fn calm(seed: u64, nodes: Option<usize>) -> (BftLab, Plan) {
    let n = nodes.unwrap_or(4);
    (BftLab::new(&vec![1; n], test_params()), Plan::calm(seed, n))
}

fn all_down(seed: u64, nodes: Option<usize>) -> (BftLab, Plan) {
    let (lab, mut plan) = calm(seed, nodes);
    let at = 1_000 + seed % 37;
    plan.crashes = (0..lab.set().len()).map(|node| Crash { at, node, down: 500, ..Crash::default() }).collect();
    (lab, plan)
}

fn one_wiped(seed: u64, nodes: Option<usize>) -> (BftLab, Plan) {
    let (lab, mut plan) = calm(seed, nodes);
    let node = (seed as usize + 1) % lab.set().len();
    let at = 700 + seed % 101;
    plan.crashes = vec![Crash { at, node, down: 100, lose_record: true, lose_ledger: true, ..Crash::default() }];
    (lab, plan)
}

fn one_absent(seed: u64, nodes: Option<usize>) -> (BftLab, Plan) {
    let (lab, mut plan) = calm(seed, nodes);
    plan.silent = vec![(seed % lab.set().len() as u64) as u16];
    (lab, plan)
}
