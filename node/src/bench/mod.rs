//! The benchmark: drives the RPC of a network with a load that was signed beforehand, and reports what was committed, how
//! fast, what it cost the nodes, and what part of the machine's own limits that is.
//!
//! A [`Plan`] and a measured [`Machine`] flow in; [`run`] deploys and funds what the [`workload`] needs, signs the load, offers
//! it open loop (a rate, whatever the nodes do) or closed loop (so many under way at most), watches blocks, and gives a
//! [`Report`]. A transaction counts when a block that carries it is final; its latency runs from the moment it was due.

mod account;
mod client;
pub mod compare;
mod drive;
mod html;
mod latency;
mod load;
pub mod machine;
mod reads;
mod report;
mod setup;
mod subscribers;
mod sweep;
mod tracker;
mod usage;
mod watch;
pub mod workload;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, bail};
use basalt_primitives::HashFn;
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::Instant;

pub use account::{Account, Draft, Terms};
pub use html::page;
pub use latency::Percentiles;
pub use machine::Machine;
pub use reads::{Read, ReadPlan, ReadReport, reads};
pub use report::{CallReport, Report};
pub use sweep::{Sweep, sweep};
pub use usage::NodeUsage;
pub use workload::Workload;

use client::Node;
use load::{Load, MAX_LOAD_BYTES, Shape};
use subscribers::Subscribers;
use tracker::{Shared, Tracker};
use workload::Call;

/// A node to drive.
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// RPC address.
    pub rpc: String,
    /// Address of its metrics, for what it uses.
    pub metrics: Option<String>,
    /// Its process, when it runs on this machine.
    pub pid: Option<u32>,
    /// Its data folder, likewise.
    pub data: Option<PathBuf>,
}

/// How transactions are handed in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// `basalt_sendRawTransactions`, many in one call.
    #[default]
    Basalt,
    /// JSON-RPC batches of `eth_sendRawTransaction`, which every Ethereum node takes.
    Ethereum,
}

/// How load is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Open loop: so many transactions per second, whatever the nodes do.
    Rate(u64),
    /// Closed loop: as many as are taken, while fewer than this are accepted and not final.
    Saturate {
        /// Most under way.
        in_flight: usize,
    },
}

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The nodes.
    pub nodes: Vec<Target>,
    /// A funded account that pays for everything.
    pub funder: Account,
    /// What is sent.
    pub workload: Workload,
    /// How.
    pub mode: Mode,
    /// How it is handed in.
    pub method: Method,
    /// How long is measured.
    pub seconds: u64,
    /// How long load is offered before.
    pub warm_up: u64,
    /// Most transactions signed beforehand when there is no rate.
    pub max_transactions: usize,
    /// Accounts that send.
    pub senders: usize,
    /// Most transactions in one request.
    pub batch: usize,
    /// The chain's hash function.
    pub hash_fn: HashFn,
    /// Live subscriptions to the first node while it is measured.
    pub subscriptions: usize,
}

/// Connections to each node.
const LANES_PER_NODE: usize = 4;
/// An open loop hands in at least this often per lane, so that batching does not make latency.
const BATCHES_PER_SECOND: u64 = 20;
/// Transactions under way take at most this many bytes of the nodes' pools.
const MAX_IN_FLIGHT_BYTES: usize = 32 << 20;
/// What a transaction takes beside its call data, encoded, at most.
const TX_BYTES: usize = 300;
/// Committed transactions whose receipts are looked at.
const SAMPLE: usize = 64;

impl Plan {
    /// Every run is bounded in time, count and memory.
    fn check(&self) -> anyhow::Result<()> {
        let within = |what: &str, n: u64, least: u64, most: u64| {
            if (least..=most).contains(&n) {
                Ok(())
            } else {
                bail!("{what} must be between {least} and {most}, not {n}")
            }
        };
        within("the number of nodes", self.nodes.len() as u64, 1, 256)?;
        within("--seconds", self.seconds, 1, 3600)?;
        within("--warm-up", self.warm_up, 0, 600)?;
        within("--senders", self.senders as u64, 1, 100_000)?;
        within("--subscriptions", self.subscriptions as u64, 0, 100_000)?;
        within("--batch", self.batch as u64, 1, 1000)?;
        within("--max-transactions", self.max_transactions as u64, 1, 5_000_000)?;
        if let Mode::Rate(rate) = self.mode {
            within("--rate", rate, 1, 1_000_000)?;
        }
        Ok(())
    }

