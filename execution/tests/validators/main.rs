//! The validator contract, through the executor: every function, every refusal with its reason, and the system call.
#![allow(clippy::unwrap_used, reason = "tests")]

mod chain;
#[path = "../common/mod.rs"]
mod common;
mod layout;
mod lost;
mod random;

use alloy_primitives::{Bytes, U256, keccak256};
use basalt_execution::{CallEnd, CallRequest, ExecError, StateError};
use basalt_primitives::{
    Height,
    system::{
        ED25519_VERIFY, ED25519_VERIFY_GAS, ED25519_VERIFY_WORD_GAS, VALIDATORS, calls,
        evidence::Step,
        validators::{self, Kind, Refusal, Status, slot},
    },
    validators::VoteKind,
};
use chain::{Chain, hash, key, public, word};

/// Proposes to add key 9 and lets it show that it is ready.
fn proposed_and_ready(n: u8) -> Chain {
    let mut c = Chain::new(n);
    c.ok(1, calls::propose_add(&public(9), "nine"));
    c.ready(9);
    c
}

#[test]
fn genesis_holds_the_set() {
    let c = Chain::new(4);
    assert_eq!(c.keys(), [public(1), public(2), public(3), public(4)]);
    let big = Chain::new(200);
    assert_eq!(big.keys().len(), 200);
}

#[test]
fn a_validator_is_added_two_blocks_after_the_change_is_applied() {
    let mut c = proposed_and_ready(4);
    c.ok(2, calls::approve(1));
    assert_eq!(c.proposal(1).status, Status::Open, "two of four are no quorum");
    c.ok(3, calls::approve(1));
    assert_eq!(c.proposal(1).status, Status::Approved);
    assert_eq!(c.keys().len(), 4, "the block of the last approval changes nothing");
    c.block(&[]);
    let p = c.proposal(1);
    assert_eq!((p.status, p.decided, p.valid_from), (Status::Applied, Some(Height(5)), Some(Height(7))));
    assert_eq!(p.approvers, [public(1).address(), public(2).address(), public(3).address()]);
    assert_eq!((p.kind, p.name.as_str(), p.new_key, p.old_key), (Kind::Add, "nine", Some(public(9)), None));
    assert_eq!(c.keys(), [public(1), public(2), public(3), public(4), public(9)]);
    assert_eq!(c.slot(U256::from(slot::PENDING)).unwrap(), U256::ZERO);
    // The newcomer has a vote of its own now: five validators need four approvals.
    c.ok(9, calls::propose_remove(&public(1)));
    c.ok(2, calls::approve(2));
    c.ok(3, calls::approve(2));
    assert_eq!(c.proposal(2).status, Status::Open);
}

#[test]
fn a_validator_is_removed_and_the_others_keep_their_order() {
    let mut c = Chain::new(4);
    c.ok(1, calls::propose_remove(&public(2)));
    c.ok(3, calls::approve(1));
    c.ok(4, calls::approve(1));
    c.block(&[]);
    assert_eq!(c.keys(), [public(1), public(3), public(4)]);
    assert_eq!(c.proposal(1).valid_from, Some(Height(6)));
    assert!(c.fails(2, calls::propose_remove(&public(1))).contains("only a current validator"));
}

#[test]
fn a_key_is_replaced_in_its_place_and_under_its_name() {
    let mut c = Chain::new(4);
    c.ok(1, calls::propose_replace(&public(2), &public(9)));
    c.ready(9);
    c.ok(3, calls::approve(1));
    c.ok(4, calls::approve(1));
    c.block(&[]);
    assert_eq!(c.keys(), [public(1), public(9), public(3), public(4)]);
    assert_eq!(basalt_execution::system::members(&c.state).unwrap()[1].name, "node2");
    // The old key can come back, as a newcomer.
    c.ok(9, calls::propose_add(&public(2), "again"));
}

#[test]
fn a_newcomer_that_is_not_ready_is_refused_with_the_reason() {
    let mut c = Chain::new(4);
    c.ok(1, calls::propose_add(&public(9), "nine"));
    c.ok(2, calls::approve(1));
    c.ok(3, calls::approve(1));
    c.block(&[]);
    let p = c.proposal(1);
    assert_eq!((p.status, p.refusal, p.valid_from), (Status::Refused, Some(Refusal::NotReady), None));
    assert!(p.refusal_text().unwrap().contains("has not shown that it is ready"));
    assert_eq!(c.keys().len(), 4);
    assert_eq!(validators::open_ids(|s| c.slot(s)).unwrap(), [0; 0]);
}

