//! The level-1 simulator over the BFT engine: fixed seeds in CI, more with BASALT_SIM_SEEDS (and BASALT_SIM_FROM).

use basalt_bft::sim::{
    BftLab,
    scenario::{self, Scenario},
    test_params,
};
use basalt_consensus::sim::{Crash, Plan, World};
use basalt_primitives::chainspec::BftParams;

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

/// A network in which every message takes exactly 100 ms and nothing else takes any time worth speaking of.
fn slow_wires(n: usize) -> Plan {
    let mut plan = Plan::calm(3, n);
    (plan.delay_min, plan.delay) = (100, 100);
    (plan.sync_ms, plan.execute_ms, plan.build_ms) = (0, 1, 0);
    plan.submissions = (0..60).map(|i| (500 + i * 50, i as usize % n)).collect();
    (plan.heal_at, plan.bound) = (4_000, 20_000);
    plan
}

/// Timeouts that fit such wires.
fn patient(n: usize) -> BftLab {
    let params = BftParams { round_timeout_ms: 2_000, round_timeout_cap_ms: 8_000, ..test_params() };
    BftLab::new(&vec![1; n], params)
}

#[test]
fn a_commit_takes_three_message_delays() {
    let lab = patient(4);
    let summary = World::check(&lab, &slow_wires(4)).unwrap_or_else(|failure| panic!("{failure}"));
    let gaps: Vec<u64> = summary.decided_at.windows(2).map(|w| w[1] - w[0]).collect();
    let busy = gaps.iter().filter(|gap| **gap < 320).count();
    assert!(gaps.iter().all(|gap| *gap >= 200) && busy * 10 >= gaps.len() * 8, "{gaps:?}");
}

#[test]
fn messages_per_block_grow_no_faster_than_the_square() {
    for n in [4u64, 7, 16] {
        let lab = patient(n as usize);
        let summary = World::check(&lab, &slow_wires(n as usize)).unwrap_or_else(|failure| panic!("{failure}"));
        let per_block = summary.messages / summary.height.0;
        println!("n = {n}: {per_block} messages per block, {} blocks", summary.height);
        // A proposal to each, two votes from each to each; a little for what is repeated at the ends.
        assert!(per_block <= (n - 1) + 2 * n * (n - 1) + n * n / 2, "n = {n}: {per_block}");
    }
}

#[test]
fn an_idle_network_is_silent() {
    let lab = BftLab::equal(4);
    let mut plan = Plan::calm(5, 4);
    plan.submissions = vec![(0, 1), (120_000, 2)];
    plan.heal_at = 119_000;
    let idle = World::check(&lab, &plan).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(idle.height.0, 4, "a block and one to certify it, twice");
    assert!(idle.messages <= 4 * 4 * 3 * 3, "{} messages", idle.messages);
}

#[test]
fn all_killed_at_once_come_back_within_two_rounds() {
    let lab = BftLab::equal(4);
    for seed in 0..50 {
        let mut plan = Plan::calm(seed, 4);
        plan.heal_at = 2_000;
        let killed = 1_000 + seed % 37;
        plan.crashes = (0..4).map(|node| Crash { at: killed, node, down: 500, ..Crash::default() }).collect();
        let summary = World::check(&lab, &plan).unwrap_or_else(|failure| panic!("{failure}"));
        let back = killed + 500;
        let first = summary.decided_at.iter().find(|at| **at > back).copied().unwrap_or_default();
        let log = || World::trace(&lab, &plan).1.join("\n");
        assert!(
            first - back < 300 + 600,
            "seed {seed}: first block {} ms after all were back\n{}",
            first - back,
            log()
        );
    }
}

#[test]
fn one_of_four_dead_costs_at_most_its_own_rounds() {
    let lab = BftLab::equal(4);
    let mut plan = Plan::calm(9, 4);
    plan.silent = vec![2];
    plan.heal_at = 6_000;
    // Everyone always has work, so that every gap is a round.
    plan.submissions = (0..600).map(|i| (i / 3 * 30, [0, 1, 3][i as usize % 3])).collect();
    let summary = World::check(&lab, &plan).unwrap_or_else(|failure| panic!("{failure}"));
    let gaps: Vec<u64> = summary.decided_at.windows(2).map(|w| w[1] - w[0]).collect();
    assert!(gaps.len() > 100 && gaps.iter().all(|gap| *gap < 600), "{gaps:?}");
    let slow: Vec<usize> = (0..gaps.len()).filter(|i| gaps[*i] >= 300).collect();
    assert!(slow.len() <= 7, "a dead validator is skipped ever longer: slow before heights {slow:?} of {}", gaps.len());
}

