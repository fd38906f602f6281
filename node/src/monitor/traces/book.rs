//! The transactions that are being followed. No clock, no I/O.

use std::{
    collections::{HashMap, hash_map},
    sync::Arc,
    time::Duration,
};

use basalt_primitives::{Address, B256, Height, Round};

use super::{
    Taken,
    context::{Arrival, SpanContext},
};

/// A transaction that is in no block for so long is told of as waiting, and not followed further.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// How a transaction came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// By RPC, or from the node itself.
    Rpc,
    /// From a peer.
    Peer,
    /// From the journal, after a restart.
    Journal,
}

/// When the steps of ingress were done for a batch, on the monotonic clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// It was taken out of the queue.
    pub taken: Duration,
    /// Transactions were decoded.
    pub decoded: Duration,
    /// Their signatures were checked.
    pub verified: Duration,
    /// It was their turn to be admitted.
    pub turn: Duration,
    /// They were in the mempool, or refused.
    pub admitted: Duration,
}

/// A followed transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// How it came.
    pub source: Source,
    /// The method it came by; empty when it came otherwise.
    pub method: &'static str,
    /// The caller's trace.
    pub parent: Option<SpanContext>,
    /// When it came.
    pub came: Duration,
    /// What ingress did.
    pub steps: Steps,
}

impl Entry {
    /// What ingress says of it.
    pub(super) fn new(taken: &Taken<'_>, steps: Steps) -> Self {
        let arrival = taken.arrival.unwrap_or(Arrival { at: steps.taken, parent: None, method: "" });
        Self { source: taken.source, method: arrival.method, parent: arrival.parent, came: arrival.at, steps }
    }
}

/// A block as this node saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockSeen {
    /// Its height.
    pub height: Height,
    /// The round in which it was committed.
    pub round: Round,
    /// Who proposed it.
    pub proposer: Address,
    /// Whether it was fetched, so that `proposed` is its timestamp.
    pub fetched: bool,
    /// Its proposal was here.
    pub proposed: Duration,
    /// It was final.
    pub decided: Duration,
    /// It was executed and on disk.
    pub durable: Duration,
}

/// How following a transaction ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It is in a block.
    Executed {
        /// The block.
        block: Arc<BlockSeen>,
        /// Its place among those that ran.
        index: u32,
        /// Whether it ran to its end.
        success: bool,
        /// What it used.
        gas_used: u64,
    },
    /// It was refused, for this reason.
    Refused(String),
    /// It was in no block for long, at this moment.
    Waiting(Duration),
}

impl Ended {
    /// A label of the metric.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Executed { .. } => "executed",
            Self::Refused(_) => "refused",
            Self::Waiting(_) => "waiting",
        }
    }
}

/// All that is known of a transaction that is not followed any longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Its hash; `None` when it was refused before it was known.
    pub tx: Option<B256>,
    /// How it began.
    pub entry: Entry,
    /// How it ended.
    pub ended: Ended,
}

/// The followed transactions, a bounded number of them.
#[derive(Debug)]
pub struct Book {
    max: usize,
    open: HashMap<B256, Entry>,
}

impl Book {
    /// Nothing yet, and at most so many.
    pub fn new(max: usize) -> Self {
        Self { max, open: HashMap::new() }
    }

    /// Whether nothing is followed.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// How many are followed.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Begins to follow; false when there is no room. One that is followed already stays as it is.
    pub fn open(&mut self, tx: B256, entry: Entry) -> bool {
        let full = self.open.len() >= self.max;
        match self.open.entry(tx) {
            hash_map::Entry::Occupied(_) => true,
            hash_map::Entry::Vacant(_) if full => false,
            hash_map::Entry::Vacant(place) => {
                place.insert(entry);
                true
            }
        }
    }

    /// Ends to follow.
    pub fn close(&mut self, tx: &B256) -> Option<Entry> {
        self.open.remove(tx)
    }

    /// Gives up those that wait for too long.
    pub fn expire(&mut self, now: Duration) -> Vec<Trace> {
        let old = self.open.extract_if(|_, e| now.saturating_sub(e.came) > PATIENCE);
        old.map(|(tx, entry)| Trace { tx: Some(tx), entry, ended: Ended::Waiting(now) }).collect()
    }
}
