//! The chain as methods ask for it: by tag, number or hash, with the newest blocks kept decoded.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use alloy_primitives::B256;
use basalt_primitives::{Height, Receipt, Transaction};
use parking_lot::Mutex;

use super::{
    RpcError,
    ports::{BlockView, ChainReader, StateAt},
    types::BlockId,
};

/// How many blocks' receipts and transactions are kept: clients that poll for receipts ask for the newest again and again.
const RECENT: usize = 16;

/// How many final blocks' headers and summaries are kept.
const RECENT_VIEWS: usize = 64;

type Recent<T> = Mutex<VecDeque<(B256, Arc<Vec<T>>)>>;

/// A [`ChainReader`] with a small memory.
pub struct Chain {
    reader: Arc<dyn ChainReader>,
    views: Mutex<VecDeque<Arc<BlockView>>>,
    /// How often blocks were taken back.
    rewinds: AtomicU64,
    receipts: Recent<Receipt>,
    transactions: Recent<Transaction>,
}

impl Chain {
    /// Over a reader.
    #[must_use]
    pub fn new(reader: Arc<dyn ChainReader>) -> Self {
        Self {
            reader,
            views: Mutex::default(),
            rewinds: AtomicU64::new(0),
            receipts: Mutex::default(),
            transactions: Mutex::default(),
        }
    }

    /// The reader itself.
    #[must_use]
    pub fn reader(&self) -> &dyn ChainReader {
        &*self.reader
    }

    /// The height of an executed block; `None` if there is none.
    pub fn resolve(&self, id: BlockId) -> Result<Option<Height>, RpcError> {
        let head = self.reader.head();
        Ok(match id {
            BlockId::Latest | BlockId::Pending => Some(head),
            BlockId::Earliest => Some(Height::GENESIS),
            BlockId::Safe => Some(self.reader.safe()),
            BlockId::Finalized => Some(self.reader.finalized()),
            BlockId::Number(n) => Some(Height(n)).filter(|h| *h <= head),
            BlockId::Hash(h) => self.reader.height_of(&h)?,
        })
    }

    /// Which state to read for a block.
    pub fn state_at(&self, id: BlockId) -> Result<StateAt, RpcError> {
        if matches!(id, BlockId::Latest | BlockId::Pending) {
            return Ok(StateAt::Latest);
        }
        let missing = || match id {
            BlockId::Number(n) => {
                RpcError::server(format!("header not found: block {n} is above the head, {}", self.reader.head()))
            }
            _ => RpcError::server("header for hash not found: this node has no such block"),
        };
        self.resolve(id)?.map(StateAt::Height).ok_or_else(missing)
    }

    /// An executed block; `None` if there is none.
    pub fn view(&self, id: BlockId) -> Result<Option<Arc<BlockView>>, RpcError> {
        let Some(height) = self.resolve(id)? else { return Ok(None) };
        if let Some(known) = self.views.lock().iter().find(|v| v.height() == height) {
            return Ok(Some(known.clone()));
        }
        let rewinds = self.rewinds.load(Ordering::SeqCst);
        let read = self.reader.block(height)?;
        // Only what cannot change any more is kept, and of it what clients poll: the newest.
        let finalized = self.reader.finalized();
        if let Some(view) =
            read.as_ref().filter(|_| height <= finalized && height.0 + RECENT_VIEWS as u64 > finalized.0)
        {
            let mut views = self.views.lock();
            // Read before blocks were taken back: it may be one of them.
            if rewinds == self.rewinds.load(Ordering::SeqCst) {
                views.push_front(view.clone());
                views.truncate(RECENT_VIEWS);
            }
        }
        Ok(read)
    }

    /// Forgets what was kept by height, because blocks were taken back.
    pub fn rewound(&self) {
        let mut views = self.views.lock();
        self.rewinds.fetch_add(1, Ordering::SeqCst);
        views.clear();
    }

    /// The newest executed block.
    pub fn head_view(&self) -> Result<Arc<BlockView>, RpcError> {
        self.view(BlockId::Latest)?.ok_or_else(|| RpcError::internal("the head block is not readable"))
    }

    /// That a block was not taken back while it was read by its height.
    fn still(&self, view: &BlockView) -> Result<(), RpcError> {
        if view.height() <= self.reader.finalized() || self.reader.height_of(&view.hash)? == Some(view.height()) {
            return Ok(());
        }
        Err(RpcError::server(format!("block {} was taken back by a reorganisation; ask again", view.height())))
    }

    /// A block's receipts.
    pub fn receipts(&self, view: &BlockView) -> Result<Arc<Vec<Receipt>>, RpcError> {
        recall(&self.receipts, view, || {
            let receipts = self.reader.receipts(view.height())?;
            self.still(view)?;
            Ok(receipts)
        })
    }

    /// A block's transactions that ran.
    pub fn transactions(&self, view: &BlockView) -> Result<Arc<Vec<Transaction>>, RpcError> {
        recall(&self.transactions, view, || {
            let transactions = self.reader.transactions(view.height())?;
            self.still(view)?;
            Ok(transactions)
        })
    }

    /// One of them, without decoding all when the block is not in memory.
    pub fn transaction(&self, view: &BlockView, index: u32) -> Result<Option<Transaction>, RpcError> {
        if let Some(all) = find(&self.transactions, view) {
            return Ok(all.get(index as usize).cloned());
        }
        Ok(self.reader.transaction(view.height(), index)?)
    }
}

fn find<T>(recent: &Recent<T>, view: &BlockView) -> Option<Arc<Vec<T>>> {
    recent.lock().iter().find(|(h, _)| *h == view.hash).map(|(_, v)| v.clone())
}

fn recall<T>(
    recent: &Recent<T>,
    view: &BlockView,
    read: impl FnOnce() -> Result<Option<Vec<T>>, RpcError>,
) -> Result<Arc<Vec<T>>, RpcError> {
    if let Some(known) = find(recent, view) {
        return Ok(known);
    }
    let missing = || RpcError::internal(format!("block {} has no body", view.height()));
    let read = Arc::new(read()?.ok_or_else(missing)?);
    let mut recent = recent.lock();
    recent.push_front((view.hash, read.clone()));
    recent.truncate(RECENT);
    Ok(read)
}
