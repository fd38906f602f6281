//! Rule by rule: what goes in, and what must come out.

mod common;

use basalt_consensus::{Engine, Input, Verdict};
use basalt_pow::{Record, Refusal, Root, Work};
use basalt_primitives::{Height, Seal, U256};
use common::{Bench, GENESIS_MS};

const NOTHING: [&str; 0] = [];

#[test]
fn a_header_is_fetched_judged_written_made_the_head_and_announced() {
    let mut b = Bench::new();
    let a1 = b.block("a1", "genesis", 10_000);
    assert_eq!(b.headers(3, std::slice::from_ref(&a1)), ["fetch a1 from 3"]);
    assert_eq!(b.input(Input::Fetched { block: a1.clone() }), ["judge a1"]);
    assert_eq!(
        b.input(Input::Validated { block: a1.hash(), verdict: Verdict::Valid }),
        ["write a1", "head a1 safe genesis final genesis: at genesis undo [] do [a1]", "announce a1 to all"]
    );
    assert_eq!(b.headers(4, &[a1]), NOTHING, "known");
}

#[test]
fn more_work_wins_and_of_equal_work_the_first_seen() {
    let mut b = Bench::new();
    let a = b.row("a", "genesis", 2);
    b.take(&a);
    // The same parent, so the same target, so the same work: not even fetched.
    let x = b.block("x", "a1", 9_000);
    assert_eq!(b.headers(1, std::slice::from_ref(&x)), NOTHING);
    let y = b.block("y", "x", 9_000);
    let words = b.take(&[y]);
    assert!(words.contains(&"head y safe genesis final genesis: at a1 undo [a2] do [x,y]".to_owned()), "{words:?}");
    // Fewer blocks of more work: z is on schedule, so harder than those that come late.
    let late = b.block("late", "y", 20_000_000);
    b.wall += 40_000_000;
    b.take(&[late]);
    let easy = b.row("easy", "late", 2);
    b.take(&easy);
    let before = b.engine.status().expect("started").work;
    let hard = b.row("hard", "y", 3);
    let words = b.take(&hard);
    assert!(b.engine.status().expect("started").work > before, "{words:?}");
    assert!(words.iter().any(|w| w.contains("undo [easy2,easy1,late] do [hard1,hard2")), "{words:?}");
}

#[test]
fn what_breaks_a_rule_of_headers_is_refused() {
    let mut b = Bench::new();
    let row = b.row("a", "genesis", 12);
    b.take(&row);
    let median = b.blocks["a7"].header().timestamp_ms;
    type Spoil = Box<dyn FnOnce(&mut basalt_primitives::Header)>;
    type Is = fn(Refusal) -> bool;
    let cases: Vec<(&str, Spoil, Is)> = vec![
        ("height", Box::new(|h| h.height = Height(14)), |r| matches!(r, Refusal::Height(Height(14)))),
        ("easier", Box::new(|h| h.seal = Seal::Work { target: U256::MAX >> 1, nonce: 0 }), |r| {
            matches!(r, Refusal::Target { .. })
        }),
        ("harder", Box::new(|h| h.seal = Seal::Work { target: U256::MAX >> 4, nonce: 0 }), |r| {
            matches!(r, Refusal::Target { .. })
        }),
        ("the median", Box::new(move |h| h.timestamp_ms = median), |r| matches!(r, Refusal::Median { .. })),
        ("long ago", Box::new(|h| h.timestamp_ms = 0), |r| matches!(r, Refusal::Median { .. })),
    ];
    for (n, (name, change, expected)) in cases.into_iter().enumerate() {
        let bad = b.block_with(name, "a12", 10_000, change);
        assert_eq!(b.headers(1, &[bad]), NOTHING, "{name}");
        let status = b.engine.status().expect("started");
        assert_eq!(status.refused, n as u64 + 1, "{name}");
        assert!(status.last_refusal.is_some_and(expected), "{name}: {:?}", status.last_refusal);
    }
    let just = b.block_with("just above", "a12", 0, |h| h.timestamp_ms = median + 1);
    assert_eq!(b.headers(1, &[just]), ["fetch just above from 1"], "time may go back, as long as the median does not");
}

