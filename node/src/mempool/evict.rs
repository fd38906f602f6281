//! Who gives way when the pool is full.

use std::cmp::Reverse;

use alloy_primitives::{Address, B256};

use super::{
    Gone, Lane, Mempool, PoolError,
    sender::{Entry, Rank, Sender},
};

/// A transaction beyond a gap. The greatest key is the first to go: of the worst lane the most distant, of these the
/// cheapest, of these the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct QueuedKey {
    lane: Reverse<Lane>,
    distance: u64,
    price: Reverse<(u128, u128)>,
    seq: u64,
    pub arrived_ms: u64,
    pub hash: B256,
    sender: Address,
}

/// How far into its sender's executable run a transaction may stand to displace one of the same lane: one used nonce or one
/// emptied account takes the whole run out of the pool again, and must not have cost more honest transactions than this.
const MAX_DISPLACING: u64 = 16;

/// A sender's last executable transaction, with what it counts as behind those before it. The least key is the first to go:
/// what no block takes yet, then of the worst lane the cheapest, of these the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TailKey {
    rank: Rank,
    seq: Reverse<u64>,
    hash: B256,
    pub sender: Address,
}

impl QueuedKey {
    fn new(address: Address, distance: u64, e: &Entry) -> Self {
        let price = Reverse((e.fee, e.tip));
        Self {
            lane: Reverse(e.lane),
            distance,
            price,
            seq: e.seq,
            arrived_ms: e.arrived_ms,
            hash: e.tx.hash(),
            sender: address,
        }
    }

    pub fn of(address: Address, sender: &Sender) -> impl Iterator<Item = Self> {
        let gap = sender.first_gap();
        sender.queued().map(move |(n, e)| Self::new(address, n - gap, e))
    }
}

impl TailKey {
    pub fn of(address: Address, sender: &Sender) -> Option<Self> {
        let e = sender.tail()?;
        Some(Self { rank: e.floor, seq: Reverse(e.seq), hash: e.tx.hash(), sender: address })
    }
}

/// A transaction that wants in, and its place.
pub(super) struct Newcomer<'a> {
    pub sender: Address,
    pub nonce: u64,
    /// The first nonce that neither the chain nor the pool has of this sender.
    pub missing: u64,
    pub entry: &'a Entry,
    /// What it counts as behind those before it.
    pub floor: Rank,
    /// How many of its sender must run before it.
    pub position: u64,
}

impl Newcomer<'_> {
    /// Whether nothing is missing before it.
    pub const fn is_executable(&self) -> bool {
        self.nonce <= self.missing
    }

    /// Whether it may take the place of a sender's last executable one.
    fn displaces(&self, tail: &TailKey) -> bool {
        tail.rank < self.floor && (tail.rank.lane < self.floor.lane || self.position < MAX_DISPLACING)
    }
}

/// What has to go for a newcomer.
struct Need {
    count: usize,
    bytes: usize,
}

impl Need {
    const fn met(&self) -> bool {
        self.count == 0 && self.bytes == 0
    }

    const fn take(&mut self, bytes: usize) {
        self.count = self.count.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

impl Mempool {
    /// Evicts what must go for the newcomer, or refuses it and evicts nothing. Queued ones go before executable ones;
    /// an executable one only for an executable newcomer of a better lane, or of the same lane that pays more. What counts
    /// is the rank behind all that must run before (see [`Rank`]), on both sides. A newcomer that no block takes yet displaces
    /// nothing queued, and so nothing executable either while anything queued could go.
    pub(super) fn make_room(&mut self, new: &Newcomer<'_>) -> Result<Vec<B256>, PoolError> {
        let mut need = self.need(new);
        if need.met() {
            return Ok(Vec::new());
        }
        let mut victims = Vec::new();
        if new.floor.open {
            self.pick_queued(new, &mut need, &mut victims);
        }
        if new.is_executable() && (new.floor.open || self.queued_others(new).next().is_none()) {
            self.pick_tails(new, &mut need, &mut victims);
        }
        if !need.met() {
            return Err(PoolError::Full { count: self.len(), bytes: self.bytes });
        }
        for hash in &victims {
            self.take_out(hash, Gone::Evicted);
        }
        Ok(victims)
    }

    fn need(&self, new: &Newcomer<'_>) -> Need {
        let old = self.senders.get(&new.sender).and_then(|s| s.txs.get(&new.nonce));
        let count = self.len() + usize::from(old.is_none());
        let bytes = self.bytes + new.entry.bytes() - old.map_or(0, Entry::bytes);
        Need {
            count: count.saturating_sub(self.config.max_transactions),
            bytes: bytes.saturating_sub(self.config.max_bytes),
        }
    }

    fn pick_queued(&self, new: &Newcomer<'_>, need: &mut Need, victims: &mut Vec<B256>) {
        // A queued newcomer only displaces what is worse placed than itself.
        let own = QueuedKey::new(new.sender, new.nonce.saturating_sub(new.missing), new.entry);
        for (key, e) in self.queued_others(new) {
            if need.met() || (!new.is_executable() && *key <= own) {
                return;
            }
            need.take(e.bytes());
            victims.push(key.hash);
        }
    }

    /// The queued ones that the newcomer neither replaces nor makes executable, the first to go first.
    fn queued_others(&self, new: &Newcomer<'_>) -> impl Iterator<Item = (&QueuedKey, &Entry)> {
        let (sender, nonce, executable) = (new.sender, new.nonce, new.is_executable());
        let own = self.senders.get(&sender);
        let follows = |n: &u64| own.is_some_and(|s| s.txs.contains_key(n));
        let run_end = (nonce + 1..).take_while(follows).last().unwrap_or(nonce);
        self.queued.iter().rev().filter_map(move |key| {
            let e = self.entry(&key.hash)?;
            let n = e.tx.payload().nonce();
            // What it replaces leaves anyway, and is counted already.
            let stays = key.sender == sender && (n == nonce || (executable && n <= run_end));
            (!stays).then_some((key, e))
        })
    }

    fn pick_tails(&self, new: &Newcomer<'_>, need: &mut Need, victims: &mut Vec<B256>) {
        for key in &self.tails {
            if need.met() || !new.displaces(key) {
                return;
            }
            let Some(e) = self.entry(&key.hash) else { continue };
            if key.sender != new.sender {
                need.take(e.bytes());
                victims.push(key.hash);
            }
        }
    }

    fn entry(&self, hash: &B256) -> Option<&Entry> {
        let tx = self.get(hash)?;
        self.senders.get(&tx.sender())?.txs.get(&tx.payload().nonce())
    }
}
