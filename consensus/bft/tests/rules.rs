//! The rules of the state machine, one by one: what goes in, what comes out, in words. Validator 1 proposes 1/0, 2 proposes
//! 1/1, and so on (n = 4 unless said otherwise; f = 1, quorum 3).

mod common;

use basalt_bft::{Message, Record, Step, Vote, sim::test_params};
use basalt_consensus::{Engine, Input, Verdict};
use basalt_primitives::{B256, Height, Round};
use common::Bench;

const NOTHING: [&str; 0] = [];

/// Validator 0 has prepared and committed block A in round 0.
fn locked() -> (Bench, basalt_primitives::SealedBlock) {
    let mut b = Bench::new(4, 0);
    let a = b.block("A", 0);
    b.from(1, b.proposal(&a, 0));
    b.judged(&a, Verdict::Valid);
    b.from(1, Message::Prepare(b.vote(&a, 0)));
    assert_eq!(b.from(2, Message::Prepare(b.vote(&a, 0))), ["persist vote 1/0 A", "commit 1/0 A"]);
    (b, a)
}

#[test]
fn three_phases_of_one_who_does_not_propose() {
    let mut b = Bench::new(4, 0);
    let a = b.block("A", 0);
    assert_eq!(b.work(), NOTHING);
    assert_eq!(b.from(1, b.proposal(&a, 0)), ["validate A"]);
    assert_eq!(b.judged(&a, Verdict::Valid), ["prepare 1/0 A"]);
    assert_eq!(b.from(1, Message::Prepare(b.vote(&a, 0))), NOTHING);
    assert_eq!(b.from(1, Message::Prepare(b.vote(&a, 0))), NOTHING, "one validator counts once");
    assert_eq!(b.from(2, Message::Prepare(b.vote(&a, 0))), ["persist vote 1/0 A", "commit 1/0 A"]);
    assert_eq!(b.from(1, Message::Commit(b.vote(&a, 0))), NOTHING);
    assert_eq!(b.from(3, Message::Commit(b.vote(&a, 0))), ["final A", "execute A by 3 votes"]);
}

#[test]
fn the_proposer_builds_when_there_is_work_and_votes_for_its_own() {
    let mut b = Bench::new(4, 1);
    assert_eq!(b.work(), ["build 1/0 at 1000001"]);
    let a = b.block("A", 0);
    let built = Input::Built { height: Height(1), round: Round(0), block: a };
    assert_eq!(b.input(built), ["propose 1/0 A", "prepare 1/0 A"]);
}

#[test]
fn a_lone_validator_needs_nobody() {
    let mut b = Bench::new(1, 0);
    assert_eq!(b.work(), ["build 1/0 at 1000001"]);
    let a = b.block("A", 0);
    let built = Input::Built { height: Height(1), round: Round(0), block: a.clone() };
    let whole =
        ["propose 1/0 A", "prepare 1/0 A", "persist vote 1/0 A", "commit 1/0 A", "final A", "execute A by 1 votes"];
    assert_eq!(b.input(built), whole);
    b.input(Input::Work { pending: false });
    assert_eq!(b.executed(&a, true), ["build 2/0 at 1000002"], "the results of A want certifying");
}

#[test]
fn nothing_is_said_at_a_height_before_its_parent_is_executed() {
    let (mut b, a) = locked();
    b.from(1, Message::Commit(b.vote(&a, 0)));
    b.from(3, Message::Commit(b.vote(&a, 0)));
    let certificate = b.certificate(&a, 0, &[0, 1, 3]);
    let next = b.block_on(&a, Some(certificate), "B", 0);
    assert_eq!(b.from(2, b.proposal(&next, 0)), NOTHING);
    for from in 1..4 {
        assert_eq!(b.from(from, Message::Prepare(b.vote(&next, 0))), NOTHING);
    }
    assert_eq!(b.wait(5_000), NOTHING);
    let words = b.executed(&a, false);
    assert_eq!(words, ["validate B", "persist vote 2/0 B", "commit 2/0 B"], "the quorum judged it already");
}

#[test]
fn voting_goes_on_while_a_block_is_executed_and_decides_the_next() {
    let (mut b, a) = locked();
    b.from(1, Message::Commit(b.vote(&a, 0)));
    b.from(3, Message::Commit(b.vote(&a, 0)));
    let certificate = b.certificate(&a, 0, &[0, 1, 3]);
    let next = b.block_on(&a, Some(certificate), "B", 0);
    b.from(2, b.proposal(&next, 0));
    b.from(1, Message::Commit(b.vote(&next, 0)));
    b.from(2, Message::Commit(b.vote(&next, 0)));
    assert_eq!(b.from(3, Message::Commit(b.vote(&next, 0))), ["final B", "execute B by 3 votes"]);
}

