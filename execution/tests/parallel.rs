//! Blocks executed on several threads against the same blocks executed on one: receipts, gas, changes and skips are the
//! same to the byte, and so are errors.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeMap;

use alloy_consensus::TxEip7702;
use alloy_eips::eip7702::Authorization;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use basalt_execution::{BlockEnv, ExecError, Executor, MemoryState, StateError, StateReader};
use basalt_primitives::{
    Transaction,
    chainspec::{EvmFork, GenesisAccount},
    state::Account,
    tx::NativeTx,
};
use common::*;
use proptest::prelude::*;

/// Counts in one slot: every call depends on the one before.
const COUNTER: Address = Address::repeat_byte(0xc1);
/// Counts calls by caller and logs who called: calls of different accounts have nothing to do with each other.
const OWN: Address = Address::repeat_byte(0xc2);
/// Stores the proposer's balance.
const WATCH: Address = Address::repeat_byte(0xc3);
/// Sends what came along to the proposer.
const PAY: Address = Address::repeat_byte(0xc4);
/// Destroys itself in favour of the caller.
const GONE: Address = Address::repeat_byte(0xc5);
/// Counts to one, then always reverts.
const ONCE: Address = Address::repeat_byte(0xc6);
/// CREATE2 with its call data as init code.
const FACTORY: Address = Address::repeat_byte(0xc7);
/// Uses all gas.
const FOREVER: Address = Address::repeat_byte(0xc8);

const SENDERS: usize = 8;

fn contracts() -> BTreeMap<Address, GenesisAccount> {
    let code = |a, code: &[u8]| (a, GenesisAccount { balance: U256::from(1000), ..contract(code) });
    BTreeMap::from([
        code(COUNTER, &[0x5f, 0x54, 0x60, 0x01, 0x01, 0x5f, 0x55]),
        code(OWN, &[0x33, 0x54, 0x60, 0x01, 0x01, 0x33, 0x55, 0x33, 0x5f, 0x5f, 0xa1]),
        code(WATCH, &[0x41, 0x31, 0x33, 0x55]),
        code(PAY, &[0x5f, 0x5f, 0x5f, 0x5f, 0x34, 0x41, 0x5a, 0xf1, 0x33, 0x55]),
        code(GONE, &[0x33, 0xff]),
        code(
            ONCE,
            &[
                0x5f, 0x54, 0x80, 0x60, 0x01, 0x16, 0x60, 0x0f, 0x57, 0x60, 0x01, 0x01, 0x5f, 0x55, 0x00, 0x5b, 0x5f,
                0x5f, 0xfd,
            ],
        ),
        code(FACTORY, &[0x36, 0x5f, 0x5f, 0x37, 0x5f, 0x36, 0x5f, 0x5f, 0xf5, 0x5f, 0x52, 0x60, 0x20, 0x5f, 0xf3]),
        code(FOREVER, &[0x5b, 0x5f, 0x56]),
    ])
}

fn sender(n: usize) -> Address {
    if n < 4 { native_key(n as u8 + 1).public_key().address() } else { wallet(n as u8 + 1).address }
}

#[derive(Clone, Debug)]
enum Act {
    Call(Address, Bytes),
    Create(Bytes),
    /// Delegates an Ethereum sender's account; and calls somebody, perhaps a delegated account.
    Delegate(usize, Address, u64, Address),
}

#[derive(Clone, Debug)]
struct Move {
    from: usize,
    act: Act,
    value: u128,
    nonce_off: i8,
    gas: u64,
    fee: u128,
    tip: u128,
}

