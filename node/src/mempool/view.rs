//! What the pool shows.

use std::{collections::BTreeMap, sync::Arc};

use alloy_primitives::{Address, B256, Bytes};
use basalt_primitives::{Height, Millis, Transaction};

use super::{Mempool, Origin, Ready, evict::TailKey, sender::Sender};

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

impl Mempool {
    /// Since when transactions that the next block could take have been waiting; `None` when none wait.
    #[must_use]
    pub fn work_since_ms(&self) -> Option<Millis> {
        let (base_fee, height) = self.next_block;
        self.busy_since_ms.filter(|_| self.has_ready(base_fee, height))
    }

    /// Executable transactions that can be in the block of this height with this base fee: by lane within its share, by tip,
    /// then by arrival, each sender's in the order of nonces.
    #[must_use]
    pub fn ready(&self, base_fee: u64, height: Height) -> Ready<'_> {
        Ready::new(self.tails.iter().filter_map(|k| self.senders.get(&k.sender)), base_fee, height, &self.config)
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

    /// The transactions that came by RPC: each sender's in the order of nonces, so that they can come in again in this order;
    /// senders by who came first.
    #[must_use]
    pub fn local(&self) -> Vec<Arc<Transaction>> {
        let of = |s: &'_ Sender| -> Option<(u64, Vec<Arc<Transaction>>)> {
            let local = || s.txs.values().filter(|e| e.origin == Origin::Local);
            Some((local().map(|e| e.seq).min()?, local().map(|e| e.tx.clone()).collect()))
        };
        let mut senders: Vec<_> = self.senders.values().filter_map(of).collect();
        senders.sort_unstable_by_key(|(first, _)| *first);
        senders.into_iter().flat_map(|(_, txs)| txs).collect()
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
}

fn content_of(sender: &Sender) -> SenderContent {
    SenderContent {
        pending: sender.executable().map(|(_, e)| e.tx.clone()).collect(),
        queued: sender.queued().map(|(_, e)| e.tx.clone()).collect(),
    }
}
