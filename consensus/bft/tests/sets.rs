//! Validator sets that change: at the exact height, whoever comes, goes, or has lost its record meanwhile.

mod common;

use std::sync::Arc;

use basalt_bft::{Record, Step, sim::BftLab};
use basalt_consensus::{Input, sim::Lab};
use basalt_primitives::{Height, PublicKey, Validator, ValidatorSet};
use common::{Bench, net::Net};

const NOTHING: [&str; 0] = [];

fn started(nodes: usize, sets: impl Fn(u64) -> Vec<usize> + 'static) -> Net {
    let mut net = Net::new(nodes, sets);
    (0..nodes).for_each(|node| net.start(node));
    net
}

/// The heights among these at which a node voted or proposed.
fn spoke_at(net: &Net, node: usize) -> Vec<u64> {
    net.nodes[node].spoke_at.iter().copied().collect()
}

#[test]
fn a_set_of_one_grows_to_two_and_shrinks_again() {
    let mut net = started(2, |h| if (5..10).contains(&h) { vec![0, 1] } else { vec![0] });
    net.run_to(14, 5_000);
    for height in 1..=14 {
        let both = (5..10).contains(&height);
        assert_eq!(net.signers(0, height), if both { vec![0, 1] } else { vec![0] }, "height {height}");
    }
    assert_eq!(spoke_at(&net, 1), [5, 6, 7, 8, 9]);
    assert_eq!(net.engine(1).status().step, Step::Following);
}

#[test]
fn a_set_of_two_waits_for_its_new_member_and_goes_on_when_it_comes() {
    let mut net = Net::new(2, |h| if h >= 3 { vec![0, 1] } else { vec![0] });
    net.start(0);
    net.run_to(2, 2_000);
    net.start(1);
    net.run_to(6, 2_000);
    assert_eq!(net.signers(0, 3), [0, 1]);
}

#[test]
fn a_validator_joins_and_leaves_at_the_exact_height_and_follows_before_and_after() {
    let mut net = started(5, |h| if (6..12).contains(&h) { vec![0, 1, 2, 3, 4] } else { vec![0, 1, 2, 3] });
    net.run_to(20, 10_000);
    assert_eq!(spoke_at(&net, 4), (6..12).collect::<Vec<_>>());
    assert_eq!(net.height(4), 20);
    for height in 6..12 {
        assert!(net.signers(0, height).len() >= 4, "the quorum of five");
    }
}

#[test]
fn a_new_member_is_elected_in_its_turn_from_its_first_height() {
    let mut net = started(5, |h| if h >= 9 { vec![0, 1, 2, 3, 4] } else { vec![0, 1, 2, 3] });
    net.run_to(9, 5_000);
    let proposer = net.nodes[0].ledger[9].0.header().proposer;
    assert_eq!(proposer, PublicKey([5; 32]).address(), "9 mod 5 is the newcomer");
    assert_eq!(net.nodes[0].ledger[9].0.header().first_round.0, 0);
}

#[test]
fn a_replaced_key_falls_silent_and_the_new_one_takes_its_seat() {
    let mut net = started(5, |h| if h >= 7 { vec![0, 1, 4, 3] } else { vec![0, 1, 2, 3] });
    net.run_to(16, 5_000);
    assert_eq!(spoke_at(&net, 2), (1..7).collect::<Vec<_>>());
    assert_eq!(spoke_at(&net, 4), (7..=16).collect::<Vec<_>>());
}

#[test]
fn a_set_shrinks_below_half_at_once() {
    let mut net = started(7, |h| if h >= 5 { vec![5, 2] } else { (0..7).collect() });
    net.run_to(12, 5_000);
    assert_eq!(net.signers(0, 5), [5, 2]);
}

#[test]
fn a_member_that_joins_without_a_record_asks_first_and_then_votes() {
    let mut net = Net::new(5, |h| if h >= 4 { vec![0, 1, 2, 3, 4] } else { vec![0, 1, 2, 3] });
    net.nodes[4].records = None;
    (0..5).for_each(|node| net.start(node));
    net.run_to(3, 2_000);
    assert_eq!((net.engine(4).status().step, net.nodes[4].records.is_none()), (Step::Recovering, true));
    net.run_to(20, 5_000);
    let first = net.nodes[4].records.as_ref().and_then(|r| r.first());
    assert!(matches!(first, Some(Record::Recovered { height, .. }) if height.0 >= 4), "{first:?}");
    assert!(spoke_at(&net, 4).into_iter().all(|h| h >= 4) && !spoke_at(&net, 4).is_empty());
}

