//! Deliberate bugs, one at a time: each must be found by the simulator. `cargo test -p basalt-bft --features mutations`.

use basalt_bft::{mutation::Mutation, sim::BftLab};

#[test]
fn every_deliberate_bug_is_found() {
    let limit: u64 = std::env::var("BASALT_SIM_SEEDS").ok().and_then(|v| v.parse().ok()).unwrap_or(2_000);
    let mut missed = Vec::new();
    for mutation in Mutation::ALL {
        let found = (0..limit).find_map(|seed| {
            let failure = mutation.with(|| BftLab::run_seed(seed)).err()?;
            Some((seed, failure.violation.to_string()))
        });
        match found {
            Some((seed, failure)) => {
                let first: String = failure.lines().next().unwrap_or_default().chars().take(160).collect();
                println!("{mutation:?}: seed {seed}: {first}");
            }
            None => missed.push(mutation),
        }
    }
    assert!(missed.is_empty(), "not found within {limit} seeds: {missed:?}");
}
