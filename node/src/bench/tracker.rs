//! What became of each transaction of the load: when it was due, whether a node took it, when it was final.

use std::{collections::HashMap, sync::Arc};

use basalt_primitives::B256;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::load::Load;

/// Shared by the generator's tasks.
pub(super) type Shared = Arc<Mutex<Tracker>>;

/// One transaction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub hash: B256,
    pub call: u16,
    /// When it should have been handed in; latency runs from here, so that a slow node cannot hide behind a slow generator.
    pub due: Option<Instant>,
    pub accepted: bool,
    pub committed: Option<Instant>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    index: HashMap<B256, usize>,
    pub entries: Vec<Entry>,
    in_flight: usize,
    /// When each block with transactions of the load was seen, and how many it had.
    pub blocks: Vec<(Instant, usize)>,
    /// Transactions that were handed in again because the node had no room or time.
    pub retries: u64,
    /// The first refusal, in the node's words.
    pub refusal: Option<String>,
}

impl Tracker {
    pub fn new(load: &Load) -> Self {
        let mut t = Self::default();
        for (hash, call) in load.lanes.iter().flat_map(|l| &l.batches).flat_map(|b| &b.txs) {
            t.index.insert(*hash, t.entries.len());
            t.entries.push(Entry { hash: *hash, call: *call, due: None, accepted: false, committed: None });
        }
        t
    }

    fn entry(&mut self, hash: &B256) -> Option<&mut Entry> {
        self.entries.get_mut(*self.index.get(hash)?)
    }

    /// These are handed in now, or should have been at `due`.
    pub fn sent<'a>(&mut self, hashes: impl IntoIterator<Item = &'a B256>, due: Instant) {
        for hash in hashes {
            if let Some(e) = self.entry(hash) {
                e.due = Some(due);
            }
        }
    }

    /// A node has taken it.
    pub fn accepted(&mut self, hash: &B256) {
        let Some(e) = self.entry(hash).filter(|e| !e.accepted) else { return };
        e.accepted = true;
        let waits = e.committed.is_none();
        self.in_flight += usize::from(waits);
    }

    /// A final block has these.
    pub fn committed(&mut self, hashes: impl IntoIterator<Item = B256>, now: Instant) {
        let mut ours = 0;
        for hash in hashes {
            let Some(e) = self.entry(&hash).filter(|e| e.committed.is_none()) else { continue };
            e.committed = Some(now);
            let waited = e.accepted;
            ours += 1;
            self.in_flight -= usize::from(waited);
        }
        if ours > 0 {
            self.blocks.push((now, ours));
        }
    }

    /// Taken and not yet final.
    pub const fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Final.
    pub fn count_committed(&self) -> usize {
        self.blocks.iter().map(|(_, n)| n).sum()
    }

    /// Transactions per second over the blocks seen within a stretch of time: those of all but the first, by the time from
    /// the first to the last. Blocks come in lumps; counting from one to another leaves no half of one over.
    pub fn rate_within(&self, from: Instant, to: Instant) -> Option<f64> {
        let within: Vec<_> = self.blocks.iter().filter(|(at, _)| (from..=to).contains(at)).collect();
        let (first, last) = (within.first()?.0, within.last()?.0);
        let seconds = last.saturating_duration_since(first).as_secs_f64();
        let count: usize = within.iter().filter(|(at, _)| *at > first).map(|(_, n)| n).sum();
        (seconds > 0.0).then(|| count as f64 / seconds)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bench::load::{Batch, Lane};

    fn tracker(n: u8) -> (Tracker, Vec<B256>) {
        let hashes: Vec<_> = (1..=n).map(B256::repeat_byte).collect();
        let txs = hashes.iter().map(|h| (*h, 0)).collect();
        let lanes = vec![Lane { node: 0, batches: vec![Batch { json: String::new(), txs }] }];
        (Tracker::new(&Load { lanes, wire_bytes: 0, count: n.into() }), hashes)
    }

    #[test]
    fn commit_before_the_answer_and_foreign_transactions_do_not_upset_the_count() {
        let (mut t, h) = tracker(3);
        let now = Instant::now();
        t.sent(&h, now);
        t.accepted(&h[0]);
        t.committed([h[1], B256::ZERO], now);
        assert_eq!((t.in_flight(), t.count_committed()), (1, 1));
        t.accepted(&h[1]);
        t.committed([h[0], h[1]], now);
        assert_eq!((t.in_flight(), t.count_committed()), (0, 2));
        assert!(t.entries[2].committed.is_none() && !t.entries[2].accepted);
    }

    #[test]
    fn a_rate_is_counted_from_block_to_block() {
        let (mut t, h) = tracker(6);
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        t.committed([h[0]], at(100));
        t.committed([h[1], h[2]], at(600));
        t.committed([h[3], h[4]], at(1100));
        t.committed([h[5]], at(9000));
        assert_eq!(t.rate_within(start, at(2000)), Some(4.0));
        assert_eq!(t.rate_within(start, at(200)), None, "one block is no rate");
    }
}
