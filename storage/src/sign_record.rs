//! The sign record: what a validator must remember of its own votes, so that it never contradicts them after a crash.
//!
//! An append-only file of its own, because a vote must be durable before it leaves and must not wait for a block's
//! commit. What a record means is the engine's business; here it is bytes. `basalt network create` and `basalt node init`
//! make the file; a node only ever opens it, because a node that made a new one would forget what its key has signed.
//!
//! File: [`HEADER`], then frames. A frame is length 4, checksum of the payload 4, checksum of the frame's place and the
//! eight bytes before 4 (all big-endian), the payload, and [`END`]. Every append is synced before the next begins, so a
//! crash leaves at most one unfinished frame, at the end: that one is cut off, since nothing can have left on the strength
//! of it. Damage anywhere else may hide a vote that did leave, and is an error that only an operator can mend.
//!
//! Order of opening: first [`crate::Ledger`], whose lock covers the data directory, then the sign record, whose own lock
//! file covers the case of two ledgers with one record.

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use basalt_primitives::Bytes;

use crate::{StorageError, database::io_error, ledger::sync_directory};

/// Name of the file.
pub const FILE_NAME: &str = "sign-record";
/// Most bytes of one record: a block body and a certificate fit well within.
pub const MAX_RECORD: usize = 64 << 20;
/// Start of the file: name and version of the format.
pub const HEADER: &[u8; 16] = b"BASALT-SIGN\0\0\0\0\x01";
/// Last byte of every frame. Not zero, so that a frame whose end was never written is told from a damaged one.
pub const END: u8 = 0xe5;

const NAME_LENGTH: usize = 12;
const FRAME_HEADER: usize = 12;
const SECTOR: usize = 512;

/// The open sign record of one validator key.
#[derive(Debug)]
pub struct SignRecord {
    file: File,
    path: PathBuf,
    length: u64,
    /// A write failed, so what the file holds is not known.
    failed: bool,
    /// Locked for as long as this lives.
    _lock: File,
}

impl SignRecord {
    /// Makes the record of a new key, holding `initial`. Refuses when there is one already.
    pub fn create(dir: &Path, initial: &[u8]) -> Result<Self, StorageError> {
        let lock = lock(dir)?;
        let path = dir.join(FILE_NAME);
        if path.try_exists().map_err(io_error("look for", &path))? {
            return Err(StorageError::SignRecordExists { path });
        }
        let (file, length) = replace(&path, &[initial])?;
        Ok(Self { file, path, length, failed: false, _lock: lock })
    }

    /// Opens the record and gives its entries, oldest first; `None` when this directory has none. An unfinished entry at
    /// the end, left by a crash, is cut off.
    pub fn open(dir: &Path) -> Result<Option<(Self, Vec<Bytes>)>, StorageError> {
        let path = dir.join(FILE_NAME);
        if !path.try_exists().map_err(io_error("look for", &path))? {
            return Ok(None);
        }
        let lock = lock(dir)?;
        let bytes = fs::read(&path).map_err(io_error("read", &path))?;
        let parsed = parse(&path, &bytes)?;
        let file = File::options().write(true).open(&path).map_err(io_error("open", &path))?;
        let length = parsed.end as u64;
        if parsed.end < bytes.len() {
            tracing::warn!(
                path = %path.display(),
                bytes = bytes.len() - parsed.end,
                "cut off an unfinished entry at the end of the sign record, left by a crash before its vote was sent"
            );
            file.set_len(length).and_then(|()| file.sync_all()).map_err(io_error("cut the end of", &path))?;
        }
        Ok(Some((Self { file, path, length, failed: false, _lock: lock }, parsed.records)))
    }

    /// Appends an entry and returns when it is on the disk. After an error nothing more is accepted.
    pub fn append(&mut self, record: &[u8]) -> Result<(), StorageError> {
        self.usable()?;
        let mut bytes = Vec::with_capacity(FRAME_HEADER + record.len() + 1);
        put_frame(&mut bytes, self.length, record)?;
        self.failed = true;
        let written = self.file.write_all_at(&bytes, self.length).and_then(|()| self.file.sync_data());
        written.map_err(io_error("append to", &self.path))?;
        self.length += bytes.len() as u64;
        self.failed = false;
        Ok(())
    }

    /// Replaces all entries by `keep`, at once: a crash leaves either the old file or the new one.
    pub fn rewrite(&mut self, keep: &[Bytes]) -> Result<(), StorageError> {
        self.usable()?;
        self.failed = true;
        let keep: Vec<&[u8]> = keep.iter().map(|b| &b[..]).collect();
        (self.file, self.length) = replace(&self.path, &keep)?;
        self.failed = false;
        Ok(())
    }

    /// Bytes of the file: what tells when to [`rewrite`](Self::rewrite) it.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    fn usable(&self) -> Result<(), StorageError> {
        if self.failed { Err(StorageError::SignRecordFailed { path: self.path.clone() }) } else { Ok(()) }
    }
}

