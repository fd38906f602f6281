//! The pool against a plain model: a list of transactions, no index, every rule as a loop over all of it. After each of many
//! random operations both give the same answer, hold the same transactions, and offer them in the same order.

use std::cmp::Reverse;

use alloy_primitives::B256;
use proptest::prelude::*;

use super::*;

const SENDERS: u8 = 6;

fn config() -> MempoolConfig {
    MempoolConfig {
        max_transactions: 16,
        max_bytes: 20 * 1024,
        max_per_sender: 7,
        max_nonce_gap: 5,
        queued_lifetime_ms: 100_000,
        pending_lifetime_ms: 200_000,
        essential: [address(5)].into(),
        block_gas: 600_000,
        block_bytes: 1 << 20,
        ..MempoolConfig::default()
    }
}

#[derive(Clone, Debug)]
enum Op {
    Insert {
        seed: u8,
        nonce: u64,
        fee: u128,
        data: usize,
        window: (Option<u64>, Option<u64>),
        lane: Lane,
        peer: Option<u64>,
    },
    /// Runs this many of the best executable ones in a block.
    Block { take: usize },
    /// Drops an executable one.
    Remove { seed: u8, place: usize },
    /// Sets a balance in a block.
    Balance { seed: u8, balance: u64 },
    /// Lets time go by, to the next block.
    Wait { ms: u64 },
}

fn op() -> impl Strategy<Value = Op> {
    let height = || proptest::option::weighted(0.2, 10..30u64);
    let lane = || prop_oneof![4 => Just(Lane::Normal), 1 => Just(Lane::System)];
    prop_oneof![
        14 => ((0..SENDERS, 0..14u64, 0..5u128, 0..900usize), (height(), height()), lane(), proptest::option::of(0..2u64))
            .prop_map(|((seed, nonce, fee, data), window, lane, peer)| Op::Insert { seed, nonce, fee, data, window, lane, peer }),
        2 => (0..6usize).prop_map(|take| Op::Block { take }),
        1 => (0..SENDERS, 0..7usize).prop_map(|(seed, place)| Op::Remove { seed, place }),
        1 => (0..SENDERS, 0..1_500_000u64).prop_map(|(seed, balance)| Op::Balance { seed, balance }),
        1 => (0..60_000u64).prop_map(|ms| Op::Wait { ms }),
    ]
}

/// One transaction of the model.
#[derive(Clone, Debug)]
struct Tx {
    seed: u8,
    nonce: u64,
    fee: u128,
    cost: U256,
    bytes: usize,
    from: u64,
    until: Option<u64>,
    lane: Lane,
    peer: Option<u64>,
    cancel: bool,
    seq: u64,
    arrived: u64,
    hash: B256,
}

type Rank = (bool, Lane, u128);

/// The plain model.
struct Model {
    config: MempoolConfig,
    txs: Vec<Tx>,
    accounts: Vec<AccountView>,
    height: u64,
    now: u64,
    seq: u64,
    sweep: u64,
}

impl Model {
    fn find(&self, seed: u8, nonce: u64) -> Option<&Tx> {
        self.txs.iter().find(|t| t.seed == seed && t.nonce == nonce)
    }

    /// First nonce that is missing.
    fn gap(&self, seed: u8) -> u64 {
        (self.accounts[usize::from(seed)].nonce..).find(|n| self.find(seed, *n).is_none()).expect("not all are there")
    }

    fn executable(&self, t: &Tx) -> bool {
        t.nonce < self.gap(t.seed)
    }

    fn rank(&self, t: &Tx) -> Rank {
        (t.from <= self.height, t.lane, t.fee)
    }

    /// The least of each part over it and all that run before it; what waits beyond a gap counts as it is.
    fn floor(&self, t: &Tx) -> Rank {
        if t.nonce > self.gap(t.seed) {
            return self.rank(t);
        }
        let before = (self.accounts[usize::from(t.seed)].nonce..t.nonce).filter_map(|n| self.find(t.seed, n));
        before.map(|b| self.rank(b)).fold(self.rank(t), |a, b| (a.0 && b.0, a.1.min(b.1), a.2.min(b.2)))
    }

