//! Taking older states away, oldest first, in steps that never hold up a commit for long.

use std::sync::{Arc, PoisonError};

use basalt_primitives::Height;
use rocksdb::{WriteBatch, WriteOptions};

use super::{Changed, HistoryRange};
use crate::{
    Ledger, Snapshot, StorageError, codec,
    database::Database,
    tables::{Table, account_history_key, height_key, meta, seal, slot_history_key},
};

/// A step ends after so many rows: a few milliseconds of work.
const STEP_ROWS: usize = 8_192;
/// Or after so many heights, most of which may have changed nothing.
const STEP_HEIGHTS: u64 = 4_096;
/// The tables that pruning takes from.
const TABLES: [Table; 3] = [Table::Changed, Table::AccountHistory, Table::SlotHistory];

/// What a step of pruning did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// The oldest height whose state can be read now.
    pub first: Height,
    /// Rows taken away.
    pub rows: usize,
    /// Whether nothing more is left to take away.
    pub done: bool,
}

impl Ledger {
    /// One step towards keeping only the newest state and the `keep` before it. Call again until [`Pruned::done`]. The
    /// files shrink when RocksDB next compacts them, which it does by itself; [`Ledger::reclaim_history`] does it at once.
    pub fn prune_history(&self, keep: u64) -> Result<Pruned, StorageError> {
        let _one_at_a_time = self.pruning.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = self.snapshot();
        let database = Arc::clone(snapshot.database());
        let range = HistoryRange::read(&snapshot)?;
        // What is not final is not on the disk yet.
        let target = snapshot.head().height().0.saturating_sub(keep).min(snapshot.finalized().height().0);
        let target = Height(target).max(range.first);
        let step = Step::collect(&snapshot, &database, range.cleaned, target)?;
        let first = range.first.max(step.cleaned);
        if step.cleaned > range.cleaned {
            self.write_step(&database, step.batch, HistoryRange { first, cleaned: step.cleaned })?;
        }
        Ok(Pruned { first, rows: step.rows, done: step.cleaned >= target })
    }

    fn write_step(&self, database: &Database, mut batch: WriteBatch, range: HistoryRange) -> Result<(), StorageError> {
        let _commits_wait = self.committing.lock().unwrap_or_else(PoisonError::into_inner);
        let newer = HistoryRange::read(database)?;
        let range = HistoryRange { first: newer.first.max(range.first), ..range };
        let row = seal(Table::Meta, meta::HISTORY, &codec::encode_history(&range));
        batch.put_cf(database.table(Table::Meta), meta::HISTORY, row);
        // Not synced: what a crash undoes is pruned again.
        database.db.write_opt(batch, &WriteOptions::default()).map_err(StorageError::Write)?;
        // The old view would keep the rows alive until the next block.
        self.republish();
        Ok(())
    }

    /// Compacts the tables of older states. Returns the bytes that their files had before and have now. Takes long where
    /// there is much; reads and commits go on meanwhile.
    pub fn reclaim_history(&self) -> Result<(u64, u64), StorageError> {
        let database = Arc::clone(self.snapshot().database());
        let bytes = || TABLES.iter().map(|t| database.file_bytes(*t)).sum();
        for table in TABLES {
            database.db.flush_cf(database.table(table)).map_err(StorageError::Write)?;
        }
        let before = bytes();
        for table in TABLES {
            let mut options = rocksdb::CompactOptions::default();
            options.set_bottommost_level_compaction(rocksdb::BottommostLevelCompaction::Force);
            database.db.compact_range_cf_opt(database.table(table), None::<&[u8]>, None::<&[u8]>, &options);
        }
        Ok((before, bytes()))
    }
}

/// The deletions of one step.
struct Step {
    batch: WriteBatch,
    rows: usize,
    cleaned: Height,
}

impl Step {
    /// Rows of the heights after `cleaned` up to and with `target`, as far as one step goes.
    fn collect(
        snapshot: &Snapshot,
        database: &Database,
        cleaned: Height,
        target: Height,
    ) -> Result<Self, StorageError> {
        let mut step = Self { batch: WriteBatch::default(), rows: 0, cleaned };
        while step.cleaned < target && step.rows < STEP_ROWS && step.cleaned.0 - cleaned.0 < STEP_HEIGHTS {
            let height = step.cleaned.next();
            step.delete(database, height, &Changed::read(snapshot, height)?);
            step.cleaned = height;
        }
        Ok(step)
    }

    fn delete(&mut self, database: &Database, height: Height, changed: &Changed) {
        let (accounts, slots) = (database.table(Table::AccountHistory), database.table(Table::SlotHistory));
        for address in &changed.accounts {
            self.batch.delete_cf(accounts, account_history_key(address, height));
        }
        for (address, slot) in &changed.slots {
            self.batch.delete_cf(slots, slot_history_key(address, slot, height));
        }
        let rows = changed.accounts.len() + changed.slots.len();
        if rows > 0 {
            self.batch.delete_cf(database.table(Table::Changed), height_key(height));
            self.rows += rows + 1;
        }
    }
}
