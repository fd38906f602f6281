//! The journal: transactions that came by RPC, kept in a file so that a restart does not lose them.
//!
//! Only these: what peers brought, their owners' nodes have. The file begins with [`MAGIC`]; an entry is length (4, big-endian),
//! CRC-32 of the bytes (4), the transaction's encoding. A torn or damaged end is cut off with one warning; what stands before it
//! is kept. Appending is not synced: the journal survives the end of the process, and of the machine only what the system had
//! written by then; a transaction in the pool is a wish and not a promise. The file is bounded: it is written anew with what
//! still waits once the node has taken it in, and whenever it is twice as long as it was then.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use alloy_primitives::Bytes;

/// Below this many bytes the file is never written anew.
const SMALL: u64 = 4 << 20;
/// A longer entry cannot be a transaction that the pool would take.
const MAX_ENTRY: usize = 1 << 20;
const HEAD: usize = 8;
/// What the file begins with; the last digit is the version of the format.
const MAGIC: &[u8; 8] = b"BSLTMPJ1";
/// More than this is never read: the pool, written twice over, is far below.
const MAX_FILE: u64 = 1 << 30;

/// The open journal.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// Length after it was last written anew.
    fresh: u64,
}

impl Journal {
    /// Opens or makes the file; gives the transactions in it, oldest first.
    pub fn open(path: &Path) -> io::Result<(Self, Vec<Bytes>)> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut content = Vec::new();
        (&mut file).take(MAX_FILE).read_to_end(&mut content)?;
        let (entries, whole) = read(&content);
        let length = file.metadata()?.len();
        if (whole as u64) < length {
            tracing::warn!(
                "the end of {} is torn or damaged: {} transactions are kept, the last {} bytes are left out",
                path.display(),
                entries.len(),
                length - whole as u64
            );
            file.set_len(whole as u64)?;
        }
        file.seek(SeekFrom::End(0))?;
        if whole == 0 {
            file.write_all(MAGIC)?;
        }
        let bytes = whole.max(MAGIC.len()) as u64;
        Ok((Self { path: path.to_owned(), file, bytes, fresh: bytes }, entries))
    }

    /// Adds transactions.
    pub fn append<'a>(&mut self, raws: impl IntoIterator<Item = &'a Bytes>) -> io::Result<()> {
        let out = encode(raws);
        self.file.write_all(&out)?;
        self.bytes += out.len() as u64;
        Ok(())
    }

    /// Whether it should be written anew with what still waits.
    #[must_use]
    pub fn is_long(&self) -> bool {
        self.bytes > SMALL.max(2 * self.fresh)
    }

    /// Keeps these only. The old file stays until the new one is whole and on the disk.
    pub fn rewrite<'a>(&mut self, raws: impl IntoIterator<Item = &'a Bytes>) -> io::Result<()> {
        let (out, new) = ([MAGIC.to_vec(), encode(raws)].concat(), self.path.with_extension("new"));
        let mut file = File::create(&new)?;
        file.write_all(&out)?;
        file.sync_data()?;
        fs::rename(&new, &self.path)?;
        self.file = OpenOptions::new().append(true).open(&self.path)?;
        self.bytes = out.len() as u64;
        self.fresh = self.bytes;
        Ok(())
    }
}

fn encode<'a>(raws: impl IntoIterator<Item = &'a Bytes>) -> Vec<u8> {
    let mut out = Vec::new();
    for raw in raws.into_iter().filter(|r| r.len() <= MAX_ENTRY) {
        out.extend_from_slice(&(raw.len() as u32).to_be_bytes());
        out.extend_from_slice(&crc32fast::hash(raw).to_be_bytes());
        out.extend_from_slice(raw);
    }
    out
}

/// The entries, and how many bytes of the file are whole.
fn read(content: &[u8]) -> (Vec<Bytes>, usize) {
    if !content.starts_with(MAGIC) {
        return (Vec::new(), 0);
    }
    let (mut entries, mut at) = (Vec::new(), MAGIC.len());
    while let Some(entry) = entry(&content[at..]) {
        at += HEAD + entry.len();
        entries.push(Bytes::copy_from_slice(entry));
    }
    (entries, at)
}

fn entry(rest: &[u8]) -> Option<&[u8]> {
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok().filter(|n| (1..=MAX_ENTRY).contains(n))?;
    let entry = rest.get(..length)?;
    (crc32fast::hash(entry) == u32::from_be_bytes(*sum)).then_some(entry)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn raws(n: u8) -> Vec<Bytes> {
        (1..=n).map(|i| Bytes::from(vec![i; usize::from(i) * 10])).collect()
    }

    #[test]
    fn what_was_appended_is_there_after_a_restart_whatever_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let (mut journal, none) = Journal::open(&path).unwrap();
        assert!(none.is_empty());
        journal.append(&raws(3)).unwrap();
        journal.append(&raws(5)[3..]).unwrap();
        drop(journal);
        let whole = fs::read(&path).unwrap();
        assert_eq!(Journal::open(&path).unwrap().1, raws(5));
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let (mut journal, kept) = Journal::open(&path).unwrap();
            assert!(kept.len() < 5 && raws(5).starts_with(&kept), "cut at {cut}");
            journal.append(&raws(1)).unwrap();
            let after = [kept, raws(1)].concat();
            assert_eq!(Journal::open(&path).unwrap().1, after, "and it goes on after a cut at {cut}");
        }
    }

    #[test]
    fn a_flipped_bit_ends_the_journal_there_and_golden_bytes_hold() {
        let whole = [MAGIC.to_vec(), encode(&raws(3))].concat();
        assert_eq!(whole[..16], *b"BSLTMPJ1\x00\x00\x00\x0a\x50\xb0\xea\xb1");
        assert_eq!(read(&whole), (raws(3), whole.len()));
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let (entries, at) = read(&flipped);
            assert!(entries.len() < 3 && raws(3).starts_with(&entries) && at <= whole.len(), "bit {bit}");
            let intact = [8, 8 + 18, 8 + 18 + 28].iter().filter(|end| **end <= bit / 8).count();
            assert_eq!(entries.len(), intact.saturating_sub(1), "nothing before bit {bit} is lost");
        }
    }

    #[test]
    fn what_is_no_journal_is_replaced_and_hurts_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        for content in [&b"something else"[..], b"BSLTMPJ2", &[0; 100_000], &[0xff; 100]] {
            fs::write(&path, content).unwrap();
            let (mut journal, kept) = Journal::open(&path).unwrap();
            assert!(kept.is_empty());
            journal.append(&raws(2)).unwrap();
            assert_eq!(Journal::open(&path).unwrap().1, raws(2));
        }
    }

    #[test]
    fn it_is_written_anew_with_what_still_waits() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let (mut journal, _) = Journal::open(&path).unwrap();
        let large = vec![Bytes::from(vec![1; 600_000]); 8];
        assert!(!journal.is_long());
        journal.append(&large).unwrap();
        assert!(journal.is_long());
        journal.rewrite(&raws(2)).unwrap();
        assert!(!journal.is_long());
        journal.append(&raws(1)).unwrap();
        drop(journal);
        assert_eq!(Journal::open(&path).unwrap().1, [raws(2), raws(1)].concat());
    }
}
