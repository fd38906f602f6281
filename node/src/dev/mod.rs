//! Development networks (ADR-0022): one node, no peers, no votes. Blocks are made when a transaction comes, at an interval or
//! on demand; the state can be edited, accounts impersonated, and blocks taken back.
//!
//! In: orders of the development methods ([`Devnet`]) and transactions of the mempool. Out: blocks, each with the
//! certificate of the one validator, committed by the same [`Worker`](crate::driver::executor::Worker) as everywhere, so that
//! ledger, RPC, events and mempool see nothing unusual. What no transaction could do is done by a transaction of a kind that
//! only such a chain has (`basalt_primitives::tx::development`), so that the state always follows from the blocks.
//!
//! It takes the place of an engine and its driver: the contract of engines promises that what is final stays, which is the
//! very promise that is broken here, and there is nobody to agree with.

pub mod accounts;
pub mod next;
mod rewind;
mod sequencer;

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use basalt_primitives::{Address, B256, Height, Millis, Transaction, tx::development::Change};
use crossbeam_channel::{Sender, TrySendError, bounded};
use futures::{FutureExt as _, channel::oneshot, future::BoxFuture};

use crate::{
    ingress::{Admission, Ingress, IngressEvents},
    monitor::traces::Arrival,
    rpc::{
        BlockEvent,
        ports::{SubmitError, TxSubmitter},
    },
};

pub use accounts::Accounts;
pub use next::{NextBlock, Wishes};
pub use sequencer::{Parts, start};

/// Orders that may wait.
const ORDERS: usize = 256;

/// Why an order was not carried out, for whoever gave it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DevError(pub String);

/// What can be asked of the sequencer. Orders are carried out one after the other.
#[derive(Clone, Debug)]
pub enum Order {
    /// If blocks are made at once: make those that are due. Tells whoever sent a transaction that it is done.
    Settle,
    /// Make blocks, empty ones if nothing waits.
    Mine {
        /// How many.
        blocks: u64,
        /// Seconds between them; `None` or 0: as the clock says.
        interval_s: Option<u64>,
    },
    /// Change an account, in a block of its own.
    Edit(Address, Change),
    /// Remember the newest block; answers with a number for it.
    Snapshot,
    /// Go back to a remembered block; answers 1, or 0 when there is no such.
    Revert(u64),
    /// Go back to genesis and forget everything that was set.
    Reset,
    /// Make blocks differently from now on.
    Mode {
        /// Whether at once when a transaction comes.
        automine: Option<bool>,
        /// Every so many milliseconds; 0: not.
        interval_ms: Option<Millis>,
    },
}

/// Blocks that were taken back.
#[derive(Debug)]
pub struct Rewound {
    /// The newest block now.
    pub to: Height,
    /// Of the blocks taken back those with logs, by rising height.
    pub removed: Vec<Arc<BlockEvent>>,
}

/// Hears of blocks taken back, before anything else happens to the chain: be brief.
pub type OnRewind = Box<dyn Fn(&Rewound) + Send + Sync>;

/// How blocks are made, for all to see.
#[derive(Debug, Default)]
struct Modes {
    automine: AtomicBool,
    /// 0: none.
    interval_ms: AtomicU64,
}

type Answer = Result<u64, DevError>;

struct Asked {
    order: Order,
    answer: oneshot::Sender<Answer>,
}

/// A development network, as the methods reach it.
pub struct Devnet {
    /// What the next block shall be like.
    pub next: NextBlock,
    /// Who may send without signing themselves.
    pub accounts: Accounts,
    /// Made anew at every start.
    pub instance: B256,
    /// Held by whoever fills in, signs and sends a transaction.
    pub sending: tokio::sync::Mutex<()>,
    orders: Sender<Asked>,
    modes: Arc<Modes>,
    admission: Admission,
    events: Arc<dyn IngressEvents>,
    on_rewind: Arc<OnceLock<OnRewind>>,
}

impl Devnet {
    /// Has an order carried out.
    pub async fn order(&self, order: Order) -> Answer {
        let (answer, result) = oneshot::channel();
        match self.orders.try_send(Asked { order, answer }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(DevError(format!("{ORDERS} orders are waiting; try again"))),
            Err(TrySendError::Disconnected(_)) => return Err(stopping()),
        }
        result.await.unwrap_or_else(|_| Err(stopping()))
    }

    /// Whether a block is made at once when a transaction comes.
    #[must_use]
    pub fn automines(&self) -> bool {
        self.modes.automine.load(Ordering::Relaxed)
    }

    /// Sends a transaction that nobody signed; where blocks are made at once, it is in one when this returns.
    pub async fn send(&self, tx: Transaction) -> Result<B256, SubmitError> {
        let hash = tx.hash();
        let admitted = self.admission.insert_own(vec![tx]).pop();
        let stopped = || Err(SubmitError::Unavailable("the node did not answer".into()));
        let tx = admitted.unwrap_or_else(stopped)?;
        self.events.admitted(&[tx]);
        self.settle().await;
        Ok(hash)
    }

    /// Drops a waiting transaction; whether it was there.
    #[must_use]
    pub fn drop_transaction(&self, hash: &B256) -> bool {
        self.admission.pool.lock().remove(hash, "it was dropped on request").is_some()
    }

    /// Calls this whenever blocks were taken back. Only the first one set counts.
    pub fn on_rewind(&self, hear: OnRewind) {
        let _ = self.on_rewind.set(hear);
    }

    async fn settle(&self) {
        if self.automines()
            && let Err(e) = self.order(Order::Settle).await
        {
            tracing::warn!("no block was made: {e}");
        }
    }
}

fn stopping() -> DevError {
    DevError("the node is stopping".into())
}

/// The way in for signed transactions: where blocks are made at once, a transaction is in one before its sender hears.
pub struct Settling {
    /// Takes them in.
    pub ingress: Ingress,
    /// Makes the blocks.
    pub devnet: Arc<Devnet>,
}

impl TxSubmitter for Settling {
    fn submit(
        &self,
        raw: Vec<basalt_primitives::Bytes>,
        arrival: Option<Arrival>,
    ) -> BoxFuture<'static, Vec<Result<B256, SubmitError>>> {
        let (submitted, devnet) = (self.ingress.submit(raw, arrival), Arc::clone(&self.devnet));
        async move {
            let answers = submitted.await;
            if answers.iter().any(Result::is_ok) {
                devnet.settle().await;
            }
            answers
        }
        .boxed()
    }
}
