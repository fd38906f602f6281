//! Traces: what tracers see, that it is what happened, and that no trace grows without bound.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use basalt_execution::{
    CallRequest, StateOverrides,
    trace::{TraceError, TraceLimit, TraceLimits, TraceOptions},
};
use basalt_primitives::{Transaction, chainspec::EvmFork};
use common::*;
use serde_json::{Value, json};

const COUNTER: Address = Address::repeat_byte(0xc0);
const REFUSES: Address = Address::repeat_byte(0xc1);
const ROOMY: TraceLimits = TraceLimits { max_steps: 1_000_000, max_bytes: 10_000_000, deadline: None };

/// Adds one to slot 0, calls [`REFUSES`] with four bytes, emits one log.
fn counter() -> Vec<u8> {
    let mut code = vec![0x5f, 0x54, 0x60, 0x01, 0x01, 0x5f, 0x55, 0x5f, 0x5f, 0x60, 0x04, 0x5f, 0x5f, 0x73];
    code.extend_from_slice(REFUSES.as_slice());
    code.extend_from_slice(&[0x5a, 0xf1, 0x50, 0x60, 0x2a, 0x60, 0x20, 0x5f, 0xa1, 0x00]);
    code
}

fn traced_chain() -> Chain {
    // Reverts with the word 42.
    let refuses = [0x60, 0x2a, 0x5f, 0x52, 0x60, 0x20, 0x5f, 0xfd];
    chain(
        EvmFork::Osaka,
        BTreeMap::from([
            (wallet(1).address, rich(ETHER)),
            (COUNTER, contract(&counter())),
            (REFUSES, contract(&refuses)),
        ]),
    )
}

fn calls(count: u64) -> Vec<Transaction> {
    let call = |n| wallet(1).sign(eip1559(n, TxKind::Call(COUNTER), 0, 200_000, Bytes::new()));
    (0..count).map(call).collect()
}

fn options(value: Value) -> TraceOptions {
    serde_json::from_value(value).unwrap()
}

fn trace(chain: &Chain, txs: &[Transaction], only: Option<usize>, how: Value) -> Result<Vec<Value>, TraceError> {
    trace_within(chain, txs, only, how, ROOMY)
}

fn trace_within(
    chain: &Chain,
    txs: &[Transaction],
    only: Option<usize>,
    how: Value,
    limits: TraceLimits,
) -> Result<Vec<Value>, TraceError> {
    let block = B256::repeat_byte(0xb1);
    let traced = chain.executor.trace_block((&env(0), block), txs, only, &chain.state, (&options(how), limits))?;
    Ok(traced.into_iter().map(|t| serde_json::to_value(t.trace).unwrap()).collect())
}

#[test]
fn a_call_trace_shows_frames_reverts_and_logs() {
    let chain = traced_chain();
    let txs = calls(1);
    let gas = chain.executor.execute(&env(0), &txs, &chain.state).unwrap().receipts[0].gas_used;
    let how = json!({ "tracer": "callTracer", "tracerConfig": { "withLog": true } });
    let frame = trace(&chain, &txs, Some(0), how).unwrap().remove(0);
    assert_eq!((&frame["type"], &frame["gasUsed"]), (&json!("CALL"), &json!(format!("{gas:#x}"))));
    assert_eq!(frame["from"], json!(wallet(1).address));
    assert_eq!(frame["logs"][0]["topics"][0], json!(B256::with_last_byte(42)));
    let inner = &frame["calls"][0];
    assert_eq!((&inner["to"], &inner["error"]), (&json!(REFUSES), &json!("execution reverted")));
    assert_eq!(inner["output"], json!(B256::with_last_byte(42)));
    let top = json!({ "tracer": "callTracer", "tracerConfig": { "onlyTopCall": true } });
    let top = trace(&chain, &txs, Some(0), top).unwrap().remove(0);
    assert!(top.get("calls").is_none() && top.get("logs").is_none(), "{top}");
}

#[test]
fn a_transaction_is_traced_on_what_those_before_it_left() {
    let chain = traced_chain();
    let txs = calls(3);
    let how = json!({ "tracer": "prestateTracer", "tracerConfig": { "diffMode": true } });
    let all = trace(&chain, &txs, None, how.clone()).unwrap();
    let slot = B256::ZERO.to_string();
    let account = COUNTER.to_string().to_lowercase();
    for (n, diff) in all.iter().enumerate() {
        let pre = diff["pre"][&account]["storage"].get(&slot).cloned();
        let expected = (n > 0).then(|| json!(B256::with_last_byte(n as u8)));
        assert_eq!(pre, expected, "{diff}");
        assert_eq!(diff["post"][&account]["storage"][&slot], json!(B256::with_last_byte(n as u8 + 1)));
        // Alone it is the same as within the whole block.
        assert_eq!(trace(&chain, &txs, Some(n), how.clone()).unwrap(), std::slice::from_ref(diff));
    }
}

#[test]
fn struct_logs_follow_the_options() {
    let chain = traced_chain();
    let txs = calls(1);
    let gas = chain.executor.execute(&env(0), &txs, &chain.state).unwrap().receipts[0].gas_used;
    let full = trace(&chain, &txs, Some(0), json!({ "enableMemory": true })).unwrap().remove(0);
    assert_eq!((&full["gas"], &full["failed"]), (&json!(gas), &json!(false)));
    let steps = full["structLogs"].as_array().unwrap();
    assert_eq!((&steps[0]["op"], &steps.last().unwrap()["op"]), (&json!("PUSH0"), &json!("STOP")));
    let store = steps.iter().find(|s| s["op"] == "SSTORE").unwrap();
    assert_eq!(store["storage"].as_object().unwrap().len(), 1);
    assert!(steps.iter().any(|s| s["depth"] == 2), "the inner call's steps are there");
    let bare = json!({ "disableStack": true, "disableStorage": true, "disableMemory": true, "limit": 3 });
    let bare = trace(&chain, &txs, Some(0), bare).unwrap().remove(0);
    let steps = bare["structLogs"].as_array().unwrap();
    assert_eq!(steps.len(), 3);
    assert!(steps.iter().all(|s| s.get("stack").is_none() && s.get("storage").is_none() && s.get("memory").is_none()));
}

