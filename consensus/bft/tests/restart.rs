//! What a validator may do after a crash, and how one that lost its record finds back.

mod common;

use basalt_bft::{Message, Record, Step};
use basalt_consensus::{Input, Verdict};
use basalt_primitives::{B256, Height, Round, SealedBlock};
use common::Bench;

const NOTHING: [&str; 0] = [];

/// Validator `own` has said prepare in 1/0, and crashes.
fn crashed_after_prepare(own: u16) -> (Bench, SealedBlock) {
    let mut b = Bench::new(4, own);
    let a = b.block("A", 0);
    b.from(1, b.proposal(&a, 0));
    assert_eq!(b.judged(&a, Verdict::Valid), ["prepare 1/0 A"]);
    (b, a)
}

#[test]
fn prepare_crash_restart_and_no_other_prepare() {
    let (mut b, _) = crashed_after_prepare(0);
    assert_eq!(b.restart(), ["persist round 1/1", "change 1/1"]);
    let x = b.block("X", 0);
    assert_eq!(b.from(1, b.proposal(&x, 0)), NOTHING);
    for from in 1..4 {
        assert_eq!(b.from(from, Message::Prepare(b.vote(&x, 0))), NOTHING);
    }
}

#[test]
fn propose_crash_restart_and_no_other_proposal() {
    let mut b = Bench::new(4, 1);
    b.work();
    let a = b.block("A", 0);
    b.input(Input::Built { height: Height(1), round: Round(0), block: a });
    assert_eq!(b.restart(), ["persist round 1/1", "change 1/1"]);
    assert_eq!(b.work(), NOTHING);
}

#[test]
fn commit_crash_restart_repeats_the_vote_and_carries_the_lock() {
    let (mut b, a) = crashed_after_prepare(0);
    b.from(1, Message::Prepare(b.vote(&a, 0)));
    b.from(2, Message::Prepare(b.vote(&a, 0)));
    assert_eq!(b.restart(), ["commit 1/0 A", "persist round 1/1", "change 1/1 locked A@0"]);
    assert_eq!(b.restart(), ["commit 1/0 A", "persist round 1/2", "change 1/2 locked A@0"]);
    b.from(2, Message::Commit(b.vote(&a, 0)));
    assert_eq!(b.from(3, Message::Commit(b.vote(&a, 0))), ["final A", "execute A by 3 votes"], "the body is on record");
}

#[test]
fn after_a_restart_two_heights_are_guarded_and_the_third_is_not() {
    let (mut b, a) = crashed_after_prepare(0);
    b.restart();
    let mut head = a;
    for (height, guarded) in [(1, true), (2, true), (3, false)] {
        assert_eq!(b.engine.status().height, Height(height));
        assert_eq!(b.engine.status().round, Round(u32::from(guarded)));
        let certificate = b.certificate(&head, 0, &[1, 2, 3]);
        b.input(Input::Synced { block: head.clone(), certificate: certificate.into() });
        b.executed(&head, false);
        head = b.block("next", 0);
    }
}

#[test]
fn all_restarted_go_on_at_once() {
    let (mut b, a) = crashed_after_prepare(2);
    b.from(1, Message::Prepare(b.vote(&a, 0)));
    b.from(3, Message::Prepare(b.vote(&a, 0)));
    b.restart();
    b.from(0, b.change(1, 1, None));
    assert_eq!(b.from(3, b.change(1, 1, None)), ["propose 1/1 A locked A@0", "prepare 1/1 A"]);
}

#[test]
fn a_key_never_used_starts_in_round_zero_and_only_once() {
    let mut b = Bench::new(4, 0);
    assert_eq!(b.engine.status().round, Round(0));
    assert_eq!(b.restart(), ["persist round 1/1", "change 1/1"]);
}

#[test]
fn a_ledger_older_than_the_record_bars_the_key() {
    let mut b = Bench::new(4, 0);
    b.start(Some(vec![Record::Round { height: Height(50), round: Round(2) }]), false);
    b.work();
    assert_eq!(b.engine.status().step, Step::Barred);
    let a = b.block("A", 0);
    assert_eq!(b.from(1, b.proposal(&a, 0)), NOTHING);
    assert_eq!(b.wait(60_000), NOTHING);
}

#[test]
fn no_record_and_an_empty_record_do_not_vote() {
    for records in [None, Some(Vec::new())] {
        let mut b = Bench::new(4, 0);
        assert_eq!(b.start(records, false), ["ask"]);
        let a = b.block("A", 0);
        b.work();
        assert_eq!(b.from(1, b.proposal(&a, 0)), NOTHING);
        assert!(b.wait(10_000).iter().all(|w| w == "ask"));
        let status = b.engine.status();
        assert_eq!((status.step, status.needed, status.missing), (Step::Recovering, 3, vec![0, 1, 2, 3]));
    }
}

#[test]
fn a_lone_wiped_validator_waits_for_the_operator() {
    let mut b = Bench::new(1, 0);
    assert_eq!(b.start(None, false), ["ask"]);
    b.work();
    assert!(b.wait(100_000).iter().all(|w| w == "ask"));
}

#[test]
fn a_wiped_validator_recovers_with_enough_answers_to_this_question() {
    let mut b = Bench::new(4, 0);
    b.start(None, false);
    assert_eq!(b.from(1, b.sign_state(1, 0, 77, None)), NOTHING);
    assert_eq!(b.from(2, b.sign_state(1, 2, 77, None)), NOTHING);
    assert_eq!(b.from(2, b.sign_state(1, 2, 77, None)), NOTHING, "the same one again");
    assert_eq!(b.from(3, b.sign_state(1, 0, 76, None)), NOTHING, "an answer to an earlier start");
    let words = b.from(3, b.sign_state(1, 1, 77, None));
    assert_eq!(words, ["persist recovered 1/2 unlocked by 3", "persist round 1/3", "change 1/3"]);
    assert_eq!(b.restart(), ["persist round 1/4", "change 1/4"], "the new record holds");
}