#[test]
fn a_bad_proposal_ends_its_round() {
    let mut b = Bench::new(4, 0);
    let a = b.block("A", 0);
    b.from(1, b.proposal(&a, 0));
    assert_eq!(b.judged(&a, Verdict::Invalid), ["persist round 1/1", "change 1/1"]);
    let mut b = Bench::new(4, 0);
    let other = b.block("other", 0);
    let stray = b.block_on(&other, None, "stray", 0);
    let mut message = b.proposal(&stray, 0);
    if let Message::Proposal(p) = &mut message {
        p.height = Height(1);
    }
    assert_eq!(b.from(1, message), NOTHING, "another height's block is no proposal at all");
}

#[test]
fn only_the_proposer_of_the_round_proposes() {
    let mut b = Bench::new(4, 0);
    let a = b.block("A", 0);
    assert_eq!(b.from(2, b.proposal(&a, 0)), NOTHING);
    let late = b.block("late", 1);
    assert_eq!(b.from(1, b.proposal(&late, 0)), NOTHING, "a new block carries its round");
}

#[test]
fn an_early_proposal_is_judged_again() {
    let mut b = Bench::new(4, 0);
    let a = b.block("A", 0);
    b.from(1, b.proposal(&a, 0));
    assert_eq!(b.judged(&a, Verdict::NotYet), NOTHING);
    assert_eq!(b.wait(50), ["validate A"]);
    assert_eq!(b.judged(&a, Verdict::Valid), ["prepare 1/0 A"]);
}

#[test]
fn a_failed_build_is_tried_again() {
    let mut b = Bench::new(4, 1);
    b.work();
    assert_eq!(b.input(Input::BuildFailed { height: Height(1), round: Round(0) }), NOTHING);
    assert_eq!(b.wait(50), ["build 1/0 at 1000001"]);
}

#[test]
fn time_runs_only_with_a_reason_and_later_rounds_wait_for_a_quorum() {
    let mut b = Bench::new(4, 0);
    assert_eq!(b.wait(60_000), NOTHING, "idle");
    assert_eq!(b.engine.status().step, Step::Idle);
    b.work();
    assert_eq!(b.wait(299), NOTHING);
    assert_eq!(b.wait(1), ["persist round 1/1", "change 1/1"]);
    let words = b.wait(20_000);
    assert!(words.iter().all(|w| w == "change 1/1") && words.len() > 5, "{words:?}");
    assert_eq!(b.engine.status().step, Step::AwaitingRound);
    assert_eq!(b.engine.status().missing, [1, 2, 3]);
    b.from(1, b.change(1, 1, None));
    b.from(2, b.change(1, 1, None));
    let words = b.wait(600);
    assert_eq!(words.last().map(String::as_str), Some("change 1/2"), "twice the time: {words:?}");
}

#[test]
fn timeouts_double_up_to_the_cap() {
    let b = Bench::new(4, 0);
    let timeouts: Vec<u64> = [0, 1, 2, 3, 4, 31, 32, 33, u32::MAX].map(|r| b.engine.round_timeout(Round(r))).into();
    assert_eq!(timeouts, [300, 600, 1_200, 2_400, 2_400, 2_400, 2_400, 2_400, 2_400]);
}

#[test]
fn f_plus_one_prove_a_round_and_f_do_not() {
    let mut b = Bench::new(4, 0);
    assert_eq!(b.from(1, b.change(1, 9, None)), NOTHING);
    assert_eq!(b.from(1, b.change(1, 7, None)), NOTHING, "a validator counts with its highest");
    assert_eq!(b.from(2, b.change(1, 5, None)), ["persist round 1/5", "change 1/5"]);
    let mut b = Bench::new(7, 0);
    b.from(1, b.change(1, 9, None));
    assert_eq!(b.from(2, b.change(1, 9, None)), NOTHING, "f = 2");
    assert_eq!(b.from(3, b.change(1, 4, None)), ["persist round 1/4", "change 1/4"]);
}