#[test]
fn one_of_four_wiped_heals_by_itself() {
    let lab = BftLab::equal(4);
    for seed in 0..20 {
        let mut plan = Plan::calm(seed, 4);
        let wipe = Crash { at: 700, node: 1, down: 100, lose_record: true, lose_ledger: true, ..Crash::default() };
        plan.crashes = vec![wipe];
        World::check(&lab, &plan).unwrap_or_else(|failure| panic!("{failure}"));
    }
}

#[test]
fn every_scenario_holds() {
    for scenario in scenario::ALL.iter().filter(|s| s.name != "chaos") {
        for seed in 0..number("BASALT_SIM_SCENARIO_SEEDS", 12) {
            let (lab, plan) = scenario.case(seed, None);
            World::check(&lab, &plan).unwrap_or_else(|failure| panic!("{}: {failure}", scenario.name));
        }
    }
}

/// Crashes at every effect there is in a short run, of every node, and in the middle of every write: until there is no
/// further one.
#[test]
fn a_crash_at_any_effect_is_survived() {
    for (name, least) in [("crash-each", 300), ("crash-each-absent", 200)] {
        let scenario = Scenario::find(name).expect("it is listed");
        let (mut seed, mut crashes, mut without) = (0, 0, 0);
        while without < 16 {
            let (lab, plan) = scenario.case(seed, None);
            let summary = World::check(&lab, &plan).unwrap_or_else(|failure| panic!("{name}: {failure}"));
            crashes += summary.crashes;
            without = if summary.crashes == 0 { without + 1 } else { 0 };
            seed += 1;
        }
        println!("{name}: {crashes} crashes, each in a run of its own");
        assert!(crashes > least, "{name}: only {crashes} crashes took place");
    }
}

#[test]
fn sets_change_and_come_back() {
    let (lab, plan) = Scenario::find("set-shrink-grow").expect("it is listed").case(3, None);
    let (result, log) = World::trace(&lab, &plan);
    let summary = result.unwrap_or_else(|violation| panic!("{violation}"));
    let joined = log.iter().any(|line| line.contains("n4 says commit"));
    assert!(joined && summary.height.0 > 15, "the spare node never voted: {summary:?}");
}

#[test]
fn more_than_f_wiped_do_not_vote_again() {
    let (lab, mut plan) = Scenario::find("too-many-wiped").expect("it is listed").case(1, None);
    plan.safety_only = false;
    let stuck = World::check(&lab, &plan).expect_err("two of four without a record must not go on by themselves");
    assert_eq!(stuck.violation.oracle, "liveness");
}

/// Seeds that once failed, and why.
#[test]
fn seeds_that_taught_something() {
    // A validator wiped twice votes in a round below one it had alone asked for before: the oracle knew no forgetting.
    const SEEDS: &[u64] = &[107_260];
    for seed in SEEDS {
        BftLab::run_seed(*seed).unwrap_or_else(|failure| panic!("{failure}"));
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

#[test]
fn a_network_slower_than_its_timeouts_is_learnt_in_a_few_heights() {
    let lab = BftLab::equal(4);
    let mut plan = slow_wires(4);
    (plan.delay_min, plan.delay) = (250, 250);
    plan.heal_at = 30_000;
    plan.submissions = (0..100).map(|i| (i * 300, i as usize % 4)).collect();
    let summary = World::check(&lab, &plan).unwrap_or_else(|failure| panic!("{failure}"));
    let gaps: Vec<u64> = summary.decided_at.windows(2).map(|w| w[1] - w[0]).collect();
    // Three delays, not the 300 ms of round 0: the first heights need a second and a third round.
    let learnt = gaps.iter().skip(4).filter(|gap| **gap < 1_100).count();
    assert!(gaps.len() > 25 && learnt == gaps.len() - 4, "{gaps:?}");
}