#[test]
fn an_unsealed_header_cannot_be_had() {
    let mut b = Bench::new();
    let block = b.block("a", "genesis", 10_000);
    let mut header = block.header().clone();
    let Seal::Work { target, nonce } = header.seal else { panic!("it is sealed") };
    let misses = (0..1_000).filter(|n| {
        header.seal = Seal::Work { target, nonce: nonce + n };
        common::SEALING.check(header.clone()).is_err()
    });
    let misses = misses.count();
    assert!((650..850).contains(&misses), "three of four nonces miss a target of a quarter: {misses}");
    header.seal = Seal::Work { target: U256::ZERO, nonce };
    assert!(common::SEALING.check(header.clone()).is_err(), "nothing meets 0");
    header.seal = Seal::Work { target: U256::MAX, nonce };
    assert!(common::SEALING.check(header.clone()).is_ok(), "everything meets the greatest");
    header.seal = Seal::None;
    assert!(common::SEALING.check(header).is_err());
}

#[test]
fn early_headers_wait_for_the_clock() {
    let mut b = Bench::new();
    b.wall = GENESIS_MS + 10_000;
    let early = b.block("early", "genesis", 40_000);
    assert_eq!(b.headers(1, &[early]), NOTHING);
    assert!(b.engine.explain().iter().any(|w| w.contains("check this node's clock")), "{:?}", b.engine.explain());
    assert!(
        b.engine.deadline().is_some_and(|at| at <= 10_000),
        "looked at again within an interval, should the clock be set"
    );
    assert_eq!(b.wait(14_999), NOTHING);
    assert_eq!(b.wait(1), ["fetch early from 1"]);
}

#[test]
fn orphans_are_asked_for_kept_in_bounds_and_taken_up() {
    let mut b = Bench::new();
    let row = b.row("a", "genesis", 5);
    assert_eq!(b.headers(7, &row[3..4]), ["ask 7 after genesis"]);
    assert_eq!(b.headers(7, &row[4..5]), NOTHING, "it has been asked");
    let words = b.headers(2, &row[..3]);
    assert_eq!(words.len(), 5, "all five are fetched now: {words:?}");
    b.obey(words);
    assert_eq!(b.engine.status().map(|s| (s.head, s.orphans)), Some((Height(5), 0)));
    // A peer that sends nothing but orphans crowds out its own, not those of others.
    let far = b.row("far", "a5", 400);
    b.headers(9, &far[399..]);
    for block in &far[100..300] {
        b.headers(8, std::slice::from_ref(block));
    }
    let status = b.engine.status().expect("started");
    assert!(status.orphans <= 17 && status.orphans > 1, "{status:?}");
}

#[test]
fn withheld_bodies_do_not_hold_up_others() {
    let mut b = Bench::new();
    let held = b.row("held", "genesis", 3);
    let mut words = b.headers(5, &held);
    assert_eq!(words.len(), 3);
    let given = b.row("given", "genesis", 2);
    assert_eq!(b.headers(6, &given), NOTHING, "less work");
    for _ in 0..40 {
        for name in ["held1", "held2", "held3"] {
            let block = b.blocks[name].hash();
            words.extend(b.input(Input::FetchFailed { block }));
        }
        words.extend(b.wait(1_000));
        if words.iter().any(|w| w.starts_with("fetch given")) {
            break;
        }
    }
    let words = words.into_iter().filter(|w| w.starts_with("fetch given")).collect();
    b.obey(words);
    assert_eq!(b.name(b.engine.status().expect("started").head_hash), "given2");
    assert!(b.engine.explain().iter().any(|w| w.contains("no peer gives their blocks")));
    // When somebody has them after all, they win.
    let words = b.wait(31_000);
    b.obey(words);
    assert_eq!(b.name(b.engine.status().expect("started").head_hash), "held3");
}

#[test]
fn an_invalid_block_bars_what_rests_on_it() {
    let mut b = Bench::new();
    let bad = b.row("bad", "genesis", 3);
    let words = b.headers(1, &bad);
    for word in words {
        let name = word.strip_prefix("fetch ").and_then(|w| w.split(' ').next()).expect("a fetch");
        let block = b.blocks[name].clone();
        b.input(Input::Fetched { block });
    }
    assert_eq!(b.input(Input::Validated { block: bad[0].hash(), verdict: Verdict::Invalid }), NOTHING);
    let more = b.row("more", "bad3", 1);
    assert_eq!(b.headers(1, &more), NOTHING);
    assert_eq!(b.engine.status().and_then(|s| s.last_refusal), Some(Refusal::OnInvalid));
    let good = b.row("good", "genesis", 1);
    assert_eq!(b.take(&good).last().map(String::as_str), Some("announce good1 to all"), "less work, and valid");
}

