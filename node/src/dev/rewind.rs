//! Taking blocks back: the ledger in one batch, then everything that had seen them.

use std::sync::Arc;

use basalt_primitives::{Height, Transaction};
use basalt_storage::{Reader as _, Rewind};

use super::{
    DevError, Rewound,
    sequencer::{Sequencer, Trouble},
};
use crate::{
    chain::{StateView, proof::taken_back},
    driver::Fatal,
    rpc::{BlockEvent, ports::ChainReader as _},
};

/// Logs that are announced as removed, at most.
const MAX_REMOVED: usize = 100_000;

impl Sequencer {
    /// Makes the block of a height the newest.
    pub(super) fn rewind(&mut self, to: Height) -> Result<(), Trouble> {
        let snapshot = self.worker.chain.ledger.snapshot();
        let head = snapshot.head().height();
        if to == head {
            return Ok(());
        }
        let refused = |e: &dyn std::fmt::Display| DevError(format!("cannot go back to block {to}: {e}"));
        let state = snapshot.state_at(to).map_err(|e| refused(&e))?;
        let changes = taken_back(&state, head, u64::MAX, usize::MAX).map_err(|e| refused(&e))?;
        let removed = self.removed(to, head)?;
        let newest = StateView(snapshot);
        let trie = self.worker.trie.apply(&changes, &newest).map_err(|e| Fatal(e.to_string()))?;
        let rewind = Rewind { to, changes: &changes, trie: &trie.updates, root: trie.root };
        let head = self.worker.chain.ledger.rewind(&rewind).map_err(|e| Fatal(e.to_string()))?;
        self.worker.trie.commit();
        self.worker.ahead.clear();
        tracing::info!(height = %head.height(), "blocks were taken back");
        let rewound = Rewound { to, removed };
        if let Some(hear) = self.on_rewind.get() {
            hear(&rewound);
        }
        self.hub.rewound(Arc::new(rewound));
        self.admit_again();
        Ok(())
    }

    /// The blocks with logs above a height.
    fn removed(&self, to: Height, head: Height) -> Result<Vec<Arc<BlockEvent>>, DevError> {
        let chain = &self.worker.chain;
        let unreadable = |e: &dyn std::fmt::Display| DevError(format!("cannot read the blocks to take back: {e}"));
        let (mut removed, mut logs) = (Vec::new(), 0);
        for height in (to.0 + 1..=head.0).map(Height) {
            let receipts = chain.ledger.receipts(height).map_err(|e| unreadable(&e))?.unwrap_or_default();
            let count: usize = receipts.iter().map(|r| r.logs.len()).sum();
            logs += count;
            if count == 0 || logs > MAX_REMOVED {
                continue;
            }
            if let Some(view) = chain.block(height).map_err(|e| unreadable(&e))? {
                removed.push(Arc::new(BlockEvent::new(view, Arc::new(receipts))));
            }
        }
        Ok(removed)
    }

    /// What waits is judged anew by the state that now counts.
    fn admit_again(&self) {
        let pool = &self.worker.pool;
        let mut waiting: Vec<Arc<Transaction>> = Vec::new();
        {
            let mut pool = pool.lock();
            for content in pool.content().into_values() {
                waiting.extend(content.pending.into_iter().chain(content.queued));
            }
            waiting.iter().for_each(|tx| drop(pool.remove(&tx.hash(), "blocks were taken back")));
        }
        let again = waiting.iter().map(|tx| Transaction::clone(tx)).collect();
        let dropped = self.admission.insert_own(again).iter().filter(|r| r.is_err()).count();
        if dropped > 0 {
            tracing::info!(dropped, "waiting transactions that do not fit the older state are gone");
        }
    }
}
