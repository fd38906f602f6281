//! What stands: validators, proposals, and what an operator should know of both.

use anyhow::{Context as _, bail};
use basalt_primitives::PublicKey;
use serde_json::{Value, json};

use super::Node;
use crate::{client::Client, keys};

pub(super) async fn validators(client: &Client, height: Option<u64>) -> anyhow::Result<Vec<Value>> {
    let params = height.map_or_else(|| json!([]), |h| json!([format!("{h:#x}")]));
    let list = client.call("consensus_validators", params).await?;
    Ok(list.as_array().context("the node answered no list of validators")?.clone())
}

pub(super) async fn all_proposals(client: &Client) -> anyhow::Result<Vec<Value>> {
    let list = client.call("consensus_proposals", json!([])).await?;
    Ok(list.as_array().context("the node answered no list of proposals")?.clone())
}

pub(super) async fn proposal(client: &Client, id: u64) -> anyhow::Result<Value> {
    let found = all_proposals(client).await?.into_iter().find(|p| p["id"] == id);
    found.with_context(|| format!("there is no proposal {id}, or it ended long ago; see `basalt validator proposals`"))
}

/// A text field, or a dash.
pub(in crate::cmd) fn text(value: &Value) -> String {
    match value {
        Value::String(s) if !s.is_empty() => s.clone(),
        Value::Number(n) => n.to_string(),
        _ => "-".to_owned(),
    }
}

fn names(list: &Value) -> String {
    let names: Vec<String> = list.as_array().into_iter().flatten().map(who).collect();
    if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
}

fn who(v: &Value) -> String {
    if v["name"].as_str().is_some_and(|n| !n.is_empty()) { text(&v["name"]) } else { text(&v["address"]) }
}

pub(super) async fn list(node: &Node, height: Option<u64>) -> anyhow::Result<()> {
    let list = validators(&Client::new(&node.rpc)?, height).await?;
    if node.json {
        println!("{}", Value::Array(list));
        return Ok(());
    }
    println!("{:>3}  {:<16} {:<42} {:>11}  {:<7} public key", "#", "name", "address", "last signed", "online");
    for v in list {
        let online = if v["online"] == true { "yes" } else { "no" };
        println!(
            "{:>3}  {:<16} {:<42} {:>11}  {:<7} {}",
            text(&v["index"]),
            text(&v["name"]),
            text(&v["address"]),
            text(&v["lastSigned"]),
            online,
            text(&v["publicKey"])
        );
    }
    Ok(())
}

pub(super) async fn proposals(node: &Node) -> anyhow::Result<()> {
    let list = all_proposals(&Client::new(&node.rpc)?).await?;
    if node.json {
        println!("{}", Value::Array(list));
    } else if list.is_empty() {
        println!("nothing was ever proposed");
    } else {
        list.iter().for_each(|p| println!("{}", describe(p)));
    }
    Ok(())
}

/// A proposal in one or two sentences.
pub(super) fn describe(p: &Value) -> String {
    let what = match p["kind"].as_str() {
        Some("add") => format!("add {} ({})", text(&p["name"]), text(&p["newAddress"])),
        Some("remove") => format!("remove {}", text(&p["oldKey"])),
        _ => format!("replace the key of {} by that of {}", text(&p["name"]), text(&p["newAddress"])),
    };
    let head = format!("{}: {what}, proposed by {} at height {}: ", p["id"], who(&p["proposer"]), p["opened"]);
    head + &match p["status"].as_str() {
        Some("open") => format!(
            "open until height {}; {} of {} approvals ({}), missing: {}{}",
            p["expires"],
            p["approvals"],
            p["needed"],
            names(&p["approvedBy"]),
            names(&p["missing"]),
            readiness(p)
        ),
        Some("approved") => "approved; the next block applies or refuses it".into(),
        Some("applied") => format!("applied; in force from height {}", p["validFrom"]),
        Some("refused") => format!("REFUSED at height {}: {}", p["decided"], text(&p["reason"])),
        Some(other) => other.to_owned(),
        None => "-".to_owned(),
    }
}

fn readiness(p: &Value) -> &'static str {
    match p["newcomerReady"].as_bool() {
        Some(true) => "; the newcomer is ready",
        Some(false) => "; the newcomer has NOT shown that it is ready: start its node and let it sync",
        None => "",
    }
}

pub(super) async fn status(node: &Node) -> anyhow::Result<()> {
    let client = Client::new(&node.rpc)?;
    let list = validators(&client, None).await?;
    let open: Vec<Value> = all_proposals(&client).await?.into_iter().filter(is_open).collect();
    let (n, silent) = (list.len(), list.iter().filter(|v| v["lastSigned"].is_null()).cloned().collect::<Vec<_>>());
    let (faulty, quorum) = (n.saturating_sub(1) / 3, quorum(n));
    if node.json {
        let value = json!({ "validators": n, "quorum": quorum, "mayFail": n - quorum, "mayLie": faulty, "silent": silent, "open": open });
        println!("{value}");
        return Ok(());
    }
    println!(
        "{n} validators; {quorum} must be up for blocks to be made, so {} may be down; {faulty} may be dishonest",
        n - quorum
    );
    if silent.is_empty() {
        println!("all have signed one of the last 64 certificates");
    } else {
        println!("in none of the last 64 certificates (down, or only slow): {}", names(&Value::Array(silent)));
    }
    if open.is_empty() {
        println!("no proposal is open");
    }
    open.iter().for_each(|p| println!("proposal {}", describe(p)));
    Ok(())
}

fn is_open(p: &Value) -> bool {
    p["status"] == "open" || p["status"] == "approved"
}

/// Votes of `n` equal validators that decide.
pub(super) const fn quorum(n: usize) -> usize {
    (n + n.saturating_sub(1) / 3) / 2 + 1
}

/// A public key: hex, or a key file.
pub(super) fn public_key(given: &str) -> anyhow::Result<PublicKey> {
    match given.parse() {
        Ok(key) => Ok(key),
        Err(_) if std::path::Path::new(given).exists() => Ok(keys::public_key(given.as_ref())?),
        Err(e) => bail!("{e}, and there is no key file of that name"),
    }
}

/// A validator of the set: by name, address, index, key or key file.
pub(super) async fn member(client: &Client, given: &str) -> anyhow::Result<PublicKey> {
    let list = validators(client, None).await?;
    let is = |v: &Value, field: &str| text(&v[field]).eq_ignore_ascii_case(given.trim());
    let mut found = list.iter().filter(|v| ["name", "address", "index", "publicKey"].iter().any(|f| is(v, f)));
    match (found.next(), found.next()) {
        (Some(v), None) => Ok(text(&v["publicKey"]).parse()?),
        (Some(_), Some(_)) => bail!("`{given}` fits more than one validator; give the address or the public key"),
        (None, _) => match public_key(given) {
            Ok(key) => Ok(key),
            Err(_) => bail!("`{given}` is no validator; `basalt validator list` names them"),
        },
    }
}
