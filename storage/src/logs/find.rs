//! The search: cursors over the rows of each address and topic asked for.
//!
//! The part of the query whose rows are sparsest leads; each log that it names is read and compared, which costs less than
//! asking the other parts about it. Only when what is read does not match, time after time, are all parts walked together
//! to the next height at which each has a row.

use basalt_primitives::{Address, B256, Height, Log, Millis};

use super::{StoredLog, Term, decode_positions};
use crate::{
    Snapshot, StorageError,
    database::Rows,
    reader::{Reader as _, corrupt},
    tables::{Table, height_key, log_key, meta},
};

/// What logs to look for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Any of these; empty for all.
    pub addresses: Vec<Address>,
    /// By place any of these; empty for any topic, which must be there.
    pub topics: Vec<Vec<B256>>,
}

impl LogQuery {
    /// Whether a log is one of them.
    #[must_use]
    pub fn matches(&self, log: &Log) -> bool {
        let any =
            |wanted: &[B256], topic: Option<&B256>| topic.is_some_and(|t| wanted.is_empty() || wanted.contains(t));
        (self.addresses.is_empty() || self.addresses.contains(&log.address))
            && self.topics.iter().enumerate().all(|(i, wanted)| any(wanted, log.topics.get(i)))
    }

    /// Terms of which a log must have one, per part that is not open.
    fn parts(&self) -> Vec<Vec<Term>> {
        let addresses: Vec<Term> = self.addresses.iter().map(Term::address).collect();
        let topic = |(i, wanted): (usize, &Vec<B256>)| wanted.iter().map(|t| Term::topic(i, t)).collect::<Vec<_>>();
        let topics = self.topics.iter().enumerate().map(topic);
        let mut parts: Vec<Vec<Term>> = [addresses].into_iter().chain(topics).filter(|p| !p.is_empty()).collect();
        parts.iter_mut().for_each(|p| {
            p.sort_unstable();
            p.dedup();
        });
        parts.sort_by_key(Vec::len);
        parts
    }
}

/// A log and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundLog {
    /// Height of its block.
    pub height: Height,
    /// Hash of its block.
    pub block_hash: B256,
    /// Time of its block.
    pub timestamp_ms: Millis,
    /// Position among the block's logs.
    pub position: u32,
    /// Position of its receipt among the block's.
    pub receipt: u32,
    /// Hash of its transaction.
    pub tx_hash: B256,
    /// The log.
    pub log: Log,
}

/// What a search may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SearchLimits {
    /// Most logs found.
    pub logs: usize,
    /// Most rows read, of index and logs together.
    pub rows: usize,
}

/// How a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchEnd {
    /// Every log of the range was found.
    Complete,
    /// More logs than the limit, at this height.
    TooManyLogs(Height),
    /// More rows than the limit, at this height.
    TooMuchWork(Height),
}

/// What a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundLogs {
    /// In the order of the chain.
    pub logs: Vec<FoundLog>,
    /// Whether these are all.
    pub end: SearchEnd,
}

impl Snapshot {
    /// The first height whose logs are indexed.
    pub fn logs_from(&self) -> Result<Height, StorageError> {
        let bytes = self.get(Table::Meta, meta::LOG_INDEX)?;
        let height = bytes.and_then(|b| crate::codec::decode_u64(&b)).map(Height);
        height.ok_or_else(|| corrupt(Table::Meta, meta::LOG_INDEX, "is missing or cannot be decoded"))
    }

    /// The logs of the blocks `from..=to` that match, of those that are indexed ([`Self::logs_from`]).
    pub fn find_logs(
        &self,
        query: &LogQuery,
        from: Height,
        to: Height,
        limits: SearchLimits,
    ) -> Result<FoundLogs, StorageError> {
        let parts = query.parts();
        let mut search = Search { snapshot: self, query, limits, rows: 0, block: None, found: Vec::new() };
        let end = if parts.is_empty() { search.scan(from, to)? } else { search.walk(parts, from, to)? };
        Ok(FoundLogs { logs: search.found, end: end.unwrap_or(SearchEnd::Complete) })
    }
}

/// Rows by which it is judged how sparse a part is.
const SAMPLE: usize = 8;
/// Logs read in vain, one after the other, before all parts are asked.
const PATIENCE: usize = 16;

