//! Proposed blocks with their verified bodies, kept from the moment a proposal is checked until its block is executed, so
//! that each transaction is decoded and verified once, and so that a peer that misses a proposal can be given it.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use basalt_primitives::{B256, SealedBlock, Transaction};
use parking_lot::Mutex;

use crate::clock::SharedClock;

/// Blocks kept at most: proposals of a few rounds of one height, and the head.
const CAPACITY: usize = 16;

/// A body's transactions, or why they are invalid.
pub type Body = Result<Arc<Vec<Arc<Transaction>>>, String>;

/// The blocks, shared between the message verifiers, validation, execution and whoever serves them to peers. The oldest is
/// dropped first; whoever misses one decodes it again.
#[derive(Clone, Debug)]
pub struct Bodies {
    kept: Arc<Mutex<VecDeque<Kept>>>,
    clock: SharedClock,
}

#[derive(Debug)]
struct Kept {
    block: SealedBlock,
    body: Body,
    /// Monotonic time at which it came.
    since: Duration,
}

impl Bodies {
    /// No blocks yet.
    #[must_use]
    pub fn new(clock: SharedClock) -> Self {
        Self { kept: Arc::default(), clock }
    }

    /// Keeps a block with its body.
    pub fn insert(&self, block: SealedBlock, body: Body) {
        let mut all = self.kept.lock();
        all.retain(|k| k.block.hash() != block.hash());
        if all.len() == CAPACITY {
            all.pop_front();
        }
        all.push_back(Kept { block, body, since: self.clock.mono() });
    }

    fn find<T>(&self, hash: &B256, read: impl FnOnce(&Kept) -> T) -> Option<T> {
        self.kept.lock().iter().find(|k| k.block.hash() == *hash).map(read)
    }

    /// The body of a block, if it is kept.
    #[must_use]
    pub fn get(&self, hash: &B256) -> Option<Body> {
        self.find(hash, |k| k.body.clone())
    }

    /// A block, if it is kept and its body is valid.
    #[must_use]
    pub fn block(&self, hash: &B256) -> Option<SealedBlock> {
        self.find(hash, |k| k.body.is_ok().then(|| k.block.clone()))?
    }

    /// How long a block has been here.
    #[must_use]
    pub fn age(&self, hash: &B256) -> Option<Duration> {
        self.find(hash, |k| self.clock.mono().saturating_sub(k.since))
    }
}
