//! A small JSON-RPC client, for the command line and the benchmark.

use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use crate::tls;

/// Speaks to one node.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
}

impl Client {
    pub fn new(url: &str) -> anyhow::Result<Self> {
        let http = tls::client::http().timeout(Duration::from_secs(30)).no_proxy().build()?;
        Ok(Self { http, url: url.to_owned() })
    }

    /// Sends a request that was put together beforehand; the whole answer.
    pub async fn post(&self, body: String) -> anyhow::Result<Value> {
        let request = self.http.post(&self.url).header("content-type", "application/json").body(body);
        let answer = request.send().await;
        let answer = answer.with_context(|| format!("no answer from {}; is the node running there?", self.url))?;
        answer.json().await.with_context(|| format!("{} does not speak JSON-RPC", self.url))
    }

    /// One call; an error answer becomes an error with the node's own text.
    pub async fn call(&self, method: &str, params: Value) -> anyhow::Result<Value> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer = self.post(body.to_string()).await?;
        if let Some(error) = answer.get("error") {
            bail!("{}", error["message"].as_str().unwrap_or("the node answered with an error without text"));
        }
        Ok(answer["result"].clone())
    }

    /// A call whose answer is a quantity.
    pub async fn quantity(&self, method: &str, params: Value) -> anyhow::Result<u128> {
        let value = self.call(method, params).await?;
        quantity(&value).with_context(|| format!("{method} answered {value}, which is no quantity"))
    }
}

/// Reads a JSON-RPC quantity.
pub(crate) fn quantity(value: &Value) -> Option<u128> {
    u128::from_str_radix(value.as_str()?.strip_prefix("0x")?, 16).ok()
}
