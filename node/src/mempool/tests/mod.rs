//! What the pool promises: limits hold, order is right, errors are the ones clients know.

mod explain;
mod flood;
mod invariants;
mod lanes;
mod limits;
mod model;
mod reorg;

use alloy_primitives::{Address, Bytes, U256};
use basalt_primitives::{Height, Transaction, chainspec::EvmFork, tx::NativeTx};

use super::{
    test_util::{address, sign, sign_with, transfer},
    *,
};

const RICH: u64 = 1_000_000_000_000;

fn ctx() -> PoolContext {
    PoolContext { next_height: Height(10), base_fee: 0, gas_limit: 30_000_000, fork: EvmFork::Osaka, now_ms: 1_000 }
}

fn rich(nonce: u64) -> AccountView {
    AccountView { nonce, balance: U256::from(RICH) }
}

fn priced(seed: u8, nonce: u64, fee: u128) -> Transaction {
    sign(seed, NativeTx { max_fee_per_gas: fee, max_priority_fee_per_gas: fee, ..transfer(nonce) })
}

fn pool() -> Mempool {
    Mempool::new(MempoolConfig::default())
}

/// Inserts for an account at nonce 0 and checks the invariants.
fn put(pool: &mut Mempool, tx: Transaction) -> Result<Inserted, PoolError> {
    let result = pool.insert(tx, rich(0), &ctx());
    pool.assert_invariants();
    result
}

fn refused(tx: Transaction, account: AccountView, ctx: &PoolContext) -> String {
    pool().insert(tx, account, ctx).expect_err("must be refused").to_string()
}

fn order(pool: &Mempool, base_fee: u64) -> Vec<(Address, u64)> {
    pool.ready(base_fee, Height(10)).map(|t| (t.sender(), t.payload().nonce())).collect()
}

fn block<'a>(accounts: &'a [(Address, AccountView)], next: u64) -> BlockUpdate<'a> {
    BlockUpdate { accounts, included: &[], skipped: &[], next_height: Height(next), base_fee: 0, now_ms: 2_000 }
}

#[test]
fn errors_begin_as_ethereum_clients_know_them() {
    let starts = |text: String, start: &str| assert!(text.starts_with(start), "{text:?} does not start with {start:?}");
    starts(refused(priced(1, 3, 0), rich(5), &ctx()), "nonce too low: next nonce 5, tx nonce 3");
    starts(refused(priced(1, 65, 0), rich(0), &ctx()), "nonce too high");
    starts(refused(priced(1, u64::MAX, 0), rich(0), &ctx()), "nonce has max value");
    let poor = AccountView { nonce: 0, balance: U256::ZERO };
    starts(
        refused(priced(1, 0, 1), poor, &ctx()),
        "insufficient funds for gas * price + value: balance 0, tx cost 21001, overshot 21001",
    );
    let little_gas = sign(1, NativeTx { gas_limit: 20_000, ..transfer(0) });
    starts(refused(little_gas, rich(0), &ctx()), "intrinsic gas too low: gas 20000, minimum needed 21000");
    let much_gas = sign(1, NativeTx { gas_limit: 30_000_001, ..transfer(0) });
    starts(refused(much_gas, rich(0), &ctx()), "exceeds block gas limit");
    let over_cap = sign(1, NativeTx { gas_limit: (1 << 24) + 1, ..transfer(0) });
    starts(refused(over_cap, rich(0), &ctx()), "transaction gas limit too high");
    let tip = sign(1, NativeTx { max_priority_fee_per_gas: 1, ..transfer(0) });
    starts(refused(tip, rich(0), &ctx()), "max priority fee per gas higher than max fee per gas");
    let big = NativeTx { to: None, input: vec![1; 49_153].into(), gas_limit: 5_000_000, ..transfer(0) };
    starts(refused(sign(1, big), rich(0), &ctx()), "max initcode size exceeded");
    let expired = sign(1, NativeTx { valid_until: Some(Height(9)), ..transfer(0) });
    starts(refused(expired, rich(0), &ctx()), "transaction expired");
    let never = sign(1, NativeTx { valid_from: Height(20), valid_until: Some(Height(15)), ..transfer(0) });
    starts(refused(never, rich(0), &ctx()), "transaction can never be valid");
}

