//! What an operator changes while the node runs, kept in the data directory so that it survives a restart: the TPS
//! threshold and the webhooks. The file holds the webhooks' secrets and is readable by its owner only.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use basalt_primitives::Millis;
use serde::{Deserialize, Serialize};

use super::tps::MAX_WINDOW_S;

/// Name of the file in the data directory.
pub const FILE_NAME: &str = "monitor.json";
/// Version of its format.
const VERSION: u32 = 1;
/// Larger files are not ours.
const MAX_BYTES: u64 = 1 << 20;
/// Largest threshold that means something.
const MAX_TPS: f64 = 1e9;

/// Why a change was refused.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Not a threshold.
    #[error("{0} must be a number of transactions per second above 0; leave it out, or null, to switch it off")]
    Threshold(&'static str),
    /// Nothing lies between them.
    #[error("lower ({0}) must be below upper ({1})")]
    Crossed(f64, f64),
    /// Not a window.
    #[error("windowSeconds must be a whole number from 1 to {MAX_WINDOW_S}")]
    Window,
    /// The file could not be written.
    #[error("the settings could not be kept in {path}: {source}; the old ones stay in force. Check the disk")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Between which rates nobody needs to be told.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TpsThreshold {
    /// Above this is an alert.
    pub upper: Option<f64>,
    /// Below this is an alert.
    pub lower: Option<f64>,
    /// Window over which the rate is measured.
    pub window_seconds: u64,
}

impl TpsThreshold {
    /// Refuses what makes no sense.
    pub fn checked(self) -> Result<Self, SettingsError> {
        for (name, value) in [("upper", self.upper), ("lower", self.lower)] {
            if value.is_some_and(|v| !(v.is_finite() && v > 0.0 && v <= MAX_TPS)) {
                return Err(SettingsError::Threshold(name));
            }
        }
        if let (Some(upper), Some(lower)) = (self.upper, self.lower)
            && lower >= upper
        {
            return Err(SettingsError::Crossed(lower, upper));
        }
        if !(1..=MAX_WINDOW_S).contains(&self.window_seconds) {
            return Err(SettingsError::Window);
        }
        Ok(self)
    }
}

/// A webhook as it is kept.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct StoredWebhook {
    /// Its id.
    pub id: String,
    /// Where to.
    pub url: String,
    /// Key of the signature.
    pub secret: String,
    /// When it was added, since the Unix epoch.
    pub added_at: Millis,
}

impl std::fmt::Debug for StoredWebhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredWebhook").field("id", &self.id).field("url", &self.url).finish_non_exhaustive()
    }
}

/// The content of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Settings {
    version: u32,
    /// Set at run time; none: as configured.
    #[serde(default)]
    pub tps: Option<TpsThreshold>,
    /// The webhooks.
    #[serde(default)]
    pub webhooks: Vec<StoredWebhook>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { version: VERSION, tps: None, webhooks: Vec::new() }
    }
}

/// The file and what it holds.
#[derive(Debug)]
pub struct SettingsFile {
    path: PathBuf,
    current: Settings,
}

impl SettingsFile {
    /// Reads the file of a data directory. A damaged one does not keep a node from running: it is put aside under
    /// another name, and the log says so.
    #[must_use]
    pub fn open(data_dir: &Path) -> Self {
        let path = data_dir.join(FILE_NAME);
        let current = match read(&path) {
            Ok(settings) => settings.unwrap_or_default(),
            Err(problem) => {
                let aside = path.with_extension("json.damaged");
                let moved = fs::rename(&path, &aside);
                tracing::error!(
                    path = %path.display(), aside = %aside.display(), moved = moved.is_ok(),
                    "the monitor's settings are not readable ({problem}): those of node.toml are in force, webhooks are gone; set them again"
                );
                Settings::default()
            }
        };
        Self { path, current }
    }

    /// What is in force.
    #[must_use]
    pub const fn current(&self) -> &Settings {
        &self.current
    }

