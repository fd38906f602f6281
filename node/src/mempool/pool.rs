//! The pool itself: senders, and the indexes over them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use alloy_primitives::{Address, B256, Bytes};
use basalt_primitives::{Height, Millis, Transaction, chainspec::EvmFork};

use super::{
    AccountView, MempoolConfig, PoolError, Ready,
    evict::{Newcomer, QueuedKey, TailKey},
    intrinsic,
    sender::{Entry, Sender},
};

/// The rules of the moment, for the next block.
#[derive(Clone, Copy, Debug)]
pub struct PoolContext {
    /// Height of the next block.
    pub next_height: Height,
    /// Base fee of the next block. A transaction below it waits until the base fee falls.
    pub base_fee: u64,
    /// Gas limit of a block.
    pub gas_limit: u64,
    /// EVM rules of the next block.
    pub fork: EvmFork,
    /// Wall time.
    pub now_ms: Millis,
}

/// What became of a transaction that was taken.
#[derive(Clone, Debug)]
pub struct Inserted {
    /// The transaction, shared.
    pub tx: Arc<Transaction>,
    /// Whether it is executable: no nonce is missing before it. (It may still wait for its validity window or base fee.)
    pub ready: bool,
    /// Hash of the transaction it replaced.
    pub replaced: Option<B256>,
    /// Hashes of transactions that gave way because the pool was full.
    pub evicted: Vec<B256>,
}

/// What a block changed.
#[derive(Clone, Copy, Debug)]
pub struct BlockUpdate<'a> {
    /// Accounts the block changed, as they are now. Accounts without transactions in the pool are passed over.
    pub accounts: &'a [(Address, AccountView)],
    /// Hashes of the block's transactions.
    pub included: &'a [B256],
    /// Height of the next block.
    pub next_height: Height,
    /// Base fee of the next block.
    pub base_fee: u64,
    /// Wall time.
    pub now_ms: Millis,
}

/// How full the pool is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolStatus {
    /// Executable transactions.
    pub pending: usize,
    /// Transactions beyond a nonce gap.
    pub queued: usize,
    /// Bytes, as the limit counts them.
    pub bytes: usize,
}

/// One sender's transactions.
#[derive(Clone, Debug, Default)]
pub struct SenderContent {
    /// Executable, by nonce.
    pub pending: Vec<Arc<Transaction>>,
    /// Beyond a gap, by nonce.
    pub queued: Vec<Arc<Transaction>>,
}

/// Everything in the pool, by sender.
pub type PoolContent = BTreeMap<Address, SenderContent>;

/// Where a transaction is.
type Slot = (Address, u64);

/// The mempool. See the module head.
#[derive(Debug, Default)]
pub struct Mempool {
    pub(super) config: MempoolConfig,
    pub(super) senders: HashMap<Address, Sender>,
    by_hash: HashMap<B256, Slot>,
    /// Those beyond a gap; the last is the first to go.
    pub(super) queued: BTreeSet<QueuedKey>,
    /// The last executable transaction of each sender; the first is the first to go.
    pub(super) tails: BTreeSet<TailKey>,
    /// Native transactions by the last height at which they are valid.
    expiry: BTreeSet<(Height, B256)>,
    pub(super) bytes: usize,
    next_seq: u64,
    next_sweep_ms: Millis,
    /// Base fee and height of the next block, as last heard.
    next_block: (u64, Height),
    /// When the first executable transaction came since there was none.
    busy_since_ms: Option<Millis>,
}

/// Old queued transactions are looked for this often.
const SWEEP_INTERVAL_MS: Millis = 30_000;

impl Mempool {
    /// An empty pool.
    #[must_use]
    pub fn new(config: MempoolConfig) -> Self {
        Self { config, ..Self::default() }
    }

    /// Takes a transaction, or says why not. `account` is the sender's account in the newest executed state.
    pub fn insert(&mut self, tx: Transaction, account: AccountView, ctx: &PoolContext) -> Result<Inserted, PoolError> {
        if self.by_hash.contains_key(&tx.hash()) {
            return Err(PoolError::AlreadyKnown);
        }
        intrinsic::check_stateless(&tx, ctx, self.config.min_fee_per_gas)?;
        let (sender, nonce) = (tx.sender(), tx.payload().nonce());
        let entry = Entry::new(Arc::new(tx), self.next_seq, ctx.now_ms);
        let account = self.refresh_account(sender, account);
        let missing = self.check_account(sender, nonce, account, &entry)?;
        let newcomer = Newcomer { sender, nonce, missing, entry: &entry };
        let executable = newcomer.is_executable();
        let evicted = self.make_room(&newcomer)?;
        self.next_seq += 1;
        let tx = entry.tx.clone();
        let replaced = self.put(sender, account, nonce, entry);
        self.next_block = (ctx.base_fee, ctx.next_height);
        self.note_busy(ctx.now_ms);
        Ok(Inserted { tx, ready: executable, replaced, evicted })
    }

