//! Calls on changed accounts, access lists, and blocks that are only imagined.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, Bytes, U256};
use basalt_execution::{
    AccountOverride, BlockOverrides, CallEnd, CallError, CallRequest, Deadline, SkipReason, StateOverrides,
    simulate::{Simulation, SimulationRules},
};
use basalt_primitives::{Height, chainspec::EvmFork};
use common::*;

const CONTRACT: Address = Address::repeat_byte(0xc0);
/// Returns slot 0: PUSH0 SLOAD PUSH0 MSTORE PUSH1 32 PUSH0 RETURN.
const READS: [u8; 9] = [0x5f, 0x54, 0x5f, 0x52, 0x60, 0x20, 0x5f, 0xf3, 0x00];
/// Adds one to slot 0 and returns BLOCKHASH of the block before: … NUMBER - 1 BLOCKHASH.
const COUNTS: [u8; 20] =
    [0x5f, 0x54, 0x60, 0x01, 0x01, 0x5f, 0x55, 0x60, 0x01, 0x43, 0x03, 0x40, 0x5f, 0x52, 0x60, 0x20, 0x5f, 0xf3, 0, 0];

fn with_code(code: &[u8]) -> Chain {
    let mut account = contract(code);
    account.storage = BTreeMap::from([(B256::ZERO, B256::with_last_byte(5)), (B256::with_last_byte(1), B256::ZERO)]);
    account.storage.retain(|_, v| !v.is_zero());
    chain(EvmFork::Osaka, BTreeMap::from([(wallet(1).address, rich(ETHER)), (CONTRACT, account)]))
}

fn ask() -> CallRequest {
    CallRequest { from: wallet(1).address, to: Some(CONTRACT), ..CallRequest::default() }
}

fn answer(chain: &Chain, change: AccountOverride) -> U256 {
    let overrides = BTreeMap::from([(CONTRACT, change)]);
    let told = chain.executor.call(&env(0), &ask(), &chain.state, &overrides).unwrap();
    assert_eq!(told.end, CallEnd::Success);
    U256::from_be_slice(&told.output)
}

#[test]
fn storage_code_and_nonce_can_be_what_the_caller_wants() {
    let chain = with_code(&READS);
    let slots = |n: u64, v: u64| Some(BTreeMap::from([(U256::from(n), U256::from(v))]));
    assert_eq!(answer(&chain, AccountOverride::default()), U256::from(5));
    assert_eq!(answer(&chain, AccountOverride { state_diff: slots(0, 7), ..Default::default() }), U256::from(7));
    // One slot changed: the others stay. All of the state given: the others are zero.
    assert_eq!(answer(&chain, AccountOverride { state_diff: slots(1, 7), ..Default::default() }), U256::from(5));
    assert_eq!(answer(&chain, AccountOverride { state: slots(1, 7), ..Default::default() }), U256::ZERO);
    // NUMBER PUSH0 MSTORE PUSH1 32 PUSH0 RETURN
    let code = Some(Bytes::from_static(&[0x43, 0x5f, 0x52, 0x60, 0x20, 0x5f, 0xf3]));
    assert_eq!(answer(&chain, AccountOverride { code, ..Default::default() }), U256::from(1));
    // What was imagined is nowhere afterwards, neither in the state nor among the code that is kept ready.
    assert_eq!(answer(&chain, AccountOverride::default()), U256::from(5));
}

#[test]
fn the_block_can_be_what_the_caller_wants() {
    let change = BlockOverrides {
        number: Some(77),
        time_s: Some(9),
        gas_limit: Some(1_000_000),
        beneficiary: Some(CONTRACT),
        prev_randao: Some(B256::repeat_byte(3)),
        base_fee: Some(11),
    };
    let mut changed = env(0);
    change.apply(&mut changed);
    assert_eq!((changed.height, changed.timestamp_s(), changed.gas_limit), (Height(77), 9, 1_000_000));
    assert_eq!((changed.beneficiary, changed.prev_randao, changed.base_fee), (CONTRACT, B256::repeat_byte(3), 11));
    let mut same = env(3);
    BlockOverrides::default().apply(&mut same);
    assert_eq!(same, env(3));
}

#[test]
fn an_access_list_names_what_is_touched_and_what_it_costs() {
    let chain = with_code(&COUNTS);
    let found = chain.executor.access_list(&env(0), &ask(), &chain.state, &StateOverrides::new()).unwrap();
    assert_eq!(found.outcome.end, CallEnd::Success);
    assert_eq!((found.list.len(), found.list[0].address), (1, CONTRACT));
    assert_eq!(found.list[0].storage_keys, [B256::ZERO]);
    let told = CallRequest { access_list: found.list, ..ask() };
    let ran = chain.executor.call(&env(0), &told, &chain.state, &StateOverrides::new()).unwrap();
    assert_eq!(ran.gas_used, found.outcome.gas_used);
}

#[test]
fn imagined_blocks_build_on_each_other() {
    let chain = with_code(&COUNTS);
    let mut simulation = Simulation::new(&chain.executor, &chain.state, SimulationRules::default(), 60_000_000);
    let first = simulation.block(&env(0), &StateOverrides::new(), vec![(ask(), None), (ask(), None)]).unwrap();
    assert_eq!(first.iter().map(|c| c.nonce).collect::<Vec<_>>(), [0, 1]);
    assert!(first[1].outcome.gas_used < 21_000 + 30_000);
    simulation.put_hash(1, B256::repeat_byte(0xaa));
    let mut second = env(0);
    second.height = Height(2);
    let ran = simulation.block(&second, &StateOverrides::new(), vec![(ask(), None)]).unwrap();
    assert_eq!(ran[0].outcome.output.as_ref(), B256::repeat_byte(0xaa).as_slice(), "BLOCKHASH of an imagined block");
    let changes = simulation.changes();
    assert_eq!(changes.storage[&CONTRACT].slots[&U256::ZERO], U256::from(8));
    assert_eq!(changes.accounts[&wallet(1).address].unwrap().nonce, 3);
}

