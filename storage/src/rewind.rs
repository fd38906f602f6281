//! Taking the newest blocks back (ADR-0022): only development networks do that; elsewhere a final block is final.
//!
//! In: a height, the changes that lead from the newest state back to the state after it, and the trie nodes they change.
//! Out: a ledger that ends at that height as if the later blocks had never been, in one synced batch.

use std::sync::{Arc, PoisonError};

use basalt_primitives::{
    B256, Height,
    state::{StateChanges, TrieUpdates},
};

use crate::{
    Ledger, Snapshot, StorageError,
    batch::Writer,
    codec,
    history::HistoryRange,
    open,
    reader::{Reader as _, corrupt},
    tables::{self, Table, account_history_key, height_key, log_key, meta, slot_history_key},
    types::Head,
};

/// Where a ledger shall end, and how its state gets there.
#[derive(Clone, Copy, Debug)]
pub struct Rewind<'a> {
    /// The newest block that stays.
    pub to: Height,
    /// From the newest state back to the state after that block.
    pub changes: &'a StateChanges,
    /// The trie nodes that they change.
    pub trie: &'a TrieUpdates,
    /// The root that comes out, which must be that block's.
    pub root: B256,
}

impl Ledger {
    /// Takes back every block above a height, whole or not at all. Returns the new head when that is on the disk.
    ///
    /// # Errors
    /// [`StorageError::NotDevelopment`] on every chain but that of a development network, before anything is read.
    pub fn rewind(&self, rewind: &Rewind<'_>) -> Result<Arc<Head>, StorageError> {
        if !self.devnet {
            return Err(StorageError::NotDevelopment);
        }
        let _one_at_a_time = self.pruning.lock().unwrap_or_else(PoisonError::into_inner);
        let _guard = self.committing.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = self.snapshot();
        let (head, to) = (newest.head().height(), rewind.to);
        let range = HistoryRange::read(&newest)?;
        if to > head || (to < head && to < range.first) {
            return Err(StorageError::StateNotKept { height: to, first: range.first, head });
        }
        let summary = newest.summary(to)?.ok_or_else(|| corrupt(Table::Outcomes, &height_key(to), "is missing"))?;
        if summary.outcome.state_root != rewind.root {
            return Err(corrupt(Table::Changed, &height_key(to), "the way back leads to another state root"));
        }
        let database = newest.database();
        let mut w = Writer::new(database);
        for height in (to.0 + 1..=head.0).map(Height) {
            w.forget(&newest, height)?;
        }
        w.state(rewind.changes, rewind.trie)?;
        w.put(Table::Meta, meta::HEAD, &codec::encode_head(to, summary.hash));
        database.write(w.finish())?;
        let head = Arc::new(open::load_head(database)?);
        self.publish(Snapshot::new(Arc::clone(database), Arc::clone(&head)));
        Ok(head)
    }
}

impl Writer<'_> {
    /// Deletes every row of a block, but its code: that is found by its hash alone and harms nobody.
    fn forget(&mut self, from: &Snapshot, height: Height) -> Result<(), StorageError> {
        let key = height_key(height);
        if let Some(hash) = from.block_hash(height)? {
            self.delete(Table::Heights, tables::hash_key(&hash));
        }
        let changed = from.changed(height)?;
        for address in &changed.accounts {
            self.delete(Table::AccountHistory, &account_history_key(address, height));
        }
        for (address, slot) in &changed.slots {
            self.delete(Table::SlotHistory, &slot_history_key(address, slot, height));
        }
        let receipts = from.receipts(height)?.unwrap_or_default();
        for receipt in &receipts {
            self.delete(Table::Transactions, tables::hash_key(&receipt.tx_hash));
        }
        let logs = receipts.iter().flat_map(|r| &r.logs);
        for (position, log) in (0..).zip(logs) {
            self.delete(Table::Logs, &log_key(height, position));
            for term in crate::logs::terms(log) {
                self.delete(Table::LogIndex, &term.key(height));
            }
        }
        let by_height = [
            Table::Headers,
            Table::Bodies,
            Table::Certificates,
            Table::Outcomes,
            Table::Receipts,
            Table::Skipped,
            Table::Changed,
            Table::Blooms,
        ];
        by_height.into_iter().for_each(|table| self.delete(table, &key));
        Ok(())
    }
}
