//! The state as it was after one block.

use basalt_primitives::{Address, B256, Bytes, Height, U256, state::Account};

use super::{Changed, HistoryRange};
use crate::{
    Snapshot, StorageError, codec,
    reader::{Reader as _, corrupt},
    tables::{self, Table},
};

/// The state after a block that is kept. Holds a [`Snapshot`]: drop it soon.
#[derive(Clone, Debug)]
pub struct State {
    snapshot: Snapshot,
    height: Height,
    newest: bool,
}

impl Snapshot {
    /// The oldest height whose state can be read.
    pub fn oldest_state(&self) -> Result<Height, StorageError> {
        Ok(HistoryRange::read(self)?.first)
    }

    /// The state after the block of a height, or [`StorageError::StateNotKept`].
    pub fn state_at(&self, height: Height) -> Result<State, StorageError> {
        let head = self.head().height();
        let first = if height == head { head } else { self.oldest_state()? };
        if height < first || height > head {
            return Err(StorageError::StateNotKept { height, first, head });
        }
        Ok(State { snapshot: self.clone(), height, newest: height == head })
    }

    /// The newest state.
    #[must_use]
    pub fn state(&self) -> State {
        State { snapshot: self.clone(), height: self.head().height(), newest: true }
    }

    /// What the block of a height changed; nothing when its rows are gone.
    pub fn changed(&self, height: Height) -> Result<Changed, StorageError> {
        Changed::read(self, height)
    }
}

impl State {
    /// The height of the block.
    #[must_use]
    pub const fn height(&self) -> Height {
        self.height
    }

    /// The view of the ledger it reads from.
    #[must_use]
    pub const fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// An account, after the block.
    pub fn account(&self, address: &Address) -> Result<Option<Account>, StorageError> {
        let (table, from) = (Table::AccountHistory, tables::account_history_key(address, self.height.next()));
        let Some((key, past)) = self.first_change(table, &from, 20)? else { return self.snapshot.account(address) };
        codec::decode_past_account(&past).ok_or_else(|| corrupt(table, &key, "cannot be decoded"))
    }

    /// A storage slot, after the block; zero when it was never set.
    pub fn storage(&self, address: &Address, slot: &U256) -> Result<U256, StorageError> {
        let (table, from) = (Table::SlotHistory, tables::slot_history_key(address, slot, self.height.next()));
        let Some((key, past)) = self.first_change(table, &from, 52)? else {
            return self.snapshot.storage(address, slot);
        };
        codec::decode_slot(&past).ok_or_else(|| corrupt(table, &key, "cannot be decoded"))
    }

    /// Contract code by its hash: code is never deleted, so it is that of any state.
    pub fn code(&self, hash: &B256) -> Result<Option<Bytes>, StorageError> {
        self.snapshot.code(hash)
    }

    /// Hash of a block up to and with this one.
    pub fn block_hash(&self, height: Height) -> Result<Option<B256>, StorageError> {
        if height > self.height { Ok(None) } else { self.snapshot.block_hash(height) }
    }

    /// The first change after the block.
    fn first_change(&self, table: Table, from: &[u8], prefix: usize) -> Result<Option<(Vec<u8>, Bytes)>, StorageError> {
        if self.newest {
            return Ok(None);
        }
        self.snapshot.first_from(table, from, &from[..prefix])
    }
}
