//! Proposing and approving, and what came of it.

use anyhow::{Context as _, bail};
use basalt_primitives::{
    Address, Bytes, keccak256,
    system::{
        PERMISSION,
        permission::{
            Change, Rights,
            calls::{self, PROPOSED},
        },
    },
};
use serde_json::Value;

use super::{
    super::validator::{Node, Signer, send_to, text},
    args::{End, NodeEntry, name, organisation as organisation_word, public_key},
    show::{describe, status_of},
};
use crate::client::{Client, quantity};

const SEE: &str = "basalt permission status";

pub(super) async fn add_node(node: &Node, signer: &Signer, entry: &NodeEntry) -> anyhow::Result<()> {
    let e = entry.check()?;
    let change = Change::set_node(&e.key, e.role, e.until, e.organisation, e.validator.as_ref(), &e.name);
    propose(node, signer, &change).await
}

pub(super) async fn remove_node(node: &Node, signer: &Signer, who: &str) -> anyhow::Result<()> {
    let status = status_of(&Client::new(&node.rpc)?).await?;
    let nodes = status["nodes"].as_array().context("the node answered no list of nodes")?;
    let named: Vec<_> = nodes.iter().filter(|n| n["name"] == who).collect();
    let key = match named[..] {
        [one] => public_key(&text(&one["key"]))?,
        [] => public_key(who)?,
        _ => bail!("{} nodes have the name {who}; name one by its peer id", named.len()),
    };
    propose(node, signer, &Change::remove_node(&key)).await
}

pub(super) async fn organisation(
    node: &Node,
    signer: &Signer,
    who: &str,
    suspended: bool,
    end: &End,
) -> anyhow::Result<()> {
    propose(node, signer, &Change::set_organisation(name(who)?, suspended, end.until()?)).await
}

pub(super) async fn set_account(
    node: &Node,
    signer: &Signer,
    account: Address,
    rights: &str,
    organisation: Option<&str>,
    end: &End,
) -> anyhow::Result<()> {
    let rights: Rights = rights.parse().map_err(anyhow::Error::msg)?;
    let organisation = organisation.map(organisation_word).transpose()?;
    propose(node, signer, &Change::set_account(account, rights, false, end.until()?, organisation)).await
}

pub(super) async fn block_account(node: &Node, signer: &Signer, account: Address) -> anyhow::Result<()> {
    propose(node, signer, &Change::set_account(account, Rights::NONE, true, Default::default(), None)).await
}

pub(super) async fn remove_account(node: &Node, signer: &Signer, account: Address) -> anyhow::Result<()> {
    propose(node, signer, &Change::remove_account(account)).await
}

pub(super) async fn set_call(
    node: &Node,
    signer: &Signer,
    account: Address,
    contract: Address,
    may: bool,
) -> anyhow::Result<()> {
    propose(node, signer, &Change::set_call(account, contract, may)).await
}

pub(super) async fn set_mode(node: &Node, signer: &Signer, mode: &str) -> anyhow::Result<()> {
    propose(node, signer, &Change::set_mode(mode.parse().map_err(anyhow::Error::msg)?)).await
}

async fn propose(node: &Node, signer: &Signer, change: &Change) -> anyhow::Result<()> {
    let client = Client::new(&node.rpc)?;
    status_of(&client).await?;
    let receipt = send(&client, signer, calls::propose(change)).await?;
    let topic = keccak256(PROPOSED).to_string();
    let logs = receipt["logs"].as_array().context("the receipt has no logs")?;
    let log = logs.iter().find(|l| l["topics"][0] == topic.as_str()).context("the receipt names no proposal")?;
    let id = quantity(&log["topics"][1]).and_then(|id| u64::try_from(id).ok());
    outcome(node, &client, id.context("the receipt names no proposal")?).await
}

pub(super) async fn approve(node: &Node, signer: &Signer, id: u64) -> anyhow::Result<()> {
    let client = Client::new(&node.rpc)?;
    send(&client, signer, calls::approve(id)).await?;
    outcome(node, &client, id).await
}

pub(super) async fn withdraw(node: &Node, signer: &Signer, id: u64) -> anyhow::Result<()> {
    let client = Client::new(&node.rpc)?;
    send(&client, signer, calls::withdraw(id)).await?;
    outcome(node, &client, id).await
}

async fn send(client: &Client, signer: &Signer, input: Bytes) -> anyhow::Result<Value> {
    send_to(client, &signer.load()?, PERMISSION, input, SEE).await
}

/// Says where a proposal stands now. One that another change has overtaken is a failure of the command.
async fn outcome(node: &Node, client: &Client, id: u64) -> anyhow::Result<()> {
    let status = status_of(client).await?;
    let found = status["proposals"].as_array().into_iter().flatten().find(|p| p["id"] == id);
    let p = found.with_context(|| format!("there is no proposal {id}; see `{SEE}`"))?;
    println!("{}", if node.json { p.to_string() } else { format!("proposal {}", describe(p)) });
    if p["status"] == "overtaken" {
        bail!("another change came first and made it meaningless; see `{SEE}`");
    }
    Ok(())
}
