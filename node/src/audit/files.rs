//! The files of an audit log: `audit/00000001.jsonl`, `00000002.jsonl`, … below the data directory, written one after the other.
//! Here they are found, locked, and read from a known place on, so that several processes can append in turn.

use std::{
    fs::{self, DirBuilder, File, TryLockError},
    io::{self, BufRead as _, BufReader, Seek as _, SeekFrom},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{AuditError, Entry, Head, MAX_LINE};

/// Folder of the files, below the data directory.
pub const FOLDER: &str = "audit";
/// What logs of the first version were called: one file, without hashes.
pub const OLD_FILE: &str = "audit.log";

const LOCK: &str = "lock";
const EXTENSION: &str = "jsonl";
/// How long another process may hold the lock: an append is one write and one sync.
const LOCK_WITHIN: Duration = Duration::from_secs(10);
const LOCK_AGAIN: Duration = Duration::from_millis(5);

/// The files there are, by their numbers.
pub fn listed(data_dir: &Path) -> io::Result<Vec<(u32, PathBuf)>> {
    let folder = data_dir.join(FOLDER);
    let all = match fs::read_dir(&folder) {
        Ok(all) => all,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut files = Vec::new();
    for item in all {
        let path = item?.path();
        let stem = path.file_stem().and_then(|s| s.to_str()).filter(|s| s.len() == 8);
        let ours = path.extension().is_some_and(|e| e == EXTENSION);
        if let Some(number) = stem.filter(|_| ours).and_then(|s| s.parse().ok()) {
            files.push((number, path));
        }
    }
    files.sort();
    Ok(files)
}

/// The path of a file by its number.
pub(super) fn path_of(data_dir: &Path, number: u32) -> PathBuf {
    data_dir.join(FOLDER).join(name_of(number))
}

/// The name of a file by its number.
pub(super) fn name_of(number: u32) -> String {
    format!("{number:08}.{EXTENSION}")
}

/// Makes the folder, for its owner alone.
pub(super) fn make_folder(data_dir: &Path) -> Result<PathBuf, AuditError> {
    let folder = data_dir.join(FOLDER);
    let failed = |source| AuditError::Write { path: folder.clone(), source };
    if !folder.is_dir() {
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed)?;
        sync(data_dir).map_err(failed)?;
    }
    Ok(folder)
}

/// Syncs a folder, so that what was made in it or taken from it stays so.
pub(super) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes the next file; it must not be there.
pub(super) fn create(path: &Path) -> io::Result<File> {
    File::options().create_new(true).write(true).mode(0o600).open(path)
}

/// The lock of the folder, held until it is dropped.
pub(super) fn lock(folder: &Path) -> Result<File, AuditError> {
    let path = folder.join(LOCK);
    let failed = |source| AuditError::Write { path: path.clone(), source };
    let file = File::options().create(true).truncate(false).write(true).mode(0o600).open(&path).map_err(failed)?;
    let deadline = Instant::now() + LOCK_WITHIN;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(LOCK_AGAIN),
            Err(TryLockError::WouldBlock) => return Err(AuditError::Busy(folder.to_owned())),
            Err(TryLockError::Error(e)) => return Err(failed(e)),
        }
    }
}

/// What stands in a file from a known place on.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Where its whole entries end.
    pub end: u64,
    /// Bytes behind that which are no whole line: an append that a crash cut off.
    pub torn: u64,
    /// The newest entry.
    pub last: Option<Entry>,
    /// What does not follow from what was before; nothing behind it counts.
    pub damage: Option<String>,
    /// The acts that were read, in order.
    pub entries: u64,
}

/// Reads a file from a place on. `before` is the entry that its first one must follow; `None` takes the first as it is.
pub(super) fn scan(path: &Path, from: u64, before: Option<Head>, mut seen: impl FnMut(&Entry)) -> io::Result<Scan> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut reader = BufReader::new(file);
    let mut scan = Scan { end: from, ..Scan::default() };
    let mut head = before;
    let mut line = Vec::new();
    loop {
        line.clear();
        // No longer than any entry, whatever the file holds.
        let read = io::Read::take(&mut reader, MAX_LINE as u64 + 1).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(scan);
        }
        if line.pop() != Some(b'\n') {
            let rest = fs::metadata(path)?.len().saturating_sub(scan.end);
            if read > MAX_LINE {
                scan.damage = Some("a line is longer than any entry".into());
            }
            scan.torn = rest;
            return Ok(scan);
        }
        let entry = std::str::from_utf8(&line).map_err(|_| "a line is no text".to_owned()).and_then(Entry::read);
        let entry = entry.and_then(|e| match head {
            Some(h) if e.prev != h.hash || e.seq != h.seq + 1 => {
                Err(format!("entry {} does not follow {}", e.seq, h.seq))
            }
            _ => Ok(e),
        });
        match entry {
            Ok(entry) => {
                seen(&entry);
                head = Some(entry.head());
                scan.end += read as u64;
                scan.entries += 1;
                scan.last = Some(entry);
            }
            Err(problem) => {
                scan.damage = Some(problem);
                return Ok(scan);
            }
        }
    }
}
