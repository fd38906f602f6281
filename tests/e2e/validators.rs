//! The validator set by vote, with real processes: a fifth validator comes, one goes, a key is replaced; what would stop the
//! chain is refused, and evidence gets on chain.

use std::{path::PathBuf, time::Duration};

use alloy_primitives::{Address, B256, Bytes};
use basalt_node::keys;
use basalt_primitives::{
    ChainSpec, Height, Round, SecretKey,
    system::evidence::{Equivocation, Step},
    validators::VoteKind,
};
use serde_json::{Value, json};

use crate::{
    net::{Net, basalt_err, basalt_ok, eventually},
    wallet::Wallet,
};

const SOON: Duration = Duration::from_secs(30);

fn key_file(net: &Net, node: usize) -> String {
    net.dir().join(format!("nodes/node{node}/validator.key")).to_str().expect("UTF-8").to_owned()
}

/// `basalt validator …` as one of the validators, asking its node.
fn args<'a>(what: &[&'a str], key: &'a str, url: &'a str) -> Vec<&'a str> {
    [&["validator"], what, &["--key", key, "--rpc", url]].concat()
}

fn vote(net: &Net, node: usize, what: &[&str]) -> String {
    basalt_ok(&args(what, &key_file(net, node), net.url(node)))
}

fn vote_fails(net: &Net, node: usize, what: &[&str]) -> String {
    basalt_err(&args(what, &key_file(net, node), net.url(node)))
}

fn transfer(net: &Net, wallet: &mut Wallet, node: usize) {
    let (raw, hash) = wallet.sign(Some(Address::repeat_byte(0x55)), 1, Bytes::new());
    net.call(node, "eth_sendRawTransaction", json!([raw]));
    net.receipt(node, &hash, SOON);
}

/// Transfers until a node is at a height.
fn advance(net: &Net, wallet: &mut Wallet, node: usize, height: u64) {
    while net.height(node).is_none_or(|h| h < height) {
        transfer(net, wallet, node);
    }
}

/// Names of the validators at a height, the same on all nodes named.
fn names(net: &Net, nodes: &[usize], height: u64) -> Vec<String> {
    let ask = |node| net.call(node, "consensus_validators", json!([format!("{height:#x}")]));
    let keys = |list: &Value| -> Vec<Value> {
        list.as_array().expect("a list").iter().map(|v| json!([v["publicKey"], v["name"], v["index"]])).collect()
    };
    let first = ask(nodes[0]);
    for node in nodes {
        net.wait_height(*node, height.saturating_sub(2), SOON);
        assert_eq!(keys(&ask(*node)), keys(&first), "validators of height {height} on node{node}");
    }
    first.as_array().expect("a list").iter().map(|v| v["name"].as_str().unwrap_or_default().to_owned()).collect()
}

fn proposal(net: &Net, node: usize, id: u64) -> Value {
    let all = net.call(node, "consensus_proposals", json!([]));
    all.as_array().expect("a list").iter().find(|p| p["id"] == id).cloned().unwrap_or(Value::Null)
}

fn ready(net: &Net, id: u64) {
    eventually("the newcomer says that it is ready", SOON, || {
        (proposal(net, 0, id)["newcomerReady"] == true).then_some(())
    });
}

/// The first height of the set that an applied proposal leads to.
fn in_force(net: &Net, nodes: &[usize], id: u64) -> u64 {
    let height = |node| {
        eventually("the proposal is applied", SOON, || {
            let p = proposal(net, node, id);
            assert_ne!(p["status"], "refused", "{p}");
            p["validFrom"].as_u64()
        })
    };
    let all: Vec<u64> = nodes.iter().map(|n| height(*n)).collect();
    assert!(all.iter().all(|h| *h == all[0]), "one height on all nodes: {all:?}");
    all[0]
}

