//! Contracts, calls and gas estimates through the executor.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use alloy_consensus::TxEip7702;
use alloy_eips::{
    eip2935::{HISTORY_STORAGE_ADDRESS, HISTORY_STORAGE_CODE},
    eip7702::Authorization,
};
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use basalt_execution::{
    BuildLimits, CallEnd, CallError, CallRequest, ExecError, MemoryState, SkipReason, StateError, StateOverrides,
    StateReader,
};
use basalt_primitives::{Transaction, chainspec::EvmFork, state::Account, tx::NativeTx};
use common::*;

const CONTRACT: Address = Address::repeat_byte(0xc0);

fn with_code(code: &[u8]) -> Chain {
    with_code_at(EvmFork::Osaka, code)
}

fn with_code_at(fork: EvmFork, code: &[u8]) -> Chain {
    chain(fork, BTreeMap::from([(wallet(1).address, rich(ETHER)), (CONTRACT, contract(code))]))
}

fn call_tx(nonce: u64, to: TxKind, input: impl Into<Bytes>) -> Transaction {
    wallet(1).sign(eip1559(nonce, to, 0, 1_000_000, input.into()))
}

fn word(n: u64) -> Bytes {
    Bytes::copy_from_slice(&U256::from(n).to_be_bytes::<32>())
}

#[test]
fn a_contract_is_deployed_and_called() {
    // Logs its call data's first word as a topic and stores it in slot 1.
    let code = [0x5f, 0x35, 0x80, 0x60, 0x01, 0x55, 0x5f, 0x5f, 0xa1];
    let mut chain = with_code(&[]);
    let sender = wallet(1).address;
    let made = sender.create(0);
    let txs = [call_tx(0, TxKind::Create, deployer(&code)), call_tx(1, TxKind::Call(made), word(77))];
    let done = chain.executor.execute(&env(0), &txs, &chain.state).unwrap();
    let [deploy, call] = done.receipts.as_slice() else { panic!("{done:?}") };
    assert!(deploy.success && call.success);
    assert_eq!((deploy.contract_address, call.contract_address), (Some(made), None));
    assert_eq!(call.cumulative_gas_used, deploy.gas_used + call.gas_used);
    assert_eq!((call.logs[0].address, call.logs[0].topics.clone()), (made, vec![B256::from(U256::from(77))]));
    assert_eq!(done.changes.code[&hash_of(&code)].as_ref(), code);
    assert_eq!(done.changes.storage[&made].slots, BTreeMap::from([(U256::from(1), U256::from(77))]));
    common::assert_before(&chain.state, &done.changes);
    let batch = chain.trie.apply(&done.changes, &chain.state).unwrap();
    chain.state.apply(&done.changes);
    assert_eq!(batch.root, reference_root(&chain.state));
}

#[test]
fn native_accounts_call_contracts_by_the_same_gas_rules() {
    let code = [0x5f, 0x35, 0x60, 0x01, 0x55];
    let key = native_key(1);
    let alloc = BTreeMap::from([
        (key.public_key().address(), rich(ETHER)),
        (wallet(1).address, rich(ETHER)),
        (CONTRACT, contract(&code)),
    ]);
    let chain = chain(EvmFork::Osaka, alloc);
    let tx = NativeTx { gas_limit: 1_000_000, input: word(5), ..native_tx(0, Some(CONTRACT), 0) };
    let native = chain.executor.execute(&env(0), &[native(&key, tx)], &chain.state).unwrap();
    let eth = chain.executor.execute(&env(0), &[call_tx(0, TxKind::Call(CONTRACT), word(5))], &chain.state).unwrap();
    assert!(native.receipts[0].success);
    assert_eq!(native.receipts[0].tx_type, 0x42);
    assert_eq!(native.gas_used, eth.gas_used);
    assert_eq!(native.changes.storage, eth.changes.storage);
}

#[test]
fn a_revert_pays_and_keeps_its_data_bounded() {
    // REVERT with 2048 bytes of zeroes after storing something.
    let code = [0x60, 0x01, 0x5f, 0x55, 0x61, 0x08, 0x00, 0x5f, 0xfd];
    let chain = with_code(&code);
    let done = chain.executor.execute(&env(0), &[call_tx(0, TxKind::Call(CONTRACT), vec![])], &chain.state).unwrap();
    let receipt = &done.receipts[0];
    assert!(!receipt.success && receipt.logs.is_empty());
    assert_eq!(receipt.revert_data.len(), 1024);
    assert!(done.changes.storage.is_empty());
    assert_eq!(done.changes.accounts[&wallet(1).address].unwrap().nonce, 1);
}

