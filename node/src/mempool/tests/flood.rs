//! Floods that cost nothing: patterns after mpfuzz (Wang et al., "Understanding Ethereum Mempool Security under Asymmetric DoS by
//! Symbolized Stateful Fuzzing", arXiv 2312.02642). An attacker wants honest executable transactions out of a full pool, or not
//! let in, by transactions that will never pay: futures, children of a parent that no block takes, latent overdrafts,
//! replacements that turn valid ones into such. What takes an honest one's place must be able to run now and pay more.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

const PLACES: u8 = 40;
/// What honest ones offer.
const FAIR: u128 = 10;
/// Attackers.
const MALLORY: u8 = 200;
const TRUDY: u8 = 201;
const HIGH: u128 = 1_000_000;

/// `free` places less than full, all others held by honest senders with one executable transaction each.
fn honest(free: u8) -> Mempool {
    let config =
        MempoolConfig { max_transactions: usize::from(PLACES), max_per_sender: 64, ..MempoolConfig::default() };
    let mut pool = Mempool::new(config);
    (1..=PLACES - free).for_each(|seed| drop(put(&mut pool, priced(seed, 0, FAIR)).expect("room")));
    pool
}

fn honest_left(pool: &Mempool) -> u8 {
    static HONEST: LazyLock<Vec<Address>> = LazyLock::new(|| (1..=PLACES).map(address).collect());
    HONEST.iter().filter(|a| pool.next_nonce(a).is_some()).count() as u8
}

fn attack(pool: &mut Mempool, seed: u8, tx: NativeTx) -> Result<Inserted, PoolError> {
    let wealth = AccountView { nonce: 0, balance: U256::from(u64::MAX) };
    let result = pool.insert(sign(seed, tx), wealth, &ctx());
    pool.assert_invariants();
    result
}

fn offer(nonce: u64, fee: u128) -> NativeTx {
    NativeTx { max_fee_per_gas: fee, max_priority_fee_per_gas: fee, ..transfer(nonce) }
}

fn assert_full(result: Result<Inserted, PoolError>) {
    assert_eq!(result.expect_err("no room for this").kind(), "full");
}

#[test]
fn futures_displace_nobody() {
    let mut pool = honest(0);
    (1..=64).for_each(|n| assert_full(attack(&mut pool, MALLORY, offer(n, HIGH))));
    assert_eq!(honest_left(&pool), PLACES);
}

#[test]
fn children_of_a_parent_that_pays_little_displace_nobody() {
    let mut pool = honest(1);
    attack(&mut pool, MALLORY, offer(0, 1)).expect("the free place");
    (1..30).for_each(|n| assert_full(attack(&mut pool, MALLORY, offer(n, HIGH))));
    assert_eq!(honest_left(&pool), PLACES - 1);
    // And an honest one takes its place.
    put(&mut pool, priced(PLACES, 0, FAIR)).expect("pays more than the parent");
    assert_eq!(honest_left(&pool), PLACES);
}

#[test]
fn children_of_a_parent_that_runs_only_later_displace_nobody() {
    let later = |nonce| NativeTx { valid_from: Height(1_000_000), ..offer(nonce, HIGH) };
    let mut pool = honest(1);
    attack(&mut pool, MALLORY, later(0)).expect("the free place");
    (1..30).for_each(|n| assert_full(attack(&mut pool, MALLORY, offer(n, HIGH))));
    assert_full(attack(&mut pool, TRUDY, later(0)));
    assert_eq!(honest_left(&pool), PLACES - 1);
    put(&mut pool, priced(PLACES, 0, 0)).expect("whoever runs now goes before");
    assert_eq!(honest_left(&pool), PLACES);
}

