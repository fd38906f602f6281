//! Traces of transactions in OpenTelemetry's protocol (OTLP over HTTP): what happened to a transaction at this node, from its
//! arrival to its block's execution. Off unless `tracing.endpoint` is set; then nothing here exists.
//!
//! In: what ingress admitted, with the times of its steps, and every durable block. The [`book`] keeps the transactions
//! that are followed; what ends goes, through a bounded queue, to the task of [`export`], which makes spans of it
//! ([`spans`]) and posts them. Nobody ever waits for the collector: what does not fit is dropped and counted.
//!
//! All nodes follow the same part of the transactions and give them the same trace ids, because both come from the
//! transaction's hash: no byte of it goes over the network. A request with a `traceparent` header (W3C Trace Context) puts
//! its transactions into the caller's trace instead, on the node that it reaches.

mod book;
pub mod config;
mod context;
mod export;
mod spans;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use basalt_primitives::{Address, B256, Height, Receipt, Round};
use parking_lot::Mutex;
use tokio::{runtime::Handle, sync::mpsc};

use book::Book;
pub use book::{BlockSeen, Ended, Entry, Source, Steps, Trace};
pub use config::{TracingConfig, TracingError};
pub use context::{Arrival, SpanContext};
pub use spans::Service;

use super::Metrics;
use crate::rpc::ports::SubmitError;

/// Follows transactions. Cheap to ask from any thread.
pub struct Tracer {
    sample_rate: f64,
    book: Arc<Mutex<Book>>,
    finished: mpsc::Sender<Trace>,
    metrics: Arc<Metrics>,
}

/// What ingress says of one transaction of a batch.
pub struct Taken<'a> {
    /// How the batch came.
    pub source: Source,
    /// When it came, and with which context.
    pub arrival: Option<Arrival>,
    /// The transaction's hash, or why it was refused.
    pub result: Result<B256, &'a SubmitError>,
}

/// What a durable block says.
pub struct Block<'a> {
    /// Its height.
    pub height: Height,
    /// The round in which it was committed.
    pub round: Round,
    /// Who proposed it.
    pub proposer: Address,
    /// How long its proposal has been known here; `None` for a block that was fetched.
    pub known_for: Option<Duration>,
    /// How long ago its timestamp is.
    pub age: Duration,
    /// How long it took from being final to being durable.
    pub took: Duration,
    /// What its transactions did.
    pub receipts: &'a [Receipt],
}

impl Tracer {
    /// Starts the exporter's task on `runtime`; `None` when tracing is off.
    pub fn start(
        config: &TracingConfig,
        service: Service,
        metrics: Arc<Metrics>,
        runtime: &Handle,
    ) -> Result<Option<Arc<Self>>, TracingError> {
        let Some(endpoint) = config.endpoint()? else { return Ok(None) };
        let book = Arc::new(Mutex::new(Book::new(config.max_in_flight)));
        let (finished, queue) = mpsc::channel(config.max_queued);
        let exporter = export::Exporter::new(config, endpoint, service, Arc::clone(&book), Arc::clone(&metrics))?;
        runtime.spawn(exporter.run(queue));
        Ok(Some(Arc::new(Self { sample_rate: config.sample_rate, book, finished, metrics })))
    }

    /// Transactions went through ingress, with these steps.
    pub fn taken<'a>(&self, steps: Steps, taken: impl Iterator<Item = Taken<'a>>) {
        for one in taken {
            let parent = one.arrival.and_then(|a| a.parent);
            match one.result {
                Ok(tx) if self.is_followed(&tx, parent) => {
                    let label = match self.book.lock().open(tx, Entry::new(&one, steps)) {
                        true => "begun",
                        false => "left_out",
                    };
                    self.metrics.trace(label);
                }
                Ok(_) => {}
                // Only who asked for a trace can make use of one without a transaction.
                Err(reason) if parent.is_some_and(|p| p.sampled) => {
                    self.metrics.trace("begun");
                    let reason = reason.to_string().chars().take(MAX_REASON).collect();
                    self.finish(Trace { tx: None, entry: Entry::new(&one, steps), ended: Ended::Refused(reason) });
                }
                Err(_) => {}
            }
        }
    }

    /// A block has become durable at `now`, on the monotonic clock.
    pub fn committed(&self, now: Duration, block: &Block<'_>) {
        let mut book = self.book.lock();
        if book.is_empty() {
            return;
        }
        let seen = Arc::new(BlockSeen {
            height: block.height,
            round: block.round,
            proposer: block.proposer,
            fetched: block.known_for.is_none(),
            proposed: now.saturating_sub(block.known_for.unwrap_or(block.age)),
            decided: now.saturating_sub(block.took),
            durable: now,
        });
        let ended: Vec<Trace> = (0..)
            .zip(block.receipts)
            .filter_map(|(index, r)| {
                let entry = book.close(&r.tx_hash)?;
                let (block, success, gas_used) = (Arc::clone(&seen), r.success, r.gas_used);
                Some(Trace { tx: Some(r.tx_hash), entry, ended: Ended::Executed { block, index, success, gas_used } })
            })
            .collect();
        drop(book);
        ended.into_iter().for_each(|t| self.finish(t));
    }

    /// Whether a transaction is followed: as its caller wishes, else by its hash, the same on all nodes.
    fn is_followed(&self, tx: &B256, parent: Option<SpanContext>) -> bool {
        parent.map_or_else(|| context::sampled(tx, self.sample_rate), |p| p.sampled)
    }

    fn finish(&self, trace: Trace) {
        self.metrics.trace(trace.ended.name());
        if self.finished.try_send(trace).is_err() {
            self.metrics.trace("dropped");
        }
    }
}

/// Longest text of a refusal that is kept.
const MAX_REASON: usize = 300;
