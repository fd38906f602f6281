//! What blocks and time do to the pool.

use std::collections::{BTreeMap, HashSet};

use alloy_primitives::{Address, B256};
use basalt_primitives::{Height, Millis};

use super::{AccountView, Gone, Mempool, sender::Sender};

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
