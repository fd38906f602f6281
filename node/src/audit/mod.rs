//! The audit log of a data directory (ADR-0032): who did what to this node, and what was refused.
//!
//! In: acts ([`Act`]) of operators at the command line, of callers of the RPC, of the chain, of the node itself. Out: files of
//! JSON lines in `audit/`, only ever appended to. Every entry has a number, the hash of the one before and a signature by the
//! node's key ([`entry`]); files follow each other by the same chain ([`files`]), so what is changed, left out, put elsewhere or
//! cut off in the middle is found ([`verify`]). What is cut off at the end is found by the heads that the node anchors on chain
//! ([`anchor`]).
//!
//! [`AuditLog::append`] returns when the entry is on the disk, and whoever acts does so after it. Where nobody may wait
//! ([`Teller`]), entries go through a bounded queue, and what does not fit is counted in the next one.

pub mod anchor;
mod entry;
mod files;
mod log;
mod reads;
mod tell;
#[cfg(test)]
mod tests;
pub mod verify;

use std::path::PathBuf;

use basalt_primitives::B256;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub use entry::{Entry, MAX_LINE};
pub use files::{FOLDER, OLD_FILE, listed};
pub use log::{AuditLog, Handover};
pub use reads::Reads;
pub use tell::Teller;

/// Longest reason that is taken.
const MAX_REASON: usize = 500;

/// Why an act could not be audited; it must then not be done.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The reason is missing or too long.
    #[error("the reason must have 1 to {MAX_REASON} characters: say what happened, for whoever reads the audit log")]
    Reason,
    /// The files.
    #[error("cannot write the audit log {}: {source}; nothing was changed. Free space or mend its permissions", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Somebody else holds the lock.
    #[error("the audit log {} is in use by another process for too long; nothing was changed, try again", .0.display())]
    Busy(PathBuf),
    /// The entry is too long.
    #[error("an audit entry of {0} bytes is too long (at most {MAX_LINE}); nothing was changed")]
    TooLong(usize),
    /// What was to be written down could not be made; nothing was written.
    #[error("{0}")]
    NotMade(String),
}

/// `[audit]` of a node's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditConfig {
    /// A file of the log ends at this size, and the next begins.
    pub max_file_mib: u64,
    /// Files whose newest entry is older than this many days are removed; 0: none ever is.
    pub keep_days: u32,
    /// How often the newest entry's hash is written on chain, in seconds; 0: never. Unset: every hour, but never on networks
    /// for development.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anchor_seconds: Option<u32>,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self { max_file_mib: 16, keep_days: 0, anchor_seconds: None }
    }
}

impl AuditConfig {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// What is wrong with it: the key and what is allowed.
    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        if !(1..=1024).contains(&self.max_file_mib) {
            return Err(("audit.max_file_mib", "must be between 1 and 1024".into()));
        }
        if self.anchor_seconds.is_some_and(|s| s > 7 * 86_400) {
            return Err(("audit.anchor_seconds", "must be at most 604800 (a week); 0 turns anchors off".into()));
        }
        Ok(())
    }

    /// How often the head is anchored; `None`: never.
    #[must_use]
    pub fn anchor_every(&self, development: bool) -> Option<std::time::Duration> {
        let seconds = self.anchor_seconds.unwrap_or(if development { 0 } else { 3600 });
        (seconds > 0).then(|| std::time::Duration::from_secs(u64::from(seconds)))
    }
}

/// The newest entry: its number and its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Number of the entry; the first is 0.
    pub seq: u64,
    /// Its hash.
    pub hash: B256,
}

/// What is to be written down.
#[derive(Clone, Debug, PartialEq)]
pub struct Act {
    /// What kind of act, such as `reset-record`.
    pub act: &'static str,
    /// Everything else. No secrets, and nothing of what parties say to each other.
    pub details: Map<String, Value>,
}

impl Act {
    /// An act without details.
    #[must_use]
    pub fn new(act: &'static str) -> Self {
        Self { act, details: Map::new() }
    }

    /// With one more detail.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// With all details of a JSON object.
    #[must_use]
    pub fn with_all(mut self, details: Value) -> Self {
        if let Value::Object(details) = details {
            self.details.extend(details);
        }
        self
    }

    /// An act of the person at the command line, who says why.
    pub fn of_operator(act: &'static str, reason: &str) -> Result<Self, AuditError> {
        let reason = reason.trim();
        if reason.is_empty() || reason.chars().count() > MAX_REASON {
            return Err(AuditError::Reason);
        }
        let uid = rustix::process::getuid().as_raw();
        let me = Self::new(act).with("reason", reason).with("user", json!(user_name(uid))).with("uid", uid);
        Ok(match std::env::var("SUDO_USER") {
            Ok(behind) => me.with("sudoUser", behind),
            Err(_) => me,
        })
    }
}

/// The user's name where the system knows one.
fn user_name(uid: u32) -> Option<String> {
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    let mut users = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    users.find(|fields| fields.get(2).is_some_and(|id| *id == uid.to_string())).map(|fields| fields[0].to_owned())
}
