//! The mempool behind a lock, for the threads of a node.

use std::sync::Arc;

use alloy_primitives::{Address, B256};
use basalt_primitives::{Millis, Transaction};
use parking_lot::{Mutex, MutexGuard};

use super::{Explanation, Mempool, MempoolConfig, PoolContent, PoolStatus, SenderContent};
use crate::rpc::ports::PoolReader;

/// A [`Mempool`] that threads share. Hold the guard briefly: take what you need and work on it outside.
#[derive(Clone, Debug, Default)]
pub struct SharedPool(Arc<Mutex<Mempool>>);

impl SharedPool {
    /// An empty pool.
    #[must_use]
    pub fn new(config: MempoolConfig) -> Self {
        Self(Arc::new(Mutex::new(Mempool::new(config))))
    }

    /// The pool, locked.
    pub fn lock(&self) -> MutexGuard<'_, Mempool> {
        self.0.lock()
    }
}

impl PoolReader for SharedPool {
    fn status(&self) -> PoolStatus {
        self.lock().status()
    }

    fn content(&self) -> PoolContent {
        self.lock().content()
    }

    fn content_of(&self, sender: &Address) -> SenderContent {
        self.lock().content_of(sender)
    }

    fn get(&self, hash: &B256) -> Option<Arc<Transaction>> {
        self.lock().get(hash).cloned()
    }

    fn explain(&self, hash: &B256) -> Option<Explanation> {
        self.lock().explain(hash)
    }

    fn explain_sender(&self, sender: &Address) -> Option<Explanation> {
        self.lock().explain_sender(sender)
    }

    fn next_nonce(&self, sender: &Address) -> Option<u64> {
        self.lock().next_nonce(sender)
    }

    fn work_since_ms(&self) -> Option<Millis> {
        self.lock().work_since_ms()
    }
}
