//! `basalt top --once` of a real network, one of whose nodes was killed.

use std::{net::TcpListener, time::Duration};

use alloy_primitives::{Address, Bytes};
use serde_json::{Value, json};

use crate::{
    net::{Net, basalt, basalt_err, basalt_ok, eventually},
    wallet::Wallet,
};

const SOON: Duration = Duration::from_secs(60);

fn once(args: &[&str]) -> Value {
    let text = basalt_ok(&[&["top"][..], args, &["--once", "--json"]].concat());
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn one_picture_shows_what_every_node_says_and_why_a_killed_one_does_not() {
    let net = Net::create(4, 26_600, &[]);
    let path = net.dir().join("nodes/node0/node.toml");
    let text = std::fs::read_to_string(&path).expect("readable");
    std::fs::write(&path, text.replace("node_down_after_ms = 30000", "node_down_after_ms = 3000")).expect("writable");
    net.up();
    let (raw, hash) = Wallet::dev(1).sign(Some(Address::repeat_byte(0x55)), 1, Bytes::new());
    net.call(0, "eth_sendRawTransaction", json!([raw]));
    net.receipt(0, &hash.to_string(), SOON);
    net.call(0, "monitor_setTpsThreshold", json!({ "upper": 500, "windowSeconds": 7 }));
    let known = || net.call(0, "monitor_nodes", json!([]));
    eventually("node3 has told of itself", SOON, || {
        known().as_array()?.iter().any(|n| n["name"] == "node3" && n["height"].as_u64() > Some(0)).then_some(())
    });
    net.kill(3);

    let dir = net.dir();
    let dir = dir.to_str().expect("UTF-8");
    let picture = eventually("node0 misses node3", SOON, || {
        let picture = once(&[dir]);
        let alerts = picture["alerts"].as_array().expect("a list");
        alerts.iter().any(|a| a["alert"] == "node_down" && a["subject"] == "node3").then_some(picture)
    });
    assert_eq!((&picture["network"], &picture["chainId"]), (&json!("basalt"), &json!(31337)));
    assert!(picture["height"].as_u64() > Some(0) && picture["explanation"].is_string(), "{picture}");
    let nodes = picture["nodes"].as_array().expect("a list");
    for node in &nodes[..3] {
        assert_eq!((&node["state"], &node["role"]), (&json!("on"), &json!("validator")), "{node}");
        for number in
            ["height", "round", "peers", "memoryBytes", "diskFreeBytes", "commitAgeMs", "commitMs", "answerMs"]
        {
            assert!(node[number].is_number(), "{number} of {node}");
        }
    }
    assert_eq!((&nodes[0]["tps"]["upper"], &nodes[0]["tps"]["windowSeconds"]), (&json!(500.0), &json!(7)));
    assert_eq!(nodes[0]["tps"]["state"], "normal");
    let killed = &nodes[3];
    assert_eq!((&killed["name"], &killed["state"], &killed["round"]), (&json!("node3"), &json!("down"), &Value::Null));
    let note = killed["note"].as_str().expect("a reason");
    assert!(note.contains("has ended without being asked to") && note.contains("refused"), "{note}");
    assert!(killed["height"].as_u64() > Some(0), "the others heard of it: {killed}");
    assert_eq!(picture["told"], json!([]), "all were asked");

    let text = basalt_ok(&["top", dir, "--once"]);
    assert!(
        text.contains("3 of 4 nodes on") && text.contains("node3  DOWN") && text.contains("node_down node3"),
        "{text}"
    );

    // Addresses: what one node tells of the others; something that is no node; something that never answers.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = format!("http://{}", silent.local_addr().expect("bound"));
    let picture = once(&[net.url(1), "http://127.0.0.1:26621/", &silent]);
    let states: Vec<_> = picture["nodes"].as_array().expect("a list").iter().map(|n| n["state"].clone()).collect();
    assert_eq!(states, ["on", "down", "down"]);
    let note = |i: usize| picture["nodes"][i]["note"].as_str().expect("a reason").to_owned();
    assert!(note(1).contains("is that a node's RPC address?"), "{}", note(1));
    assert!(note(2).contains("no answer within 3 s"), "{}", note(2));
    let told: Vec<_> = picture["told"].as_array().expect("a list").iter().map(|n| n["name"].clone()).collect();
    assert_eq!(told, ["node0", "node2", "node3"]);

    // Nobody answers: a picture all the same, and an exit code.
    net.down();
    let out = basalt(&["top", dir, "--once", "--json"]);
    assert!(!out.status.success());
    let picture: Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert_eq!((&picture["height"], &picture["nodes"][0]["state"]), (&Value::Null, &json!("down")));
    let error = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(error.contains("none of the 4 nodes answers; start them"), "{error}");
    assert!(basalt_err(&["top", dir]).contains("basalt top --once"), "standard output is no terminal here");
}
