//! Older states: what accounts and slots were before each block, and so what they were after any kept block (ADR-0017).
//!
//! In: the changes of a block, written in its batch ([`rows`]). Out: a [`State`], which answers as of one height by one seek:
//! the first change after the height names the value before it, and without one the newest state holds it. Pruning
//! ([`prune`]) takes whole heights away, oldest first.

mod prune;
mod rows;
mod state;

use basalt_primitives::{Address, Height, U256};

pub use prune::Pruned;
pub use rows::MAX_WIPED_SLOTS;
pub use state::State;

use crate::{
    StorageError, codec,
    reader::{Reader, corrupt},
    tables::{Table, meta},
};

/// Which older states there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryRange {
    /// The oldest height whose state can be read.
    pub first: Height,
    /// Rows of history up to and with this height are gone.
    pub cleaned: Height,
}

impl HistoryRange {
    /// As stored; always there.
    pub(crate) fn read(reader: &(impl Reader + ?Sized)) -> Result<Self, StorageError> {
        let bytes = reader.get(Table::Meta, meta::HISTORY)?;
        let bytes = bytes.ok_or_else(|| corrupt(Table::Meta, meta::HISTORY, "is missing"))?;
        codec::decode_history(&bytes).ok_or_else(|| corrupt(Table::Meta, meta::HISTORY, "cannot be decoded"))
    }
}

/// What a block changed, without values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Accounts, by rising address.
    pub accounts: Vec<Address>,
    /// Slots, by rising account and slot.
    pub slots: Vec<(Address, U256)>,
}

impl Changed {
    /// Of one block; nothing when it changed nothing or its rows are gone.
    pub(crate) fn read(reader: &(impl Reader + ?Sized), height: Height) -> Result<Self, StorageError> {
        let key = crate::tables::height_key(height);
        let Some(bytes) = reader.get(Table::Changed, &key)? else { return Ok(Self::default()) };
        codec::decode_changed(&bytes).ok_or_else(|| corrupt(Table::Changed, &key, "cannot be decoded"))
    }
}
