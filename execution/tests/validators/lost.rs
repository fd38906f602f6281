//! A set override at the contract: at the start of its block the lost go, whatever was open or approved.

use alloy_primitives::U256;
use basalt_execution::{Executor, system};
use basalt_primitives::{
    Height, PublicKey,
    system::{
        calls,
        validators::{Kind, Status, slot},
    },
};

use crate::chain::{Chain, public};

fn with_override(mut c: Chain, height: u64, lost: &[u8]) -> Chain {
    let mut keys: Vec<PublicKey> = lost.iter().map(|n| public(*n)).collect();
    keys.sort_unstable();
    c.executor = Executor::new(c.executor.spec().clone()).with_overrides([(Height(height), keys)].into());
    c
}

#[test]
fn the_lost_go_at_the_start_of_the_block_and_the_log_says_so() {
    let mut c = with_override(Chain::new(7), 4, &[2, 5, 6, 7]);
    c.blocks(3);
    assert_eq!(c.keys().len(), 7);
    // The set is smaller for the transactions of the very block: a removed one has no say in it.
    let done = c.block(&[(5, calls::propose_remove(&public(1))), (3, calls::propose_remove(&public(1)))]);
    assert_eq!(done.receipts.iter().map(|r| r.success).collect::<Vec<_>>(), [false, true]);
    assert_eq!(c.keys(), [public(1), public(3), public(4)]);
    let log = system::changes(&c.state, 0).unwrap();
    assert!(
        log.iter()
            .all(|change| change.kind == Kind::Override && change.valid_from == Height(6) && change.proposal == 0)
    );
    assert_eq!(log.iter().map(|change| change.key).collect::<Vec<_>>(), [public(2), public(5), public(6), public(7)]);
    assert_eq!(log.iter().map(|change| change.index).collect::<Vec<_>>(), [1, 3, 3, 3]);
    assert_eq!(log[1].name, "node5");
    // Three of three: the vote goes on among them.
    c.signers = vec![0, 1, 2];
    c.ok(4, calls::approve(1));
    c.block(&[]);
    assert_eq!(c.proposal(1).status, Status::Applied);
    assert_eq!(c.keys(), [public(3), public(4)]);
    // One that was lost can be voted in again.
    c.ok(3, calls::propose_add(&public(5), "again"));
}

#[test]
fn an_approved_change_waits_and_is_judged_by_the_set_without_the_lost() {
    let mut c = Chain::new(4);
    c.ok(1, calls::propose_add(&public(9), "nine"));
    c.ready(9);
    c.ok(2, calls::approve(1));
    c.ok(3, calls::approve(1));
    let height = c.height + 1;
    let mut c = with_override(c, height, &[1, 2]);
    c.block(&[]);
    assert_eq!(c.proposal(1).status, Status::Approved);
    assert_eq!(c.slot(U256::from(slot::PENDING)).unwrap(), U256::from(1));
    assert_eq!(c.keys(), [public(3), public(4)]);
    c.block(&[]);
    assert_eq!(c.proposal(1).status, Status::Applied);
    assert_eq!(c.keys(), [public(3), public(4), public(9)]);
}

#[test]
fn only_the_executor_removes_and_never_the_last() {
    let mut c = Chain::new(4);
    assert!(c.fails(1, calls::remove_lost(&[public(2)])).contains("only the executor"));
    let mut c = with_override(Chain::new(2), 1, &[1, 2]);
    let env = basalt_execution::BlockEnv { height: Height(1), ..crate::common::env(0) };
    let none: [basalt_primitives::Transaction; 0] = [];
    let refused = c.executor.execute(&env, &none, &c.state).unwrap_err().to_string();
    assert!(refused.contains("did not carry out the set override"), "{refused}");
    c.executor = Executor::new(c.executor.spec().clone());
    c.block(&[]);
}

#[test]
fn the_largest_override_fits_into_the_gas_of_system_calls() {
    let lost: Vec<u8> = (2..=250).filter(|n| n % 25 != 0).collect();
    let mut c = with_override(Chain::new(250), 1, &lost);
    c.block(&[]);
    assert_eq!(c.keys().len(), 250 - lost.len());
}
