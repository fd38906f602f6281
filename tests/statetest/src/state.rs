//! State tests: a transaction on a state, decoded, executed and committed by us; root and log hash compared.

use std::{collections::BTreeMap, sync::Arc};

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_rlp::Encodable;
use basalt_execution::{BlockEnv, Executed, Executor, MemoryState, StateError, StateReader, StateTrie, genesis_state};
use basalt_primitives::{
    ChainSpec, HashFn, Height, Log, SecretKey, Transaction,
    chainspec::{BftParams, Consensus, EvmFork, Fees, GenesisAccount, GenesisValidator},
    state::{Account, StateBefore, StateChanges},
    validators::Validator,
};
use serde_json::Value;

use crate::{
    Case, OLD_FORK, Verdict,
    json::{bytes, entries, field, number},
};

/// Tests that create a contract where an account has storage but neither code nor nonce (EIP-7610). No such account can
/// come about (`ChainSpec::check` refuses it in genesis), and revm does not look for one.
const UNREACHABLE: [&str; 5] = [
    "InitCollisionParis",
    "RevertInCreateInInitCreate2Paris",
    "RevertInCreateInInit_Paris",
    "create2collisionStorageParis",
    "dynamicAccountOverwriteEmpty_Paris",
];

/// The forks that a chain of ours can have, by the names that the tests give them.
pub(crate) fn fork(name: &str) -> Option<EvmFork> {
    match name {
        "Shanghai" => Some(EvmFork::Shanghai),
        "Cancun" => Some(EvmFork::Cancun),
        "Prague" => Some(EvmFork::Prague),
        "Osaka" => Some(EvmFork::Osaka),
        _ => None,
    }
}

pub(crate) fn run(name: &str, test: &Value, take: &mut dyn FnMut(&str, &mut dyn FnMut() -> Case)) {
    for (fork_name, cases) in entries(&test["post"]) {
        for case in cases.as_array().into_iter().flatten() {
            let full = format!("{name} {fork_name} {}", case["indexes"]);
            take(&full, &mut || match fork(fork_name) {
                None => Ok(Verdict::Skipped(OLD_FORK)),
                Some(_) if UNREACHABLE.contains(&name) => {
                    Ok(Verdict::Skipped("a contract where an account has storage only (EIP-7610): cannot come about"))
                }
                Some(_) if bytes(&case["txbytes"]).first() == Some(&3) => blob(&bytes(&case["txbytes"])),
                Some(fork) => check(test, fork, case).map(|()| Verdict::Passed),
            });
        }
    }
}

/// A blob transaction is refused with its reason; that is all there is to test.
fn blob(raw: &[u8]) -> Case {
    match basalt_primitives::tx::ethereum::decode(raw) {
        Err(e) if e.to_string().contains("EIP-4844") => {
            Ok(Verdict::Skipped("a blob transaction (EIP-4844), which the chain refuses; that it does is checked"))
        }
        other => Err(format!("a blob transaction was not refused as one: {other:?}")),
    }
}

fn check(test: &Value, fork: EvmFork, case: &Value) -> Result<(), String> {
    let alloc = entries(&test["pre"]).map(|(a, v)| (a.parse().expect("an address"), account(v))).collect();
    let spec = spec(fork, alloc);
    let (changes, batch) = genesis_state(&spec).map_err(|e| e.to_string())?;
    let mut state = MemoryState::new();
    state.apply(&changes);
    state.apply_trie(&batch.updates);
    let env = environment(&test["env"]);
    let decoded = decode(bytes(&case["txbytes"]));
    let txs: Vec<&Transaction> = decoded.iter().collect();
    let done = Executor::new(Arc::new(spec)).execute(&env, &txs, &TestState(&state)).map_err(|e| e.to_string())?;
    // What must not run must have been refused, what must run has a receipt.
    match (case.get("expectException"), done.receipts.len()) {
        (None, 1) | (Some(_), 0) => {}
        (None, _) => return Err(format!("did not run: {decoded:?} {:?}", done.skipped)),
        (Some(e), _) => return Err(format!("ran, expected {e}")),
    }
    if done.changes.before.as_ref() != Some(&before(&state, &done.changes)) {
        return Err(format!("wrong about what was there before: {:?}", done.changes.before));
    }
    let root = StateTrie::open(batch.root, 0).apply(&done.changes, &state).map_err(|e| e.to_string())?.root;
    compare(root, &done, case)
}

