//! Whatever is changed on the disk is found: by the checksum of the value, by a hash that binds it, or by RocksDB.

use std::{fs, path::Path};

use basalt_primitives::{Block, Bytes, CommitCertificate, Header, Height, Signature, U256, keccak256, state::TrieKey};
use basalt_proto::Codec as _;
use basalt_storage::{
    Ledger, LogQuery, Reader, SearchLimits, StorageError,
    tables::{CHECKSUM, Table, account_history_key, height_key, log_key, meta, seal, slot_history_key},
};
use rocksdb::IteratorMode;
use tempfile::TempDir;

use crate::{
    chain::{ALICE, CONTRACT, Made, grow, open},
    opening::raw,
};

fn grown() -> (TempDir, Vec<Made>) {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path()).unwrap();
    let made = grow(&ledger, 3);
    (dir, made)
}

/// Changes the stored bytes of a row.
fn change(path: &Path, table: Table, key: &[u8], change: impl FnOnce(&[u8]) -> Vec<u8>) {
    let db = raw(path);
    let cf = db.cf_handle(table.name()).unwrap();
    let stored = db.get_cf(cf, key).unwrap().expect("the row exists");
    db.put_cf(cf, key, change(&stored)).unwrap();
}

fn flip(path: &Path, table: Table, key: &[u8]) {
    change(path, table, key, |stored| {
        let mut flipped = stored.to_vec();
        // The middle of the payload, or the checksum of an empty one.
        let at = (CHECKSUM + (stored.len() - CHECKSUM) / 2).min(stored.len() - 1);
        flipped[at] ^= 0x10;
        flipped
    });
}

/// Replaces a payload and makes the checksum fit, as tampering would.
fn tamper(path: &Path, table: Table, key: &[u8], new: impl FnOnce(&[u8]) -> Vec<u8>) {
    change(path, table, key, |stored| seal(table, key, &new(&stored[CHECKSUM..])));
}

fn assert_corrupt<T: std::fmt::Debug>(result: Result<T, StorageError>, table: Table) {
    match result {
        Err(StorageError::Corrupt { table: found, .. }) => assert_eq!(found, table.name()),
        other => panic!("{table:?}: damage went unnoticed: {other:?}"),
    }
}

/// Reads everything there is.
fn read_all(ledger: &Ledger) -> Result<(), StorageError> {
    for height in (0..=ledger.head().height().0).map(Height) {
        ledger.check_block(height)?;
        ledger.storage(&CONTRACT, &U256::from(height.0))?;
        ledger.trie_node(&TrieKey { account: Some(keccak256(CONTRACT)), path: vec![height.0 as u8] })?;
    }
    ledger.account(&ALICE)?;
    for height in (0..ledger.head().height().0).map(Height) {
        let past = ledger.snapshot().state_at(height)?;
        past.account(&ALICE)?;
        past.storage(&CONTRACT, &U256::from(height.0))?;
        ledger.snapshot().changed(height)?;
        ledger.bloom(height)?;
    }
    let (limits, head) = (SearchLimits { logs: 1000, rows: 1000 }, ledger.head().height());
    for addresses in [vec![], vec![CONTRACT]] {
        ledger.snapshot().find_logs(&LogQuery { addresses, topics: Vec::new() }, Height(0), head, limits)?;
    }
    if let Some(contract) = ledger.account(&CONTRACT)? {
        ledger.code(&contract.code_hash)?;
    }
    Ok(())
}

