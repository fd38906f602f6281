//! Two of four validators are gone for good: the chain stands still until those that remain agree to go on without them.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use alloy_primitives::{Address, Bytes};
use serde_json::{Value, json};

use crate::{
    net::{Net, basalt_err, basalt_ok, eventually},
    wallet::Wallet,
};

const SOON: Duration = Duration::from_secs(60);

/// A node started by itself, killed when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn config(net: &Net, node: usize) -> String {
    net.dir().join(format!("nodes/node{node}/node.toml")).to_str().expect("UTF-8").to_owned()
}

fn key(net: &Net, node: usize) -> String {
    net.dir().join(format!("nodes/node{node}/validator.key")).to_str().expect("UTF-8").to_owned()
}

fn log(net: &Net, node: usize) -> PathBuf {
    net.dir().join(format!("nodes/node{node}/own.log"))
}

fn start(net: &Net, node: usize, overrides: Option<&str>) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_basalt"));
    command.args(["node", "--config", &config(net, node)]);
    if let Some(path) = overrides {
        command.env("BASALT_CONSENSUS_OVERRIDE", path);
    }
    let file = std::fs::File::create(log(net, node)).expect("makes the log");
    let errors = file.try_clone().expect("clones");
    Process(command.stdin(Stdio::null()).stdout(file).stderr(errors).spawn().expect("starts"))
}

/// Starts a node that must stop by itself; what it said.
fn refuses(net: &Net, node: usize, overrides: Option<&str>) -> String {
    let mut process = start(net, node, overrides);
    let status = eventually("the node refuses to start", SOON, || process.0.try_wait().expect("waits"));
    let said = std::fs::read_to_string(log(net, node)).expect("a log");
    assert!(!status.success(), "{said}");
    said
}

fn send(net: &Net, wallet: &mut Wallet, node: usize) -> String {
    let (raw, hash) = wallet.sign(Some(Address::repeat_byte(0x59)), 1, Bytes::new());
    eventually("the node takes a transaction", SOON, || {
        net.ask(node, "eth_sendRawTransaction", json!([raw])).filter(|a| a["result"] == *hash)
    });
    hash
}

fn transfer(net: &Net, wallet: &mut Wallet, node: usize) {
    let hash = send(net, wallet, node);
    net.receipt(node, &hash, SOON);
}

fn names(net: &Net, node: usize, height: u64) -> Vec<(String, u64)> {
    let list = net.call(node, "consensus_validators", json!([format!("{height:#x}")]));
    let one = |v: &Value| (v["name"].as_str().unwrap_or_default().to_owned(), v["power"].as_u64().unwrap_or(9));
    list.as_array().expect("a list").iter().map(one).collect()
}

fn create(net: &Net, node: usize, lost: &[&str], out: &str) -> Vec<String> {
    let config = config(net, node);
    let mut args =
        vec!["validator", "override", "create", "--config", &config, "--out", out, "--reason", "fire", "--json"];
    lost.iter().for_each(|who| args.extend(["--lost", who]));
    args.into_iter().map(str::to_owned).collect()
}

