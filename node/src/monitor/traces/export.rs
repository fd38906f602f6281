//! The task that posts finished traces to the collector, as OTLP over HTTP has it
//! (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>). It alone waits for the collector.

use std::{sync::Arc, time::Duration};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use parking_lot::Mutex;
use prost::Message as _;
use reqwest::{Client, StatusCode, Url, header, redirect::Policy};
use tokio::{sync::mpsc, time::MissedTickBehavior};

use super::{Service, Trace, TracingConfig, TracingError, book::Book, spans};
use crate::{clock, monitor::Metrics};

/// Attempts for one batch.
const ATTEMPTS: u32 = 3;
/// Pause before the first repetition; doubles.
const PAUSE: Duration = Duration::from_millis(500);
/// Most bytes of an answer that are read.
const MAX_ANSWER: usize = 64 << 10;

/// Why a batch was not taken.
enum Failure {
    /// It may go better the next time.
    Again(String),
    /// It will not.
    Final(String),
}

/// Sends traces.
pub(super) struct Exporter {
    client: Client,
    endpoint: Url,
    service: Service,
    book: Arc<Mutex<Book>>,
    metrics: Arc<Metrics>,
    max_batch: usize,
    flush: Duration,
    /// Whether the last batch was given up: each change is said once.
    failing: bool,
}

impl Exporter {
    /// A client that follows nobody elsewhere and uses no proxy.
    pub fn new(
        config: &TracingConfig,
        endpoint: Url,
        service: Service,
        book: Arc<Mutex<Book>>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, TracingError> {
        let timeout = Duration::from_millis(config.timeout_ms);
        let client =
            crate::tls::client::http().timeout(timeout).redirect(Policy::none()).pool_max_idle_per_host(1).no_proxy();
        let client = client.build().map_err(|e| TracingError::Client(e.to_string()))?;
        let flush = Duration::from_millis(config.flush_ms);
        Ok(Self { client, endpoint, service, book, metrics, max_batch: config.max_batch, flush, failing: false })
    }

    /// Sends what comes until nobody can send any more.
    pub async fn run(mut self, mut finished: mpsc::Receiver<Trace>) {
        let mut ticks = tokio::time::interval(self.flush);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::new();
        loop {
            let room = self.max_batch.saturating_sub(batch.len()).max(1);
            let (open, due) = tokio::select! {
                n = finished.recv_many(&mut batch, room) => (n > 0, batch.len() >= self.max_batch),
                _ = ticks.tick() => (true, true),
            };
            if due && open {
                self.expire(&mut batch);
            }
            if (due || !open) && !batch.is_empty() {
                self.send(std::mem::take(&mut batch)).await;
            }
            if !open {
                return;
            }
        }
    }

    /// Takes those that wait for too long out of the book, as many as there may be.
    fn expire(&self, batch: &mut Vec<Trace>) {
        let old = {
            let mut book = self.book.lock();
            let old = book.expire(clock::mono());
            self.metrics.traces_in_flight(book.len());
            old
        };
        old.iter().for_each(|t| self.metrics.trace(t.ended.name()));
        batch.extend(old);
    }

    async fn send(&mut self, traces: Vec<Trace>) {
        let wall_minus_mono = clock::wall().saturating_sub(clock::mono());
        let (request, spans) = spans::request(&self.service, &traces, wall_minus_mono);
        let result = self.deliver(request.encode_to_vec()).await;
        let refused = *result.as_ref().unwrap_or(&0);
        match &result {
            Ok(_) => {
                self.metrics.trace_spans("refused", refused.min(spans));
                self.metrics.trace_spans("exported", spans - refused.min(spans));
            }
            Err(_) => self.metrics.trace_spans("failed", spans),
        }
        if let Err(why) = &result
            && !self.failing
        {
            tracing::warn!(endpoint = %self.endpoint, "traces are not taken: {why}; they are lost and counted until that is mended");
        } else if self.failing && result.is_ok() {
            tracing::info!(endpoint = %self.endpoint, "traces are taken again");
        }
        self.failing = result.is_err();
    }

    /// Posts one batch; gives the number of spans that the collector refused.
    async fn deliver(&self, body: Vec<u8>) -> Result<usize, String> {
        let body = bytes::Bytes::from(body);
        let mut pause = PAUSE;
        for attempt in 1.. {
            match self.attempt(body.clone()).await {
                Ok(refused) => return Ok(refused),
                Err(Failure::Again(_)) if attempt < ATTEMPTS => tokio::time::sleep(pause).await,
                Err(Failure::Again(why) | Failure::Final(why)) => return Err(why),
            }
            pause *= 2;
        }
        Err("no attempt was made".into())
    }

    async fn attempt(&self, body: bytes::Bytes) -> Result<usize, Failure> {
        let request = self
            .client
            .post(self.endpoint.clone())
            .header(header::CONTENT_TYPE, "application/x-protobuf")
            .header(header::USER_AGENT, concat!("basalt/", env!("CARGO_PKG_VERSION")))
            .body(body);
        let mut answer = request.send().await.map_err(|e| Failure::Again(crate::monitor::webhook::describe(&e)))?;
        let status = answer.status();
        if !status.is_success() {
            return Err(judge(status));
        }
        let mut text = Vec::new();
        while let Ok(Some(chunk)) = answer.chunk().await {
            text.extend_from_slice(&chunk);
            if text.len() > MAX_ANSWER {
                return Ok(0);
            }
        }
        // An answer that is not OTLP's is a success all the same: the status says so.
        let partial = ExportTraceServiceResponse::decode(text.as_slice()).ok().and_then(|r| r.partial_success);
        Ok(partial.map_or(0, |p| usize::try_from(p.rejected_spans).unwrap_or(0)))
    }
}

/// What an answer that is no success means: OTLP names those after which a batch may be sent again.
fn judge(status: StatusCode) -> Failure {
    let text = format!("the collector answered {status}");
    let again = [429, 502, 503, 504].contains(&status.as_u16());
    if again {
        Failure::Again(text)
    } else {
        Failure::Final(format!("{text}; see tracing.endpoint and the collector's log"))
    }
}
