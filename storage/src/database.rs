//! RocksDB behind the tables: opening, checked reads, snapshots.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    thread,
    time::{Duration, Instant},
};

use basalt_primitives::{Bytes, ChainSpec, HashFn, Height};
use rocksdb::{
    ColumnFamily, DB, DBRawIteratorWithThreadMode, ErrorKind, ReadOptions, SnapshotWithThreadMode, WriteBatch,
};

use crate::{
    OpenOptions, StorageError,
    layer::{Layer, key_hash},
    options::synced,
    reader::{Reader, corrupt},
    tables::{LEDGER_FORMAT, Table, unseal},
    types::Head,
};

/// The open database with what every read needs.
pub struct Database {
    pub db: DB,
    pub path: PathBuf,
    pub hash_fn: HashFn,
    pub devnet: bool,
    /// Last, so that it goes when `db` is closed.
    open: Arc<()>,
}

/// Tells when the database is closed: when the ledger and all its snapshots are gone.
#[derive(Clone, Debug)]
pub struct Closed(Weak<()>);

impl Closed {
    /// Waits for it, no longer than `within`; whether it is closed.
    #[must_use]
    pub fn wait(&self, within: Duration) -> bool {
        let end = Instant::now() + within;
        while self.0.strong_count() > 0 {
            if Instant::now() >= end {
                return false;
            }
            thread::sleep(Duration::from_millis(2));
        }
        true
    }
}

impl Database {
    /// Opens all tables. With `create`, makes what is missing.
    pub fn open(path: &Path, spec: &ChainSpec, options: &OpenOptions, create: bool) -> Result<Self, StorageError> {
        let database = options.database(create);
        if !create {
            refuse_unknown_tables(path, &database)?;
        }
        let db = DB::open_cf_descriptors(&database, path, options.tables()).map_err(|e| open_error(path, e))?;
        Ok(Self { db, path: path.to_owned(), hash_fn: spec.hash_fn, devnet: spec.is_devnet(), open: Arc::default() })
    }

    pub fn closed(&self) -> Closed {
        Closed(Arc::downgrade(&self.open))
    }

    pub fn table(&self, table: Table) -> &ColumnFamily {
        self.db.cf_handle(table.name()).expect("every table is opened with the database")
    }

    /// The checked payload of a value, as `options` see it.
    fn get_at(&self, table: Table, key: &[u8], options: &ReadOptions) -> Result<Option<Bytes>, StorageError> {
        let stored = self.db.get_pinned_cf_opt(self.table(table), key, options).map_err(|e| read_error(table, e))?;
        let Some(stored) = stored else { return Ok(None) };
        match unseal(table, key, &stored) {
            Some(payload) => Ok(Some(Bytes::copy_from_slice(payload))),
            None => Err(corrupt(table, key, "the checksum does not match")),
        }
    }

    /// Bytes of a table's files.
    pub fn file_bytes(&self, table: Table) -> u64 {
        let property = rocksdb::properties::TOTAL_SST_FILES_SIZE;
        self.db.property_int_value_cf(self.table(table), property).ok().flatten().unwrap_or(0)
    }

    /// Writes a batch, whole or not at all, and returns when it is on the disk.
    pub fn write(&self, batch: WriteBatch) -> Result<(), StorageError> {
        self.db.write_opt(batch, &synced()).map_err(StorageError::Write)
    }
}

impl Reader for Database {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.get_at(table, key, &ReadOptions::default())
    }

    fn hash_fn(&self) -> HashFn {
        self.hash_fn
    }

    fn is_devnet(&self) -> bool {
        self.devnet
    }
}

/// A ledger of newer software may have tables that cannot even be opened without knowing them.
fn refuse_unknown_tables(path: &Path, options: &rocksdb::Options) -> Result<(), StorageError> {
    let names = DB::list_cf(options, path).map_err(|e| open_error(path, e))?;
    let unknown = names.into_iter().find(|n| n != rocksdb::DEFAULT_COLUMN_FAMILY_NAME && Table::from_name(n).is_none());
    match unknown {
        None => Ok(()),
        Some(table) => {
            Err(StorageError::NewerSchema { path: path.to_owned(), table, found: LEDGER_FORMAT, supported: 0 })
        }
    }
}