    fn sum<'a>(txs: impl Iterator<Item = &'a Tx>) -> (usize, usize, U256) {
        txs.fold((0, 0, U256::ZERO), |(n, b, c), t| (n + 1, b + t.bytes, c + t.cost))
    }

    fn lane(&self, t: &Tx) -> Lane {
        let others = |l| self.txs.iter().filter(|o| o.lane == l && (o.seed, o.nonce) != (t.seed, t.nonce)).count();
        if t.lane == Lane::System && others(Lane::System) < 2 {
            Lane::System
        } else if t.seed == 5 && others(Lane::Essential) < 8 {
            Lane::Essential
        } else {
            Lane::Normal
        }
    }

    /// Takes it, or names the kind of the refusal.
    fn insert(&mut self, mut t: Tx) -> Result<(), &'static str> {
        if self.txs.iter().any(|o| o.hash == t.hash) {
            return Err("already_known");
        }
        if t.until.is_some_and(|u| u < self.height || u < t.from) {
            return Err("expired");
        }
        t.lane = self.lane(&t);
        let of_peer = |p: u64| Self::sum(self.txs.iter().filter(move |o| o.peer == Some(p)));
        if t.peer.map(of_peer).is_some_and(|(n, b, _)| n >= 12 || b + t.bytes > 15 * 1024) {
            return Err("peer_limit");
        }
        self.check_account(&t)?;
        let victims = self.victims(&t)?;
        self.txs.retain(|o| !victims.contains(&o.hash) && (o.seed, o.nonce) != (t.seed, t.nonce));
        t.seq = self.seq;
        self.seq += 1;
        self.txs.push(t);
        self.trim();
        Ok(())
    }

    fn check_account(&self, t: &Tx) -> Result<(), &'static str> {
        let account = self.accounts[usize::from(t.seed)];
        if t.nonce < account.nonce {
            return Err("nonce_too_low");
        }
        if t.nonce > self.gap(t.seed) + self.config.max_nonce_gap {
            return Err("nonce_too_high");
        }
        let old = self.find(t.seed, t.nonce);
        if let Some(old) = old {
            let free = old.fee == 0 && t.fee == 0;
            let need = old.fee + old.fee.div_ceil(10);
            if if free { !t.cancel || old.cancel } else { t.fee < need } {
                return Err("replacement_underpriced");
            }
        }
        let (count, bytes, cost) = Self::sum(self.txs.iter().filter(|o| o.seed == t.seed && o.nonce != t.nonce));
        if count >= self.config.max_per_sender || bytes + t.bytes > 10 * 1024 {
            return Err("sender_limit");
        }
        if cost + t.cost > account.balance { Err("insufficient_funds") } else { Ok(()) }
    }

    /// Who goes for it, one after the other.
    fn victims(&self, t: &Tx) -> Result<Vec<B256>, &'static str> {
        let executable = t.nonce <= self.gap(t.seed);
        let floor = self.floor(t);
        let mut victims = Vec::new();
        loop {
            let stay = self.txs.iter().filter(|o| !victims.contains(&o.hash) && (o.seed, o.nonce) != (t.seed, t.nonce));
            let (count, bytes, _) = Self::sum(stay);
            if count < self.config.max_transactions && bytes + t.bytes <= self.config.max_bytes {
                return Ok(victims);
            }
            let next = self.next_queued(t, executable, floor, &victims);
            // What cannot run yet takes no executable place while anything distant could go.
            let tails = executable && (floor.0 || self.worst_queued(t, executable, &victims).is_none());
            let next = next.or_else(|| if tails { self.next_tail(t, floor, &victims) } else { None });
            victims.push(next.ok_or("full")?);
        }
    }

    fn next_queued(&self, t: &Tx, executable: bool, floor: Rank, gone: &[B256]) -> Option<B256> {
        let worst = self.worst_queued(t, executable, gone).filter(|_| floor.0)?;
        (executable || self.queued_key(worst, worst.seq) > self.queued_key(t, self.seq)).then_some(worst.hash)
    }

    /// Lane, distance, price, arrival: the greatest goes first.
    fn queued_key(&self, t: &Tx, seq: u64) -> (Reverse<Lane>, u64, Reverse<u128>, u64) {
        (Reverse(t.lane), t.nonce.saturating_sub(self.gap(t.seed)), Reverse(t.fee), seq)
    }

    fn worst_queued(&self, t: &Tx, executable: bool, gone: &[B256]) -> Option<&Tx> {
        let run = (t.nonce + 1..).take_while(|n| self.find(t.seed, *n).is_some()).last().unwrap_or(t.nonce);
        let candidates = self.txs.iter().filter(|o| {
            let own = o.seed == t.seed && (o.nonce == t.nonce || (executable && o.nonce <= run));
            !self.executable(o) && !own && !gone.contains(&o.hash)
        });
        candidates.max_by_key(|o| self.queued_key(o, o.seq))
    }

    /// One of each other sender at most: its last, by what it counts as.
    fn next_tail(&self, t: &Tx, floor: Rank, gone: &[B256]) -> Option<B256> {
        let is_tail = |o: &&Tx| o.nonce + 1 == self.gap(o.seed) && o.seed != t.seed && !gone.contains(&o.hash);
        let least = self.txs.iter().filter(is_tail).min_by_key(|o| (self.floor(o), Reverse(o.seq)))?;
        let position = t.nonce - self.accounts[usize::from(t.seed)].nonce;
        let rank = self.floor(least);
        (rank < floor && (rank.1 < floor.1 || position < 16)).then_some(least.hash)
    }

    /// What is too far beyond its sender's gap goes.
    fn trim(&mut self) {
        for seed in 0..SENDERS {
            let last = self.gap(seed) + self.config.max_nonce_gap;
            self.txs.retain(|t| t.seed != seed || t.nonce <= last);
        }
    }

    /// A block with these transactions; the accounts are those after it.
    fn block(&mut self, included: &[B256]) {
        self.height += 1;
        self.txs.retain(|t| !included.contains(&t.hash) && t.nonce >= self.accounts[usize::from(t.seed)].nonce);
        for seed in 0..SENDERS {
            let mut left = self.accounts[usize::from(seed)].balance;
            let mut own: Vec<&Tx> = self.txs.iter().filter(|t| t.seed == seed).collect();
            own.sort_by_key(|t| t.nonce);
            let unpayable: Vec<B256> = own
                .into_iter()
                .filter(|t| left.checked_sub(t.cost).map(|rest| left = rest).is_none())
                .map(|t| t.hash)
                .collect();
            self.txs.retain(|t| !unpayable.contains(&t.hash));
        }
        self.trim();
        self.txs.retain(|t| t.until.is_none_or(|u| u >= self.height));
        self.trim();
        if self.now >= self.sweep {
            self.sweep = self.now + 30_000;
            let age = |t: &Tx| self.now.saturating_sub(t.arrived);
            let old = |t: &&Tx| age(t) > if self.executable(t) { 200_000 } else { 100_000 };
            let old: Vec<B256> = self.txs.iter().filter(old).map(|t| t.hash).collect();
            self.txs.retain(|t| !old.contains(&t.hash));
            self.trim();
        }
    }

    /// Again and again the best of what each sender has next.
    fn order(&self) -> Vec<B256> {
        let mut next: Vec<u64> = self.accounts.iter().map(|a| a.nonce).collect();
        let mut gas = [(Lane::Essential, 300_000u64), (Lane::System, 75_000)];
        let mut order = Vec::new();
        loop {
            let lane = |t: &Tx| {
                let room = gas.iter().find(|(l, _)| *l == t.lane).is_some_and(|(_, gas)| *gas > 0);
                if room { t.lane } else { Lane::Normal }
            };
            let heads = (0..SENDERS).filter_map(|s| self.find(s, next[usize::from(s)]));
            let runs = |t: &&Tx| t.from <= self.height;
            let Some(best) = heads.filter(runs).max_by_key(|t| (lane(t), t.fee, Reverse(t.seq))) else { return order };
            let counted = lane(best);
            gas.iter_mut().filter(|(l, _)| *l == counted).for_each(|(_, gas)| *gas = gas.saturating_sub(100_000));
            next[usize::from(best.seed)] += 1;
            order.push(best.hash);
        }
    }
}

