//! Searching logs without an index.

use alloy_primitives::{B256, Bloom, BloomInput};
use basalt_primitives::{Height, Log, Receipt};
use basalt_storage::{FoundLog, LogQuery};

use super::chain::{BlockView, ChainReader, ReadError};

/// Blocks without an index that one search looks at, at most.
pub const SCANNED_BLOCKS: u64 = 10_000;

/// What a search for logs came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogSearch {
    /// These are all.
    Found(Vec<FoundLog>),
    /// More than the limit, by this height.
    TooMany(Height),
    /// The search would look at more than it may; at this height it stopped.
    TooMuchWork(Height),
    /// So many blocks of the range are from before logs were indexed: more than may be looked at one by one.
    NotIndexed(u64),
}

/// Looks at the blocks one by one; what a bloom rules out costs little.
pub fn scan_logs<R: ChainReader + ?Sized>(
    reader: &R,
    query: &LogQuery,
    from: Height,
    to: Height,
    limit: usize,
) -> Result<LogSearch, ReadError> {
    let blocks = to.0.saturating_sub(from.0).saturating_add(1);
    if blocks > SCANNED_BLOCKS {
        return Ok(LogSearch::NotIndexed(blocks));
    }
    let mut found = Vec::new();
    for height in (from.0..=to.0).map(Height) {
        let Some(view) = reader.block(height)? else { break };
        if view.bloom.is_zero() || !may_match(query, &view.bloom) {
            continue;
        }
        let receipts = reader.receipts(height)?.unwrap_or_default();
        found.extend(matching(query, &view, &receipts));
        if found.len() > limit {
            return Ok(LogSearch::TooMany(height));
        }
    }
    Ok(LogSearch::Found(found))
}

/// Whether a block with this bloom may have a log that matches.
#[must_use]
pub fn may_match(query: &LogQuery, bloom: &Bloom) -> bool {
    let has = |bytes: &[u8]| bloom.contains_input(BloomInput::Raw(bytes));
    (query.addresses.is_empty() || query.addresses.iter().any(|a| has(a.as_slice())))
        && query.topics.iter().all(|t| t.is_empty() || t.iter().any(|h| has(h.as_slice())))
}

/// The logs of a block that match.
pub fn matching<'a>(
    query: &'a LogQuery,
    view: &'a BlockView,
    receipts: &'a [Receipt],
) -> impl Iterator<Item = FoundLog> + 'a {
    let logs = (0..).zip(receipts).flat_map(|(i, r)| r.logs.iter().map(move |log| (i, r.tx_hash, log)));
    let found = |(position, (receipt, tx_hash, log)): (u32, (u32, B256, &Log))| FoundLog {
        height: view.height(),
        block_hash: view.hash,
        timestamp_ms: view.header.timestamp_ms,
        position,
        receipt,
        tx_hash,
        log: log.clone(),
    };
    (0..).zip(logs).filter(|(_, (_, _, log))| query.matches(log)).map(found)
}
