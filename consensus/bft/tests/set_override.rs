//! The set override (ADR-0015) at the engine: what was locked before holds, all that remain decide, and whoever comes back
//! with a key that was declared lost decides nothing, neither with the remaining nor against them.

mod common;

use std::sync::Arc;

use basalt_bft::{Bft, Config, Message, MessageError, SignedMessage, election, sim::test_params};
use basalt_consensus::{Input, sim::Lab};
use basalt_primitives::{Height, PublicKey, Round, Signature, ValidatorSet};
use common::{Bench, net::Net};
use rand::{RngExt as _, SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;

fn marked(b: &Bench, lost: &[u16], old_locks: bool) -> ValidatorSet {
    let key = |i: &u16| b.lab.set().get(*i).expect("a member").public_key;
    let keys: Vec<PublicKey> = lost.iter().map(key).collect();
    b.lab.set().without(&keys, old_locks).expect("somebody remains")
}

fn signed(from: u16, message: Message) -> SignedMessage {
    SignedMessage { from, message, signature: Signature([0; 64]) }
}

#[test]
fn the_lost_are_not_heard_and_never_propose() {
    let mut b = Bench::new(4, 0);
    let set = marked(&b, &[2, 3], true);
    let a = b.block("A", 1);
    for message in [
        Message::Prepare(b.vote(&a, 1)),
        Message::Commit(b.vote(&a, 1)),
        b.change(1, 1, None),
        b.proposal(&a, 0),
        b.sign_state(1, 0, 1, None),
        Message::Decided(b.certificate(&a, 1, &[0, 1])),
    ] {
        assert_eq!(signed(3, message.clone()).check(&set), Err(MessageError::LostSigner(3)), "{message:?}");
    }
    for height in 1..20 {
        let order = election::order(&set, &election::Absences::default(), Height(height));
        assert_eq!(order.len(), 2);
        assert!(order.iter().all(|index| *index < 2), "{order:?}");
    }
}

#[test]
fn certificates_need_all_that_remain_and_old_locks_a_quorum_of_all() {
    let mut b = Bench::new(4, 0);
    let (first, second) = (marked(&b, &[2, 3], true), marked(&b, &[2, 3], false));
    let a = b.block("A", 0);
    let ok = |set: &ValidatorSet, message: Message| signed(0, message).check(set).is_ok();
    let decided = |by: &[u16]| Message::Decided(b.certificate(&a, 0, by));
    for set in [&first, &second] {
        assert!(ok(set, decided(&[0, 1])));
        assert!(!ok(set, decided(&[0])), "one of two that remain");
        assert!(!ok(set, decided(&[0, 2, 3])), "a quorum of all, but not all that remain");
    }
    let locked = |by: &[u16]| b.change(1, 1, Some(b.prepared(&a, 0, by)));
    assert!(ok(&first, locked(&[0, 2, 3])), "a lock of before");
    assert!(!ok(&second, locked(&[0, 2, 3])), "nobody can have been locked at the second height before");
    assert!(ok(&first, locked(&[0, 1])) && ok(&second, locked(&[0, 1])));
    assert!(!ok(&first, locked(&[0, 2])));
    // A claim of a lost one cannot be slipped into a justification.
    let late = b.block("late", 1);
    let lost_claims = b.justified(&late, 1, &[0, 1, 3], None);
    assert_eq!(signed(1, lost_claims).check(&first), Err(MessageError::LostSigner(3)));
}

#[test]
fn a_lock_of_the_old_set_is_proposed_again_and_committed_by_the_remaining() {
    // Validator 0 locks block A at 1/0 with the votes of 1 and 2, who are lost thereafter.
    let mut b = Bench::new(4, 0);
    let a = b.block("A", 0);
    b.from(1, b.proposal(&a, 0));
    b.judged(&a, basalt_consensus::Verdict::Valid);
    b.from(1, Message::Prepare(b.vote(&a, 0)));
    assert_eq!(b.from(2, Message::Prepare(b.vote(&a, 0))), ["persist vote 1/0 A", "commit 1/0 A"]);
    // Restarted with the override; only 3 remains beside it, and knows nothing of A.
    let set = Arc::new(marked(&b, &[1, 2], true));
    b.start_with(&set);
    let words = b.wait(1);
    assert!(words.is_empty() || words.iter().all(|w| !w.contains("final")), "{words:?}");
    let (old, round) = (b.prepared(&a, 0, &[0, 1, 2]), b.engine.status().round.0);
    assert!(round > 0, "R1: never again in round 0");
    let own_claim = b.change(1, round, Some(old.clone()));
    assert!(signed(0, own_claim).check(&set).is_ok(), "its round change is taken by 3");
    let proposer = election::proposer(&set, &election::Absences::default(), Height(1), Round(round));
    let words = if proposer == 0 {
        b.from(3, b.change(1, round, None))
    } else {
        b.from(3, b.justified(&a, round, &[0, 3], Some(old)))
    };
    assert!(words.iter().any(|w| w.starts_with(&format!("prepare 1/{round} A"))), "{words:?}");
    // The lost vote for something else, in vain.
    let other = b.block("other", 0);
    for from in [1, 2] {
        for message in [Message::Prepare(b.vote(&other, round)), Message::Commit(b.vote(&other, round))] {
            assert!(b.from(from, message).is_empty(), "a lost one is not heard");
        }
        assert!(b.from(from, Message::Commit(b.vote(&a, round))).is_empty());
    }
    let words = b.from(3, Message::Prepare(b.vote(&a, round)));
    assert_eq!(words, [format!("persist vote 1/{round} A"), format!("commit 1/{round} A")]);
    let words = b.from(3, Message::Commit(b.vote(&a, round)));
    assert_eq!(words, ["final A", "execute A by 2 votes"]);
}

#[test]
fn a_wiped_one_that_remains_asks_all_others_that_remain() {
    let b = Bench::new(7, 0);
    let set = marked(&b, &[4, 5, 6], true);
    let own = b.lab.set().get(0).map(|v| v.public_key);
    let mut engine = Bft::new(Config { key: own, genesis: b.lab.genesis().hash(), params: test_params() });
    let restored = b.restored(&Arc::new(set), None);
    basalt_consensus::Engine::step(&mut engine, 0, 0, Input::Restored(restored));
    let status = engine.status();
    assert_eq!((status.step, status.needed, status.power), (basalt_bft::Step::Recovering, 3, 0));
    assert_eq!(status.missing, [0, 1, 2, 3], "nobody waits for the lost");
}

/// Four to seven validators; some are lost in the middle of a height, the others go on by an override, and the lost come
/// back without knowing of it, while messages get lost.
/// Gives back whether one that remains was locked.
fn lost_and_back(seed: u64) -> bool {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let n: usize = rng.random_range(4..=7);
    let mut net = Net::new(n, move |_| (0..n).collect());
    let quorum = net.set(1).quorum() as usize;
    let mut all: Vec<usize> = (0..n).collect();
    all.shuffle(&mut rng);
    // More than a quorum can do without, fewer than a quorum.
    let count = rng.random_range(n - quorum + 1..quorum);
    let (lost, remain) = all.split_at(count);
    (0..n).for_each(|i| net.start(i));
    net.loss = Some((ChaCha8Rng::seed_from_u64(seed + 1), rng.random_range(0..30)));
    net.run_for(rng.random_range(1..400));
    lost.iter().for_each(|i| net.stop(*i));
    net.run_for(rng.random_range(1..3000));
    remain.iter().for_each(|i| net.stop(*i));

    let first = remain.iter().map(|i| net.height(*i)).max().unwrap_or(0) + 1;
    let locks = remain.iter().filter_map(|i| net.lock(*i, first));
    let lock = locks.max_by_key(|(round, _)| *round).map(|(_, block)| block);
    net.lost = Some((first, lost.to_vec()));
    net.unaware = lost.iter().copied().collect();
    let back_first = rng.random_bool(0.5);
    if back_first {
        lost.iter().for_each(|i| net.start(*i));
    }
    for i in remain {
        net.start(*i);
        net.run_for(rng.random_range(1..200));
    }
    if !back_first {
        lost.iter().for_each(|i| net.start(*i));
    }
    net.run_for(rng.random_range(1..2000));
    net.loss = None;
    net.run_some_to(remain, first + 4, 60_000);
    for i in remain {
        let decided = net.nodes[*i].ledger[first as usize].0.hash();
        assert!(
            lock.is_none_or(|locked| locked == decided),
            "seed {seed}: the highest lock of before is what is decided"
        );
        for height in [first, first + 1] {
            let signers = net.signers(*i, height);
            assert!(
                remain.iter().all(|r| signers.contains(r)),
                "seed {seed}: {signers:?} at {height}, remain {remain:?}"
            );
            assert!(signers.iter().all(|s| remain.contains(s)), "seed {seed}: {signers:?}");
        }
    }
    lock.is_some()
}

#[test]
fn the_lost_come_back_and_decide_nothing() {
    let locked = (0..200).filter(|seed| lost_and_back(*seed)).count();
    assert!(locked > 20, "old locks are met often: {locked}");
}