#[test]
fn running_out_of_gas_uses_all_of_it() {
    // An endless loop.
    let chain = with_code(&[0x5b, 0x5f, 0x56]);
    let done = chain.executor.execute(&env(0), &[call_tx(0, TxKind::Call(CONTRACT), vec![])], &chain.state).unwrap();
    assert_eq!((done.receipts[0].success, done.gas_used), (false, 1_000_000));
    assert!(done.receipts[0].revert_data.is_empty());
}

#[test]
fn block_values_are_the_stated_ones() {
    // Stores one value after the other, from slot 0.
    let ops: [&[u8]; 7] = [&[0x43], &[0x42], &[0x41], &[0x44], &[0x46], &[0x4a], &[0x60, 0x03, 0x40]];
    let code: Vec<u8> = ops.iter().enumerate().flat_map(|(i, op)| [op, &[0x60, i as u8, 0x55][..]].concat()).collect();
    let mut chain = with_code(&code);
    chain.state.set_block_hash(3, B256::repeat_byte(0x33));
    let mut env = env(0);
    env.height = basalt_primitives::Height(5);
    let done = chain.executor.execute(&env, &[call_tx(0, TxKind::Call(CONTRACT), vec![])], &chain.state).unwrap();
    let slots: Vec<U256> = done.changes.storage[&CONTRACT].slots.values().copied().collect();
    assert_eq!(
        slots,
        [
            U256::from(5),
            U256::from(1_700_000_001),
            U256::from_be_slice(PROPOSER.as_slice()),
            B256::repeat_byte(0x11).into(),
            U256::from(CHAIN),
            U256::from(1),
            B256::repeat_byte(0x33).into(),
        ]
    );
}

#[test]
fn create2_and_selfdestruct_in_one_transaction_leave_nothing() {
    // Init code: SELFDESTRUCT to the caller. The contract CREATE2s it with salt 0 and value 0.
    // PUSH2 33ff; PUSH0; MSTORE (right-aligned: bytes 30..32); PUSH0 salt; PUSH1 2; PUSH1 30; PUSH0 value; CREATE2; PUSH0; SSTORE
    let code = [0x61, 0x33, 0xff, 0x5f, 0x52, 0x5f, 0x60, 0x02, 0x60, 0x1e, 0x5f, 0xf5, 0x5f, 0x55];
    let chain = with_code(&code);
    let made = CONTRACT.create2(B256::ZERO, hash_of(&[0x33, 0xff]));
    let done = chain.executor.execute(&env(0), &[call_tx(0, TxKind::Call(CONTRACT), vec![])], &chain.state).unwrap();
    assert!(done.receipts[0].success);
    assert_eq!(done.changes.storage[&CONTRACT].slots[&U256::ZERO], U256::from_be_slice(made.as_slice()));
    assert!(!done.changes.accounts.contains_key(&made), "it never was, as far as the state knows");
}

/// Before Cancun a contract can destroy itself and all its storage.
#[test]
fn selfdestruct_by_the_old_rules_wipes_storage() {
    let mut alloc = BTreeMap::from([(wallet(1).address, rich(ETHER)), (CONTRACT, contract(&[0x33, 0xff]))]);
    let slots = (1..50u64).map(|n| (B256::from(U256::from(n)), B256::from(U256::from(n)))).collect();
    alloc.get_mut(&CONTRACT).unwrap().storage = slots;
    let txs = [call_tx(0, TxKind::Call(CONTRACT), vec![])];
    let mut old = chain(EvmFork::Shanghai, alloc.clone());
    let done = old.executor.execute(&env(0), &txs, &old.state).unwrap();
    assert_eq!(done.changes.accounts[&CONTRACT], None);
    common::assert_before(&old.state, &done.changes);
    let batch = old.trie.apply(&done.changes, &old.state).unwrap();
    old.state.apply(&done.changes);
    old.state.apply_trie(&batch.updates);
    assert_eq!(batch.root, reference_root(&old.state));
    assert!(old.state.nodes().keys().all(|k| k.account.is_none()), "its storage trie is gone");
    let new = chain(EvmFork::Cancun, alloc);
    let done = new.executor.execute(&env(0), &txs, &new.state).unwrap();
    assert!(!done.changes.accounts.contains_key(&CONTRACT));
}

