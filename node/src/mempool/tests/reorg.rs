//! What reorganisations do to the pool.

use super::*;

fn reorg<'a>(
    accounts: &'a [(Address, AccountView)],
    included: &'a [alloy_primitives::B256],
    returned: &'a [Transaction],
) -> Reorg<'a> {
    Reorg { accounts, included, returned, context: PoolContext { now_ms: 9_000, ..ctx() } }
}

#[test]
fn what_abandoned_blocks_held_waits_again_before_what_came_since() {
    let mut pool = pool();
    let old: Vec<Transaction> = (0..4).map(|n| priced(1, n, 5)).collect();
    // Nonces 0 and 1 were in blocks; 2 and 3 came since.
    pool.insert(priced(1, 2, 5), rich(2), &ctx()).expect("taken");
    pool.insert(priced(1, 3, 5), rich(2), &ctx()).expect("taken");
    pool.insert(priced(2, 0, 5), rich(0), &ctx()).expect("taken: another's, whom nothing concerns");
    // The new chain has nonce 0 as well, not 1.
    let accounts = [(address(1), rich(1))];
    pool.on_reorg(&reorg(&accounts, &[old[0].hash()], &old[1..2]));
    pool.assert_invariants();
    assert_eq!(order(&pool, 0), [(address(2), 0), (address(1), 1), (address(1), 2), (address(1), 3)]);
    assert_eq!(pool.next_nonce(&address(1)), Some(4));
}

#[test]
fn what_no_longer_fits_is_dropped_with_a_reason() {
    let mut pool = pool();
    // The new chain used nonce 0 for something else, and has left the second sender poor.
    let (used, unpayable) = (priced(1, 0, 5), priced(2, 0, 5));
    let accounts = [(address(1), rich(1)), (address(2), AccountView { nonce: 0, balance: U256::from(10) })];
    pool.on_reorg(&reorg(&accounts, &[], &[used.clone(), unpayable.clone()]));
    pool.assert_invariants();
    assert_eq!(pool.len(), 0);
    for tx in [used, unpayable] {
        assert!(pool.explain(&tx.hash()).is_some(), "why it went is remembered");
    }
}

#[test]
fn heights_may_go_back() {
    let mut pool = pool();
    pool.on_block(&block(&[], 20));
    pool.on_reorg(&reorg(&[(address(1), rich(0))], &[], &[priced(1, 0, 0)]));
    pool.assert_invariants();
    assert_eq!(order(&pool, 0), [(address(1), 0)]);
    assert!(pool.has_ready(0, Height(10)));
}
