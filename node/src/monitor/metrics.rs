//! All metrics of a node, as one typed struct: units in names, counters rather than rates. Every name begins with
//! `basalt_`.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};

use super::{
    View,
    alert::{AlertKind, AlertState},
    network::NetworkMetrics,
    process,
    settings::TpsThreshold,
};
use crate::{clock, network::NetworkStats};

type GaugeF64 = Gauge<f64, AtomicU64>;
type CounterF64 = Counter<f64, AtomicU64>;

/// A block older than this when it is executed is history: its transactions do not count as load.
const HISTORY_MS: u64 = 30_000;

/// Labels of the `node_info` metric.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct NodeLabels {
    /// Version of this software.
    pub version: String,
    /// Name of the node.
    pub name: String,
    /// Name of the network.
    pub chain: String,
    /// Chain id.
    pub chain_id: String,
}

/// Which way network traffic goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Received.
    In,
    /// Sent.
    Out,
}

impl EncodeLabelValue for Direction {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        EncodeLabelValue::encode(&if *self == Self::In { "in" } else { "out" }, encoder)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RpcCall {
    method: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RpcMethod {
    method: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Alert {
    alert: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AlertChange {
    alert: &'static str,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Bound {
    bound: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NodeState {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Way {
    direction: Direction,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Named {
    certificate: String,
}

/// What a committed and executed block tells.
#[derive(Clone, Copy, Debug, Default)]
pub struct BlockStats {
    /// Its height.
    pub height: u64,
    /// Newest finalized height.
    pub finalized: u64,
    /// Its timestamp, in milliseconds since the Unix epoch.
    pub timestamp_ms: u64,
    /// Transactions that ran.
    pub transactions: u64,
    /// Transactions that it carried and that could not run.
    pub skipped: u64,
    /// Gas used.
    pub gas_used: u64,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Round in which it was committed.
    pub round: u32,
    /// From its proposal to its commit; `None` when it was fetched.
    pub commit_latency: Option<Duration>,
    /// Time of execution.
    pub execution: Option<Duration>,
    /// Transactions run ahead of their turn since the start: taken over, and run again.
    pub ran_ahead: (u64, u64),
}

/// All metrics. Cheap to update from any thread.
pub struct Metrics {
    registry: Registry,
    height: Gauge,
    finalized_height: Gauge,
    head_timestamp: GaugeF64,
    transactions: Counter,
    skipped_transactions: Counter,
    gas_used: Counter,
    block_gas_used: Gauge,
    block_size: Gauge,
    block_transactions: Gauge,
    live_transactions: AtomicU64,
    tps: GaugeF64,
    tps_window: Gauge,
    tps_threshold: Family<Bound, GaugeF64>,
    alerts_active: Family<Alert, Gauge>,
    alerts: Family<AlertChange, Counter>,
    webhooks: Family<Outcome, Counter>,
    traces: Family<Outcome, Counter>,
    trace_spans: Family<Outcome, Counter>,
    traces_in_flight: Gauge,
    tls_handshakes: Family<Outcome, Counter>,
    tls_reloads: Family<Outcome, Counter>,
    auth_failures: Family<Reason, Counter>,
    auth_refusals: Family<Reason, Counter>,
    certificates: Family<Named, Gauge>,
    committed_round: Gauge,
    round: Gauge,
    round_changes: Counter,
    commit_latency: Histogram,
    block_execution: Histogram,
    ran_ahead: Family<Outcome, Counter>,
    validators: Gauge,
    online_power: Gauge,
    peers: Gauge,
    sync_behind: Gauge,
    mempool_ready: Gauge,
    mempool_queued: Gauge,
    mempool_bytes: Gauge,
    mempool_rejected: Family<Reason, Counter>,
    rpc_requests: Family<RpcCall, Counter>,
    rpc_duration: Family<RpcMethod, Histogram>,
    websockets: Gauge,
    network: NetworkMetrics,
    nodes: Family<NodeState, Gauge>,
    clock_offset: GaugeF64,
    clock_peers: Gauge,
    disk_total: Gauge,
    disk_available: Gauge,
    memory_limit: Gauge,
    disk_io: Family<Way, Counter>,
    interface: Family<Way, Counter>,
    fd_limit: Gauge,
    process_cpu: CounterF64,
    process_resident: Gauge,
    process_fds: Gauge,
    last_cpu_seconds: Mutex<f64>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Registers a metric and gives back its handle.
fn add<M>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M
where
    M: prometheus_client::registry::Metric + Clone,
{
    registry.register(name, help, metric.clone());
    metric
}

fn add_in<M>(registry: &mut Registry, name: &str, unit: Unit, help: &str, metric: M) -> M
where
    M: prometheus_client::registry::Metric + Clone,
{
    registry.register_with_unit(name, help, unit, metric.clone());
    metric
}

fn latency_histogram() -> Histogram {
    Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 30.0, 60.0])
}

fn rpc_histogram() -> Histogram {
    Histogram::new([0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0])
}

impl Metrics {
    /// All metrics at zero.
    #[must_use]
    pub fn new(node: NodeLabels) -> Self {
        let mut registry = Registry::with_prefix("basalt");
        let r = &mut registry;
        r.register("node", "Version, name and network of this node", Info::new(node));
        add(r, "up", "1 while the node runs", Gauge::<i64>::default()).set(1);
        Self {
            height: add(r, "height", "Number of the newest executed block", Gauge::default()),
            finalized_height: add(r, "finalized_height", "Number of the newest final block", Gauge::default()),
            head_timestamp: add_in(
                r,
                "head_timestamp",
                Unit::Seconds,
                "Timestamp of the newest executed block, since the Unix epoch",
                Gauge::default(),
            ),
            transactions: add(
                r,
                "transactions",
                "Transactions committed and executed since the start",
                Counter::default(),
            ),
            skipped_transactions: add(
                r,
                "skipped_transactions",
                "Transactions that blocks carried and that could not run",
                Counter::default(),
            ),
            gas_used: add(r, "gas_used", "Gas used by executed blocks since the start", Counter::default()),
            block_gas_used: add(r, "block_gas_used", "Gas used by the newest block", Gauge::default()),
            block_size: add_in(r, "block_size", Unit::Bytes, "Size of the newest block", Gauge::default()),
            block_transactions: add(r, "block_transactions", "Transactions in the newest block", Gauge::default()),
            live_transactions: AtomicU64::new(0),
            tps: add(
                r,
                "tps",
                "Committed transactions per second over the window of the TPS threshold",
                Gauge::default(),
            ),
            tps_window: add_in(r, "tps_window", Unit::Seconds, "Window of the TPS threshold", Gauge::default()),
            tps_threshold: add(
                r,
                "tps_threshold",
                "TPS threshold by bound (upper, lower), if it is set",
                Family::default(),
            ),
            alerts_active: add(r, "alerts_active", "Alerts that are firing, by kind", Family::default()),
            alerts: add(r, "alerts", "Alerts that began or ended, by kind and state", Family::default()),
            webhooks: add(
                r,
                "webhook_deliveries",
                "Webhook deliveries by result (delivered, retried, failed, dropped)",
                Family::default(),
            ),
            traces: add(
                r,
                "transaction_traces",
                "Traces of transactions by result (begun, left_out, executed, refused, waiting, dropped)",
                Family::default(),
            ),
            trace_spans: add(
                r,
                "trace_spans",
                "Spans sent to the collector of traces, by result (exported, refused, failed)",
                Family::default(),
            ),
            traces_in_flight: add(r, "traces_in_flight", "Transactions that are being traced", Gauge::default()),
            tls_handshakes: add(
                r,
                "tls_handshakes",
                "TLS handshakes with clients by result (ok, failed)",
                Family::default(),
            ),
            tls_reloads: add(
                r,
                "tls_reloads",
                "TLS files that were new, by result (renewed, refused)",
                Family::default(),
            ),
            auth_failures: add(
                r,
                "auth_failures",
                "Requests whose caller was not recognised, by reason (missing, malformed, wrong, expired, claims, too_many)",
                Family::default(),
            ),
            auth_refusals: add(
                r,
                "auth_refusals",
                "Requests of recognised callers that were refused, by reason (role, not_allowed, rate, expired)",
                Family::default(),
            ),
            certificates: add_in(
                r,
                "certificate_remaining",
                Unit::Seconds,
                "Time until a certificate in use ends; negative once it has",
                Family::default(),
            ),
            committed_round: add(
                r,
                "committed_round",
                "Round in which the newest block was committed",
                Gauge::default(),
            ),
            round: add(r, "round", "Round that consensus is in", Gauge::default()),
            round_changes: add(r, "round_changes", "Rounds that ended without a block", Counter::default()),
            commit_latency: add_in(
                r,
                "commit_latency",
                Unit::Seconds,
                "From a block's proposal to its commit, at this node",
                latency_histogram(),
            ),
            block_execution: add_in(r, "block_execution", Unit::Seconds, "Executing a block", latency_histogram()),
            ran_ahead: add(
                r,
                "transactions_run_ahead",
                "Transactions run ahead of their turn on several threads, by result (taken, again)",
                Family::default(),
            ),
            validators: add(r, "validators", "Validators of the next height", Gauge::default()),
            online_power: add(r, "online_power", "Voting power that is connected, own included", Gauge::default()),
            peers: add(r, "peers", "Connected peers", Gauge::default()),
            sync_behind: add(r, "sync_behind_blocks", "Blocks behind the highest that peers claim", Gauge::default()),
            mempool_ready: add(r, "mempool_ready", "Executable transactions in the mempool", Gauge::default()),
            mempool_queued: add(r, "mempool_queued", "Transactions beyond a nonce gap", Gauge::default()),
            mempool_bytes: add_in(r, "mempool", Unit::Bytes, "Memory the mempool counts", Gauge::default()),
            mempool_rejected: add(r, "mempool_rejected", "Transactions refused, by reason", Family::default()),
            rpc_requests: add(r, "rpc_requests", "RPC requests by method and result", Family::default()),
            rpc_duration: add_in(
                r,
                "rpc_request_duration",
                Unit::Seconds,
                "RPC requests by method",
                Family::new_with_constructor(rpc_histogram),
            ),
            websockets: add(r, "websockets", "Open WebSocket connections", Gauge::default()),
            network: {
                let network = NetworkMetrics::default();
                r.register_collector(Box::new(network.clone()));
                network
            },
            nodes: add(r, "nodes", "Nodes known in the network, by state (on, off)", Family::default()),
            clock_offset: add_in(
                r,
                "clock_offset",
                Unit::Seconds,
                "This clock minus the median of the peers'",
                Gauge::default(),
            ),
            clock_peers: add(r, "clock_peers", "Peers whose clocks were compared", Gauge::default()),
            disk_total: add_in(r, "disk_total", Unit::Bytes, "Size of the data directory's disk", Gauge::default()),
            disk_available: add_in(
                r,
                "disk_available",
                Unit::Bytes,
                "What may still be written to it",
                Gauge::default(),
            ),
            memory_limit: add_in(r, "memory_limit", Unit::Bytes, "Memory this process may use", Gauge::default()),
            disk_io: add_in(
                r,
                "process_disk",
                Unit::Bytes,
                "Bytes read (in) and written (out) by this process",
                Family::default(),
            ),
            interface: add_in(
                r,
                "interface",
                Unit::Bytes,
                "Bytes received (in) and sent (out) by the network interfaces, loopback left out",
                Family::default(),
            ),
            fd_limit: add(r, "process_max_fds", "Most file handles this process may open", Gauge::default()),
            process_cpu: add_in(
                r,
                "process_cpu",
                Unit::Seconds,
                "User and system CPU time of this process",
                Counter::default(),
            ),
            process_resident: add_in(r, "process_resident_memory", Unit::Bytes, "Resident memory", Gauge::default()),
            process_fds: add(r, "process_open_fds", "Open file handles", Gauge::default()),
            last_cpu_seconds: Mutex::new(0.0),
            registry,
        }
    }

    /// A block was executed.
    pub fn block(&self, b: &BlockStats) {
        self.height.set(to_i64(b.height));
        self.finalized_height.set(to_i64(b.finalized));
        self.head_timestamp.set(b.timestamp_ms as f64 / 1000.0);
        self.transactions.inc_by(b.transactions);
        self.skipped_transactions.inc_by(b.skipped);
        self.gas_used.inc_by(b.gas_used);
        self.block_gas_used.set(to_i64(b.gas_used));
        self.block_size.set(to_i64(b.size_bytes));
        self.block_transactions.set(to_i64(b.transactions));
        self.committed_round.set(i64::from(b.round));
        b.commit_latency.iter().for_each(|d| self.commit_latency.observe(d.as_secs_f64()));
        b.execution.iter().for_each(|d| self.block_execution.observe(d.as_secs_f64()));
        for (result, total) in [("taken", b.ran_ahead.0), ("again", b.ran_ahead.1)] {
            self.ran_ahead.get_or_create(&Outcome { result }).inner().store(total, Ordering::Relaxed);
        }
        if clock::wall_ms().saturating_sub(b.timestamp_ms) < HISTORY_MS {
            self.live_transactions.fetch_add(b.transactions, Ordering::Relaxed);
        }
    }

    /// What the disk held at the start, so that the gauges are right before the first block.
    pub fn restored(&self, height: u64, timestamp_ms: u64) {
        self.height.set(to_i64(height));
        self.finalized_height.set(to_i64(height));
        self.head_timestamp.set(timestamp_ms as f64 / 1000.0);
    }

    /// Transactions committed since the start, without those of blocks that were old when they came (while syncing).
    pub fn live_transactions(&self) -> u64 {
        self.live_transactions.load(Ordering::Relaxed)
    }

    /// Committed transactions per second over the window of the threshold.
    pub fn tps(&self, rate: f64) {
        self.tps.set(rate);
    }

    /// The TPS threshold in force.
    pub fn tps_threshold(&self, t: &TpsThreshold) {
        self.tps_window.set(to_i64(t.window_seconds));
        for (bound, value) in [("upper", t.upper), ("lower", t.lower)] {
            match value {
                Some(value) => {
                    self.tps_threshold.get_or_create(&Bound { bound }).set(value);
                }
                // An absent bound compares with nothing in a Prometheus rule.
                None => {
                    self.tps_threshold.remove(&Bound { bound });
                }
            }
        }
    }

    /// Which alerts are firing.
    pub fn alerts_active(&self, firing: impl Iterator<Item = AlertKind>) {
        let mut counts = [0; AlertKind::ALL.len()];
        firing.for_each(|kind| counts[kind as usize] += 1);
        for (kind, count) in AlertKind::ALL.into_iter().zip(counts) {
            self.alerts_active.get_or_create(&Alert { alert: kind.name() }).set(count);
        }
    }

    /// An alert began or ended.
    pub fn alert(&self, kind: AlertKind, state: AlertState) {
        let state = if state == AlertState::Firing { "firing" } else { "resolved" };
        self.alerts.get_or_create(&AlertChange { alert: kind.name(), state }).inc();
    }

    /// What was seen at the last look.
    pub fn view(&self, view: &View) {
        let on = view.nodes.iter().filter(|n| n.on).count();
        for (state, count) in [("on", on), ("off", view.nodes.len() - on)] {
            self.nodes.get_or_create(&NodeState { state }).set(to_i64(count as u64));
        }
        self.clock_peers.set(to_i64(view.clock_peers as u64));
        self.clock_offset.set(view.clock_offset_ms.unwrap_or(0) as f64 / 1000.0);
        let resources = &view.resources;
        let disk = resources.disk.unwrap_or_default();
        self.disk_total.set(to_i64(disk.total_bytes));
        self.disk_available.set(to_i64(disk.available_bytes));
        self.memory_limit.set(to_i64(resources.memory.limit_bytes));
        self.fd_limit.set(to_i64(resources.file_handles.limit.unwrap_or(0)));
        for (family, transfer) in [(&self.disk_io, &resources.io), (&self.interface, &resources.network)] {
            let Some(transfer) = transfer else { continue };
            for (direction, bytes) in [(Direction::In, transfer.in_bytes), (Direction::Out, transfer.out_bytes)] {
                let counter = family.get_or_create(&Way { direction });
                counter.inc_by(bytes.saturating_sub(counter.get()));
            }
        }
    }

    /// What became of a delivery to a webhook.
    pub fn webhook(&self, result: &'static str) {
        self.webhooks.get_or_create(&Outcome { result }).inc();
    }

    /// What became of a transaction's trace.
    pub fn trace(&self, result: &'static str) {
        self.traces.get_or_create(&Outcome { result }).inc();
    }

    /// What became of spans that were sent.
    pub fn trace_spans(&self, result: &'static str, count: usize) {
        if count > 0 {
            self.trace_spans.get_or_create(&Outcome { result }).inc_by(count as u64);
        }
    }

    /// Transactions that are being traced.
    pub fn traces_in_flight(&self, count: usize) {
        self.traces_in_flight.set(to_i64(count as u64));
    }

    /// A client's TLS handshake ended.
    pub fn tls_handshake(&self, result: &'static str) {
        self.tls_handshakes.get_or_create(&Outcome { result }).inc();
    }

    /// TLS files were new.
    pub fn tls_reload(&self, result: &'static str) {
        self.tls_reloads.get_or_create(&Outcome { result }).inc();
    }

    /// Somebody was not recognised.
    pub fn auth_failed(&self, reason: &'static str) {
        self.auth_failures.get_or_create(&Reason { reason }).inc();
    }

    /// Somebody may not do that.
    pub fn auth_refused(&self, reason: &'static str) {
        self.auth_refusals.get_or_create(&Reason { reason }).inc();
    }

    /// A certificate in use ends in so many seconds.
    pub fn certificate(&self, name: &str, seconds_left: i64) {
        self.certificates.get_or_create(&Named { certificate: name.to_owned() }).set(seconds_left);
    }

    /// The round that consensus is in.
    pub fn round(&self, round: u32) {
        self.round.set(i64::from(round));
    }

    /// A round ended without a block.
    pub fn round_changed(&self) {
        self.round_changes.inc();
    }

    /// Validators of the next height, and the power that is connected.
    pub fn validators(&self, count: usize, online_power: u64) {
        self.validators.set(to_i64(count as u64));
        self.online_power.set(to_i64(online_power));
    }

    /// Connected peers.
    pub fn peers(&self, count: usize) {
        self.peers.set(to_i64(count as u64));
    }

    /// Blocks behind the highest that peers claim.
    pub fn sync_behind(&self, blocks: u64) {
        self.sync_behind.set(to_i64(blocks));
    }

    /// How full the mempool is.
    pub fn mempool(&self, ready: usize, queued: usize, bytes: usize) {
        self.mempool_ready.set(to_i64(ready as u64));
        self.mempool_queued.set(to_i64(queued as u64));
        self.mempool_bytes.set(to_i64(bytes as u64));
    }

    /// A transaction was refused, see [`crate::mempool::PoolError::kind`].
    pub fn transaction_rejected(&self, reason: &'static str) {
        self.mempool_rejected.get_or_create(&Reason { reason }).inc();
    }

    /// An RPC request was answered; `error` is its code.
    pub fn rpc_request(&self, method: &'static str, error: Option<i64>, took: Duration) {
        let result = match error {
            None => "ok",
            Some(-32603) => "internal_error",
            Some(_) => "error",
        };
        self.rpc_requests.get_or_create(&RpcCall { method, result }).inc();
        self.rpc_duration.get_or_create(&RpcMethod { method }).observe(took.as_secs_f64());
    }

    /// A WebSocket connection was opened.
    pub fn websocket_opened(&self) {
        self.websockets.inc();
    }

    /// A WebSocket connection was closed.
    pub fn websocket_closed(&self) {
        self.websockets.dec();
    }

    /// Shows what the network counts from now on.
    pub fn watch_network(&self, stats: Arc<NetworkStats>) {
        self.network.watch(stats);
    }

    /// Everything as OpenMetrics text; reads what the process uses first.
    #[must_use]
    pub fn encode(&self) -> String {
        self.read_process();
        let mut out = String::with_capacity(16 * 1024);
        if let Err(e) = text::encode(&mut out, &self.registry) {
            tracing::error!(error = %e, "metrics could not be written");
        }
        out
    }

    fn read_process(&self) {
        let Some(stats) = process::read() else { return };
        let mut last = self.last_cpu_seconds.lock();
        self.process_cpu.inc_by((stats.cpu_seconds - *last).max(0.0));
        *last = stats.cpu_seconds;
        self.process_resident.set(to_i64(stats.resident_bytes));
        self.process_fds.set(to_i64(stats.open_fds));
    }
}

pub(super) fn to_i64(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
