//! Frequencies in the simulator against the theory. Every seed is fixed, so a test passes or fails for good; the bounds are four
//! standard deviations of what is counted, so a seed that failed would say that something is wrong.

use basalt_pow::{
    sim::{Plan, Role, World, scenario::Scenario},
    theory::{chain_quality, double_spend, overtake, schedule_deviation, selfish_share},
};
use basalt_primitives::Millis;

const INTERVAL: f64 = 10_000.0;

/// A long run with nobody to disturb it: miner 0 has this share and role.
fn long_run(seed: u64, share: f64, role: Role, blocks: u64) -> Plan {
    let mut plan = Scenario::find("calm").expect("it is listed").plan(seed, Some(5));
    plan.shares = (0..5).map(|node| if node == 0 { share } else { (1.0 - share) / 4.0 }).collect();
    plan.roles[0] = role;
    plan.submissions.clear();
    (plan.delay, plan.judge_ms, plan.sync_ms) = ((1, 8), 1, 0);
    (plan.count_only, plan.may_split) = (true, true);
    plan.heal_at = blocks * INTERVAL as Millis;
    plan
}

/// The miner's part of the blocks of some runs, and its standard error from run to run.
fn measured_share(share: f64, role: Role, runs: u64, blocks: u64) -> (f64, f64) {
    let parts: Vec<f64> = (0..runs)
        .map(|seed| {
            let plan = long_run(seed + 1, share, role, blocks);
            let summary = World::check(&plan).unwrap_or_else(|failure| panic!("{share}: {failure}"));
            summary.by_maker[0] as f64 / summary.height.0 as f64
        })
        .collect();
    let mean = parts.iter().sum::<f64>() / parts.len() as f64;
    let variance = parts.iter().map(|p| (p - mean).powi(2)).sum::<f64>() / (parts.len() - 1) as f64;
    (mean, (variance / parts.len() as f64).sqrt())
}

#[test]
fn honest_miners_get_their_share() {
    for share in [0.1, 0.45] {
        let (mean, error) = measured_share(share, Role::Honest, 6, 300);
        println!("{share} of the work: {mean:.4} ± {error:.4} of the blocks");
        assert!((mean - share).abs() < 4.0 * error.max((share * (1.0 - share) / 1_800.0).sqrt()), "{mean} ± {error}");
    }
}

/// Selfish mining, from 10 to 45 %: what it gains is what Eyal and Sirer compute for γ = 0, where its block always comes second, and for
/// γ = 3/4, where all of the four others but the finder have it first; and chain quality is never below its bound.
#[test]
fn selfish_mining_gains_what_the_theory_says() {
    for (swift, gamma) in [(false, 0.0), (true, 0.75)] {
        for percent in [10, 15, 20, 25, 30, 35, 40, 45] {
            let alpha = f64::from(percent) / 100.0;
            let (mean, error) = measured_share(alpha, Role::Selfish { swift }, 5, 200);
            let expected = selfish_share(alpha, gamma);
            println!("α = {alpha}, γ = {gamma:.2}: {mean:.4} ± {error:.4}, theory {expected:.4}");
            let error = error.max((expected * (1.0 - expected) / 1_000.0).sqrt());
            assert!((mean - expected).abs() < 4.0 * error, "α = {alpha}, γ = {gamma}: {mean}, theory {expected}");
            assert!(1.0 - mean >= chain_quality(alpha) - 4.0 * error, "chain quality at α = {alpha}: {}", 1.0 - mean);
        }
    }
}

/// Common prefix: how often an attacker that mines in secret from before a payment takes it back after z confirmations. Two
/// miners, a half-life so long that difficulty stands still, as the theory has it; 300 tries each, at most 50 intervals long
/// (what comes later is below 10⁻³).
#[test]
fn a_double_spend_succeeds_as_often_as_the_theory_says() {
    for (q, z) in [(0.1, 1u32), (0.2, 2), (0.3, 3), (0.3, 6), (0.4, 6)] {
        let tries = 300;
        let succeeded = (0..tries).filter(|seed| {
            let mut plan =
                long_run(seed + 1_000, q, Role::DoubleSpend { z: u64::from(z) }, if q < 0.4 { 50 } else { 120 });
            (plan.shares, plan.roles) = (vec![q, 1.0 - q], vec![plan.roles[0], Role::Honest]);
            (plan.clocks, plan.params.half_life_ms) = (vec![vec![(0, 0)]; 2], 1 << 40);
            plan.params.finality_depth = 200;
            let mut world = World::new(plan);
            world.run().unwrap_or_else(|violation| panic!("{q}: {violation}"));
            world.reorgs_of(u64::from(z)) > 0
        });
        let found = succeeded.count() as f64 / tries as f64;
        let expected = overtake(q, z);
        println!(
            "q = {q}, z = {z}: {found:.4} of {tries} tries, theory {expected:.4}, at most {:.4}",
            double_spend(q, z)
        );
        let error = (expected * (1.0 - expected) / tries as f64).sqrt();
        assert!((found - expected).abs() < 4.0 * error, "{found}, theory {expected}");
    }
}

/// Difficulty: the mean interval is the target's, and the chain stays on its schedule, whatever timestamps nearly half of the work
/// choose and whenever half of it comes and goes.
#[test]
fn the_interval_is_what_the_chain_asks_for() {
    let roles = [Role::Honest, Role::Backdater, Role::Postdater, Role::Hopper { below: 48 }];
    for role in roles {
        let blocks = 700;
        let summary =
            World::check(&long_run(3, 0.45, role, blocks)).unwrap_or_else(|failure| panic!("{role:?}: {failure}"));
        let made = summary.height.0 as f64;
        // By true time: the run is so many intervals long. The others' rate alone is 0.55: τ·log₂(1/0.55) of lag at most.
        let least = if role == Role::Honest { 1.0 } else { 0.55 };
        let half_life = 120.0 * INTERVAL;
        let slack = 4.0 * schedule_deviation(INTERVAL, half_life) + 15_000.0;
        let most_behind = (half_life * (1.0f64 / least).log2() + slack) / INTERVAL;
        let off = made - blocks as f64;
        println!("{role:?}: {made} blocks in {blocks} intervals");
        assert!(off < slack / INTERVAL && off > -most_behind, "{role:?}: {off} blocks off the schedule");
    }
}
