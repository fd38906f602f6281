//! Settings of traces in `node.toml`.

use reqwest::Url;
use serde::{Deserialize, Serialize};

/// Why these settings were refused.
#[derive(Debug, thiserror::Error)]
pub enum TracingError {
    /// Not where traces could go.
    #[error("`tracing.endpoint` {0}; write it as http://HOST:4318/v1/traces")]
    Endpoint(String),
    /// Out of range.
    #[error("`{0}` must be {1}")]
    Range(&'static str, &'static str),
    /// No HTTP client.
    #[error("traces cannot be sent: {0}")]
    Client(String),
}

/// The section `[tracing]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TracingConfig {
    /// Where a collector takes OTLP over HTTP, such as `http://127.0.0.1:4318/v1/traces`; none: no traces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Part of the transactions that is followed, 0 to 1, the same ones on every node; beside those whose request asks for it.
    pub sample_rate: f64,
    /// Transactions followed at once; further ones are left out, and counted.
    pub max_in_flight: usize,
    /// Traces that wait for the collector; further ones are dropped, and counted.
    pub max_queued: usize,
    /// Traces sent at once.
    pub max_batch: usize,
    /// Longest time a finished trace waits for others to be sent with.
    pub flush_ms: u64,
    /// How long the collector may take to answer.
    pub timeout_ms: u64,
}

impl Default for TracingConfig {
    fn default() -> Self {
        Self {
            endpoint: None,
            sample_rate: 0.01,
            max_in_flight: 1_000,
            max_queued: 4_096,
            max_batch: 128,
            flush_ms: 1_000,
            timeout_ms: 5_000,
        }
    }
}

impl TracingConfig {
    /// Whether nothing is set.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether there are traces at all.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.endpoint.is_some()
    }

    /// Where traces go, checked.
    pub fn endpoint(&self) -> Result<Option<Url>, TracingError> {
        let Some(text) = &self.endpoint else { return Ok(None) };
        let url = Url::parse(text).map_err(|e| TracingError::Endpoint(format!("is not an address: {e}")))?;
        if !["http", "https"].contains(&url.scheme()) {
            return Err(TracingError::Endpoint(format!(
                "begins with {}:, but only OTLP over HTTP is spoken",
                url.scheme()
            )));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(TracingError::Endpoint(
                "carries a user name or password, which logs would show; leave them out".into(),
            ));
        }
        Ok(Some(url))
    }

    /// What is out of range.
    pub fn check(&self) -> Result<(), TracingError> {
        self.endpoint()?;
        let range = |good: bool, key, allowed| if good { Ok(()) } else { Err(TracingError::Range(key, allowed)) };
        range((0.0..=1.0).contains(&self.sample_rate), "tracing.sample_rate", "between 0 and 1")?;
        range((1..=100_000).contains(&self.max_in_flight), "tracing.max_in_flight", "between 1 and 100000")?;
        range((1..=100_000).contains(&self.max_queued), "tracing.max_queued", "between 1 and 100000")?;
        range((1..=1_000).contains(&self.max_batch), "tracing.max_batch", "between 1 and 1000")?;
        range((10..=60_000).contains(&self.flush_ms), "tracing.flush_ms", "between 10 and 60000")?;
        range((10..=60_000).contains(&self.timeout_ms), "tracing.timeout_ms", "between 10 and 60000")
    }
}
