//! What a run says.

use basalt_primitives::B256;
use serde::Serialize;
use tokio::time::Instant;

use super::{
    Mode, Plan,
    latency::{Latencies, Percentiles},
    machine::Machine,
    tracker::{Entry, Tracker},
    usage::NodeUsage,
    workload::Format,
};

/// The figures of one run. Times in the units of their names; `None` is unknown.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was sent.
    pub workload: String,
    /// Nodes driven.
    pub nodes: usize,
    /// Transactions per second offered; `None`: as many as were taken.
    pub offered_tps: Option<u64>,
    /// Seconds measured, after the warm-up.
    pub seconds: u64,
    /// Transactions accepted by a node, warm-up included.
    pub accepted: usize,
    /// Transactions handed in and not accepted when the time was over.
    pub refused: usize,
    /// How often a node had no room or time for a transaction and was asked again.
    pub retries: u64,
    /// The first refusal that was no lack of room, in the node's words.
    pub refusal: Option<String>,
    /// Transactions committed, warm-up included.
    pub committed: usize,
    /// Accepted but not committed when nothing more came. Must be 0.
    pub lost: usize,
    /// Of a sample of committed transactions, how many failed in the EVM. Must be 0.
    pub failed_in_sample: usize,
    /// Live subscriptions beside the load.
    pub subscriptions: usize,
    /// Notifications that they were sent.
    pub notifications: u64,
    /// Committed per second, from the first block to the last block after the warm-up.
    pub committed_tps: f64,
    /// What signature checks alone would allow so many nodes on this machine.
    pub ceiling_tps: f64,
    /// The one by the other.
    pub ratio_to_ceiling: f64,
    /// Median from the moment a transaction was due to the moment its block was seen to be final; after the warm-up.
    pub p50_ms: f64,
    /// 95th percentile.
    pub p95_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// The slowest.
    pub max_ms: f64,
    /// By kind of call.
    pub calls: Vec<CallReport>,
    /// Median latency by the median of a synced write of the same disk.
    pub p50_to_fsync: f64,
    /// Processor time of all nodes per committed transaction.
    pub cpu_us_per_tx: Option<f64>,
    /// The same by what checking its signature once on each node takes.
    pub cpu_to_signatures: Option<f64>,
    /// Most resident memory of any node.
    pub rss_bytes_max: Option<u64>,
    /// Bytes of an encoded transaction, on average.
    pub wire_bytes_per_tx: f64,
    /// By how much a node's data folder grew per committed transaction, on average over the nodes.
    pub disk_bytes_per_tx: Option<f64>,
    /// The same by the transaction's size.
    pub disk_to_wire: Option<f64>,
    /// Bytes a node made the disk write per committed transaction, on average over the nodes.
    pub written_bytes_per_tx: Option<f64>,
    /// The same by the transaction's size.
    pub written_to_wire: Option<f64>,
    /// Bytes a node sent to peers per committed transaction, on average over the nodes.
    pub network_bytes_per_tx: Option<f64>,
    /// What each node used.
    pub per_node: Vec<NodeUsage>,
    /// The machine's limits in the same run.
    pub machine: Machine,
}

/// Latency of one kind of call.
#[derive(Clone, Debug, Serialize)]
pub struct CallReport {
    /// Its name.
    pub name: String,
    /// Its latencies.
    #[serde(flatten)]
    pub latency: Percentiles,
}

/// What a report is made of.
pub(super) struct Parts<'a> {
    pub plan: &'a Plan,
    pub tracker: &'a Tracker,
    /// From the end of the warm-up to the end of the load.
    pub window: (Instant, Instant),
    pub wire_bytes_per_tx: f64,
    pub per_node: Vec<NodeUsage>,
    pub failed_in_sample: usize,
    pub notifications: u64,
    pub machine: Machine,
}