    /// Changes the settings; they are on disk before they are in force.
    pub fn change(&mut self, change: impl FnOnce(&mut Settings)) -> Result<(), SettingsError> {
        let mut next = self.current.clone();
        change(&mut next);
        write(&self.path, &next).map_err(|source| SettingsError::Write { path: self.path.clone(), source })?;
        self.current = next;
        Ok(())
    }
}

fn read(path: &Path) -> Result<Option<Settings>, String> {
    let length = match fs::metadata(path) {
        Ok(m) => m.len(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e.to_string()),
    };
    if length > MAX_BYTES {
        return Err(format!("{length} bytes are more than these settings can have"));
    }
    let bytes = fs::read(path).map_err(|e| e.to_string())?;
    let settings: Settings = serde_json::from_slice(&bytes).map_err(|e| e.to_string())?;
    if settings.version != VERSION {
        return Err(format!("version {} is not {VERSION}", settings.version));
    }
    settings.tps.map(TpsThreshold::checked).transpose().map_err(|e| e.to_string())?;
    Ok(Some(settings))
}

/// Writes beside, syncs, renames, syncs the folder: after a crash it is the old file or the new one.
fn write(path: &Path, settings: &Settings) -> io::Result<()> {
    let beside = path.with_extension("json.new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(&serde_json::to_vec_pretty(settings)?)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const THRESHOLD: TpsThreshold = TpsThreshold { upper: Some(10.0), lower: Some(1.5), window_seconds: 5 };

    #[test]
    fn what_was_set_is_there_after_a_restart_and_readable_by_nobody_else() {
        let dir = tempfile::tempdir().expect("tempdir");
        let mut file = SettingsFile::open(dir.path());
        assert_eq!(*file.current(), Settings::default());
        let hook = StoredWebhook { id: "a".into(), url: "http://x/".into(), secret: "s3cret".into(), added_at: 7 };
        file.change(|s| {
            s.tps = Some(THRESHOLD);
            s.webhooks.push(hook.clone());
        })
        .expect("written");
        let again = SettingsFile::open(dir.path());
        assert_eq!(again.current().tps, Some(THRESHOLD));
        assert_eq!(again.current().webhooks, [hook]);
        let mode = fs::metadata(dir.path().join(FILE_NAME)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!format!("{again:?}").contains("s3cret"), "secrets do not come into logs");
    }

    #[test]
    fn what_cannot_be_written_is_not_in_force() {
        let dir = tempfile::tempdir().expect("tempdir");
        let mut file = SettingsFile::open(&dir.path().join("gone"));
        let error = file.change(|s| s.tps = Some(THRESHOLD)).expect_err("no such folder").to_string();
        assert!(error.contains("the old ones stay in force"), "{error}");
        assert_eq!(file.current().tps, None);
    }

    #[test]
    fn a_damaged_file_is_put_aside_and_the_node_goes_on() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join(FILE_NAME);
        for text in ["{", r#"{"version":2}"#, r#"{"version":1,"tps":{"upper":0,"lower":null,"windowSeconds":5}}"#] {
            fs::write(&path, text).expect("written");
            assert_eq!(*SettingsFile::open(dir.path()).current(), Settings::default(), "{text}");
            assert!(!path.exists());
            assert_eq!(fs::read_to_string(dir.path().join("monitor.json.damaged")).expect("kept"), text);
        }
    }

    #[test]
    fn thresholds_that_make_no_sense_are_refused_with_a_mend() {
        let refused = |t: TpsThreshold| t.checked().expect_err("refused").to_string();
        for upper in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e10] {
            assert!(refused(TpsThreshold { upper: Some(upper), ..THRESHOLD }).contains("above 0"), "{upper}");
        }
        assert!(refused(TpsThreshold { lower: Some(10.0), ..THRESHOLD }).contains("below upper"));
        assert!(refused(TpsThreshold { window_seconds: 0, ..THRESHOLD }).contains("1 to 3600"));
        assert!(TpsThreshold { upper: None, lower: None, window_seconds: 3_600 }.checked().is_ok());
    }
}