#[test]
fn a_wiped_validator_adopts_the_highest_lock_with_its_body() {
    let mut b = Bench::new(4, 0);
    b.start(None, false);
    let a = b.block("A", 0);
    let (low, high) = (b.prepared(&a, 0, &[0, 1, 2]), b.prepared(&a, 1, &[0, 1, 2]));
    b.from(1, b.sign_state(1, 1, 77, Some(low)));
    b.from(2, b.sign_state(1, 2, 77, Some(high)));
    let words = b.from(3, b.sign_state(1, 0, 77, None));
    assert_eq!(words, ["fetch A of 1 from 2"]);
    let words = b.input(Input::Fetched { block: a });
    assert_eq!(words, ["persist recovered 1/2 A by 3", "persist round 1/3", "change 1/3 locked A@1"]);
}

#[test]
fn a_wiped_validator_waits_until_it_has_executed_what_the_others_have() {
    let mut b = Bench::new(4, 0);
    b.start(None, false);
    for from in 1..4 {
        assert_eq!(b.from(from, b.sign_state(2, 0, 77, None)), NOTHING);
    }
    let a = b.block("A", 0);
    let certificate = b.certificate(&a, 0, &[1, 2, 3]);
    let words = b.input(Input::Synced { block: a.clone(), certificate: certificate.into() });
    assert_eq!(words, ["final A", "execute A by 3 votes"]);
    let words = b.executed(&a, false);
    assert_eq!(words, ["persist recovered 2/0 unlocked by 3", "persist round 2/1", "change 2/1"]);
}

#[test]
fn exaggerated_answers_are_left_out_when_enough_others_answer() {
    let mut b = Bench::new(7, 0);
    b.start(None, false);
    b.from(1, b.sign_state(3, 1_000_000, 77, None));
    for from in 2..6 {
        assert_eq!(b.from(from, b.sign_state(1, 0, 77, None)), NOTHING, "five answers are needed");
    }
    let words = b.from(6, b.sign_state(1, 1, 77, None));
    assert_eq!(words, ["persist recovered 1/1 unlocked by 5", "persist round 1/2", "change 1/2"]);
}

#[test]
fn those_with_a_record_answer_and_those_without_do_not() {
    let (mut b, a) = crashed_after_prepare(0);
    b.from(1, Message::Prepare(b.vote(&a, 0)));
    b.from(2, Message::Prepare(b.vote(&a, 0)));
    assert_eq!(b.from(3, b.question(3, 5)), ["state 1/0 locked A@0 to 3"]);
    assert_eq!(b.from(3, b.question(3, 5)), NOTHING, "not again at once");
    b.start(None, false);
    assert_eq!(b.from(3, b.question(3, 6)), NOTHING);
}

#[test]
fn votes_of_heights_long_executed_do_not_matter() {
    let (mut b, a) = crashed_after_prepare(0);
    b.from(1, Message::Prepare(b.vote(&a, 0)));
    b.from(2, Message::Prepare(b.vote(&a, 0)));
    b.head_certificate = Some(b.certificate(&a, 0, &[0, 1, 2]));
    b.head = a;
    assert_eq!(b.restart(), ["persist round 2/1", "change 2/1"]);
    assert_ne!(b.records, vec![Record::Initial { genesis: B256::ZERO }]);
}

/// Two of four lost their records: one other is all that can answer, and an operator has said so.
fn released(answers: u64) -> Bench {
    let mut b = Bench::new(4, 0);
    let genesis = b.head.hash();
    assert_eq!(b.start(Some(vec![Record::Released { genesis, answers }]), false), ["ask"]);
    b
}

#[test]
fn a_released_validator_recovers_with_fewer_answers_and_says_how_many() {
    let mut b = released(2);
    let a = b.block("A", 0);
    b.from(1, b.sign_state(1, 1, 77, None));
    assert!(b.wait(10_000).iter().all(|w| w == "ask"), "one answer is not what the operator said");
    assert_eq!(b.engine.status().needed, 2);
    assert_eq!(b.from(2, b.sign_state(1, 3, 77, Some(b.prepared(&a, 2, &[1, 2, 3])))), ["fetch A of 1 from 2"]);
    let words = b.input(Input::Fetched { block: a });
    assert_eq!(words, ["persist recovered 1/3 A by 2", "persist round 1/4", "change 1/4 locked A@2"]);
    assert_eq!(b.restart(), ["persist round 1/5", "change 1/5 locked A@2"], "the release is used up");
}

#[test]
fn a_released_validator_first_gives_everyone_time_to_answer() {
    let mut b = released(1);
    b.from(1, b.sign_state(1, 0, 77, None));
    assert_eq!(b.wait(4 * 300), ["ask"; 4]);
    b.from(2, b.sign_state(1, 7, 77, None));
    assert_eq!(b.wait(300), ["ask", "persist recovered 1/7 unlocked by 2", "persist round 1/8", "change 1/8"]);
}

#[test]
fn a_released_lone_validator_goes_on() {
    let mut b = Bench::new(1, 0);
    let genesis = b.head.hash();
    b.start(Some(vec![Record::Released { genesis, answers: 0 }]), false);
    let words = b.wait(1_500);
    let end = &words[words.len() - 3..];
    assert_eq!(end, ["persist recovered 1/0 unlocked by 0", "persist round 1/1", "change 1/1"]);
    assert_eq!(b.work(), ["build 1/1 at 1000001"]);
}