#[test]
fn intrinsic_gas_is_ethereums() {
    let gas = |tx: NativeTx, fork| {
        let g = intrinsic_gas(sign(1, tx).payload(), fork);
        (g.intrinsic, g.floor)
    };
    assert_eq!(gas(transfer(0), EvmFork::Osaka), (21_000, 21_000));
    assert_eq!(gas(transfer(0), EvmFork::Cancun), (21_000, 0));
    // 3 zero bytes and 2 others: 11 tokens.
    let data = NativeTx { input: Bytes::from_static(&[0, 0, 1, 0, 2]), ..transfer(0) };
    assert_eq!(gas(data.clone(), EvmFork::Prague), (21_000 + 44, 21_000 + 110));
    // A creation: 32,000 more, and 2 for one word of init code.
    let create = NativeTx { to: None, ..data };
    assert_eq!(gas(create, EvmFork::Prague), (53_000 + 44 + 2, 21_000 + 110));
}

#[test]
fn data_must_pay_the_floor() {
    let input: Bytes = vec![1; 1_000].into();
    let tx = |gas_limit| sign(1, NativeTx { input: input.clone(), gas_limit, ..transfer(0) });
    let text = refused(tx(40_000), rich(0), &ctx());
    assert!(text.starts_with("insufficient gas for floor data gas cost: gas 40000, minimum needed 61000"), "{text}");
    assert!(pool().insert(tx(61_000), rich(0), &ctx()).is_ok());
    assert!(pool().insert(tx(40_000), rich(0), &PoolContext { fork: EvmFork::Cancun, ..ctx() }).is_ok());
}

#[test]
fn a_gap_waits_and_is_executable_once_filled() {
    let mut pool = pool();
    assert!(!put(&mut pool, priced(1, 64, 0)).expect("a gap of 64 waits").ready);
    assert!(!put(&mut pool, priced(1, 1, 0)).expect("waits").ready);
    assert_eq!(pool.status(), PoolStatus { pending: 0, queued: 2, ..pool.status() });
    assert!(!pool.has_ready(0, Height(10)));
    assert_eq!(pool.next_nonce(&address(1)), Some(0));
    assert!(put(&mut pool, priced(1, 0, 0)).expect("executable").ready);
    assert_eq!(pool.status(), PoolStatus { pending: 2, queued: 1, ..pool.status() });
    assert_eq!(pool.next_nonce(&address(1)), Some(2));
    assert_eq!(order(&pool, 0), [(address(1), 0), (address(1), 1)]);
}

#[test]
fn the_better_paying_come_first_and_each_sender_in_sequence() {
    let mut pool = pool();
    for (seed, nonce, fee) in [(1, 0, 5), (1, 1, 50), (2, 0, 7), (3, 0, 7), (2, 1, 1)] {
        put(&mut pool, priced(seed, nonce, fee)).expect("taken");
    }
    let (a, b, c) = (address(1), address(2), address(3));
    // 2 and 3 offer the same, 2 came first; 1's better second transaction cannot go before its first.
    assert_eq!(order(&pool, 0), [(b, 0), (c, 0), (a, 0), (a, 1), (b, 1)]);
    // What does not cover the base fee waits, and what comes after it too.
    assert_eq!(order(&pool, 6), [(b, 0), (c, 0)]);
}

#[test]
fn a_validity_window_is_kept() {
    let mut pool = pool();
    put(&mut pool, sign(1, NativeTx { valid_from: Height(12), ..transfer(0) })).expect("waits");
    put(&mut pool, sign(2, NativeTx { valid_until: Some(Height(11)), ..transfer(0) })).expect("valid now");
    put(&mut pool, sign(2, transfer(1))).expect("after it");
    assert_eq!(order(&pool, 0), [(address(2), 0), (address(2), 1)]);
    let dropped = pool.on_block(&block(&[], 12));
    pool.assert_invariants();
    assert_eq!(dropped.len(), 1);
    // The expired one leaves a gap before its successor.
    assert_eq!(pool.ready(0, Height(12)).count(), 1);
    assert_eq!(pool.status().queued, 1);
}

#[test]
fn a_replacement_pays_ten_percent_more() {
    let mut pool = pool();
    let old = put(&mut pool, priced(1, 0, 100)).expect("taken").tx.hash();
    let text = put(&mut pool, priced(1, 0, 109)).expect_err("too little").to_string();
    assert!(text.starts_with("replacement transaction underpriced"), "{text}");
    let new = put(&mut pool, priced(1, 0, 110)).expect("enough");
    assert_eq!((new.replaced, pool.len()), (Some(old), 1));
    assert!(pool.get(&old).is_none());
}

