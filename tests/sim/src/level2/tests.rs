//! Fixed seeds in CI, more with BASALT_SIM_SEEDS (and BASALT_SIM_FROM); determinism; and proof that the oracles see.

use super::*;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

fn case(scenario: &str, seed: u64) -> Case {
    Case { scenario: scenario.into(), seed, nodes: None }
}

fn check(case: &Case) -> Outcome {
    Pbft.run(case).unwrap_or_else(|failed| {
        let tail = failed.events[failed.events.len().saturating_sub(60)..].join("\n");
        panic!(
            "{case:?}: {}: {} (reproduced: {})\n{}\n{tail}",
            failed.oracle, failed.what, failed.reproduced, failed.plan
        )
    })
}

#[test]
fn no_seed_breaks_an_invariant_at_level_2() {
    let (from, count) = (number("BASALT_SIM_FROM", 0), number("BASALT_SIM_SEEDS", 60));
    let outcomes: Vec<Outcome> = (from..from + count).map(|seed| check(&case("chaos", seed))).collect();
    let blocks: u64 = outcomes.iter().map(|o| o.height).sum();
    println!(
        "{count} seeds, {blocks} blocks; slowest to settle: {:?}",
        outcomes.iter().map(|o| o.settled_after_ms).max()
    );
}

#[test]
fn every_scenario_is_sound() {
    for about in SCENARIOS {
        for seed in 0..7 {
            check(&case(about.name, seed));
        }
    }
}

/// What level 2 found, each before it was mended.
#[test]
fn seeds_that_taught_something() {
    // Gossip lost a transaction, and its node alone could not bring the others to make a block: it waited for ever.
    for seed in 0..4 {
        check(&case("lone-client", seed));
    }
}

#[test]
fn equal_seeds_give_equal_runs() {
    for (scenario, seed) in [("chaos", 1), ("chaos", 3), ("one-wiped", 0), ("all-down", 5)] {
        let hashes: Vec<u64> = (0..2).map(|_| run(&case(scenario, seed), Sabotage::None, false).log_hash).collect();
        assert_eq!(hashes[0], hashes[1], "{scenario} {seed}");
    }
    let other = |seed| run(&case("calm", seed), Sabotage::None, false).log_hash;
    assert_ne!(other(0), other(1), "the hash tells runs apart");
}

/// The oracle that stops a run in which node 0 has a bug.
fn found(sabotage: Sabotage) -> &'static str {
    let run = run(&Case { nodes: Some(4), ..case("calm", 1) }, sabotage, false);
    run.result.expect_err("the bug is seen").oracle
}

#[test]
fn a_node_that_skips_a_transaction_is_found() {
    let oracle = found(Sabotage::SkippedTransaction);
    assert!(["same state root", "no node stops by itself", "contract state"].contains(&oracle), "{oracle}");
}

#[test]
fn a_sign_record_that_is_not_synced_is_found() {
    assert_eq!(found(Sabotage::UnsyncedRecord), "persist before you speak");
}