fn act() -> impl Strategy<Value = Act> {
    let init = prop_oneof![
        Just(deployer(&[0x60, 0x07, 0x5f, 0x55])),
        Just(Bytes::from_static(&[0x33, 0xff])),
        Just(Bytes::from_static(&[0xfe])),
    ];
    let contract = prop::sample::select(vec![COUNTER, OWN, OWN, OWN, WATCH, PAY, GONE, ONCE, FOREVER]);
    let anyone = prop_oneof![(0..SENDERS).prop_map(sender), Just(PROPOSER), Just(Address::repeat_byte(0x77))];
    prop_oneof![
        6 => contract.clone().prop_map(|a| Act::Call(a, Bytes::new())),
        3 => anyone.clone().prop_map(|a| Act::Call(a, Bytes::new())),
        1 => init.clone().prop_map(|init| Act::Call(FACTORY, init)),
        1 => init.prop_map(Act::Create),
        1 => (4..SENDERS, contract, 0..3u64, anyone).prop_map(|(who, code, nonce, to)| Act::Delegate(who, code, nonce, to)),
    ]
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let value = prop_oneof![3 => Just(0), 3 => 0..1000u128, 1 => Just(u128::MAX)];
    let off = prop_oneof![12 => Just(0i8), 1 => -1..2i8];
    let gas = prop_oneof![8 => Just(150_000u64), 1 => 20_000..60_000u64, 1 => Just(2_900_000)];
    let fee = prop_oneof![4 => 20..40u128, 1 => 0..12u128];
    let one = (0..SENDERS, act(), value, off, gas, fee, 0..20u128);
    let one = one.prop_map(|(from, act, value, nonce_off, gas, fee, tip)| Move {
        from,
        act,
        value,
        nonce_off,
        gas,
        fee,
        tip,
    });
    prop::collection::vec(one, 2..60)
}

fn delegate(m: &Move, nonce: u64, (who, code, of, to): (usize, Address, u64, Address)) -> Transaction {
    let authorization = Authorization { chain_id: U256::from(CHAIN), address: code, nonce: of };
    let signature = wallet(who as u8 + 1).sign_hash(authorization.signature_hash());
    wallet(m.from as u8 + 1).sign(TxEip7702 {
        chain_id: CHAIN,
        nonce,
        gas_limit: m.gas,
        max_fee_per_gas: m.fee,
        max_priority_fee_per_gas: m.tip,
        to,
        value: U256::from(m.value),
        access_list: Default::default(),
        authorization_list: vec![authorization.into_signed(signature)],
        input: Bytes::new(),
    })
}

fn sign(m: &Move, nonces: &mut [u64; SENDERS]) -> Transaction {
    let nonce = nonces[m.from].saturating_add_signed(m.nonce_off.into());
    nonces[m.from] += u64::from(m.nonce_off == 0);
    let (to, input) = match m.act.clone() {
        Act::Call(to, input) => (Some(to), input),
        Act::Create(init) => (None, init),
        Act::Delegate(who, code, of, to) if m.from >= 4 => return delegate(m, nonce, (who, code, of, to)),
        Act::Delegate(.., to) => (Some(to), Bytes::new()),
    };
    if m.from < 4 {
        let (fee, tip) = (m.fee, m.tip);
        let tx = NativeTx {
            max_fee_per_gas: fee,
            max_priority_fee_per_gas: tip,
            gas_limit: m.gas,
            input,
            ..native_tx(nonce, to, m.value)
        };
        return native(&native_key(m.from as u8 + 1), tx);
    }
    wallet(m.from as u8 + 1).sign(alloy_consensus::TxEip1559 {
        max_fee_per_gas: m.fee,
        max_priority_fee_per_gas: m.tip,
        ..eip1559(nonce, to.map_or(TxKind::Create, TxKind::Call), m.value, m.gas, input)
    })
}

fn chain_of(fork: EvmFork, balance: u128) -> Chain {
    let mut alloc = contracts();
    alloc.extend((0..SENDERS).map(|n| (sender(n), rich(balance))));
    chain(fork, alloc)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn several_threads_change_nothing(
        moves in moves(),
        balance in prop_oneof![3 => Just(ETHER), 1 => 0..20_000_000u128],
        base_fee in prop_oneof![Just(0u64), 0..20u64],
        // The proposer: nobody, a sender, a contract.
        beneficiary in prop_oneof![4 => Just(PROPOSER), 1 => (0..SENDERS).prop_map(sender), 1 => Just(GONE), 1 => Just(COUNTER)],
        gas_limit in prop_oneof![3 => Just(30_000_000u64), 1 => 200_000..3_000_000u64],
        fork in prop_oneof![Just(EvmFork::Shanghai), Just(EvmFork::Cancun), Just(EvmFork::Prague), Just(EvmFork::Osaka)],
        threads in 2..5usize,
        fast in any::<bool>(),
    ) {
        let chain = chain_of(fork, balance);
        let spec = chain.executor.spec();
        let mut nonces = [0; SENDERS];
        let txs: Vec<Transaction> = moves.iter().map(|m| sign(m, &mut nonces)).collect();
        let env = BlockEnv { beneficiary, gas_limit, ..env(base_fee) };
        let make = || if fast { Executor::new(spec.clone()) } else { Executor::new(spec.clone()).without_fast_transfers() };
        let one = make().execute(&env, &txs, &chain.state).unwrap();
        let several = make().with_threads(threads).execute(&env, &txs, &chain.state).unwrap();
        prop_assert_eq!(&several, &one);
        common::assert_before(&chain.state, &several.changes);
        prop_assert_eq!(several.receipts.len() + several.skipped.len(), txs.len());
    }
}

