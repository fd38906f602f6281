//! What the engine promises as a whole, each promise by name: results are certified, ways to catch up do not wait for each
//! other, evidence is whole and bounded, and a network comes back by itself.

mod common;

use basalt_bft::{
    Message, Record, Vote,
    sim::{BftLab, test_params},
};
use basalt_consensus::{
    Effect, Engine, Input, Verdict,
    sim::{Crash, Lab, Plan, World},
};
use basalt_primitives::{B256, Height, Round, chainspec::BftParams};
use common::Bench;

const NOTHING: [&str; 0] = [];

#[test]
fn results_are_certified_whatever_the_empty_block_policy() {
    for empty_block_ms in [None, Some(0), Some(60_000)] {
        for restarted in [false, true] {
            let params = BftParams { empty_block_ms, ..test_params() };
            let mut b = Bench::with_params(1, 0, params);
            b.start(Some(vec![Record::Initial { genesis: B256::ZERO }]), false);
            b.work();
            let a = b.block("A", 0);
            b.input(Input::Built { height: Height(1), round: Round(0), block: a.clone() });
            b.input(Input::Work { pending: false });
            let mut words = b.executed(&a, true);
            if restarted {
                let records = Some(b.records.clone());
                words = b.start(records, true);
            }
            words.extend(b.wait(300));
            let builds = words.iter().any(|w| w.starts_with("build 2/"));
            assert!(builds, "policy {empty_block_ms:?}, restarted {restarted}: {words:?}");
        }
    }
}

#[test]
fn fetching_certificates_and_sync_work_side_by_side_with_voting() {
    let mut b = Bench::new(4, 0);
    let (a, x) = (b.block("A", 0), b.block("X", 1));
    // A is decided by others and its body missing: it is being fetched. Voting in a later round goes on meanwhile.
    assert_eq!(b.from(2, Message::Decided(b.certificate(&a, 0, &[1, 2, 3]))), ["fetch A of 1 from 1"]);
    let words = b.from(2, b.justified(&x, 1, &[1, 2, 3], None));
    assert!(words.contains(&"validate X".to_owned()), "{words:?}");
    assert_eq!(b.judged(&x, Verdict::Valid), ["prepare 1/1 X"]);
    // Sync is faster than the fetch, and nothing is decided twice.
    let certificate = b.certificate(&a, 0, &[1, 2, 3]);
    let words = b.input(Input::Synced { block: a.clone(), certificate: certificate.into() });
    assert_eq!(words, ["final A", "execute A by 3 votes"]);
    assert_eq!(b.input(Input::Fetched { block: a.clone() }), NOTHING);
    // And voting at the next height begins although the sync side may still be at work.
    b.executed(&a, false);
    let next = b.block("B", 0);
    assert_eq!(b.from(2, b.proposal(&next, 0)), ["validate B"]);
}

#[test]
fn evidence_holds_both_signed_messages_and_is_bounded() {
    let mut b = Bench::new(4, 0);
    let (a, x) = (b.block("A", 0), b.block("X", 0));
    let pairs = [
        (1, b.proposal(&a, 0), b.proposal(&x, 0)),
        (2, Message::Prepare(b.vote(&a, 0)), Message::Prepare(b.vote(&x, 0))),
        (3, Message::Commit(b.vote(&a, 0)), Message::Commit(b.vote(&x, 0))),
    ];
    for (from, first, second) in pairs {
        b.from(from, first.clone());
        let message = b.lab.verified(from, second.clone());
        let effects = b.engine.step(b.now, 0, Input::Message { from, message });
        let found = effects.iter().find_map(|e| if let Effect::Report(evidence) = e { Some(evidence) } else { None });
        let evidence = found.expect("a contradiction is reported");
        assert_eq!((evidence.validator, evidence.height, evidence.round), (from, Height(1), Round(0)));
        assert_eq!((&evidence.first.message, &evidence.second.message), (&first, &second));
        let set = b.lab.set();
        assert!(b.lab.verify(set, &evidence.first) && b.lab.verify(set, &evidence.second), "each proves itself");
    }
    // However much it contradicts itself, a validator is reported once per kind and height.
    for i in 0..1_000u32 {
        let vote = Vote { height: Height(1), round: Round(i % 20), block_hash: B256::repeat_byte(i as u8) };
        for message in [Message::Prepare(vote), Message::Commit(vote)] {
            let words = b.from(2, message);
            assert!(i < 40 || words.is_empty(), "{words:?}");
        }
    }
}

#[test]
fn more_than_f_killed_at_once_come_back_within_two_rounds() {
    let lab = BftLab::equal(7);
    for seed in 0..20 {
        let mut plan = Plan::calm(seed, 7);
        plan.heal_at = 3_000;
        plan.submissions = (0..140).map(|i| (i / 7 * 150, i as usize % 7)).collect();
        let killed = 1_000 + seed % 37;
        // Four of seven: three of them are f = 2 and one more.
        plan.crashes = (0..4).map(|node| Crash { at: killed, node, down: 700, ..Crash::default() }).collect();
        let summary = World::check(&lab, &plan).unwrap_or_else(|failure| panic!("{failure}"));
        let back = killed + 700;
        let first = summary.decided_at.iter().find(|at| **at > back).copied().unwrap_or_default();
        assert!(first > back && first - back < 300 + 600, "seed {seed}: {} ms after all were back", first - back);
    }
}
