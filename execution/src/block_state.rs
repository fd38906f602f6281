//! The state a block runs on: reads through to [`StateReader`] once per account and slot, keeps what transactions
//! changed, and in the end says how the block's state differs from the one before it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use alloy_primitives::{
    Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256,
    map::{AddressMap, B256Map, HashMap, hash_map},
};
use basalt_primitives::state::{Account, StateBefore, StateChanges, StorageChanges};
use revm::{
    Database, DatabaseRef,
    state::{AccountInfo, Bytecode, EvmState},
};

use crate::ports::{StateError, StateReader};

/// Contract code that was analysed for the EVM, kept between blocks and calls. Bounded: emptied when full.
#[derive(Debug, Default)]
pub(crate) struct CodeCache(Mutex<(B256Map<Bytecode>, usize)>);

impl CodeCache {
    /// About this many bytes of code are kept.
    const MAX_BYTES: usize = 32 * 1024 * 1024;

    fn get(&self, hash: &B256) -> Option<Bytecode> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.get(hash).cloned()
    }

    fn put(&self, hash: B256, code: Bytecode) {
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The map entry and the jump table cost about as much again for small contracts.
        let size = code.len() + code.len() / 8 + 256;
        if cache.1 + size > Self::MAX_BYTES {
            *cache = (B256Map::default(), 0);
        }
        cache.1 += size;
        cache.0.insert(hash, code);
    }
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    original: U256,
    current: U256,
}

#[derive(Debug, Default)]
struct Storage {
    /// What the reader holds is gone; only `slots` count.
    wiped: bool,
    slots: HashMap<U256, Slot>,
}

#[derive(Debug)]
struct Entry {
    original: Option<Account>,
    current: Option<Account>,
    storage: Option<Box<Storage>>,
}

impl Entry {
    fn storage_mut(&mut self) -> &mut Storage {
        self.storage.get_or_insert_default()
    }

    fn wipe(&mut self) {
        *self.storage_mut() = Storage { wiped: true, slots: HashMap::default() };
    }

    fn is_changed(&self) -> bool {
        let existed = self.original.is_some();
        let storage = self.storage.as_ref();
        self.current != self.original || storage.is_some_and(|s| s.wiped && existed || s.changed().next().is_some())
    }

    /// How the storage differs; what its slots were goes to `before` unless all of it was wiped.
    fn storage_changes(&self, before: &mut Vec<U256>) -> Option<StorageChanges> {
        let storage = self.storage.as_ref()?;
        let wiped = storage.wiped && self.original.is_some();
        let mut slots: Vec<(U256, Slot)> = storage.changed().collect();
        slots.sort_unstable_by_key(|(slot, _)| *slot);
        if !wiped {
            before.extend(slots.iter().map(|(_, s)| s.original));
        }
        let slots = slots.into_iter().map(|(slot, s)| (slot, s.current));
        (wiped || slots.len() > 0).then(|| StorageChanges { wiped, slots: slots.collect() })
    }
}

impl Storage {
    /// Slots that are not what they were before the block, or what a wipe made of them.
    fn changed(&self) -> impl Iterator<Item = (U256, Slot)> {
        let wiped = self.wiped;
        let differs = move |s: &Slot| if wiped { !s.current.is_zero() } else { s.current != s.original };
        self.slots.iter().filter(move |(_, s)| differs(s)).map(|(slot, s)| (*slot, *s))
    }
}

/// The state a block runs on.
pub(crate) struct BlockState<'a> {
    reader: &'a dyn StateReader,
    codes: &'a CodeCache,
    accounts: AddressMap<Entry>,
    new_code: B256Map<Bytecode>,
    /// Hashes of blocks that only a simulation knows.
    hashes: BTreeMap<u64, B256>,
    /// What was read through, where somebody wants to know.
    reads: Option<Reads>,
}

/// What was read of the state below, each once.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    pub(crate) accounts: Vec<(Address, Option<Account>)>,
    pub(crate) slots: Vec<(Address, U256, U256)>,
}

impl<'a> BlockState<'a> {
    pub(crate) fn new(reader: &'a dyn StateReader, codes: &'a CodeCache) -> Self {
        let (accounts, new_code) = (AddressMap::default(), B256Map::default());
        Self { reader, codes, accounts, new_code, hashes: BTreeMap::new(), reads: None }
    }

    /// As [`Self::new`], but remembers what is read of the state below.
    pub(crate) fn recording(reader: &'a dyn StateReader, codes: &'a CodeCache) -> Self {
        Self { reads: Some(Reads::default()), ..Self::new(reader, codes) }
    }

    /// What was read so far.
    pub(crate) fn take_reads(&mut self) -> Reads {
        self.reads.take().unwrap_or_default()
    }

