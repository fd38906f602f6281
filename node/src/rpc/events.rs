//! Where the node announces what happened, and subscriptions listen.

use std::sync::{Arc, OnceLock};

use basalt_primitives::{Receipt, Transaction};
use tokio::sync::broadcast;

use super::{format::BlockJson, ports::BlockView};
use crate::{dev::Rewound, monitor::alert::AlertEvent};

/// An executed block.
#[derive(Debug)]
pub struct BlockEvent {
    /// The block.
    pub view: Arc<BlockView>,
    /// Its receipts.
    pub receipts: Arc<Vec<Receipt>>,
    head: OnceLock<String>,
}

impl BlockEvent {
    /// Announces a block with its receipts.
    #[must_use]
    pub const fn new(view: Arc<BlockView>, receipts: Arc<Vec<Receipt>>) -> Self {
        Self { view, receipts, head: OnceLock::new() }
    }

    /// The header as `newHeads` sends it, serialised once for all subscribers.
    pub fn head_json(&self) -> &str {
        self.head.get_or_init(|| serde_json::to_string(&BlockJson::header(&self.view)).unwrap_or_default())
    }
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A block was executed.
    Block(Arc<BlockEvent>),
    /// Transactions came into the mempool.
    Pending(Arc<[Arc<Transaction>]>),
    /// An alert began or ended.
    Alert(Arc<AlertEvent>),
    /// Blocks were taken back; development networks only.
    Rewound(Arc<Rewound>),
}

/// Hands events to all who listen. It never waits: who lags behind the buffer misses events and is told so.
///
/// New transactions go by a way of their own: they come by the thousand, and hardly anyone asks for them.
#[derive(Clone, Debug)]
pub struct EventHub {
    news: broadcast::Sender<Event>,
    pending: broadcast::Sender<Event>,
}

impl EventHub {
    /// A hub that keeps this many events for who lags.
    #[must_use]
    pub fn new(buffer: usize) -> Self {
        let way = || broadcast::Sender::new(buffer.max(1));
        Self { news: way(), pending: way() }
    }

    /// Announces an executed block. Call it in order of height, after the block is readable through the ports.
    pub fn block(&self, event: BlockEvent) {
        if self.is_heard() {
            let _ = self.news.send(Event::Block(Arc::new(event)));
        }
    }

    /// Announces transactions that are new in the mempool.
    pub fn pending(&self, txs: Vec<Arc<Transaction>>) {
        if self.is_pending_heard() && !txs.is_empty() {
            let _ = self.pending.send(Event::Pending(txs.into()));
        }
    }

    /// Announces that blocks were taken back.
    pub fn rewound(&self, rewound: Arc<Rewound>) {
        // Nobody listening is no error.
        let _ = self.news.send(Event::Rewound(rewound));
    }

    /// Announces an alert.
    pub fn alert(&self, event: Arc<AlertEvent>) {
        // Nobody listening is no error.
        let _ = self.news.send(Event::Alert(event));
    }

    /// Whether anyone listens for blocks and alerts; if not, there is no need to prepare an event.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.news.receiver_count() > 0
    }

    /// Whether anyone listens for new transactions.
    #[must_use]
    pub fn is_pending_heard(&self) -> bool {
        self.pending.receiver_count() > 0
    }

    /// Listens from now on, to everything but new transactions.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<Event> {
        self.news.subscribe()
    }

    /// Listens to new transactions from now on.
    #[must_use]
    pub fn listen_pending(&self) -> broadcast::Receiver<Event> {
        self.pending.subscribe()
    }
}
