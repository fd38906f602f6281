//! Ethereum's own state tests, through our decoder, executor and trie: state roots and log hashes compared.
//!
//! Every twentieth file by default, all of them with `BASALT_STATETESTS=all`. Only the forks a chain of ours can
//! have are run, and no blob transactions (the chain refuses them).
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use alloy_primitives::{Address, B256, Bytes, U256, hex, keccak256};
use alloy_rlp::Encodable;
use basalt_execution::{BlockEnv, Executor, MemoryState, StateError, StateReader, StateTrie, genesis_state};
use basalt_primitives::{
    HashFn, Height, Log, Transaction,
    chainspec::{EvmFork, GenesisAccount},
    state::Account,
    tx::{Payload, Unverified, ethereum},
};
use serde_json::Value;

/// Tests that create a contract where an account has storage but neither code nor nonce (EIP-7610). No such account can
/// come about (`ChainSpec::check` refuses it in genesis), and revm does not look for one.
const UNREACHABLE: [&str; 5] = [
    "InitCollisionParis",
    "RevertInCreateInInitCreate2Paris",
    "RevertInCreateInInit_Paris",
    "create2collisionStorageParis",
    "dynamicAccountOverwriteEmpty_Paris",
];

/// Cases by what became of them.
#[derive(Debug, Default)]
struct Tally {
    passed: usize,
    blobs: usize,
    unreachable: usize,
    failed: Vec<String>,
}

#[test]
fn ethereum_state_tests() {
    let Some(folder) = fixtures() else { return };
    let mut files = Vec::new();
    collect(&folder, &mut files);
    files.sort();
    let all = std::env::var("BASALT_STATETESTS").is_ok_and(|v| v == "all");
    let mut tally = Tally::default();
    for file in files.iter().step_by(if all { 1 } else { 20 }) {
        run_file(file, &mut tally);
    }
    std::fs::remove_dir_all(folder.parent().unwrap()).unwrap();
    println!(
        "{} cases passed; left out: {} blob transactions, {} tests on states that cannot be",
        tally.passed, tally.blobs, tally.unreachable
    );
    assert!(tally.failed.is_empty(), "{} failed:\n{}", tally.failed.len(), tally.failed.join("\n"));
    assert!(tally.passed > if all { 20_000 } else { 400 });
}

fn run_file(file: &Path, tally: &mut Tally) {
    let document: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    for (name, test) in document.as_object().unwrap() {
        if UNREACHABLE.contains(&name.as_str()) {
            tally.unreachable += 1;
            continue;
        }
        for (fork, fork_name) in
            [(EvmFork::Shanghai, "Shanghai"), (EvmFork::Cancun, "Cancun"), (EvmFork::Prague, "Prague")]
        {
            for case in test["post"][fork_name].as_array().into_iter().flatten() {
                let raw = bytes(&case["txbytes"]);
                if raw.first() == Some(&3) {
                    tally.blobs += 1;
                    continue;
                }
                match run_case(test, fork, raw, case) {
                    Ok(()) => tally.passed += 1,
                    Err(e) => tally.failed.push(format!("{name} {fork_name} {}: {e}", case["indexes"])),
                }
            }
        }
    }
}

fn run_case(test: &Value, fork: EvmFork, raw: Bytes, case: &Value) -> Result<(), String> {
    let alloc = test["pre"].as_object().unwrap().iter().map(|(a, v)| (a.parse().unwrap(), account(v))).collect();
    let (mut spec, mut env) = (Arc::unwrap_or_clone(common::spec(fork, alloc)), environment(&test["env"]));
    spec.chain_id = 1;
    // The vectors know no EIP-2935 history before Prague, so the parent's hash does not matter.
    env.parent_hash = B256::ZERO;
    let (changes, batch) = genesis_state(&spec).unwrap();
    let mut state = MemoryState::new();
    state.apply(&changes);
    state.apply_trie(&batch.updates);
    let txs: Vec<Transaction> = decode(raw).into_iter().collect();
    let done = Executor::new(Arc::new(spec)).execute(&env, &txs, &TestState(&state)).map_err(|e| e.to_string())?;
    common::assert_before(&state, &done.changes);
    let root = StateTrie::open(batch.root, 0).apply(&done.changes, &state).map_err(|e| e.to_string())?.root;
    let logs: Vec<&Log> = done.receipts.iter().flat_map(|r| &r.logs).collect();
    let expected: B256 = case["hash"].as_str().unwrap().parse().unwrap();
    if root != expected {
        return Err(format!("root {root}, expected {expected}; {:?} {:?}", done.skipped, done.receipts));
    }
    let expected: B256 = case["logs"].as_str().unwrap().parse().unwrap();
    let logs = logs_hash(&logs);
    if logs != expected { Err(format!("logs {logs}, expected {expected}")) } else { Ok(()) }
}

