//! One sender's queue by nonce.

use std::{
    collections::{BTreeMap, btree_map::Range},
    sync::Arc,
};

use alloy_primitives::U256;
use basalt_primitives::{Height, Transaction};

use super::{Lane, MempoolConfig, Origin, intrinsic};

/// What admission needs to know of an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountView {
    /// The next nonce.
    pub nonce: u64,
    /// Wei.
    pub balance: U256,
}

/// What decides who gives way, the greatest last. Each part of it counts as the least over the transaction and all that must
/// run before it: what stands behind a transaction that no block takes is worth no more than that one, whatever it offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    /// Whether the validity window has begun.
    pub open: bool,
    pub lane: Lane,
    pub fee: u128,
    pub tip: u128,
}

impl Rank {
    /// The lesser in each part.
    pub fn lesser(self, other: Self) -> Self {
        Self {
            open: self.open && other.open,
            lane: self.lane.min(other.lane),
            fee: self.fee.min(other.fee),
            tip: self.tip.min(other.tip),
        }
    }
}

/// A transaction in the pool, with what is asked often.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub tx: Arc<Transaction>,
    /// Order of arrival.
    pub seq: u64,
    pub arrived_ms: u64,
    pub cost: U256,
    pub fee: u128,
    pub tip: u128,
    pub lane: Lane,
    pub origin: Origin,
    /// First and last height of a native transaction.
    pub valid_from: Height,
    pub valid_until: Option<Height>,
    /// Whether the window has begun, as far as the pool knows.
    pub open: bool,
    /// Its rank, as far as what stands before it lets it count; kept for executable ones.
    pub floor: Rank,
}

impl Entry {
    pub fn new(tx: Arc<Transaction>, seq: u64, arrived_ms: u64, lane: Lane, origin: Origin, height: Height) -> Self {
        let p = tx.payload();
        let (valid_from, valid_until) = intrinsic::window(p).unwrap_or((Height::GENESIS, None));
        let (cost, fee, tip) = (p.max_cost(), p.max_fee_per_gas(), p.max_priority_fee_per_gas());
        let open = valid_from <= height;
        let floor = Rank { open, lane, fee, tip };
        Self { tx, seq, arrived_ms, cost, fee, tip, lane, origin, valid_from, valid_until, open, floor }
    }

    /// What it is taken to cost in memory.
    pub fn bytes(&self) -> usize {
        self.tx.raw().len() + MempoolConfig::OVERHEAD_BYTES
    }

    /// What it would count as with nothing before it.
    pub const fn rank(&self) -> Rank {
        Rank { open: self.open, lane: self.lane, fee: self.fee, tip: self.tip }
    }

    /// Whether it does nothing but use up its nonce: no value, no data, to its own sender.
    pub fn is_cancel(&self) -> bool {
        let p = self.tx.payload();
        p.to() == Some(self.tx.sender()) && p.value().is_zero() && p.input().is_empty()
    }

    /// The tip per gas in a block with this base fee at this height; `None` when it cannot be in that block.
    pub fn tip_at(&self, base_fee: u64, height: Height) -> Option<u128> {
        if height < self.valid_from || self.valid_until.is_some_and(|u| height > u) {
            return None;
        }
        Some(self.fee.checked_sub(u128::from(base_fee))?.min(self.tip))
    }
}

/// A sender's transactions. Invariants: every nonce is at least `account.nonce`; nonces in
/// `account.nonce .. first_gap()` are all there and `first_gap()` is not; each of these has its floor.
#[derive(Clone, Debug, Default)]
pub(super) struct Sender {
    pub account: AccountView,
    pub txs: BTreeMap<u64, Entry>,
    pub total_cost: U256,
    pub bytes: usize,
    ready: u64,
}

impl Sender {
    pub fn new(account: AccountView) -> Self {
        Self { account, ..Self::default() }
    }

    /// The first nonce that neither the chain nor the pool has.
    pub const fn first_gap(&self) -> u64 {
        self.account.nonce + self.ready
    }

