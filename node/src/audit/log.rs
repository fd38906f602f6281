//! The log as it is written: one writer at a time, over all processes; each entry synced before [`AuditLog::append`] returns.
//!
//! What is found at the end when the log is opened, or when another process has written meanwhile, decides how it goes on: after
//! the newest entry; after an unfinished line is cut off, which the next entry says; or, if something does not fit, in a new file
//! that says so, because a node must not stand still for a log that somebody has damaged.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use basalt_primitives::{HashFn, PublicKey, SecretKey, Signature, layout::Layout};
use parking_lot::Mutex;
use serde_json::json;

use super::{Act, AuditConfig, AuditError, Entry, Head, MAX_LINE, entry, files};
use crate::{clock, monitor::Metrics};

const DAY_MS: u64 = 86_400_000;

/// The audit log of one data directory, to append to.
pub struct AuditLog {
    data_dir: PathBuf,
    key: SecretKey,
    max_bytes: u64,
    keep_days: u32,
    metrics: Option<Arc<Metrics>>,
    place: Mutex<Place>,
    /// The last append failed.
    failing: AtomicBool,
    /// Entries that could not be written since then.
    lost: AtomicU64,
}

/// Where the next entry goes.
struct Place {
    number: u32,
    path: PathBuf,
    file: File,
    end: u64,
    head: Head,
    /// A `log-closed` is the newest entry: the next one opens a file.
    closed: bool,
    /// When the newest anchor was written, or the first entry that was read.
    anchored_ms: u64,
    /// The newest anchor's entry.
    anchor_seq: Option<u64>,
    /// Whether a node has started and not stopped since.
    running: bool,
}

impl std::fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditLog").field("data_dir", &self.data_dir).finish_non_exhaustive()
    }
}

impl AuditLog {
    /// Opens the log of a data directory, or makes it; `key` signs what is appended.
    pub fn open(data_dir: &Path, key: SecretKey, config: &AuditConfig) -> Result<Self, AuditError> {
        let folder = files::make_folder(data_dir)?;
        let _lock = files::lock(&folder)?;
        let place = Place::find(data_dir, &key)?;
        Ok(Self {
            data_dir: data_dir.to_owned(),
            key,
            max_bytes: config.max_file_mib << 20,
            keep_days: config.keep_days,
            metrics: None,
            place: Mutex::new(place),
            failing: AtomicBool::new(false),
            lost: AtomicU64::new(0),
        })
    }

    /// Counts its entries there.
    #[must_use]
    pub fn with_metrics(mut self, metrics: Arc<Metrics>) -> Self {
        metrics.audit_writable(true);
        self.metrics = Some(metrics);
        self
    }

    /// Whose signature its entries carry.
    #[must_use]
    pub fn key(&self) -> PublicKey {
        self.key.public_key()
    }

    /// Appends an act and returns when it is on the disk; its number.
    pub fn append(&self, act: Act) -> Result<u64, AuditError> {
        self.append_after(|_| Ok(act))
    }

    /// As [`append`](Self::append), with an act that depends on the entry before it.
    pub fn append_after(&self, act: impl FnOnce(Head) -> Result<Act, AuditError>) -> Result<u64, AuditError> {
        let written = self.try_append(act);
        match &written {
            Ok(_) => {
                self.failing.store(false, Ordering::Relaxed);
                if let Some(m) = &self.metrics {
                    m.audit_entry();
                    m.audit_writable(true);
                }
            }
            // These are the act's own fault.
            Err(AuditError::Reason | AuditError::TooLong(_) | AuditError::NotMade(_)) => {}
            Err(_) => {
                self.failing.store(true, Ordering::Relaxed);
                self.lost.fetch_add(1, Ordering::Relaxed);
                if let Some(m) = &self.metrics {
                    m.audit_failed();
                    m.audit_writable(false);
                }
            }
        }
        written
    }

