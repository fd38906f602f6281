//! What a node of a chain of proof of work must know after a crash: the blocks it judged valid that are not final yet, in the
//! order in which it did, and the operator's word. A file like the sign record, in a folder of its own; what is final is in
//! the ledger, from which the engine gets the headers below.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use basalt_consensus::Restored;
use basalt_pow::{Record, Root, SealedHeader, Sealing, Work};
use basalt_primitives::{Bytes, Header, Height, Millis, Seal, SealedBlock};
use basalt_proto::{Codec as _, pow::PowRecord};
use basalt_storage::{Reader as _, SignRecord, Snapshot};

use crate::{chain::Chain, driver::Fatal};

/// Folder of the file below the data directory.
const FOLDER: &str = "blocks";
/// The file is rewritten with what is still needed after so many bytes.
const REWRITE_AT: u64 = 64 << 20;
/// Timestamps that the rules of the next block rest on, below its parent.
const TIMES_BELOW: u64 = 10;

/// The records on disk.
pub struct Records {
    dir: PathBuf,
    file: Option<SignRecord>,
    /// What is in the file and still needed, oldest first.
    blocks: Vec<(Height, Bytes)>,
    checkpoint: Option<Bytes>,
    rewrite_at: u64,
}

impl Records {
    /// Opens the file of a data directory; gives what is in it, oldest first.
    pub fn open(data_dir: &Path, chain: &Chain) -> anyhow::Result<(Self, Vec<Record>)> {
        let dir = data_dir.join(FOLDER);
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let mend = || {
            format!(
                "the blocks that were not final cannot be read from {}; remove that folder: they are fetched from peers again",
                dir.display()
            )
        };
        let opened = SignRecord::open(&dir).with_context(mend)?;
        let (file, entries) = opened.map_or((None, Vec::new()), |(file, entries)| (Some(file), entries));
        let mut records = Self { dir: dir.clone(), file, blocks: Vec::new(), checkpoint: None, rewrite_at: REWRITE_AT };
        let mut found = Vec::with_capacity(entries.len());
        for entry in entries {
            match PowRecord::decode(entry.0.clone()).with_context(mend)? {
                PowRecord::Block(block) => {
                    let block = SealedBlock::new(*block, chain.spec.hash_fn);
                    records.blocks.push((block.height(), entry));
                    found.push(Record::Block(block));
                }
                PowRecord::Checkpoint { height, block } => {
                    records.checkpoint = Some(entry);
                    found.push(Record::Checkpoint { height, block });
                }
            }
        }
        Ok((records, found))
    }

    /// Appends a record and syncs it. What is final is history.
    pub fn append(&mut self, record: &Record, finalized: Height) -> Result<(), Fatal> {
        let bytes = match record {
            Record::Block(block) => PowRecord::Block(Box::new(block.block().clone())).encode(),
            Record::Checkpoint { height, block } => PowRecord::Checkpoint { height: *height, block: *block }.encode(),
            // Those are made from the ledger.
            Record::Root(_) | Record::Trunk(_) => return Ok(()),
        };
        let bytes = Bytes::from(bytes);
        self.blocks.retain(|(height, _)| *height > finalized);
        match record {
            Record::Block(block) => self.blocks.push((block.height(), bytes.clone())),
            _ => self.checkpoint = Some(bytes.clone()),
        }
        self.write(&bytes).map_err(|e| Fatal(format!("cannot write down a block: {e}")))
    }

    fn write(&mut self, bytes: &Bytes) -> Result<(), basalt_storage::StorageError> {
        let Some(file) = &mut self.file else {
            self.file = Some(SignRecord::create(&self.dir, bytes)?);
            return Ok(());
        };
        file.append(bytes)?;
        if file.length() > self.rewrite_at {
            let keep: Vec<Bytes> = self.checkpoint.iter().chain(self.blocks.iter().map(|(_, b)| b)).cloned().collect();
            file.rewrite(&keep)?;
            // What is not final yet may be more than that by itself.
            self.rewrite_at = REWRITE_AT.max(2 * file.length());
        }
        Ok(())
    }
}

/// The engine's first input: the last final headers from the ledger, then the records, oldest first.
pub fn restored(
    chain: &Chain,
    sealing: Sealing,
    margin: u64,
    records: Vec<Record>,
    nonce: u64,
) -> anyhow::Result<Restored<Record>> {
    let ledger = chain.ledger.snapshot();
    let head = ledger.finalized();
    let mut all = Vec::new();
    let root = head.height().0.saturating_sub(margin);
    if root > 0 {
        all.push(Record::Root(root_at(&ledger, Height(root))?));
    }
    for height in (root + 1..=head.height().0).map(Height) {
        let header = sealing.check(header_at(&ledger, height)?);
        let header: SealedHeader = header.with_context(|| format!("block {height} of the ledger is not sealed"))?;
        all.push(Record::Trunk(header));
    }
    all.extend(records.into_iter().filter(|r| !matches!(r, Record::Block(b) if b.height() <= head.height())));
    Ok(Restored {
        head: head.block.clone(),
        certificate: None,
        had_transactions: false,
        sets: Vec::new(),
        past: Vec::new(),
        records: Some(all),
        nonce,
    })
}

fn header_at(ledger: &Snapshot, height: Height) -> anyhow::Result<Header> {
    ledger.header(height)?.with_context(|| {
        format!("the ledger lacks the header of block {height}, on which the difficulty rests: sync this node anew")
    })
}

fn root_at(ledger: &Snapshot, height: Height) -> anyhow::Result<Root> {
    let header = header_at(ledger, height)?;
    let summary = ledger.summary(height)?;
    let work = summary.and_then(|s| Some((s.hash, s.work?)));
    let (hash, work) =
        work.with_context(|| format!("the ledger lacks the work of block {height}: sync this node anew"))?;
    let Seal::Work { target, .. } = header.seal else { anyhow::bail!("block {height} of the ledger has no seal") };
    let below = (height.0.saturating_sub(TIMES_BELOW)..height.0).rev();
    let times: Vec<Millis> =
        below.map(|h| header_at(ledger, Height(h)).map(|h| h.timestamp_ms)).collect::<anyhow::Result<_>>()?;
    Ok(Root {
        hash,
        height,
        time_ms: header.timestamp_ms,
        target,
        work: Work::from_stored(work.total),
        first_ms: header_at(ledger, Height(1))?.timestamp_ms,
        times_below: times,
    })
}