/// One call each by many accounts.
fn calls(to: Address, senders: u8) -> (Chain, Vec<Transaction>) {
    let mut alloc = contracts();
    alloc.extend((1..=senders).map(|n| (native_key(n).public_key().address(), rich(ETHER))));
    let call = |n| {
        NativeTx { gas_limit: 100_000, max_fee_per_gas: 20, max_priority_fee_per_gas: 3, ..native_tx(0, Some(to), 0) }
            .sign_by(n)
    };
    (chain(EvmFork::Osaka, alloc), (1..=senders).map(call).collect())
}

trait SignBy {
    fn sign_by(self, n: u8) -> Transaction;
}

impl SignBy for NativeTx {
    fn sign_by(self, n: u8) -> Transaction {
        native(&native_key(n), self)
    }
}

#[test]
fn independent_calls_are_all_taken_over_although_each_tips_the_proposer() {
    let (chain, txs) = calls(OWN, 100);
    let executor = Executor::new(chain.executor.spec().clone()).with_threads(3);
    let done = executor.execute(&env(10), &txs, &chain.state).unwrap();
    assert_eq!(done, chain.executor.execute(&env(10), &txs, &chain.state).unwrap());
    assert_eq!(executor.ran_ahead(), (100, 0));
    assert_eq!(chain.executor.ran_ahead(), (0, 0));
    assert_eq!(done.changes.accounts[&PROPOSER].unwrap().balance, U256::from(3 * done.gas_used));
}

#[test]
fn calls_that_depend_on_each_other_run_again() {
    let (chain, txs) = calls(COUNTER, 100);
    let executor = Executor::new(chain.executor.spec().clone()).with_threads(3);
    let done = executor.execute(&env(10), &txs, &chain.state).unwrap();
    assert_eq!(done, chain.executor.execute(&env(10), &txs, &chain.state).unwrap());
    assert_eq!(done.changes.storage[&COUNTER].slots[&U256::ZERO], U256::from(100));
    // The first of each window of 96 holds.
    assert_eq!(executor.ran_ahead(), (2, 98));
}

/// A state that cannot be read in one place.
struct Broken<'a>(&'a MemoryState, bool);

impl StateReader for Broken<'_> {
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError> {
        self.0.account(address)
    }
    fn storage(&self, address: &Address, slot: U256) -> Result<U256, StateError> {
        if *address == OWN && slot == U256::from_be_bytes(native_key(50).public_key().address().into_word().0) {
            assert!(!self.1, "the disk is on fire");
            return Err(StateError::Read("the disk is gone".into()));
        }
        self.0.storage(address, slot)
    }
    fn code(&self, hash: &B256) -> Result<Option<Bytes>, StateError> {
        self.0.code(hash)
    }
    fn block_hash(&self, height: u64) -> Result<Option<B256>, StateError> {
        self.0.block_hash(height)
    }
}

#[test]
fn errors_and_panics_name_the_transaction_that_one_thread_would_name() {
    let (chain, txs) = calls(OWN, 100);
    let executor = Executor::new(chain.executor.spec().clone()).with_threads(3);
    let failed = executor.execute(&env(10), &txs, &Broken(&chain.state, false)).unwrap_err();
    assert!(matches!(&failed, ExecError::State(StateError::Read(e)) if e == "the disk is gone"), "{failed}");
    let failed = executor.execute(&env(10), &txs, &Broken(&chain.state, true)).unwrap_err();
    let ExecError::Panic { index, tx, message } = failed else { panic!("{failed}") };
    assert_eq!((index, tx, message.as_str()), (49, txs[49].hash(), "the disk is on fire"));
}
