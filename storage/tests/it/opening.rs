use std::{fs, path::Path, thread, time::Duration};

use basalt_primitives::Height;
use basalt_storage::{
    Ledger, Reader as _, StorageError,
    tables::{LEDGER_FORMAT, Table, meta, seal},
};
use rocksdb::{DB, Options};

use crate::chain::{genesis, grow, open, options, spec};

/// The database as RocksDB sees it, for changes that the ledger would never make.
pub fn raw(path: &Path) -> DB {
    let names = DB::list_cf(&Options::default(), path).unwrap();
    DB::open_cf(&Options::default(), path, names).unwrap()
}

fn put(path: &Path, table: Table, key: &[u8], payload: &[u8]) {
    let db = raw(path);
    db.put_cf(db.cf_handle(table.name()).unwrap(), key, seal(table, key, payload)).unwrap();
}

#[test]
fn genesis_is_asked_for_only_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data").join("ledger");
    drop(open(&path).unwrap());
    let again = Ledger::open(&path, &spec(31337), &options(), || panic!("the genesis state is stored already"));
    assert_eq!(again.unwrap().head().hash(), spec(31337).genesis_block().hash());
}

#[test]
fn another_chain_is_refused_in_one_sentence_with_a_mend() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    let error = Ledger::open(dir.path(), &spec(1234), &options(), genesis).unwrap_err();
    assert!(matches!(error, StorageError::OtherChain { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("use the genesis file of that chain or another data directory"), "{text}");
    open(dir.path()).expect("the refusal changed nothing");
}

#[test]
fn newer_schemas_are_refused() {
    let newer: [(&[u8], u32); 2] = [(meta::FORMAT, LEDGER_FORMAT + 1), (&meta::schema(Table::Receipts), 2)];
    for (key, version) in newer {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path()).unwrap());
        put(dir.path(), Table::Meta, key, &version.to_be_bytes());
        let error = open(dir.path()).unwrap_err();
        assert!(matches!(error, StorageError::NewerSchema { .. }), "{error:?}");
        assert!(error.to_string().contains("run the newer version"), "{error}");
    }
}

#[test]
fn a_table_of_newer_software_is_refused_before_anything_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    raw(dir.path()).create_cf("of_the_future", &Options::default()).unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(&error, StorageError::NewerSchema { table, .. } if table == "of_the_future"), "{error:?}");
}

#[test]
fn the_database_is_closed_when_the_last_snapshot_is_gone() {
    let dir = tempfile::tempdir().expect("a directory");
    let ledger = open(dir.path()).expect("opens");
    let (closed, snapshot) = (ledger.closed(), ledger.snapshot());
    drop(ledger);
    assert!(!closed.wait(Duration::from_millis(20)), "a snapshot holds it open");
    let other = thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        drop(snapshot);
    });
    assert!(closed.wait(Duration::from_secs(60)));
    other.join().expect("no panic");
    open(dir.path()).expect("the lock is free at once");
}

#[test]
fn a_directory_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let held = open(dir.path()).unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(error, StorageError::Locked { .. }), "{error:?}");
    drop(held);
    open(dir.path()).unwrap();
}

#[test]
fn a_strangers_directory_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("thesis.txt"), "years of work").unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(error, StorageError::NotBasalt { .. }), "{error:?}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_strangers_rocksdb_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    DB::open_default(dir.path()).unwrap().put(b"theirs", b"1").unwrap();
    assert!(matches!(open(dir.path()), Err(StorageError::NotBasalt { .. })));
}

#[test]
fn a_creation_cut_short_is_finished_by_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    let marker = fs::read(dir.path().join("BASALT-LEDGER")).unwrap();
    for with_rocksdb in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("BASALT-LEDGER"), &marker).unwrap();
        if with_rocksdb {
            drop(DB::open_default(dir.path()).unwrap());
        }
        let ledger = open(dir.path()).unwrap();
        assert_eq!(grow(&ledger, 1)[0].block.height(), Height(1));
    }
}

#[test]
fn a_fresh_file_system_counts_as_empty() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("lost+found")).unwrap();
    open(dir.path()).unwrap();
}

#[test]
fn a_genesis_state_whose_root_is_not_its_tries_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let wrong = || {
        let mut state = genesis();
        state.root.0[0] ^= 1;
        state
    };
    let error = Ledger::open(dir.path(), &spec(31337), &options(), wrong).unwrap_err();
    assert!(matches!(error, StorageError::Genesis(_)), "{error:?}");
    let ledger = open(dir.path()).expect("nothing was stored");
    assert!(ledger.check_block(Height(0)).unwrap());
}

#[test]
fn a_disk_in_memory_outlives_the_ledger() {
    let memory = Some(basalt_storage::MemoryDisk::new().unwrap());
    let options = basalt_storage::OpenOptions { memory, ..options() };
    let dir = tempfile::tempdir().unwrap();
    let nowhere = dir.path();
    let ledger = Ledger::open(nowhere, &spec(31337), &options, genesis).unwrap();
    grow(&ledger, 3);
    let head = ledger.head().hash();
    drop(ledger);
    let again =
        Ledger::open(nowhere, &spec(31337), &options, || panic!("the genesis state is stored already")).unwrap();
    assert_eq!((again.head().height(), again.head().hash()), (Height(3), head), "what was committed is there");
    assert_eq!(fs::read_dir(nowhere).unwrap().count(), 0, "no file was written");
}