fn open_error(path: &Path, e: rocksdb::Error) -> StorageError {
    let text = e.to_string();
    // RocksDB has no code for it: "While lock file: …" from another process, "lock hold by current process" from this one.
    if text.contains("While lock file") || text.contains("lock hold by current process") {
        return StorageError::Locked { path: path.to_owned() };
    }
    match e.kind() {
        ErrorKind::Corruption => damaged("ledger", text),
        _ => StorageError::Open { path: path.to_owned(), cause: e },
    }
}

pub fn read_error(table: Table, e: rocksdb::Error) -> StorageError {
    match e.kind() {
        ErrorKind::Corruption => damaged(table.name(), e.to_string()),
        _ => StorageError::Read { table: table.name(), cause: e },
    }
}

/// Damage that RocksDB found itself.
fn damaged(table: &'static str, problem: String) -> StorageError {
    StorageError::Corrupt { table, key: "-".to_owned(), problem }
}

pub fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StorageError {
    let path = path.to_owned();
    move |cause| StorageError::Io { action, path, cause }
}

/// The ledger as it was after one commit, whatever is committed meanwhile. Cheap to clone; drop it soon, because the
/// disk space of what has since been overwritten is only freed afterwards.
#[derive(Clone)]
pub struct Snapshot(Arc<View>);

/// Fields are dropped in this order: what borrows the database goes before it.
struct View {
    read: ReadOptions,
    /// Borrows `database.db`; the lifetime is a lie that the field order makes true.
    snapshot: SnapshotWithThreadMode<'static, DB>,
    database: Arc<Database>,
    /// The newest block on the disk.
    finalized: Arc<Head>,
    /// Blocks above it, lowest first.
    layers: Vec<Arc<Layer>>,
    /// Highest block called safe.
    safe: Height,
}

impl Snapshot {
    /// The state of the database now, which must be the one `head` describes.
    pub(crate) fn new(database: Arc<Database>, head: Arc<Head>) -> Self {
        let safe = head.height();
        Self::layered(database, head, Vec::new(), safe)
    }

    /// As [`Self::new`], with blocks above the newest on the disk, lowest first.
    pub(crate) fn layered(
        database: Arc<Database>,
        finalized: Arc<Head>,
        layers: Vec<Arc<Layer>>,
        safe: Height,
    ) -> Self {
        // SAFETY: the snapshot refers to `database.db`, which lives behind an `Arc` held in the same struct: it neither
        // moves nor is dropped before the snapshot, which is declared, and so dropped, first. It is never handed out.
        let snapshot = unsafe {
            std::mem::transmute::<SnapshotWithThreadMode<'_, DB>, SnapshotWithThreadMode<'static, DB>>(
                database.db.snapshot(),
            )
        };
        let mut read = ReadOptions::default();
        read.set_snapshot(&snapshot);
        Self(Arc::new(View { read, snapshot, database, finalized, layers, safe }))
    }

    /// The newest block at that moment.
    #[must_use]
    pub fn head(&self) -> Arc<Head> {
        Arc::clone(self.0.layers.last().map_or(&self.0.finalized, |layer| &layer.head))
    }

    /// The newest final block at that moment: the newest on the disk. Where blocks are final when they come, the head.
    #[must_use]
    pub fn finalized(&self) -> Arc<Head> {
        Arc::clone(&self.0.finalized)
    }

    /// The highest block that is not taken back unless assumptions break; never above the head.
    #[must_use]
    pub fn safe(&self) -> Height {
        self.0.safe.max(self.0.finalized.height()).min(self.head().height())
    }

    pub(crate) fn layers(&self) -> &[Arc<Layer>] {
        &self.0.layers
    }

    pub(crate) fn database(&self) -> &Arc<Database> {
        &self.0.database
    }

    /// The first row at or after `from` whose key begins with `prefix`, checked.
    pub(crate) fn first_from(&self, table: Table, from: &[u8], prefix: &[u8]) -> Result<Option<Row>, StorageError> {
        let mut rows = self.rows(table, from, prefix);
        rows.next().transpose()
    }

    /// Rows at or after `from` whose keys begin with `prefix`, in order, checked. `prefix` is as long as the table's shape
    /// says, or longer.
    pub(crate) fn rows(&self, table: Table, from: &[u8], prefix: &[u8]) -> Rows<'_> {
        let mut options = ReadOptions::default();
        options.set_prefix_same_as_start(true);
        let mut at = self.0.snapshot.raw_iterator_cf_opt(self.0.database.table(table), options);
        at.seek(from);
        let above =
            (!self.0.layers.is_empty()).then(|| Above { layers: &self.0.layers, from: from.to_vec(), past: false });
        Rows { table, prefix: prefix.to_vec(), at, fresh: true, above }
    }
}

