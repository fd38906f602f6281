//! What blocks and time do to the pool.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use alloy_primitives::{Address, B256};
use basalt_primitives::{Height, Millis, Transaction};

use super::{
    AccountView, Gone, Lane, Mempool, Origin, PoolContext, PoolError,
    sender::{Entry, Sender},
};

/// A transaction on its way back in.
struct Waiting {
    tx: Arc<Transaction>,
    arrived_ms: Millis,
    lane: Lane,
    origin: Origin,
}

/// What a block changed.
#[derive(Clone, Copy, Debug)]
pub struct BlockUpdate<'a> {
    /// Accounts the block changed, as they are now. Accounts without transactions in the pool are passed over.
    pub accounts: &'a [(Address, AccountView)],
    /// Hashes of the block's transactions.
    pub included: &'a [B256],
    /// What of these did not run, and why not.
    pub skipped: &'a [(B256, String)],
    /// Height of the next block.
    pub next_height: Height,
    /// Base fee of the next block.
    pub base_fee: u64,
    /// Wall time.
    pub now_ms: Millis,
}

/// What a new fork choice changed that has taken blocks back.
#[derive(Clone, Copy, Debug)]
pub struct Reorg<'a> {
    /// Accounts that the abandoned or the adopted blocks changed, as they are now.
    pub accounts: &'a [(Address, AccountView)],
    /// Hashes of the adopted blocks' transactions.
    pub included: &'a [B256],
    /// The abandoned blocks' transactions that are not among these, in the order in which they ran.
    pub returned: &'a [Transaction],
    /// The rules of the block after the new head.
    pub context: PoolContext,
}

/// Old transactions are looked for this often.
const SWEEP_INTERVAL_MS: Millis = 30_000;

impl Mempool {
    /// Takes a block's results in: drops what is included, obsolete, expired or no longer payable.
    /// Returns the hashes of the transactions dropped without having been included.
    pub fn on_block(&mut self, update: &BlockUpdate<'_>) -> Vec<B256> {
        let mut dropped = Vec::new();
        if !self.is_empty() {
            self.take_block_in(update, &mut dropped);
        }
        self.advance(update.base_fee, update.next_height);
        self.drop_expired(update.next_height, &mut dropped);
        self.drop_old(update.now_ms, &mut dropped);
        self.note_busy(update.now_ms);
        dropped
    }

    /// Takes a reorganisation in: what the abandoned blocks held waits again, before what their senders have sent since; nonces
    /// go back. What no longer fits is dropped, and the reason remembered.
    pub fn on_reorg(&mut self, reorg: &Reorg<'_>) {
        let Reorg { accounts, included, returned, context } = *reorg;
        // Heights may go back too.
        self.next_block = (context.base_fee, context.next_height);
        for hash in included {
            self.detach(hash);
        }
        let mut waiting: BTreeMap<Address, Vec<Waiting>> = BTreeMap::new();
        for tx in returned {
            let back = Waiting {
                tx: Arc::new(tx.clone()),
                arrived_ms: context.now_ms,
                lane: Lane::Normal,
                origin: Origin::Local,
            };
            waiting.entry(tx.sender()).or_default().push(back);
        }
        for (address, _) in accounts {
            let held = self.take_all(address);
            if !held.is_empty() {
                waiting.entry(*address).or_default().extend(held);
            }
        }
        for (address, account) in accounts {
            for w in waiting.remove(address).unwrap_or_default() {
                self.take_back(&w, *account, &context);
            }
        }
        self.advance(context.base_fee, context.next_height);
        let mut dropped = Vec::new();
        self.drop_expired(context.next_height, &mut dropped);
        self.note_busy(context.now_ms);
    }

    /// Everything that a sender has here, by rising nonce.
    fn take_all(&mut self, address: &Address) -> Vec<Waiting> {
        self.unindex(*address);
        let Some(sender) = self.senders.remove(address) else { return Vec::new() };
        let entries: Vec<_> = sender.txs.into_values().collect();
        entries.iter().for_each(|e| self.forget(e));
        let waiting = |e: Entry| Waiting { tx: e.tx, arrived_ms: e.arrived_ms, lane: e.lane, origin: e.origin };
        entries.into_iter().map(waiting).collect()
    }

