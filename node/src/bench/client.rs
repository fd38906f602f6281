//! The generator's way to a node.

use std::time::Duration;

use serde_json::Value;

use crate::client::Client;

/// One node. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Node {
    rpc: Client,
    http: reqwest::Client,
    metrics: Option<String>,
}

/// What the nodes have used, together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    pub cpu_seconds: f64,
    pub rss_max: u64,
}

impl Node {
    pub fn new(target: &super::Target) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(10)).no_proxy().build()?;
        Ok(Self { rpc: Client::new(&target.rpc)?, http, metrics: target.metrics.clone() })
    }

    /// Its JSON-RPC.
    pub const fn rpc(&self) -> &Client {
        &self.rpc
    }

    /// Hands in a request that was put together beforehand; whether each transaction was taken.
    pub async fn submit(&self, body: &str) -> Vec<bool> {
        let Ok(answer) = self.rpc.post(body.to_owned()).await else { return Vec::new() };
        let results = answer["result"].as_array().map(Vec::as_slice).unwrap_or_default();
        results.iter().map(|r| r.get("hash").is_some_and(Value::is_string)).collect()
    }

    async fn usage(&self) -> Option<Usage> {
        let text = self.http.get(self.metrics.as_ref()?).send().await.ok()?.text().await.ok()?;
        let value = |name: &str| {
            let line = text.lines().find(|l| l.starts_with(name) && l[name.len()..].starts_with(' '))?;
            line[name.len()..].trim().parse::<f64>().ok()
        };
        let rss = value("basalt_process_resident_memory_bytes")?;
        Some(Usage { cpu_seconds: value("basalt_process_cpu_seconds_total")?, rss_max: rss as u64 })
    }
}

/// Processor time of all nodes and memory of the largest; `None` when one does not say.
pub(super) async fn usage(nodes: &[Node]) -> Option<Usage> {
    let all = futures::future::join_all(nodes.iter().map(Node::usage)).await;
    all.into_iter().reduce(|a, b| {
        let (a, b) = (a?, b?);
        Some(Usage { cpu_seconds: a.cpu_seconds + b.cpu_seconds, rss_max: a.rss_max.max(b.rss_max) })
    })?
}
