//! Webhooks: alert events to HTTP endpoints of the operator's choice.
//!
//! Each webhook has a bounded queue and a task of its own, so that a slow endpoint delays nobody else. A delivery is
//! signed (`X-Basalt-Signature: sha256=…`, HMAC-SHA-256 of the body under the webhook's secret) and repeated with growing
//! pauses until the endpoint answers 2xx; `X-Basalt-Delivery` is the same over all repetitions. Redirects are not
//! followed: whoever answers at the address would choose where the node connects to.

mod delivery;
mod target;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use basalt_primitives::Millis;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::{runtime::Handle, sync::mpsc, task::AbortHandle};

pub(super) use delivery::describe;
pub use delivery::{DELIVERY_HEADER, SIGNATURE_HEADER, signature};
pub use target::{TargetError, Targets};

use super::{Metrics, alert::AlertEvent, settings::StoredWebhook};

/// Webhooks of one node at most.
pub const MAX_WEBHOOKS: usize = 16;
/// Events waiting for one endpoint; above, new ones are dropped and counted.
const QUEUE: usize = 256;

/// How often and how long a delivery is tried.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How long the endpoint may take to answer.
    pub timeout: Duration,
    /// Pause before the first repetition; doubles.
    pub first_pause: Duration,
    /// Longest pause.
    pub longest_pause: Duration,
    /// Attempts in all.
    pub attempts: u32,
}

impl Default for Patience {
    /// About five minutes.
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(60),
            attempts: 10,
        }
    }
}

/// What became of the deliveries to one endpoint.
#[derive(Debug, Default)]
pub(super) struct Counts {
    delivered: AtomicU64,
    failed: AtomicU64,
    waiting: AtomicU64,
    last_error: Mutex<Option<String>>,
}

/// A webhook as it is shown: never with its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WebhookInfo {
    /// Its id.
    pub id: String,
    /// Where to.
    pub url: String,
    /// When it was added, since the Unix epoch.
    pub added_at: Millis,
    /// Events delivered since the start.
    pub delivered: u64,
    /// Events given up since the start.
    pub failed: u64,
    /// Events on their way.
    pub waiting: u64,
    /// Why the last attempt failed; gone after the next success.
    pub last_error: Option<String>,
}

struct Running {
    hook: Arc<StoredWebhook>,
    queue: mpsc::Sender<Arc<AlertEvent>>,
    counts: Arc<Counts>,
    task: AbortHandle,
}

/// The webhooks at work.
pub struct Webhooks {
    client: reqwest::Client,
    targets: Targets,
    patience: Patience,
    metrics: Arc<Metrics>,
    runtime: Handle,
    running: Mutex<BTreeMap<String, Running>>,
}

impl Webhooks {
    /// None yet; deliveries run on `runtime`.
    #[must_use]
    pub fn new(targets: Targets, patience: Patience, metrics: Arc<Metrics>, runtime: Handle) -> Self {
        let client = delivery::client(targets, patience.timeout);
        Self { client, targets, patience, metrics, runtime, running: Mutex::default() }
    }

    /// Whether an address may be a webhook's.
    pub fn check(&self, url: &str) -> Result<reqwest::Url, TargetError> {
        self.targets.check(url)
    }

    /// Starts a webhook.
    pub fn start(&self, hook: StoredWebhook) {
        let (queue, events) = mpsc::channel(QUEUE);
        let (hook, counts) = (Arc::new(hook), Arc::new(Counts::default()));
        let worker = delivery::Worker {
            client: self.client.clone(),
            targets: self.targets,
            patience: self.patience,
            hook: Arc::clone(&hook),
            counts: Arc::clone(&counts),
            metrics: Arc::clone(&self.metrics),
        };
        let task = self.runtime.spawn(worker.run(events)).abort_handle();
        let id = hook.id.clone();
        if let Some(old) = self.running.lock().insert(id, Running { hook, queue, counts, task }) {
            old.task.abort();
        }
    }

    /// Ends a webhook at once, with all that waits for it.
    pub fn stop(&self, id: &str) {
        if let Some(running) = self.running.lock().remove(id) {
            running.task.abort();
        }
    }

    /// Queues an event for all. Returns at once.
    pub fn send(&self, event: &Arc<AlertEvent>) {
        for running in self.running.lock().values() {
            running.counts.waiting.fetch_add(1, Relaxed);
            if running.queue.try_send(Arc::clone(event)).is_err() {
                running.counts.waiting.fetch_sub(1, Relaxed);
                running.counts.failed.fetch_add(1, Relaxed);
                self.metrics.webhook("dropped");
                tracing::warn!(webhook = running.hook.id, "alert dropped: {QUEUE} others wait for this endpoint");
            }
        }
    }

    /// All webhooks, by id.
    #[must_use]
    pub fn list(&self) -> Vec<WebhookInfo> {
        let info = |r: &Running| WebhookInfo {
            id: r.hook.id.clone(),
            url: r.hook.url.clone(),
            added_at: r.hook.added_at,
            delivered: r.counts.delivered.load(Relaxed),
            failed: r.counts.failed.load(Relaxed),
            waiting: r.counts.waiting.load(Relaxed),
            last_error: r.counts.last_error.lock().clone(),
        };
        self.running.lock().values().map(info).collect()
    }
}

impl Drop for Webhooks {
    fn drop(&mut self) {
        self.running.lock().values().for_each(|r| r.task.abort());
    }
}
