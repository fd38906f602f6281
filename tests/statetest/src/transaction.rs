//! Transaction tests: whether a block can hold the bytes as a transaction, and its hash, sender and intrinsic gas.

use std::{collections::BTreeMap, sync::Arc};

use alloy_primitives::{Address, B256, Bytes, U256};
use basalt_execution::{Executor, MemoryState, genesis_state};
use basalt_primitives::{
    HashFn, Receipt, Transaction,
    chainspec::{EvmFork, GenesisAccount},
};
use serde_json::Value;

use crate::{
    Case, OLD_FORK, Verdict,
    json::{bytes, entries, field, number},
    state::{self, environment},
};

/// Tests of transactions that are well-formed and that no account could ever pay for.
const UNPAYABLE: [&str; 4] =
    ["GasLimitPriceProductOverflowtMinusOne", "TransactionWithHighGasPrice", "TransactionWithHighValue", "V_equals38"];

pub(crate) fn run(name: &str, test: &Value, take: &mut dyn FnMut(&str, &mut dyn FnMut() -> Case)) {
    for (fork_name, expected) in entries(&test["result"]) {
        take(&format!("{name} {fork_name}"), &mut || match state::fork(fork_name) {
            None => Ok(Verdict::Skipped(OLD_FORK)),
            Some(fork) if UNPAYABLE.contains(&name) => unpayable(bytes(&test["txbytes"]), fork),
            Some(fork) => check(test, fork, expected).map(|()| Verdict::Passed),
        });
    }
}

fn unpayable(raw: Bytes, fork: EvmFork) -> Case {
    match admitted(raw, fork) {
        Ok(_) => Err("taken, although nobody can pay for it".into()),
        Err(_) => Ok(Verdict::Skipped(
            "a fee of 2^128 wei per gas or more, or a cost above 2^256 wei: refused here at once, and that it is is checked",
        )),
    }
}

fn check(test: &Value, fork: EvmFork, expected: &Value) -> Result<(), String> {
    let ours = admitted(bytes(&test["txbytes"]), fork);
    let (tx, receipt) = match (ours, expected.get("exception")) {
        (Err(_), Some(_)) => return Ok(()),
        (Ok((tx, _)), Some(e)) => return Err(format!("taken as {tx:?}, expected {e}")),
        (Err(e), None) => return Err(format!("refused: {e}")),
        (Ok(ran), None) => ran,
    };
    let same = |what: &str, ours: U256, theirs: U256| {
        if ours == theirs { Ok(()) } else { Err(format!("{what} {ours:#x}, expected {theirs:#x}")) }
    };
    same("hash", tx.hash().into(), field::<B256>(&expected["hash"]).into())?;
    let word = |a: Address| U256::from_be_bytes(a.into_word().0);
    same("sender", word(tx.sender()), word(field(&expected["sender"])))?;
    let (used, intrinsic) = (U256::from(receipt.gas_used), number(&expected["intrinsicGas"]));
    match tx.payload().to() {
        // Where there is no code to run, intrinsic gas is all the gas.
        Some(_) => same("intrinsic gas", used, intrinsic),
        None if used >= intrinsic => Ok(()),
        None => Err(format!("a creation used {used} gas, of which {intrinsic} should be intrinsic")),
    }
}

/// The transaction and its receipt, if it decodes, its signature verifies, and it runs for a sender who can pay whatever
/// it asks.
fn admitted(raw: Bytes, fork: EvmFork) -> Result<(Transaction, Receipt), String> {
    let tx = basalt_proto::tx::decode(raw, 1, HashFn::Sha256).map_err(|e| e.to_string())?;
    let tx = tx.verify().map_err(|e| e.to_string())?;
    let sender = GenesisAccount { balance: U256::MAX, nonce: tx.payload().nonce(), ..GenesisAccount::default() };
    let spec = state::spec(fork, BTreeMap::from([(tx.sender(), sender)]));
    let (changes, _) = genesis_state(&spec).map_err(|e| e.to_string())?;
    let mut state = MemoryState::new();
    state.apply(&changes);
    let mut env = environment(&Value::Null);
    env.gas_limit = u64::MAX;
    let done = Executor::new(Arc::new(spec)).execute(&env, &[&tx], &state).map_err(|e| e.to_string())?;
    match (done.receipts.into_iter().next(), done.skipped.first()) {
        (Some(receipt), None) => Ok((tx, receipt)),
        (_, skipped) => Err(format!("{skipped:?}")),
    }
}
