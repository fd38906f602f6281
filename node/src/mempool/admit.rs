//! Whether a transaction may come in, and in which lane.

use alloy_primitives::Address;

use super::{
    AccountView, Lane, Mempool, Origin, PoolError,
    sender::{Entry, Sender},
};

impl Mempool {
    /// The lane a transaction gets: a lane that fills its share takes no more. What it replaces leaves its place.
    pub(super) fn lane(&self, given: Lane, sender: &Address, nonce: u64) -> Lane {
        let listed = if self.config.essential.contains(sender) { Lane::Essential } else { Lane::Normal };
        let replaced = self.senders.get(sender).and_then(|s| s.txs.get(&nonce)).map(|e| e.lane);
        let room = |lane: &Lane| {
            let held = self.lanes.get(lane).copied().unwrap_or(0) - usize::from(replaced == Some(*lane));
            *lane == Lane::Normal || held < lane.part_of(self.config.max_transactions)
        };
        let fits = |lane: &Lane| (*lane <= listed || *lane == given) && room(lane);
        given.max(listed).down().find(fits).unwrap_or(Lane::Normal)
    }

    pub(super) fn check_peer(&self, origin: Origin, bytes: usize) -> Result<(), PoolError> {
        let Origin::Peer(peer) = origin else { return Ok(()) };
        let held = self.peers.get(&peer).copied().unwrap_or_default();
        let part = |limit: usize| limit * self.config.max_peer_percent / 100;
        let (max_count, max_bytes) = (part(self.config.max_transactions), part(self.config.max_bytes));
        if held.count < max_count && held.bytes + bytes <= max_bytes {
            return Ok(());
        }
        Err(PoolError::PeerLimit { count: held.count, bytes: held.bytes, max_count, max_bytes })
    }

    /// Nonce, replacement, per-sender limit and balance. Returns the sender's first missing nonce.
    pub(super) fn check_account(
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
        self.check_bytes(address, sender, old, entry)?;
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

    fn check_bytes(
        &self,
        address: Address,
        sender: Option<&Sender>,
        old: Option<&Entry>,
        new: &Entry,
    ) -> Result<(), PoolError> {
        let limit = self.config.max_bytes * self.config.max_sender_percent / 100;
        let held = sender.map_or(0, |s| s.bytes) - old.map_or(0, Entry::bytes);
        if held + new.bytes() > limit {
            return Err(PoolError::SenderBytes { sender: address, limit });
        }
        Ok(())
    }

    /// A replacement pays the bump in both fee and tip. Where nothing is paid there is nothing to bump: then a
    /// transaction that does nothing cancels one that does something, and nothing else replaces it, so that free
    /// transactions cannot chase each other through the network for ever.
    fn check_replacement(&self, nonce: u64, old: &Entry, new: &Entry) -> Result<(), PoolError> {
        let bump = |price: u128| {
            price.saturating_add((price.saturating_mul(self.config.price_bump_percent.into())).div_ceil(100))
        };
        let (need_fee, need_tip) = (bump(old.fee), bump(old.tip));
        if (old.fee, new.fee) == (0, 0) {
            let cancels = new.is_cancel() && !old.is_cancel();
            let sender = old.tx.sender();
            return if cancels { Ok(()) } else { Err(PoolError::FreeReplacement { nonce, sender }) };
        }
        if new.fee >= need_fee && new.tip >= need_tip {
            return Ok(());
        }
        Err(PoolError::ReplacementUnderpriced { nonce, old_fee: old.fee, old_tip: old.tip, need_fee, need_tip })
    }
}
