//! What a block's batch says of the state before it.

use basalt_primitives::{
    Address, Height, U256,
    state::{StateBefore, StateChanges, StorageChanges},
};

use super::{Changed, HistoryRange};
use crate::{
    StorageError,
    batch::{From, Writer},
    codec,
    reader::{Reader, corrupt},
    tables::{Table, account_history_key, height_key, meta, slot_history_key},
};

/// Of accounts that are destroyed or wiped in one block, at most so many slots are kept for older states. With more,
/// states before that block cannot be read any more: one transaction's batch must not be as large as a contract's whole
/// storage. Only rules before EIP-6780 lead here at all.
pub const MAX_WIPED_SLOTS: usize = 100_000;

impl Writer<'_> {
    /// What the block's changes replace. `max_wiped` is [`MAX_WIPED_SLOTS`] but in tests.
    pub fn history(&mut self, height: Height, changes: &StateChanges, max_wiped: usize) -> Result<(), StorageError> {
        let read;
        let before = match &changes.before {
            Some(before) => before,
            None => {
                read = read_before(self.from.reader(), changes)?;
                &read
            }
        };
        check_before(before, changes, height)?;
        let mut changed = Changed::default();
        let mut slots_before = before.slots.iter();
        let mut wiped_left = Some(max_wiped);
        for ((address, now), was) in changes.accounts.iter().zip(&before.accounts) {
            if now != was {
                let key = account_history_key(address, height);
                self.put(Table::AccountHistory, &key, &codec::encode_past_account(was.as_ref()));
                changed.accounts.push(*address);
            }
            let storage = changes.storage.get(address);
            if was.is_some() && is_wiped(now.is_none(), storage) {
                wiped_left = self.wiped(height, address, storage, wiped_left, &mut changed)?;
                continue;
            }
            for (slot, now) in storage.into_iter().flat_map(|s| &s.slots) {
                let was =
                    if storage.is_some_and(|s| s.wiped) { U256::ZERO } else { *slots_before.next().unwrap_or(now) };
                self.past_slot(height, address, slot, was, *now, &mut changed);
            }
        }
        if changed != Changed::default() {
            let row = codec::encode_changed(&changed.accounts, &changed.slots);
            self.put(Table::Changed, &height_key(height), &row);
        }
        if wiped_left.is_none() {
            tracing::warn!(
                "block {height} destroyed accounts with more than {max_wiped} slots: states before it are gone"
            );
            let cleaned = HistoryRange::read(self.from.reader())?.cleaned;
            self.put(Table::Meta, meta::HISTORY, &codec::encode_history(&HistoryRange { first: height, cleaned }));
        }
        Ok(())
    }

    fn past_slot(&mut self, height: Height, address: &Address, slot: &U256, was: U256, now: U256, to: &mut Changed) {
        if was != now {
            self.put(Table::SlotHistory, &slot_history_key(address, slot, height), &codec::encode_slot(&was));
            to.slots.push((*address, *slot));
        }
    }

    /// All slots that were stored, and those that come new. `left` is how many more may be kept; `None` when they were
    /// too many.
    fn wiped(
        &mut self,
        height: Height,
        address: &Address,
        storage: Option<&StorageChanges>,
        left: Option<usize>,
        to: &mut Changed,
    ) -> Result<Option<usize>, StorageError> {
        let Some(left) = left else { return Ok(None) };
        let Some(stored) = stored_slots(self.from, address, left)? else { return Ok(None) };
        let left = left - stored.len();
        let mut all: std::collections::BTreeMap<U256, (U256, U256)> =
            stored.into_iter().map(|(slot, was)| (slot, (was, U256::ZERO))).collect();
        for (slot, now) in storage.into_iter().flat_map(|s| &s.slots) {
            all.entry(*slot).or_default().1 = *now;
        }
        for (slot, (was, now)) in all {
            self.past_slot(height, address, &slot, was, now, to);
        }
        Ok(Some(left))
    }
}

fn is_wiped(destroyed: bool, storage: Option<&StorageChanges>) -> bool {
    destroyed || storage.is_some_and(|s| s.wiped)
}

/// What was there, from the ledger: for changes whose maker does not say.
fn read_before(ledger: &dyn Reader, changes: &StateChanges) -> Result<StateBefore, StorageError> {
    let mut before = StateBefore::default();
    for address in changes.accounts.keys() {
        before.accounts.push(ledger.account(address)?);
    }
    for (address, storage) in changes.storage.iter().filter(|(_, s)| !s.wiped) {
        for slot in storage.slots.keys() {
            before.slots.push(ledger.storage(address, slot)?);
        }
    }
    Ok(before)
}

/// One value for each change, or it is our own bug.
fn check_before(before: &StateBefore, changes: &StateChanges, height: Height) -> Result<(), StorageError> {
    let slots: usize = changes.storage.values().filter(|s| !s.wiped).map(|s| s.slots.len()).sum();
    if (before.accounts.len(), before.slots.len()) == (changes.accounts.len(), slots) {
        return Ok(());
    }
    let head = height.prev().unwrap_or(Height::GENESIS);
    Err(StorageError::NotNext { head, height, problem: "what its changes replace is incomplete" })
}

/// The stored slots of an account, or `None` when there are more than `max`.
fn stored_slots(from: From<'_>, address: &Address, max: usize) -> Result<Option<Vec<(U256, U256)>>, StorageError> {
    let prefix = address.as_slice();
    let (mut slots, mut too_many, mut damaged) = (Vec::new(), false, None);
    from.scan(Table::Slots, prefix, |key, payload| {
        too_many = slots.len() == max;
        match codec::decode_slot(payload) {
            Some(value) => slots.push((U256::from_be_slice(&key[prefix.len()..]), value)),
            None => damaged = Some(corrupt(Table::Slots, key, "cannot be decoded")),
        }
        !too_many && damaged.is_none()
    })?;
    match damaged {
        Some(e) => Err(e),
        None => Ok((!too_many).then_some(slots)),
    }
}