    /// The newer of the account given and the account known: a block may have been executed that this pool, or the
    /// caller, has not heard of yet.
    fn refresh_account(&mut self, address: Address, given: AccountView) -> AccountView {
        let Some(known) = self.senders.get(&address).map(|s| s.account) else { return given };
        if given.nonce > known.nonce {
            self.update_account(address, given);
            return given;
        }
        if given.nonce == known.nonce { given } else { known }
    }

    /// Nonce, replacement, per-sender limit and balance. Returns the sender's first missing nonce.
    fn check_account(
        &self,
        address: Address,
        nonce: u64,
        account: AccountView,
        entry: &Entry,
    ) -> Result<u64, PoolError> {
        if nonce == u64::MAX {
            return Err(PoolError::NonceMax);
        }
        if nonce < account.nonce {
            return Err(PoolError::NonceTooLow { nonce, next: account.nonce });
        }
        let sender = self.senders.get(&address);
        let missing = sender.map_or(account.nonce, Sender::first_gap);
        if nonce > missing && nonce - missing > self.config.max_nonce_gap {
            let (next, max_gap) = (account.nonce, self.config.max_nonce_gap);
            return Err(PoolError::NonceTooHigh { sender: address, nonce, next, missing, max_gap });
        }
        let old = sender.and_then(|s| s.txs.get(&nonce));
        if let Some(old) = old {
            self.check_replacement(nonce, old, entry)?;
        } else if sender.is_some_and(|s| s.txs.len() >= self.config.max_per_sender) {
            return Err(PoolError::SenderLimit { sender: address, limit: self.config.max_per_sender });
        }
        let others = sender.map_or_else(Default::default, |s| s.total_cost);
        let others = others.saturating_sub(old.map_or_else(Default::default, |o| o.cost));
        let (balance, cost) = (account.balance, entry.cost);
        if cost > balance {
            return Err(PoolError::InsufficientFunds { balance, cost });
        }
        if others.saturating_add(cost) > balance {
            return Err(PoolError::InsufficientFundsWithPending { balance, queued: others, cost });
        }
        Ok(missing)
    }

    /// A replacement pays the bump in both fee and tip. Where gas is free there is nothing to bump: equal is enough, so
    /// that a sender can still cancel.
    fn check_replacement(&self, nonce: u64, old: &Entry, new: &Entry) -> Result<(), PoolError> {
        let bump = |price: u128| {
            price.saturating_add((price.saturating_mul(self.config.price_bump_percent.into())).div_ceil(100))
        };
        let (need_fee, need_tip) = (bump(old.fee), bump(old.tip));
        if new.fee >= need_fee && new.tip >= need_tip {
            return Ok(());
        }
        Err(PoolError::ReplacementUnderpriced { nonce, old_fee: old.fee, old_tip: old.tip, need_fee, need_tip })
    }

    fn put(&mut self, address: Address, account: AccountView, nonce: u64, entry: Entry) -> Option<B256> {
        self.unindex(address);
        self.bytes += entry.bytes();
        self.by_hash.insert(entry.tx.hash(), (address, nonce));
        if let Some(until) = entry.valid_until {
            self.expiry.insert((until, entry.tx.hash()));
        }
        let sender = self.senders.entry(address).or_insert_with(|| Sender::new(account));
        sender.account.balance = account.balance;
        let old = sender.put(nonce, entry);
        let replaced = old.as_ref().map(|o| o.tx.hash());
        old.iter().for_each(|o| self.forget(o));
        self.index(address);
        replaced
    }

    /// Drops a transaction, for example one that the proposer found cannot run. What came after it waits for its nonce.
    pub fn remove(&mut self, hash: &B256) -> Option<Arc<Transaction>> {
        let (address, nonce) = *self.by_hash.get(hash)?;
        self.unindex(address);
        let entry = self.senders.get_mut(&address).and_then(|s| s.take(nonce));
        entry.iter().for_each(|e| self.forget(e));
        self.trim_and_index(address);
        entry.map(|e| e.tx)
    }

    /// Takes a block's results in: drops what is included, obsolete, expired or no longer payable.
    /// Returns the hashes of the transactions dropped without having been included.
    pub fn on_block(&mut self, update: &BlockUpdate<'_>) -> Vec<B256> {
        let before = self.by_hash.len();
        let mut dropped = Vec::new();
        let included: std::collections::HashSet<&B256> =
            if before == 0 { Default::default() } else { update.included.iter().collect() };
        for (address, account) in update.accounts {
            let gone = self.update_account(*address, *account);
            dropped.extend(gone.into_iter().filter(|h| !included.contains(h)));
        }
        for hash in update.included {
            self.remove(hash);
        }
        self.drop_expired(update.next_height, &mut dropped);
        self.drop_old_queued(update.now_ms, &mut dropped);
        self.next_block = (update.base_fee, update.next_height);
        self.note_busy(update.now_ms);
        dropped
    }

