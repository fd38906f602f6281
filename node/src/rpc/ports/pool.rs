//! The mempool and the way into it.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes};
use basalt_primitives::{Millis, Transaction, tx::TxError};
use futures::future::BoxFuture;

use crate::{
    mempool::{Explanation, PoolContent, PoolError, PoolStatus, SenderContent},
    monitor::traces::Arrival,
};

/// Why a submitted transaction was not accepted.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum SubmitError {
    /// Not a transaction, for another chain, or not signed.
    #[error(transparent)]
    Tx(#[from] TxError),
    /// Refused by the mempool.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// The node cannot take transactions now; the text says why and what to do.
    #[error("{0}")]
    Unavailable(String),
}

/// Takes transactions in: decodes, verifies, admits, passes on to peers.
pub trait TxSubmitter: Send + Sync {
    /// Submits transactions in their canonical encoding (either format); one answer for each, in order. Awaiting the
    /// answer is the caller's backpressure.
    /// `arrival` says when they came and which trace they belong to, where transactions are traced.
    fn submit(&self, raw: Vec<Bytes>, arrival: Option<Arrival>) -> BoxFuture<'static, Vec<Result<B256, SubmitError>>>;
}

/// Reads the mempool.
pub trait PoolReader: Send + Sync {
    /// How full it is.
    fn status(&self) -> PoolStatus;
    /// Everything.
    fn content(&self) -> PoolContent;
    /// One sender's transactions.
    fn content_of(&self, sender: &Address) -> SenderContent;
    /// A transaction.
    fn get(&self, hash: &B256) -> Option<Arc<Transaction>>;
    /// Why a transaction waits or left; `None` when the pool knows nothing of it.
    fn explain(&self, hash: &B256) -> Option<Explanation>;
    /// About the transaction of a sender that holds up the others; `None` when nothing of the sender waits.
    fn explain_sender(&self, sender: &Address) -> Option<Explanation>;
    /// The nonce a sender's next transaction should have; `None` when nothing of the sender waits.
    fn next_nonce(&self, sender: &Address) -> Option<u64>;
    /// Wall time since when transactions that a block could take have been waiting; `None` when none wait.
    fn work_since_ms(&self) -> Option<Millis>;
}
