//! Limits and exposure of the RPC: local settings.

use serde::{Deserialize, Serialize};

/// Settings of the RPC server. Every limit is named in the error it causes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RpcConfig {
    /// Origins that browsers may call from, such as `https://app.example.org`; `*` for any. The node's own origin is
    /// always allowed.
    pub cors_origins: Vec<String>,
    /// Names the node may be called by in the `Host` header, besides `localhost` and IP addresses; `*` for any. It keeps
    /// web pages from reaching the node under a name of theirs (DNS rebinding).
    pub allowed_hosts: Vec<String>,
    /// Namespaces served, such as `eth`; empty for all.
    pub namespaces: Vec<String>,
    /// Whether callers may change what the node does: thresholds, webhooks, log level.
    pub admin: bool,
    /// Whether transactions are traced, so that requests say when they came and which trace they belong to.
    pub traced: bool,
    /// Most bytes of a request.
    pub max_request_bytes: usize,
    /// Most bytes of an answer, over a whole batch.
    pub max_response_bytes: usize,
    /// Most requests in a batch.
    pub max_batch: usize,
    /// Deepest nesting of a request's JSON.
    pub max_json_depth: usize,
    /// Most values in a request's JSON.
    pub max_json_values: usize,
    /// Longest time a request may take, in milliseconds.
    pub request_timeout_ms: u64,
    /// Most connections at once; further ones wait.
    pub max_connections: usize,
    /// Most requests at work at once on threads for blocking work; further ones wait.
    pub max_blocking: usize,
    /// Longest time a call, an estimate or a simulation may run, in milliseconds; no longer than `request_timeout_ms`.
    pub call_timeout_ms: u64,
    /// Most gas of a call, an estimate or a whole simulation, whatever it asks for; a block's gas limit holds beside it.
    pub max_call_gas: u64,
    /// Most traces at work at once; further ones wait.
    pub max_traces: usize,
    /// Longest time a trace may take, in milliseconds.
    pub trace_timeout_ms: u64,
    /// Most instructions of a trace.
    pub max_trace_steps: u64,
    /// Most WebSocket connections at once.
    pub max_websockets: usize,
    /// Most subscriptions of one WebSocket connection.
    pub max_subscriptions: usize,
    /// Most requests at work at once of one WebSocket connection.
    pub max_websocket_requests: usize,
    /// How many events a WebSocket connection may lag behind before it is closed.
    pub event_buffer: usize,
    /// Most filters installed at once.
    pub max_filters: usize,
    /// A filter that is not polled for this long goes, in milliseconds.
    pub filter_lifetime_ms: u64,
    /// Most blocks of one `eth_getLogs`.
    pub max_logs_blocks: u64,
    /// Most logs in one answer.
    pub max_logs: usize,
    /// `/health/ready` fails when no block was committed for this long although one is due, in milliseconds.
    pub ready_max_commit_age_ms: u64,
    /// `/health/ready` fails when the node is further behind than this many blocks.
    pub ready_max_behind: u64,
}

impl Default for RpcConfig {
    fn default() -> Self {
        Self {
            cors_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            namespaces: Vec::new(),
            admin: false,
            traced: false,
            max_request_bytes: 5 * 1024 * 1024,
            max_response_bytes: 32 * 1024 * 1024,
            max_batch: 1_000,
            max_json_depth: 32,
            max_json_values: 100_000,
            request_timeout_ms: 30_000,
            max_connections: 4_096,
            max_blocking: 16,
            call_timeout_ms: 10_000,
            max_call_gas: 500_000_000,
            max_traces: 2,
            trace_timeout_ms: 10_000,
            max_trace_steps: 100_000_000,
            max_websockets: 1_024,
            max_subscriptions: 1_024,
            max_websocket_requests: 64,
            event_buffer: 1_024,
            max_filters: 4_096,
            filter_lifetime_ms: 5 * 60 * 1000,
            max_logs_blocks: 10_000_000,
            max_logs: 20_000,
            ready_max_commit_age_ms: 30_000,
            ready_max_behind: 10,
        }
    }
}