    fn note_busy(&mut self, now_ms: Millis) {
        self.busy_since_ms = if self.tails.is_empty() { None } else { self.busy_since_ms.or(Some(now_ms)) };
    }

    /// Since when transactions that the next block could take have been waiting; `None` when none wait.
    #[must_use]
    pub fn work_since_ms(&self) -> Option<Millis> {
        let (base_fee, height) = self.next_block;
        self.busy_since_ms.filter(|_| self.has_ready(base_fee, height))
    }

    /// Returns the hashes of the transactions that the account's new nonce or balance made impossible. A nonce below the
    /// known one is news that a newer insertion has overtaken, and is passed over.
    fn update_account(&mut self, address: Address, account: AccountView) -> Vec<B256> {
        if self.senders.get(&address).is_none_or(|s| account.nonce < s.account.nonce) {
            return Vec::new();
        }
        self.unindex(address);
        let Some(sender) = self.senders.get_mut(&address) else { return Vec::new() };
        let mut gone = sender.set_account(account);
        let unpayable: Vec<u64> =
            sender.txs.iter().filter(|(_, e)| e.cost > account.balance).map(|(n, _)| *n).collect();
        gone.extend(unpayable.into_iter().filter_map(|n| sender.take(n)));
        gone.iter().for_each(|e| self.forget(e));
        let mut hashes: Vec<B256> = gone.iter().map(|e| e.tx.hash()).collect();
        hashes.extend(self.trim_and_index(address));
        hashes
    }

    fn drop_expired(&mut self, next: Height, dropped: &mut Vec<B256>) {
        while let Some((until, hash)) = self.expiry.first().copied()
            && until < next
        {
            self.expiry.pop_first();
            dropped.extend(self.remove(&hash).map(|t| t.hash()));
        }
    }

    fn drop_old_queued(&mut self, now_ms: Millis, dropped: &mut Vec<B256>) {
        if now_ms < self.next_sweep_ms {
            return;
        }
        self.next_sweep_ms = now_ms.saturating_add(SWEEP_INTERVAL_MS);
        let deadline = now_ms.saturating_sub(self.config.queued_lifetime_ms);
        let old: Vec<B256> = self.queued.iter().filter(|k| k.arrived_ms < deadline).map(|k| k.hash).collect();
        dropped.extend(old.iter().filter_map(|h| self.remove(h)).map(|t| t.hash()));
    }

