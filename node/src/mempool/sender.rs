//! One sender's queue by nonce.

use std::{collections::BTreeMap, sync::Arc};

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

/// Lane, fee per gas, tip per gas.
pub(super) type Rank = (Lane, u128, u128);

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
}

impl Entry {
    pub fn new(tx: Arc<Transaction>, seq: u64, arrived_ms: u64, lane: Lane, origin: Origin) -> Self {
        let p = tx.payload();
        let (valid_from, valid_until) = intrinsic::window(p).unwrap_or((Height::GENESIS, None));
        let (cost, fee, tip) = (p.max_cost(), p.max_fee_per_gas(), p.max_priority_fee_per_gas());
        Self { tx, seq, arrived_ms, cost, fee, tip, lane, origin, valid_from, valid_until }
    }

    /// What it is taken to cost in memory.
    pub fn bytes(&self) -> usize {
        self.tx.raw().len() + MempoolConfig::OVERHEAD_BYTES
    }

    /// What decides who gives way: the lane, then the price.
    pub const fn rank(&self) -> Rank {
        (self.lane, self.fee, self.tip)
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
/// `account.nonce .. first_gap()` are all there and `first_gap()` is not.
#[derive(Clone, Debug, Default)]
pub(super) struct Sender {
    pub account: AccountView,
    pub txs: BTreeMap<u64, Entry>,
    pub total_cost: U256,
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
    pub fn executable(&self) -> std::collections::btree_map::Range<'_, u64, Entry> {
        self.txs.range(self.account.nonce..self.first_gap())
    }

    /// Those beyond a gap, in order.
    pub fn queued(&self) -> std::collections::btree_map::Range<'_, u64, Entry> {
        self.txs.range(self.first_gap()..)
    }

    /// The last executable one.
    pub fn tail(&self) -> Option<&Entry> {
        self.txs.get(&self.first_gap().checked_sub(1).filter(|_| self.ready > 0)?)
    }

    /// Puts an entry in, in place of the one with its nonce.
    pub fn put(&mut self, nonce: u64, entry: Entry) -> Option<Entry> {
        self.total_cost = self.total_cost.saturating_add(entry.cost);
        let old = self.txs.insert(nonce, entry);
        if let Some(old) = &old {
            self.total_cost = self.total_cost.saturating_sub(old.cost);
        }
        self.extend_ready();
        old
    }

    /// Takes an entry out; what came after it is no longer executable.
    pub fn take(&mut self, nonce: u64) -> Option<Entry> {
        let entry = self.txs.remove(&nonce)?;
        self.total_cost = self.total_cost.saturating_sub(entry.cost);
        if nonce < self.first_gap() {
            self.ready = nonce - self.account.nonce;
        }
        Some(entry)
    }

    /// Moves to the account as it is after a block, whose nonce is not below the known one; gives back what the new nonce made obsolete.
    pub fn set_account(&mut self, account: AccountView) -> Vec<Entry> {
        let gap = self.first_gap();
        let keep = self.txs.split_off(&account.nonce);
        let gone: Vec<Entry> = std::mem::replace(&mut self.txs, keep).into_values().collect();
        for e in &gone {
            self.total_cost = self.total_cost.saturating_sub(e.cost);
        }
        debug_assert!(account.nonce >= self.account.nonce);
        self.ready = gap.saturating_sub(account.nonce);
        self.account = account;
        self.extend_ready();
        gone
    }

    fn extend_ready(&mut self) {
        while self.txs.contains_key(&self.first_gap()) {
            self.ready += 1;
        }
    }
}