    /// Transactions to sign.
    fn count(&self) -> anyhow::Result<usize> {
        let most = (MAX_LOAD_BYTES / 2) / self.bytes_per_tx();
        match self.mode {
            Mode::Saturate { .. } => Ok(self.max_transactions.min(most)),
            Mode::Rate(rate) => {
                let count = usize::try_from(rate * (self.seconds + self.warm_up))?;
                if count > most {
                    bail!(
                        "a load of {count} transactions does not fit into memory; send at most {most}: a lower --rate or fewer --seconds"
                    );
                }
                Ok(count)
            }
        }
    }

    fn bytes_per_tx(&self) -> usize {
        self.workload.calls.iter().map(|c: &Call| c.data.len()).max().unwrap_or(0) + TX_BYTES
    }

    fn shape(&self, count: usize) -> Shape {
        let lanes = (self.nodes.len() * LANES_PER_NODE).min(self.senders);
        let batch = match self.mode {
            Mode::Saturate { .. } => self.batch,
            Mode::Rate(rate) => {
                let paced = rate.div_ceil(BATCHES_PER_SECOND * lanes as u64).max(1);
                usize::try_from(paced).unwrap_or(usize::MAX).min(self.batch)
            }
        };
        let each = count.div_ceil(self.senders);
        Shape { nodes: self.nodes.len(), lanes_per_node: LANES_PER_NODE, batch, each, method: self.method }
    }

    fn mode(&self) -> Mode {
        match self.mode {
            Mode::Saturate { in_flight } => {
                Mode::Saturate { in_flight: in_flight.min(MAX_IN_FLIGHT_BYTES / self.bytes_per_tx()).max(1) }
            }
            rate => rate,
        }
    }

    /// How often the chain is asked for its height: the resolution of latencies. A few requests more cost nothing at light
    /// load; at full load they would take from the nodes.
    fn poll(&self) -> Duration {
        match self.mode {
            Mode::Rate(rate) if rate <= 500 => Duration::from_millis(1),
            _ => Duration::from_millis(10),
        }
    }
}

/// Runs the plan.
pub async fn run(plan: &Plan, machine: &Machine) -> anyhow::Result<Report> {
    plan.check()?;
    let nodes = plan.nodes.iter().map(|t| Node::new(&t.rpc, plan.method)).collect::<anyhow::Result<Vec<_>>>()?;
    let load = prepare(plan, &nodes).await.context("the load could not be prepared")?;
    let wire_bytes_per_tx = load.wire_bytes as f64 / load.count.max(1) as f64;
    let subscribers = Subscribers::start(&plan.nodes[0].rpc, plan.subscriptions).await?;
    let shared: Shared = Arc::new(Mutex::new(Tracker::new(&load)));
    let head = nodes[0].rpc().quantity("eth_blockNumber", json!([])).await?;
    let watcher = tokio::spawn(watch::follow(nodes[0].clone(), Arc::clone(&shared), head, plan.poll()));
    let (window, per_node) = measured(plan, &nodes, load, &shared).await?;
    watcher.abort();
    let sample = report::sample(&shared.lock(), SAMPLE);
    let failed_in_sample = failed(&nodes[0], &sample).await?;
    let tracker = shared.lock();
    Ok(Report::new(report::Parts {
        plan,
        tracker: &tracker,
        window,
        wire_bytes_per_tx,
        per_node,
        failed_in_sample,
        notifications: subscribers.told(),
        machine: machine.clone(),
    }))
}

