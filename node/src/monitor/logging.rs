//! The log: to standard error, as text or JSON, by level and module.

use std::{io::IsTerminal as _, sync::OnceLock};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tracing_subscriber::{EnvFilter, Registry, filter::LevelFilter, fmt, prelude::*, reload};

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Settings of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// Level, and levels by module: `info`, or `info,basalt_node::rpc=debug`.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Text }
    }
}

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level does not parse.
    #[error(
        "log level {0:?} is not valid: {1}; use error, warn, info, debug or trace, or module=level, separated by commas"
    )]
    Level(String, String),
    /// Called twice.
    #[error("the log is set up already")]
    Twice,
    /// There is no log to change.
    #[error("this process has no log of its own; start the node with `basalt node`")]
    None,
}

/// Checks a level without setting anything up.
pub fn check_level(level: &str) -> Result<(), LogError> {
    filter(level).map(|_| ())
}

/// The log of this process, once it is set up: what is in force, and how to change it.
static LOG: OnceLock<(Mutex<String>, reload::Handle<EnvFilter, Registry>)> = OnceLock::new();
/// Longest level, so that no caller can make filtering slow.
const MAX_LEVEL: usize = 1_000;

/// The levels in force.
#[must_use]
pub fn level() -> Option<String> {
    LOG.get().map(|(level, _)| level.lock().clone())
}

/// Changes the levels of the running process, as [`LogConfig::level`] writes them.
pub fn set_level(level: &str) -> Result<(), LogError> {
    if level.len() > MAX_LEVEL {
        return Err(LogError::Level(
            format!("{}…", &level.chars().take(40).collect::<String>()),
            "it is too long".into(),
        ));
    }
    let new = filter(level)?;
    let (current, handle) = LOG.get().ok_or(LogError::None)?;
    let mut current = current.lock();
    // Before, so that who silences the log is in it.
    tracing::warn!(before = *current, now = level, "log level changed");
    handle.reload(new).map_err(|_| LogError::None)?;
    level.clone_into(&mut current);
    Ok(())
}

fn filter(level: &str) -> Result<EnvFilter, LogError> {
    // A word alone would be taken for a module, and all others fall silent.
    let is_level = |d: &str| d.is_empty() || d.contains(['=', '[']) || d.parse::<LevelFilter>().is_ok();
    if let Some(word) = level.split(',').map(str::trim).find(|d| !is_level(d)) {
        return Err(LogError::Level(level.to_owned(), format!("{word:?} is no level")));
    }
    EnvFilter::try_new(level).map_err(|e| LogError::Level(level.to_owned(), e.to_string()))
}

/// Sets up the log of this process. The environment variable `BASALT_LOG` goes before the configuration.
pub fn init(config: &LogConfig) -> Result<(), LogError> {
    let level = std::env::var("BASALT_LOG").unwrap_or_else(|_| config.level.clone());
    let (filter, handle) = reload::Layer::new(filter(&level)?);
    let registry = tracing_subscriber::registry().with(filter);
    let stderr = std::io::stderr;
    let result = match config.format {
        LogFormat::Json => registry.with(fmt::layer().json().with_writer(stderr)).try_init(),
        LogFormat::Text => {
            let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            registry.with(fmt::layer().with_ansi(colour).with_writer(stderr)).try_init()
        }
    };
    result.map_err(|_| LogError::Twice)?;
    LOG.set((Mutex::new(level), handle)).map_err(|_| LogError::Twice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_a_level_or_names_a_module() {
        for good in ["info", "warn,basalt_node::network=debug", "off", "[span]=debug"] {
            check_level(good).unwrap_or_else(|e| panic!("{good}: {e}"));
        }
        for bad in ["loud", "info,loud", "rpc=loud", "info,basalt_node"] {
            let error = check_level(bad).expect_err(bad).to_string();
            assert!(error.contains("use error, warn, info"), "{error}");
        }
        assert!(set_level(&"info,".repeat(1_000)).is_err());
    }
}
