//! What is true of a pool at all times.

use std::collections::{BTreeSet, HashMap};

use crate::mempool::{
    Lane, Mempool, Origin,
    evict::{QueuedKey, TailKey},
    pool::Held,
    sender::{Entry, Rank},
};

impl Mempool {
    /// Every invariant of the pool, against what the senders' queues say.
    pub(in crate::mempool) fn assert_invariants(&self) {
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
            assert_eq!(s.bytes, s.txs.values().map(Entry::bytes).sum::<usize>(), "a sender's bytes are counted");
            assert!(s.bytes <= self.config.max_bytes * self.config.max_sender_percent / 100, "and bounded");
            assert!(s.total_cost <= s.account.balance, "all that waits can be paid together");
            let mut floor: Option<Rank> = None;
            for (nonce, e) in s.executable() {
                floor = Some(floor.map_or(e.rank(), |f| f.lesser(e.rank())));
                assert_eq!(Some(e.floor), floor, "nonce {nonce} counts for no more than what is before it");
            }
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
        for lane in Lane::ALL {
            let count = entries().filter(|e| e.lane == lane).count();
            assert_eq!(self.lanes.get(&lane).copied().unwrap_or(0), count, "{lane:?} is counted");
            assert!(count <= lane.part_of(self.config.max_transactions), "{lane:?} keeps to its share");
        }
        let mut peers = HashMap::new();
        for e in entries() {
            if let Origin::Peer(peer) = e.origin {
                let held: &mut Held = peers.entry(peer).or_default();
                held.count += 1;
                held.bytes += e.bytes();
            }
        }
        assert_eq!(self.peers, peers, "peers are counted");
        let height = self.next_block.1;
        assert!(entries().all(|e| e.open == (e.valid_from <= height)), "windows begin with their block");
        let windows: BTreeSet<_> = entries().filter(|e| !e.open).map(|e| (e.valid_from, e.tx.hash())).collect();
        assert_eq!(self.windows, windows, "the index of windows to come is exact");
        let expiry: BTreeSet<_> = entries().filter_map(|e| Some((e.valid_until?, e.tx.hash()))).collect();
        assert_eq!(self.expiry, expiry, "the index of windows is exact");
    }
}