    fn try_append(&self, act: impl FnOnce(Head) -> Result<Act, AuditError>) -> Result<u64, AuditError> {
        let mut place = self.place.lock();
        let folder = files::make_folder(&self.data_dir)?;
        let _lock = files::lock(&folder)?;
        place.refresh(&self.data_dir, &self.key)?;
        if place.end >= self.max_bytes {
            place.next_file(&self.data_dir, &self.key, None)?;
            self.retire(&mut place)?;
        }
        let mut act = act(place.head)?;
        let lost = self.lost.load(Ordering::Relaxed);
        if lost > 0 {
            act = act.with("entriesLostBefore", lost);
        }
        let seq = place.write(&self.key, &act)?;
        self.lost.fetch_sub(lost, Ordering::Relaxed);
        Ok(seq)
    }

    /// Whether the last append failed.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// If appending fails, tries again with an entry that says how many could not be written.
    pub fn probe(&self) {
        if self.is_failing() && self.append(Act::new("log-writable-again")).is_ok() {
            tracing::info!("the audit log can be written again");
        }
    }

    /// Whether there is anything that no anchor covers.
    #[must_use]
    pub fn has_news(&self) -> bool {
        let place = self.place.lock();
        place.anchor_seq != Some(place.head.seq)
    }

    /// When the head was last anchored, or else when the log began, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn anchored_ms(&self) -> u64 {
        self.place.lock().anchored_ms
    }

    /// Whether the node that wrote here last has not said that it stopped.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.place.lock().running
    }

    /// Removes files whose newest entry is too old, after an entry that says what they held.
    fn retire(&self, place: &mut Place) -> Result<(), AuditError> {
        if self.keep_days == 0 {
            return Ok(());
        }
        let before = clock::wall_ms().saturating_sub(u64::from(self.keep_days) * DAY_MS);
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| AuditError::Write { path, source }
        };
        let all = files::listed(&self.data_dir).map_err(failed(&self.data_dir))?;
        let newest = place.number;
        for (number, path) in all.into_iter().filter(|(number, _)| *number < newest) {
            let mut first = None;
            let scan = files::scan(&path, 0, None, |e| {
                first.get_or_insert(e.seq);
            });
            let scan = scan.map_err(failed(&path))?;
            // What does not verify stays, for whoever looks into it.
            let Some(last) = scan.last.filter(|e| scan.damage.is_none() && e.time_ms < before) else { break };
            let act = Act::new("file-removed").with_all(json!({
                "file": files::name_of(number),
                "firstSeq": first,
                "lastSeq": last.seq,
                "lastHash": hex::encode(last.hash.0),
                "keepDays": self.keep_days,
            }));
            place.write(&self.key, &act)?;
            fs::remove_file(&path).map_err(failed(&path))?;
        }
        files::sync(&self.data_dir.join(files::FOLDER)).map_err(failed(&self.data_dir))
    }

    /// Hands the log over to the node's new key: this entry is signed by both, so who trusts one of them may trust the other.
    pub fn hand_over(&self, new: &SecretKey, reason: &str) -> Result<u64, AuditError> {
        let act = Act::of_operator(Handover::ACT, reason)?;
        let to = new.public_key();
        self.append_after(|head| {
            let signature = new.sign(Handover::bytes(head, &self.key(), &to).as_slice());
            Ok(act.with("newKey", hex::encode(to.0)).with("newSignature", hex::encode(signature.0)))
        })
    }
}

/// An entry by which the node's key hands the log over to the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handover {
    /// Who signed until then.
    pub from: PublicKey,
    /// Who signs from then on.
    pub to: PublicKey,
}

impl Handover {
    const ACT: &'static str = "key-handover";

    fn bytes(before: Head, from: &PublicKey, to: &PublicKey) -> Layout {
        let mut l = Layout::new("basalt/audit-handover/v1");
        l.u64(before.seq).fixed(&before.hash.0).fixed(&from.0).fixed(&to.0);
        l
    }

    /// What an entry hands over, if it does and the new key agrees.
    #[must_use]
    pub fn of(entry: &Entry) -> Option<Self> {
        if entry.act != Self::ACT || entry.seq == 0 {
            return None;
        }
        let to = PublicKey(entry.bytes32("newKey")?);
        let signature = Signature(entry::digits(entry.text("newSignature")?)?);
        let before = Head { seq: entry.seq - 1, hash: entry.prev };
        let good = to.verify(Self::bytes(before, &entry.key, &to).as_slice(), &signature);
        good.then_some(Self { from: entry.key, to })
    }
}

