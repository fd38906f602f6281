//! A small JSON-RPC client for the command line.

use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

/// Speaks to one node.
#[derive(Clone, Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    url: String,
}

impl Client {
    pub fn new(url: &str) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(30)).no_proxy().build()?;
        Ok(Self { http, url: url.to_owned() })
    }

    /// One call; an error answer becomes an error with the node's own text.
    pub async fn call(&self, method: &str, params: Value) -> anyhow::Result<Value> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer: Value = self
            .http
            .post(&self.url)
            .json(&body)
            .send()
            .await
            .with_context(|| format!("no answer from {}; is the node running there?", self.url))?
            .json()
            .await
            .with_context(|| format!("{} does not speak JSON-RPC", self.url))?;
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
pub(super) fn quantity(value: &Value) -> Option<u128> {
    u128::from_str_radix(value.as_str()?.strip_prefix("0x")?, 16).ok()
}
