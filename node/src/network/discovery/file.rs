//! The book on disk: a hint, not a treasure. A file that cannot be used is put aside and said so; the node starts from its
//! bootnodes.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    net::SocketAddr,
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::book::Known;

/// More is no file of ours.
const MAX_FILE: u64 = 8 << 20;
const VERSION: u32 = 1;

/// What outlives a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::network) struct Kept {
    /// Draws the places of addresses; nobody else may know it.
    pub(super) secret: [u8; 32],
    pub(super) known: Vec<Known>,
    /// Outbound peers of before, the longest connected first.
    pub(super) anchors: Vec<SocketAddr>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    version: u32,
    /// In hexadecimal.
    secret: String,
    anchors: Vec<SocketAddr>,
    known: Vec<Known>,
}

impl Kept {
    /// Nothing but a secret.
    pub(in crate::network) fn empty() -> Self {
        Self { secret: rand::random(), known: Vec::new(), anchors: Vec::new() }
    }

    /// Reads the file; without one, nothing is known yet. One that cannot be used is renamed to `….bad`.
    pub(in crate::network) fn read(path: &Path) -> Self {
        match read(path) {
            Ok(kept) => kept,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Self::empty(),
            Err(error) => {
                let aside = path.with_extension("json.bad");
                let kept = std::fs::rename(path, &aside);
                let kept = kept.map_or_else(|e| format!("not kept: {e}"), |()| format!("kept as {}", aside.display()));
                tracing::warn!(
                    path = %path.display(), %error,
                    "the address book cannot be used ({kept}); peers are sought from the bootnodes again"
                );
                Self::empty()
            }
        }
    }

    /// Replaces the file as a whole; its owner alone can read it.
    pub(in crate::network) fn write(&self, path: &Path) -> io::Result<()> {
        let content = Content {
            version: VERSION,
            secret: hex::encode(self.secret),
            anchors: self.anchors.clone(),
            known: self.known.clone(),
        };
        let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(&serde_json::to_vec(&content)?)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|e| e.error)?;
        File::open(directory)?.sync_all()
    }
}

fn read(path: &Path) -> io::Result<Kept> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::other(format!("it is larger than {MAX_FILE} bytes")));
    }
    let content: Content = serde_json::from_slice(&bytes)?;
    if content.version != VERSION {
        return Err(io::Error::other(format!("it has version {}, this software writes {VERSION}", content.version)));
    }
    let mut secret = [0; 32];
    hex::decode_to_slice(&content.secret, &mut secret).map_err(|_| io::Error::other("its secret is malformed"))?;
    Ok(Kept { secret, known: content.known, anchors: content.anchors })
}