#[test]
fn an_eip7702_delegation_runs_the_delegates_code() {
    // Stores ADDRESS in slot 0.
    let chain = with_code(&[0x30, 0x5f, 0x55]);
    let (sender, authority) = (wallet(1), wallet(2));
    let authorization = Authorization { chain_id: U256::from(CHAIN), address: CONTRACT, nonce: 0 };
    let signature = authority.sign_hash(authorization.signature_hash());
    let tx = TxEip7702 {
        chain_id: CHAIN,
        nonce: 0,
        gas_limit: 500_000,
        max_fee_per_gas: 0,
        max_priority_fee_per_gas: 0,
        to: authority.address,
        value: U256::ZERO,
        access_list: Default::default(),
        authorization_list: vec![authorization.into_signed(signature)],
        input: Bytes::new(),
    };
    let done = chain.executor.execute(&env(0), &[sender.sign(tx.clone())], &chain.state).unwrap();
    assert!(done.receipts[0].success);
    let delegated = done.changes.accounts[&authority.address].unwrap();
    let code = [&[0xef, 0x01, 0x00][..], CONTRACT.as_slice()].concat();
    assert_eq!((delegated.nonce, delegated.code_hash), (1, hash_of(&code)));
    let at = done.changes.storage[&authority.address].slots[&U256::ZERO];
    assert_eq!(at, U256::from_be_slice(authority.address.as_slice()));
    let old = with_code_at(EvmFork::Cancun, &[0x30, 0x5f, 0x55]);
    let done = old.executor.execute(&env(0), &[sender.sign(tx)], &old.state).unwrap();
    assert!(matches!(done.skipped[0].2, SkipReason::Unsupported(_)), "{:?}", done.skipped);
}

#[test]
fn the_history_contract_serves_parent_hashes() {
    let mut alloc = BTreeMap::from([(wallet(1).address, rich(ETHER))]);
    alloc.insert(HISTORY_STORAGE_ADDRESS, contract(&HISTORY_STORAGE_CODE));
    let chain = chain(EvmFork::Prague, alloc);
    let done = chain.executor.execute::<Transaction>(&env(0), &[], &chain.state).unwrap();
    let mut after = chain.state.clone();
    after.apply(&done.changes);
    let mut at_2 = env(0);
    at_2.height = basalt_primitives::Height(2);
    let ask = CallRequest { to: Some(HISTORY_STORAGE_ADDRESS), input: word(0), ..CallRequest::default() };
    let told = chain.executor.call(&at_2, &ask, &after, &StateOverrides::new()).unwrap();
    assert_eq!((told.end, told.output.as_ref()), (CallEnd::Success, B256::repeat_byte(0x11).as_slice()));
}

#[test]
fn calls_answer_and_change_nothing() {
    // Returns CALLER in the first word, or reverts with call data's first word when there is any.
    // CALLDATASIZE PUSH1 0a JUMPI CALLER PUSH0 MSTORE PUSH1 32 PUSH0 RETURN | JUMPDEST PUSH0 CALLDATALOAD PUSH0 MSTORE PUSH1 32 PUSH0 REVERT
    let code = [
        0x36, 0x60, 0x0a, 0x57, 0x33, 0x5f, 0x52, 0x60, 0x20, 0x5f, 0xf3, 0x5b, 0x5f, 0x35, 0x5f, 0x52, 0x60, 0x20,
        0x5f, 0xfd,
    ];
    let code = {
        let mut c = code;
        c[2] = 0x0b;
        c
    };
    let chain = with_code(&code);
    let from = CONTRACT; // A contract may call as well: EIP-3607 is for transactions.
    let ask = |input: Bytes| CallRequest { from, to: Some(CONTRACT), input, ..CallRequest::default() };
    let told = chain.executor.call(&env(9), &ask(Bytes::new()), &chain.state, &StateOverrides::new()).unwrap();
    assert_eq!(told.end, CallEnd::Success);
    assert_eq!(U256::from_be_slice(&told.output), U256::from_be_slice(from.as_slice()));
    let reverted = chain.executor.call(&env(9), &ask(word(42)), &chain.state, &StateOverrides::new()).unwrap();
    assert_eq!((reverted.end, reverted.output), (CallEnd::Revert, word(42)));
    assert_eq!(
        chain.executor.estimate_gas(&env(9), &ask(word(42)), &chain.state, &StateOverrides::new()),
        Err(CallError::Revert(word(42)))
    );
    let poor = CallRequest { value: U256::from(1), from: Address::repeat_byte(1), ..ask(Bytes::new()) };
    let refused = chain.executor.call(&env(9), &poor, &chain.state, &StateOverrides::new()).unwrap_err();
    assert!(matches!(refused, CallError::Invalid(SkipReason::InsufficientFunds { .. })), "{refused}");
}

