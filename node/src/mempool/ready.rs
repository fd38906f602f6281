//! The order in which the proposer is given transactions.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, btree_map},
    sync::Arc,
};

use basalt_primitives::{Height, Transaction};

use super::{
    Lane, MempoolConfig,
    sender::{Entry, Sender},
};

/// Executable transactions, best first. One heap entry per sender, so the first is found in O(senders) and each next in
/// O(log senders); nothing is copied.
pub struct Ready<'a> {
    heap: BinaryHeap<Cursor<'a>>,
    base_fee: u64,
    height: Height,
    /// What each lane may still take before others, in the order of [`Lane::ALL`].
    room: [Room; 3],
}

/// Gas and bytes of a block that a lane has before others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub gas: u64,
    pub bytes: u64,
}

/// A sender's next transaction and those after it.
struct Cursor<'a> {
    /// Lane, tip, then earliest arrival.
    rank: (Lane, u128, Reverse<u64>),
    next: &'a Entry,
    rest: btree_map::Range<'a, u64, Entry>,
}

impl<'a> Ready<'a> {
    pub(super) fn new(
        senders: impl Iterator<Item = &'a Sender>,
        base_fee: u64,
        height: Height,
        config: &MempoolConfig,
    ) -> Self {
        let heap = senders.filter_map(|s| Cursor::new(s.executable(), base_fee, height)).collect();
        let part = |l: Lane| Room { gas: config.block_gas / l.share(), bytes: config.block_bytes / l.share() };
        Self { heap, base_fee, height, room: Lane::ALL.map(part) }
    }

    /// The best; one whose lane has used its share up is put back among the normal ones first.
    fn best(&mut self) -> Option<Cursor<'a>> {
        loop {
            let mut best = self.heap.pop()?;
            let room = &mut self.room[best.rank.0 as usize];
            if best.rank.0 == Lane::Normal {
                return Some(best);
            }
            if room.gas > 0 && room.bytes > 0 {
                // By the gas limit: what it really uses shows only when it runs.
                room.gas = room.gas.saturating_sub(best.next.tx.payload().gas_limit());
                room.bytes = room.bytes.saturating_sub(best.next.tx.raw().len() as u64);
                return Some(best);
            }
            best.rank.0 = Lane::Normal;
            self.heap.push(best);
        }
    }
}

impl<'a> Cursor<'a> {
    /// `None` when there is no next, or it cannot be in this block: then nothing after it can.
    fn new(mut rest: btree_map::Range<'a, u64, Entry>, base_fee: u64, height: Height) -> Option<Self> {
        let next = rest.next()?.1;
        let tip = next.tip_at(base_fee, height)?;
        Some(Self { rank: (next.lane, tip, Reverse(next.seq)), next, rest })
    }
}

impl<'a> Iterator for Ready<'a> {
    type Item = &'a Arc<Transaction>;

    fn next(&mut self) -> Option<Self::Item> {
        let Cursor { next, rest, .. } = self.best()?;
        self.heap.extend(Cursor::new(rest, self.base_fee, self.height));
        Some(&next.tx)
    }
}

impl PartialEq for Cursor<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.rank == other.rank
    }
}

impl Eq for Cursor<'_> {}

impl PartialOrd for Cursor<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Cursor<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank.cmp(&other.rank)
    }
}
