//! Lanes: a way past a crowd, and no way to crowd out.

use super::*;

#[test]
fn lanes_come_before_prices_and_keep_to_their_share() {
    let config = MempoolConfig { max_transactions: 16, essential: [address(3)].into(), ..MempoolConfig::default() };
    let mut pool = Mempool::new(config);
    let put = |pool: &mut Mempool, tx, lane| {
        let inserted = pool.insert_from(tx, rich(0), &ctx(), lane, Origin::Local).expect("taken");
        pool.assert_invariants();
        inserted
    };
    put(&mut pool, priced(1, 0, 9), Lane::Normal);
    put(&mut pool, priced(3, 0, 0), Lane::Normal);
    put(&mut pool, priced(2, 0, 0), Lane::System);
    assert_eq!(order(&pool, 0), [(address(2), 0), (address(3), 0), (address(1), 0)]);
    // An eighth of 16: the third system transaction is a normal one.
    put(&mut pool, priced(4, 0, 0), Lane::System);
    let third = put(&mut pool, priced(5, 0, 0), Lane::System).tx.hash();
    assert_eq!(pool.explain(&third).and_then(|e| e.lane), Some(Lane::Normal));
    // Full: the essential one displaces the cheapest normal one, whatever it pays.
    (0..11).for_each(|n| drop(put(&mut pool, priced(6, n, 5), Lane::Normal)));
    assert_eq!(pool.len(), 16);
    let evicted = put(&mut pool, priced(3, 1, 0), Lane::Normal).evicted;
    assert_eq!(evicted, [third]);
    assert!(pool.explain(&third).is_some_and(|e| e.reason.contains("the pool was full")));
}

/// A pool of 40 in which account 200 is essential, with every place of the normal lane taken by someone who pays 9.
fn crowded() -> Mempool {
    let config = MempoolConfig { max_transactions: 40, essential: [address(200)].into(), ..MempoolConfig::default() };
    let mut pool = Mempool::new(config);
    (1..=40).for_each(|seed| drop(put(&mut pool, priced(seed, 0, 9)).expect("room")));
    assert_eq!(put(&mut pool, priced(41, 0, 9)).expect_err("crowded").kind(), "full");
    pool
}

#[test]
fn essential_ones_get_in_where_the_normal_lane_is_full_and_go_first_within_their_share() {
    let mut pool = crowded();
    for nonce in 0..20 {
        let inserted = put(&mut pool, priced(200, nonce, 0)).expect("half of the pool is theirs");
        assert_eq!((inserted.evicted.len(), inserted.ready), (1, true));
    }
    let text = put(&mut pool, priced(200, 20, 0)).expect_err("beyond the share price decides").to_string();
    assert!(text.starts_with("txpool is full"), "{text}");
    let first: Vec<_> = order(&pool, 0).into_iter().take(20).collect();
    assert_eq!(first, (0..20).map(|n| (address(200), n)).collect::<Vec<_>>());
    // One that replaces another of its lane keeps the place, though the share is full.
    put(&mut pool, priced(200, 3, 1)).expect("pays more");
    assert_eq!(pool.content_of(&address(200)).pending.len(), 20);
}

#[test]
fn a_block_has_room_for_others_beside_a_flood_of_essential_ones() {
    let config = MempoolConfig {
        essential: [address(200)].into(),
        block_gas: 10 * 21_000,
        block_bytes: 1 << 20,
        ..MempoolConfig::default()
    };
    let mut pool = Mempool::new(config.clone());
    (0..30).for_each(|n| drop(put(&mut pool, priced(200, n, 0)).expect("room")));
    (1..=3).for_each(|seed| drop(put(&mut pool, priced(seed, 0, u128::from(seed))).expect("room")));
    let senders: Vec<_> = order(&pool, 0).into_iter().map(|(a, _)| a).collect();
    // Half of the gas of a block is theirs; then price decides, and then the rest follows.
    assert!(senders[..5].iter().all(|a| *a == address(200)));
    assert_eq!(senders[5..8], [address(3), address(2), address(1)]);
    assert_eq!(senders.len(), 33);
    // The same by bytes.
    let size = pool.content_of(&address(1)).pending[0].raw().len() as u64;
    let mut pool = Mempool::new(MempoolConfig { block_gas: 1 << 40, block_bytes: 8 * size, ..config });
    (0..30).for_each(|n| drop(put(&mut pool, priced(200, n, 0)).expect("room")));
    put(&mut pool, priced(1, 0, 1)).expect("room");
    assert_eq!(order(&pool, 0).iter().position(|(a, _)| *a == address(1)), Some(4));
}

#[test]
fn an_essential_one_behind_a_normal_one_counts_as_normal() {
    let mut pool = crowded();
    // The share of the system lane is five; the sixth is a normal one.
    let system = |pool: &mut Mempool, nonce| {
        pool.insert_from(priced(90, nonce, 0), rich(0), &ctx(), Lane::System, Origin::Local)
    };
    (0..5).for_each(|n| drop(system(&mut pool, n).expect("their share")));
    pool.assert_invariants();
    assert_eq!(system(&mut pool, 5).expect_err("full").kind(), "full");
    assert_eq!(pool.status().pending, 40);
}