/// The transaction, unless it is one that no block can hold.
fn decode(raw: Bytes) -> Option<Transaction> {
    let envelope = ethereum::decode(&raw).ok()?;
    Unverified::from_canonical(raw, Payload::Ethereum(Box::new(envelope)), HashFn::Sha256).verify().ok()
}

/// The state tests' rule for BLOCKHASH: the hash of the number's digits.
struct TestState<'a>(&'a MemoryState);

impl StateReader for TestState<'_> {
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError> {
        self.0.account(address)
    }
    fn storage(&self, address: &Address, slot: U256) -> Result<U256, StateError> {
        self.0.storage(address, slot)
    }
    fn code(&self, hash: &B256) -> Result<Option<Bytes>, StateError> {
        self.0.code(hash)
    }
    fn block_hash(&self, height: u64) -> Result<Option<B256>, StateError> {
        Ok(Some(keccak256(height.to_string())))
    }
}

fn environment(env: &Value) -> BlockEnv {
    BlockEnv {
        height: Height(number(&env["currentNumber"]).saturating_to()),
        timestamp_ms: number(&env["currentTimestamp"]).saturating_to::<u64>() * 1000,
        beneficiary: env["currentCoinbase"].as_str().unwrap().parse().unwrap(),
        base_fee: number(&env["currentBaseFee"]).saturating_to(),
        gas_limit: number(&env["currentGasLimit"]).saturating_to(),
        parent_hash: B256::ZERO,
        prev_randao: number(&env["currentRandom"]).into(),
    }
}

fn account(value: &Value) -> GenesisAccount {
    let slots = value["storage"].as_object().unwrap().iter();
    let word = |v: U256| B256::from(v);
    GenesisAccount {
        balance: number(&value["balance"]),
        nonce: number(&value["nonce"]).saturating_to(),
        code: bytes(&value["code"]),
        storage: slots.map(|(k, v)| (word(k.parse().unwrap()), word(number(v)))).collect::<BTreeMap<_, _>>(),
    }
}

fn number(value: &Value) -> U256 {
    value.as_str().map_or(U256::ZERO, |s| s.parse().unwrap())
}

fn bytes(value: &Value) -> Bytes {
    hex::decode(value.as_str().unwrap()).unwrap().into()
}

fn logs_hash(logs: &[&Log]) -> B256 {
    let mut payload = Vec::new();
    for log in logs {
        let mut fields = Vec::new();
        log.address.encode(&mut fields);
        log.topics.encode(&mut fields);
        log.data.encode(&mut fields);
        alloy_rlp::Header { list: true, payload_length: fields.len() }.encode(&mut payload);
        payload.extend(fields);
    }
    let mut list = Vec::new();
    alloy_rlp::Header { list: true, payload_length: payload.len() }.encode(&mut list);
    list.extend(payload);
    keccak256(list)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|e| e == "json") {
            files.push(path);
        }
    }
}

/// Unpacks the state tests; `None`, with a line that says so, where they are not at hand.
fn fixtures() -> Option<PathBuf> {
    let folder = std::env::var("BASALT_FIXTURES")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/fixtures").to_owned());
    let archive = Path::new(&folder).join("ethereum-tests.tar.xz");
    if !archive.exists() {
        assert!(std::env::var_os("CI").is_none(), "{} must be there in CI", archive.display());
        println!("skipped: {} is not there; get it from github.com/ethereum/tests", archive.display());
        return None;
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("statetests-{}", std::process::id()));
    std::fs::create_dir_all(&target).unwrap();
    let status = Command::new("tar").arg("xJf").arg(&archive).arg("-C").arg(&target).arg("GeneralStateTests").status();
    assert!(status.expect("tar runs").success());
    Some(target.join("GeneralStateTests"))
}