fn compare(root: B256, done: &Executed, case: &Value) -> Result<(), String> {
    let expected: B256 = field(&case["hash"]);
    if root != expected {
        return Err(format!("root {root}, expected {expected}; {:?} {:?}", done.skipped, done.receipts));
    }
    let logs = logs_hash(&done.receipts.iter().flat_map(|r| &r.logs).collect::<Vec<_>>());
    let expected: B256 = field(&case["logs"]);
    if logs != expected { Err(format!("logs {logs}, expected {expected}")) } else { Ok(()) }
}

/// The transaction, unless it is one that no block can hold.
fn decode(raw: Bytes) -> Result<Transaction, String> {
    let tx = basalt_proto::tx::decode(raw, 1, HashFn::Sha256).map_err(|e| e.to_string())?;
    tx.verify().map_err(|e| e.to_string())
}

/// What the changed accounts and slots are in the state before.
fn before(state: &MemoryState, changes: &StateChanges) -> StateBefore {
    let slot = |a: &Address, s: &U256| state.slots(a).and_then(|all| all.get(s)).copied().unwrap_or_default();
    let kept = changes.storage.iter().filter(|(_, s)| !s.wiped);
    StateBefore {
        accounts: changes.accounts.keys().map(|a| state.accounts().get(a).copied()).collect(),
        slots: kept.flat_map(|(a, s)| s.slots.keys().map(move |k| slot(a, k))).collect(),
    }
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

/// The block a test runs in. The vectors know no EIP-2935 history, so the parent's hash does not matter.
pub(crate) fn environment(env: &Value) -> BlockEnv {
    BlockEnv {
        height: Height(number(&env["currentNumber"]).saturating_to()),
        timestamp_ms: number(&env["currentTimestamp"]).saturating_to::<u64>() * 1000,
        beneficiary: env["currentCoinbase"].as_str().map_or(Address::ZERO, |s| s.parse().expect("an address")),
        base_fee: number(&env["currentBaseFee"]).saturating_to(),
        gas_limit: number(&env["currentGasLimit"]).saturating_to(),
        parent_hash: B256::ZERO,
        prev_randao: number(&env["currentRandom"]).into(),
    }
}

fn account(value: &Value) -> GenesisAccount {
    let slots = entries(&value["storage"]).map(|(k, v)| (k.parse::<U256>().expect("a slot").into(), number(v).into()));
    GenesisAccount {
        balance: number(&value["balance"]),
        nonce: number(&value["nonce"]).saturating_to(),
        code: bytes(&value["code"]),
        storage: slots.collect::<BTreeMap<B256, B256>>(),
    }
}

/// A chain with these accounts and the tests' chain id.
pub(crate) fn spec(fork: EvmFork, alloc: BTreeMap<Address, GenesisAccount>) -> ChainSpec {
    let public_key = SecretKey::from_bytes(&[9; 32]).public_key();
    ChainSpec {
        name: "statetest".into(),
        chain_id: 1,
        genesis_time_ms: 0,
        hash_fn: HashFn::Sha256,
        development: true,
        consensus: Consensus::Pbft(BftParams {
            block_interval_ms: 0,
            round_timeout_ms: 1000,
            round_timeout_cap_ms: 8000,
            empty_block_ms: None,
            clock_tolerance_ms: 1000,
        }),
        gas_limit: 30_000_000,
        max_block_bytes: 1024 * 1024,
        essential: Default::default(),
        fees: Fees::Zero,
        forks: BTreeMap::from([(Height::GENESIS, fork)]),
        validators: vec![GenesisValidator { name: "one".into(), validator: Validator { public_key, power: 1 } }],
        alloc,
    }
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
