//! The ledger: opening, committing, and the newest state.

use std::{
    fs, io,
    path::Path,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use basalt_primitives::{Bytes, ChainSpec, HashFn, Height, receipt::receipts_root};

use crate::{
    OpenOptions, StorageError, batch,
    database::{Closed, Database, Snapshot, io_error},
    open,
    reader::Reader,
    tables::Table,
    types::{BlockCommit, GenesisState, Head, Outcome, Summary},
};

/// Marks a directory as ours from the moment it is chosen, so that a half-made ledger is told from a stranger's files.
const MARKER: &str = "BASALT-LEDGER";
const MARKER_TEXT: &str = "This directory holds a Basalt ledger (RocksDB). Do not change files here by hand.\n";

/// The finalized chain and its newest state, in one RocksDB.
///
/// One thread commits; any number reads. Readers are those of [`Reader`], which here see the newest commit at every
/// call; for several reads that belong together take a [`Ledger::snapshot`].
pub struct Ledger {
    /// The newest commit: readers and snapshots share it.
    newest: RwLock<Snapshot>,
    /// Held while a block is checked and written.
    pub(crate) committing: Mutex<()>,
    /// Held for a step of pruning.
    pub(crate) pruning: Mutex<()>,
    /// Whether this is the chain of a development network, which takes blocks back.
    pub(crate) devnet: bool,
}

impl Ledger {
    /// Opens the ledger in a directory of its own, or makes it when the directory is empty or missing. `genesis` is asked
    /// for the genesis state only then.
    ///
    /// Opening checks that the directory belongs to this chain and this or an older schema, and that the head is whole:
    /// block, certificate, receipts, state root. The directory is locked against other processes until the ledger and
    /// all its snapshots are dropped.
    pub fn open(
        path: &Path,
        spec: &ChainSpec,
        options: &OpenOptions,
        genesis: impl FnOnce() -> GenesisState,
    ) -> Result<Self, StorageError> {
        // On a disk in memory nobody else's files can be in the way, and creating is idempotent.
        let exists = options.memory.is_none() && prepare(path)?;
        let database = Arc::new(Database::open(path, spec, options, !exists)?);
        if !open::is_initialised(&database)? {
            write_genesis(&database, spec, &genesis())?;
        }
        open::migrate(&database)?;
        open::check_identity(&database, spec)?;
        let head = Arc::new(open::load_head(&database)?);
        let newest = RwLock::new(Snapshot::new(database, head));
        Ok(Self { newest, committing: Mutex::new(()), pruning: Mutex::new(()), devnet: spec.is_devnet() })
    }

    /// Makes a block durable, whole or not at all: block, certificate, indexes, receipts, state and trie in one synced
    /// write. Returns the new head when it is on the disk.
    pub fn commit(&self, commit: &BlockCommit<'_>) -> Result<Arc<Head>, StorageError> {
        let _guard = self.committing.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = self.snapshot();
        let head = newest.head();
        batch::check_follows(commit, &head)?;
        let executed = commit.receipts.len() as u64;
        let next = Arc::new(Head {
            block: commit.block.clone(),
            certificate: Some(Arc::new(commit.certificate.clone())),
            outcome: commit.outcome,
            total_transactions: head.total_transactions + executed,
        });
        let database = newest.database();
        database.write(batch::block(database, commit, &next)?)?;
        self.publish(Snapshot::new(Arc::clone(database), Arc::clone(&next)));
        Ok(next)
    }

    /// The newest block. Kept in memory.
    #[must_use]
    pub fn head(&self) -> Arc<Head> {
        self.snapshot().head()
    }

    /// A consistent view of the newest commit.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.newest.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Bytes of the ledger's table files on the disk; the write-ahead log comes on top.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        let newest = self.snapshot();
        Table::ALL.iter().map(|t| newest.database().file_bytes(*t)).sum()
    }

    /// To wait until the database is closed. A process that ends before is aborted by RocksDB when a thread still uses it.
    #[must_use]
    pub fn closed(&self) -> Closed {
        self.snapshot().database().closed()
    }

    /// A fresh view of the same block, after something beside blocks has changed. The caller holds `committing`.
    pub(crate) fn republish(&self) {
        let newest = self.snapshot();
        self.publish(Snapshot::new(Arc::clone(newest.database()), newest.head()));
    }

    pub(crate) fn publish(&self, snapshot: Snapshot) {
        *self.newest.write().unwrap_or_else(PoisonError::into_inner) = snapshot;
    }
}

impl Reader for Ledger {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.snapshot().get(table, key)
    }

    fn hash_fn(&self) -> HashFn {
        self.snapshot().hash_fn()
    }

    fn is_devnet(&self) -> bool {
        self.snapshot().is_devnet()
    }
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let newest = self.snapshot();
        f.debug_struct("Ledger")
            .field("path", &newest.database().path)
            .field("height", &newest.head().height())
            .finish_non_exhaustive()
    }
}

/// Makes the directory ready to be opened; true when a ledger is there already.
fn prepare(path: &Path) -> Result<bool, StorageError> {
    fs::create_dir_all(path).map_err(io_error("create the directory", path))?;
    let marker = path.join(MARKER);
    if path.join("CURRENT").exists() && marker.exists() {
        return Ok(true);
    }
    if !marker.exists() {
        refuse_strangers(path)?;
        fs::write(&marker, MARKER_TEXT).map_err(io_error("write", &marker))?;
    }
    sync_directory(path)?;
    Ok(false)
}

/// A directory with anything in it but what a fresh file system puts there is not taken.
fn refuse_strangers(path: &Path) -> Result<(), StorageError> {
    for entry in fs::read_dir(path).map_err(io_error("list", path))? {
        let entry = entry.map_err(io_error("list", path))?;
        if entry.file_name() != "lost+found" {
            return Err(StorageError::NotBasalt { path: path.to_owned() });
        }
    }
    Ok(())
}

/// Makes file creations and renames in a directory durable.
pub fn sync_directory(path: &Path) -> Result<(), StorageError> {
    let sync = || -> io::Result<()> { fs::File::open(path)?.sync_all() };
    sync().map_err(io_error("sync the directory", path))
}

/// Writes block 0, its state and the ledger's identity in one batch.
fn write_genesis(database: &Database, spec: &ChainSpec, state: &GenesisState) -> Result<(), StorageError> {
    let root = state.trie.nodes.get(&open::ROOT).and_then(Option::as_ref);
    if open::state_root(root) != state.root {
        return Err(StorageError::Genesis("its root is not the hash of its trie's root node".to_owned()));
    }
    let block = spec.genesis_block();
    let outcome = Outcome { state_root: state.root, receipts_root: receipts_root(spec.hash_fn, &[]), gas_used: 0 };
    let summary = Summary { hash: block.hash(), outcome, total_transactions: 0 };
    let mut writer = batch::Writer::new(database);
    writer.identity(&block, spec.chain_id);
    writer.block(&block, &summary);
    writer.first_history(Height::GENESIS);
    writer.first_logs(Height::GENESIS);
    writer.state(&state.changes, &state.trie)?;
    database.write(writer.finish())
}
