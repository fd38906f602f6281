//! The order in which the proposer is given transactions.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, btree_map},
    sync::Arc,
};

use basalt_primitives::{Height, Transaction};

use super::{
    Lane,
    sender::{Entry, Sender},
};

/// Executable transactions, best first. One heap entry per sender, so the first is found in O(senders) and each next in
/// O(log senders); nothing is copied.
pub struct Ready<'a> {
    heap: BinaryHeap<Cursor<'a>>,
    base_fee: u64,
    height: Height,
}

/// A sender's next transaction and those after it.
struct Cursor<'a> {
    /// Lane, tip, then earliest arrival.
    rank: (Lane, u128, Reverse<u64>),
    next: &'a Entry,
    rest: btree_map::Range<'a, u64, Entry>,
}

impl<'a> Ready<'a> {
    pub(super) fn new(senders: impl Iterator<Item = &'a Sender>, base_fee: u64, height: Height) -> Self {
        let heap = senders.filter_map(|s| Cursor::new(s.executable(), base_fee, height)).collect();
        Self { heap, base_fee, height }
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
        let Cursor { next, rest, .. } = self.heap.pop()?;
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