/// Takes the directory's sign-record lock. The lock file is never replaced, so it holds across a rewrite.
fn lock(dir: &Path) -> Result<File, StorageError> {
    let path = dir.join(format!("{FILE_NAME}.lock"));
    let options = File::options().create(true).truncate(false).write(true).open(&path);
    let file = options.map_err(io_error("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StorageError::Locked { path: dir.join(FILE_NAME) }),
        Err(TryLockError::Error(e)) => Err(io_error("lock", &path)(e)),
    }
}

/// Writes a whole new file beside the record and puts it in its place.
fn replace(path: &Path, records: &[&[u8]]) -> Result<(File, u64), StorageError> {
    let mut bytes = HEADER.to_vec();
    for record in records {
        let place = bytes.len() as u64;
        put_frame(&mut bytes, place, record)?;
    }
    let fresh = path.with_extension("new");
    let write = || -> io::Result<File> {
        let file = File::options().create(true).truncate(true).write(true).open(&fresh)?;
        file.write_all_at(&bytes, 0)?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        Ok(file)
    };
    let file = write().map_err(io_error("replace", path))?;
    sync_directory(path.parent().expect("the record is in a directory"))?;
    Ok((file, bytes.len() as u64))
}

fn put_frame(out: &mut Vec<u8>, place: u64, record: &[u8]) -> Result<(), StorageError> {
    if record.is_empty() || record.len() > MAX_RECORD {
        return Err(StorageError::RecordLength { length: record.len(), max: MAX_RECORD });
    }
    let mut fields = [0; 8];
    fields[..4].copy_from_slice(&u32::try_from(record.len()).expect("bounded above").to_be_bytes());
    fields[4..].copy_from_slice(&crc32fast::hash(record).to_be_bytes());
    out.extend_from_slice(&fields);
    out.extend_from_slice(&header_checksum(place, &fields).to_be_bytes());
    out.extend_from_slice(record);
    out.push(END);
    Ok(())
}

/// Binds a frame to its place, so that no copied bytes pass for a frame elsewhere.
fn header_checksum(place: u64, fields: &[u8; 8]) -> u32 {
    let mut h = crc32fast::Hasher::new();
    h.update(&place.to_be_bytes());
    h.update(fields);
    h.finalize()
}

struct Parsed {
    records: Vec<Bytes>,
    /// Where the whole frames end.
    end: usize,
}

enum Frame<'a> {
    Whole(&'a [u8]),
    /// The file ends before the frame does.
    Short,
    /// The frame's header is not one.
    BadHeader,
    /// The header is whole, the rest is not; the frame ends at this place.
    BadPayload(usize),
}

fn frame(bytes: &[u8], place: usize) -> Frame<'_> {
    let rest = &bytes[place..];
    let Some((header, rest)) = rest.split_first_chunk::<FRAME_HEADER>() else { return Frame::Short };
    let [l0, l1, l2, l3, c0, c1, c2, c3, h0, h1, h2, h3] = *header;
    let fields = [l0, l1, l2, l3, c0, c1, c2, c3];
    let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
    let sum_matches = header_checksum(place as u64, &fields) == u32::from_be_bytes([h0, h1, h2, h3]);
    if !sum_matches || length == 0 || length > MAX_RECORD {
        return Frame::BadHeader;
    }
    match rest.split_at_checked(length) {
        Some((payload, [END, ..])) if crc32fast::hash(payload) == u32::from_be_bytes([c0, c1, c2, c3]) => {
            Frame::Whole(payload)
        }
        None | Some((_, [])) => Frame::Short,
        Some(_) => Frame::BadPayload(place + FRAME_HEADER + length + 1),
    }
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Parsed, StorageError> {
    check_header(path, bytes)?;
    let mut records = Vec::new();
    let mut place = HEADER.len();
    while place < bytes.len() {
        let torn = match frame(bytes, place) {
            Frame::Whole(payload) => {
                records.push(Bytes::copy_from_slice(payload));
                place += FRAME_HEADER + payload.len() + 1;
                continue;
            }
            Frame::Short => true,
            Frame::BadHeader => never_written(bytes, place) && !frame_follows(bytes, place),
            Frame::BadPayload(end) => end == bytes.len() && never_written(bytes, place),
        };
        if torn {
            break;
        }
        let problem = "an entry does not match its checksum".to_owned();
        return Err(StorageError::CorruptSignRecord { path: path.to_owned(), offset: place as u64, problem });
    }
    Ok(Parsed { records, end: place })
}

fn check_header(path: &Path, bytes: &[u8]) -> Result<(), StorageError> {
    let found = bytes.get(..HEADER.len());
    if found == Some(HEADER) {
        return Ok(());
    }
    let version =
        found.filter(|f| f[..NAME_LENGTH] == HEADER[..NAME_LENGTH]).and_then(|f| f[NAME_LENGTH..].try_into().ok());
    Err(match version.map(u32::from_be_bytes) {
        Some(found @ 2..) => {
            StorageError::NewerSchema { path: path.to_owned(), table: FILE_NAME.to_owned(), found, supported: 1 }
        }
        _ => {
            let problem = "it does not start as a sign record does".to_owned();
            StorageError::CorruptSignRecord { path: path.to_owned(), offset: 0, problem }
        }
    })
}

/// Whether the end of the file looks as if its bytes never reached the disk: file systems show such parts as zeros, at the
/// end or in whole sectors. A frame that was written in full ends in [`END`].
fn never_written(bytes: &[u8], from: usize) -> bool {
    let first_sector = from.next_multiple_of(SECTOR).min(bytes.len());
    bytes.last() == Some(&0) || bytes[first_sector..].chunks_exact(SECTOR).any(|s| s.iter().all(|b| *b == 0))
}

/// Whether a frame starts anywhere behind this place: then what is damaged here was not the last entry.
fn frame_follows(bytes: &[u8], place: usize) -> bool {
    (place + 1..bytes.len()).any(|p| !matches!(frame(bytes, p), Frame::BadHeader | Frame::Short))
}

#[cfg(test)]
mod tests;
