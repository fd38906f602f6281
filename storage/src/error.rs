//! Why the ledger or the sign record refused. Each text is one sentence with cause and mend, whole by itself: it ends up in
//! logs and on terminals where nobody follows `source`, so there is none.

use std::{io, path::PathBuf};

use basalt_primitives::{B256, Height};

/// What can go wrong in storage.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The directory holds something else.
    #[error(
        "{} is not empty and holds no Basalt ledger; choose an empty directory, or the one this node used before",
        path.display()
    )]
    NotBasalt {
        /// The directory.
        path: PathBuf,
    },
    /// The directory belongs to another chain.
    #[error(
        "{} holds the chain with genesis block {found}, not the one of this genesis file ({expected}); \
         use the genesis file of that chain or another data directory",
        path.display()
    )]
    OtherChain {
        /// The directory.
        path: PathBuf,
        /// Genesis hash stored.
        found: B256,
        /// Genesis hash of the chain specification.
        expected: B256,
    },
    /// Blocks were to be taken back on a chain where a final block is final.
    #[error(
        "blocks cannot be taken back here: this chain is no development network, and what is final stays; nothing was \
         changed"
    )]
    NotDevelopment,
    /// Written by newer software.
    #[error(
        "{} was written by a newer version of Basalt (table `{table}` has schema {found}, this version knows up to \
         {supported}); run the newer version, or restore a backup made by this one",
        path.display()
    )]
    NewerSchema {
        /// The directory.
        path: PathBuf,
        /// The table; `ledger` for the directory's format as a whole.
        table: String,
        /// Version stored.
        found: u32,
        /// Newest version this software knows; 0 when it does not know the table.
        supported: u32,
    },
    /// Another process has it open.
    #[error("{} is in use by another process; stop that node first, or use another data directory", path.display())]
    Locked {
        /// The directory or file.
        path: PathBuf,
    },
    /// Stored bytes are not what was written.
    #[error(
        "the ledger is damaged in table `{table}` at key {key}: {problem}; restore a backup, or move the data directory \
         away and let the node sync again from its peers"
    )]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The key, in hex; `-` when no single key is to blame.
        key: String,
        /// What does not agree.
        problem: String,
    },
    /// The sign record is damaged before its end.
    #[error(
        "the sign record {} is damaged at byte {offset}: {problem}; do not vote with this key until the file is restored \
         from a copy, or an operator resets the record knowing what this validator last signed",
        path.display()
    )]
    CorruptSignRecord {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What does not agree.
        problem: String,
    },
    /// A sign record that must not exist yet.
    #[error(
        "the sign record {} exists already; a second one would forget what this key has signed, so keep it, or use \
         another data directory for another key",
        path.display()
    )]
    SignRecordExists {
        /// The file.
        path: PathBuf,
    },
    /// A record that cannot be stored.
    #[error("a sign record entry has 1 to {max} bytes, not {length}; this is a bug, please report it")]
    RecordLength {
        /// Bytes given.
        length: usize,
        /// Most bytes allowed.
        max: usize,
    },
    /// The sign record failed before, so what it holds is not known.
    #[error("the sign record {} failed earlier and takes nothing more; restart the node after mending the disk", path.display())]
    SignRecordFailed {
        /// The file.
        path: PathBuf,
    },
    /// A block that does not follow the head.
    #[error(
        "block {height} does not follow the ledger's head at height {head}: {problem}; this is a bug, please report it"
    )]
    NotNext {
        /// The head's height.
        head: Height,
        /// The block's height.
        height: Height,
        /// What does not agree.
        problem: &'static str,
    },
    /// An older state that is gone, or one that is not there yet.
    #[error(
        "state of block {height} is not kept here; this node keeps the last {} blocks ({first} to {head}); ask an archive node",
        head.0.saturating_sub(first.0) + 1
    )]
    StateNotKept {
        /// The block asked for.
        height: Height,
        /// The oldest block whose state can be read.
        first: Height,
        /// The newest block.
        head: Height,
    },
    /// The genesis state given does not suit the chain.
    #[error("the genesis state cannot be stored: {0}; this is a bug, please report it")]
    Genesis(String),
    /// A write to the ledger failed. Fatal: the node must stop.
    #[error(
        "the ledger could not be written ({0}), and the node must stop; check free space and health of the disk, then start it again"
    )]
    Write(rocksdb::Error),
    /// A read from the ledger failed.
    #[error("the ledger's table `{table}` could not be read ({cause}); check the disk, then start the node again")]
    Read {
        /// The table.
        table: &'static str,
        /// The cause.
        cause: rocksdb::Error,
    },
    /// The ledger could not be opened, for a reason that has no variant of its own.
    #[error("the ledger in {} could not be opened ({cause}); check the disk and the directory's permissions", path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        /// The cause.
        cause: rocksdb::Error,
    },
    /// A file operation failed. Fatal when it is a write to the sign record.
    #[error("could not {action} {} ({cause}); check free space, health of the disk and permissions", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        cause: io::Error,
    },
}

impl StorageError {
    /// Whether the node must stop: a write failed, so that what the disk holds is no longer known, or data is damaged.
    #[must_use]
    pub const fn is_fatal(&self) -> bool {
        matches!(
            self,
            Self::Write(_)
                | Self::Io { .. }
                | Self::SignRecordFailed { .. }
                | Self::Corrupt { .. }
                | Self::CorruptSignRecord { .. }
        )
    }
}