struct Search<'a> {
    snapshot: &'a Snapshot,
    query: &'a LogQuery,
    limits: SearchLimits,
    rows: usize,
    /// Of the block last looked at: height, hash, time.
    block: Option<(Height, B256, Millis)>,
    found: Vec<FoundLog>,
}

impl Search<'_> {
    /// Every log of the range: no part of the query names a term.
    fn scan(&mut self, from: Height, to: Height) -> Result<Option<SearchEnd>, StorageError> {
        for row in self.snapshot.rows(Table::Logs, &log_key(from, 0), &[]) {
            let (key, value) = row?;
            let Some((height, position)) = split_log_key(&key) else {
                return Err(corrupt(Table::Logs, &key, "is no key of a log"));
            };
            if height > to {
                break;
            }
            self.rows += 1;
            if self.rows > self.limits.rows {
                return Ok(Some(SearchEnd::TooMuchWork(height)));
            }
            let stored = StoredLog::decode(&value).ok_or_else(|| corrupt(Table::Logs, &key, "cannot be decoded"))?;
            if self.query.matches(&stored.log) && !self.push(height, position, stored)? {
                return Ok(Some(SearchEnd::TooManyLogs(height)));
            }
        }
        Ok(None)
    }

    /// The heights at which the leading part has a row, rising; there, the logs that it names.
    fn walk(&mut self, mut parts: Vec<Vec<Term>>, from: Height, to: Height) -> Result<Option<SearchEnd>, StorageError> {
        let snapshot = self.snapshot;
        self.sparsest_first(&mut parts, from, to)?;
        let mut parts: Vec<Part<'_>> = parts.into_iter().map(|terms| Part::new(snapshot, terms, from)).collect();
        let (mut at, mut in_vain) = (from, 0);
        loop {
            let all = in_vain >= PATIENCE;
            let asked = if all { &mut parts[..] } else { &mut parts[..1] };
            let Some(height) = agree(asked, at, to, &mut self.rows, self.limits.rows)? else { return Ok(None) };
            if self.rows > self.limits.rows {
                return Ok(Some(SearchEnd::TooMuchWork(height)));
            }
            let mut positions = asked[0].positions(height)?;
            for part in &asked[1..] {
                let other = part.positions(height)?;
                positions.retain(|p| other.binary_search(p).is_ok());
            }
            for position in positions {
                self.rows += 1;
                if self.rows > self.limits.rows {
                    return Ok(Some(SearchEnd::TooMuchWork(height)));
                }
                let stored = self.log(height, position)?;
                if !self.query.matches(&stored.log) {
                    in_vain += 1;
                } else if self.push(height, position, stored)? {
                    in_vain = 0;
                } else {
                    return Ok(Some(SearchEnd::TooManyLogs(height)));
                }
            }
            at = height.next();
        }
    }

    /// Puts the part first whose first rows reach furthest.
    fn sparsest_first(&mut self, parts: &mut [Vec<Term>], from: Height, to: Height) -> Result<(), StorageError> {
        if parts.len() < 2 {
            return Ok(());
        }
        let mut reach = Vec::with_capacity(parts.len());
        for terms in &*parts {
            let mut part = Part::new(self.snapshot, terms.clone(), from);
            let mut at = from;
            for _ in 0..SAMPLE {
                match part.first(at, &mut self.rows)?.filter(|h| *h <= to) {
                    Some(height) => at = height.next(),
                    None => {
                        at = Height(u64::MAX);
                        break;
                    }
                }
            }
            reach.push(at);
        }
        let sparsest = (0..reach.len()).max_by_key(|i| (reach[*i], std::cmp::Reverse(*i))).unwrap_or(0);
        parts.swap(0, sparsest);
        Ok(())
    }

    fn log(&self, height: Height, position: u32) -> Result<StoredLog, StorageError> {
        let key = log_key(height, position);
        let row = self.snapshot.get(Table::Logs, &key)?;
        let row = row.ok_or_else(|| corrupt(Table::Logs, &key, "is missing, but the index names it"))?;
        StoredLog::decode(&row).ok_or_else(|| corrupt(Table::Logs, &key, "cannot be decoded"))
    }

    /// False when there is no room for it.
    fn push(&mut self, height: Height, position: u32, stored: StoredLog) -> Result<bool, StorageError> {
        if self.found.len() == self.limits.logs {
            return Ok(false);
        }
        let (block_hash, timestamp_ms) = self.block(height)?;
        let StoredLog { receipt, tx_hash, log } = stored;
        self.found.push(FoundLog { height, block_hash, timestamp_ms, position, receipt, tx_hash, log });
        Ok(true)
    }

    fn block(&mut self, height: Height) -> Result<(B256, Millis), StorageError> {
        if let Some((_, hash, time)) = self.block.filter(|b| b.0 == height) {
            return Ok((hash, time));
        }
        let missing = || corrupt(Table::Headers, &height_key(height), "is missing, but the block has logs");
        let hash = self.snapshot.block_hash(height)?.ok_or_else(missing)?;
        let time = self.snapshot.header(height)?.ok_or_else(missing)?.timestamp_ms;
        self.block = Some((height, hash, time));
        Ok((hash, time))
    }
}