#[test]
fn where_gas_is_free_a_transaction_can_be_cancelled_once() {
    let mut pool = pool();
    let first = put(&mut pool, priced(1, 0, 0)).expect("taken").tx.hash();
    let other = sign(1, NativeTx { value: U256::from(2), ..transfer(0) });
    let text = put(&mut pool, other).expect_err("free transactions do not chase each other").to_string();
    assert!(text.starts_with("replacement transaction underpriced") && text.contains("0 wei without data"), "{text}");
    let nothing = NativeTx { value: U256::ZERO, to: Some(address(1)), ..transfer(0) };
    let cancel = put(&mut pool, sign(1, nothing.clone())).expect("cancels");
    assert_eq!(cancel.replaced, Some(first));
    let again = sign(1, NativeTx { gas_limit: 22_000, ..nothing });
    assert!(matches!(put(&mut pool, again), Err(PoolError::FreeReplacement { nonce: 0, .. })));
    assert!(put(&mut pool, priced(1, 0, 1)).expect("whoever pays replaces").replaced.is_some());
    let told = pool.explain(&first).expect("remembered");
    assert_eq!((told.state, told.sender), (Standing::Gone, Some(address(1))));
    assert!(told.reason.contains(&cancel.tx.hash().to_string()), "{told:?}");
}

#[test]
fn the_same_transaction_is_known() {
    let mut pool = pool();
    put(&mut pool, priced(1, 0, 0)).expect("taken");
    assert_eq!(put(&mut pool, priced(1, 0, 0)).expect_err("twice"), PoolError::AlreadyKnown);
}

#[test]
fn a_balance_covers_all_that_waits() {
    let mut pool = pool();
    let account = AccountView { nonce: 0, balance: U256::from(150) };
    let pay = |nonce, value| sign(1, NativeTx { value: U256::from(value), ..transfer(nonce) });
    pool.insert(pay(0, 100), account, &ctx()).expect("covered");
    let text = pool.insert(pay(1, 51), account, &ctx()).expect_err("one wei too much").to_string();
    assert!(
        text.starts_with(
            "insufficient funds for gas * price + value: balance 150, queued cost 100, tx cost 51, overshot 1"
        ),
        "{text}"
    );
    pool.insert(pay(1, 50), account, &ctx()).expect("just covered");
    // A block takes the money away: what can no longer be paid goes.
    let poorer = AccountView { nonce: 0, balance: U256::from(60) };
    assert_eq!(pool.on_block(&block(&[(address(1), poorer)], 11)).len(), 1);
    pool.assert_invariants();
    assert_eq!(pool.status().queued, 1);
}

#[test]
fn a_block_takes_out_what_it_used() {
    let mut pool = pool();
    for n in 0..4 {
        put(&mut pool, priced(1, n, 0)).expect("taken");
    }
    let other = put(&mut pool, priced(2, 0, 0)).expect("taken").tx.hash();
    let accounts = [(address(1), rich(3)), (address(9), rich(7))];
    let dropped = pool.on_block(&BlockUpdate { included: &[other], ..block(&accounts, 11) });
    pool.assert_invariants();
    assert_eq!(dropped.len(), 3, "used nonces that the block did not include under these hashes");
    assert_eq!(order(&pool, 0), [(address(1), 3)]);
    // Old news does not bring used nonces back.
    pool.on_block(&block(&[(address(1), rich(1))], 11));
    assert_eq!(pool.next_nonce(&address(1)), Some(4));
    assert_eq!(put(&mut pool, priced(1, 2, 0)).expect_err("used").kind(), "nonce_too_low");
}

#[test]
fn work_is_known_since_it_came() {
    let mut pool = pool();
    assert_eq!(pool.work_since_ms(), None);
    put(&mut pool, priced(1, 1, 0)).expect("queued");
    assert_eq!(pool.work_since_ms(), None);
    put(&mut pool, priced(1, 0, 0)).expect("executable");
    assert_eq!(pool.work_since_ms(), Some(1_000));
    pool.on_block(&block(&[(address(1), rich(2))], 11));
    assert_eq!(pool.work_since_ms(), None);
}
