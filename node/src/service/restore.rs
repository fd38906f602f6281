//! What a node takes up from its data directory at start: the chain with its state, the sign record, and the engine's first
//! input that follows from both.

use std::{fs, path::Path, sync::Arc};

use anyhow::{Context as _, bail};
use basalt_bft::{election, record::Record};
use basalt_consensus::{Past, Restored};
use basalt_execution::{Executor, StateTrie, genesis_state};
use basalt_primitives::{ChainSpec, Height, PublicKey, SetOverride};
use basalt_proto::consensus::{decode_record, encode_record};
use basalt_storage::{GenesisState, Ledger, OpenOptions, Reader as _, SignRecord};

use crate::{
    audit,
    chain::{Chain, Newest, StateView},
    dev::NextBlock,
    driver::record::RecordFile,
    validators::ValidatorSets,
};

/// Folder of the ledger below the data directory.
const LEDGER: &str = "ledger";

/// Writes the first entry of a validator's sign record: only for a key that has never signed.
pub fn init_sign_record(data_dir: &Path, spec: &ChainSpec) -> anyhow::Result<()> {
    let first = Record::Initial { genesis: spec.genesis_block().hash() };
    SignRecord::create(data_dir, &encode_record(&first))?;
    Ok(())
}

/// Opens the ledger below a data directory, or makes it, with the state trie at its head, which keeps at most `trie_bytes`
/// in memory. `overrides` are the set overrides the node was given; a ledger that does not fit them is refused.
pub fn open_chain(
    data_dir: &Path,
    spec: ChainSpec,
    options: &OpenOptions,
    trie_bytes: usize,
    overrides: Vec<SetOverride>,
) -> anyhow::Result<(Chain, StateTrie)> {
    let spec = Arc::new(spec);
    fs::create_dir_all(data_dir).with_context(|| format!("cannot make {}", data_dir.display()))?;
    let (changes, trie) = genesis_state(&spec)?;
    let genesis = GenesisState { changes, trie: trie.updates, root: trie.root };
    let ledger = Ledger::open(&data_dir.join(LEDGER), &spec, options, || genesis)?;
    let head = ledger.head();
    let trie = StateTrie::open(head.outcome.state_root, trie_bytes);
    let removals = overrides.iter().map(|o| (o.height, o.lost.clone())).collect();
    let chain = Chain {
        genesis: spec.genesis_block().hash(),
        sets: ValidatorSets::open(&spec, &StateView(ledger.snapshot()), head.height(), overrides)?,
        executor: Arc::new(Executor::new(Arc::clone(&spec)).with_overrides(removals)),
        ledger: Arc::new(ledger),
        newest: Newest::default(),
        next_block: spec.is_devnet().then(NextBlock::default),
        spec,
    };
    Ok((chain, trie))
}

/// The sign record of a validator key, and what the engine must know of it, whether the key is in a validator set or may
/// join one later. Without a key there is none.
pub fn open_record(data_dir: &Path, chain: &Chain, own: Option<PublicKey>) -> anyhow::Result<RecordFile> {
    let mut record = RecordFile { dir: data_dir.to_owned(), file: None, entries: Vec::new(), appended: 0 };
    let Some(own) = own else { return Ok(record) };
    let Some((file, entries)) = SignRecord::open(data_dir)? else {
        if chain.sets.at_known(chain.ledger.head().height().next()).index_of(&own).is_some() {
            tracing::warn!(
                "this validator's sign record is missing: it follows, asks the others what it may have signed, and votes \
                 again when enough of them have answered"
            );
        } else {
            tracing::info!(
                "this validator key has no sign record and no vote at present; should it join, it first asks the others what \
                 it may have signed"
            );
        }
        return Ok(record);
    };
    record.appended = entries.iter().map(|e| e.len()).sum();
    record.entries = entries
        .into_iter()
        .map(|e| decode_record(e.0, chain.spec.hash_fn))
        .collect::<Result<_, _>>()
        .context("the sign record cannot be read; restore it from where it was copied, or remove it and let the validator recover")?;
    if let Some(Record::Initial { genesis } | Record::Released { genesis, .. }) = record.entries.first()
        && *genesis != chain.genesis
    {
        bail!("the sign record in {} belongs to another chain; use another data directory", data_dir.display());
    }
    if let Some(Record::Released { answers, .. }) = record.entries.last() {
        tracing::warn!(
            answers,
            "an operator has released this validator: it recovers with the answers of only {answers} voting power, which is \
             fewer than is safe by itself (see {} in the data directory)",
            audit::FOLDER
        );
    }
    record.file = Some(file);
    Ok(record)
}

/// The engine's first input. `nonce` is random and new at every start.
pub fn restored(chain: &Chain, record: &RecordFile, nonce: u64) -> anyhow::Result<Restored<Record>> {
    let head = chain.ledger.head();
    let next = head.height().next();
    Ok(Restored {
        head: head.block.clone(),
        certificate: head.certificate.clone(),
        had_transactions: !head.block.block().transactions.is_empty(),
        sets: [next, next.next()].map(|h| (h, chain.sets.at_known(h))).to_vec(),
        past: past(chain, head.height())?,
        records: record.file.is_some().then(|| record.entries.clone()),
        nonce,
    })
}

/// The decided heights from which the engine tells who is skipped.
fn past(chain: &Chain, head: Height) -> anyhow::Result<Vec<Past>> {
    let heights = election::history_from(head).0..=head.0;
    heights
        .map(|height| {
            let height = Height(height);
            let header = chain.ledger.header(height)?.with_context(|| {
                format!(
                    "the ledger lacks the header of block {height}, by which proposers are elected: sync this node anew"
                )
            })?;
            Ok(Past { height, first_round: header.first_round, set: chain.sets.at_known(height) })
        })
        .collect()
}
