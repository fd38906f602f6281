//! What the pool promises: limits hold, order is right, errors are the ones clients know.

use alloy_primitives::{Address, Bytes, U256};
use basalt_primitives::{Height, Transaction, chainspec::EvmFork, tx::NativeTx};
use proptest::prelude::*;

use super::{
    test_util::{address, sign, transfer},
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
    BlockUpdate { accounts, included: &[], next_height: Height(next), base_fee: 0, now_ms: 2_000 }
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
    assert_eq!(pool.why_gone(&first), Some(&Gone::Replaced(cancel.tx.hash())));
}

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
    assert_eq!(pool.why_gone(&third), Some(&Gone::Evicted));
}

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
    assert!(matches!(refused, Err(PoolError::PeerLimit { count: 6, limit: 6 })), "{refused:?}");
    insert(&mut pool, 1, 6, Origin::Peer(8)).expect("another peer may");
    insert(&mut pool, 2, 0, Origin::Local).expect("and so may its owner");
    pool.on_block(&block(&[(address(1), rich(3))], 11));
    insert(&mut pool, 1, 7, Origin::Peer(7)).expect("room again");
    assert_eq!(pool.local().len(), 1, "only what came by RPC is written down");
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
    assert_eq!(pool.why_gone(&stuck), Some(&Gone::TooOld));
}

#[test]
fn what_is_stuck_is_explained_with_a_mend() {
    let mut pool = pool();
    let at_five = PoolContext { base_fee: 5, ..ctx() };
    let mut put = |tx| pool.insert(tx, rich(0), &at_five).expect("taken").tx.hash();
    let ready = put(priced(1, 0, 9));
    let cheap = put(priced(1, 1, 3));
    let behind = put(priced(1, 2, 9));
    let far = put(priced(1, 7, 9));
    let later = put(sign(2, NativeTx { max_fee_per_gas: 9, valid_from: Height(20), ..transfer(0) }));
    let told = |hash| {
        let e = pool.explain(&hash).expect("known");
        (e.state, format!("{}; {}", e.reason, e.mend))
    };
    let expect = |hash, state, words: &[&str]| {
        let (found, text) = told(hash);
        assert_eq!(found, state, "{text}");
        words.iter().for_each(|w| assert!(text.contains(w), "{w:?} is not in {text:?}"));
    };
    expect(ready, Standing::Ready, &["0 transactions are before it"]);
    expect(cheap, Standing::Waiting, &["offers 3 wei", "asks for 5", "same nonce"]);
    expect(behind, Standing::Waiting, &["nonce 1", "must go first", "asks for 5"]);
    expect(far, Standing::Queued, &["4 earlier nonces", "send the transaction with nonce 3"]);
    expect(later, Standing::Waiting, &["valid from block 20"]);
    assert_eq!(pool.explain_sender(&address(1)).and_then(|e| e.hash), Some(cheap), "what holds up the others");
    assert_eq!(pool.explain_sender(&address(9)), None);
    pool.remove(&cheap);
    expect_gone(&pool, cheap);
}

