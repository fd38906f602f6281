//! Limits and expiry.

use super::*;

#[test]
fn one_peer_cannot_fill_the_pool_alone() {
    let mut pool = Mempool::new(MempoolConfig { max_transactions: 8, ..MempoolConfig::default() });
    let insert = |pool: &mut Mempool, seed, nonce, origin| {
        let result = pool.insert_from(priced(seed, nonce, 0), rich(0), &ctx(), Lane::Normal, origin);
        pool.assert_invariants();
        result
    };
    for nonce in 0..6 {
        insert(&mut pool, 1, nonce, Origin::Peer(7)).expect("within three quarters");
    }
    let refused = insert(&mut pool, 1, 6, Origin::Peer(7));
    assert!(matches!(refused, Err(PoolError::PeerLimit { count: 6, max_count: 6, .. })), "{refused:?}");
    insert(&mut pool, 1, 6, Origin::Peer(8)).expect("another peer may");
    insert(&mut pool, 2, 0, Origin::Local).expect("and so may its owner");
    pool.on_block(&block(&[(address(1), rich(3))], 11));
    insert(&mut pool, 1, 7, Origin::Peer(7)).expect("room again");
    assert_eq!(pool.local().len(), 1, "only what came by RPC is written down");
}

#[test]
fn what_came_by_rpc_is_listed_in_an_order_in_which_it_can_come_in_again() {
    let mut pool = pool();
    let insert = |pool: &mut Mempool, seed, nonce, fee, origin| {
        let result = pool.insert_from(priced(seed, nonce, fee), rich(0), &ctx(), Lane::Normal, origin);
        result.expect("taken").tx.hash()
    };
    let mut wanted: Vec<_> = (0..100).map(|n| insert(&mut pool, 1, n, 1, Origin::Local)).collect();
    insert(&mut pool, 2, 0, 1, Origin::Peer(1));
    wanted.push(insert(&mut pool, 3, 0, 1, Origin::Local));
    // The newest of all, but its followers can only come in after it.
    wanted[0] = insert(&mut pool, 1, 0, 2, Origin::Local);
    let local = pool.local();
    assert_eq!(local.iter().map(|t| t.hash()).collect::<Vec<_>>(), wanted);
    let mut again = self::pool();
    for tx in local {
        put(&mut again, Transaction::clone(&tx)).expect("comes in again");
    }
    assert_eq!(again.status().pending, 101);
}

#[test]
fn a_sender_and_a_peer_have_their_part_of_the_bytes() {
    let big =
        |seed, nonce| sign(seed, NativeTx { input: vec![0; 20_000].into(), gas_limit: 2_000_000, ..transfer(nonce) });
    let mut pool = Mempool::new(MempoolConfig { max_bytes: 100_000, ..MempoolConfig::default() });
    put(&mut pool, big(1, 0)).expect("fits");
    put(&mut pool, big(1, 1)).expect("fits");
    let text = put(&mut pool, big(1, 2)).expect_err("more than half").to_string();
    assert!(text.contains("more than 50000 bytes"), "{text}");
    let from_peer = |pool: &mut Mempool, seed, nonce| {
        let result = pool.insert_from(big(seed, nonce), rich(0), &ctx(), Lane::Normal, Origin::Peer(1));
        pool.assert_invariants();
        result
    };
    let mut pool = Mempool::new(MempoolConfig { max_bytes: 100_000, ..MempoolConfig::default() });
    (1..=3).for_each(|seed| drop(from_peer(&mut pool, seed, 0).expect("three quarters")));
    assert_eq!(from_peer(&mut pool, 4, 0).expect_err("too much").kind(), "peer_limit");
    put(&mut pool, big(4, 0)).expect("by its owner");
}

