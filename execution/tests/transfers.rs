//! The fast path for transfers against the general path: byte-identical receipts, changes and skips.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeMap;

use alloy_consensus::TxEip1559;
use alloy_eips::eip2930::{AccessList, AccessListItem};
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use basalt_execution::{BlockEnv, BuildLimits, Executor, SkipReason};
use basalt_primitives::{
    Height, Transaction,
    chainspec::{EvmFork, GenesisAccount},
    tx::NativeTx,
};
use common::*;
use proptest::prelude::*;

/// One transfer, in small numbers so that accounts collide.
#[derive(Clone, Debug)]
struct Move {
    from: usize,
    to: usize,
    value: u128,
    /// How far the nonce is off; mostly 0.
    nonce_off: i8,
    gas: u64,
    fee: u128,
    tip: u128,
    input: bool,
    window: (u64, Option<u64>),
}

const SENDERS: usize = 6;

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let value = prop_oneof![4 => 0..1000u128, 1 => Just(0), 1 => Just(ETHER), 1 => Just(u128::MAX)];
    let off = prop_oneof![8 => Just(0i8), 1 => -1..2i8];
    let gas = prop_oneof![6 => Just(21_000u64), 2 => 20_999..60_000u64, 1 => Just(20_000_000)];
    let fee = prop_oneof![2 => 5..40u128, 1 => Just(u128::MAX), 1 => 0..12u128];
    let window = prop_oneof![6 => Just((0, None)), 1 => (0..3u64, prop::option::of(0..3u64))];
    let one = (0..SENDERS, 0..12usize, value, off, gas, fee, 0..20u128, prop::bool::weighted(0.1), window);
    let one = one.prop_map(|(from, to, value, nonce_off, gas, fee, tip, input, window)| Move {
        from,
        to,
        value,
        nonce_off,
        gas,
        fee,
        tip,
        input,
        window,
    });
    prop::collection::vec(one, 1..30)
}

fn sender(n: usize) -> Address {
    if n < 3 { native_key(n as u8 + 1).public_key().address() } else { wallet(n as u8 + 1).address }
}

/// Receivers: the senders, the proposer, nobody, a precompile, a contract, an empty account, a delegated account.
fn receiver(n: usize) -> Address {
    match n {
        0..SENDERS => sender(n),
        6 => PROPOSER,
        7 => Address::with_last_byte(4),
        8 => Address::repeat_byte(0xcc),
        9 => Address::repeat_byte(0xee),
        10 => Address::repeat_byte(0xdd),
        _ => Address::repeat_byte(0x77),
    }
}

fn alloc(balances: &[u128], proposer: Option<u128>) -> BTreeMap<Address, GenesisAccount> {
    let mut alloc: BTreeMap<_, _> = balances.iter().enumerate().map(|(n, b)| (sender(n), rich(*b))).collect();
    alloc.extend(proposer.map(|b| (PROPOSER, rich(b))));
    // Stores the value it was sent.
    alloc.insert(Address::repeat_byte(0xcc), contract(&[0x34, 0x5f, 0x55]));
    let delegation = [&[0xef, 0x01, 0x00][..], Address::repeat_byte(0xcc).as_slice()].concat();
    alloc.insert(Address::repeat_byte(0xdd), contract(&delegation));
    alloc
}