impl Place {
    /// Where the log of a directory goes on, making its first file if there is none. The lock is held.
    fn find(data_dir: &Path, key: &SecretKey) -> Result<Self, AuditError> {
        let failed = |path: &Path, source| AuditError::Write { path: path.to_owned(), source };
        let all = files::listed(data_dir).map_err(|e| failed(data_dir, e))?;
        let Some((number, path)) = all.last().cloned() else { return Self::first(data_dir, key) };
        let file = File::options().write(true).open(&path).map_err(|e| failed(&path, e))?;
        // What a file of before says of anchors and starts still holds, if the newest is short.
        let (mut anchored_ms, mut anchor_seq, mut running) = (None, None, false);
        let mut before = None;
        let mut note = |e: &Entry| {
            if e.act == super::anchor::ACT || anchored_ms.is_none() {
                anchored_ms = Some(e.time_ms);
            }
            match e.act.as_str() {
                super::anchor::ACT => anchor_seq = Some(e.seq),
                "node-started" => running = true,
                "node-stopped" => running = false,
                _ => {}
            }
        };
        if let Some((_, earlier)) = all.len().checked_sub(2).and_then(|i| all.get(i)) {
            let scan = files::scan(earlier, 0, None, &mut note).map_err(|e| failed(earlier, e))?;
            before = scan.last.filter(|_| scan.damage.is_none()).map(|e| e.head());
        }
        let scan = files::scan(&path, 0, before, &mut note).map_err(|e| failed(&path, e))?;
        let mut place = Self {
            number,
            path,
            file,
            end: scan.end,
            head: scan.last.as_ref().map(Entry::head).or(before).unwrap_or(Head { seq: 0, hash: Default::default() }),
            closed: scan.last.as_ref().is_some_and(|e| e.act == "log-closed"),
            anchored_ms: anchored_ms.unwrap_or_else(clock::wall_ms),
            anchor_seq,
            running,
        };
        if all.len() == 1 && scan.last.is_none() && scan.damage.is_none() {
            // A crash has cut its very first entry off.
            place.file.set_len(0).map_err(|e| failed(&place.path, e))?;
            place.write(key, &opening(data_dir))?;
            return Ok(place);
        }
        place.mend(data_dir, key, scan)?;
        Ok(place)
    }

    fn first(data_dir: &Path, key: &SecretKey) -> Result<Self, AuditError> {
        let path = files::path_of(data_dir, 1);
        let failed = |source| AuditError::Write { path: path.clone(), source };
        let file = files::create(&path).map_err(failed)?;
        files::sync(&data_dir.join(files::FOLDER)).map_err(failed)?;
        let head = Head { seq: 0, hash: Default::default() };
        let now = clock::wall_ms();
        let mut place = Self {
            number: 1,
            path,
            file,
            end: 0,
            head,
            closed: false,
            anchored_ms: now,
            anchor_seq: None,
            running: false,
        };
        place.write(key, &opening(data_dir))?;
        Ok(place)
    }

    /// Takes up what another process has written since, if anything. The lock is held.
    fn refresh(&mut self, data_dir: &Path, key: &SecretKey) -> Result<(), AuditError> {
        let failed = |path: &Path, source| AuditError::Write { path: path.to_owned(), source };
        let length = match fs::metadata(&self.path) {
            Ok(there) => there.len(),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => 0,
            Err(e) => return Err(failed(&self.path, e)),
        };
        let next_is_there = files::path_of(data_dir, self.number + 1).exists();
        if length == self.end && !next_is_there && !self.closed {
            return Ok(());
        }
        if length < self.end {
            let problem = format!("{} had {} bytes and has {length}", files::name_of(self.number), self.end);
            tracing::error!("the audit log was cut off or taken away while the node ran: {problem}");
            return self.next_file(data_dir, key, Some(problem));
        }
        if next_is_there {
            *self = Self::find(data_dir, key)?;
            return Ok(());
        }
        let scan = files::scan(&self.path, self.end, Some(self.head), |_| ()).map_err(|e| failed(&self.path, e))?;
        self.end = scan.end;
        if let Some(last) = &scan.last {
            self.head = last.head();
            self.closed = last.act == "log-closed";
        }
        self.mend(data_dir, key, scan)
    }