#[test]
fn who_came_first_and_will_never_pay_locks_nobody_out() {
    type Shape = fn(u64) -> NativeTx;
    let shapes: [Shape; 3] = [
        // Beyond a gap; behind a parent that pays nothing; behind a parent whose window is far away.
        |n| offer(n + 1, HIGH),
        |n| offer(n, if n == 0 { 0 } else { HIGH }),
        |n| NativeTx { valid_from: Height(if n == 0 { 1_000_000 } else { 0 }), ..offer(n, HIGH) },
    ];
    for shape in shapes {
        let mut pool = honest(PLACES);
        for seed in [MALLORY, TRUDY] {
            (0..u64::from(PLACES / 2)).for_each(|n| drop(attack(&mut pool, seed, shape(n)).expect("room")));
        }
        assert_eq!(pool.len(), usize::from(PLACES));
        (1..=PLACES).for_each(|seed| drop(put(&mut pool, priced(seed, 0, FAIR)).expect("gets in")));
        assert_eq!(honest_left(&pool), PLACES);
    }
}

#[test]
fn latent_overdrafts_do_not_come_in_and_do_not_stay() {
    let mut pool = honest(0);
    let cost = 21_000 * HIGH + 1;
    let account = AccountView { nonce: 0, balance: U256::from(cost * 20) };
    let insert = |pool: &mut Mempool, tx| {
        let result = pool.insert(sign(MALLORY, tx), account, &ctx());
        pool.assert_invariants();
        result
    };
    for nonce in 0..16 {
        insert(&mut pool, offer(nonce, HIGH)).expect("pays more, and can");
    }
    assert_full(insert(&mut pool, offer(16, HIGH)));
    assert_eq!(honest_left(&pool), PLACES - 16, "one account displaces so many and no more");
    // A replacement that spends what the later ones need.
    let spend = NativeTx { value: U256::from(cost * 5), ..offer(0, 2 * HIGH) };
    assert_eq!(insert(&mut pool, spend).expect_err("not with those behind").kind(), "insufficient_funds");
    // The money goes another way: what it no longer covers leaves at once, and honest ones have the room again.
    let drained = AccountView { nonce: 0, balance: U256::from(cost) };
    assert_eq!(pool.on_block(&block(&[(address(MALLORY), drained)], 11)).len(), 15);
    pool.assert_invariants();
    assert_eq!(pool.content_of(&address(MALLORY)).pending.len(), 1, "the one that it still covers");
    (1..PLACES).for_each(|seed| drop(put(&mut pool, priced(seed, 0, FAIR))));
    assert_eq!(honest_left(&pool), PLACES - 1);
}

/// The flood that EIP-7702 is feared for (ADR-0023): accounts that displaced honest ones are emptied by somebody else's
/// transaction, their nonces unused.
#[test]
fn accounts_that_others_can_empty_displace_no_more_and_go_at_once() {
    let mut pool = honest(0);
    let cost = 21_000 * HIGH + 1;
    let account = AccountView { nonce: 0, balance: U256::from(cost * 64) };
    for seed in [MALLORY, TRUDY] {
        for nonce in 0..30 {
            let result = pool.insert(sign(seed, offer(nonce, HIGH)), account, &ctx());
            pool.assert_invariants();
            if nonce < 16 {
                result.expect("pays more, and can");
            } else {
                assert_full(result);
            }
        }
    }
    assert_eq!(honest_left(&pool), PLACES - 2 * 16, "sixteen for each account, delegated or not");
    // One transaction of a third party sweeps both.
    let swept = [MALLORY, TRUDY].map(|seed| (address(seed), AccountView { nonce: 0, balance: U256::ZERO }));
    assert_eq!(pool.on_block(&block(&swept, 11)).len(), 2 * 16, "in the very next block");
    pool.assert_invariants();
    assert_eq!(usize::from(honest_left(&pool)), pool.len());
    (1..=PLACES).for_each(|seed| drop(put(&mut pool, priced(seed, 0, FAIR))));
    assert_eq!(honest_left(&pool), PLACES, "and the honest ones have their places again");
}