fn sign(m: &Move, nonces: &mut [u64; SENDERS]) -> Transaction {
    let nonce = nonces[m.from].saturating_add_signed(m.nonce_off.into());
    if m.nonce_off == 0 {
        nonces[m.from] += 1;
    }
    let input = if m.input { Bytes::from_static(&[1, 0, 2]) } else { Bytes::new() };
    let (to, value, tip) = (receiver(m.to), U256::from(m.value), m.tip);
    if m.from < 3 {
        let tx = NativeTx {
            max_fee_per_gas: m.fee,
            max_priority_fee_per_gas: tip,
            gas_limit: m.gas,
            value,
            input,
            valid_from: Height(m.window.0),
            valid_until: m.window.1.map(Height),
            ..native_tx(nonce, Some(to), 0)
        };
        return native(&native_key(m.from as u8 + 1), tx);
    }
    let wallet = wallet(m.from as u8 + 1);
    if m.from == 3 && !m.input {
        return wallet.sign(alloy_consensus::TxLegacy { value, ..legacy(nonce, TxKind::Call(to), 0, m.gas, m.fee) });
    }
    // Ethereum's have no window: some that would have one have an access list instead, which costs gas and is no plain transfer.
    let storage_keys = vec![B256::ZERO; m.window.0 as usize];
    let listed = AccessListItem { address: to, storage_keys };
    wallet.sign(TxEip1559 {
        max_fee_per_gas: m.fee,
        max_priority_fee_per_gas: tip,
        value,
        access_list: AccessList(m.window.1.map(|_| listed).into_iter().collect()),
        ..eip1559(nonce, TxKind::Call(to), 0, m.gas, input)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_fast_path_changes_nothing(
        moves in moves(),
        balances in prop::collection::vec(prop_oneof![Just(0u128), 0..3_000_000u128, Just(10 * ETHER), Just(u128::MAX)], SENDERS),
        proposer in prop::option::of(prop_oneof![Just(0u128), Just(5u128)]),
        base_fee in prop_oneof![Just(0u64), 0..20u64],
        // The proposer: nobody, somebody who sends and receives, a contract, a delegated account.
        beneficiary in prop_oneof![
            3 => Just(PROPOSER),
            2 => (0..SENDERS).prop_map(sender),
            1 => Just(Address::repeat_byte(0xcc)),
            1 => Just(Address::repeat_byte(0xdd)),
        ],
        fork in prop_oneof![Just(EvmFork::Shanghai), Just(EvmFork::Cancun), Just(EvmFork::Prague), Just(EvmFork::Osaka)],
    ) {
        let chain = chain(fork, alloc(&balances, proposer));
        let reference = Executor::new(chain.executor.spec().clone()).without_fast_transfers();
        let mut nonces = [0; SENDERS];
        let txs: Vec<Transaction> = moves.iter().map(|m| sign(m, &mut nonces)).collect();
        let env = BlockEnv { beneficiary, ..env(base_fee) };
        let fast = chain.executor.execute(&env, &txs, &chain.state).unwrap();
        let slow = reference.execute(&env, &txs, &chain.state).unwrap();
        prop_assert_eq!(&fast, &slow);
        common::assert_before(&chain.state, &fast.changes);
        prop_assert_eq!(fast.receipts.len() + fast.skipped.len(), txs.len());

        // What the proposer builds of the same candidates is what everybody executes.
        let limits = BuildLimits { max_gas: 200_000, max_bytes: 2_000 };
        let built = chain.executor.build(&env, txs, limits, &chain.state).unwrap();
        let again = reference.execute(&env, &built.included, &chain.state).unwrap();
        prop_assert_eq!(built.executed, again);
    }
}

#[test]
fn plain_transfers_move_value_and_burn_the_base_fee() {
    let from = native_key(1);
    let mut chain = chain(EvmFork::Osaka, BTreeMap::from([(from.public_key().address(), rich(ETHER))]));
    let to = Address::repeat_byte(0x33);
    let tx = NativeTx { max_fee_per_gas: 100, max_priority_fee_per_gas: 3, ..native_tx(0, Some(to), 1000) };
    let done = chain.executor.execute(&env(10), &[native(&from, tx)], &chain.state).unwrap();
    assert_eq!(done.gas_used, 21_000);
    let receipt = &done.receipts[0];
    assert_eq!((receipt.success, receipt.tx_type, receipt.effective_gas_price), (true, 0x42, 13));
    let balance = |a| done.changes.accounts[a].unwrap().balance;
    assert_eq!(balance(&to), U256::from(1000));
    assert_eq!(balance(&PROPOSER), U256::from(3 * 21_000));
    assert_eq!(balance(&from.public_key().address()), U256::from(ETHER - 1000 - 13 * 21_000));
    let batch = chain.trie.apply(&done.changes, &chain.state).unwrap();
    chain.state.apply(&done.changes);
    assert_eq!(batch.root, reference_root(&chain.state));
}

#[test]
fn what_cannot_run_is_skipped_with_its_reason() {
    let (a, b) = (native_key(1), native_key(2));
    let chain = chain(EvmFork::Osaka, BTreeMap::from([(a.public_key().address(), rich(100))]));
    let to = Some(Address::repeat_byte(0x33));
    let txs = [
        native(&a, native_tx(1, to, 1)),
        native(&b, native_tx(0, to, 1)),
        native(&a, NativeTx { gas_limit: 20_000, ..native_tx(0, to, 1) }),
        native(&a, NativeTx { gas_limit: 17_000_000, ..native_tx(0, to, 1) }),
        native(&a, NativeTx { gas_limit: 31_000_000, ..native_tx(0, to, 1) }),
        native(&a, NativeTx { valid_from: Height(2), ..native_tx(0, to, 1) }),
        native(&a, NativeTx { valid_until: Some(Height(0)), ..native_tx(0, to, 1) }),
        native(&a, NativeTx { chain_id: 1, ..native_tx(0, to, 1) }),
        native(&a, native_tx(0, to, 100)),
        native(&a, native_tx(0, to, 0)),
    ];
    let done = chain.executor.execute(&env(0), &txs, &chain.state).unwrap();
    let reasons: Vec<_> = done
        .skipped
        .iter()
        .map(|(i, hash, reason)| {
            assert_eq!(*hash, txs[*i].hash());
            (*i, reason.clone())
        })
        .collect();
    let height = Height(1);
    assert_eq!(
        reasons,
        [
            (0, SkipReason::NonceTooHigh { tx: 1, state: 0 }),
            (1, SkipReason::InsufficientFunds { have: U256::ZERO, want: U256::from(1) }),
            (2, SkipReason::IntrinsicGas { limit: 20_000, needed: 21_000 }),
            (3, SkipReason::GasCap { limit: 17_000_000, cap: 1 << 24 }),
            (4, SkipReason::BlockGas { limit: 31_000_000, left: 30_000_000 }),
            (5, SkipReason::NotYetValid { from: Height(2), height }),
            (6, SkipReason::Expired { until: Height(0), height }),
            (7, SkipReason::ChainId),
            (9, SkipReason::NonceTooLow { tx: 0, state: 1 }),
        ]
    );
    assert_eq!(done.receipts.len(), 1);
    let paid = chain.executor.execute(&env(7), &[native(&a, native_tx(0, to, 0))], &chain.state).unwrap();
    assert_eq!(paid.skipped[0].2, SkipReason::FeeTooLow { max_fee: 0, base_fee: 7 });
}

#[test]
fn a_block_is_packed_by_the_gas_that_is_used() {
    let key = native_key(1);
    let chain = chain(EvmFork::Osaka, BTreeMap::from([(key.public_key().address(), rich(ETHER))]));
    let to = Some(Address::repeat_byte(0x33));
    // Each may use 60,000 and uses 21,000: three fit into 110,000 one after the other.
    let txs: Vec<_> = (0..6).map(|n| native(&key, NativeTx { gas_limit: 60_000, ..native_tx(n, to, 1) })).collect();
    let limits = BuildLimits { max_gas: 110_000, max_bytes: 100_000 };
    let built = chain.executor.build(&env(0), &txs, limits, &chain.state).unwrap();
    assert_eq!((built.included.len(), built.executed.gas_used), (3, 63_000));
    assert!(matches!(built.dropped[0].1, SkipReason::BlockGas { limit: 60_000, left: 47_000 }));
    assert!(built.dropped.iter().all(|(_, reason)| reason.may_run_later()));
    let bytes = BuildLimits { max_gas: u64::MAX, max_bytes: 2 * txs[0].raw().len() as u64 };
    assert_eq!(chain.executor.build(&env(0), &txs, bytes, &chain.state).unwrap().included.len(), 2);
}