/// JUMPDEST PUSH0 JUMP: goes on until something stops it.
const ENDLESS: [u8; 3] = [0x5b, 0x5f, 0x56];

#[test]
fn every_limit_ends_a_trace_and_is_named() {
    let chain =
        chain(EvmFork::Osaka, BTreeMap::from([(wallet(1).address, rich(ETHER)), (COUNTER, contract(&ENDLESS))]));
    let txs = [wallet(1).sign(eip1559(0, TxKind::Call(COUNTER), 0, 16_000_000, Bytes::new()))];
    let limit = |how: Value, limits| match trace_within(&chain, &txs, None, how, limits) {
        Err(TraceError::Limit(limit)) => limit,
        other => panic!("{other:?}"),
    };
    let few = TraceLimits { max_steps: 1_000, ..ROOMY };
    assert_eq!(limit(json!({ "tracer": "callTracer" }), few), TraceLimit::Steps(1_000));
    let small = TraceLimits { max_bytes: 50_000, ..ROOMY };
    assert_eq!(limit(json!({}), small), TraceLimit::Bytes(50_000));
    let past = Instant::now().checked_sub(Duration::from_millis(1)).unwrap();
    let late = TraceLimits { deadline: Some((past, 7)), ..ROOMY };
    assert_eq!(limit(json!({ "tracer": "prestateTracer" }), late), TraceLimit::Time(7));
    // Steps that are not recorded cost no bytes.
    let first = TraceLimits { max_steps: u64::MAX, max_bytes: 50_000, deadline: None };
    let traced = trace_within(&chain, &txs, None, json!({ "limit": 10 }), first).unwrap();
    assert_eq!(traced[0]["structLogs"].as_array().unwrap().len(), 10);
}

#[test]
fn storage_snapshots_and_call_data_count_against_the_bytes() {
    // Loads slot after slot: each step shows all slots before it.
    // PUSH0 | JUMPDEST DUP1 SLOAD POP PUSH1 1 ADD PUSH1 1 JUMP
    let slots = [0x5f, 0x5b, 0x80, 0x54, 0x50, 0x60, 0x01, 0x01, 0x60, 0x01, 0x56];
    // Calls an empty account with 64 KiB of memory, again and again.
    // JUMPDEST PUSH0 PUSH0 PUSH3 10000 PUSH0 PUSH0 PUSH1 99 GAS CALL POP PUSH0 JUMP
    let data = [0x5b, 0x5f, 0x5f, 0x62, 0x01, 0, 0, 0x5f, 0x5f, 0x60, 0x99, 0x5a, 0xf1, 0x50, 0x5f, 0x56];
    for (code, how) in [(&slots[..], json!({ "disableStack": true })), (&data[..], json!({ "tracer": "callTracer" }))] {
        let alloc = BTreeMap::from([(wallet(1).address, rich(ETHER)), (COUNTER, contract(code))]);
        let chain = chain(EvmFork::Osaka, alloc);
        let txs = [wallet(1).sign(eip1559(0, TxKind::Call(COUNTER), 0, 16_000_000, Bytes::new()))];
        match trace(&chain, &txs, None, how) {
            Err(TraceError::Limit(TraceLimit::Bytes(_))) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn unknown_tracers_and_wrong_configurations_are_refused() {
    let chain = traced_chain();
    for how in [
        json!({ "tracer": "{ step: function() {} }" }),
        json!({ "tracer": "nonsenseTracer" }),
        json!({ "tracer": "callTracer", "tracerConfig": { "onlyTopCall": "yes" } }),
    ] {
        match trace(&chain, &calls(1), None, how.clone()) {
            Err(TraceError::Options(text)) => assert!(!text.is_empty()),
            other => panic!("{how}: {other:?}"),
        }
    }
}

#[test]
fn a_call_is_traced_on_overridden_accounts() {
    let chain = traced_chain();
    let stranger = Address::repeat_byte(0x77);
    let overrides: StateOverrides = BTreeMap::from([
        (stranger, basalt_execution::AccountOverride { balance: Some(U256::from(10)), ..Default::default() }),
        (
            COUNTER,
            basalt_execution::AccountOverride {
                state_diff: Some(BTreeMap::from([(U256::ZERO, U256::from(8))])),
                ..Default::default()
            },
        ),
    ]);
    let request = CallRequest { from: stranger, to: Some(COUNTER), value: U256::from(10), ..CallRequest::default() };
    let how = options(json!({ "tracer": "prestateTracer", "tracerConfig": { "diffMode": true } }));
    let ask = |overrides| chain.executor.trace_call(&env(0), &request, (&chain.state, overrides), (&how, ROOMY));
    let diff = serde_json::to_value(ask(&overrides).unwrap()).unwrap();
    let account = COUNTER.to_string().to_lowercase();
    assert_eq!(diff["post"][&account]["storage"][B256::ZERO.to_string()], json!(B256::with_last_byte(9)));
    assert_eq!(diff["post"][&account]["balance"], json!("0xa"));
    assert!(matches!(ask(&StateOverrides::new()), Err(TraceError::Invalid(_))), "without the balance it cannot pay");
}