fn refs(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

/// Nothing but what helps is taken, and what is missing is said.
fn agree(net: &Net, file: &str) -> u64 {
    let refused = |lost: &[&str]| basalt_err(&refs(&create(net, 0, lost, file)));
    assert!(refused(&["node3"]).contains("propose-remove"), "one of four is removed by vote");
    assert!(refused(&["node0", "node1", "node2", "node3"]).contains("every validator lost"));
    assert!(refused(&["node2", "nobody"]).contains("nobody"));
    let made = basalt_ok(&refs(&create(net, 0, &["node2", "node3"], file)));
    let made: Value = serde_json::from_str(&made).expect("JSON");
    assert_eq!(made["missing"].as_array().map(Vec::len), Some(2), "{made}");
    let check = |node| ["validator", "override", "check", file, "--config", &config(net, node)].map(str::to_owned);
    let sign = |node| ["validator", "override", "sign", file, "--key", &key(net, node)].map(str::to_owned);
    basalt_ok(&refs(&sign(0)));
    assert!(basalt_err(&refs(&check(1))).contains("signatures of 1 remaining"));
    assert!(basalt_err(&refs(&sign(3))).contains("declared lost"));
    let incomplete = refuses(net, 0, Some(file));
    assert!(incomplete.contains("signatures of 1 remaining"), "{incomplete}");
    basalt_ok(&refs(&sign(1)));
    [0, 1].iter().for_each(|node| drop(basalt_ok(&refs(&check(*node)))));
    let audit = std::fs::read_to_string(net.data(0).join("audit/00000001.jsonl")).expect("audited");
    assert!(audit.contains("override-create") && audit.contains("fire"), "{audit}");
    made["height"].as_u64().expect("a height")
}

#[test]
fn a_chain_goes_on_without_validators_that_are_gone_for_good() {
    let net = Net::create(4, 29_300, &["--followers", "2"]);
    net.up();
    let mut wallet = Wallet::dev(4);
    (0..3).for_each(|_| transfer(&net, &mut wallet, 0));
    [2, 3].iter().for_each(|node| net.kill(*node));
    let waiting = send(&net, &mut wallet, 0);
    let said = eventually("it says why it stands still", SOON, || {
        let said = net.call(0, "consensus_explain", json!([])).to_string();
        said.contains("validator override create").then_some(said)
    });
    assert!(said.contains("node2") && said.contains("node3"), "{said}");
    let stuck = net.height(0).expect("height");
    let running = net.dir().join("running.json");
    let refused = basalt_err(&refs(&create(&net, 0, &["node2", "node3"], running.to_str().expect("UTF-8"))));
    assert!(refused.contains("is running; stop it first"), "{refused}");
    net.down();
    [2, 3].iter().for_each(|node| std::fs::remove_dir_all(net.data(*node)).expect("burns"));
    net.wipe(4);

    let file = net.dir().join("override.json");
    let file = file.to_str().expect("UTF-8");
    let height = agree(&net, file);
    assert_eq!(height, stuck + 1);
    let mut nodes: Vec<Process> = [0, 1].iter().map(|node| start(&net, *node, Some(file))).collect();
    eventually("node0 is up", SOON, || net.height(0));
    let lost = net.height(0).expect("height") < height;
    if lost {
        drop(send(&net, &mut Wallet::dev(5), 0));
    }
    let next = eventually("the chain goes on", SOON, || net.height(0).filter(|h| *h >= height));
    assert!(next >= height);
    let mut wallet = Wallet::dev(6);
    (0..3).for_each(|_| transfer(&net, &mut wallet, 1));
    for h in [height, height + 1] {
        let marked = names(&net, 0, h).into_iter().map(|(_, power)| power).collect::<Vec<_>>();
        assert_eq!(marked, [1, 1, 0, 0], "two of four have a say at height {h}");
    }
    let after: Vec<_> = names(&net, 0, height + 2).into_iter().map(|(name, _)| name).collect();
    assert_eq!(after, ["node0", "node1"]);
    let _ = waiting;

    // A follower from zero: past it only with the file.
    let without = start(&net, 4, None);
    let said = eventually("the follower says what it lacks", SOON, || {
        let said = std::fs::read_to_string(log(&net, 4)).ok()?;
        said.contains("consensus.override").then_some(said)
    });
    assert!(said.contains("set override"), "{said}");
    assert!(net.height(4).is_none_or(|h| h < height), "it did not go past");
    drop(without);
    nodes.push(start(&net, 4, Some(file)));
    net.wait_height(4, height + 3, SOON);
    // Taken away, the old certificates cannot be verified.
    drop(nodes.pop());
    let said = refuses(&net, 4, None);
    assert!(said.contains("restarted at height") && said.contains("consensus.override"), "{said}");
    nodes.push(start(&net, 4, Some(file)));

    // Two of two decide, and take a third in.
    drop(nodes.pop());
    let made = basalt_ok(&["validator", "init", "--config", &config(&net, 4), "--json"]);
    let made: Value = serde_json::from_str(&made).expect("JSON");
    nodes.push(start(&net, 4, Some(file)));
    let vote = |node: usize, what: &[&str]| {
        let (key, url) = (key(&net, node), net.url(node).to_owned());
        basalt_ok(&[&["validator"], what, &["--key", &key, "--rpc", &url]].concat())
    };
    basalt_ok(&[
        "tx",
        "send",
        "--dev-account",
        "2",
        "--to",
        made["address"].as_str().expect("address"),
        "--value",
        "1ether",
        "--rpc",
        net.url(0),
    ]);
    vote(0, &["propose-add", made["publicKey"].as_str().expect("key"), "--name", "node4"]);
    eventually("the newcomer is ready", SOON, || {
        (net.call(0, "consensus_proposals", json!([]))[0]["newcomerReady"] == true).then_some(())
    });
    let said = vote(1, &["approve", "1"]);
    assert!(said.contains("in force from height"), "{said}");
    (0..4).for_each(|_| transfer(&net, &mut wallet, 0));
    let now = net.height(0).expect("height");
    let members: Vec<_> = names(&net, 0, now).into_iter().map(|(name, _)| name).collect();
    assert_eq!(members, ["node0", "node1", "node4"]);
    // Restarted in the middle of it all, with the file.
    nodes.remove(1);
    nodes.push(start(&net, 1, Some(file)));
    eventually("node1 is up", SOON, || net.height(1));
    (0..2).for_each(|_| transfer(&net, &mut wallet, 1));

    // One of the lost comes back with a fresh disk and the file: it follows, and has no say.
    std::fs::create_dir(net.data(2)).expect("makes");
    nodes.push(start(&net, 2, Some(file)));
    net.wait_height(2, now, SOON);
    transfer(&net, &mut wallet, 2);
    assert_eq!(net.call(2, "consensus_status", json!([]))["isValidator"], false);
}