#[test]
fn readiness_grows_old() {
    let mut c = proposed_and_ready(4);
    c.blocks(validators::READY_BLOCKS);
    c.ok(2, calls::approve(1));
    c.ok(3, calls::approve(1));
    c.block(&[]);
    assert_eq!(c.proposal(1).refusal, Some(Refusal::NotReady));
}

#[test]
fn one_validator_never_locks_itself_out() {
    // The newcomer is not there: refused, however often it is approved.
    let mut c = Chain::new(1);
    c.ok(1, calls::propose_add(&public(9), "nine"));
    assert_eq!(c.proposal(1).status, Status::Open, "its proposal alone completes nothing");
    c.ok(1, calls::approve(1));
    c.block(&[]);
    assert_eq!(c.proposal(1).refusal, Some(Refusal::NotReady));
    // It is there: its word completes the vote.
    c.ok(1, calls::propose_add(&public(9), "nine"));
    c.ready(9);
    assert_eq!(c.proposal(2).status, Status::Approved);
    c.block(&[]);
    assert_eq!(c.keys(), [public(1), public(9)]);
}

#[test]
fn a_change_whose_set_has_no_quorum_alive_is_refused_with_the_figures() {
    // Validators 4 and 5 of 5 are down; to remove one of those that live would leave 3 + 0 of 4, to add one is no better.
    let mut c = Chain::new(5);
    c.signers = vec![0, 1, 2];
    c.ok(1, calls::propose_remove(&public(2)));
    for from in [3, 4, 5] {
        c.ok(from, calls::approve(1));
    }
    c.block(&[]);
    let p = c.proposal(1);
    assert_eq!((p.refusal, p.have, p.need), (Some(Refusal::NoQuorum), 2, 3));
    assert!(p.refusal_text().unwrap().contains("only 2 validators"), "{:?}", p.refusal_text());
    // To remove one that is down leaves 3 of 4, which is a quorum.
    c.ok(1, calls::propose_remove(&public(4)));
    for from in [2, 3, 5] {
        c.ok(from, calls::approve(2));
    }
    c.block(&[]);
    assert_eq!(c.proposal(2).status, Status::Applied);
}

#[test]
fn a_slow_validator_counts_by_its_own_word() {
    // Certificates carry the first quorum only, so one that lives may be in none of them.
    let mut c = Chain::new(6);
    c.signers = vec![0, 1, 2, 3];
    let remove = calls::propose_remove(&public(1));
    c.ok(2, remove.clone());
    [3, 4, 5].into_iter().for_each(|from| c.ok(from, calls::approve(1)));
    c.block(&[]);
    assert_eq!((c.proposal(1).refusal, c.proposal(1).have), (Some(Refusal::NoQuorum), 3));
    c.ok(2, remove);
    c.ready(6);
    [3, 4, 5].into_iter().for_each(|from| c.ok(from, calls::approve(2)));
    c.block(&[]);
    assert_eq!(c.proposal(2).status, Status::Applied);
}

#[test]
fn signers_are_those_of_the_last_64_certificates_and_not_of_the_parent() {
    let mut c = Chain::new(4);
    c.signers = vec![0, 1, 2];
    c.block(&[]);
    c.signers = vec![1];
    c.blocks(62);
    // Heights 1 to 63 are certified; the next block looks at those up to 62, and validator 3 is in that of 1.
    let seen = |c: &Chain, h| basalt_execution::system::recent_signers(c.executor.spec(), Height(h), &c.state).unwrap();
    assert!(seen(&c, 64).contains(&public(3)));
    c.blocks(2);
    assert!(seen(&c, 66).contains(&public(3)), "64 certificates: 1 to 64");
    c.block(&[]);
    assert!(!seen(&c, 67).contains(&public(3)), "64 certificates: 2 to 65");
    assert!(seen(&c, 67).contains(&public(2)));
    c.signers = vec![3];
    c.block(&[]);
    assert!(!seen(&c, 68).contains(&public(4)), "the parent's certificate does not count");
    assert!(seen(&c, 69).contains(&public(4)));
}