#[test]
fn the_lock_is_carried_into_later_rounds() {
    let (mut b, a) = locked();
    let words = b.wait(300);
    assert_eq!(words.last().map(String::as_str), Some("change 1/1 locked A@0"), "{words:?}");
    // 0 proposes 1/3: with one claim among a quorum the block must be A again, verbatim.
    b.from(1, b.change(1, 3, None));
    assert_eq!(
        b.from(2, b.change(1, 3, None)),
        ["persist round 1/3", "change 1/3 locked A@0", "propose 1/3 A locked A@0", "prepare 1/3 A"]
    );
    assert_eq!(a.header().first_round, Round(0));
}

#[test]
fn without_a_claim_the_proposer_of_a_later_round_builds_anew() {
    let mut b = Bench::new(4, 2);
    b.work();
    b.wait(300);
    b.from(0, b.change(1, 1, None));
    assert_eq!(b.from(3, b.change(1, 1, None)), ["build 1/1 at 1000001"]);
    let a = b.block("A", 1);
    let built = Input::Built { height: Height(1), round: Round(1), block: a };
    assert_eq!(b.input(built), ["propose 1/1 A", "prepare 1/1 A"]);
}

#[test]
fn a_claimed_block_that_is_missing_is_fetched_or_left_out() {
    let mut b = Bench::new(4, 2);
    b.work();
    b.wait(300);
    let a = b.block("A", 0);
    let claim = b.prepared(&a, 0, &[0, 1, 3]);
    b.from(3, b.change(1, 1, Some(claim)));
    assert_eq!(b.from(0, b.change(1, 1, None)), ["fetch A of 1 from 3"]);
    assert_eq!(b.input(Input::Fetched { block: a.clone() }), ["propose 1/1 A locked A@0", "prepare 1/1 A"]);

    let mut b = Bench::new(4, 2);
    b.work();
    b.wait(300);
    let claim = b.prepared(&a, 0, &[0, 1, 3]);
    b.from(3, b.change(1, 1, Some(claim)));
    b.from(0, b.change(1, 1, None));
    assert_eq!(b.from(1, b.change(1, 1, None)), ["build 1/1 at 1000001"], "a quorum without the claim");
}

#[test]
fn a_justified_proposal_leads_to_its_round_and_an_unjustified_one_does_not() {
    let mut b = Bench::new(4, 0);
    let (a, new) = (b.block("A", 0), b.block("N", 1));
    let claim = b.prepared(&a, 0, &[1, 2, 3]);
    for bad in [
        b.proposal(&new, 1),
        b.justified(&new, 1, &[1, 2], None),
        b.justified(&a, 1, &[1, 2, 3], None),
        b.justified(&new, 1, &[1, 2, 3], Some(claim.clone())),
        b.justified(&a, 1, &[1, 2, 3], Some(b.prepared(&a, 0, &[1, 2]))),
        b.justified(&a, 1, &[1, 2, 2], Some(claim.clone())),
    ] {
        assert_eq!(b.from(2, bad), NOTHING);
    }
    assert_eq!(b.from(2, b.justified(&a, 1, &[1, 2, 3], Some(claim))), ["persist round 1/1", "prepare 1/1 A"]);
}

#[test]
fn stripping_the_claim_from_a_justification_is_noticed() {
    let mut b = Bench::new(4, 0);
    let (a, new) = (b.block("A", 0), b.block("N", 1));
    let claim = b.prepared(&a, 0, &[1, 2, 3]);
    let mut message = b.justified(&a, 1, &[1, 2, 3], Some(claim));
    if let Message::Proposal(p) = &mut message {
        (p.block, p.prepared) = (new, None);
    }
    assert_eq!(b.from(2, message), NOTHING);
}

#[test]
fn after_leaving_a_round_nothing_is_committed_in_it() {
    let mut b = Bench::new(4, 0);
    let a = b.block("A", 0);
    b.work();
    b.from(1, b.proposal(&a, 0));
    b.judged(&a, Verdict::Valid);
    let words = b.wait(300);
    assert_eq!(words.last().map(String::as_str), Some("change 1/1"));
    b.from(1, Message::Prepare(b.vote(&a, 0)));
    assert_eq!(b.from(2, Message::Prepare(b.vote(&a, 0))), NOTHING);
    b.from(1, Message::Commit(b.vote(&a, 0)));
    b.from(2, Message::Commit(b.vote(&a, 0)));
    assert_eq!(b.from(3, Message::Commit(b.vote(&a, 0))), ["final A", "execute A by 3 votes"], "yet it is decided");
}

#[test]
fn commits_of_different_rounds_do_not_add_up() {
    let mut b = Bench::new(4, 0);
    let a = b.block("A", 0);
    b.from(1, b.proposal(&a, 0));
    for (from, round) in [(1, 0), (2, 1), (3, 2)] {
        let words = b.from(from, Message::Commit(b.vote(&a, round)));
        assert!(!words.iter().any(|w| w.starts_with("final")), "{words:?}");
    }
}

