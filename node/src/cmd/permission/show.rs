//! What stands.

use anyhow::bail;
use serde_json::{Value, json};

use super::super::validator::{Node, text};
use crate::client::Client;

/// All that a node knows of its network's permissions.
pub(super) async fn status_of(client: &Client) -> anyhow::Result<Value> {
    let status = client.call("permission_status", json!([])).await?;
    if status["permissioned"] != true {
        bail!(
            "this network is not permissioned; one is made so by `basalt network create --permissioned`, and never later"
        );
    }
    Ok(status)
}

fn list(v: &Value) -> &[Value] {
    v.as_array().map_or(&[], Vec::as_slice)
}

fn end(v: &Value) -> String {
    let height = v["until"]["height"].as_u64().map(|h| format!("height {h}"));
    let time = v["until"]["timeS"].as_u64().map(|s| format!("second {s}"));
    let all: Vec<_> = height.into_iter().chain(time).collect();
    if all.is_empty() { "-".into() } else { all.join(", ") }
}

async fn show(node: &Node, part: &str, lines: impl Fn(&[Value])) -> anyhow::Result<()> {
    let status = status_of(&Client::new(&node.rpc)?).await?;
    if node.json {
        println!("{}", status[part]);
    } else {
        lines(list(&status[part]));
    }
    Ok(())
}

pub(super) async fn nodes(node: &Node) -> anyhow::Result<()> {
    show(node, "nodes", print_nodes).await
}

fn print_nodes(all: &[Value]) {
    println!("{:<16} {:<10} {:<13} {:<16} {:<20} peer id", "name", "role", "status", "organisation", "until");
    for n in all {
        let [name, role, status] = [&n["name"], &n["role"], &n["status"]].map(text);
        let (organisation, peer) = (text(&n["organisation"]), text(&n["peerId"]));
        println!("{name:<16} {role:<10} {status:<13} {organisation:<16} {:<20} {peer}", end(n));
    }
}

pub(super) async fn organisations(node: &Node) -> anyhow::Result<()> {
    show(node, "organisations", print_organisations).await
}

fn print_organisations(all: &[Value]) {
    println!("{:<32} {:<13} until", "organisation", "status");
    all.iter().for_each(|o| println!("{:<32} {:<13} {}", text(&o["name"]), text(&o["status"]), end(o)));
}

pub(super) async fn accounts(node: &Node) -> anyhow::Result<()> {
    show(node, "accounts", print_accounts).await
}

fn print_accounts(all: &[Value]) {
    println!("{:<42} {:<32} {:<13} {:<16} {:<20} may call", "account", "rights", "status", "organisation", "until");
    for a in all {
        let calls: Vec<_> = list(&a["calls"]).iter().map(text).collect();
        let status = if a["blocked"] == true { "blocked".into() } else { text(&a["status"]) };
        println!(
            "{:<42} {:<32} {status:<13} {:<16} {:<20} {}",
            text(&a["address"]),
            text(&a["rights"]),
            text(&a["organisation"]),
            end(a),
            calls.join(", ")
        );
    }
}

/// A proposal in one sentence.
pub(super) fn describe(p: &Value) -> String {
    let head =
        format!("{}: {}, proposed by {} at height {}: ", p["id"], text(&p["what"]), text(&p["proposer"]), p["opened"]);
    head + &match p["status"].as_str() {
        Some("open") => format!("open until height {}; {} of {} approvals", p["expires"], p["approvals"], p["needed"]),
        Some("applied") => format!("applied at height {}; in force from the next block on", p["decided"]),
        Some("overtaken") => format!("without effect at height {}: another change came first", p["decided"]),
        Some(other) => other.to_owned(),
        None => "-".to_owned(),
    }
}

pub(super) async fn status(node: &Node) -> anyhow::Result<()> {
    let status = status_of(&Client::new(&node.rpc)?).await?;
    if node.json {
        println!("{status}");
        return Ok(());
    }
    let group = list(&status["group"]);
    println!(
        "{} of the {} {} decide; accounts are judged by mode {}",
        status["needed"],
        group.len(),
        text(&status["authority"]),
        text(&status["mode"])
    );
    println!();
    print_nodes(list(&status["nodes"]));
    println!();
    print_organisations(list(&status["organisations"]));
    println!();
    print_accounts(list(&status["accounts"]));
    println!();
    list(&status["proposals"]).iter().for_each(|p| println!("{}", describe(p)));
    Ok(())
}