/// Ten blocks, of which four are final, and a branch from below them with more work.
fn deep() -> (Bench, Vec<String>) {
    let mut b = Bench::new();
    let a = b.row("a", "genesis", 10);
    b.take(&a);
    assert_eq!(b.engine.status().map(|s| (s.safe, s.finalized)), Some((Height(7), Height(4))));
    let deep = b.row("deep", "a3", 9);
    let words = b.headers(2, &deep);
    (b, words)
}

#[test]
fn a_branch_from_below_finality_is_refused_with_an_alarm() {
    let (mut b, words) = deep();
    assert_eq!(words, ["ALARM deep9 parts at a3"]);
    let more = b.row("deeper", "deep9", 4);
    assert_eq!(b.headers(2, &more), NOTHING, "one branch, one alarm");
    assert!(b.engine.explain()[0].starts_with("ALARM"), "{:?}", b.engine.explain());
    // One from the newest final block itself is not too deep.
    let allowed = b.row("allowed", "a4", 7);
    let words = b.take(&allowed);
    let switch = "head allowed7 safe allowed4 final allowed1: at a4 undo [a10,a9,a8,a7,a6,a5] \
                  do [allowed1,allowed2,allowed3,allowed4,allowed5,allowed6,allowed7]";
    assert!(
        words.contains(&switch.replace("final allowed1", "final a5")) || words.contains(&switch.to_owned()),
        "{words:?}"
    );
}

#[test]
fn a_checkpoint_turns_the_node_to_the_other_branch() {
    let (mut b, _) = deep();
    let block = b.blocks["deep2"].hash();
    let words = b.input(Input::Checkpoint { height: Height(5), block });
    assert_eq!(words[0], "write checkpoint 5 deep2");
    assert!(b.engine.explain().iter().any(|w| w.contains("not on this node's chain")), "{:?}", b.engine.explain());
    let words = b.obey(words);
    let first = words.iter().find(|w| w.starts_with("head")).expect("it turns");
    assert!(
        first.starts_with("head deep2") && first.contains("at a3 undo [a10,a9,a8,a7,a6,a5,a4] do [deep1,deep2]"),
        "{words:?}"
    );
    let status = b.engine.status().expect("started");
    assert_eq!((b.name(status.head_hash).as_str(), status.alarm, status.redirected), ("deep9", None, false));
    // The old chain is refused now, whatever work it gets.
    let more = b.row("old", "a10", 9);
    let words = b.take(&more);
    assert_eq!(words, NOTHING, "the operator has spoken");
    assert_eq!(b.engine.status().map(|s| (s.head, s.alarm)), Some((Height(12), None)));
}

#[test]
fn a_checkpoint_on_the_own_chain_is_final_at_once_and_one_ahead_bars_others() {
    let mut b = Bench::new();
    let a = b.row("a", "genesis", 4);
    b.take(&a);
    let block = b.blocks["a3"].hash();
    b.input(Input::Checkpoint { height: Height(3), block });
    assert_eq!(b.engine.status().map(|s| s.finalized), Some(Height(3)));
    let x = b.row("x", "a2", 4);
    assert_eq!(b.take(&x), NOTHING, "the operator has spoken: no alarm");
    assert_eq!(b.engine.status().and_then(|s| s.last_refusal), Some(Refusal::Checkpoint(Height(3))));
    // One that has not been seen: other blocks of its height are refused until it comes.
    let right = b.row("right", "a4", 2);
    let wrong = b.row("wrong", "a4", 3);
    let block = b.blocks["right2"].hash();
    b.input(Input::Checkpoint { height: Height(6), block });
    b.take(&wrong);
    assert_eq!(
        b.engine.status().map(|s| (s.head, s.last_refusal)),
        Some((Height(5), Some(Refusal::Checkpoint(Height(6)))))
    );
    b.take(&right);
    assert_eq!(b.engine.status().map(|s| (b.name(s.head_hash), s.finalized)), Some(("right2".to_owned(), Height(6))));
}