#[test]
fn a_full_pool_gives_up_the_distant_before_the_executable() {
    let mut pool = Mempool::new(MempoolConfig { max_transactions: 3, ..MempoolConfig::default() });
    put(&mut pool, priced(1, 0, 1)).expect("executable");
    let near = put(&mut pool, priced(2, 1, 9)).expect("queued").tx.hash();
    let far = put(&mut pool, priced(3, 5, 9)).expect("queued").tx.hash();
    assert_eq!(put(&mut pool, priced(4, 6, 99)).expect_err("further than all").kind(), "full");
    assert_eq!(put(&mut pool, priced(4, 3, 9)).expect("nearer than one").evicted, [far]);
    put(&mut pool, priced(5, 0, 0)).expect("executable");
    assert_eq!(put(&mut pool, priced(6, 0, 0)).expect("executable").evicted, [near]);
    // Only executable ones now: the cheapest, of these the newest, gives way to one that pays more, to none else.
    assert_eq!(put(&mut pool, priced(7, 0, 0)).expect_err("pays no more").kind(), "full");
    assert_eq!(put(&mut pool, priced(7, 1, 50)).expect_err("not executable").kind(), "full");
    assert_eq!(put(&mut pool, priced(7, 0, 2)).expect("pays more").evicted.len(), 1);
    assert!(pool.contains(&priced(5, 0, 0).hash()), "the older of the two cheapest stays");
    assert!(!pool.contains(&priced(6, 0, 0).hash()));
}

#[test]
fn bytes_are_limited_too() {
    let big = |seed, fee| {
        let tx = NativeTx { input: vec![0; 50_000].into(), gas_limit: 2_000_000, ..transfer(0) };
        sign(seed, NativeTx { max_fee_per_gas: fee, max_priority_fee_per_gas: fee, ..tx })
    };
    let mut pool = Mempool::new(MempoolConfig { max_bytes: 110_000, ..MempoolConfig::default() });
    put(&mut pool, big(1, 1)).expect("fits");
    put(&mut pool, big(2, 2)).expect("fits");
    assert_eq!(put(&mut pool, big(3, 1)).expect_err("too much").kind(), "full");
    assert_eq!(put(&mut pool, big(3, 3)).expect("pays more").evicted, [big(1, 1).hash()]);
}

#[test]
fn a_longer_replacement_in_a_full_pool_keeps_the_limit() {
    let data = |seed, nonce, data: usize, fee| {
        let tx = NativeTx { input: vec![0; data].into(), gas_limit: 2_000_000, ..transfer(nonce) };
        sign(seed, NativeTx { max_fee_per_gas: fee, max_priority_fee_per_gas: fee, ..tx })
    };
    let mut pool =
        Mempool::new(MempoolConfig { max_bytes: 60_000, max_sender_percent: 100, ..MempoolConfig::default() });
    put(&mut pool, data(1, 0, 25_000, 1)).expect("fits");
    put(&mut pool, data(2, 5, 25_000, 1)).expect("waits beyond a gap");
    // What is replaced makes room only once: the limit would be broken otherwise.
    assert_eq!(put(&mut pool, data(2, 5, 40_000, 2)).expect_err("too much").kind(), "full");
    assert!(put(&mut pool, data(2, 5, 30_000, 2)).expect("fits").evicted.is_empty());
}

#[test]
fn what_no_block_takes_expires() {
    let mut pool = pool();
    let stuck = put(&mut pool, priced(1, 0, 1)).expect("taken").tx.hash();
    let day = MempoolConfig::default().pending_lifetime_ms;
    let sweep = |pool: &mut Mempool, now_ms| pool.on_block(&BlockUpdate { now_ms, base_fee: 5, ..block(&[], 11) });
    assert!(sweep(&mut pool, 1_000 + day).is_empty());
    assert_eq!(sweep(&mut pool, 60_000 + day), [stuck]);
    pool.assert_invariants();
    assert!(pool.explain(&stuck).is_some_and(|e| e.reason.contains("longer than the pool keeps")));
}

#[test]
fn what_waits_beyond_a_gap_expires() {
    let mut pool = pool();
    put(&mut pool, priced(1, 1, 0)).expect("waits");
    put(&mut pool, priced(2, 0, 0)).expect("executable");
    let later = 1_000 + MempoolConfig::default().queued_lifetime_ms + 1;
    assert_eq!(pool.on_block(&BlockUpdate { now_ms: later, ..block(&[], 11) }).len(), 1);
    assert_eq!(pool.len(), 1, "an executable one does not expire");
}