/// Makes senders, funds and sets them up on the chain, and signs their transactions.
async fn prepare(plan: &Plan, nodes: &[Node]) -> anyhow::Result<Load> {
    let shape = plan.shape(plan.count()?);
    let formats = plan.workload.formats(plan.senders);
    let senders = formats.into_iter().map(Account::generate).collect::<Result<Vec<_>, _>>()?;
    let ready = setup::Setup::new(plan, &nodes[0], shape.each).await?.run(&senders, shape.each).await?;
    let workload = plan.workload.clone();
    let sign = move || load::sign(&workload, &senders, &ready.contracts, ready.terms, shape);
    Ok(tokio::task::spawn_blocking(sign).await?)
}

/// Offers the load and waits for what was taken; when was measured, and what each node used.
async fn measured(
    plan: &Plan,
    nodes: &[Node],
    load: Load,
    shared: &Shared,
) -> anyhow::Result<((Instant, Instant), Vec<NodeUsage>)> {
    let http = crate::tls::client::http().timeout(Duration::from_secs(10)).no_proxy().build()?;
    let before = usage::snapshot(&http, &plan.nodes).await;
    let done = AtomicBool::new(false);
    let start = Instant::now();
    let warm = start + Duration::from_secs(plan.warm_up);
    let end = warm + Duration::from_secs(plan.seconds);
    let pace = drive::Pace { mode: plan.mode(), start, end, lanes: load.lanes.len() };
    let work = async {
        drive::offer(nodes, load.lanes, shared, pace).await;
        drive::drain(shared).await;
        done.store(true, Ordering::Relaxed);
    };
    let ((), peaks) = futures::future::join(work, usage::peaks(&plan.nodes, || done.load(Ordering::Relaxed))).await;
    let after = usage::snapshot(&http, &plan.nodes).await;
    let nodes = plan.nodes.iter().zip(before.iter().zip(&after)).zip(peaks);
    let per_node = nodes.map(|((t, (b, a)), peak)| NodeUsage::between(t, b, a, peak)).collect();
    Ok(((warm, end), per_node))
}

/// How many of these failed in the EVM: a load that fails costs less than it seems.
async fn failed(node: &Node, hashes: &[basalt_primitives::B256]) -> anyhow::Result<usize> {
    let mut failed = 0;
    for hash in hashes {
        let receipt = node.rpc().call("eth_getTransactionReceipt", json!([hash])).await?;
        failed += usize::from(receipt["status"] != "0x1");
    }
    Ok(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(mode: Mode) -> Plan {
        Plan {
            nodes: vec![Target::default(); 4],
            funder: Account::Native(crate::keys::dev::native_key(0)),
            workload: workload::built_in("record", workload::Options { payload: 65_536 }).expect("known"),
            mode,
            method: Method::Basalt,
            seconds: 10,
            warm_up: 2,
            max_transactions: 5_000_000,
            senders: 4000,
            batch: 200,
            hash_fn: HashFn::Sha256,
            subscriptions: 0,
        }
    }

    #[test]
    fn a_run_is_bounded_in_time_count_and_memory() {
        let saturate = plan(Mode::Saturate { in_flight: 20_000 });
        assert!(saturate.check().is_ok());
        assert!(saturate.count().expect("bounded") * saturate.bytes_per_tx() <= MAX_LOAD_BYTES / 2);
        assert!(matches!(saturate.mode(), Mode::Saturate { in_flight } if in_flight < 600), "pools are not flooded");
        assert!(plan(Mode::Rate(100_000)).count().is_err(), "a rate is kept or refused, never cut");
        let refused = |change: fn(&mut Plan)| {
            let mut p = plan(Mode::Rate(10));
            change(&mut p);
            p.check().is_err()
        };
        assert!(!refused(|_| {}));
        assert!(refused(|p| p.seconds = 0) && refused(|p| p.seconds = 3601) && refused(|p| p.nodes.clear()));
        assert!(refused(|p| p.batch = 0) && refused(|p| p.senders = 0) && refused(|p| p.mode = Mode::Rate(0)));
        assert!(refused(|p| p.max_transactions = 5_000_001) && refused(|p| p.warm_up = 601));
    }

    #[test]
    fn a_slow_rate_goes_in_small_batches() {
        let shape = |rate| plan(Mode::Rate(rate)).shape(100);
        assert_eq!((shape(20).batch, shape(3200).batch, shape(1_000_000).batch), (1, 10, 200));
    }
}
