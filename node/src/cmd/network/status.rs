//! `basalt network status`, and the questions `network up` asks as well.

use std::{path::Path, time::Duration};

use anyhow::Context as _;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    layout::{Manifest, NodeEntry},
    processes,
};

/// What is known of one node.
#[derive(Clone, Debug, Serialize)]
pub(super) struct NodeStatus {
    pub name: String,
    pub pid: Option<u32>,
    pub on: bool,
    /// Started, and ended without being asked to.
    pub crashed: bool,
    pub role: String,
    pub height: Option<u64>,
    pub head: Option<String>,
    pub peers: Option<u64>,
    pub version: Option<String>,
    pub rpc: String,
    pub metrics: String,
}

pub(super) fn run(dir: &Path, as_json: bool) -> anyhow::Result<()> {
    let manifest = Manifest::read(dir)?;
    let nodes = crate::cmd::block_on(gather(dir, &manifest))?;
    if as_json {
        println!("{}", json!({ "nodes": nodes }));
        return Ok(());
    }
    println!(
        "{:<8} {:<10} {:<8} {:>8} {:>9} {:<14} {:>5}  RPC",
        "NODE", "ROLE", "STATE", "PID", "HEIGHT", "HEAD", "PEERS"
    );
    for n in nodes {
        let state = match (n.on, n.crashed) {
            (true, _) => "on",
            (false, true) => "CRASHED",
            (false, false) => "off",
        };
        let text = |v: Option<u64>| v.map_or_else(|| "-".to_owned(), |v| v.to_string());
        let head = n.head.as_deref().map_or("-", |h| h.get(..12).unwrap_or(h));
        let (pid, height, peers) = (text(n.pid.map(u64::from)), text(n.height), text(n.peers));
        println!("{:<8} {:<10} {state:<8} {pid:>8} {height:>9} {head:<14} {peers:>5}  {}", n.name, n.role, n.rpc);
    }
    Ok(())
}

/// Asks every node at once.
pub(super) async fn gather(dir: &Path, manifest: &Manifest) -> Vec<NodeStatus> {
    let client = crate::tls::client::http().timeout(Duration::from_secs(2)).no_proxy().build();
    // Its settings are known.
    let client = client.expect("a client with known settings");
    futures::future::join_all(manifest.nodes.iter().map(|n| ask(&client, dir, n))).await
}

async fn ask(client: &reqwest::Client, dir: &Path, node: &NodeEntry) -> NodeStatus {
    let process = processes::find(dir, node);
    let mut status = NodeStatus {
        name: node.name.clone(),
        pid: process.map(|p| p.pid),
        on: process.is_some(),
        crashed: process.is_none() && processes::was_started(dir, node),
        role: node.role.clone(),
        height: None,
        head: None,
        peers: None,
        version: None,
        rpc: node.rpc_url(dir),
        metrics: node.metrics_url(dir),
    };
    if process.is_none() {
        return status;
    }
    // A node that does not answer yet is on, with nothing known of it.
    if let Ok(answers) = call(client, &status.rpc).await {
        let hex = |v: &Value| v.as_str().and_then(|s| u64::from_str_radix(s.trim_start_matches("0x"), 16).ok());
        status.height = hex(&answers[0]["number"]);
        status.head = answers[0]["hash"].as_str().map(str::to_owned);
        status.peers = hex(&answers[1]);
        status.version = answers[2].as_str().map(str::to_owned);
    }
    status
}

async fn call(client: &reqwest::Client, url: &str) -> anyhow::Result<[Value; 3]> {
    let request = |id: u64, method: &str, params: Value| json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
    let batch = [
        request(0, "eth_getBlockByNumber", json!(["latest", false])),
        request(1, "net_peerCount", json!([])),
        request(2, "web3_clientVersion", json!([])),
    ];
    let answers: Vec<Value> = client.post(url).json(&batch).send().await?.json().await?;
    let result = |id: u64| -> anyhow::Result<Value> {
        let answer = answers.iter().find(|a| a["id"] == id).context("an answer is missing")?;
        Ok(answer["result"].clone())
    };
    Ok([result(0)?, result(1)?, result(2)?])
}
