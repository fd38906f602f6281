//! What the chain says of a log's anchors.

use std::collections::BTreeMap;

use anyhow::Context as _;
use basalt_primitives::{Address, PublicKey};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    audit::{
        anchor::{self, OnChain},
        verify::Report,
    },
    client::{Client, quantity},
};

/// What the chain says.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Compared {
    /// Anchors that agree with the log.
    pub agreed: u64,
    /// Anchors that the log speaks of and no block has.
    pub waiting: u64,
    /// The newest entry that is anchored.
    pub newest: Option<u64>,
    /// The block that says so.
    pub block: Option<u64>,
}

/// Asks a node about every anchor, and how many there are.
pub(super) async fn compare(url: &str, report: &Report, trusted: &[PublicKey]) -> anyhow::Result<Compared> {
    let client = Client::new(url)?;
    let mut compared = Compared::default();
    for known in &report.anchors {
        let found = client.call("eth_getTransactionByHash", json!([known.transaction])).await?;
        let found = on_chain(&found).with_context(|| format!("{url} answered something else than a transaction"))?;
        if anchor::check(known, found.as_ref())? {
            compared.agreed += 1;
            compared.newest = Some(known.head.seq);
            compared.block = found.and_then(|f| f.height);
        } else {
            compared.waiting += 1;
        }
    }
    let mut sent = BTreeMap::new();
    for key in report.keys.iter().chain(trusted) {
        let account = key.address();
        let count = client.quantity("eth_getTransactionCount", json!([account, "latest"])).await?;
        sent.insert(account, u64::try_from(count)?);
    }
    anchor::check_complete(&report.anchors, &sent, report.first, report.removed > 0)?;
    Ok(compared)
}

fn on_chain(value: &Value) -> anyhow::Result<Option<OnChain>> {
    if value.is_null() {
        return Ok(None);
    }
    let address = |name: &str| value[name].as_str().and_then(|a| a.parse::<Address>().ok());
    Ok(Some(OnChain {
        height: quantity(&value["blockNumber"]).and_then(|h| u64::try_from(h).ok()),
        from: address("from").context("it has no sender")?,
        to: address("to"),
        input: value["input"].as_str().and_then(|i| i.parse().ok()).context("it has no data")?,
    }))
}