    fn take_back(&mut self, w: &Waiting, account: AccountView, context: &PoolContext) {
        if self.contains(&w.tx.hash()) {
            return;
        }
        let context = PoolContext { now_ms: w.arrived_ms, ..*context };
        match self.admit(&w.tx, account, &context, w.lane, w.origin) {
            Ok(_) => {}
            Err(PoolError::NonceTooLow { .. }) => self.note(&w.tx, Gone::NonceUsed),
            Err(why) => self.note(&w.tx, Gone::Refused(why)),
        }
    }

    fn take_block_in(&mut self, update: &BlockUpdate<'_>, dropped: &mut Vec<B256>) {
        let height = Height(update.next_height.0.saturating_sub(1));
        for (hash, why) in update.skipped {
            dropped.extend(self.take_out(hash, Gone::Skipped(height, why.clone())).map(|t| t.hash()));
        }
        let included: HashSet<&B256> = update.included.iter().collect();
        for (address, account) in update.accounts {
            self.update_account(*address, *account, &included, dropped);
        }
        for hash in update.included {
            self.detach(hash);
        }
    }

    /// The next block is now this one: windows begin.
    pub(super) fn advance(&mut self, base_fee: u64, height: Height) {
        if height < self.next_block.1 {
            return;
        }
        self.next_block = (base_fee, height);
        let mut begun: BTreeMap<Address, Vec<u64>> = BTreeMap::new();
        while let Some((from, hash)) = self.windows.first().copied()
            && from <= height
        {
            self.windows.pop_first();
            if let Some((address, nonce)) = self.by_hash.get(&hash) {
                begun.entry(*address).or_default().push(*nonce);
            }
        }
        for (address, nonces) in begun {
            self.unindex(address);
            if let Some(sender) = self.senders.get_mut(&address) {
                nonces.into_iter().for_each(|n| sender.open(n));
            }
            self.index(address);
        }
    }

    pub(super) fn note_busy(&mut self, now_ms: Millis) {
        self.busy_since_ms = if self.tails.is_empty() { None } else { self.busy_since_ms.or(Some(now_ms)) };
    }

    /// Drops what the account's new nonce or balance made impossible. A nonce below the known one is news that a newer
    /// insertion has overtaken, and is passed over.
    pub(super) fn update_account(
        &mut self,
        address: Address,
        account: AccountView,
        included: &HashSet<&B256>,
        dropped: &mut Vec<B256>,
    ) {
        if self.senders.get(&address).is_none_or(|s| account.nonce < s.account.nonce) {
            return;
        }
        self.unindex(address);
        let Some(sender) = self.senders.get_mut(&address) else { return };
        let used = sender.set_account(account);
        let unpayable = sender.take_unpayable();
        for e in used.iter().chain(&unpayable) {
            self.forget(e);
        }
        let used = used.into_iter().filter(|e| !included.contains(&e.tx.hash()));
        for (e, why) in used.map(|e| (e, Gone::NonceUsed)).chain(unpayable.into_iter().map(|e| (e, Gone::Unpayable))) {
            dropped.push(e.tx.hash());
            self.note(&e.tx, why);
        }
        dropped.extend(self.trim_and_index(address));
    }

    fn drop_expired(&mut self, next: Height, dropped: &mut Vec<B256>) {
        while let Some((until, hash)) = self.expiry.first().copied()
            && until < next
        {
            self.expiry.pop_first();
            dropped.extend(self.take_out(&hash, Gone::Expired(until)).map(|t| t.hash()));
        }
    }

    fn drop_old(&mut self, now_ms: Millis, dropped: &mut Vec<B256>) {
        if now_ms < self.next_sweep_ms {
            return;
        }
        self.next_sweep_ms = now_ms.saturating_add(SWEEP_INTERVAL_MS);
        let deadline = now_ms.saturating_sub(self.config.queued_lifetime_ms);
        let mut old: Vec<B256> = self.queued.iter().filter(|k| k.arrived_ms < deadline).map(|k| k.hash).collect();
        let deadline = now_ms.saturating_sub(self.config.pending_lifetime_ms);
        let waiting = self.senders.values().flat_map(Sender::executable);
        old.extend(waiting.filter(|(_, e)| e.arrived_ms < deadline).map(|(_, e)| e.tx.hash()));
        dropped.extend(old.iter().filter_map(|h| self.take_out(h, Gone::TooOld)).map(|t| t.hash()));
    }
}