#[test]
fn a_decided_block_that_is_missing_is_fetched() {
    let mut b = Bench::new(4, 0);
    let a = b.block("A", 0);
    b.from(1, Message::Commit(b.vote(&a, 0)));
    b.from(2, Message::Commit(b.vote(&a, 0)));
    assert_eq!(b.from(3, Message::Commit(b.vote(&a, 0))), ["fetch A of 1 from 1"]);
    assert_eq!(b.input(Input::FetchFailed { block: a.hash() }), NOTHING);
    assert_eq!(b.wait(50), ["fetch A of 1 from 1"]);
    assert_eq!(b.input(Input::Fetched { block: a }), ["final A", "execute A by 3 votes"]);
}

#[test]
fn a_certificate_shown_by_a_peer_decides() {
    let mut b = Bench::new(4, 0);
    let a = b.block("A", 0);
    assert_eq!(b.from(2, Message::Decided(b.certificate(&a, 0, &[1, 2]))), NOTHING, "no quorum");
    assert_eq!(b.from(2, Message::Decided(b.certificate(&a, 3, &[1, 2, 3]))), ["fetch A of 1 from 1"]);
    assert_eq!(b.input(Input::Fetched { block: a }), ["final A", "execute A by 3 votes"]);
}

#[test]
fn a_synced_block_is_decided_only_in_its_turn() {
    let mut b = Bench::new(4, 0);
    let a = b.block("A", 0);
    let certificate = b.certificate(&a, 0, &[1, 2, 3]);
    let next = b.block_on(&a, Some(certificate.clone()), "B", 0);
    let of_next = b.certificate(&next, 0, &[1, 2, 3]);
    let synced = |block: &basalt_primitives::SealedBlock, c: &basalt_primitives::CommitCertificate| Input::Synced {
        block: block.clone(),
        certificate: c.clone().into(),
    };
    assert_eq!(b.input(synced(&next, &of_next)), NOTHING);
    assert_eq!(b.input(synced(&a, &of_next)), NOTHING, "another block's certificate");
    assert_eq!(b.input(synced(&a, &certificate)), ["final A", "execute A by 3 votes"]);
    assert_eq!(b.input(synced(&a, &certificate)), NOTHING);
    assert_eq!(b.input(synced(&next, &of_next)), ["final B", "execute B by 3 votes"]);
}

#[test]
fn stragglers_are_told_but_votes_under_way_are_not_answered() {
    let (mut b, a) = locked();
    b.from(1, Message::Commit(b.vote(&a, 0)));
    b.from(3, Message::Commit(b.vote(&a, 0)));
    b.executed(&a, false);
    assert_eq!(b.from(2, Message::Commit(b.vote(&a, 0))), NOTHING);
    assert_eq!(b.from(2, b.change(1, 1, None)), ["decided 1/0 A to 2"]);
    assert_eq!(b.from(2, b.change(1, 2, None)), NOTHING, "not again at once");
    b.wait(150);
    assert_eq!(b.from(2, Message::Commit(b.vote(&a, 0))), ["decided 1/0 A to 2"]);
    assert_eq!(b.from(3, Message::Decided(b.certificate(&a, 0, &[0, 1, 3]))), NOTHING);
}

#[test]
fn contradictions_are_reported_once_each() {
    let mut b = Bench::new(4, 0);
    let (a, x) = (b.block("A", 0), b.block("X", 0));
    assert_eq!(b.from(1, b.proposal(&a, 0)), ["validate A"]);
    assert_eq!(b.from(1, b.proposal(&x, 0)), ["report 1 proposal"]);
    b.from(2, Message::Prepare(b.vote(&a, 0)));
    assert_eq!(b.from(2, Message::Prepare(b.vote(&x, 0))), ["report 2 prepare"]);
    assert_eq!(b.from(2, Message::Prepare(b.vote(&x, 0))), NOTHING);
    assert_eq!(b.from(2, Message::Prepare(b.vote(&x, 1))), NOTHING, "another round is another vote");
    b.from(2, Message::Commit(b.vote(&a, 0)));
    assert_eq!(b.from(2, Message::Commit(b.vote(&x, 0))), ["report 2 commit"]);
}