    /// The executable ones, in order.
    pub fn executable(&self) -> Range<'_, u64, Entry> {
        self.txs.range(self.account.nonce..self.first_gap())
    }

    /// Those beyond a gap, in order.
    pub fn queued(&self) -> Range<'_, u64, Entry> {
        self.txs.range(self.first_gap()..)
    }

    /// The last executable one.
    pub fn tail(&self) -> Option<&Entry> {
        self.txs.get(&self.first_gap().checked_sub(1).filter(|_| self.ready > 0)?)
    }

    /// What an entry of this rank and nonce counts as behind those before it.
    pub fn floor_at(&self, nonce: u64, rank: Rank) -> Rank {
        let before = nonce.checked_sub(1).filter(|n| (self.account.nonce..self.first_gap()).contains(n));
        before.and_then(|n| self.txs.get(&n)).map_or(rank, |e| e.floor.lesser(rank))
    }

    /// Puts an entry in, in place of the one with its nonce.
    pub fn put(&mut self, nonce: u64, entry: Entry) -> Option<Entry> {
        self.total_cost = self.total_cost.saturating_add(entry.cost);
        self.bytes += entry.bytes();
        let old = self.txs.insert(nonce, entry);
        old.iter().for_each(|o| self.discount(o));
        if nonce < self.first_gap() {
            self.refloor(nonce);
        }
        self.extend_ready();
        old
    }

    /// Takes an entry out; what came after it is no longer executable.
    pub fn take(&mut self, nonce: u64) -> Option<Entry> {
        let entry = self.txs.remove(&nonce)?;
        self.discount(&entry);
        if nonce < self.first_gap() {
            self.ready = nonce - self.account.nonce;
        }
        Some(entry)
    }

    /// The window of an entry has begun.
    pub fn open(&mut self, nonce: u64) {
        let Some(entry) = self.txs.get_mut(&nonce) else { return };
        entry.open = true;
        if nonce < self.first_gap() {
            self.refloor(nonce);
        }
    }

    /// Moves to the account as it is after a block, whose nonce is not below the known one; gives back what the new nonce made obsolete.
    pub fn set_account(&mut self, account: AccountView) -> Vec<Entry> {
        debug_assert!(account.nonce >= self.account.nonce);
        let gap = self.first_gap();
        let keep = self.txs.split_off(&account.nonce);
        let gone: Vec<Entry> = std::mem::replace(&mut self.txs, keep).into_values().collect();
        gone.iter().for_each(|e| self.discount(e));
        self.ready = gap.saturating_sub(account.nonce);
        self.account = account;
        self.refloor(account.nonce);
        self.extend_ready();
        gone
    }

    /// Takes out what the balance does not cover together with what comes before it.
    pub fn take_unpayable(&mut self) -> Vec<Entry> {
        if self.total_cost <= self.account.balance {
            return Vec::new();
        }
        let mut left = self.account.balance;
        let mut unpayable = Vec::new();
        for (nonce, e) in &self.txs {
            match left.checked_sub(e.cost) {
                Some(rest) => left = rest,
                None => unpayable.push(*nonce),
            }
        }
        unpayable.into_iter().filter_map(|n| self.take(n)).collect()
    }

    fn discount(&mut self, gone: &Entry) {
        self.total_cost = self.total_cost.saturating_sub(gone.cost);
        self.bytes -= gone.bytes();
    }

    fn extend_ready(&mut self) {
        loop {
            let nonce = self.first_gap();
            let Some(rank) = self.txs.get(&nonce).map(Entry::rank) else { return };
            let floor = self.floor_at(nonce, rank);
            self.txs.get_mut(&nonce).expect("just seen").floor = floor;
            self.ready += 1;
        }
    }

    /// Makes the floors of the executable ones from a nonce on anew, until one comes out as it was.
    fn refloor(&mut self, from: u64) {
        for nonce in from..self.first_gap() {
            let Some(e) = self.txs.get(&nonce) else { return };
            let floor = self.floor_at(nonce, e.rank());
            if nonce > from && e.floor == floor {
                return;
            }
            self.txs.get_mut(&nonce).expect("just seen").floor = floor;
        }
    }
}