#[test]
fn changes_are_applied_one_a_block_and_each_against_the_set_before_it() {
    let mut c = Chain::new(4);
    c.ok(1, calls::propose_remove(&public(2)));
    c.ok(1, calls::propose_remove(&public(3)));
    c.ok(1, calls::propose_replace(&public(2), &public(9)));
    c.ready(9);
    for id in 1..=3 {
        c.ok(4, calls::approve(id));
    }
    let third = (1..=3).map(|id| (2u8, calls::approve(id))).collect::<Vec<_>>();
    let done = c.block(&third);
    assert!(done.receipts.iter().all(|r| r.success));
    assert_eq!(c.slot(U256::from(slot::PENDING)).unwrap(), U256::from(3));
    c.block(&[]);
    assert_eq!(c.keys(), [public(1), public(3), public(4)]);
    c.block(&[]);
    assert_eq!(c.keys(), [public(1), public(4)]);
    c.block(&[]);
    assert_eq!(c.proposal(3).refusal, Some(Refusal::SetChanged), "its old key has left");
    assert_eq!(c.keys(), [public(1), public(4)]);
    assert_eq!(c.slot(U256::from(slot::PENDING)).unwrap(), U256::ZERO);
}

#[test]
fn approvals_of_those_who_left_do_not_count() {
    let mut c = Chain::new(4);
    c.ok(2, calls::propose_add(&public(9), "nine"));
    c.ready(9);
    c.ok(1, calls::propose_remove(&public(2)));
    c.ok(3, calls::approve(2));
    c.ok(4, calls::approve(2));
    c.block(&[]);
    assert_eq!(c.keys().len(), 3);
    // Three validators need two approvals; the one that left had given one.
    c.ok(3, calls::approve(1));
    assert_eq!(c.proposal(1).status, Status::Open);
    c.ok(4, calls::approve(1));
    assert_eq!(c.proposal(1).status, Status::Approved);
}

#[test]
fn every_refusal_of_a_call_says_why() {
    let mut c = Chain::new(4);
    let add = calls::propose_add(&public(9), "nine");
    assert!(c.fails(7, add.clone()).contains("only a current validator"));
    assert!(c.fails(1, calls::propose_add(&public(2), "two")).contains("is a validator already"));
    assert!(c.fails(1, calls::propose_add(&basalt_primitives::PublicKey([0; 32]), "")).contains("needs a key"));
    assert!(c.fails(1, calls::propose_remove(&public(9))).contains("is not a validator"));
    assert!(c.fails(1, calls::propose_replace(&public(9), &public(8))).contains("is not a validator"));
    assert!(c.fails(1, calls::propose_replace(&public(2), &public(3))).contains("is a validator already"));
    assert!(c.fails(1, calls::approve(1)).contains("no such proposal"));
    assert!(c.fails(1, calls::withdraw(0)).contains("no such proposal"));
    c.ok(1, add.clone());
    assert!(c.fails(2, add).contains("the same proposal is open already"));
    assert!(c.fails(1, calls::approve(1)).contains("approved this proposal already"));
    assert!(c.fails(7, calls::approve(1)).contains("only a current validator"));
    assert!(c.fails(2, calls::withdraw(1)).contains("only its proposer"));
    let recent = calls::ready(Height(c.height), hash(c.height));
    assert!(c.fails(8, recent).contains("no open proposal concerns this key"));
    assert!(c.fails(9, calls::ready(Height(c.height + 1), hash(c.height + 1))).contains("not recent"));
    assert!(c.fails(9, calls::ready(Height(3), hash(4))).contains("not the hash"));
    assert!(c.fails(1, calls::apply_change(U256::MAX)).contains("only the executor"));
    c.ok(1, calls::withdraw(1));
    assert_eq!(c.proposal(1).status, Status::Withdrawn);
    assert!(c.fails(2, calls::approve(1)).contains("not open any more"));
    let lone = Chain::new(1).fails(1, calls::propose_remove(&public(1)));
    assert!(lone.contains("last validator"), "{lone}");
}

#[test]
fn open_proposals_are_bounded_and_expire() {
    let mut c = Chain::of(9, |spec| {
        let contract = spec.alloc.get_mut(&VALIDATORS).unwrap();
        contract.storage.insert(U256::from(slot::LIFETIME).into(), U256::from(50).into());
    });
    for from in 1..=8u8 {
        for i in 0..4u8 {
            c.ok(from, calls::propose_add(&public(100 + 4 * from + i), ""));
        }
        if from == 1 {
            assert!(c.fails(1, calls::propose_add(&public(99), "")).contains("you have too many open proposals"));
        }
    }
    assert!(c.fails(9, calls::propose_add(&public(99), "")).contains("too many proposals are open"));
    c.blocks(16);
    // The first was made in block 1, so it is open until block 51.
    assert_eq!(c.height, 50);
    c.ok(2, calls::approve(1));
    let p = c.proposal(1);
    assert!(!validators::is_expired(|s| c.slot(s), &p, Height(51)).unwrap());
    assert!(validators::is_expired(|s| c.slot(s), &p, Height(52)).unwrap());
    assert!(c.fails(3, calls::approve(1)).contains("expired"));
    assert_eq!(word(&c.view("proposal(uint256)", &[U256::from(1)]), 5), U256::from(6), "the view calls it expired");
    // Whoever proposes sweeps.
    c.ok(9, calls::propose_add(&public(99), ""));
    assert_eq!(c.proposal(1).status, Status::Expired);
    assert!(validators::open_ids(|s| c.slot(s)).unwrap().len() < 32);
}

