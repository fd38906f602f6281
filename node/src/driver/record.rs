//! The sign record as the driver keeps it: what must still be known of one's own votes, on disk before they leave.

use std::path::PathBuf;

use basalt_bft::record::Record;
use basalt_primitives::{Bytes, Height};
use basalt_storage::SignRecord;

use super::Fatal;

/// The sign record is rewritten with what is still needed after this many bytes.
const REWRITE_RECORD_AT: usize = 64 * 1024 * 1024;

/// The sign record on disk; none on a node without validator key, or whose disk was lost until it has recovered.
pub struct RecordFile {
    /// Where it is or will be.
    pub dir: PathBuf,
    /// The open file.
    pub file: Option<SignRecord>,
    /// What is in it and still needed, oldest first, so that it can be rewritten.
    pub entries: Vec<Record>,
    /// Bytes appended since it was last rewritten.
    pub appended: usize,
}

impl RecordFile {
    /// Appends a record and syncs it. `executed` is the newest executed height.
    pub fn append(&mut self, record: &Record, executed: Height) -> Result<(), Fatal> {
        let fatal = |e: basalt_storage::StorageError| Fatal(format!("cannot write the sign record: {e}"));
        let bytes = basalt_proto::consensus::encode_record(record);
        // What speaks of executed heights is history; the newest entry stays whatever it speaks of.
        self.entries.retain(|r| r.height() > executed);
        self.entries.push(record.clone());
        let Some(file) = &mut self.file else {
            // Only a recovered key begins a record here; everyone else's was made by `network create`.
            self.file = Some(SignRecord::create(&self.dir, &bytes).map_err(fatal)?);
            return Ok(());
        };
        file.append(&bytes).map_err(fatal)?;
        self.appended += bytes.len();
        if self.appended >= REWRITE_RECORD_AT {
            let keep: Vec<Bytes> =
                self.entries.iter().map(|r| Bytes::from(basalt_proto::consensus::encode_record(r))).collect();
            file.rewrite(&keep).map_err(fatal)?;
            self.appended = 0;
        }
        Ok(())
    }
}
