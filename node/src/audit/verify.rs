//! Verifies a log: every entry's hash and signature, that each follows the one before, that no file is missing but those which
//! later entries say were removed, and that the log of an earlier version is still what it was.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
};

use basalt_primitives::{B256, HashFn, PublicKey};
use serde::Serialize;

use super::{Entry, Handover, Head, MAX_LINE, anchor::Anchor, files};

/// What is wrong, and where.
#[derive(Debug, thiserror::Error)]
#[error("{}{}: {problem}", file.display(), line.map_or_else(String::new, |l| format!(", line {l}")))]
pub struct Broken {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: Option<u64>,
    /// In words, with the entry's number.
    pub problem: String,
}

impl Broken {
    /// Whether all that is wrong is a last line without an end, as a running node leaves it for a moment.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        self.problem == UNFINISHED
    }
}

/// What a log that is in order holds.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Files.
    pub files: usize,
    /// Entries.
    pub entries: u64,
    /// Number of the first one that is here.
    pub first: u64,
    /// Number of the newest.
    pub last: u64,
    /// Hash of the newest.
    pub head: B256,
    /// When the newest was written, in milliseconds since the Unix epoch.
    pub last_ms: u64,
    /// Whose signatures they carry.
    pub keys: Vec<PublicKey>,
    /// Whether a key was named that they were to be by, or the signatures only agree with each other.
    pub keys_known: bool,
    /// Files that were removed because of their age.
    pub removed: u64,
    /// Entries by act.
    pub acts: BTreeMap<String, u64>,
    /// Anchors that the entries speak of.
    #[serde(skip)]
    pub anchors: Vec<Anchor>,
}

/// What is gathered while reading.
struct Chain {
    report: Report,
    head: Option<Head>,
    /// The entry before the first that is here: its number and hash, to be explained by a removal.
    before: Option<Head>,
    removed: BTreeSet<(u64, B256)>,
    signers: BTreeMap<PublicKey, (PathBuf, u64, u64)>,
    handovers: Vec<Handover>,
    /// What the newest entry promises: a next file.
    closed: bool,
}

/// Verifies the log of a data directory. `trusted` are the keys that may have signed; without any, those found are only reported.
pub fn directory(data_dir: &Path, trusted: &[PublicKey]) -> Result<Report, Broken> {
    let folder = data_dir.join(files::FOLDER);
    let all = files::listed(data_dir).map_err(|e| at(&folder, None, format!("cannot be read: {e}")))?;
    if all.is_empty() {
        return Err(at(&folder, None, "there is no audit log here: no entry is left of it, if there ever was one"));
    }
    let mut chain = Chain::new();
    for (i, (number, path)) in all.iter().enumerate() {
        if i > 0 && *number != all[i - 1].0 + 1 {
            let missing = files::name_of(all[i - 1].0 + 1);
            let after = chain.report.last;
            return Err(at(&folder, None, format!("the file {missing} is missing: entries after {after}")));
        }
        chain.file(path)?;
    }
    if chain.closed {
        let (after, missing) = (chain.report.last, files::name_of(all[all.len() - 1].0 + 1));
        return Err(at(&folder, None, format!("the file {missing} is missing: entries after {after}")));
    }
    chain.check_beginning(&folder)?;
    chain.check_keys(trusted)?;
    check_earlier(data_dir, &all[0].1)?;
    chain.report.files = all.len();
    Ok(chain.report)
}

/// Verifies one file of entries, such as an export of a whole log.
pub fn file(path: &Path, trusted: &[PublicKey]) -> Result<Report, Broken> {
    let mut chain = Chain::new();
    chain.file(path)?;
    if chain.report.entries == 0 {
        return Err(at(path, None, "it holds no entry"));
    }
    chain.check_beginning(path)?;
    chain.check_keys(trusted)?;
    chain.report.files = 1;
    Ok(chain.report)
}

/// Reads entries one after the other, without judging how they follow each other.
pub fn each(path: &Path, mut take: impl FnMut(u64, &str) -> Result<(), Broken>) -> Result<(), Broken> {
    let failed = |e: std::io::Error| at(path, None, format!("cannot be read: {e}"));
    let mut reader = BufReader::new(File::open(path).map_err(failed)?);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let read = reader.by_ref().take(MAX_LINE as u64 + 2).read_until(b'\n', &mut line).map_err(failed)?;
        if read == 0 {
            break;
        }
        if line.pop() != Some(b'\n') {
            let problem = if read > MAX_LINE { "it is longer than any entry" } else { UNFINISHED };
            return Err(at(path, Some(number), problem));
        }
        let text = std::str::from_utf8(&line).map_err(|_| at(path, Some(number), "it is no text"))?;
        take(number, text)?;
    }
    Ok(())
}

const UNFINISHED: &str = "the entry is unfinished: cut off by a crash or by hand. Nothing was done on its strength; the node cuts it \
                          off when it starts, and says so";

impl Chain {
    fn new() -> Self {
        Self {
            report: Report::default(),
            head: None,
            before: None,
            removed: BTreeSet::new(),
            signers: BTreeMap::new(),
            handovers: Vec::new(),
            closed: false,
        }
    }

    fn file(&mut self, path: &Path) -> Result<(), Broken> {
        each(path, |line, text| {
            let entry =
                Entry::read(text).map_err(|e| at(path, Some(line), format!("{} is damaged: {e}", self.next())))?;
            self.entry(path, line, entry)
        })
    }

