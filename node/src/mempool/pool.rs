//! The pool itself: senders, and the indexes over them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use alloy_primitives::{
    Address, B256,
    map::{AddressMap, B256Map},
};
use basalt_primitives::{Height, Millis, Transaction, chainspec::EvmFork};

use super::{
    AccountView, Gone, Lane, Left, MempoolConfig, Origin, PoolError,
    evict::{Newcomer, QueuedKey, TailKey},
    gone::Memory,
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

/// Where a transaction is.
type Slot = (Address, u64);

/// What one peer brought of what is in the pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub count: usize,
    pub bytes: usize,
}

/// Most that are remembered after they left.
const REMEMBERED: usize = 8_192;
/// Most that are remembered though they never came in. They have a memory of their own, so that whoever sends what is refused
/// does not wash out the others.
const REFUSALS: usize = 1_024;

/// The mempool. See the module head.
#[derive(Debug)]
pub struct Mempool {
    pub(super) config: MempoolConfig,
    pub(super) senders: AddressMap<Sender>,
    pub(super) by_hash: B256Map<Slot>,
    /// Those beyond a gap; the last is the first to go.
    pub(super) queued: BTreeSet<QueuedKey>,
    /// The last executable transaction of each sender; the first is the first to go.
    pub(super) tails: BTreeSet<TailKey>,
    /// Native transactions by the last height at which they are valid.
    pub(super) expiry: BTreeSet<(Height, B256)>,
    /// Native transactions whose window has not begun, by the first height at which they are valid.
    pub(super) windows: BTreeSet<(Height, B256)>,
    pub(super) bytes: usize,
    /// How many there are of each lane, and what each peer brought.
    pub(super) lanes: BTreeMap<Lane, usize>,
    pub(super) peers: HashMap<u64, Held>,
    /// What left without being in a block, and what was refused.
    pub(super) memory: Memory,
    pub(super) refusals: Memory,
    next_seq: u64,
    pub(super) next_sweep_ms: Millis,
    /// Base fee and height of the next block, as last heard.
    pub(super) next_block: (u64, Height),
    /// When the first executable transaction came since there was none.
    pub(super) busy_since_ms: Option<Millis>,
}

impl Default for Mempool {
    fn default() -> Self {
        Self::new(MempoolConfig::default())
    }
}

impl Mempool {
    /// An empty pool.
    #[must_use]
    pub fn new(config: MempoolConfig) -> Self {
        Self {
            config,
            senders: AddressMap::default(),
            by_hash: B256Map::default(),
            queued: BTreeSet::new(),
            tails: BTreeSet::new(),
            expiry: BTreeSet::new(),
            windows: BTreeSet::new(),
            bytes: 0,
            lanes: BTreeMap::new(),
            peers: HashMap::new(),
            memory: Memory::new(REMEMBERED),
            refusals: Memory::new(REFUSALS),
            next_seq: 0,
            next_sweep_ms: 0,
            next_block: (0, Height::GENESIS),
            busy_since_ms: None,
        }
    }

    /// As [`Self::insert_from`], for a transaction of its owner that is of no better lane than its sender.
    pub fn insert(&mut self, tx: Transaction, account: AccountView, ctx: &PoolContext) -> Result<Inserted, PoolError> {
        self.insert_from(tx, account, ctx, Lane::Normal, Origin::Local)
    }

    /// Takes a transaction, or says why not. `account` is the sender's account in the newest executed state. `lane` is
    /// [`Lane::System`] or what its sender is listed for.
    pub fn insert_from(
        &mut self,
        tx: Transaction,
        account: AccountView,
        ctx: &PoolContext,
        lane: Lane,
        origin: Origin,
    ) -> Result<Inserted, PoolError> {
        if self.by_hash.contains_key(&tx.hash()) {
            return Err(PoolError::AlreadyKnown);
        }
        let tx = Arc::new(tx);
        let result = self.admit(&tx, account, ctx, lane, origin);
        if let (Err(why), Origin::Local) = (&result, origin) {
            let left = Left { why: Gone::Refused(why.clone()), sender: tx.sender(), nonce: tx.payload().nonce() };
            self.refusals.note(tx.hash(), left);
        }
        result
    }

    pub(super) fn admit(
        &mut self,
        tx: &Arc<Transaction>,
        account: AccountView,
        ctx: &PoolContext,
        lane: Lane,
        origin: Origin,
    ) -> Result<Inserted, PoolError> {
        intrinsic::check_stateless(tx, ctx, self.config.min_fee_per_gas)?;
        self.advance(ctx.base_fee, ctx.next_height);
        let (sender, nonce) = (tx.sender(), tx.payload().nonce());
        let account = self.refresh_account(sender, account);
        let lane = self.lane(lane, &sender, nonce);
        let entry = Entry::new(Arc::clone(tx), self.next_seq, ctx.now_ms, lane, origin, self.next_block.1);
        self.check_peer(origin, entry.bytes())?;
        let missing = self.check_account(sender, nonce, account, &entry)?;
        let floor = self.senders.get(&sender).map_or(entry.rank(), |s| s.floor_at(nonce, entry.rank()));
        let newcomer = Newcomer { sender, nonce, missing, entry: &entry, floor, position: nonce - account.nonce };
        let executable = newcomer.is_executable();
        let evicted = self.make_room(&newcomer)?;
        self.next_seq += 1;
        let replaced = self.put(sender, account, nonce, entry);
        self.note_busy(ctx.now_ms);
        Ok(Inserted { tx: Arc::clone(tx), ready: executable, replaced, evicted })
    }