    /// Executable transactions that can be in the block of this height with this base fee: by tip, then by arrival, each
    /// sender's in the order of nonces.
    #[must_use]
    pub fn ready(&self, base_fee: u64, height: Height) -> Ready<'_> {
        Ready::new(self.tails.iter().filter_map(|k| self.senders.get(&k.sender)), base_fee, height)
    }

    /// The encodings of what the next block could take, best first, up to about this many bytes.
    #[must_use]
    pub fn waiting(&self, max_bytes: usize) -> Vec<Bytes> {
        let (base_fee, height) = self.next_block;
        let mut bytes = 0;
        let room = |tx: &&Arc<Transaction>| {
            bytes += tx.raw().len();
            bytes <= max_bytes
        };
        self.ready(base_fee, height).take_while(room).map(|tx| tx.raw().clone()).collect()
    }

    /// Whether [`Mempool::ready`] would give anything.
    #[must_use]
    pub fn has_ready(&self, base_fee: u64, height: Height) -> bool {
        let first = |k: &TailKey| self.senders.get(&k.sender)?.executable().next()?.1.tip_at(base_fee, height);
        self.tails.iter().any(|k| first(k).is_some())
    }

    /// The transaction of a hash.
    #[must_use]
    pub fn get(&self, hash: &B256) -> Option<&Arc<Transaction>> {
        let (address, nonce) = self.by_hash.get(hash)?;
        self.senders.get(address)?.txs.get(nonce).map(|e| &e.tx)
    }

    /// Whether a transaction is there.
    #[must_use]
    pub fn contains(&self, hash: &B256) -> bool {
        self.by_hash.contains_key(hash)
    }

    /// The nonce a sender's next transaction should have; `None` when the pool has nothing of the sender.
    #[must_use]
    pub fn next_nonce(&self, sender: &Address) -> Option<u64> {
        self.senders.get(sender).map(Sender::first_gap)
    }

    /// Everything, by sender.
    #[must_use]
    pub fn content(&self) -> PoolContent {
        self.senders.iter().map(|(a, s)| (*a, content_of(s))).collect()
    }

    /// One sender's transactions.
    #[must_use]
    pub fn content_of(&self, sender: &Address) -> SenderContent {
        self.senders.get(sender).map(content_of).unwrap_or_default()
    }

    /// How full it is.
    #[must_use]
    pub fn status(&self) -> PoolStatus {
        let queued = self.queued.len();
        PoolStatus { pending: self.by_hash.len() - queued, queued, bytes: self.bytes }
    }

    /// How many transactions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_hash.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }

    /// Takes a removed entry out of everything but its sender.
    fn forget(&mut self, entry: &Entry) {
        let hash = entry.tx.hash();
        self.by_hash.remove(&hash);
        self.bytes -= entry.bytes();
        if let Some(until) = entry.valid_until {
            self.expiry.remove(&(until, hash));
        }
    }

    /// Takes a sender's keys out of the indexes, before the sender changes. A sender has at most
    /// [`MempoolConfig::max_nonce_gap`] queued ones, so this is cheap.
    fn unindex(&mut self, address: Address) {
        let Some(sender) = self.senders.get(&address) else { return };
        for key in QueuedKey::of(address, sender) {
            self.queued.remove(&key);
        }
        if let Some(key) = TailKey::of(address, sender) {
            self.tails.remove(&key);
        }
    }

    /// Puts a sender's keys into the indexes; an empty sender goes.
    fn index(&mut self, address: Address) {
        let Some(sender) = self.senders.get(&address) else { return };
        if sender.txs.is_empty() {
            self.senders.remove(&address);
            return;
        }
        self.queued.extend(QueuedKey::of(address, sender));
        self.tails.extend(TailKey::of(address, sender));
    }

    /// After something was taken out of the middle: what is now further beyond the gap than admission allows goes too.
    fn trim_and_index(&mut self, address: Address) -> Vec<B256> {
        let mut hashes = Vec::new();
        if let Some(sender) = self.senders.get_mut(&address) {
            let limit = sender.first_gap().saturating_add(self.config.max_nonce_gap);
            let far: Vec<u64> = sender.queued().map(|(n, _)| *n).filter(|n| *n > limit).collect();
            let gone: Vec<Entry> = far.into_iter().filter_map(|n| sender.take(n)).collect();
            gone.iter().for_each(|e| self.forget(e));
            hashes.extend(gone.iter().map(|e| e.tx.hash()));
        }
        self.index(address);
        hashes
    }
}

fn content_of(sender: &Sender) -> SenderContent {
    SenderContent {
        pending: sender.executable().map(|(_, e)| e.tx.clone()).collect(),
        queued: sender.queued().map(|(_, e)| e.tx.clone()).collect(),
    }
}

#[cfg(test)]
impl Mempool {
    /// Every invariant of the pool, against what the senders' queues say.
    pub(super) fn assert_invariants(&self) {
        let entries = || self.senders.values().flat_map(|s| s.txs.values());
        assert_eq!(self.by_hash.len(), entries().count(), "every transaction is found by its hash");
        assert_eq!(self.bytes, entries().map(Entry::bytes).sum::<usize>(), "bytes are counted");
        assert!(self.len() <= self.config.max_transactions && self.bytes <= self.config.max_bytes, "limits hold");
        for (address, s) in &self.senders {
            assert!(!s.txs.is_empty(), "an empty sender goes");
            assert!(s.txs.len() <= self.config.max_per_sender, "the sender's limit holds");
            assert!(s.txs.keys().all(|n| *n >= s.account.nonce), "no used nonce stays");
            let run = (s.account.nonce..).take_while(|n| s.txs.contains_key(n)).count() as u64;
            assert_eq!(s.first_gap(), s.account.nonce + run, "the executable run is the consecutive run");
            let last = s.txs.keys().next_back().copied().unwrap_or(0);
            assert!(last <= s.first_gap() + self.config.max_nonce_gap, "nothing waits further beyond the gap");
            let cost = s.txs.values().fold(alloy_primitives::U256::ZERO, |c, e| c + e.cost);
            assert_eq!(s.total_cost, cost, "costs are summed");
            for (nonce, e) in &s.txs {
                assert_eq!(self.by_hash.get(&e.tx.hash()), Some(&(*address, *nonce)));
            }
        }
        let queued: BTreeSet<_> = self.senders.iter().flat_map(|(a, s)| QueuedKey::of(*a, s)).collect();
        assert_eq!(self.queued, queued, "the index of queued ones is exact");
        let tails: BTreeSet<_> = self.senders.iter().filter_map(|(a, s)| TailKey::of(*a, s)).collect();
        assert_eq!(self.tails, tails, "the index of tails is exact");
        let expiry: BTreeSet<_> = entries().filter_map(|e| Some((e.valid_until?, e.tx.hash()))).collect();
        assert_eq!(self.expiry, expiry, "the index of windows is exact");
    }
}