fn expect_gone(pool: &Mempool, hash: alloy_primitives::B256) {
    let e = pool.explain(&hash).expect("remembered");
    assert!(e.state == Standing::Gone && e.reason.contains("could not run"), "{e:?}");
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
fn what_waits_beyond_a_gap_expires() {
    let mut pool = pool();
    put(&mut pool, priced(1, 1, 0)).expect("waits");
    put(&mut pool, priced(2, 0, 0)).expect("executable");
    let later = 1_000 + MempoolConfig::default().queued_lifetime_ms + 1;
    assert_eq!(pool.on_block(&BlockUpdate { now_ms: later, ..block(&[], 11) }).len(), 1);
    assert_eq!(pool.len(), 1, "an executable one does not expire");
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

#[derive(Clone, Debug)]
enum Op {
    Insert {
        seed: u8,
        nonce: u64,
        fee: u128,
        data: usize,
        until: Option<u64>,
        lane: Lane,
        peer: Option<u64>,
    },
    /// Runs this many of the best executable ones in a block.
    Block {
        take: usize,
    },
    Remove {
        seed: u8,
        nonce: u64,
    },
    Impoverish {
        seed: u8,
        balance: u64,
    },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (
            (0..6u8, 0..24u64, 0..5u128, 0..200usize, proptest::option::of(10..40u64)),
            proptest::sample::select(&Lane::ALL[..]),
            proptest::option::of(0..2u64),
        )
            .prop_map(|((seed, nonce, fee, data, until), lane, peer)| {
                Op::Insert { seed, nonce, fee, data, until, lane, peer }
            }),
        1 => (0..6usize).prop_map(|take| Op::Block { take }),
        1 => (0..6u8, 0..24u64).prop_map(|(seed, nonce)| Op::Remove { seed, nonce }),
        1 => (0..6u8, 0..500_000u64).prop_map(|(seed, balance)| Op::Impoverish { seed, balance }),
    ]
}

/// The chain that the pool under test sees.
struct World {
    pool: Mempool,
    accounts: Vec<AccountView>,
    next: u64,
    /// Everything that was taken, in order.
    arrivals: Vec<alloy_primitives::B256>,
}

impl World {
    fn new() -> Self {
        let config = MempoolConfig {
            max_transactions: 16,
            max_bytes: 20 * 1024,
            max_per_sender: 7,
            max_nonce_gap: 5,
            ..MempoolConfig::default()
        };
        Self { pool: Mempool::new(config), accounts: vec![rich(0); 6], next: 10, arrivals: Vec::new() }
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Insert { seed, nonce, fee, data, until, lane, peer } => {
                let tx = NativeTx {
                    max_fee_per_gas: fee,
                    max_priority_fee_per_gas: fee,
                    input: vec![0; data].into(),
                    gas_limit: 100_000,
                    valid_until: until.map(Height),
                    ..transfer(nonce)
                };
                self.insert(seed, tx, lane, peer.map_or(Origin::Local, Origin::Peer));
            }
            Op::Block { take } => self.block(take),
            Op::Remove { seed, nonce } => {
                let hash = self.pool.content_of(&address(seed)).pending.get(nonce as usize).map(|t| t.hash());
                hash.iter().for_each(|h| assert!(self.pool.remove(h).is_some()));
            }
            Op::Impoverish { seed, balance } => {
                self.accounts[usize::from(seed)].balance = U256::from(balance);
                self.pool.on_block(&block(&[(address(seed), self.accounts[usize::from(seed)])], self.next));
            }
        }
        self.pool.assert_invariants();
        self.assert_consecutive();
        self.assert_order();
    }

    /// The order is that of the simple rule: again and again the best of what each sender has next.
    fn assert_order(&self) {
        let mut queues: Vec<Vec<_>> = self.pool.content().into_values().map(|s| s.pending).collect();
        let lane = |t: &Transaction| self.pool.explain(&t.hash()).and_then(|e| e.lane);
        let arrived = |t: &Transaction| self.arrivals.iter().rposition(|h| *h == t.hash());
        let rank = |t: &Transaction| (lane(t), t.payload().max_fee_per_gas(), std::cmp::Reverse(arrived(t)));
        let valid = |t: &Transaction| match t.payload() {
            basalt_primitives::tx::Payload::Native(n) => n.tx.valid_until.is_none_or(|u| u >= Height(self.next)),
            basalt_primitives::tx::Payload::Ethereum(_) => true,
        };
        for given in self.pool.ready(0, Height(self.next)) {
            queues.retain(|q| q.first().is_some_and(|t| valid(t)));
            let best = queues.iter_mut().max_by_key(|q| rank(&q[0])).expect("the rule has one too").remove(0);
            assert_eq!(given.hash(), best.hash());
        }
        queues.retain(|q| q.first().is_some_and(|t| valid(t)));
        assert!(queues.is_empty(), "the rule would give more");
    }

    fn insert(&mut self, seed: u8, tx: NativeTx, lane: Lane, origin: Origin) {
        let before = self.pool.content();
        let ctx = PoolContext { next_height: Height(self.next), ..ctx() };
        match self.pool.insert_from(sign(seed, tx), self.accounts[usize::from(seed)], &ctx, lane, origin) {
            Err(_) => assert_eq!(hashes(&before), hashes(&self.pool.content()), "a refusal changes nothing"),
            Ok(inserted) => {
                self.arrivals.push(inserted.tx.hash());
                let executable = |h| before.values().any(|s| s.pending.iter().any(|t| t.hash() == h));
                if inserted.evicted.into_iter().any(executable) {
                    assert!(inserted.ready, "only an executable one displaces an executable one");
                    assert_eq!(self.pool.status().queued, 0, "nothing distant stays when an executable one went");
                }
            }
        }
    }

    fn block(&mut self, take: usize) {
        let txs: Vec<_> = self.pool.ready(0, Height(self.next)).take(take).cloned().collect();
        for t in &txs {
            let seed = (0..6u8).find(|s| address(*s) == t.sender()).expect("one of ours");
            self.accounts[usize::from(seed)].nonce += 1;
        }
        self.next += 1;
        let accounts: Vec<_> = (0..6u8).map(|s| (address(s), self.accounts[usize::from(s)])).collect();
        let included: Vec<_> = txs.iter().map(|t| t.hash()).collect();
        let dropped = self.pool.on_block(&BlockUpdate { included: &included, ..block(&accounts, self.next) });
        assert!(included.iter().all(|h| !self.pool.contains(h) && !dropped.contains(h)));
    }

    /// What the proposer is given can be executed in that order, and pays no less than what follows from other senders.
    fn assert_consecutive(&self) {
        let mut next: Vec<u64> = self.accounts.iter().map(|a| a.nonce).collect();
        let mut count = 0;
        for t in self.pool.ready(0, Height(self.next)) {
            let seed = (0..6u8).find(|s| address(*s) == t.sender()).expect("one of ours");
            assert_eq!(t.payload().nonce(), next[usize::from(seed)]);
            next[usize::from(seed)] += 1;
            count += 1;
        }
        assert!(count <= self.pool.status().pending);
        assert_eq!(self.pool.has_ready(0, Height(self.next)), count > 0);
    }
}

fn hashes(content: &PoolContent) -> std::collections::BTreeSet<alloy_primitives::B256> {
    content.values().flat_map(|s| s.pending.iter().chain(&s.queued)).map(|t| t.hash()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_sequence_of_events_breaks_an_invariant(ops in proptest::collection::vec(op(), 1..120)) {
        let mut world = World::new();
        for op in ops {
            world.apply(op);
        }
    }
}