#[test]
fn validators_come_and_go_by_vote_and_the_chain_goes_on() {
    let net = Net::create(4, 27_000, &["--followers", "1"]);
    let all = [0, 1, 2, 3, 4];
    let config = net.dir().join("nodes/node4/node.toml");
    let made = basalt_ok(&["validator", "init", "--config", config.to_str().expect("UTF-8"), "--json"]);
    let newcomer: Value = serde_json::from_str(&made).expect("JSON");
    let again = basalt_err(&["validator", "init", "--config", config.to_str().expect("UTF-8")]);
    assert!(again.contains("has a validator key already"), "{again}");
    let (key, address) = (newcomer["publicKey"].as_str().expect("key"), newcomer["address"].as_str().expect("address"));
    net.up();
    let mut wallet = Wallet::dev(6);
    basalt_ok(&["tx", "send", "--dev-account", "2", "--to", address, "--value", "1ether", "--rpc", net.url(0)]);

    // A fifth validator. It follows until its height has come, then votes.
    let said = vote(&net, 0, &["propose-add", key, "--name", "node4"]);
    assert!(said.contains("1 of 3 approvals (node0)"), "{said}");
    ready(&net, 1);
    assert!(vote_fails(&net, 0, &["approve", "1"]).contains("approved this proposal already"));
    vote(&net, 1, &["approve", "1"]);
    let said = vote(&net, 2, &["approve", "1"]);
    let from = in_force(&net, &all, 1);
    assert!(said.contains(&format!("applied; in force from height {from}")), "{said}");
    assert_eq!(names(&net, &all, from - 1), ["node0", "node1", "node2", "node3"]);
    assert_eq!(names(&net, &all, from), ["node0", "node1", "node2", "node3", "node4"]);
    advance(&net, &mut wallet, 0, from + 2);
    // Five need four: without node0 the newcomer's vote is needed.
    net.kill(0);
    for node in [1, 4, 2] {
        transfer(&net, &mut wallet, node);
    }
    let list = net.call(1, "consensus_validators", json!([]));
    assert!(list[4]["lastSigned"].as_u64().is_some_and(|h| h >= from), "the newcomer signs: {list}");
    net.up();
    advance(&net, &mut wallet, 0, from + 6);

    // One that is not there is refused, before it is sent and by the chain; nothing stops.
    let ghost = net.dir().join("ghost.key");
    let ghost = ghost.to_str().expect("UTF-8");
    basalt_ok(&["key", "new", "--plain", "--out", ghost]);
    vote(&net, 1, &["propose-add", ghost, "--name", "ghost"]);
    vote(&net, 2, &["approve", "2"]);
    vote(&net, 3, &["approve", "2"]);
    let refused = vote_fails(&net, 4, &["approve", "2"]);
    assert!(refused.contains("nothing was sent") && refused.contains("has not shown that it is ready"), "{refused}");
    let refused = vote_fails(&net, 4, &["approve", "2", "--force"]);
    assert!(refused.contains("the chain refused the change: the new validator has not shown"), "{refused}");
    transfer(&net, &mut wallet, 3);

    // One leaves: it follows from then on.
    vote(&net, 0, &["propose-remove", "node3"]);
    [1, 2]
        .map(|node| vote(&net, node, &["approve", "3"]))
        .iter()
        .for_each(|said| assert!(said.contains("open"), "{said}"));
    vote(&net, 4, &["approve", "3"]);
    // A power cut for all, just when the change is applied and not yet in force.
    for node in all {
        net.kill(node);
    }
    net.up();
    let from = in_force(&net, &all, 3);
    assert_eq!(names(&net, &all, from), ["node0", "node1", "node2", "node4"]);
    advance(&net, &mut wallet, 0, from + 2);
    net.wait_height(3, from + 2, SOON);
    assert!(vote_fails(&net, 3, &["propose-remove", "node0"]).contains("only a current validator"));

    // A key is replaced, by that of the node that has just left, in its place and under its name.
    vote(&net, 0, &["propose-replace", "node2", &key_file(&net, 3)]);
    ready(&net, 4);
    vote(&net, 1, &["approve", "4"]);
    vote(&net, 4, &["approve", "4"]);
    let from = in_force(&net, &all, 4);
    assert_eq!(names(&net, &all, from), ["node0", "node1", "node2", "node4"]);
    let replaced = net.call(0, "consensus_validators", json!([format!("{from:#x}")]))[2]["publicKey"].clone();
    assert_eq!(replaced, keys::public_key(key_file(&net, 3).as_ref()).expect("a key file").to_string());
    advance(&net, &mut wallet, 0, from + 2);
    // Four need three: without node0 and with the old key's node out of the set, the new key must vote.
    net.kill(0);
    net.kill(2);
    for node in [1, 3, 4] {
        transfer(&net, &mut wallet, node);
    }
    net.up();
    net.assert_same_chain(SOON);
    // Sets of old heights are still known, and after a restart too.
    net.down();
    net.up();
    assert_eq!(names(&net, &all, 1).len(), 4);
    transfer(&net, &mut wallet, 2);
}

