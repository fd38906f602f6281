//! What only blocks of development networks carry: edits of the state, and transactions that nobody signed.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{collections::BTreeMap, sync::Arc};

use alloy_consensus::{SignableTransaction as _, TxEip1559};
use alloy_primitives::{Address, Bytes, Signature, TxKind, U256, keccak256};
use alloy_rpc_types_trace::geth::GethDebugTracingOptions;
use basalt_execution::{
    BlockEnv, Executor, SkipReason, StateReader as _, genesis_state,
    memory::MemoryState,
    trace::{Trace, TraceLimits},
};
use basalt_primitives::{
    ChainSpec, Transaction,
    chainspec::{Consensus, DevParams, EvmFork},
    tx::{
        StateEdit,
        development::{self, Change},
    },
};

use common::{CHAIN, ETHER, env, rich, spec};

const WHO: Address = Address::repeat_byte(0xa1);
const CONTRACT: Address = Address::repeat_byte(0xc1);

fn devnet() -> Arc<ChainSpec> {
    let alloc = BTreeMap::from([(WHO, rich(ETHER)), (CONTRACT, common::contract(&[0x00]))]);
    let spec = spec(EvmFork::Osaka, alloc);
    Arc::new(ChainSpec { consensus: Consensus::Dev(DevParams::default()), ..ChainSpec::clone(&spec) })
}

fn start(spec: &Arc<ChainSpec>) -> (Executor, MemoryState) {
    let (changes, _) = genesis_state(spec).unwrap();
    let mut state = MemoryState::new();
    state.apply(&changes);
    (Executor::new(Arc::clone(spec)), state)
}

fn edit(n: u64, address: Address, change: Change) -> Transaction {
    StateEdit::new(CHAIN, n, address, change).into_unverified().verify().unwrap()
}

fn unsigned(from: Address, nonce: u64, to: Address, value: u128) -> Transaction {
    let tx = TxEip1559 {
        chain_id: CHAIN,
        nonce,
        gas_limit: 100_000,
        max_fee_per_gas: 0,
        max_priority_fee_per_gas: 0,
        to: TxKind::Call(to),
        value: U256::from(value),
        ..TxEip1559::default()
    };
    let tx = tx.into_signed(Signature::new(U256::ZERO, U256::ZERO, false)).into();
    development::sent(from, tx).verify().unwrap()
}

#[test]
fn edits_set_what_they_say_and_say_what_was_there() {
    let (executor, mut state) = start(&devnet());
    let (new, code) = (Address::repeat_byte(0xe1), Bytes::from_static(&[0x5f, 0x5f, 0xf3]));
    let txs = [
        edit(1, new, Change::Slot(U256::from(7), U256::from(8))),
        edit(1, new, Change::Code(code.clone())),
        edit(1, new, Change::Balance(U256::from(5))),
        edit(1, WHO, Change::Nonce(9)),
        edit(1, CONTRACT, Change::Slot(U256::ZERO, U256::MAX)),
        edit(1, CONTRACT, Change::Code(Bytes::new())),
    ];
    let done = executor.execute(&env(0), &txs, &state).unwrap();
    assert!(done.skipped.is_empty());
    assert!(done.receipts.iter().all(|r| r.success && r.gas_used == 0 && r.tx_type == development::TX_TYPE));
    common::assert_before(&state, &done.changes);
    state.apply(&done.changes);
    let account = state.account(&new).unwrap().unwrap();
    assert_eq!((account.nonce, account.balance, account.code_hash), (1, U256::from(5), keccak256(&code)));
    assert_eq!(state.storage(&new, U256::from(7)).unwrap(), U256::from(8));
    assert_eq!(state.code(&keccak256(&code)).unwrap(), Some(code));
    assert_eq!(state.account(&WHO).unwrap().unwrap().nonce, 9);
    let emptied = state.account(&CONTRACT).unwrap().unwrap();
    assert_eq!((emptied.nonce, emptied.code_hash), (1, keccak256([])));
    assert_eq!(state.storage(&CONTRACT, U256::ZERO).unwrap(), U256::MAX);
}

#[test]
fn an_account_without_anything_left_is_gone() {
    let (executor, mut state) = start(&devnet());
    let done = executor.execute(&env(0), &[edit(1, WHO, Change::Balance(U256::ZERO))], &state).unwrap();
    state.apply(&done.changes);
    assert_eq!(state.account(&WHO).unwrap(), None);
    let nothing = executor.execute(&env(0), &[edit(2, WHO, Change::Balance(U256::ZERO))], &state).unwrap();
    assert!(nothing.receipts[0].success && nothing.changes.accounts.is_empty());
}

#[test]
fn a_contract_that_is_impersonated_sends() {
    let (executor, mut state) = start(&devnet());
    let to = Address::repeat_byte(0xd1);
    let txs = [edit(1, CONTRACT, Change::Balance(U256::from(100))), unsigned(CONTRACT, 1, to, 40)];
    let done = executor.execute(&env(0), &txs, &state).unwrap();
    assert!(done.skipped.is_empty(), "{:?}", done.skipped);
    let built = executor.build(&env(0), txs.clone(), common_limits(), &state).unwrap();
    assert_eq!(built.executed, done, "building and executing agree");
    state.apply(&done.changes);
    assert_eq!(state.account(&to).unwrap().unwrap().balance, U256::from(40));
    assert_eq!(state.account(&CONTRACT).unwrap().unwrap().nonce, 2);
}

#[test]
fn nothing_of_this_runs_on_another_network() {
    let alloc = BTreeMap::from([(WHO, rich(ETHER))]);
    let (executor, state) = start(&spec(EvmFork::Osaka, alloc));
    let txs = [edit(1, WHO, Change::Balance(U256::MAX)), unsigned(WHO, 0, CONTRACT, 1)];
    let done = executor.execute(&env(0), &txs, &state).unwrap();
    assert!(done.receipts.is_empty() && done.changes.accounts.is_empty());
    assert!(done.skipped.iter().all(|(_, _, why)| matches!(why, SkipReason::Unsupported(_))), "{:?}", done.skipped);
    let built = executor.build(&env(0), txs, common_limits(), &state).unwrap();
    assert!(built.included.is_empty());
}

#[test]
fn tracing_a_block_with_them_runs_it_as_it_ran() {
    let (executor, state) = start(&devnet());
    let to = Address::repeat_byte(0xd1);
    let txs = [edit(1, CONTRACT, Change::Balance(U256::from(100))), unsigned(CONTRACT, 1, to, 40)];
    let limits = TraceLimits { max_steps: 1_000, max_bytes: 100_000, deadline: None };
    let options: GethDebugTracingOptions = serde_json::from_str(r#"{"tracer": "callTracer"}"#).unwrap();
    let place = (&env(0) as &BlockEnv, keccak256(b"block"));
    let traced = executor.trace_block(place, &txs, None, &state, (&options, limits)).unwrap();
    let Trace::CallTracer(first) = &traced[0].trace else { panic!("{:?}", traced[0]) };
    assert_eq!((first.typ.as_str(), first.to), ("EDIT", Some(CONTRACT)));
    let Trace::CallTracer(second) = &traced[1].trace else { panic!("{:?}", traced[1]) };
    assert_eq!((second.from, second.value, &second.error), (CONTRACT, Some(U256::from(40)), &None));
}

fn common_limits() -> basalt_execution::BuildLimits {
    basalt_execution::BuildLimits { max_gas: 30_000_000, max_bytes: 1 << 20 }
}
