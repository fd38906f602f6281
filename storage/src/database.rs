//! RocksDB behind the tables: opening, checked reads, snapshots.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use basalt_primitives::{Bytes, HashFn};
use rocksdb::{ColumnFamily, DB, ErrorKind, ReadOptions, SnapshotWithThreadMode, WriteBatch};

use crate::{
    OpenOptions, StorageError,
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
}

impl Database {
    /// Opens all tables. With `create`, makes what is missing.
    pub fn open(path: &Path, hash_fn: HashFn, options: &OpenOptions, create: bool) -> Result<Self, StorageError> {
        let database = options.database(create);
        if !create {
            refuse_unknown_tables(path, &database)?;
        }
        let db = DB::open_cf_descriptors(&database, path, options.tables()).map_err(|e| open_error(path, e))?;
        Ok(Self { db, path: path.to_owned(), hash_fn })
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
    _snapshot: SnapshotWithThreadMode<'static, DB>,
    database: Arc<Database>,
    head: Arc<Head>,
}

impl Snapshot {
    /// The state of the database now, which must be the one `head` describes.
    pub(crate) fn new(database: Arc<Database>, head: Arc<Head>) -> Self {
        // SAFETY: the snapshot refers to `database.db`, which lives behind an `Arc` held in the same struct: it neither
        // moves nor is dropped before the snapshot, which is declared, and so dropped, first. It is never handed out.
        let snapshot = unsafe {
            std::mem::transmute::<SnapshotWithThreadMode<'_, DB>, SnapshotWithThreadMode<'static, DB>>(
                database.db.snapshot(),
            )
        };
        let mut read = ReadOptions::default();
        read.set_snapshot(&snapshot);
        Self(Arc::new(View { read, _snapshot: snapshot, database, head }))
    }

    /// The newest block at that moment.
    #[must_use]
    pub fn head(&self) -> Arc<Head> {
        Arc::clone(&self.0.head)
    }

    pub(crate) fn database(&self) -> &Arc<Database> {
        &self.0.database
    }
}

impl Reader for Snapshot {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.0.database.get_at(table, key, &self.0.read)
    }

    fn hash_fn(&self) -> HashFn {
        self.0.database.hash_fn
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("height", &self.0.head.height()).finish_non_exhaustive()
    }
}