#[test]
fn a_lone_validator_cannot_vote_itself_into_a_halt() {
    let net = Net::create(1, 27_100, &[]);
    net.up();
    let mut wallet = Wallet::dev(7);
    let ghost = net.dir().join("ghost.key");
    let ghost = ghost.to_str().expect("UTF-8");
    basalt_ok(&["key", "new", "--plain", "--out", ghost]);
    let said = vote(&net, 0, &["propose-add", ghost, "--name", "ghost"]);
    assert!(said.contains("has NOT shown that it is ready"), "{said}");
    let refused = vote_fails(&net, 0, &["approve", "1", "--force"]);
    assert!(refused.contains("the chain refused the change"), "{refused}");
    for _ in 0..3 {
        transfer(&net, &mut wallet, 0);
    }
    let height = net.height(0).expect("height");
    assert_eq!(names(&net, &[0], height), ["node0"]);
    assert!(vote_fails(&net, 0, &["propose-remove", "node0"]).contains("the last validator cannot be removed"));
}

/// A line of `evidence.jsonl`: node3 has committed to two blocks.
fn equivocation(net: &Net) -> (SecretKey, String) {
    let text = std::fs::read_to_string(net.dir().join("genesis.json")).expect("genesis");
    let genesis = ChainSpec::from_json(&text).expect("a sound genesis").genesis_block().hash();
    let key = keys::load(key_file(net, 3).as_ref(), None).expect("a plain key");
    let mut e = Equivocation {
        kind: Step::Vote(VoteKind::Commit),
        key: key.public_key(),
        height: Height(2),
        round: Round(0),
        blocks: [B256::repeat_byte(1), B256::repeat_byte(2)],
        signatures: [key.sign(b""); 2],
    };
    e.signatures = e.blocks.map(|block| key.sign(e.signed_bytes(genesis, block).as_slice()));
    let row = json!({ "step": 3, "validator": e.key, "height": 2, "round": 0, "blocks": e.blocks,
        "signatures": e.signatures.map(|s| alloy_primitives::hex::encode(s.0)) });
    (key, row.to_string())
}

#[test]
fn evidence_a_node_holds_gets_on_chain_once() {
    let net = Net::create(4, 27_200, &[]);
    let (key, row) = equivocation(&net);
    for node in [0, 1] {
        let file: PathBuf = net.data(node).join("evidence.jsonl");
        std::fs::write(file, &row).expect("writes");
    }
    net.up();
    let mut wallet = Wallet::dev(8);
    transfer(&net, &mut wallet, 0);
    let record = eventually("the evidence is on chain", SOON, || {
        let e = net.call(2, "consensus_evidence", json!([]))["onChain"][0].clone();
        (!e.is_null()).then_some(e)
    });
    assert_eq!(record["validator"], key.public_key().to_string());
    assert_eq!((&record["step"], &record["height"], &record["name"]), (&json!("commit"), &json!(2), &json!("node3")));
    for node in 0..4 {
        transfer(&net, &mut wallet, node);
    }
    for node in 0..4 {
        let all = net.call(node, "consensus_evidence", json!([]));
        assert_eq!(all["onChain"].as_array().map(Vec::len), Some(1), "{all}");
        assert_eq!(all["local"].as_array().map(Vec::len), Some(usize::from(node < 2)));
    }
    assert_eq!(net.call(0, "consensus_evidence", json!([]))["local"][0]["onChain"], true);
    // It removes nobody: operators vote.
    assert_eq!(net.call(0, "consensus_validators", json!([])).as_array().map(Vec::len), Some(4));
}