#[test]
fn a_flipped_bit_in_any_table_is_found_and_named_when_the_row_is_read() {
    let (dir, made) = grown();
    let first = height_key(Height(1));
    let (hash, tx) = (made[0].block.hash(), made[0].tx_hashes[0]);
    let slot = basalt_storage::tables::slot_key(&CONTRACT, &U256::from(2));
    let node = TrieKey { account: Some(keccak256(CONTRACT)), path: vec![2] };
    let node_key = basalt_storage::tables::trie_key(&node);
    let code = keccak256(b"\x60\x00");
    let past_account = account_history_key(&ALICE, Height(2));
    let past_slot = slot_history_key(&CONTRACT, &U256::from(2), Height(2));
    let first_log = log_key(Height(1), 0);
    let index = [&[0], CONTRACT.as_slice(), &first].concat();
    let query = LogQuery { addresses: vec![CONTRACT], topics: Vec::new() };
    let limits = SearchLimits { logs: 100, rows: 100 };
    let logs = |l: &Ledger| l.snapshot().find_logs(&query, Height(1), Height(1), limits);
    let past = |l: &Ledger| l.snapshot().state_at(Height(1));
    type Read<'a> = Box<dyn Fn(&Ledger) -> Result<(), StorageError> + 'a>;
    let cases: Vec<(Table, &[u8], Read<'_>)> = vec![
        (Table::Headers, &first, Box::new(|l| l.header(Height(1)).map(drop))),
        (Table::Bodies, &first, Box::new(|l| l.block(Height(1)).map(drop))),
        (Table::Bodies, &first, Box::new(|l| l.certified_bytes(Height(1)).map(drop))),
        (Table::Certificates, &first, Box::new(|l| l.certificate(Height(1)).map(drop))),
        (Table::Heights, hash.as_slice(), Box::new(|l| l.block_by_hash(&hash).map(drop))),
        (Table::Outcomes, &first, Box::new(|l| l.outcome(Height(1)).map(drop))),
        (Table::Transactions, tx.as_slice(), Box::new(|l| l.tx_location(&tx).map(drop))),
        (Table::Receipts, &first, Box::new(|l| l.receipts(Height(1)).map(drop))),
        (Table::Accounts, ALICE.as_slice(), Box::new(|l| l.account(&ALICE).map(drop))),
        (Table::Slots, &slot, Box::new(|l| l.storage(&CONTRACT, &U256::from(2)).map(drop))),
        (Table::Code, code.as_slice(), Box::new(|l| l.code(&code).map(drop))),
        (Table::TrieNodes, &node_key, Box::new(|l| l.trie_node(&node).map(drop))),
        (Table::Changed, &first, Box::new(|l| l.snapshot().changed(Height(1)).map(drop))),
        (Table::AccountHistory, &past_account, Box::new(|l| past(l)?.account(&ALICE).map(drop))),
        (Table::SlotHistory, &past_slot, Box::new(|l| past(l)?.storage(&CONTRACT, &U256::from(2)).map(drop))),
        (Table::Blooms, &first, Box::new(|l| l.bloom(Height(1)).map(drop))),
        (Table::Logs, &first_log, Box::new(|l| logs(l).map(drop))),
        (Table::LogIndex, &index, Box::new(|l| logs(l).map(drop))),
        (Table::Meta, meta::LOG_INDEX, Box::new(|l| l.snapshot().logs_from().map(drop))),
        (Table::Meta, meta::HISTORY, Box::new(|l| past(l).map(drop))),
    ];
    for (table, key, read) in cases {
        flip(dir.path(), table, key);
        assert_corrupt(read(&open(dir.path()).expect("the head is whole")), table);
        flip(dir.path(), table, key);
    }
    read_all(&open(dir.path()).unwrap()).expect("every bit is back in place");
}

#[test]
fn a_skipped_list_with_a_flipped_bit_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path()).unwrap();
    grow(&ledger, 4); // the third has five transactions, so one is skipped
    drop(ledger);
    let key = height_key(Height(3));
    flip(dir.path(), Table::Skipped, &key);
    assert_corrupt(open(dir.path()).unwrap().skipped(Height(3)), Table::Skipped);
}

#[test]
fn a_ledger_whose_head_is_damaged_does_not_open() {
    let (dir, made) = grown();
    let head = height_key(Height(3));
    let hash = made[2].block.hash();
    let rows: [(Table, &[u8]); 9] = [
        (Table::Meta, meta::HEAD),
        (Table::Meta, meta::GENESIS),
        (Table::Meta, meta::FORMAT),
        (Table::Headers, &head),
        (Table::Bodies, &head),
        (Table::Certificates, &head),
        (Table::Outcomes, &head),
        (Table::Receipts, &head),
        (Table::Heights, hash.as_slice()),
    ];
    for (table, key) in rows {
        flip(dir.path(), table, key);
        assert_corrupt(open(dir.path()), table);
        flip(dir.path(), table, key);
    }
    flip(dir.path(), Table::TrieNodes, &[0]);
    assert_corrupt(open(dir.path()), Table::TrieNodes);
}