#[test]
fn value_moves_show_as_logs_where_asked_for() {
    let chain = with_code(&READS);
    let rules = SimulationRules { trace_transfers: true, ..Default::default() };
    let send = CallRequest { value: U256::from(3), ..ask() };
    for (rules, logs) in [(rules, 1), (SimulationRules::default(), 0)] {
        let mut simulation = Simulation::new(&chain.executor, &chain.state, rules, 60_000_000);
        let ran = simulation.block(&env(0), &StateOverrides::new(), vec![(send.clone(), None)]).unwrap();
        assert_eq!(ran[0].outcome.logs.len(), logs);
        for log in &ran[0].outcome.logs {
            assert_eq!(log.address, Address::repeat_byte(0xee));
            assert_eq!(log.data.as_ref(), B256::with_last_byte(3).as_slice());
        }
    }
}

#[test]
fn validation_refuses_what_a_block_would() {
    let chain = with_code(&READS);
    let strict = SimulationRules { validation: true, ..Default::default() };
    let run = |rules, request: CallRequest, nonce| {
        let mut simulation = Simulation::new(&chain.executor, &chain.state, rules, 60_000_000);
        simulation.block(&env(9), &StateOverrides::new(), vec![(request, nonce)]).map_err(|e| e.error)
    };
    let too_high = run(strict, ask(), Some(4));
    assert!(matches!(too_high, Err(CallError::Invalid(SkipReason::NonceTooHigh { tx: 4, state: 0 }))), "{too_high:?}");
    let cheap = run(strict, CallRequest { gas_price: Some(1), ..ask() }, None);
    assert!(matches!(cheap, Err(CallError::Invalid(SkipReason::FeeTooLow { .. }))), "{cheap:?}");
    let poor = CallRequest { from: Address::repeat_byte(2), value: U256::from(1), ..ask() };
    let poor = run(SimulationRules::default(), poor, None);
    assert!(matches!(poor, Err(CallError::Invalid(SkipReason::InsufficientFunds { .. }))), "{poor:?}");
    let greedy = run(SimulationRules::default(), CallRequest { gas: Some(40_000_000), ..ask() }, None);
    assert!(matches!(greedy, Err(CallError::Invalid(SkipReason::BlockGas { .. }))), "{greedy:?}");
    assert!(run(strict, ask(), Some(0)).is_ok() && run(SimulationRules::default(), ask(), Some(4)).is_ok());
}

/// JUMPDEST PUSH0 JUMP: never ends by itself.
const LOOPS: [u8; 3] = [0x5b, 0x5f, 0x56];
/// Calls itself with all its gas, again and again, deeper and deeper: PUSH0 five times, ADDRESS GAS CALL, then as often as it likes.
const CALLS: [u8; 13] = [0x5b, 0x5f, 0x5f, 0x5f, 0x5f, 0x5f, 0x30, 0x5a, 0xf1, 0x50, 0x5f, 0x56, 0x00];

#[test]
fn nothing_that_nobody_pays_for_runs_beyond_its_deadline() {
    for code in [&LOOPS[..], &CALLS] {
        let chain = with_code(code);
        let vast = basalt_execution::BlockEnv { gas_limit: 1 << 40, ..env(0) };
        let in_time = |ms| CallRequest { deadline: Some(Deadline::after_ms(ms)), ..ask() };
        for ms in [0, 5] {
            let overrides = StateOverrides::new();
            let late = CallError::Timeout(ms);
            assert!(late.to_string().contains(&format!("limit of {ms} ms")), "{late}");
            assert_eq!(chain.executor.call(&vast, &in_time(ms), &chain.state, &overrides), Err(late.clone()));
            assert_eq!(chain.executor.access_list(&vast, &in_time(ms), &chain.state, &overrides), Err(late.clone()));
            for rules in [SimulationRules::default(), SimulationRules { trace_transfers: true, ..Default::default() }] {
                let mut simulation = Simulation::new(&chain.executor, &chain.state, rules, 1 << 40);
                let calls = vec![(in_time(ms), None), (in_time(ms), None)];
                let failed = simulation.block(&vast, &overrides, calls).unwrap_err();
                assert_eq!((failed.index, failed.error), (0, late.clone()));
            }
        }
        // One transaction may have no more than the fork's cap, so an estimate ends by that or by the deadline.
        let estimate = chain.executor.estimate_gas(&vast, &in_time(0), &chain.state, &StateOverrides::new());
        assert_eq!(estimate, Err(CallError::Timeout(0)));
    }
}

#[test]
fn a_deadline_changes_nothing_for_what_ends_in_time() {
    for code in [&READS[..], &COUNTS, &LOOPS, &CALLS] {
        let chain = with_code(code);
        let timed = CallRequest { deadline: Some(Deadline::after_ms(600_000)), ..ask() };
        let run = |r: &CallRequest| {
            let gas = CallRequest { gas: Some(200_000), ..r.clone() };
            let overrides = StateOverrides::new();
            let called = chain.executor.call(&env(0), &gas, &chain.state, &overrides);
            (called, chain.executor.access_list(&env(0), &gas, &chain.state, &overrides))
        };
        assert_eq!(run(&timed), run(&ask()));
    }
}
