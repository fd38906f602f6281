//! Where a passphrase comes from: a file, or the environment.

use std::{env, fs, path::Path};

use zeroize::Zeroizing;

use super::KeyError;

/// The environment variable that may hold the passphrase.
pub const ENV: &str = "BASALT_PASSPHRASE";

/// A passphrase, cleared from memory when dropped, never printed.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// Wraps a passphrase.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }

    /// From the file if one is named (its first line), else from BASALT_PASSPHRASE, else none.
    pub fn find(file: Option<&Path>) -> Result<Option<Self>, KeyError> {
        match file {
            Some(path) => {
                let text = Zeroizing::new(
                    fs::read_to_string(path).map_err(|source| KeyError::Io { path: path.to_owned(), source })?,
                );
                Ok(Some(Self::new(text.lines().next().unwrap_or_default())))
            }
            None => Ok(env::var(ENV).ok().map(|s| Self(Zeroizing::new(s)))),
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}