impl Report {
    pub(super) fn new(p: Parts<'_>) -> Self {
        let (entries, nodes) = (&p.tracker.entries, p.plan.nodes.len());
        let count = |f: fn(&&Entry) -> bool| entries.iter().filter(f).count();
        let committed = count(|e| e.committed.is_some());
        let (by_call, all) = latencies(&p);
        let latency = all.percentiles();
        let native = p.plan.workload.share(Format::Native);
        let (tps, ceiling) = (p.tps(), p.machine.ceiling(native, nodes));
        let per_tx = |sum: Option<f64>| sum.filter(|_| committed > 0).map(|s| s / committed as f64);
        let mean = |f: fn(&NodeUsage) -> Option<u64>| {
            per_tx(sum(&p.per_node, |n| f(n).map(|b| b as f64))).map(|b| b / nodes as f64)
        };
        let to_wire = |bytes: Option<f64>| bytes.filter(|_| p.wire_bytes_per_tx > 0.0).map(|b| b / p.wire_bytes_per_tx);
        let cpu = per_tx(sum(&p.per_node, |n| n.cpu_seconds)).map(|s| s * 1e6);
        let (disk, written) = (mean(|n| n.disk_bytes), mean(|n| n.written_bytes));
        Self {
            workload: p.plan.workload.name.clone(),
            nodes,
            offered_tps: p.plan.mode.rate(),
            seconds: p.plan.seconds,
            accepted: count(|e| e.accepted),
            refused: count(|e| e.due.is_some() && !e.accepted && e.committed.is_none()),
            retries: p.tracker.retries,
            refusal: p.tracker.refusal.clone(),
            committed,
            lost: count(|e| e.accepted && e.committed.is_none()),
            failed_in_sample: p.failed_in_sample,
            subscriptions: p.plan.subscriptions,
            notifications: p.notifications,
            committed_tps: tps,
            ceiling_tps: ceiling,
            ratio_to_ceiling: tps / ceiling,
            p50_ms: latency.p50_ms,
            p95_ms: latency.p95_ms,
            p99_ms: latency.p99_ms,
            max_ms: latency.max_ms,
            calls: by_call,
            p50_to_fsync: latency.p50_ms / p.machine.fsync_ms,
            cpu_us_per_tx: cpu,
            cpu_to_signatures: cpu.map(|c| c / (p.machine.signature_us(native) * nodes as f64)),
            rss_bytes_max: p.per_node.iter().filter_map(|n| n.rss_bytes_max).max(),
            wire_bytes_per_tx: p.wire_bytes_per_tx,
            disk_bytes_per_tx: disk,
            disk_to_wire: to_wire(disk),
            written_bytes_per_tx: written,
            written_to_wire: to_wire(written),
            network_bytes_per_tx: mean(|n| n.network_out_bytes),
            per_node: p.per_node,
            machine: p.machine,
        }
    }

    /// What is wrong with the run, if anything is: it then measures something else than it says.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        if self.lost > 0 {
            return Some(format!("{} accepted transactions were not committed", self.lost));
        }
        if self.committed == 0 {
            let why = self.refusal.as_deref().unwrap_or("no node took any");
            return Some(format!("nothing was committed: {why}"));
        }
        (self.failed_in_sample > 0).then(|| {
            "transactions of the load fail when they run; give their calls more gas, or mend the script".into()
        })
    }
}

impl Parts<'_> {
    /// From block to block within the window; when it has too few blocks, everything by the time it took.
    fn tps(&self) -> f64 {
        let (from, to) = self.window;
        self.tracker.rate_within(from, to).unwrap_or_else(|| {
            let sent = self.tracker.entries.iter().filter_map(|e| e.due).min();
            let last = self.tracker.blocks.last().map(|(at, _)| *at);
            let seconds = last.zip(sent).map_or(0.0, |(l, s)| l.saturating_duration_since(s).as_secs_f64());
            if seconds > 0.0 { self.tracker.count_committed() as f64 / seconds } else { 0.0 }
        })
    }
}

/// Sum over the nodes; `None` when one does not say.
fn sum(nodes: &[NodeUsage], f: impl Fn(&NodeUsage) -> Option<f64>) -> Option<f64> {
    nodes.iter().map(f).sum()
}

