//! The audit log of real nodes: what it holds, that no change of it goes unseen, that it survives kills, and that the chain knows
//! where it ended.

use std::{fs, path::PathBuf, time::Duration};

use alloy_primitives::Bytes;
use serde_json::{Value, json};

use crate::{
    net::{Net, basalt_err, basalt_ok, eventually},
    process::Proc,
    wallet::Wallet,
};

const SOON: Duration = Duration::from_secs(60);

fn config(net: &Net, node: usize) -> String {
    net.dir().join(format!("nodes/node{node}/node.toml")).to_str().expect("UTF-8").to_owned()
}

fn set(net: &Net, node: usize, text: &str) {
    let file = config(net, node);
    let old = fs::read_to_string(&file).expect("readable");
    fs::write(&file, format!("{old}\n{text}\n")).expect("writable");
}

fn log_file(net: &Net, node: usize) -> PathBuf {
    net.data(node).join("audit/00000001.jsonl")
}

fn shown(net: &Net, node: usize, act: &str) -> Vec<Value> {
    let text = basalt_ok(&["audit", "show", "--config", &config(net, node), "--act", act, "--json"]);
    text.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect()
}

#[test]
fn what_is_done_to_a_node_is_on_record_and_no_change_goes_unseen() {
    let net = Net::create(1, 34_100, &[]);
    let at = config(&net, 0);
    let node = Proc::node(&net, 0, &[], &[]);
    eventually("it answers", SOON, || net.height(0));
    net.call(0, "admin_setLogLevel", json!(["debug"]));
    let failed = net.ask(0, "admin_addPeer", json!(["nonsense"])).expect("an answer");
    assert!(failed["error"].is_object(), "{failed}");
    for _ in 0..20 {
        net.call(0, "admin_peers", json!([]));
    }
    let acts = shown(&net, 0, "administration");
    assert_eq!(acts.len(), 2, "{acts:?}");
    assert_eq!((&acts[0]["method"], &acts[0]["params"]), (&json!("admin_setLogLevel"), &json!(["debug"])));
    assert_eq!(acts[0]["principal"], "a caller without credentials");
    let done = shown(&net, 0, "administration-done");
    assert_eq!((&done[0]["of"], &done[0]["result"]), (&acts[0]["seq"], &json!("done")));
    assert_eq!((&done[1]["of"], &done[1]["result"]), (&acts[1]["seq"], &json!("failed")));
    assert_eq!(shown(&net, 0, "sensitive-read").len(), 1, "the first of a minute");
    basalt_ok(&["audit", "verify", "--config", &at]);

    // As a power cut: the next start knows, and the log is in order.
    drop(node);
    let node = Proc::node(&net, 0, &[], &[]);
    eventually("it answers again", SOON, || net.height(0));
    let starts = shown(&net, 0, "node-started");
    assert_eq!((&starts[0]["afterCrash"], &starts[1]["afterCrash"]), (&json!(false), &json!(true)));
    assert!(starts[1]["settingsSha256"].is_string() && starts[1]["genesis"].is_string(), "{}", starts[1]);
    let ended = std::process::Command::new("kill").args(["-TERM", &node.id().to_string()]).status().expect("kill runs");
    assert!(ended.success());
    eventually("it says that it stops", SOON, || (!shown(&net, 0, "node-stopped").is_empty()).then_some(()));
    drop(node);

    let out = net.dir().join("export.jsonl").to_str().expect("UTF-8").to_owned();
    basalt_ok(&["audit", "export", "--config", &at, "--out", &out]);
    let verified: Value =
        serde_json::from_str(&basalt_ok(&["audit", "verify", "--file", &out, "--json"])).expect("JSON");
    assert_eq!(verified["log"]["keysKnown"], json!(false));
    let good = fs::read_to_string(log_file(&net, 0)).expect("readable");
    let lines: Vec<&str> = good.lines().collect();
    let change = |text: String| {
        fs::write(log_file(&net, 0), text).expect("writable");
        basalt_err(&["audit", "verify", "--config", &at])
    };
    assert!(change(good.replace("admin_setLogLevel", "admin_getLogLevel")).contains("it was changed"));
    let without = lines.iter().filter(|l| !l.contains("admin_setLogLevel")).map(|l| format!("{l}\n")).collect();
    assert!(change(without).contains("are missing"));
    assert!(change(good[..good.len() - 20].to_owned()).contains("unfinished"));
}

