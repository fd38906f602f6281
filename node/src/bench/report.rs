//! What a run says.

use std::collections::HashMap;

use basalt_primitives::B256;
use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::time::Instant;

use super::{Plan, client::Usage};

/// The figures of one run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was sent.
    pub workload: &'static str,
    /// Nodes driven.
    pub nodes: usize,
    /// Transactions per second offered; `None`: as many as were taken.
    pub offered_tps: Option<u64>,
    /// Transactions accepted by a node.
    pub accepted: usize,
    /// Transactions refused by a node.
    pub refused: u64,
    /// Transactions committed.
    pub committed: usize,
    /// Accepted but not committed when nothing more came. Must be 0.
    pub lost: usize,
    /// Committed transactions divided by the time from the first submission to the last commit.
    pub committed_tps: f64,
    /// Latency percentiles from submission to finality, in milliseconds.
    pub p50_ms: f64,
    /// 95th percentile.
    pub p95_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// The slowest.
    pub max_ms: f64,
    /// Processor time of all nodes per committed transaction, in microseconds.
    pub cpu_us_per_tx: Option<f64>,
    /// Most resident memory of any node, in bytes.
    pub rss_bytes_max: Option<u64>,
}

impl Report {
    pub(super) fn new(
        plan: &Plan,
        sent: &HashMap<B256, Instant>,
        committed: &HashMap<B256, Instant>,
        refused: u64,
        start: Instant,
        usage: Option<(Usage, Usage)>,
        peak: Option<u64>,
    ) -> Self {
        let mut latencies =
            Histogram::<u64>::new_with_bounds(1, 3_600_000_000, 3).expect("an hour in microseconds, 3 digits");
        let mut last = start;
        let mut count = 0;
        for (hash, at) in sent {
            if let Some(done) = committed.get(hash) {
                count += 1;
                last = last.max(*done);
                let us = done.saturating_duration_since(*at).as_micros();
                latencies.saturating_record(u64::try_from(us).unwrap_or(u64::MAX));
            }
        }
        let seconds = last.saturating_duration_since(start).as_secs_f64();
        let ms = |q: f64| latencies.value_at_quantile(q) as f64 / 1000.0;
        let cpu = usage.map(|(before, after)| after.cpu_seconds - before.cpu_seconds);
        Self {
            workload: "native-transfer",
            nodes: plan.nodes.len(),
            offered_tps: plan.rate,
            accepted: sent.len(),
            refused,
            committed: count,
            lost: sent.len() - count,
            committed_tps: if seconds > 0.0 { count as f64 / seconds } else { 0.0 },
            p50_ms: ms(0.5),
            p95_ms: ms(0.95),
            p99_ms: ms(0.99),
            max_ms: latencies.max() as f64 / 1000.0,
            cpu_us_per_tx: cpu.filter(|_| count > 0).map(|c| c * 1e6 / count as f64),
            rss_bytes_max: peak.max(usage.map(|(_, after)| after.rss_max)),
        }
    }

    /// The report as a table for people.
    #[must_use]
    pub fn table(&self) -> String {
        let offered = self.offered_tps.map_or_else(|| "as many as are taken".to_owned(), |r| format!("{r}/s"));
        let optional = |v: Option<String>| v.unwrap_or_else(|| "-".to_owned());
        [
            ("workload", format!("{}, offered {offered}, {} nodes", self.workload, self.nodes)),
            ("committed", format!("{} ({:.0} per second)", self.committed, self.committed_tps)),
            ("refused", self.refused.to_string()),
            ("lost", self.lost.to_string()),
            (
                "finality",
                format!(
                    "p50 {:.0} ms, p95 {:.0} ms, p99 {:.0} ms, max {:.0} ms",
                    self.p50_ms, self.p95_ms, self.p99_ms, self.max_ms
                ),
            ),
            ("cpu", optional(self.cpu_us_per_tx.map(|c| format!("{c:.0} µs per transaction, all nodes together")))),
            (
                "memory",
                optional(self.rss_bytes_max.map(|b| format!("{:.0} MiB in the largest node", b as f64 / 1048576.0))),
            ),
        ]
        .iter()
        .map(|(k, v)| format!("{k:<10} {v}\n"))
        .collect()
    }
}
