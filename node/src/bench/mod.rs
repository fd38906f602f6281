//! The benchmark: signs a load beforehand, drives the RPC of a running network with it, and reports what was committed, how
//! fast, and what it cost the nodes.
//!
//! Senders are spread over the nodes, each sender always to the same one, as wallets do. A transaction counts when a block
//! that carries it is final; its latency runs from the moment its batch is handed to the HTTP client.

mod client;
mod load;
mod report;
mod watch;

use std::{collections::HashMap, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use basalt_primitives::{B256, HashFn, SecretKey};
use parking_lot::Mutex;
use tokio::time::Instant;

pub use report::Report;

use client::Node;
use load::Load;

/// A node to drive.
#[derive(Clone, Debug)]
pub struct Target {
    /// RPC address.
    pub rpc: String,
    /// Address of its metrics, for what it uses; `None`: unknown.
    pub metrics: Option<String>,
}

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The nodes.
    pub nodes: Vec<Target>,
    /// Key of a funded account that pays for everything.
    pub funder: SecretKey,
    /// Transactions per second offered; `None`: as many as are taken.
    pub rate: Option<u64>,
    /// How long load is offered.
    pub seconds: u64,
    /// Most transactions signed beforehand when there is no rate.
    pub max_transactions: usize,
    /// Accounts that send.
    pub senders: usize,
    /// Transactions in one request.
    pub batch: usize,
    /// The chain's hash function.
    pub hash_fn: HashFn,
}

/// Committed transactions may lag behind this much before a run without rate waits, per node.
const IN_FLIGHT_PER_NODE: usize = 5_000;
/// After the load ends, this long may pass without a further transaction committed before the rest counts as lost.
const DRAIN: Duration = Duration::from_secs(20);

/// When each transaction was handed in, and when it was final.
#[derive(Debug, Default)]
struct Ledger {
    sent: HashMap<B256, Instant>,
    committed: HashMap<B256, Instant>,
    refused: u64,
}

type Shared = Arc<Mutex<Ledger>>;

/// Runs the plan.
pub async fn run(plan: &Plan) -> anyhow::Result<Report> {
    if plan.nodes.is_empty() || plan.senders == 0 || plan.batch == 0 || plan.seconds == 0 {
        bail!("a benchmark needs nodes, senders, a batch size and a duration above 0");
    }
    let nodes = plan.nodes.iter().map(Node::new).collect::<anyhow::Result<Vec<_>>>()?;
    let load = Load::prepare(plan, &nodes).await.context("the load could not be prepared")?;
    let shared = Shared::default();
    let before = client::usage(&nodes).await;
    let watcher = tokio::spawn(watch::follow(nodes[0].clone(), Arc::clone(&shared)));
    let start = Instant::now();
    let peak = offer(plan, &nodes, load, &shared, start).await;
    drain(&shared).await;
    watcher.abort();
    let after = client::usage(&nodes).await;
    let ledger = shared.lock();
    Ok(Report::new(plan, &ledger.sent, &ledger.committed, ledger.refused, start, before.zip(after), peak))
}

/// Sends every node's share at its own pace. The largest memory seen meanwhile.
async fn offer(plan: &Plan, nodes: &[Node], load: Load, shared: &Shared, start: Instant) -> Option<u64> {
    let end = start + Duration::from_secs(plan.seconds);
    let rate_per_node = plan.rate.map(|r| r as f64 / nodes.len() as f64);
    let tasks: Vec<_> = nodes
        .iter()
        .zip(load.shares)
        .map(|(node, share)| {
            tokio::spawn(send_share(node.clone(), share, rate_per_node, end, Arc::clone(shared), nodes.len()))
        })
        .collect();
    let sampling = async {
        let mut peak = None;
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            peak = peak.max(client::usage(nodes).await.map(|u| u.rss_max));
            if Instant::now() >= end {
                return peak;
            }
        }
    };
    let (peak, _) = futures::future::join(sampling, futures::future::join_all(tasks)).await;
    peak
}

async fn send_share(
    node: Node,
    share: Vec<load::Batch>,
    rate: Option<f64>,
    end: Instant,
    shared: Shared,
    nodes: usize,
) {
    let start = Instant::now();
    let mut sent = 0usize;
    for batch in share {
        match rate {
            Some(rate) => tokio::time::sleep_until(start + Duration::from_secs_f64(sent as f64 / rate)).await,
            None => wait_for_room(&shared, nodes).await,
        }
        if Instant::now() >= end {
            return;
        }
        sent += batch.hashes.len();
        let now = Instant::now();
        shared.lock().sent.extend(batch.hashes.iter().map(|h| (*h, now)));
        let taken = node.submit(&batch.json).await;
        let mut ledger = shared.lock();
        for (hash, ok) in batch.hashes.iter().zip(taken.into_iter().chain(std::iter::repeat(false))) {
            if !ok {
                ledger.sent.remove(hash);
                ledger.refused += 1;
            }
        }
    }
}

async fn wait_for_room(shared: &Shared, nodes: usize) {
    loop {
        let in_flight = {
            let l = shared.lock();
            l.sent.len().saturating_sub(l.committed.len())
        };
        if in_flight < IN_FLIGHT_PER_NODE * nodes {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until everything accepted is committed, or nothing more comes.
async fn drain(shared: &Shared) {
    let (mut last, mut since) = (0, Instant::now());
    loop {
        let (sent, committed) = {
            let l = shared.lock();
            (l.sent.len(), l.sent.keys().filter(|h| l.committed.contains_key(*h)).count())
        };
        if committed >= sent {
            return;
        }
        if committed > last {
            (last, since) = (committed, Instant::now());
        }
        if since.elapsed() > DRAIN {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