    /// Whether all this is still so, and whoever read it would read the same now. Where nothing is known here, nothing has
    /// changed since.
    pub(crate) fn agrees(&self, reads: &Reads) -> bool {
        let slot = |(address, slot, value): &(Address, U256, U256)| {
            let storage = self.accounts.get(address).and_then(|e| e.storage.as_ref());
            storage
                .is_none_or(|s| s.slots.get(slot).map_or_else(|| !s.wiped || value.is_zero(), |k| k.current == *value))
        };
        let account = |(address, read): &(Address, _)| self.accounts.get(address).is_none_or(|e| e.current == *read);
        reads.accounts.iter().all(account) && reads.slots.iter().all(slot)
    }

    /// Takes over what was read on another thread, where nothing is known here: it is what the reader would answer.
    pub(crate) fn prime(&mut self, reads: Reads) {
        for (address, account) in reads.accounts {
            let known = self.accounts.entry(address);
            known.or_insert(Entry { original: account, current: account, storage: None });
        }
        for (address, slot, value) in reads.slots {
            if let Some(storage) = self.accounts.get_mut(&address).map(Entry::storage_mut).filter(|s| !s.wiped) {
                storage.slots.entry(slot).or_insert(Slot { original: value, current: value });
            }
        }
    }

    /// The account as it is now, without remembering it.
    pub(crate) fn peek(&self, address: &Address) -> Result<Option<Account>, StateError> {
        self.accounts.get(address).map_or_else(|| self.reader.account(address), |e| Ok(e.current))
    }

    /// The slot as it is now, without remembering it.
    pub(crate) fn peek_slot(&self, address: &Address, slot: U256) -> Result<U256, StateError> {
        let storage = self.accounts.get(address).and_then(|e| e.storage.as_ref());
        match storage.and_then(|s| s.slots.get(&slot)) {
            Some(known) => Ok(known.current),
            None if storage.is_some_and(|s| s.wiped) => Ok(U256::ZERO),
            None => self.reader.storage(address, slot),
        }
    }

    /// Code by its hash; made ready for the EVM once and then shared.
    pub(crate) fn code(&self, hash: B256) -> Result<Bytecode, StateError> {
        if hash == KECCAK256_EMPTY {
            return Ok(Bytecode::default());
        }
        if let Some(code) = self.new_code.get(&hash) {
            return Ok(code.clone());
        }
        if let Some(code) = self.codes.get(&hash) {
            return Ok(code);
        }
        let bytes = self.reader.code(&hash)?.ok_or(StateError::MissingCode(hash))?;
        let code = bytecode(bytes);
        self.codes.put(hash, code.clone());
        Ok(code)
    }

    /// Gives an account code that no transaction made. It stays out of the shared cache.
    pub(crate) fn put_code(&mut self, code: Bytes) -> B256 {
        let hash = keccak256(&code);
        if !code.is_empty() {
            self.new_code.insert(hash, bytecode(code));
        }
        hash
    }

    /// Forgets an account's storage.
    pub(crate) fn wipe(&mut self, address: Address) -> Result<(), StateError> {
        self.entry(address)?.wipe();
        Ok(())
    }

    /// Tells BLOCKHASH of a block that only a simulation knows.
    pub(crate) fn put_hash(&mut self, height: u64, hash: B256) {
        self.hashes.insert(height, hash);
    }

    fn entry(&mut self, address: Address) -> Result<&mut Entry, StateError> {
        match self.accounts.entry(address) {
            hash_map::Entry::Occupied(e) => Ok(e.into_mut()),
            hash_map::Entry::Vacant(e) => {
                let account = self.reader.account(&address)?;
                if let Some(reads) = &mut self.reads {
                    reads.accounts.push((address, account));
                }
                Ok(e.insert(Entry { original: account, current: account, storage: None }))
            }
        }
    }

    /// The account as it is now.
    pub(crate) fn account(&mut self, address: Address) -> Result<Option<Account>, StateError> {
        Ok(self.entry(address)?.current)
    }

    /// Writes an account that a transaction touched; an empty one ceases to exist (EIP-161).
    pub(crate) fn put(&mut self, address: Address, account: Account) -> Result<(), StateError> {
        let entry = self.entry(address)?;
        if is_empty(&account) {
            if entry.current.take().is_some() {
                entry.wipe();
            }
        } else {
            entry.current = Some(account);
        }
        Ok(())
    }

    /// The slot as it is now.
    pub(crate) fn slot(&mut self, address: Address, slot: U256) -> Result<U256, StateError> {
        let reader = self.reader;
        let entry = self.entry(address)?;
        let storage = entry.storage.get_or_insert_default();
        if let Some(s) = storage.slots.get(&slot) {
            return Ok(s.current);
        }
        if storage.wiped {
            return Ok(U256::ZERO);
        }
        let value = reader.storage(&address, slot)?;
        storage.slots.insert(slot, Slot { original: value, current: value });
        if let Some(reads) = &mut self.reads {
            reads.slots.push((address, slot, value));
        }
        Ok(value)
    }

