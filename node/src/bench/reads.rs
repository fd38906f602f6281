//! Reading: how many calls a node answers, and how long each takes, closed loop (as many connections as asked for, each with
//! one call under way) or open loop (a rate, whatever the node does). Against any Ethereum node.

use std::{str::FromStr, time::Duration};

use anyhow::bail;
use basalt_primitives::{Address, HashFn};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    Account, Method, Mode, Percentiles, Plan, Target, client::Node, latency::Latencies, setup::Setup, workload,
};

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Read {
    /// `eth_getBalance` of the funder.
    #[serde(rename = "eth_getBalance")]
    Balance,
    /// `eth_call` of an ERC-20 token's `balanceOf`; the token is deployed for it.
    #[serde(rename = "eth_call")]
    Call,
}

impl FromStr for Read {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "eth_getBalance" => Ok(Self::Balance),
            "eth_call" => Ok(Self::Call),
            _ => Err("use eth_getBalance or eth_call".to_owned()),
        }
    }
}

/// What to measure.
#[derive(Clone, Debug)]
pub struct ReadPlan {
    /// RPC address of the node.
    pub rpc: String,
    /// What is asked.
    pub read: Read,
    /// A funded account, which deploys what is asked.
    pub funder: Account,
    /// The chain's hash function.
    pub hash_fn: HashFn,
    /// Calls under way at once, at most; a connection each.
    pub connections: usize,
    /// Open loop: so many calls per second.
    pub rate: Option<u64>,
    /// How long is measured.
    pub seconds: u64,
    /// How long is asked before.
    pub warm_up: u64,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct ReadReport {
    /// What was asked.
    pub read: Read,
    /// Calls under way at once, at most.
    pub connections: usize,
    /// The open loop's rate.
    pub offered_per_second: Option<u64>,
    /// Calls answered per second.
    pub per_second: f64,
    /// From when each call was due to its answer.
    pub latency: Percentiles,
    /// Calls that were answered with an error, or not at all.
    pub failed: u64,
}

impl ReadReport {
    /// For people.
    #[must_use]
    pub fn table(&self) -> String {
        let Percentiles { p50_ms, p95_ms, p99_ms, max_ms, count } = self.latency;
        format!(
            "answered   {:.0} per second, {count} in all, {} failed\nlatency    p50 {p50_ms:.2} ms, p95 {p95_ms:.2}, p99 {p99_ms:.2}, max {max_ms:.2}\n",
            self.per_second, self.failed
        )
    }
}

/// Asks, and measures.
pub async fn reads(plan: &ReadPlan) -> anyhow::Result<ReadReport> {
    if !(1..=1000).contains(&plan.connections) || !(1..=3600).contains(&plan.seconds) || plan.warm_up > 600 {
        bail!("--connections must be between 1 and 1000, --seconds between 1 and 3600, --warm-up up to 600");
    }
    if plan.rate.is_some_and(|r| !(1..=1_000_000).contains(&r)) {
        bail!("--rate must be between 1 and 1000000");
    }
    let body = request(plan).await?;
    let start = Instant::now();
    let warm = start + Duration::from_secs(plan.warm_up);
    let pace = Pace { start, warm, end: warm + Duration::from_secs(plan.seconds) };
    let workers = (0..plan.connections).map(|worker| {
        let node = Node::new(&plan.rpc, Method::Ethereum);
        let (body, rate, of) = (body.clone(), plan.rate, plan.connections);
        async move { tokio::spawn(ask(node?, body, pace, rate.map(|r| Turn { worker, of, rate: r }))).await? }
    });
    let (mut latencies, mut failed) = (Latencies::default(), 0);
    for result in futures::future::join_all(workers).await {
        let (some, errors) = result?;
        latencies.merge(&some);
        failed += errors;
    }
    let latency = latencies.percentiles();
    Ok(ReadReport {
        read: plan.read,
        connections: plan.connections,
        offered_per_second: plan.rate,
        per_second: latency.count as f64 / plan.seconds as f64,
        latency,
        failed,
    })
}

/// How long after the end calls that were due before it are still made: an open loop that is behind counts its slow answers,
/// and what it never comes to as failed.
const OVERTIME: Duration = Duration::from_secs(10);

#[derive(Clone, Copy)]
struct Pace {
    start: Instant,
    warm: Instant,
    end: Instant,
}

/// Which calls of an open loop a worker makes.
#[derive(Clone, Copy)]
struct Turn {
    worker: usize,
    of: usize,
    rate: u64,
}

async fn ask(node: Node, body: String, pace: Pace, turn: Option<Turn>) -> anyhow::Result<(Latencies, u64)> {
    let (mut latencies, mut failed) = (Latencies::default(), 0);
    for n in 0u64.. {
        let due = match turn {
            None => Instant::now(),
            Some(Turn { worker, of, rate }) => {
                let number = n * of as u64 + worker as u64;
                pace.start + Duration::from_secs_f64(number as f64 / rate as f64)
            }
        };
        if due >= pace.end {
            break;
        }
        if Instant::now() > pace.end + OVERTIME {
            failed += 1;
            continue;
        }
        tokio::time::sleep_until(due).await;
        let answer = node.rpc().post(body.clone()).await;
        if due < pace.warm {
            continue;
        }
        match answer {
            Ok(answer) if answer["result"].as_str().is_some_and(|r| r.len() > 2) => latencies.record(due.elapsed()),
            _ => failed += 1,
        }
    }
    Ok((latencies, failed))
}

/// The call, as the bytes to send.
async fn request(plan: &ReadPlan) -> anyhow::Result<String> {
    let owner = plan.funder.address();
    let (method, params) = match plan.read {
        Read::Balance => ("eth_getBalance", json!([owner, "latest"])),
        Read::Call => {
            let token = token(plan).await?;
            let data = format!("0x70a08231{}{}", "0".repeat(24), hex::encode(owner));
            ("eth_call", json!([{ "to": token, "data": data }, "latest"]))
        }
    };
    let request: Value = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    Ok(request.to_string())
}

/// Deploys the token of the workload `erc20`.
async fn token(plan: &ReadPlan) -> anyhow::Result<Address> {
    let node = Node::new(&plan.rpc, Method::Ethereum)?;
    let workload = workload::built_in("erc20", workload::Options { payload: 0 })
        .ok_or_else(|| anyhow::anyhow!("the workload erc20 is missing from this program"))?;
    let setup = Plan {
        nodes: vec![Target { rpc: plan.rpc.clone(), ..Target::default() }],
        funder: plan.funder.clone(),
        workload,
        mode: Mode::Rate(1),
        method: Method::Ethereum,
        seconds: 1,
        warm_up: 0,
        max_transactions: 1,
        senders: 1,
        batch: 1,
        hash_fn: plan.hash_fn,
        subscriptions: 0,
    };
    let ready = Setup::new(&setup, &node, 1).await?.run(&[], 1).await?;
    ready.contracts.first().copied().ok_or_else(|| anyhow::anyhow!("the token has no address"))
}