#[test]
fn tampering_with_fitting_checksums_is_found_by_hash() {
    let (dir, made) = grown();
    let path = dir.path();
    let first = height_key(Height(1));
    let case =
        |table, key: &[u8], new: &dyn Fn(&[u8]) -> Vec<u8>, read: &dyn Fn(&Ledger) -> Result<(), StorageError>| {
            let mut old = Vec::new();
            tamper(path, table, key, |payload| {
                old = payload.to_vec();
                new(payload)
            });
            assert_corrupt(read(&open(path).expect("the head is whole")), table);
            tamper(path, table, key, |_| old);
        };
    let header = |payload: &[u8]| {
        let mut header = Header::decode(payload.to_vec()).unwrap();
        header.gas_limit += 1;
        header.encode()
    };
    case(Table::Headers, &first, &header, &|l| l.header(Height(1)).map(drop));
    case(Table::Headers, &first, &header, &|l| l.block(Height(1)).map(drop));
    let body = |_: &[u8]| {
        let mut block: Block = made[0].block.block().clone();
        block.transactions.swap(0, 1);
        let header_field = 2 + block.header.encode().len() + 1;
        block.encode()[header_field..].to_vec()
    };
    case(Table::Bodies, &first, &body, &|l| l.check_block(Height(1)).map(drop));
    let signature = |payload: &[u8]| {
        let mut certificate = CommitCertificate::decode(payload.to_vec()).unwrap();
        certificate.signatures[0].signature = Signature([77; 64]);
        certificate.encode()
    };
    case(Table::Certificates, &first, &signature, &|l| l.certificate(Height(1)).map(drop));
    case(Table::Receipts, &first, &|_| Vec::new(), &|l| l.receipts(Height(1)).map(drop));
    let code = keccak256(b"\x60\x00");
    case(Table::Code, code.as_slice(), &|_| b"\x60\x01".to_vec(), &|l| l.code(&code).map(drop));
    let hash = made[0].block.hash();
    case(Table::Heights, hash.as_slice(), &|_| 2u64.to_be_bytes().to_vec(), &|l| l.block_by_hash(&hash).map(drop));
    let tx = made[0].tx_hashes[0];
    let elsewhere = |payload: &[u8]| {
        let mut location = payload.to_vec();
        location[11] ^= 1;
        location
    };
    case(Table::Transactions, tx.as_slice(), &elsewhere, &|l| l.check_block(Height(1)).map(drop));
    tamper(path, Table::TrieNodes, &[0], |_| b"another root node".to_vec());
    assert_corrupt(open(path), Table::TrieNodes);
}

#[test]
fn a_missing_row_of_a_block_is_found() {
    for table in [Table::Bodies, Table::Receipts, Table::Transactions, Table::Heights] {
        let (dir, made) = grown();
        let db = raw(dir.path());
        let key = match table {
            Table::Transactions => made[0].tx_hashes[0].to_vec(),
            Table::Heights => made[0].block.hash().to_vec(),
            _ => height_key(Height(1)).to_vec(),
        };
        db.delete_cf(db.cf_handle(table.name()).unwrap(), key).unwrap();
        drop(db);
        assert_corrupt(open(dir.path()).unwrap().check_block(Height(1)), table);
    }
}

#[test]
fn a_flipped_byte_in_any_table_file_is_found() {
    let (dir, _) = grown();
    let db = raw(dir.path());
    for table in Table::ALL {
        db.flush_cf(db.cf_handle(table.name()).unwrap()).unwrap();
    }
    drop(db);
    let names = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let tables: Vec<_> = names.filter(|n| n.ends_with(".sst")).collect();
    assert!(tables.len() >= 11, "{tables:?}");
    for file in tables {
        let copy = copied(dir.path());
        let mut bytes = fs::read(copy.path().join(&file)).unwrap();
        bytes[8] ^= 1;
        fs::write(copy.path().join(&file), bytes).unwrap();
        let found = open(copy.path()).and_then(|ledger| read_all(&ledger));
        assert!(matches!(found, Err(StorageError::Corrupt { .. })), "{file}: {found:?}");
    }
}

/// A crash, or a disk that lied about syncing, can lose the end of the log. What is left is a whole earlier ledger.
#[test]
fn a_log_cut_anywhere_leaves_a_whole_earlier_block() {
    let (dir, made) = grown();
    let log = only_log(dir.path());
    let length = fs::metadata(dir.path().join(&log)).unwrap().len();
    let genesis_only = length / 10;
    let mut heights = Vec::new();
    for cut in (genesis_only..length).step_by((length as usize / 12).max(1)) {
        let copy = copied(dir.path());
        fs::File::options().write(true).open(copy.path().join(&log)).unwrap().set_len(cut).unwrap();
        let ledger = open(copy.path()).unwrap();
        read_all(&ledger).unwrap();
        heights.push(ledger.head().height().0);
        let made = grow(&ledger, 1);
        assert_eq!(made[0].block.height(), ledger.head().height(), "and the chain goes on");
    }
    assert!(heights.is_sorted() && heights.iter().all(|h| *h < made.len() as u64 + 1), "{heights:?}");
    assert!(heights.first() < heights.last(), "{heights:?}");
}

/// The write-ahead log that holds the commits.
fn only_log(path: &Path) -> String {
    let names = fs::read_dir(path).unwrap().map(|e| e.unwrap());
    let logs = names.filter(|e| e.path().extension().is_some_and(|x| x == "log"));
    let longest = logs.max_by_key(|e| e.metadata().unwrap().len()).unwrap();
    longest.file_name().into_string().unwrap()
}

fn copied(path: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

#[test]
fn every_stored_value_carries_a_fitting_checksum() {
    let (dir, _) = grown();
    let db = raw(dir.path());
    for table in Table::ALL {
        for row in db.iterator_cf(db.cf_handle(table.name()).unwrap(), IteratorMode::Start) {
            let (key, stored) = row.unwrap();
            assert!(basalt_storage::tables::unseal(table, &key, &stored).is_some(), "{table:?} {:?}", Bytes::from(key));
        }
    }
}
