//! Proposing and approving: says beforehand what the chain would refuse, and afterwards what came of it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use basalt_primitives::{Bytes, PublicKey, SecretKey, keccak256, system::calls, system::validators::MAX_NAME};
use serde_json::{Value, json};

use super::{
    Node, Signer,
    send::send,
    show::{describe, member, proposal, public_key, quorum, text, validators},
};
use crate::client::{Client, quantity};

/// How long an approved change may wait for the block that decides about it.
const DECIDED_WITHIN: Duration = Duration::from_secs(60);

pub(super) async fn propose_add(node: &Node, signer: &Signer, new: &str, name: &str) -> anyhow::Result<()> {
    if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
        bail!("a validator's name has 1 to {MAX_NAME} bytes and no control characters");
    }
    let key = public_key(new)?;
    propose(node, signer, calls::propose_add(&key, name), Some(key)).await
}

pub(super) async fn propose_remove(node: &Node, signer: &Signer, who: &str) -> anyhow::Result<()> {
    let key = member(&Client::new(&node.rpc)?, who).await?;
    propose(node, signer, calls::propose_remove(&key), None).await
}

pub(super) async fn propose_replace(node: &Node, signer: &Signer, old: &str, new: &str) -> anyhow::Result<()> {
    let old = member(&Client::new(&node.rpc)?, old).await?;
    let new = public_key(new)?;
    propose(node, signer, calls::propose_replace(&old, &new), Some(new)).await
}

async fn propose(node: &Node, signer: &Signer, input: Bytes, newcomer: Option<PublicKey>) -> anyhow::Result<()> {
    let (client, key) = (Client::new(&node.rpc)?, signer.load()?);
    if let Some(newcomer) = newcomer {
        warn_of_poverty(&client, &newcomer).await?;
    }
    let receipt = send(&client, &key, input).await?;
    let topic = keccak256("Proposed(uint256,address,uint8,bytes32,bytes32,bytes32)").to_string();
    let logs = receipt["logs"].as_array().context("the receipt has no logs")?;
    let log = logs.iter().find(|l| l["topics"][0] == topic.as_str()).context("the receipt names no proposal")?;
    let id = quantity(&log["topics"][1]).and_then(|id| u64::try_from(id).ok());
    outcome(node, &client, id.context("the receipt names no proposal")?).await
}

pub(super) async fn approve(node: &Node, signer: &Signer, id: u64, force: bool) -> anyhow::Result<()> {
    let (client, key) = (Client::new(&node.rpc)?, signer.load()?);
    let before = proposal(&client, id).await?;
    if before["status"] == "open" && completes(&before, &key) {
        if before["newcomerReady"] == false && !force {
            bail!(
                "nothing was sent: this approval would complete the vote, and the chain would refuse the change, because the new \
                 validator has not shown that it is ready; start its node, wait until it has synced (`basalt validator \
                 proposals` says so) and approve again, or give --force"
            );
        }
        warn_of_silence(&client, &before).await?;
    }
    send(&client, &key, calls::approve(id)).await?;
    outcome(node, &client, id).await
}

pub(super) async fn withdraw(node: &Node, signer: &Signer, id: u64) -> anyhow::Result<()> {
    let (client, key) = (Client::new(&node.rpc)?, signer.load()?);
    send(&client, &key, calls::withdraw(id)).await?;
    print(node, &proposal(&client, id).await?);
    Ok(())
}

/// Whether one more approval by this key makes it a quorum.
fn completes(p: &Value, key: &SecretKey) -> bool {
    let own = key.public_key().address().to_string();
    let given = p["approvedBy"].as_array().into_iter().flatten();
    let again = given.into_iter().any(|a| text(&a["address"]).eq_ignore_ascii_case(&own));
    let approvals = p["approvals"].as_u64().unwrap_or(0) + u64::from(!again);
    approvals >= p["needed"].as_u64().unwrap_or(u64::MAX)
}

/// What this node can see is only a hint: others may have seen the missing ones.
async fn warn_of_silence(client: &Client, p: &Value) -> anyhow::Result<()> {
    let list = validators(client, None).await?;
    let stays = |v: &&Value| text(&v["publicKey"]) != text(&p["oldKey"]);
    let alive = list.iter().filter(stays).filter(|v| !v["lastSigned"].is_null()).count();
    let newcomer = usize::from(!p["newKey"].is_null());
    let size = list.iter().filter(stays).count() + newcomer;
    let (have, need) = (alive + newcomer, quorum(size));
    if have < need {
        eprintln!(
            "warning: only {have} of the {size} validators there would be have signed one of the last 64 certificates, and \
             {need} are needed; unless others say that they are ready, the chain will refuse the change"
        );
    } else if have == need && size > 1 {
        eprintln!("warning: with this change no further validator may go down until those that are silent are back");
    }
    Ok(())
}

/// Where gas costs something, a newcomer needs some to say that it is ready.
async fn warn_of_poverty(client: &Client, newcomer: &PublicKey) -> anyhow::Result<()> {
    let fee = quantity(&client.call("eth_getBlockByNumber", json!(["latest", false])).await?["baseFeePerGas"]);
    let balance = client.call("eth_getBalance", json!([newcomer.address(), "latest"])).await?;
    if fee.unwrap_or(0) > 0 && balance == "0x0" {
        eprintln!(
            "warning: the new validator's account {} is empty, so it cannot say on chain that it is ready; send it some: basalt \
             tx send --to {} --value 1ether …",
            newcomer.address(),
            newcomer.address()
        );
    }
    Ok(())
}

/// Says where a proposal stands now; of an approved one, what the chain decided. A refusal is a failure of the command.
async fn outcome(node: &Node, client: &Client, id: u64) -> anyhow::Result<()> {
    let deadline = Instant::now() + DECIDED_WITHIN;
    let mut p = proposal(client, id).await?;
    while p["status"] == "approved" {
        if Instant::now() > deadline {
            bail!(
                "proposal {id} is approved, but no block has decided about it after {DECIDED_WITHIN:?}; see `basalt validator proposals`"
            );
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        p = proposal(client, id).await?;
    }
    print(node, &p);
    if p["status"] == "refused" {
        bail!("the chain refused the change: {}", text(&p["reason"]));
    }
    Ok(())
}

fn print(node: &Node, p: &Value) {
    println!("{}", if node.json { p.to_string() } else { format!("proposal {}", describe(p)) });
}