#[test]
fn an_estimate_is_enough_and_not_much_more() {
    // Fills slots 0..call data's first word.
    // PUSH0 JUMPDEST(1) DUP1 DUP1 PUSH1 1 ADD SSTORE... kept simple: stores in three slots.
    let code = [0x60, 0x01, 0x5f, 0x55, 0x60, 0x01, 0x60, 0x01, 0x55, 0x60, 0x01, 0x60, 0x02, 0x55];
    let chain = with_code(&code);
    let ask = CallRequest { from: wallet(1).address, to: Some(CONTRACT), ..CallRequest::default() };
    let estimate = chain.executor.estimate_gas(&env(0), &ask, &chain.state, &StateOverrides::new()).unwrap();
    let used = chain.executor.call(&env(0), &ask, &chain.state, &StateOverrides::new()).unwrap().gas_used;
    assert!(estimate >= used && estimate < used + used / 32, "{estimate} for {used}");
    let run = |gas| {
        let tx = wallet(1).sign(eip1559(0, TxKind::Call(CONTRACT), 0, gas, Bytes::new()));
        chain.executor.execute(&env(0), &[tx], &chain.state).unwrap().receipts[0].success
    };
    assert!(run(estimate) && !run(used - 1));
    let transfer =
        CallRequest { from: wallet(1).address, to: Some(wallet(9).address), value: U256::from(1), ..ask.clone() };
    assert_eq!(chain.executor.estimate_gas(&env(0), &transfer, &chain.state, &StateOverrides::new()), Ok(21_000));
    let tight = CallRequest { gas: Some(30_000), ..ask };
    assert_eq!(
        chain.executor.estimate_gas(&env(0), &tight, &chain.state, &StateOverrides::new()),
        Err(CallError::Allowance(30_000))
    );
}

/// A state that panics or fails when one account is read.
struct Faulty<'a> {
    inner: &'a MemoryState,
    at: Address,
    panics: bool,
    reads: AtomicUsize,
}

impl StateReader for Faulty<'_> {
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        if *address != self.at {
            return self.inner.account(address);
        }
        assert!(!self.panics, "planted");
        Err(StateError::Read("planted".into()))
    }
    fn storage(&self, address: &Address, slot: U256) -> Result<U256, StateError> {
        self.inner.storage(address, slot)
    }
    fn code(&self, hash: &B256) -> Result<Option<Bytes>, StateError> {
        self.inner.code(hash)
    }
    fn block_hash(&self, height: u64) -> Result<Option<B256>, StateError> {
        self.inner.block_hash(height)
    }
}

#[test]
fn a_panic_stops_an_ordered_block_and_costs_a_built_one_a_transaction() {
    let chain = with_code(&[0x5f, 0x35, 0x31]); // BALANCE of the address in the call data
    let bad = Address::repeat_byte(0xba);
    let faulty = |panics| Faulty { inner: &chain.state, at: bad, panics, reads: AtomicUsize::new(0) };
    let ask = |nonce, who: Address| call_tx(nonce, TxKind::Call(CONTRACT), who.into_word().to_vec());
    let txs = [ask(0, PROPOSER), ask(1, bad), ask(1, CONTRACT)];
    let stopped = chain.executor.execute(&env(0), &txs, &faulty(true)).unwrap_err();
    let ExecError::Panic { index: 1, tx, message } = stopped else { panic!("{stopped}") };
    assert_eq!((tx, message.as_str()), (txs[1].hash(), "planted"));
    let limits = BuildLimits { max_gas: u64::MAX, max_bytes: u64::MAX };
    let built = chain.executor.build(&env(0), &txs, limits, &faulty(true)).unwrap();
    assert_eq!(built.included.iter().map(|t| t.hash()).collect::<Vec<_>>(), [txs[0].hash(), txs[2].hash()]);
    assert!(matches!(&built.dropped[..], [(hash, SkipReason::Quarantined(_))] if *hash == txs[1].hash()));
    let same = chain.executor.execute(&env(0), &built.included, &chain.state).unwrap();
    assert_eq!(same, built.executed);
    let failed = chain.executor.execute(&env(0), &txs, &faulty(false)).unwrap_err();
    assert!(matches!(failed, ExecError::State(StateError::Read(_))), "{failed}");
}

#[test]
fn each_account_is_read_once_per_block() {
    let chain = with_code(&[0x5f, 0x35, 0x31]);
    let state =
        Faulty { inner: &chain.state, at: Address::repeat_byte(0xba), panics: false, reads: AtomicUsize::new(0) };
    let txs: Vec<_> = (0..20).map(|n| call_tx(n, TxKind::Call(CONTRACT), vec![])).collect();
    chain.executor.execute(&env(0), &txs, &state).unwrap();
    // Sender, contract, proposer, the zero address that is asked about, and the (missing) history and, in block 1, validator
    // contracts.
    assert!(state.reads.load(Ordering::Relaxed) <= 6);
}
