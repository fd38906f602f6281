//! Filters that clients poll: logs, blocks, pending transactions. Bounded in number; one that is not polled for a while
//! goes.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use alloy_primitives::B256;
use basalt_primitives::Height;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::broadcast::{Receiver, error::TryRecvError};

use crate::dev::Rewound;

use super::{
    App, RpcError,
    events::Event,
    format::LogJson,
    logs::{self, LogFilter, LogRange},
    types::BlockId,
};

/// Most block hashes in one answer.
const MAX_HASHES: u64 = 10_000;

/// What a filter looks for.
pub(crate) enum Kind {
    /// Logs of blocks after `next - 1`.
    Logs { filter: LogFilter, range: LogRange, next: Height, removed: Vec<LogJson> },
    /// Blocks from `next` on.
    Blocks { next: Height },
    /// Transactions that come into the mempool.
    Pending(Receiver<Event>),
}

struct Installed {
    kind: Kind,
    polled: Instant,
}

/// All installed filters.
pub struct Filters {
    max: usize,
    lifetime: Duration,
    by_id: Mutex<HashMap<u128, Installed>>,
}

/// What changed since the last poll.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Changes {
    /// For log filters.
    Logs(Vec<LogJson>),
    /// For block and transaction filters.
    Hashes(Vec<B256>),
}

/// What a poll has to do, found out under the lock and done outside.
enum Work {
    Logs(LogFilter, Height, Height, Vec<LogJson>),
    Blocks(Height, Height),
    Hashes(Vec<B256>),
}

impl Filters {
    pub(crate) fn new(max: usize, lifetime_ms: u64) -> Self {
        Self { max, lifetime: Duration::from_millis(lifetime_ms), by_id: Mutex::default() }
    }

    /// Installs a filter and gives it an id that nobody can guess.
    pub(crate) fn install(&self, kind: Kind) -> Result<String, RpcError> {
        let mut by_id = self.by_id.lock();
        if by_id.len() >= self.max {
            by_id.retain(|_, f| f.polled.elapsed() < self.lifetime);
        }
        if by_id.len() >= self.max {
            return Err(RpcError::limit(format!(
                "the limit of {} filters is reached; uninstall some with eth_uninstallFilter or use eth_getLogs",
                self.max
            )));
        }
        let id = new_id();
        by_id.insert(id, Installed { kind, polled: Instant::now() });
        Ok(format!("{id:#x}"))
    }

    /// Removes a filter; false if there is none.
    pub(crate) fn uninstall(&self, id: &Value) -> bool {
        parse_id(id).is_some_and(|id| self.by_id.lock().remove(&id).is_some())
    }

    /// What came since the last poll.
    pub(crate) fn changes(&self, app: &App, id: &Value) -> Result<Changes, RpcError> {
        match self.work(app, id)? {
            Work::Hashes(hashes) => Ok(Changes::Hashes(hashes)),
            Work::Logs(_, from, to, removed) if from > to => Ok(Changes::Logs(removed)),
            Work::Logs(filter, from, to, mut logs) => {
                logs.extend(logs::scan(app, &filter, from, to)?);
                Ok(Changes::Logs(logs))
            }
            Work::Blocks(from, to) => {
                // A poller that stayed away for longer gets the newest.
                let from = from.0.max(to.0.saturating_sub(MAX_HASHES));
                let mut hashes = Vec::new();
                for n in from..=to.0 {
                    hashes.extend(app.chain.view(BlockId::Number(n))?.map(|v| v.hash));
                }
                Ok(Changes::Hashes(hashes))
            }
        }
    }

    fn work(&self, app: &App, id: &Value) -> Result<Work, RpcError> {
        let mut by_id = self.by_id.lock();
        // Under the lock: whoever takes blocks back sets `next` back afterwards.
        let head = app.chain.reader().head();
        let installed = self.find(&mut by_id, id)?;
        Ok(match &mut installed.kind {
            Kind::Logs { filter, range, next, removed } => {
                let from = std::mem::replace(next, (*next).max(head.next()));
                let last = match range {
                    LogRange::Between(_, BlockId::Number(n)) => head.min(Height(*n)),
                    _ => head,
                };
                Work::Logs(filter.clone(), from, last, std::mem::take(removed))
            }
            Kind::Blocks { next } => Work::Blocks(std::mem::replace(next, (*next).max(head.next())), head),
            Kind::Pending(events) => Work::Hashes(drain(events)),
        })
    }

    /// Takes in that blocks were taken back: what a filter has given out of them it gives out again as removed, at most
    /// `max_logs`, and it goes on from the block that is now the newest.
    pub(crate) fn rewound(&self, rewound: &Rewound, max_logs: usize) {
        let first = rewound.to.next();
        for installed in self.by_id.lock().values_mut() {
            match &mut installed.kind {
                Kind::Logs { filter, next, removed, .. } => {
                    let seen = rewound.removed.iter().filter(|b| b.view.height() < *next);
                    let logs = seen.flat_map(|b| filter.collect(&b.view, &b.receipts)).map(LogJson::removed);
                    let room = max_logs.saturating_sub(removed.len());
                    removed.extend(logs.take(room));
                    *next = (*next).min(first);
                }
                Kind::Blocks { next } => *next = (*next).min(first),
                Kind::Pending(_) => {}
            }
        }
    }

    /// The whole result of a log filter, as `eth_getFilterLogs` gives it.
    pub(crate) fn all_logs(&self, app: &App, id: &Value) -> Result<Vec<LogJson>, RpcError> {
        let (filter, range) = {
            let mut by_id = self.by_id.lock();
            match &self.find(&mut by_id, id)?.kind {
                Kind::Logs { filter, range, .. } => (filter.clone(), *range),
                _ => return Err(RpcError::server("filter not found: this id is not of a log filter")),
            }
        };
        logs::query(app, &filter, range)
    }

    fn find<'a>(&self, by_id: &'a mut HashMap<u128, Installed>, id: &Value) -> Result<&'a mut Installed, RpcError> {
        let missing = || {
            let seconds = self.lifetime.as_secs();
            RpcError::server(format!(
                "filter not found: it never existed, was uninstalled, or was not polled for {seconds} seconds; install it again"
            ))
        };
        let id = parse_id(id).ok_or_else(missing)?;
        if by_id.get(&id).is_some_and(|f| f.polled.elapsed() >= self.lifetime) {
            by_id.remove(&id);
        }
        let found = by_id.get_mut(&id).ok_or_else(missing)?;
        found.polled = Instant::now();
        Ok(found)
    }
}

/// Hashes of the transactions announced since the last poll; what the buffer lost is lost.
fn drain(events: &mut Receiver<Event>) -> Vec<B256> {
    let mut hashes = Vec::new();
    loop {
        match events.try_recv() {
            Ok(Event::Pending(txs)) => hashes.extend(txs.iter().map(|t| t.hash())),
            Ok(Event::Block(_) | Event::Alert(_) | Event::Rewound(_)) | Err(TryRecvError::Lagged(_)) => {}
            Err(TryRecvError::Empty | TryRecvError::Closed) => return hashes,
        }
    }
}

/// A random id, for filters and subscriptions; never 0.
pub(crate) fn new_id() -> u128 {
    rand::random::<u128>() | 1
}

fn parse_id(id: &Value) -> Option<u128> {
    u128::from_str_radix(id.as_str()?.strip_prefix("0x")?, 16).ok()
}
