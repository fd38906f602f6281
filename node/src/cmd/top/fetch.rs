//! Asks nodes how they are: all at once, each with one request, in bounded time and memory.

use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::{Value, json};

use super::{
    model::{Answer, Picture},
    targets::Target,
};
use crate::clock;

/// How long a node may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// Longest answer that is read: a directory of 1,024 nodes has some 400 KiB.
const MAX_ANSWER: usize = 8 << 20;
/// What is asked, in this order.
const METHODS: [&str; 4] = ["monitor_status", "monitor_resources", "monitor_nodes", "consensus_explain"];

/// Asks the nodes of a network.
#[derive(Debug)]
pub(super) struct Fetcher {
    http: reqwest::Client,
    targets: Vec<Target>,
}

impl Fetcher {
    pub fn new(targets: Vec<Target>) -> anyhow::Result<Self> {
        let http =
            crate::tls::client::http().timeout(ANSWER_WITHIN).no_proxy().redirect(reqwest::redirect::Policy::none());
        Ok(Self { http: http.build()?, targets })
    }

    /// One picture of the network.
    pub async fn look(&self) -> Picture {
        let answers = join_all(self.targets.iter().map(|t| self.ask(t))).await;
        Picture::new(clock::wall_ms(), self.targets.iter().zip(answers))
    }

    async fn ask(&self, target: &Target) -> Result<Answer, String> {
        let asked = Instant::now();
        let body = self.post(&target.url).await?;
        let took = asked.elapsed();
        let mut answer = Answer::read(&body)?;
        answer.took_ms = took.as_secs_f64() * 1000.0;
        Ok(answer)
    }

    /// The body of the answer.
    async fn post(&self, url: &str) -> Result<Vec<u8>, String> {
        let call = |(id, method): (usize, &&str)| json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": [] });
        let batch: Vec<Value> = METHODS.iter().enumerate().map(call).collect();
        let mut answer = self.http.post(url).json(&batch).send().await.map_err(|e| why(&e))?;
        if !answer.status().is_success() {
            return Err(format!("answers HTTP {}; is that a node's RPC address?", answer.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|e| why(&e))? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(format!("answers with more than {} MiB; is that a node's RPC address?", MAX_ANSWER >> 20));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// Why there is no answer, in few words: the innermost cause says it.
fn why(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {} s", ANSWER_WITHIN.as_secs());
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    format!("no answer: {cause}")
}