#[test]
fn the_set_is_full_at_256() {
    let mut c = Chain::of(1, |spec| {
        let (first, filler) = (spec.validators[0].clone(), 255u32);
        spec.validators = (0..filler)
            .map(|i| {
                let mut seed = [7; 32];
                seed[..4].copy_from_slice(&i.to_be_bytes());
                let mut v = first.clone();
                v.validator.public_key = basalt_primitives::SecretKey::from_bytes(&seed).public_key();
                v
            })
            .chain([first.clone()])
            .collect();
        *spec = spec.clone().with_system_contracts();
    });
    assert_eq!(c.keys().len(), 256);
    assert!(c.fails(1, calls::propose_add(&public(9), "")).contains("the set is full"));
}

/// The dearest case: nobody counts by signatures, so every word is read, and everyone moves up by one.
#[test]
fn the_largest_set_changes_within_the_gas_of_a_system_call() {
    let mut c = Chain::new(255);
    c.signers = Vec::new();
    c.ok(2, calls::propose_remove(&public(1)));
    let approvals: Vec<_> = (3..=170).map(|from| (from, calls::approve(1))).collect();
    approvals.chunks(2).for_each(|some| _ = c.block(some));
    let said = calls::ready(Height(c.height), hash(c.height));
    let ready: Vec<_> = (2..=255).map(|from| (from, said.clone())).collect();
    ready.chunks(2).for_each(|some| _ = c.block(some));
    assert_eq!(c.proposal(1).status, Status::Open, "169 approvals are one short of a quorum of 255");
    c.ok(171, calls::approve(1));
    assert_eq!(c.proposal(1).status, Status::Approved);
    c.block(&[]);
    assert_eq!(c.proposal(1).status, Status::Applied, "{:?}", c.proposal(1).refusal);
    assert_eq!(c.keys().len(), 254);
    assert_eq!(c.keys()[0], public(2));
}

#[test]
fn equivocation_is_put_on_record_once_and_only_with_proof() {
    let mut c = Chain::new(4);
    c.block(&[]);
    let steps = [Step::Proposal, Step::Vote(VoteKind::Prepare), Step::Vote(VoteKind::Commit)];
    for kind in steps {
        let e = c.equivocation(kind, 3);
        assert!(e.holds(hash(0)));
        c.ok(7, calls::report_equivocation(&e));
        assert!(c.fails(1, calls::report_equivocation(&e)).contains("on record already"));
    }
    let record = validators::offences(|s| c.slot(s)).unwrap();
    let facts: Vec<_> = record.iter().map(|o| (o.key, o.height, o.round, o.kind, o.reported_at)).collect();
    let wanted = [1, 2, 3].map(|kind| (public(3), Height(7), 1, kind, Height(2 * u64::from(kind))));
    assert_eq!(facts, wanted);
    let good = c.equivocation(steps[1], 2);
    let mut same = good;
    same.blocks[1] = same.blocks[0];
    assert!(c.fails(1, calls::report_equivocation(&same)).contains("the same block"));
    let mut forged = good;
    forged.signatures[1].0[5] ^= 1;
    assert!(c.fails(1, calls::report_equivocation(&forged)).contains("does not verify"));
    let mut other_round = good;
    other_round.round.0 += 1;
    assert!(c.fails(1, calls::report_equivocation(&other_round)).contains("does not verify"));
    let mut other_step = good;
    other_step.kind = steps[2];
    assert!(c.fails(1, calls::report_equivocation(&other_step)).contains("does not verify"));
    assert!(c.fails(1, calls::report_equivocation(&c.equivocation(steps[0], 9))).contains("never a validator"));
    // A validator that has left is still answerable, and one offender cannot fill the record.
    c.ok(1, calls::propose_remove(&public(2)));
    [3, 4].into_iter().for_each(|from| c.ok(from, calls::approve(1)));
    c.block(&[]);
    assert_eq!(c.keys().len(), 3);
    for round in 0..16 {
        let mut e = good;
        e.round.0 = round;
        for i in 0..2 {
            e.signatures[i] = key(2).sign(e.signed_bytes(hash(0), e.blocks[i]).as_slice());
        }
        c.ok(1, calls::report_equivocation(&e));
    }
    let mut more = good;
    more.round.0 = 16;
    assert!(c.fails(1, calls::report_equivocation(&more)).contains("enough offences"));
}

