//! Searches for logs: by the ledger's index, and block by block below the height from which it goes.

use basalt_primitives::Height;
use basalt_storage::{FoundLog, FoundLogs, LogQuery, SearchEnd, SearchLimits};

use super::{Chain, reader::read_error};
use crate::rpc::ports::{LogSearch, ReadError, scan_logs};

/// Rows of the index and logs that one search reads at most: some seconds of work at worst.
const MAX_ROWS: usize = 4_000_000;

pub(super) fn find(
    chain: &Chain,
    query: &LogQuery,
    from: Height,
    to: Height,
    limit: usize,
) -> Result<LogSearch, ReadError> {
    let snapshot = chain.ledger.snapshot();
    let indexed = snapshot.logs_from().map_err(read_error)?;
    let mut logs: Vec<FoundLog> = Vec::new();
    if let Some(last) = indexed.prev().filter(|last| from <= *last) {
        match scan_logs(chain, query, from, to.min(last), limit)? {
            LogSearch::Found(found) => logs = found,
            other => return Ok(other),
        }
    }
    if to < indexed {
        return Ok(LogSearch::Found(logs));
    }
    let limits = SearchLimits { logs: limit - logs.len(), rows: MAX_ROWS };
    let FoundLogs { logs: more, end } = snapshot.find_logs(query, from.max(indexed), to, limits).map_err(read_error)?;
    logs.extend(more);
    Ok(match end {
        SearchEnd::Complete => LogSearch::Found(logs),
        SearchEnd::TooManyLogs(height) => LogSearch::TooMany(height),
        SearchEnd::TooMuchWork(height) => LogSearch::TooMuchWork(height),
    })
}
