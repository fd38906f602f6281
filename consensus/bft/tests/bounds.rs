//! The stated time to agreement against what the simulator measures: equal where nothing is drawn, a bound elsewhere.

use basalt_bft::{
    bounds::{Network, censored_heights, messages_per_block},
    sim::{BftLab, test_params},
};
use basalt_consensus::sim::{Crash, Cut, Lab, Plan, Summary, World};
use basalt_primitives::{Height, Millis, chainspec::BftParams};

const NETWORK: Network = Network { delay_ms: 40, build_ms: 12, judge_ms: 6, sync_ms: 5, execute_ms: 30, skew_ms: 0 };

fn params() -> BftParams {
    BftParams { round_timeout_ms: 1_000, round_timeout_cap_ms: 8_000, ..test_params() }
}

/// A network in which everything takes its longest time, and everybody always has work.
fn steady(network: &Network, n: usize) -> Plan {
    let mut plan = Plan::calm(1, n);
    plan.steady = true;
    (plan.delay_min, plan.delay) = (network.delay_ms, network.delay_ms);
    (plan.build_ms, plan.sync_ms, plan.execute_ms) = (network.build_ms, network.sync_ms, network.execute_ms);
    plan.submissions = (0..200 * n).map(|i| (100 + (i / n) as Millis * 20, i % n)).collect();
    (plan.heal_at, plan.bound) = (4_000, 200_000);
    plan
}

fn run(lab: &BftLab, plan: &Plan) -> Summary {
    World::check(lab, plan).unwrap_or_else(|failure| panic!("{failure}"))
}

/// From the first proposal to the first decision, at each height decided while there was work.
fn to_decision(summary: &Summary) -> Vec<Millis> {
    let decided = summary.decided_at.iter().enumerate();
    decided.map(|(i, at)| at - summary.proposed_at[&Height(i as u64 + 1)]).collect()
}

fn gaps(summary: &Summary) -> Vec<Millis> {
    summary.decided_at.windows(2).map(|w| w[1] - w[0]).collect()
}

#[test]
fn from_proposal_to_decision_it_is_three_delays_to_the_millisecond() {
    for delay_ms in [1, 10, 40, 100] {
        let bare = Network { delay_ms, ..Network::default() };
        for network in [bare, Network { delay_ms, ..NETWORK }] {
            let lab = BftLab::new(&[1; 4], params());
            let measured = to_decision(&run(&lab, &steady(&network, 4)));
            let stated = network.proposal_to_decision();
            assert!(measured.len() > 20 && measured.iter().all(|ms| *ms == stated), "{stated} ms stated: {measured:?}");
        }
        assert_eq!(bare.proposal_to_decision(), 3 * delay_ms);
    }
}

#[test]
fn voting_on_a_block_does_not_wait_for_its_execution() {
    let slow = Network { execute_ms: 900, ..NETWORK };
    let lab = BftLab::new(&[1; 4], params());
    let summary = run(&lab, &steady(&slow, 4));
    assert!(to_decision(&summary).iter().all(|ms| *ms == NETWORK.proposal_to_decision()), "{summary:?}");
    let executed = summary.executed_at.iter().zip(&summary.decided_at);
    assert!(executed.into_iter().all(|(executed, decided)| executed - decided == 900), "{summary:?}");
    // The next height does wait for it: its block carries the result.
    assert!(gaps(&summary).iter().all(|ms| *ms >= slow.height_to_height(&params())), "{:?}", gaps(&summary));
}

#[test]
fn heights_follow_each_other_as_stated() {
    let lab = BftLab::new(&[1; 4], params());
    let measured = gaps(&run(&lab, &steady(&NETWORK, 4)));
    let stated = NETWORK.height_to_height(&params());
    let exact = measured.iter().filter(|ms| **ms == stated).count();
    assert!(exact * 10 >= measured.len() * 9, "{stated} ms stated: {measured:?}");
}