    /// The newer of the account given and the account known: a block may have been executed that this pool, or the
    /// caller, has not heard of yet.
    fn refresh_account(&mut self, address: Address, given: AccountView) -> AccountView {
        let Some(known) = self.senders.get(&address).map(|s| s.account) else { return given };
        if given.nonce > known.nonce {
            self.update_account(address, given, &HashSet::new(), &mut Vec::new());
            return given;
        }
        if given.nonce == known.nonce { given } else { known }
    }

    fn put(&mut self, address: Address, account: AccountView, nonce: u64, entry: Entry) -> Option<B256> {
        self.unindex(address);
        let hash = entry.tx.hash();
        self.count_in(&entry, address, nonce);
        let sender = self.senders.entry(address).or_insert_with(|| Sender::new(account));
        sender.account.balance = account.balance;
        let old = sender.put(nonce, entry);
        if let Some(old) = &old {
            self.forget(old);
            self.note(&old.tx, Gone::Replaced(hash));
        }
        self.index(address);
        old.map(|o| o.tx.hash())
    }

    /// Drops a transaction that the proposer found cannot run, for the reason given. What came after it waits for its nonce.
    pub fn remove(&mut self, hash: &B256, why: &str) -> Option<Arc<Transaction>> {
        self.take_out(hash, Gone::Impossible(why.to_owned()))
    }

    /// Takes a transaction out and remembers why.
    pub(super) fn take_out(&mut self, hash: &B256, why: Gone) -> Option<Arc<Transaction>> {
        let tx = self.detach(hash)?;
        self.note(&tx, why);
        Some(tx)
    }

    pub(super) fn note(&mut self, tx: &Transaction, why: Gone) {
        self.memory.note(tx.hash(), Left { why, sender: tx.sender(), nonce: tx.payload().nonce() });
    }

    pub(super) fn detach(&mut self, hash: &B256) -> Option<Arc<Transaction>> {
        let (address, nonce) = *self.by_hash.get(hash)?;
        self.unindex(address);
        let entry = self.senders.get_mut(&address).and_then(|s| s.take(nonce));
        entry.iter().for_each(|e| self.forget(e));
        self.trim_and_index(address);
        entry.map(|e| e.tx)
    }

    /// Puts an entry into everything but its sender and the sender's indexes.
    fn count_in(&mut self, entry: &Entry, address: Address, nonce: u64) {
        self.by_hash.insert(entry.tx.hash(), (address, nonce));
        self.bytes += entry.bytes();
        *self.lanes.entry(entry.lane).or_default() += 1;
        if let Origin::Peer(peer) = entry.origin {
            let held = self.peers.entry(peer).or_default();
            held.count += 1;
            held.bytes += entry.bytes();
        }
        if let Some(until) = entry.valid_until {
            self.expiry.insert((until, entry.tx.hash()));
        }
        if !entry.open {
            self.windows.insert((entry.valid_from, entry.tx.hash()));
        }
    }

    /// Takes a removed entry out of everything but its sender.
    pub(super) fn forget(&mut self, entry: &Entry) {
        let hash = entry.tx.hash();
        self.by_hash.remove(&hash);
        self.bytes -= entry.bytes();
        if let Some(count) = self.lanes.get_mut(&entry.lane) {
            *count -= 1;
        }
        if let Origin::Peer(peer) = entry.origin
            && let Some(held) = self.peers.get_mut(&peer)
        {
            held.count -= 1;
            held.bytes -= entry.bytes();
            if held.count == 0 {
                self.peers.remove(&peer);
            }
        }
        if let Some(until) = entry.valid_until {
            self.expiry.remove(&(until, hash));
        }
        if !entry.open {
            self.windows.remove(&(entry.valid_from, hash));
        }
    }

    /// Takes a sender's keys out of the indexes, before the sender changes. A sender has at most
    /// [`MempoolConfig::max_nonce_gap`] queued ones, so this is cheap.
    pub(super) fn unindex(&mut self, address: Address) {
        let Some(sender) = self.senders.get(&address) else { return };
        for key in QueuedKey::of(address, sender) {
            self.queued.remove(&key);
        }
        if let Some(key) = TailKey::of(address, sender) {
            self.tails.remove(&key);
        }
    }

    /// Puts a sender's keys into the indexes; an empty sender goes.
    pub(super) fn index(&mut self, address: Address) {
        let Some(sender) = self.senders.get(&address) else { return };
        if sender.txs.is_empty() {
            self.senders.remove(&address);
            return;
        }
        self.queued.extend(QueuedKey::of(address, sender));
        self.tails.extend(TailKey::of(address, sender));
    }

    /// After something was taken out of the middle: what is now further beyond the gap than admission allows goes too.
    pub(super) fn trim_and_index(&mut self, address: Address) -> Vec<B256> {
        let mut gone: Vec<Entry> = Vec::new();
        if let Some(sender) = self.senders.get_mut(&address) {
            let limit = sender.first_gap().saturating_add(self.config.max_nonce_gap);
            let far: Vec<u64> = sender.queued().map(|(n, _)| *n).filter(|n| *n > limit).collect();
            gone.extend(far.into_iter().filter_map(|n| sender.take(n)));
        }
        for e in &gone {
            self.forget(e);
            self.note(&e.tx, Gone::TooFar);
        }
        self.index(address);
        gone.iter().map(|e| e.tx.hash()).collect()
    }
}
