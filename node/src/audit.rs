//! The audit log of a data directory: what an operator has taken upon themselves, one JSON object a line, synced before the
//! act.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};

/// Name of the file in the data directory.
pub const FILE_NAME: &str = "audit.log";
/// Longest reason that is taken.
const MAX_REASON: usize = 500;

/// Why an act could not be audited; it must then not be done.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The reason is missing or too long.
    #[error("the reason must have 1 to {MAX_REASON} characters: say what happened, for whoever reads the audit log")]
    Reason,
    /// The file.
    #[error("cannot write the audit log {}: {source}; nothing was changed", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Appends one act with time and operating-system user, and syncs it.
pub fn append(data_dir: &Path, act: &str, reason: &str, details: Map<String, Value>) -> Result<(), AuditError> {
    let reason = reason.trim();
    if reason.is_empty() || reason.chars().count() > MAX_REASON {
        return Err(AuditError::Reason);
    }
    let uid = rustix::process::getuid().as_raw();
    let mut entry = Map::from_iter([
        ("timeMs".to_owned(), json!(crate::clock::wall_ms())),
        ("user".to_owned(), json!(user_name(uid))),
        ("uid".to_owned(), json!(uid)),
        ("act".to_owned(), json!(act)),
        ("reason".to_owned(), json!(reason)),
    ]);
    if let Ok(behind) = std::env::var("SUDO_USER") {
        entry.insert("sudoUser".to_owned(), json!(behind));
    }
    entry.extend(details);
    let path = data_dir.join(FILE_NAME);
    let write = || {
        let mut file = File::options().create(true).append(true).open(&path)?;
        file.write_all(format!("{}\n", Value::Object(entry)).as_bytes())?;
        file.sync_all()?;
        File::open(data_dir)?.sync_all()
    };
    write().map_err(|source| AuditError::Write { path: path.clone(), source })
}

/// The user's name where the system knows one.
fn user_name(uid: u32) -> Option<String> {
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    let mut users = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    users.find(|fields| fields.get(2).is_some_and(|id| *id == uid.to_string())).map(|fields| fields[0].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acts_are_appended_with_who_when_and_why() {
        let dir = tempfile::tempdir().expect("a directory");
        let details = || Map::from_iter([("answers".to_owned(), json!(2))]);
        append(dir.path(), "reset-record", " two disks\nlost ", details()).expect("written");
        append(dir.path(), "reset-record", "again", details()).expect("written");
        let text = fs::read_to_string(dir.path().join(FILE_NAME)).expect("readable");
        let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
        assert_eq!(lines.len(), 2, "a line break in the reason makes no line");
        assert_eq!((&lines[0]["reason"], &lines[0]["answers"]), (&json!("two disks\nlost"), &json!(2)));
        assert!(lines[1]["timeMs"].as_u64().is_some_and(|t| t > 1_600_000_000_000));
        assert_eq!(lines[1]["uid"], json!(rustix::process::getuid().as_raw()));
    }

    #[test]
    fn an_act_without_a_reason_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        for reason in ["", "  ", &"x".repeat(501)] {
            assert!(matches!(append(dir.path(), "reset-record", reason, Map::new()), Err(AuditError::Reason)));
        }
        assert!(!dir.path().join(FILE_NAME).exists());
    }
}
