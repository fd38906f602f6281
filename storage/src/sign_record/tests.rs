use tempfile::TempDir;

use super::*;

fn dir() -> TempDir {
    tempfile::tempdir().expect("temporary directory")
}

fn records(dir: &Path) -> Result<Vec<Vec<u8>>, StorageError> {
    let (_, records) = SignRecord::open(dir)?.expect("there is a record");
    Ok(records.into_iter().map(|r| r.to_vec()).collect())
}

/// A record of three entries; the bytes of its file and where the last entry starts.
fn three(dir: &Path) -> (Vec<u8>, usize) {
    let mut record = SignRecord::create(dir, b"first").expect("created");
    record.append(&[7; 700]).expect("appended");
    let last = record.length() as usize;
    record.append(b"the last entry").expect("appended");
    (fs::read(dir.join(FILE_NAME)).expect("readable"), last)
}

fn put(dir: &Path, bytes: &[u8]) {
    fs::write(dir.join(FILE_NAME), bytes).expect("writable");
}

#[test]
fn golden_file() {
    let dir = dir();
    drop(SignRecord::create(dir.path(), b"abc").expect("created"));
    let file = fs::read(dir.path().join(FILE_NAME)).expect("readable");
    let hex = Bytes::from(file).to_string();
    assert_eq!(hex, "0x424153414c542d5349474e000000000100000003352441c263624883616263e5");
}

#[test]
fn survives_reopening_and_appends_go_on() {
    let dir = dir();
    assert!(SignRecord::open(dir.path()).expect("readable").is_none());
    three(dir.path());
    let (mut record, old) = SignRecord::open(dir.path()).expect("opens").expect("exists");
    assert_eq!(old.len(), 3);
    record.append(b"fourth").expect("appended");
    drop(record);
    assert_eq!(records(dir.path()).expect("opens")[3], b"fourth");
}

#[test]
fn a_second_creation_is_refused() {
    let dir = dir();
    drop(SignRecord::create(dir.path(), b"first").expect("created"));
    let again = SignRecord::create(dir.path(), b"other");
    assert!(matches!(again, Err(StorageError::SignRecordExists { .. })), "{again:?}");
    assert_eq!(records(dir.path()).expect("opens"), [b"first"]);
}

#[test]
fn two_users_at_once_are_refused() {
    let dir = dir();
    let mut held = SignRecord::create(dir.path(), b"first").expect("created");
    let second = SignRecord::open(dir.path());
    assert!(matches!(second, Err(StorageError::Locked { .. })), "{second:?}");
    held.rewrite(&[Bytes::from_static(b"kept")]).expect("rewritten");
    assert!(matches!(SignRecord::open(dir.path()), Err(StorageError::Locked { .. })), "still locked after a rewrite");
    drop(held);
    assert_eq!(records(dir.path()).expect("opens"), [b"kept"]);
}

#[test]
fn a_last_entry_torn_at_any_byte_is_cut_off() {
    let dir = dir();
    let (file, last) = three(dir.path());
    for cut in last..file.len() {
        put(dir.path(), &file[..cut]);
        assert_eq!(records(dir.path()).expect("torn tail is tolerated").len(), 2, "cut at {cut}");
        assert_eq!(fs::metadata(dir.path().join(FILE_NAME)).expect("exists").len(), last as u64, "cut at {cut}");

        let mut zeroed = file.clone();
        zeroed[cut..].fill(0);
        put(dir.path(), &zeroed);
        assert_eq!(records(dir.path()).expect("unwritten tail is tolerated").len(), 2, "zero from {cut}");
    }
}

#[test]
fn appending_after_a_torn_tail_gives_a_whole_file() {
    let dir = dir();
    let (file, _) = three(dir.path());
    put(dir.path(), &file[..file.len() - 5]);
    let (mut record, _) = SignRecord::open(dir.path()).expect("opens").expect("exists");
    record.append(b"again").expect("appended");
    drop(record);
    assert_eq!(records(dir.path()).expect("opens")[2], b"again");
}

#[test]
fn every_flipped_bit_is_found() {
    let dir = dir();
    let (file, _) = three(dir.path());
    let path = dir.path().join(FILE_NAME);
    assert_eq!(parse(&path, &file).expect("whole").records.len(), 3);
    for bit in 0..file.len() * 8 {
        let mut flipped = file.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let parsed = parse(&path, &flipped);
        let refused = matches!(parsed, Err(StorageError::CorruptSignRecord { .. } | StorageError::NewerSchema { .. }));
        assert!(refused, "bit {bit}");
    }
}

#[test]
fn a_zeroed_sector_before_a_whole_entry_is_damage_and_no_torn_tail() {
    let dir = dir();
    let mut record = SignRecord::create(dir.path(), b"first").expect("created");
    for _ in 0..4 {
        record.append(&[9; 600]).expect("appended");
    }
    drop(record);
    let mut file = fs::read(dir.path().join(FILE_NAME)).expect("readable");
    // Covers the header of the third entry, at byte 16 + 18 + 613.
    file[512..1024].fill(0);
    put(dir.path(), &file);
    assert!(matches!(records(dir.path()), Err(StorageError::CorruptSignRecord { .. })));
}

#[test]
fn rewriting_keeps_what_is_asked_and_a_leftover_of_a_crash_is_harmless() {
    let dir = dir();
    let mut record = SignRecord::create(dir.path(), b"first").expect("created");
    for i in 0..50u8 {
        record.append(&[i; 100]).expect("appended");
    }
    let before = record.length();
    record.rewrite(&[Bytes::from(vec![48; 100]), Bytes::from(vec![49; 100])]).expect("rewritten");
    assert!(record.length() < before / 10);
    record.append(b"after").expect("appended");
    drop(record);
    fs::write(dir.path().join("sign-record.new"), b"half a fi").expect("writable");
    assert_eq!(records(dir.path()).expect("opens"), [&[48; 100][..], &[49; 100], b"after"]);
}

#[test]
fn empty_entries_are_refused() {
    let dir = dir();
    assert!(matches!(SignRecord::create(dir.path(), b""), Err(StorageError::RecordLength { .. })));
    assert!(SignRecord::open(dir.path()).expect("readable").is_none());
}

#[test]
fn a_newer_format_is_refused() {
    let dir = dir();
    let (mut file, _) = three(dir.path());
    file[15] = 2;
    put(dir.path(), &file);
    assert!(matches!(records(dir.path()), Err(StorageError::NewerSchema { found: 2, .. })));
}
