//! Networks that do not make blocks, or make them slowly, say why, and what to do about it.

use std::{fs, time::Duration};

use alloy_primitives::{Address, Bytes};
use serde_json::{Value, json};

use crate::{
    net::{Net, basalt_ok, eventually},
    process::{Proc, clock_shim},
    wallet::Wallet,
};

const SOON: Duration = Duration::from_secs(30);

fn explain_network(net: &Net) -> Value {
    let dir = net.dir();
    let text = basalt_ok(&["network", "explain", dir.to_str().expect("UTF-8"), "--json"]);
    serde_json::from_str(&text).expect("JSON")
}

fn explain(net: &Net, node: usize) -> Value {
    net.call(node, "consensus_explain", json!([]))
}

fn send(net: &Net, wallet: &mut Wallet, node: usize) -> String {
    let (raw, hash) = wallet.sign(Some(Address::repeat_byte(0x56)), 1, Bytes::new());
    net.call(node, "eth_sendRawTransaction", json!([raw]));
    hash
}

/// Waits until a node's explanation of the block of a height or of the one it works on names a failed round for a reason.
fn wait_failed_round(net: &Net, wallet: &mut Wallet, node: usize, why: &str) -> Value {
    eventually(&format!("node{node} explains a failed round by: {why}"), SOON, || {
        let hash = send(net, wallet, node);
        net.receipt(node, &hash, SOON);
        let said = explain(net, node);
        let mut rounds =
            ["current", "lastBlock"].into_iter().filter_map(|t| said[t]["failedRounds"].as_array()).flatten();
        rounds.rfind(|r| r["why"].as_str().expect("text").contains(why)).cloned()
    })
}

#[test]
fn idle_one_missing_no_quorum_and_back() {
    let net = Net::create(4, 22_700, &[]);
    net.up();
    let mut wallet = Wallet::dev(6);
    let hash = send(&net, &mut wallet, 0);
    net.receipt(0, &hash, SOON);

    // Idle: there is no block because none is wanted, and the last one has its timeline.
    let said = eventually("the network is idle", SOON, || {
        Some(explain(&net, 0)).filter(|e| e["situation"] == "idle" && e["quorum"]["reachable"] == true)
    });
    assert!(said["summary"].as_str().expect("text").contains("no transactions wait"), "{said}");
    assert_eq!(said["advice"][0]["action"], "nothing");
    let last = &said["lastBlock"];
    assert!(last["executedMs"].is_u64() && last["committedMs"].is_u64() && last["proposer"].is_string(), "{last}");
    assert!(explain_network(&net)["summary"].as_str().expect("text").contains("none is wanted"));

    // One of four missing: blocks go on, and where it should have proposed, its round says so.
    net.kill(2);
    let failed = wait_failed_round(&net, &mut wallet, 0, "no proposal of node2");
    assert_eq!(failed["proposer"], "node2");

    // Two of four missing: no quorum; both are named, and one of them is enough.
    net.kill(3);
    send(&net, &mut wallet, 0);
    let said = eventually("both survivors see that there is no quorum", SOON, || {
        let said = explain_network(&net);
        let lacks = |n: usize| said["nodes"][n]["explanation"]["situation"] == "no_quorum";
        (lacks(0) && lacks(1)).then_some(said)
    });
    let summary = said["summary"].as_str().expect("text");
    assert!(summary.contains("no quorum can be reached") && summary.contains("node2 and node3"), "{summary}");
    assert_eq!(said["advice"][0]["action"], "start_nodes");
    let advice = said["advice"][0]["text"].as_str().expect("text");
    assert!(advice.starts_with("Start one of node2 and node3: basalt network up "), "{advice}");
    assert_eq!(said["nodes"][3]["crashed"], true);
    let one = basalt_ok(&["network", "explain", "--rpc", net.url(0)]);
    assert!(one.contains("no quorum can be reached") && one.contains("What to do:"), "{one}");
    let status = net.call(0, "consensus_status", json!([]));
    assert_eq!(status["quorumReachable"], false);

    // What it advised helps.
    net.up();
    let hash = send(&net, &mut wallet, 1);
    net.receipt(1, &hash, SOON);
    net.assert_same_chain(SOON);
}

#[test]
fn a_clock_far_ahead_is_told_by_the_others() {
    let net = Net::create(4, 22_800, &[]);
    let shims = tempfile::tempdir().expect("tempdir");
    let shim = clock_shim(shims.path(), 3_600);
    net.up();
    let mut wallet = Wallet::dev(7);
    net.kill(1);
    let _early = Proc::node(&net, 1, &[], &[("LD_PRELOAD", &shim)]);
    let failed = wait_failed_round(&net, &mut wallet, 0, "ahead of this clock");
    assert!(failed["why"].as_str().expect("text").contains("proposal of node1"), "{failed}");
    // It sees for itself that its clock is not the others'.
    eventually("node1 says that its clock is off", SOON, || {
        let said = explain(&net, 1);
        let clock =
            said["details"].as_array()?.iter().any(|d| d.as_str().is_some_and(|d| d.contains("clock looks about")));
        clock.then_some(())
    });
    // An hour ahead never stops the chain: the others are a quorum.
    let hash = send(&net, &mut wallet, 2);
    net.receipt(2, &hash, SOON);
    let log = fs::read_to_string(net.dir().join("nodes/node0/node.log")).expect("the log");
    assert!(log.contains("check clock synchronisation"), "the operator reads it in the log too");
}