    /// Goes on after what was found: cuts an unfinished line off, opens the next file after a closed or damaged one.
    fn mend(&mut self, data_dir: &Path, key: &SecretKey, scan: files::Scan) -> Result<(), AuditError> {
        let failed = |source| AuditError::Write { path: self.path.clone(), source };
        if let Some(problem) = scan.damage {
            tracing::error!(
                "the audit log is damaged after entry {}: {problem}; it goes on in a new file",
                self.head.seq
            );
            return self.next_file(data_dir, key, Some(problem));
        }
        if scan.torn > 0 {
            self.file.set_len(scan.end).and_then(|()| self.file.sync_all()).map_err(failed)?;
            tracing::warn!(
                bytes = scan.torn,
                "cut off an unfinished entry at the end of the audit log, left by a crash"
            );
            self.write(key, &Act::new("unfinished-entry-cut").with("bytes", scan.torn))?;
        }
        if self.closed { self.next_file(data_dir, key, None) } else { Ok(()) }
    }

    /// Closes the file and opens the next. With a problem the file is left as it is, and the next one says why.
    fn next_file(&mut self, data_dir: &Path, key: &SecretKey, problem: Option<String>) -> Result<(), AuditError> {
        let number = files::listed(data_dir).ok().and_then(|all| all.last().map(|(n, _)| *n)).unwrap_or(0);
        let number = number.max(self.number) + 1;
        if problem.is_none() && !self.closed {
            self.write(key, &Act::new("log-closed").with("next", files::name_of(number)))?;
            self.closed = true;
        }
        let path = files::path_of(data_dir, number);
        let failed = |source| AuditError::Write { path: path.clone(), source };
        let folder = files::make_folder(data_dir)?;
        let mut act =
            Act::new("log-continued").with("file", files::name_of(number)).with("after", files::name_of(self.number));
        if let Ok(bytes) = fs::read(&self.path) {
            act = act.with("afterSha256", hex::encode(HashFn::Sha256.hash(&bytes).0)).with("afterBytes", bytes.len());
        }
        if let Some(problem) = problem {
            act = act.with("damage", problem.chars().take(400).collect::<String>());
        }
        let file = files::create(&path).map_err(failed)?;
        files::sync(&folder).map_err(failed)?;
        (self.number, self.path, self.file, self.end, self.closed) = (number, path, file, 0, false);
        self.write(key, &act)?;
        Ok(())
    }

    /// Appends one entry and syncs it. What a failed write has left behind is cut off before the next.
    fn write(&mut self, key: &SecretKey, act: &Act) -> Result<u64, AuditError> {
        let now = clock::wall_ms();
        let before = (self.end > 0 || self.number > 1).then_some(self.head);
        let (mut line, head) = entry::write(before, now, act, key);
        if line.len() > MAX_LINE {
            return Err(AuditError::TooLong(line.len()));
        }
        line.push('\n');
        let written = self.file.write_all_at(line.as_bytes(), self.end).and_then(|()| self.file.sync_data());
        if let Err(source) = written {
            let _ = self.file.set_len(self.end);
            return Err(AuditError::Write { path: self.path.clone(), source });
        }
        self.end += line.len() as u64;
        self.head = head;
        match act.act {
            super::anchor::ACT => (self.anchored_ms, self.anchor_seq) = (now, Some(head.seq)),
            "node-started" => self.running = true,
            "node-stopped" => self.running = false,
            _ => {}
        }
        Ok(head.seq)
    }
}

/// The first entry of a log. It binds the log of an earlier version, if there is one.
fn opening(data_dir: &Path) -> Act {
    let act = Act::new("log-opened").with("file", files::name_of(1));
    match old_log(data_dir) {
        Some(old) => act.with("earlierLog", old),
        None => act,
    }
}

/// What the log of an earlier version was.
fn old_log(data_dir: &Path) -> Option<serde_json::Value> {
    let bytes = fs::read(data_dir.join(files::OLD_FILE)).ok()?;
    let lines = bytes.iter().filter(|b| **b == b'\n').count();
    let sha256 = hex::encode(HashFn::Sha256.hash(&bytes).0);
    Some(json!({ "file": files::OLD_FILE, "sha256": sha256, "bytes": bytes.len(), "lines": lines }))
}