#[test]
fn a_nonce_that_an_authorisation_uses_takes_one_transaction_with_it() {
    let mut pool = honest(20);
    (0..10).for_each(|n| drop(attack(&mut pool, MALLORY, offer(n, HIGH)).expect("room")));
    let counted = AccountView { nonce: 1, balance: U256::from(u64::MAX) };
    let gone = pool.on_block(&block(&[(address(MALLORY), counted)], 11));
    pool.assert_invariants();
    let left = pool.explain(&gone[0]).expect("remembered");
    assert!(gone.len() == 1 && left.reason.contains("with its nonce is in a block"), "{left:?}");
    assert_eq!(pool.content_of(&address(MALLORY)).pending.len(), 9);
}

#[test]
fn where_gas_is_free_nobody_displaces_anybody() {
    let config = MempoolConfig { max_transactions: usize::from(PLACES), ..MempoolConfig::default() };
    let mut pool = Mempool::new(config);
    (1..PLACES).for_each(|seed| drop(put(&mut pool, priced(seed, 0, 0)).expect("room")));
    attack(&mut pool, MALLORY, offer(0, 0)).expect("the last place");
    (1..20).for_each(|n| assert_full(attack(&mut pool, MALLORY, offer(n, 0))));
    let cancel = NativeTx { value: U256::ZERO, to: Some(address(MALLORY)), ..offer(0, 0) };
    attack(&mut pool, MALLORY, cancel.clone()).expect("cancels, once");
    let again = NativeTx { gas_limit: 30_000, ..cancel };
    assert_eq!(attack(&mut pool, MALLORY, again).expect_err("only once").kind(), "replacement_underpriced");
    assert_eq!(honest_left(&pool), PLACES - 1);
}

#[derive(Clone, Debug)]
struct Shot {
    seed: u8,
    nonce: u64,
    fee: u128,
    value: u64,
    later: bool,
    peer: Option<u64>,
}

fn shot() -> impl Strategy<Value = Shot> {
    let fees = proptest::sample::select(&[0u128, 1, FAIR, FAIR + 1, 12, 1_000, HIGH][..]);
    (
        MALLORY..MALLORY + 4,
        0..24u64,
        fees,
        0..1_000_000u64,
        proptest::bool::weighted(0.1),
        proptest::option::of(0..3u64),
    )
        .prop_map(|(seed, nonce, fee, value, later, peer)| Shot { seed, nonce, fee, value, later, peer })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever four attackers send: each honest transaction that went was displaced by one of theirs that is there, can run in
    /// the next block as far as the pool knows, and pays more for it as do all before it.
    #[test]
    fn what_displaces_an_honest_one_can_run_and_pays_more(
        free in 0..PLACES,
        shots in proptest::collection::vec(shot(), 1..150),
    ) {
        let mut pool = honest(free);
        let before = honest_left(&pool);
        let attackers: [Address; 4] = std::array::from_fn(|i| address(MALLORY + i as u8));
        for s in shots {
            let from = if s.later { Height(1_000) } else { Height(0) };
            let tx = NativeTx { value: U256::from(s.value), valid_from: from, ..offer(s.nonce, s.fee) };
            let account = AccountView { nonce: 0, balance: U256::from(HIGH * 21_000 * 12) };
            let origin = s.peer.map_or(Origin::Local, Origin::Peer);
            let _ = pool.insert_from(sign(s.seed, tx), account, &ctx(), Lane::Normal, origin);
            pool.assert_invariants();
            // The order in which they are offered is that of nonces: what stands behind one that does not run is not offered.
            let mut pay = [0usize; 4];
            let mut all_pay = [true; 4];
            for tx in pool.ready(0, Height(10)) {
                let Some(i) = (0..4).find(|i| attackers[*i] == tx.sender()) else { continue };
                all_pay[i] &= tx.payload().max_fee_per_gas() > FAIR;
                pay[i] += usize::from(all_pay[i] && pay[i] < 16);
            }
            let pay: usize = pay.iter().sum();
            let gone = usize::from(before - honest_left(&pool));
            prop_assert!(gone <= pay, "{gone} honest ones went for {pay} that pay more");
            prop_assert!(gone == 0 || pool.status().queued == 0 || pool.len() < usize::from(PLACES), "the distant go first");
        }
    }
}
