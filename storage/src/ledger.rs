//! The ledger: opening, committing, and the newest state.

use std::{
    fs, io,
    path::Path,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use basalt_primitives::{B256, Bytes, ChainSpec, HashFn, Height, SealedBlock, receipt::receipts_root};

use crate::{
    OpenOptions, StorageError, batch,
    database::{Closed, Database, Snapshot, io_error},
    layer::{Layer, Layers},
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
    /// Blocks that are not final, of all branches; locked after `committing`.
    layers: Mutex<Layers>,
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
        let (committing, pruning, layers) = (Mutex::new(()), Mutex::new(()), Mutex::default());
        Ok(Self { newest, committing, pruning, devnet: spec.is_devnet(), layers })
    }

    /// Makes a block durable, whole or not at all: block, certificate, indexes, receipts, state and trie in one synced
    /// write. Returns the new head when it is on the disk.
    pub fn commit(&self, commit: &BlockCommit<'_>) -> Result<Arc<Head>, StorageError> {
        let _guard = self.committing.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = self.snapshot();
        let head = newest.head();
        batch::check_follows(commit, &head)?;
        let next = Arc::new(next_head(commit, &head));
        let database = newest.database();
        database.write(batch::block(database, commit, &next)?)?;
        self.publish(Snapshot::new(Arc::clone(database), Arc::clone(&next)));
        Ok(next)
    }

    /// Keeps a block in memory beside others on the same or other parents, as long as it is not final (ADR-0027). `parent` is
    /// the view of its parent. Gives back the view of the block.
    pub fn stage(&self, parent: &Snapshot, commit: &BlockCommit<'_>) -> Result<Snapshot, StorageError> {
        let head = parent.head();
        batch::check_follows(commit, &head)?;
        let height = commit.block.height();
        let problem = "its parent is neither the newest final block nor in memory";
        let gone = || StorageError::NotNext { head: head.height(), height, problem };
        self.view_of(&head.hash()).ok_or_else(gone)?;
        let next = next_head(commit, &head);
        let rows = batch::layer(parent, commit, &next)?;
        let hash = next.hash();
        self.lock_layers().insert(Layer::new(Arc::new(next), rows));
        self.view_of(&hash).ok_or_else(gone)
    }

    /// The ledger as a block has left it that is not final, or the newest final one. `None` for every other.
    #[must_use]
    pub fn view_of(&self, block: &B256) -> Option<Snapshot> {
        // Nothing may become final between the look at the disk and that at what lies above it.
        let _guard = self.committing.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = self.snapshot();
        if newest.head().hash() == *block {
            return Some(newest);
        }
        let layers = self.lock_layers().path(&newest.finalized().hash(), *block)?;
        Some(Snapshot::layered(Arc::clone(newest.database()), newest.finalized(), layers, newest.safe()))
    }

    /// A block that is in memory, of whatever branch.
    #[must_use]
    pub fn staged(&self, block: &B256) -> Option<SealedBlock> {
        self.lock_layers().get(block).map(|layer| layer.head.block.clone())
    }

    /// How many blocks are in memory.
    #[must_use]
    pub fn staged_count(&self) -> usize {
        self.lock_layers().len()
    }

    /// Makes a block the newest of the chain that readers see, and writes the blocks up to `finalized`, which must be on its
    /// chain, each in one synced batch. Branches that do not go through `finalized` are dropped. Returns the blocks that
    /// have become final, lowest first.
    pub fn adopt(&self, head: &B256, safe: Height, finalized: &B256) -> Result<Vec<Arc<Head>>, StorageError> {
        let _guard = self.committing.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = self.snapshot();
        let (database, base) = (newest.database(), newest.finalized());
        let unknown = |problem| StorageError::NotNext { head: base.height(), height: base.height().next(), problem };
        let mut layers = self.lock_layers();
        let path = layers.path(&base.hash(), *head).ok_or_else(|| unknown("the new head is not in memory"))?;
        let count = match base.hash() == *finalized {
            true => 0,
            false => path.iter().position(|l| l.head.hash() == *finalized).map(|at| at + 1).unwrap_or_default(),
        };
        if count == 0 && base.hash() != *finalized {
            return Err(unknown("what is to be final is not on the chain of the new head"));
        }
        for layer in &path[..count] {
            database.write(batch::of_layer(database, layer))?;
        }
        let base = path[..count].last().map_or(base, |layer| Arc::clone(&layer.head));
        if count > 0 {
            layers.keep_above(&base);
        }
        drop(layers);
        self.publish(Snapshot::layered(Arc::clone(database), base, path[count..].to_vec(), safe));
        Ok(path[..count].iter().map(|layer| Arc::clone(&layer.head)).collect())
    }

    fn lock_layers(&self) -> std::sync::MutexGuard<'_, Layers> {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest final block: the newest on the disk.
    #[must_use]
    pub fn finalized(&self) -> Arc<Head> {
        self.snapshot().finalized()
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
        let layers = newest.layers().to_vec();
        self.publish(Snapshot::layered(Arc::clone(newest.database()), newest.finalized(), layers, newest.safe()));
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

/// The head that a commit makes of another.
fn next_head(commit: &BlockCommit<'_>, head: &Head) -> Head {
    Head {
        block: commit.block.clone(),
        certificate: commit.certificate.map(|c| Arc::new(c.clone())),
        outcome: commit.outcome,
        total_transactions: head.total_transactions + commit.receipts.len() as u64,
        work: commit.work,
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
    let summary = Summary { hash: block.hash(), outcome, total_transactions: 0, work: None };
    let mut writer = batch::Writer::new(database);
    writer.identity(&block, spec.chain_id);
    writer.block(&block, &summary);
    writer.first_history(Height::GENESIS);
    writer.first_logs(Height::GENESIS);
    writer.state(&state.changes, &state.trie)?;
    database.write(writer.finish())
}
