//! One endpoint's deliveries: sign, post, repeat.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::{
    StatusCode,
    dns::{Addrs, Name, Resolve, Resolving},
    header,
    redirect::Policy,
};
use sha2::Sha256;
use tokio::sync::mpsc;

use super::{Counts, Patience, Targets};
use crate::monitor::{Metrics, alert::AlertEvent, settings::StoredWebhook};

/// Carries the signature: `sha256=` and the HMAC-SHA-256 of the body under the secret, in hex.
pub const SIGNATURE_HEADER: &str = "x-basalt-signature";
/// Carries the event's id: the same over all repetitions of a delivery.
pub const DELIVERY_HEADER: &str = "x-basalt-delivery";
/// Carries the number of the attempt, from 1.
const ATTEMPT_HEADER: &str = "x-basalt-attempt";
/// Longest error text kept.
const MAX_ERROR: usize = 300;

/// The value of [`SIGNATURE_HEADER`] for a body.
#[must_use]
pub fn signature(secret: &str, body: &[u8]) -> String {
    // HMAC takes keys of every length.
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any key length will do");
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

/// A client that follows nobody elsewhere, uses no proxy, and connects only where it may.
pub(super) fn client(targets: Targets, timeout: Duration) -> reqwest::Client {
    let client = crate::tls::client::http()
        .timeout(timeout)
        .connect_timeout(timeout)
        .redirect(Policy::none())
        .pool_max_idle_per_host(1)
        .dns_resolver(Arc::new(Checked(targets)))
        .no_proxy();
    // Its TLS is set up already, and nothing else of it can fail.
    client.build().expect("a client with known settings")
}

/// Resolves names by the system and leaves out addresses that may not be connected to: a name can point anywhere, and
/// elsewhere the next time.
struct Checked(Targets);

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let targets = self.0;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let allowed: Vec<SocketAddr> = found.iter().copied().filter(|a| targets.allows(a.ip())).collect();
            if allowed.is_empty() && !found.is_empty() {
                return Err(format!("{} is a private address; {}", name.as_str(), super::target::MEND).into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// Why an attempt failed.
enum Failure {
    /// It may go better the next time.
    Again(String),
    /// It will not.
    Final(String),
}

/// What the task of one webhook works with.
pub(super) struct Worker {
    pub client: reqwest::Client,
    pub targets: Targets,
    pub patience: Patience,
    pub hook: Arc<StoredWebhook>,
    pub counts: Arc<Counts>,
    pub metrics: Arc<Metrics>,
}

impl Worker {
    /// Delivers one event after the other, until the webhook is removed.
    pub async fn run(self, mut events: mpsc::Receiver<Arc<AlertEvent>>) {
        while let Some(event) = events.recv().await {
            let result = self.deliver(&event).await;
            self.counts.waiting.fetch_sub(1, Relaxed);
            let (counter, label) = match result {
                Ok(()) => (&self.counts.delivered, "delivered"),
                Err(reason) => {
                    tracing::error!(webhook = self.hook.id, alert = event.id, "alert not delivered: {reason}");
                    (&self.counts.failed, "failed")
                }
            };
            counter.fetch_add(1, Relaxed);
            self.metrics.webhook(label);
        }
    }

    async fn deliver(&self, event: &AlertEvent) -> Result<(), String> {
        let body = serde_json::to_vec(event).map_err(|e| e.to_string())?;
        let mut pause = self.patience.first_pause;
        for attempt in 1..=self.patience.attempts {
            let failure = self.attempt(event, &body, attempt).await;
            let reason = match &failure {
                Ok(()) => None,
                Err(Failure::Again(reason) | Failure::Final(reason)) => Some(reason.chars().take(MAX_ERROR).collect()),
            };
            self.counts.last_error.lock().clone_from(&reason);
            match failure {
                Ok(()) => return Ok(()),
                Err(Failure::Again(reason)) if attempt < self.patience.attempts => {
                    self.metrics.webhook("retried");
                    tracing::warn!(webhook = self.hook.id, attempt, "alert not delivered yet: {reason}");
                    tokio::time::sleep(pause).await;
                    pause = (2 * pause).min(self.patience.longest_pause);
                }
                Err(Failure::Again(reason)) => return Err(format!("{reason}; given up after {attempt} attempts")),
                Err(Failure::Final(reason)) => return Err(reason),
            }
        }
        Err("no attempt was allowed".into())
    }

    async fn attempt(&self, event: &AlertEvent, body: &[u8], attempt: u32) -> Result<(), Failure> {
        // Again each time: the settings may be older than the rules.
        let url = self.targets.check(&self.hook.url).map_err(|e| Failure::Final(e.to_string()))?;
        let request = self
            .client
            .post(url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("basalt/", env!("CARGO_PKG_VERSION")))
            .header(SIGNATURE_HEADER, signature(&self.hook.secret, body))
            .header(DELIVERY_HEADER, &event.id)
            .header(ATTEMPT_HEADER, attempt)
            .body(body.to_vec());
        // The answer's body is not read: a stranger could make it endless.
        let answer = request.send().await.map_err(|e| Failure::Again(describe(&e)))?;
        judge(answer.status(), answer.headers().get(header::LOCATION).and_then(|l| l.to_str().ok()))
    }
}

/// Why a request got no answer, in words.
pub(in crate::monitor) fn describe(e: &reqwest::Error) -> String {
    if e.is_timeout() {
        return "the endpoint did not answer in time".into();
    }
    let mut cause: &dyn std::error::Error = e;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    format!("the endpoint cannot be reached: {cause}")
}

fn judge(status: StatusCode, location: Option<&str>) -> Result<(), Failure> {
    if status.is_success() {
        return Ok(());
    }
    if status.is_redirection() {
        let to = location.map_or_else(String::new, |l| format!(" to {}", l.chars().take(100).collect::<String>()));
        return Err(Failure::Final(format!(
            "the endpoint redirects{to}; redirects are not followed: remove this webhook and add the address it should go to"
        )));
    }
    let busy = matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
    if status.is_server_error() || busy {
        return Err(Failure::Again(format!("the endpoint answered {status}")));
    }
    Err(Failure::Final(format!(
        "the endpoint answered {status}, which trying again does not mend; correct its address or its settings"
    )))
}