/// A vote must not be able to stop the chain, not even by a fault of the contract.
#[test]
fn a_contract_that_fails_the_system_call_changes_nothing() {
    let c = Chain::of(4, |spec| {
        let contract = spec.alloc.get_mut(&VALIDATORS).unwrap();
        contract.code = Bytes::from_static(&[0x60, 1, 0x60, 9, 0x55, 0x5f, 0x5f, 0xfd]); // SSTORE(9, 1), REVERT
        contract.storage.insert(U256::from(slot::PENDING).into(), U256::from(1).into());
    });
    let mut c = c;
    let done = c.block(&[]);
    let slots = &done.changes.storage[&VALIDATORS].slots;
    assert_eq!(slots.iter().collect::<Vec<_>>(), [(&U256::ZERO, &U256::ZERO)]);
}

#[test]
fn a_reader_that_cannot_tell_who_signed_fails_the_block() {
    let mut c = proposed_and_ready(4);
    c.ok(2, calls::approve(1));
    c.ok(3, calls::approve(1));
    let mut blind = basalt_execution::MemoryState::new();
    std::mem::swap(&mut blind, &mut c.state);
    let mut forgetful = blind.clone();
    forgetful.forget_signers();
    let env = basalt_execution::BlockEnv { height: Height(5), ..common::env(0) };
    let none: [basalt_primitives::Transaction; 0] = [];
    let failed = c.executor.execute(&env, &none, &forgetful);
    assert!(matches!(failed, Err(ExecError::State(StateError::Unavailable(1)))), "{failed:?}");
    assert!(c.executor.execute(&env, &none, &blind).is_ok());
}

#[test]
fn the_precompile_verifies_as_primitives_do_and_costs_what_is_stated() {
    let c = Chain::new(1);
    let message = b"a message of more than one word, to be paid for";
    let signature = key(5).sign(message);
    let mut input = [&public(5).0[..], &signature.0, message].concat();
    let ask = |input: &[u8]| {
        let request =
            CallRequest { to: Some(ED25519_VERIFY), input: Bytes::copy_from_slice(input), ..CallRequest::default() };
        let outcome = c.executor.call(&common::env(0), &request, &c.state, &Default::default()).unwrap();
        assert_eq!(outcome.end, CallEnd::Success);
        (outcome.output, outcome.gas_used)
    };
    let (good, used) = ask(&input);
    assert_eq!(U256::from_be_slice(&good), U256::from(1));
    let zeros = input.iter().filter(|b| **b == 0).count() as u64;
    let intrinsic = 21_000 + 16 * (input.len() as u64 - zeros) + 4 * zeros;
    assert_eq!(used, intrinsic + ED25519_VERIFY_GAS + 2 * ED25519_VERIFY_WORD_GAS);
    *input.last_mut().unwrap() ^= 1;
    assert_eq!(ask(&input).0.len(), 0);
    assert_eq!(ask(&[1; 95]).0.len(), 0);
    assert_eq!(ask(&[]).0.len(), 0);
    // A key of small order proves nothing (ADR-0004).
    assert_eq!(ask(&[&[0; 32][..], &[0; 64], b"x"].concat()).0.len(), 0);
    let starved = CallRequest {
        to: Some(ED25519_VERIFY),
        gas: Some(26_000),
        input: Bytes::from(vec![1; 120]),
        ..CallRequest::default()
    };
    let outcome = c.executor.call(&common::env(0), &starved, &c.state, &Default::default()).unwrap();
    assert!(matches!(outcome.end, CallEnd::Halt(_)), "{outcome:?}");
}

#[test]
fn the_selectors_are_the_compilers() {
    let artefact = layout::artefact();
    for signature in calls::SIGNATURES {
        let ours = alloy_primitives::hex::encode(&keccak256(signature)[..4]);
        assert_eq!(artefact["selectors"][signature], ours, "{signature}");
    }
}
