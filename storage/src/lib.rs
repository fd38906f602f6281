//! The ledger: finalized blocks, their results, the newest state and older ones, in one RocksDB ([`Ledger`]), and the sign record of
//! a validator beside it ([`SignRecord`]).
//!
//! What flows in: a [`BlockCommit`] per finalized and executed block, written by [`Ledger::commit`] as one atomic, synced
//! batch. What flows out: checked values, through [`Reader`], from the newest commit or from a [`Snapshot`]. Every stored
//! value carries a checksum, and blocks, receipts, code and certificates are compared with the hashes that bind them, so
//! damage is an error ([`StorageError::Corrupt`]) and never a wrong answer. [`tables`] is the whole schema.
//!
//! The state of blocks that are not final lives elsewhere, in memory; nothing here is ever rolled back but on
//! development networks ([`Rewind`]).

mod batch;
mod codec;
mod database;
mod error;
mod history;
mod layer;
mod ledger;
mod logs;
mod open;
mod options;
mod reader;
mod rewind;
pub mod rows;
pub mod sign_record;
pub mod tables;
mod types;

pub use database::{Closed, Snapshot};
pub use error::StorageError;
pub use history::{Changed, HistoryRange, Pruned, State};
pub use ledger::Ledger;
pub use logs::{FoundLog, FoundLogs, LogQuery, SearchEnd, SearchLimits};
pub use options::{MemoryDisk, OpenOptions};
pub use reader::Reader;
pub use rewind::Rewind;
pub use sign_record::SignRecord;
pub use types::{BlockCommit, ChainWork, GenesisState, Head, Outcome, Skipped, Summary, TxLocation};