/// By call, and all together, of what was due after the warm-up.
fn latencies(p: &Parts<'_>) -> (Vec<CallReport>, Latencies) {
    let mut by_call = vec![Latencies::default(); p.plan.workload.calls.len()];
    for e in &p.tracker.entries {
        if let (Some(due), Some(done)) = (e.due, e.committed)
            && due >= p.window.0
        {
            by_call[usize::from(e.call)].record(done.saturating_duration_since(due));
        }
    }
    let mut all = Latencies::default();
    by_call.iter().for_each(|l| all.merge(l));
    let names = p.plan.workload.calls.iter().map(|c| c.name.clone());
    (names.zip(&by_call).map(|(name, l)| CallReport { name, latency: l.percentiles() }).collect(), all)
}

/// Hashes of at most `most` committed transactions, evenly from all of them.
pub(super) fn sample(tracker: &Tracker, most: usize) -> Vec<B256> {
    let committed: Vec<B256> = tracker.entries.iter().filter(|e| e.committed.is_some()).map(|e| e.hash).collect();
    committed.iter().step_by(committed.len().div_ceil(most).max(1)).copied().collect()
}

impl Mode {
    /// Transactions per second offered.
    #[must_use]
    pub const fn rate(self) -> Option<u64> {
        match self {
            Self::Rate(r) => Some(r),
            Self::Saturate { .. } => None,
        }
    }
}