    /// What the next entry should be called.
    fn next(&self) -> String {
        self.head.map_or_else(|| "the first entry".into(), |h| format!("entry {}", h.seq + 1))
    }

    fn entry(&mut self, path: &Path, line: u64, entry: Entry) -> Result<(), Broken> {
        let wrong = |problem: String| Err(at(path, Some(line), problem));
        let seq = entry.seq;
        match self.head {
            None => {
                self.report.first = seq;
                self.before = seq.checked_sub(1).map(|seq| Head { seq, hash: entry.prev });
                if seq == 0 && entry.prev != B256::ZERO {
                    return wrong("entry 0 says that there was one before it".into());
                }
            }
            Some(h) if seq > h.seq + 1 => {
                return wrong(format!(
                    "entry {seq} follows entry {}: entries {} to {} are missing",
                    h.seq,
                    h.seq + 1,
                    seq - 1
                ));
            }
            Some(h) if seq != h.seq + 1 => {
                return wrong(format!("entry {seq} stands where entry {} should: moved or repeated", h.seq + 1));
            }
            Some(h) if entry.prev != h.hash => {
                return wrong(format!("entry {seq} does not follow this entry {}: one of them was replaced", h.seq));
            }
            Some(_) => {}
        }
        if !entry.is_signed() {
            return wrong(format!("entry {seq} is not signed by the key it names"));
        }
        if let Some(problem) = entry.text("damage") {
            return wrong(format!(
                "entry {seq} says that the file before it was damaged when the node found it: {problem}"
            ));
        }
        self.note(path, line, &entry);
        self.head = Some(entry.head());
        Ok(())
    }

    fn note(&mut self, path: &Path, line: u64, entry: &Entry) {
        self.signers.entry(entry.key).or_insert_with(|| (path.to_owned(), line, entry.seq));
        self.handovers.extend(Handover::of(entry));
        self.report.anchors.extend(Anchor::of(entry));
        self.closed = entry.act == "log-closed";
        if entry.act == "file-removed"
            && let (Some(seq), Some(hash)) = (entry.number("lastSeq"), entry.bytes32("lastHash"))
        {
            self.removed.insert((seq, B256::new(hash)));
            self.report.removed += 1;
        }
        let report = &mut self.report;
        report.entries += 1;
        (report.last, report.head, report.last_ms) = (entry.seq, entry.hash, entry.time_ms);
        *report.acts.entry(entry.act.clone()).or_default() += 1;
    }

    /// Entries before the first are missing, unless an entry says that they were removed.
    fn check_beginning(&self, place: &Path) -> Result<(), Broken> {
        let Some(before) = self.before else { return Ok(()) };
        if self.removed.contains(&(before.seq, before.hash)) {
            return Ok(());
        }
        Err(at(
            place,
            None,
            format!("entries 0 to {} are missing, and no entry says that they were removed", before.seq),
        ))
    }

    /// Every signer is one that is trusted, or is bound to one by handovers.
    fn check_keys(&mut self, trusted: &[PublicKey]) -> Result<(), Broken> {
        self.report.keys = self.signers.keys().copied().collect();
        self.report.keys_known = !trusted.is_empty();
        let mut known: BTreeSet<PublicKey> = trusted.iter().copied().collect();
        if known.is_empty() {
            // The first signer stands for all: others must be bound to it.
            let first = self.signers.iter().min_by_key(|(_, (.., seq))| *seq);
            known.extend(first.map(|(key, _)| *key));
        }
        while let Some(more) =
            self.handovers.iter().find_map(|h| match (known.contains(&h.from), known.contains(&h.to)) {
                (true, false) => Some(h.to),
                (false, true) => Some(h.from),
                _ => None,
            })
        {
            known.insert(more);
        }
        match self.signers.iter().find(|(key, _)| !known.contains(key)) {
            None => Ok(()),
            Some((key, (path, line, seq))) => {
                let problem = format!(
                    "entry {seq} is signed by {key}, which is not the node's key, nor did that take over from it; if it was once \
                     this node's, name it with --key"
                );
                Err(at(path, Some(*line), problem))
            }
        }
    }
}

/// The log of an earlier version is what the first entry says it was.
fn check_earlier(data_dir: &Path, first: &Path) -> Result<(), Broken> {
    let mut bound = None;
    each(first, |_, text| {
        if bound.is_none()
            && let Ok(entry) = Entry::read(text)
        {
            bound = Some(entry.fields.get("earlierLog").and_then(|e| e["sha256"].as_str().map(str::to_owned)));
        }
        Ok(())
    })?;
    let Some(expected) = bound.flatten() else { return Ok(()) };
    let path = data_dir.join(files::OLD_FILE);
    let bytes =
        fs::read(&path).map_err(|e| at(&path, None, format!("the log of an earlier version cannot be read: {e}")))?;
    if hex::encode(HashFn::Sha256.hash(&bytes).0) == expected {
        return Ok(());
    }
    Err(at(&path, None, "the log of an earlier version is not what entry 0 says it was: it was changed"))
}

fn at(file: &Path, line: Option<u64>, problem: impl Into<String>) -> Broken {
    Broken { file: file.to_owned(), line, problem: problem.into() }
}