#[test]
fn a_member_wiped_while_the_set_changes_recovers() {
    for wiped_at in 3..9 {
        let mut net = started(7, |h| if h >= 6 { vec![0, 1, 2, 3, 4, 5, 6] } else { vec![0, 1, 2, 3] });
        net.run_to(wiped_at, 5_000);
        net.stop(1);
        net.nodes[1].records = None;
        net.nodes[1].ledger.truncate(1);
        net.run_to(wiped_at + 1, 5_000);
        net.start(1);
        net.run_to(wiped_at + 12, 20_000);
        let recovered = net.nodes[1].records.iter().flatten().any(|r| matches!(r, Record::Recovered { .. }));
        assert!(recovered, "wiped at {wiped_at}");
    }
}

#[test]
fn all_restart_where_the_set_changes_and_go_on_at_once() {
    for stopped_at in 3..8 {
        let mut net = started(5, |h| if h >= 6 { vec![4, 0, 1, 2, 3] } else { vec![0, 1, 2, 3] });
        net.run_to(stopped_at, 5_000);
        (0..5).for_each(|node| net.stop(node));
        (0..5).for_each(|node| net.start(node));
        net.run_to(stopped_at + 8, 5_000);
    }
}

/// The validators of a larger lab, the first of whom are the bench's.
fn keys(n: usize) -> Arc<ValidatorSet> {
    BftLab::equal(n).set().clone()
}

#[test]
fn answers_count_in_the_set_of_their_height_and_after_a_claim_in_the_next_one_too() {
    let wiped = || {
        let mut b = Bench::new(4, 0);
        b.start(None, false);
        b.input(Input::ValidatorSet { height: Height(2), set: keys(7) });
        b
    };
    let mut b = wiped();
    b.from(1, b.sign_state(1, 0, 77, None));
    b.from(2, b.sign_state(1, 0, 77, None));
    let words = b.from(3, b.sign_state(1, 0, 77, None));
    assert_eq!(words[0], "persist recovered 1/0 unlocked by 3", "nothing was prepared, so nobody is above height 1");

    let mut b = wiped();
    let a = b.block("A", 0);
    b.from(1, b.sign_state(1, 0, 77, None));
    b.from(2, b.sign_state(1, 0, 77, Some(b.prepared(&a, 0, &[1, 2, 3]))));
    let words = b.from(3, b.sign_state(1, 0, 77, None));
    assert_eq!(words, NOTHING, "A may be decided, and this key have voted at 2, where five of seven must answer");
    let certificate = b.certificate(&a, 0, &[1, 2, 3]);
    b.input(Input::Synced { block: a.clone(), certificate: certificate.into() });
    b.input(Input::ValidatorSet { height: Height(3), set: keys(7) });
    b.executed_only(&a);
    let answer = |b: &mut Bench, from: u16| {
        let message = b.sign_state(2, 0, 77, None);
        b.hear(from, message)
    };
    for from in [1, 2, 3, 4] {
        assert_eq!(answer(&mut b, from), NOTHING);
    }
    assert_eq!(answer(&mut b, 5)[0], "persist recovered 2/0 unlocked by 5");
}

#[test]
fn a_straggler_is_helped_right_after_a_restart() {
    let mut b = Bench::new(4, 0);
    let a = b.block("A", 0);
    let certificate = b.certificate(&a, 0, &[1, 2, 3]);
    b.input(Input::Synced { block: a.clone(), certificate: certificate.into() });
    b.executed(&a, false);
    b.restart();
    assert_eq!(b.from(2, b.change(1, 1, None)), ["decided 1/0 A to 2"]);
}

#[test]
fn a_straggler_that_has_left_the_set_is_not_taken_for_another() {
    let mut b = Bench::new(4, 0);
    let a = b.block("A", 0);
    let certificate = b.certificate(&a, 0, &[1, 2, 3]);
    // At height 2 the seats are others': 2 of height 1 is 1 there, and 3 has none.
    let seats = ValidatorSet::new([0, 2, 1].map(|k: usize| Validator { public_key: b.lab.keys()[k], power: 1 }).into());
    let seats = Arc::new(seats.expect("a sound set"));
    b.input(Input::ValidatorSet { height: Height(2), set: seats });
    b.input(Input::Synced { block: a.clone(), certificate: certificate.into() });
    b.executed(&a, false);
    let certificate = b.certificate(&a, 0, &[1, 2, 3]);
    let next = b.block_on(&a, Some(certificate), "B", 0);
    let certificate = b.certificate(&next, 0, &[0, 1, 2]);
    b.input(Input::Synced { block: next.clone(), certificate: certificate.into() });
    b.executed(&next, false);
    assert_eq!(b.from(2, b.change(1, 1, None)), ["decided 2/0 B to 1"]);
    assert_eq!(b.from(3, b.change(1, 1, None)), NOTHING);
}
