//! The level-1 simulator over the proof-of-work engine: fixed seeds in CI, more with BASALT_SIM_SEEDS (and BASALT_SIM_FROM).

use basalt_pow::sim::{
    World,
    scenario::{ALL, CHAOS},
};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

#[test]
fn every_scenario_holds() {
    for scenario in ALL.iter().filter(|s| s.name != CHAOS.name) {
        let (mut deepest, mut reorgs) = (0, 0);
        for seed in 0..number("BASALT_SIM_SCENARIO_SEEDS", 8) {
            let plan = scenario.plan(seed, None);
            let summary = World::check(&plan).unwrap_or_else(|failure| panic!("{}: {failure}", scenario.name));
            deepest = deepest.max(summary.deepest);
            reorgs += summary.reorgs;
        }
        println!("{}: {reorgs} reorgs, the deepest of {deepest} blocks", scenario.name);
    }
}

#[test]
fn no_seed_breaks_an_invariant() {
    let (from, count) = (number("BASALT_SIM_FROM", 0), number("BASALT_SIM_SEEDS", 500));
    let mut slowest = (0, 0);
    for seed in from..from + count {
        match World::check(&CHAOS.plan(seed, None)) {
            Ok(summary) => slowest = slowest.max((summary.settled_after, seed)),
            Err(failure) => panic!("{failure}"),
        }
    }
    println!("slowest to settle: {} ms (seed {})", slowest.0, slowest.1);
}