/// The pool and the model side by side.
struct World {
    pool: Mempool,
    model: Model,
}

impl World {
    fn new() -> Self {
        let accounts = vec![rich(0); usize::from(SENDERS)];
        let model = Model { config: config(), txs: Vec::new(), accounts, height: 10, now: 1_000, seq: 0, sweep: 0 };
        Self { pool: Mempool::new(config()), model }
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Insert { seed, nonce, fee, data, window, lane, peer } => {
                self.insert(seed, nonce, fee, data, window, lane, peer);
            }
            Op::Block { take } => self.block(take),
            Op::Remove { seed, place } => {
                let pending = self.pool.content_of(&address(seed)).pending;
                if let Some(hash) = pending.get(place).map(|t| t.hash()) {
                    assert!(self.pool.remove(&hash, "for the test").is_some());
                    self.model.txs.retain(|t| t.hash != hash);
                    self.model.trim();
                }
            }
            Op::Balance { seed, balance } => {
                self.model.accounts[usize::from(seed)].balance = U256::from(balance);
                self.block(0);
            }
            Op::Wait { ms } => {
                self.model.now += ms;
                self.block(0);
            }
        }
        self.compare();
    }

    #[allow(clippy::too_many_arguments, reason = "an operation's fields")]
    fn insert(
        &mut self,
        seed: u8,
        nonce: u64,
        fee: u128,
        data: usize,
        (from, until): (Option<u64>, Option<u64>),
        lane: Lane,
        peer: Option<u64>,
    ) {
        // Short ones cancel.
        let (to, value, data) =
            if data < 50 { (address(seed), U256::ZERO, 0) } else { (Address::repeat_byte(7), U256::from(1), data) };
        let tx = NativeTx {
            max_fee_per_gas: fee,
            max_priority_fee_per_gas: fee,
            input: vec![0; data].into(),
            to: Some(to),
            value,
            gas_limit: 100_000,
            valid_from: Height(from.unwrap_or(0)),
            valid_until: until.map(Height),
            ..transfer(nonce)
        };
        let tx = sign(seed, tx);
        let plain = Tx {
            seed,
            nonce,
            fee,
            cost: U256::from(fee * 100_000) + value,
            bytes: tx.raw().len() + MempoolConfig::OVERHEAD_BYTES,
            from: from.unwrap_or(0),
            until,
            lane,
            peer,
            cancel: value.is_zero(),
            seq: 0,
            arrived: self.model.now,
            hash: tx.hash(),
        };
        let ctx = PoolContext { next_height: Height(self.model.height), now_ms: self.model.now, ..ctx() };
        let before = self.pool.content();
        let account = self.model.accounts[usize::from(seed)];
        let given = self.pool.insert_from(tx, account, &ctx, lane, peer.map_or(Origin::Local, Origin::Peer));
        let wanted = self.model.insert(plain);
        assert_eq!(given.as_ref().map(|_| ()).map_err(PoolError::kind), wanted, "{given:?}");
        if let Ok(inserted) = given {
            let was_executable = |h| before.values().any(|s| s.pending.iter().any(|t| t.hash() == h));
            if inserted.evicted.into_iter().any(was_executable) {
                assert!(inserted.ready, "only an executable one displaces an executable one");
                assert_eq!(self.pool.status().queued, 0, "nothing distant stays when an executable one went");
            }
        }
    }

    fn block(&mut self, take: usize) {
        let txs: Vec<_> = self.pool.ready(0, Height(self.model.height)).take(take).cloned().collect();
        for t in &txs {
            let seed = (0..SENDERS).find(|s| address(*s) == t.sender()).expect("one of ours");
            let account = &mut self.model.accounts[usize::from(seed)];
            assert_eq!(t.payload().nonce(), account.nonce, "what is offered runs in this order");
            account.nonce += 1;
        }
        let accounts: Vec<_> = (0..SENDERS).map(|s| (address(s), self.model.accounts[usize::from(s)])).collect();
        let included: Vec<_> = txs.iter().map(|t| t.hash()).collect();
        let update = BlockUpdate {
            included: &included,
            now_ms: self.model.now,
            ..super::block(&accounts, self.model.height + 1)
        };
        let dropped = self.pool.on_block(&update);
        assert!(included.iter().all(|h| !self.pool.contains(h) && !dropped.contains(h)));
        self.model.block(&included);
    }

    fn compare(&self) {
        self.pool.assert_invariants();
        let mut given: Vec<(Address, u64, bool, B256, Option<Lane>)> = Vec::new();
        for (address, s) in self.pool.content() {
            let lane = |h: &B256| self.pool.explain(h).and_then(|e| e.lane);
            let all = s.pending.iter().map(|t| (t, true)).chain(s.queued.iter().map(|t| (t, false)));
            given.extend(all.map(|(t, ready)| (address, t.payload().nonce(), ready, t.hash(), lane(&t.hash()))));
        }
        let m = &self.model;
        let mut wanted: Vec<_> =
            m.txs.iter().map(|t| (address(t.seed), t.nonce, m.executable(t), t.hash, Some(t.lane))).collect();
        wanted.sort();
        given.sort();
        assert_eq!(given, wanted);
        let order: Vec<_> = self.pool.ready(0, Height(m.height)).map(|t| t.hash()).collect();
        assert_eq!(order, m.order());
        assert_eq!(self.pool.has_ready(0, Height(m.height)), !order.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_pool_does_what_the_plain_model_does(ops in proptest::collection::vec(op(), 1..150)) {
        let mut world = World::new();
        for op in ops {
            world.apply(op);
        }
    }
}