impl Report {
    /// The report as a table for people.
    #[must_use]
    pub fn table(&self) -> String {
        let offered = self.offered_tps.map_or_else(|| "as many as are taken".to_owned(), |r| format!("{r}/s"));
        let or_dash = |v: Option<String>| v.unwrap_or_else(|| "-".to_owned());
        let ratio = |r: Option<f64>| r.map_or_else(String::new, |r| format!(" ({r:.1} × its size)"));
        let bytes = |b: Option<f64>, r| or_dash(b.map(|b| format!("{b:.0} bytes{}", ratio(r))));
        let m = &self.machine;
        let rows = [
            ("workload", format!("{}, offered {offered}, {} nodes", self.workload, self.nodes)),
            ("committed", format!("{:.0} per second, {} in all", self.committed_tps, self.committed)),
            (
                "ceiling",
                format!("{:.0} per second by signatures alone: reached {:.2}", self.ceiling_tps, self.ratio_to_ceiling),
            ),
            ("lost", format!("{} ({} refused, {} asked again)", self.lost, self.refused, self.retries)),
            (
                "finality",
                format!(
                    "p50 {:.1} ms ({:.1} synced writes), p95 {:.1}, p99 {:.1}, max {:.1}",
                    self.p50_ms, self.p50_to_fsync, self.p95_ms, self.p99_ms, self.max_ms
                ),
            ),
            (
                "cpu",
                or_dash(self.cpu_us_per_tx.map(|c| {
                    format!(
                        "{c:.0} µs per transaction, all nodes together ({:.1} × its signature checks)",
                        self.cpu_to_signatures.unwrap_or(0.0)
                    )
                })),
            ),
            (
                "memory",
                or_dash(self.rss_bytes_max.map(|b| format!("{:.0} MiB in the largest node", b as f64 / 1_048_576.0))),
            ),
            ("disk", format!("{} per transaction and node", bytes(self.disk_bytes_per_tx, self.disk_to_wire))),
            ("written", format!("{} per transaction and node", bytes(self.written_bytes_per_tx, self.written_to_wire))),
            ("network", format!("{} sent per transaction and node", bytes(self.network_bytes_per_tx, None))),
            (
                "machine",
                format!(
                    "{} × {}; Ed25519 {:.1} µs ({:.1} batched), recover {:.1} µs, sync {:.2} ms, load {:.1}",
                    m.cores,
                    m.cpu,
                    m.verify_single_us,
                    m.verify_batch_us,
                    m.recover_us,
                    m.fsync_ms,
                    m.load_before.unwrap_or(0.0)
                ),
            ),
        ];
        rows.iter().map(|(k, v)| format!("{k:<10} {v}\n")).collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use basalt_primitives::HashFn;

    use super::{
        super::{Account, Method, Target, machine, workload},
        *,
    };

    fn plan(mode: Mode) -> Plan {
        Plan {
            nodes: vec![Target::default(); 4],
            funder: Account::Native(crate::keys::dev::native_key(0)),
            workload: workload::built_in("native", workload::Options::default()).expect("known"),
            mode,
            method: Method::Basalt,
            seconds: 2,
            warm_up: 0,
            max_transactions: 1,
            senders: 1,
            batch: 1,
            hash_fn: HashFn::Sha256,
            subscriptions: 0,
        }
    }

    /// A report of a run with so much throughput and four nodes, each transaction final after 100 ms.
    pub fn report(rate: Option<u64>, tps: f64) -> Report {
        let start = Instant::now();
        let mut tracker = Tracker::default();
        let count = if tps > 0.0 { 4u64 } else { 0 };
        for i in 0..count {
            let due = start + Duration::from_secs_f64(i as f64 / tps);
            let done = due + Duration::from_millis(100);
            let hash = B256::from(basalt_primitives::U256::from(i));
            tracker.entries.push(Entry { hash, call: 0, due: Some(due), accepted: true, committed: Some(done) });
            tracker.blocks.push((done, 1));
        }
        let node = |cpu| NodeUsage { cpu_seconds: cpu, disk_bytes: Some(1200), ..NodeUsage::default() };
        Report::new(Parts {
            plan: &plan(rate.map_or(Mode::Saturate { in_flight: 1 }, Mode::Rate)),
            tracker: &tracker,
            window: (start, start + Duration::from_secs(60)),
            wire_bytes_per_tx: 150.0,
            per_node: vec![node(Some(0.0001)); 4],
            failed_in_sample: 0,
            notifications: 0,
            machine: machine::tests::round(),
        })
    }

    #[test]
    fn the_figures_follow_from_what_was_seen() {
        let r = report(Some(1000), 1000.0);
        assert!((r.committed_tps - 1000.0).abs() < 1.0, "{}", r.committed_tps);
        assert_eq!((r.ceiling_tps, r.accepted, r.committed, r.lost), (20_000.0, 4, 4, 0));
        assert!((r.ratio_to_ceiling - 0.05).abs() < 1e-3 && (r.p50_ms - 100.0).abs() < 1.0);
        assert!((r.p50_to_fsync - 50.0).abs() < 1.0);
        assert_eq!((r.disk_bytes_per_tx, r.disk_to_wire), (Some(300.0), Some(2.0)), "a mean over the nodes");
        assert!(r.cpu_us_per_tx.is_some_and(|c| (c - 100.0).abs() < 1e-6), "a sum over the nodes");
        assert!(r.cpu_to_signatures.is_some_and(|c| (c - 1.0).abs() < 1e-6));
        assert_eq!((r.written_bytes_per_tx, r.problem()), (None, None));
    }

    #[test]
    fn the_json_has_the_promised_keys() {
        let json = serde_json::to_value(report(None, 10.0)).expect("JSON");
        let promised = [
            "workload",
            "nodes",
            "committed_tps",
            "ceiling_tps",
            "ratio_to_ceiling",
            "p50_ms",
            "p99_ms",
            "cpu_us_per_tx",
            "rss_bytes_max",
            "disk_bytes_per_tx",
            "lost",
        ];
        for key in promised {
            assert!(json.get(key).is_some(), "{key}");
        }
        assert_eq!((json["workload"].as_str(), json["machine"]["cores"].as_u64()), (Some("native"), Some(2)));
        assert_eq!(json["calls"][0]["name"], "native");
    }

    #[test]
    fn a_run_that_lost_or_committed_nothing_says_so() {
        assert!(report(None, 0.0).problem().is_some_and(|p| p.contains("nothing was committed")));
        let lost = Report { lost: 3, ..report(None, 10.0) };
        assert!(lost.problem().is_some_and(|p| p.starts_with("3 accepted")));
        assert!(Report { failed_in_sample: 1, ..report(None, 10.0) }.problem().is_some());
    }
}