/// Key and payload.
pub(crate) type Row = (Vec<u8>, Bytes);

/// Rows of a table from a [`Snapshot`], in order.
pub(crate) struct Rows<'a> {
    table: Table,
    prefix: Vec<u8>,
    at: DBRawIteratorWithThreadMode<'a, DB>,
    /// The iterator stands on a row that was not given out.
    fresh: bool,
    above: Option<Above<'a>>,
}

/// Where a walk stands in the layers.
struct Above<'a> {
    layers: &'a [Arc<Layer>],
    from: Vec<u8>,
    /// Whether the row at `from` was given out.
    past: bool,
}

impl Above<'_> {
    /// The lowest key that is still to come in any layer.
    fn next_key(&self, table: Table, prefix: &[u8]) -> Option<Vec<u8>> {
        let keys = self.layers.iter().filter_map(|l| l.first_key(table, &self.from, !self.past, prefix));
        keys.min().map(<[u8]>::to_vec)
    }
}

/// The newest word of the layers on a key: a sealed value, or that it is deleted.
fn in_layers<'a>(layers: &'a [Arc<Layer>], table: Table, key: &[u8]) -> Option<Option<&'a [u8]>> {
    if layers.is_empty() {
        return None;
    }
    let hash = key_hash(table, key);
    layers.iter().rev().find_map(|layer| layer.find(hash, table, key))
}

fn unsealed(table: Table, key: &[u8], stored: &[u8]) -> Result<Bytes, StorageError> {
    match unseal(table, key, stored) {
        Some(payload) => Ok(Bytes::copy_from_slice(payload)),
        None => Err(corrupt(table, key, "the checksum does not match")),
    }
}

impl Rows<'_> {
    /// Goes on at the first row at or after a key.
    pub(crate) fn seek(&mut self, key: &[u8]) {
        self.at.seek(key);
        self.fresh = true;
        if let Some(above) = &mut self.above {
            (above.from, above.past) = (key.to_vec(), false);
        }
    }

    /// The next row of disk and layers together.
    fn merged(&mut self) -> Result<Option<Row>, StorageError> {
        loop {
            let Some(above) = &self.above else { return self.row() };
            if !self.fresh
                && self.at.valid()
                && self.at.key().is_some_and(|key| key <= above.from.as_slice())
                && above.past
            {
                self.at.next();
                self.fresh = true;
            }
            let stored = self.at.key().filter(|key| key.starts_with(&self.prefix)).map(<[u8]>::to_vec);
            self.at.status().map_err(|e| read_error(self.table, e))?;
            let layered = above.next_key(self.table, &self.prefix);
            let on_disk = stored.as_ref().is_some_and(|key| layered.as_ref().is_none_or(|other| key <= other));
            let Some(key) = (if on_disk { stored } else { layered }) else { return Ok(None) };
            let payload = match in_layers(above.layers, self.table, &key) {
                Some(word) => word.map(|sealed| unsealed(self.table, &key, sealed)).transpose()?,
                None => self.at.value().map(|sealed| unsealed(self.table, &key, sealed)).transpose()?,
            };
            if on_disk {
                self.fresh = false;
            }
            if let Some(above) = &mut self.above {
                (above.from, above.past) = (key.clone(), true);
            }
            if let Some(payload) = payload {
                return Ok(Some((key, payload)));
            }
        }
    }

    fn row(&mut self) -> Result<Option<Row>, StorageError> {
        if !std::mem::take(&mut self.fresh) && self.at.valid() {
            self.at.next();
        }
        let Some((key, stored)) = self.at.item() else {
            return self.at.status().map(|()| None).map_err(|e| read_error(self.table, e));
        };
        if !key.starts_with(&self.prefix) {
            return Ok(None);
        }
        Ok(Some((key.to_vec(), unsealed(self.table, key, stored)?)))
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<Row, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.above.is_some() { self.merged().transpose() } else { self.row().transpose() }
    }
}

impl Reader for Snapshot {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        match in_layers(&self.0.layers, table, key) {
            Some(word) => word.map(|sealed| unsealed(table, key, sealed)).transpose(),
            None => self.0.database.get_at(table, key, &self.0.read),
        }
    }

    fn hash_fn(&self) -> HashFn {
        self.0.database.hash_fn
    }

    fn is_devnet(&self) -> bool {
        self.0.database.devnet
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("height", &self.head().height()).finish_non_exhaustive()
    }
}