    /// Writes a slot of an account that exists.
    pub(crate) fn put_slot(&mut self, address: Address, slot: U256, value: U256) -> Result<(), StateError> {
        self.slot(address, slot)?;
        let storage = self.entry(address)?.storage_mut();
        storage.slots.entry(slot).or_insert(Slot { original: U256::ZERO, current: U256::ZERO }).current = value;
        Ok(())
    }

    /// Takes over what a transaction did.
    pub(crate) fn commit(&mut self, state: EvmState) -> Result<(), StateError> {
        for (address, account) in state {
            if !account.is_touched() {
                continue;
            }
            if account.is_selfdestructed() {
                let entry = self.entry(address)?;
                entry.current = None;
                entry.wipe();
                continue;
            }
            if account.is_created() {
                self.entry(address)?.wipe();
            }
            self.commit_code(address, &account.info)?;
            self.put(address, account_of(&account.info))?;
            for (slot, value) in account.changed_storage_slots() {
                self.put_slot(address, *slot, value.present_value)?;
            }
        }
        Ok(())
    }

    /// Keeps code the account did not have before the block. The shared cache is not asked: that some other state
    /// holds this code says nothing about this one.
    fn commit_code(&mut self, address: Address, info: &AccountInfo) -> Result<(), StateError> {
        let before = self.entry(address)?.original.map_or(KECCAK256_EMPTY, |a| a.code_hash);
        if let Some(code) = info.code.as_ref().filter(|c| !c.is_empty() && info.code_hash != before) {
            self.new_code.insert(info.code_hash, code.clone());
        }
        Ok(())
    }

    /// How the state differs from the one before the block.
    pub(crate) fn changes(&self) -> StateChanges {
        let mut changed: Vec<(&Address, &Entry)> = self.accounts.iter().filter(|(_, e)| e.is_changed()).collect();
        changed.sort_unstable_by_key(|(address, _)| **address);
        let mut before = StateBefore { accounts: Vec::with_capacity(changed.len()), slots: Vec::new() };
        let (mut accounts, mut storage) = (Vec::with_capacity(changed.len()), Vec::new());
        for (address, entry) in changed {
            accounts.push((*address, entry.current));
            before.accounts.push(entry.original);
            // The storage of a deleted account goes with it.
            if entry.current.is_some() {
                storage.extend(entry.storage_changes(&mut before.slots).map(|s| (*address, s)));
            }
        }
        let used: BTreeSet<B256> = accounts.iter().filter_map(|(_, a)| *a).map(|a| a.code_hash).collect();
        let code: Vec<(B256, Bytes)> = self
            .new_code
            .iter()
            .filter(|(hash, _)| used.contains(*hash))
            .map(|(hash, code)| (*hash, code.original_bytes()))
            .collect();
        StateChanges {
            accounts: accounts.into_iter().collect(),
            storage: storage.into_iter().collect(),
            code: code.into_iter().collect(),
            before: Some(before),
        }
    }
}

fn is_empty(a: &Account) -> bool {
    a.nonce == 0 && a.balance.is_zero() && a.code_hash == KECCAK256_EMPTY
}

fn bytecode(bytes: Bytes) -> Bytecode {
    Bytecode::new_raw_checked(bytes.clone()).unwrap_or_else(|_| Bytecode::new_legacy(bytes))
}

fn info_of(a: Account) -> AccountInfo {
    AccountInfo {
        balance: a.balance,
        nonce: a.nonce,
        code_hash: a.code_hash,
        account_id: None,
        code: (a.code_hash == KECCAK256_EMPTY).then(Bytecode::default),
    }
}

const fn account_of(info: &AccountInfo) -> Account {
    Account { nonce: info.nonce, balance: info.balance, code_hash: info.code_hash }
}

impl Database for BlockState<'_> {
    type Error = StateError;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, StateError> {
        Ok(self.account(address)?.map(info_of))
    }

    fn code_by_hash(&mut self, hash: B256) -> Result<Bytecode, StateError> {
        self.code(hash)
    }

    fn storage(&mut self, address: Address, slot: U256) -> Result<U256, StateError> {
        self.slot(address, slot)
    }

    fn block_hash(&mut self, height: u64) -> Result<B256, StateError> {
        self.block_hash_ref(height)
    }
}

/// What is now, read without remembering it: the state before a transaction, for tracers.
impl DatabaseRef for BlockState<'_> {
    type Error = StateError;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, StateError> {
        Ok(self.peek(&address)?.map(info_of))
    }

    fn code_by_hash_ref(&self, hash: B256) -> Result<Bytecode, StateError> {
        self.code(hash)
    }

    fn storage_ref(&self, address: Address, slot: U256) -> Result<U256, StateError> {
        self.peek_slot(&address, slot)
    }

    fn block_hash_ref(&self, height: u64) -> Result<B256, StateError> {
        match self.hashes.get(&height) {
            Some(hash) => Ok(*hash),
            None => Ok(self.reader.block_hash(height)?.unwrap_or_default()),
        }
    }
}