#[test]
fn an_audit_log_that_cannot_be_written_stops_administration_and_nothing_else() {
    let net = Net::create(1, 34_110, &[]);
    let _node = Proc::node(&net, 0, &[], &[]);
    eventually("it answers", SOON, || net.height(0));
    let (folder, away) = (net.data(0).join("audit"), net.data(0).join("away"));
    fs::rename(&folder, &away).expect("moves");
    fs::write(&folder, "").expect("writes");
    let refused = net.ask(0, "admin_setLogLevel", json!(["debug"])).expect("an answer");
    let message = refused["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("audit log of this node cannot be written"), "{refused}");
    assert!(net.height(0).is_some());
    let alert = |on: bool| {
        eventually("the alert", SOON, || {
            let alerts = net.ask(0, "monitor_alerts", json!([]))?;
            let firing = alerts["result"]["active"].as_array()?.iter().any(|a| a["alert"] == "audit_log");
            (firing == on).then_some(())
        });
    };
    alert(true);
    fs::remove_file(&folder).expect("removes");
    fs::rename(&away, &folder).expect("moves back");
    alert(false);
    assert_eq!(shown(&net, 0, "log-writable-again")[0]["entriesLostBefore"], json!(1));
    net.call(0, "admin_setLogLevel", json!(["debug"]));
}

#[test]
fn the_chain_knows_where_the_log_ended() {
    let net = Net::create(4, 34_120, &[]);
    set(&net, 0, "[audit]\nanchor_seconds = 2");
    let file = log_file(&net, 0);
    net.up();
    eventually("it answers", SOON, || net.height(0));
    // Gas costs something here, and the node's own account is empty.
    let node_key = net.dir().join("nodes/node0/node.key");
    let key = basalt_ok(&["key", "show", node_key.to_str().expect("UTF-8"), "--json"]);
    let key: Value = serde_json::from_str(&key).expect("JSON");
    let account = key["address"].as_str().and_then(|a| a.parse().ok()).expect("an address");
    let (raw, hash) = Wallet::dev(0).sign(Some(account), 1_000_000_000_000_000_000, Bytes::new());
    net.call(0, "eth_sendRawTransaction", json!([raw]));
    net.receipt(0, &hash, SOON);
    let anchors = |net: &Net| shown(net, 0, "anchor").len();
    eventually("two anchors are in blocks", SOON, || {
        net.call(0, "admin_setLogLevel", json!(["info"]));
        (anchors(&net) >= 2).then_some(())?;
        let out = basalt_ok(&["audit", "verify", "--config", &config(&net, 0), "--rpc", net.url(1), "--json"]);
        let said: Value = serde_json::from_str(&out).expect("JSON");
        (said["chain"]["agreed"].as_u64()? >= 2).then_some(())
    });
    net.kill(0);
    let good = fs::read_to_string(&file).expect("readable");
    let at = good.lines().position(|l| l.contains("\"act\":\"anchor\"")).expect("an anchor");
    let cut: String = good.lines().take(at + 1).map(|l| format!("{l}\n")).collect();
    fs::write(&file, cut).expect("writes");
    basalt_ok(&["audit", "verify", "--config", &config(&net, 0)]);
    let found = basalt_err(&["audit", "verify", "--config", &config(&net, 0), "--rpc", net.url(1)]);
    assert!(found.contains("entries are missing"), "{found}");
}