#[test]
fn absent_proposers_cost_what_is_stated() {
    for absent in 0..=2u32 {
        let lab = BftLab::new(&[1; 7], params());
        let mut plan = steady(&NETWORK, 7);
        plan.silent = (3..3 + absent as u16).collect();
        let longest = gaps(&run(&lab, &plan)).into_iter().max().unwrap_or_default();
        let stated = NETWORK.execute_ms + NETWORK.absent_proposers(&params(), 1_000, absent);
        assert!(longest <= stated, "{absent} absent: {stated} ms stated, {longest} ms measured");
        let timeouts: Millis = (0..absent).map(|i| 1_000 << i).sum();
        assert!(longest >= timeouts, "{absent} absent: {longest} ms measured, less than their timeouts");
    }
}

#[test]
fn a_healed_network_decides_within_the_stated_time() {
    let mut longest = 0;
    for seed in 0..40 {
        for n in [4, 7] {
            let lab = BftLab::new(&vec![1; n], params());
            let mut plan = steady(&NETWORK, n);
            (plan.seed, plan.steady, plan.heal_at) = (seed, false, 9_000 + 137 * seed);
            plan.submissions.truncate(20 * n);
            plan.submissions.push((plan.heal_at, 0));
            let links = (0..n).flat_map(|a| (0..n).map(move |b| (a, b))).collect();
            plan.cuts = vec![Cut { from: 150, until: plan.heal_at, links }];
            plan.silent = (0..lab.set().max_faulty() as u16).map(|i| (i + seed as u16) % n as u16).collect();
            let summary = run(&lab, &plan);
            let after = summary.decided_at.iter().find(|at| **at >= plan.heal_at);
            let took = after.copied().unwrap_or(u64::MAX) - plan.heal_at;
            let stated = NETWORK.after_healing(&params(), lab.set());
            assert!(took <= stated, "seed {seed}, n = {n}: {stated} ms stated, {took} ms measured");
            longest = longest.max(took);
        }
    }
    println!("longest after healing: {longest} ms");
    assert!(longest > 500, "what was cut off for seconds is not back at once: {longest} ms");
}

#[test]
fn all_crashed_are_back_within_two_rounds() {
    let mut longest = 0;
    for seed in 0..60 {
        let lab = BftLab::new(&[1; 4], params());
        let mut plan = steady(&NETWORK, 4);
        (plan.seed, plan.heal_at) = (seed, 6_000);
        plan.submissions.truncate(600);
        let (at, down) = (1_000 + 13 * seed, 500);
        plan.crashes = (0..4).map(|node| Crash { at, node, down, ..Crash::default() }).collect();
        let summary = run(&lab, &plan);
        let back = at + down;
        let took = summary.decided_at.iter().find(|t| **t > back).copied().unwrap_or(u64::MAX) - back;
        let stated = NETWORK.all_crashed(&params(), 1_000, 0);
        assert!(took <= stated, "seed {seed}: {stated} ms stated, {took} ms measured");
        longest = longest.max(took);
    }
    println!("longest after all crashed: {longest} ms");
}

#[test]
fn a_censoring_minority_delays_a_transaction_no_longer_than_stated() {
    use basalt_bft::election::{Absences, proposer};
    use basalt_primitives::Round;
    for n in [4, 7, 10] {
        let lab = BftLab::equal(n);
        let f = lab.set().max_faulty();
        let within = censored_heights(lab.set());
        // Nobody skipped: any f validators leave one of so many heights to the others.
        for start in 1..50 {
            let heights = start..start + within;
            let proposers = heights.map(|h| proposer(lab.set(), &Absences::default(), Height(h), Round::ZERO));
            let distinct: std::collections::BTreeSet<u16> = proposers.collect();
            assert!(distinct.len() as u64 > f, "n = {n}");
        }
    }
}

#[test]
fn a_block_costs_the_stated_number_of_messages() {
    for n in [4u64, 7, 16] {
        let lab = BftLab::new(&vec![1; n as usize], params());
        let mut plan = steady(&NETWORK, n as usize);
        plan.submissions.truncate(10 * n as usize);
        let summary = run(&lab, &plan);
        let per_block = summary.messages / summary.height.0;
        let stated = messages_per_block(n);
        assert!((stated..=stated + stated / 10).contains(&per_block), "n = {n}: {stated} stated, {per_block} counted");
    }
}