#[test]
fn a_restart_takes_up_what_was_written_and_judges_it_again() {
    let mut b = Bench::new();
    let a = b.row("a", "genesis", 14);
    b.take(&a);
    let side = b.row("side", "a12", 3);
    b.take(&side);
    // Final up to 9. The ledger has those; the driver gives the last of them and what lies above.
    let time = |n: usize| a[n - 1].header().timestamp_ms;
    let root = Root {
        hash: a[6].hash(),
        height: Height(7),
        time_ms: time(7),
        target: Bench::sealed(&a[6]).target(),
        work: Work::from_stored(U256::from(28)),
        first_ms: time(1),
        times_below: (1..7).rev().map(time).chain([GENESIS_MS]).collect(),
    };
    let above = b.records.iter().filter(|r| matches!(r, Record::Block(block) if block.height() > Height(9))).cloned();
    let trunk = [8, 9].map(|n| Record::Trunk(Bench::sealed(&a[n - 1])));
    let records: Vec<Record> = [Record::Root(root)].into_iter().chain(trunk).chain(above).collect();
    let before = b.engine.status().expect("started");
    let words = b.restart(records);
    assert_eq!(words[0], "head a9 safe a9 final a9");
    let words = b.obey(words);
    let after = b.engine.status().expect("started");
    assert_eq!((after.head_hash, after.work, after.finalized), (before.head_hash, before.work, before.finalized));
    assert!(!words.iter().any(|w| w.starts_with("write")), "it is written already: {words:?}");
}

#[test]
fn mining_builds_on_the_head_sets_the_target_and_judges_its_own_block() {
    let mut b = Bench::new();
    assert_eq!(b.input(Input::Mine { on: true }), ["build 1 on genesis"]);
    let block = b.block_with("mine", "genesis", 10_000, |h| h.proposer = basalt_primitives::Address::repeat_byte(9));
    let mut unsealed = block.block().clone();
    unsealed.header.seal = Seal::None;
    let built = basalt_primitives::SealedBlock::new(unsealed, basalt_primitives::HashFn::Sha256);
    let words = b.input(Input::Built { height: Height(1), round: basalt_primitives::Round::ZERO, block: built });
    assert_eq!(words, ["seal 1"]);
    assert_eq!(b.input(Input::Sealed { block: block.clone() }), ["judge mine"]);
    let words = b.input(Input::Validated { block: block.hash(), verdict: Verdict::Valid });
    assert_eq!(words[0], "write mine");
    assert_eq!(words.last().map(String::as_str), Some("build 2 on mine"));
    // A fresh template from time to time, and at once when transactions come.
    assert_eq!(b.wait(1_000), NOTHING);
    assert_eq!(b.input(Input::Work { pending: true }), ["build 2 on mine"]);
    assert_eq!(b.wait(2_500), ["build 2 on mine"]);
    b.input(Input::Mine { on: false });
    assert!(!b.wait(2_500).iter().any(|w| w.starts_with("build")));
}

#[test]
fn a_full_answer_is_followed_by_the_next_question() {
    let mut b = Bench::new();
    let row = b.row("a", "genesis", 520);
    let words = b.headers(4, &row[..512]);
    assert_eq!(words[0], "ask 4 after a512");
    assert_eq!(
        words.iter().filter(|w| w.starts_with("fetch")).count(),
        16,
        "bodies follow, a few at a time: {words:?}"
    );
    let words = b.headers(4, &row[512..]);
    assert!(words.iter().all(|w| !w.starts_with("ask")), "it was not full: {words:?}");
    assert_eq!(b.engine.status().map(|s| (s.best_header, s.behind, s.fetching)), Some((Height(520), 520, 16)));
    // Not in a row: nothing of it is taken.
    let other = b.row("x", "a520", 3);
    assert_eq!(b.headers(5, &[other[0].clone(), other[2].clone()]), NOTHING);
    assert_eq!(b.engine.status().map(|s| s.best_header), Some(Height(520)));
}

#[test]
fn a_peer_is_told_what_follows_the_newest_block_that_both_have() {
    let mut b = Bench::new();
    let a = b.row("a", "genesis", 6);
    b.take(&a);
    let x = b.row("x", "a2", 2);
    b.take(&x);
    let hash = |name: &str| b.blocks[name].hash();
    let after = |names: &[&str], limit| {
        let locator: Vec<_> = names.iter().map(|name| hash(name)).collect();
        let after = b.engine.after(&locator, limit)?;
        Some(after.into_iter().map(|h| b.name(h)).collect::<Vec<_>>().join(","))
    };
    assert_eq!(after(&["a4", "a1"], 10).as_deref(), Some("a5,a6"));
    assert_eq!(
        after(&["x2", "x1", "a2", "genesis"], 3).as_deref(),
        Some("a3,a4,a5"),
        "where its branch leaves this chain"
    );
    assert_eq!(after(&["a6"], 10).as_deref(), Some(""), "it has everything");
    let stranger = basalt_primitives::B256::repeat_byte(9);
    assert_eq!(b.engine.after(&[stranger], 10), None, "the ledger may know");
}
