//! The level-1 simulator over the BFT engine: fixed seeds in CI, more with BASALT_SIM_SEEDS (and BASALT_SIM_FROM).

use basalt_bft::sim::BftLab;
use basalt_consensus::sim::{Plan, World};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

#[test]
fn a_calm_network_commits() {
    for n in [1, 2, 3, 4, 7] {
        let lab = BftLab::equal(n);
        let summary = World::check(&lab, &Plan::calm(1, n)).unwrap_or_else(|failure| panic!("n = {n}: {failure}"));
        assert!(summary.settled_after < 1_000, "n = {n}: {summary:?}");
    }
}

#[test]
fn no_seed_breaks_an_invariant() {
    let (from, count) = (number("BASALT_SIM_FROM", 0), number("BASALT_SIM_SEEDS", 2_000));
    let mut slowest = (0, 0);
    for seed in from..from + count {
        match BftLab::run_seed(seed) {
            Ok(summary) => slowest = slowest.max((summary.settled_after, seed)),
            Err(failure) => panic!("{failure}"),
        }
    }
    println!("slowest to settle: {} ms (seed {})", slowest.0, slowest.1);
}