/// The first height from `at` to `to` at which every part has a row. Stops early, at some height, when `rows` passes `limit`.
fn agree(
    parts: &mut [Part<'_>],
    mut at: Height,
    to: Height,
    rows: &mut usize,
    limit: usize,
) -> Result<Option<Height>, StorageError> {
    loop {
        let mut highest = at;
        for part in &mut *parts {
            let Some(height) = part.first(highest, rows)?.filter(|h| *h <= to) else { return Ok(None) };
            highest = height;
        }
        // The first part may have been asked before another one moved on.
        if highest == at || *rows > limit || parts.len() == 1 {
            return Ok(Some(highest));
        }
        at = highest;
    }
}

/// Terms of which any will do.
struct Part<'a>(Vec<Cursor<'a>>);

/// The rows of one term.
struct Cursor<'a> {
    term: Term,
    rows: Rows<'a>,
    /// The row it stands on; `None` at the end.
    at: Option<(Height, Vec<u8>)>,
    started: bool,
}

impl<'a> Part<'a> {
    fn new(snapshot: &'a Snapshot, terms: Vec<Term>, from: Height) -> Self {
        let cursor = |term: Term| {
            let rows = snapshot.rows(Table::LogIndex, &term.key(from), term.as_slice());
            Cursor { term, rows, at: None, started: false }
        };
        Self(terms.into_iter().map(cursor).collect())
    }

    /// The first height at or after `at` with a row of any term.
    fn first(&mut self, at: Height, rows: &mut usize) -> Result<Option<Height>, StorageError> {
        let mut first: Option<Height> = None;
        for cursor in &mut self.0 {
            cursor.advance(at, rows)?;
            let height = cursor.at.as_ref().map(|(h, _)| *h);
            first = [first, height].into_iter().flatten().min();
        }
        Ok(first)
    }

    /// The positions that any term names at a height, rising.
    fn positions(&self, height: Height) -> Result<Vec<u32>, StorageError> {
        let mut all = Vec::new();
        for cursor in &self.0 {
            if let Some((_, bytes)) = cursor.at.as_ref().filter(|(h, _)| *h == height) {
                let positions = decode_positions(bytes);
                let key = || cursor.term.key(height);
                all.extend(positions.ok_or_else(|| corrupt(Table::LogIndex, &key(), "cannot be decoded"))?);
            }
        }
        all.sort_unstable();
        all.dedup();
        Ok(all)
    }
}

impl Cursor<'_> {
    /// Moves to the first row at or after a height, if it is not there already: often that is the next one.
    fn advance(&mut self, to: Height, rows: &mut usize) -> Result<(), StorageError> {
        let before = |at: &Option<(Height, Vec<u8>)>| at.as_ref().is_some_and(|(h, _)| *h < to);
        if !self.started || before(&self.at) {
            self.started = true;
            self.step(rows)?;
        }
        if before(&self.at) {
            self.rows.seek(&self.term.key(to));
            self.step(rows)?;
        }
        Ok(())
    }

    fn step(&mut self, rows: &mut usize) -> Result<(), StorageError> {
        *rows += 1;
        self.at = match self.rows.next().transpose()? {
            None => None,
            Some((key, value)) => {
                let height = key.get(self.term.as_slice().len()..).and_then(|h| h.try_into().ok());
                let height = height.ok_or_else(|| corrupt(Table::LogIndex, &key, "is no key of the index"))?;
                Some((Height(u64::from_be_bytes(height)), value.to_vec()))
            }
        };
        Ok(())
    }
}

fn split_log_key(key: &[u8]) -> Option<(Height, u32)> {
    let (height, position) = key.split_first_chunk::<8>()?;
    Some((Height(u64::from_be_bytes(*height)), u32::from_be_bytes(position.try_into().ok()?)))
}
