//! Level 2: the real driver, verifier, proposer, mempool, executor, state trie and storage; only the network, time, threads
//! and disks are simulated, from one seed.
//!
//! A node ([`node`]) is made of the very parts that the service makes it of, but its threads are queues that the world
//! ([`world`]) works off at moments it draws. Messages are encoded, decoded and verified with real signatures; transactions
//! are real transfers and contract calls that clients hand to a node again and again until they are in a block; blocks are
//! synced through the real checks. The ledger is RocksDB on a disk in memory, the sign record a real file: a node dies between
//! any two effects, or in the middle of writing a record, and comes back from what is on its disks. [`oracle`] looks on.
//!
//! Equal cases give equal runs: the hash of the event log says so.

mod chain;
mod clock;
mod node;
mod oracle;
mod ports;
mod transport;
mod work;
mod world;

use basalt_consensus::sim::{Crash, Cut, Plan};
use basalt_execution::BlockEnv;
use basalt_node::{chain::StateView, driver::executor::Job};

pub use world::{Run, World};

use crate::{About, Case, Failed, Outcome, Replay, Runner};
use chain::Setup;

/// A deliberate bug in one node, to prove that an oracle sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sabotage {
    /// None.
    #[default]
    None,
    /// The disk says that a record is synced, and has nothing.
    UnsyncedRecord,
    /// Execution leaves out the last transaction of each block.
    SkippedTransaction,
}

impl Sabotage {
    /// Spoils what a node executes next, if that is the bug.
    fn spoil(self, process: &mut node::Process, job: &Job) {
        let Job::Execute { block, .. } = job else { return };
        if self != Self::SkippedTransaction || block.block().transactions.is_empty() {
            return;
        }
        let Some(Ok(body)) = process.verifier.bodies.get(&block.hash()) else { return };
        let state = StateView(process.chain.ledger.snapshot());
        let env = BlockEnv::of(block.header());
        let all_but_one = &body[..body.len() - 1];
        if let Ok(executed) = process.chain.executor.execute(&env, all_but_one, &state) {
            process.worker.ahead = vec![(block.hash(), executed)];
        }
    }
}

/// The PBFT-style engine in real nodes.
#[derive(Clone, Copy, Debug)]
pub struct Pbft;

/// What can happen.
const SCENARIOS: &[About] = &[
    About {
        name: "chaos",
        about: "loss, duplication, delays, partitions, crashes, torn records, lost disks, skewed clocks",
    },
    About { name: "calm", about: "nothing goes wrong" },
    About { name: "all-down", about: "all nodes are killed at once, in the middle of work" },
    About { name: "one-wiped", about: "one node loses its ledger and its sign record" },
    About {
        name: "lone-client",
        about: "a node is cut off while its client sends, then comes back into an idle network",
    },
];

impl Runner for Pbft {
    fn engine(&self) -> &'static str {
        "pbft"
    }

    fn level(&self) -> u8 {
        2
    }

    fn scenarios(&self) -> Vec<About> {
        SCENARIOS.to_vec()
    }

    fn run(&self, case: &Case) -> Result<Outcome, Failed> {
        let first = run(case, Sabotage::None, false);
        first.result.map_err(|violation| {
            let again = run(case, Sabotage::None, true);
            Failed {
                reproduced: again.result.as_ref().err() == Some(&violation),
                oracle: violation.oracle.to_owned(),
                what: violation.what,
                plan: again.plan,
                events: again.events,
            }
        })
    }

    fn replay(&self, case: &Case) -> Replay {
        let run = run(case, Sabotage::None, true);
        let (plan, events) = (run.plan, run.events);
        let result = run.result.map_err(|violation| Failed {
            oracle: violation.oracle.to_owned(),
            what: violation.what,
            reproduced: true,
            plan: plan.clone(),
            events: events.clone(),
        });
        Replay { plan, events, result }
    }
}

/// Runs a case, with a bug in node 0 if asked for, and keeps its events if `log` says so.
#[must_use]
pub fn run(case: &Case, sabotage: Sabotage, log: bool) -> Run {
    let count = case.nodes.unwrap_or_else(|| [4, 4, 1, 4, 3, 4, 7][(case.seed % 7) as usize]);
    let setup = Setup::new(case.seed, count);
    let plan = plan(case, &setup);
    World::run(setup, plan, sabotage, log)
}

/// What goes wrong. Byzantine validators and twins are level 1's: here everybody is honest, and up to f may be away or wiped.
fn plan(case: &Case, setup: &Setup) -> Plan {
    let set = setup.spec.validator_set().expect("a sound set");
    let (seed, n) = (case.seed, set.len());
    let mut plan = Plan::calm(seed, n);
    match case.scenario.as_str() {
        "calm" => {}
        "all-down" => {
            let at = 500 + seed % 1_000;
            let crash = |node| Crash { at, node, fuse: (seed % 5) as u32, down: 300, ..Crash::default() };
            plan.crashes = (0..n).map(crash).collect();
        }
        "one-wiped" => {
            let node = (seed as usize) % n;
            let crash = Crash { at: 900, node, down: 400, lose_record: true, lose_ledger: true, ..Crash::default() };
            plan.crashes = if n >= 4 { vec![crash] } else { Vec::new() };
        }
        "lone-client" => {
            let alone = (seed as usize) % n;
            let links = (0..n).filter(|o| *o != alone).flat_map(|o| [(alone, o), (o, alone)]).collect();
            plan.cuts = vec![Cut { from: 1_000, until: 4_000, links }];
            plan.submissions = vec![(100, (alone + 1) % n), (2_000, alone)];
            plan.heal_at = 4_000;
        }
        _ => {
            plan = Plan::chaos(seed, &set, n, 1);
            plan.byzantine = vec![None; n];
            plan.twins.clear();
            plan.changes.clear();
            plan.cuts.iter_mut().for_each(|c| c.links.retain(|(a, b)| *a < n && *b < n));
            plan.crashes.retain(|c| c.node < n);
        }
    }
    plan
}

#[cfg(test)]
mod tests;