#[test]
fn what_was_said_is_repeated_ever_more_seldom() {
    let mut b = Bench::new(4, 1);
    b.work();
    let a = b.block("A", 0);
    b.input(Input::Built { height: Height(1), round: Round(0), block: a.clone() });
    b.from(3, Message::Prepare(b.vote(&a, 0)));
    assert_eq!(b.wait(150), ["propose 1/0 A to 0", "propose 1/0 A to 2", "prepare 1/0 A"], "3 has it");
    assert_eq!(b.wait(149), NOTHING);
}

#[test]
fn a_slow_round_of_a_live_proposer_makes_the_next_ones_longer() {
    let mut b = Bench::new(4, 0);
    let a = b.block("A", 0);
    b.work();
    b.from(1, b.proposal(&a, 0));
    b.judged(&a, Verdict::Valid);
    assert_eq!(b.wait(300).last().map(String::as_str), Some("change 1/1"));
    for from in 1..4 {
        b.from(from, Message::Commit(b.vote(&a, 1)));
    }
    assert_eq!(b.engine.round_timeout(Round(0)), 600);
    let timing = b.engine.timing();
    assert_eq!((timing.base_ms, timing.cap_ms, timing.heights, timing.warning()), (600, 2_400, 0, None));
}

#[test]
fn a_round_of_a_dead_proposer_teaches_nothing() {
    let mut b = Bench::new(4, 0);
    let a = b.block("A", 1);
    b.work();
    b.wait(300);
    b.from(2, b.justified(&a, 1, &[1, 2, 3], None));
    for from in 1..4 {
        b.from(from, Message::Commit(b.vote(&a, 1)));
    }
    assert_eq!(b.engine.round_timeout(Round(0)), 300);
}

#[test]
fn pacing_and_heartbeats() {
    let paced = |empty| {
        let params = basalt_primitives::chainspec::BftParams {
            block_interval_ms: 1_000,
            empty_block_ms: empty,
            ..test_params()
        };
        let mut b = Bench::with_params(4, 1, params);
        b.start(Some(vec![Record::Initial { genesis: B256::ZERO }]), false);
        b
    };
    let mut b = paced(None);
    assert_eq!(b.wait(60_000), NOTHING);
    assert_eq!(b.work(), ["build 1/0 at 1001000"]);
    let mut b = paced(None);
    assert_eq!(b.work(), NOTHING);
    assert_eq!(b.wait(1_000), ["build 1/0 at 1001000"]);
    assert_eq!(paced(Some(0)).wait(1_000), ["build 1/0 at 1001000"]);
    let mut b = paced(Some(5_000));
    assert_eq!(b.wait(4_999), NOTHING);
    assert_eq!(b.wait(1), ["build 1/0 at 1001000"]);
}

#[test]
fn a_wall_clock_fires_nothing() {
    let mut b = Bench::new(4, 0);
    b.work();
    for wall in [0, u64::MAX, 1, 1 << 40] {
        assert!(b.engine.step(b.now, wall, Input::Tick).is_empty());
    }
}

#[test]
fn a_follower_decides_and_says_nothing() {
    let mut b = Bench::with_params(4, 0, test_params());
    b.own = 9; // No validator's index: the engine has a key outside the set.
    b.start(None, false);
    let a = b.block("A", 0);
    b.work();
    assert_eq!(b.from(1, b.proposal(&a, 0)), NOTHING);
    for from in 1..3 {
        assert_eq!(b.from(from, Message::Commit(b.vote(&a, 0))), NOTHING);
    }
    assert_eq!(b.from(3, Message::Commit(b.vote(&a, 0))), ["final A", "execute A by 3 votes"]);
    assert_eq!(b.engine.deadline(), None);
}

#[test]
fn rounds_beyond_the_bound_and_floods_cost_nothing() {
    let mut b = Bench::new(4, 0);
    for from in 1..4 {
        assert_eq!(b.from(from, b.change(1, u32::MAX, None)), NOTHING);
    }
    for round in 0..10_000 {
        let vote = Vote { height: Height(1), round: Round(round), block_hash: B256::repeat_byte(round as u8) };
        assert_eq!(b.from(3, Message::Commit(vote)), NOTHING);
        assert_eq!(b.from(3, Message::Prepare(Vote { height: Height(2), ..vote })), NOTHING);
        assert_eq!(b.from(3, Message::Prepare(Vote { height: Height(9), ..vote })), NOTHING);
    }
    let debug = format!("{:?}", b.engine);
    assert!(debug.len() < 40_000, "the flood was kept: {} bytes", debug.len());
    assert_eq!(b.engine.status().seen, Height(9));
}
