//! A permissioned network of real processes: strangers stay outside, members come and go by vote, accounts do what they may.

use std::{path::PathBuf, time::Duration};

use alloy_primitives::{Address, Bytes};
use serde_json::{Value, json};

use crate::{
    net::{Net, basalt_err, basalt_ok, eventually, quantity},
    wallet::Wallet,
};

const SOON: Duration = Duration::from_secs(30);

fn key_file(net: &Net, node: usize) -> String {
    net.dir().join(format!("nodes/node{node}/validator.key")).to_str().expect("UTF-8").to_owned()
}

/// `basalt permission …` as one of the validators, asking its node.
fn vote(net: &Net, node: usize, what: &[&str]) -> String {
    let (key, url) = (key_file(net, node), net.url(node));
    basalt_ok(&[&["permission"], what, &["--key", &key, "--rpc", url]].concat())
}

/// Proposes, and approves until it is applied; the height at which it was.
fn decide(net: &Net, what: &[&str]) -> u64 {
    let said = vote(net, 0, what);
    let id = said.split([' ', ':']).nth(1).expect("a number").to_owned();
    vote(net, 1, &["approve", &id]);
    let text = vote(net, 2, &["approve", &id, "--json"]);
    let p: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(p["status"], "applied", "{text}");
    let height = p["decided"].as_u64().expect("a height");
    (0..4).for_each(|n| net.wait_height(n, height, SOON));
    height
}

fn peers(net: &Net, node: usize) -> u64 {
    quantity(&net.call(node, "net_peerCount", json!([]))).expect("a count")
}

fn has_peers(net: &Net, node: usize, n: u64) {
    eventually(&format!("node{node} has {n} peers, not {}", peers(net, node)), SOON, || {
        (peers(net, node) == n).then_some(())
    });
}

fn log(net: &Net, node: usize) -> String {
    std::fs::read_to_string(net.dir().join(format!("nodes/node{node}/node.log"))).unwrap_or_default()
}

fn metric(net: &Net, node: usize, port: u16, name: &str) -> f64 {
    let (status, text) = net.get(&format!("http://127.0.0.1:{}/metrics", port + 20 + node as u16)).expect("answers");
    assert_eq!(status, 200);
    let Some(line) = text.lines().find(|l| l.starts_with(name)) else { return 0.0 };
    line.rsplit(' ').next().and_then(|v| v.parse().ok()).expect("a number")
}

fn advance(net: &Net, wallet: &mut Wallet) {
    let (raw, hash) = wallet.sign(Some(Address::repeat_byte(0x55)), 1, Bytes::new());
    net.call(0, "eth_sendRawTransaction", json!([raw]));
    net.receipt(0, &hash, SOON);
}

/// Puts another node key in the place of a follower's: a stranger with a member's configuration.
fn becomes_stranger(net: &Net, node: usize) -> PathBuf {
    let path = net.dir().join(format!("nodes/node{node}/node.key"));
    std::fs::remove_file(&path).expect("removes");
    basalt_ok(&["key", "new", "--plain", "--out", path.to_str().expect("UTF-8")]);
    path
}

#[test]
fn a_stranger_stays_outside_until_it_is_admitted_and_goes_when_it_is_removed_or_ends() {
    let net = Net::create(4, 31_100, &["--permissioned", "--followers", "1"]);
    let key = becomes_stranger(&net, 4);
    let key = key.to_str().expect("UTF-8");
    net.up();
    (0..4).for_each(|n| has_peers(&net, n, 3));
    let mut wallet = Wallet::dev(0);
    advance(&net, &mut wallet);
    let refused = "basalt_network_drops_total{reason=\"not_admitted\"";
    eventually("it calls in vain", SOON, || (metric(&net, 0, 31_100, refused) >= 2.0).then_some(()));
    assert_eq!((peers(&net, 4), net.height(4)), (0, Some(0)), "nothing of the chain has reached it");

    decide(&net, &["node", "add", key, "--role", "full", "--name", "late"]);
    has_peers(&net, 4, 4);
    advance(&net, &mut wallet);
    net.wait_height(4, net.height(0).expect("runs"), SOON);

    let removed = decide(&net, &["node", "remove", "late"]);
    has_peers(&net, 4, 0);
    advance(&net, &mut wallet);
    // The block that removes it is the last it can have got.
    assert!(net.height(4).expect("runs") <= removed, "{:?} > {removed}", net.height(4));
    assert!(log(&net, 0).contains("the network's permissions do not admit it any more"));

    let last = net.height(0).expect("runs") + 8;
    let until = last.to_string();
    decide(&net, &["node", "add", key, "--role", "observer", "--name", "late", "--until-height", &until]);
    has_peers(&net, 4, 4);
    while net.height(0).expect("runs") < last {
        advance(&net, &mut wallet);
    }
    has_peers(&net, 4, 0);
    (0..4).for_each(|n| advance_and_check(&net, &mut wallet, n, last));
}

fn advance_and_check(net: &Net, wallet: &mut Wallet, node: usize, last: u64) {
    advance(net, wallet);
    assert_eq!(peers(net, node), 3);
    assert!(net.height(4).expect("runs") <= last, "past its end it has got nothing more");
}

#[test]
fn an_account_without_the_right_to_deploy_is_told_so_and_gets_it_by_vote() {
    let net = Net::create(4, 31_200, &["--permissioned", "--accounts", "allow"]);
    net.up();
    let mut wallet = Wallet::dev(0);
    let account = basalt_node::keys::dev::accounts()[0].address.to_string();
    // PUSH1 0 PUSH1 0 RETURN: deploys nothing, which is a contract all the same.
    let code = || Bytes::from_static(&[0x60, 0x00, 0x60, 0x00, 0xf3]);
    let refused = |raw: &str| {
        let answer = net.ask(0, "eth_sendRawTransaction", json!([raw])).expect("answers");
        answer["error"]["message"].as_str().unwrap_or_else(|| panic!("taken: {answer}")).to_owned()
    };
    let (raw, _) = wallet.sign(None, 0, code());
    let said = refused(&raw);
    assert!(said.contains("is not on the list of accounts"), "{said}");

    decide(&net, &["account", "set", &account, "--rights", "call,transfer"]);
    wallet.nonce = 0;
    advance(&net, &mut wallet);
    let (raw, hash) = wallet.sign(None, 0, code());
    let said = refused(&raw);
    assert!(said.contains("has no right to deploy contracts"), "{said}");
    assert!(said.contains("the validators of this network can change that by vote"), "{said}");
    assert!(said.contains(&format!("basalt permission account set {account} --rights deploy,call,transfer")), "{said}");

    decide(&net, &["account", "set", &account, "--rights", "deploy,call,transfer"]);
    net.call(3, "eth_sendRawTransaction", json!([raw]));
    assert_eq!(net.receipt(1, &hash, SOON)["status"], "0x1");

    decide(&net, &["account", "block", &account]);
    let (raw, _) = wallet.sign(Some(Address::repeat_byte(0x55)), 1, Bytes::new());
    assert!(refused(&raw).contains("is blocked"));
    // Validators vote whatever the list says; nobody else does.
    let list = basalt_ok(&["permission", "account", "list", "--rpc", net.url(2)]);
    assert!(list.contains("blocked"), "{list}");
    let alice = net.dir().join("alice.key");
    let alice = alice.to_str().expect("UTF-8");
    basalt_ok(&["key", "new", "--plain", "--out", alice]);
    let said = basalt_err(&["permission", "account", "mode", "open", "--key", alice, "--rpc", net.url(0)]);
    assert!(said.contains("only a current validator may do this"), "{said}");
    net.assert_same_chain(SOON);
}

#[test]
fn a_node_that_was_away_while_the_list_changed_comes_back() {
    let net = Net::create(4, 31_300, &["--permissioned", "--followers", "2"]);
    net.up();
    (0..6).for_each(|n| has_peers(&net, n, 5));
    let mut wallet = Wallet::dev(0);
    net.kill(4);
    // While it is away: a node goes and another, with a new key, comes in its place; both change the list.
    let other = net.dir().join("other.key");
    let other = other.to_str().expect("UTF-8");
    basalt_ok(&["key", "new", "--plain", "--out", other]);
    decide(&net, &["node", "remove", "node5"]);
    decide(&net, &["node", "add", other, "--role", "full", "--name", "other"]);
    advance(&net, &mut wallet);
    has_peers(&net, 5, 0);
    net.up();
    has_peers(&net, 4, 4);
    net.wait_height(4, net.height(0).expect("runs"), SOON);
    // It has learned that node5 is out, although its old list had it.
    has_peers(&net, 5, 0);
    let list = basalt_ok(&["permission", "node", "list", "--rpc", net.url(4), "--json"]);
    let list: Value = serde_json::from_str(&list).expect("JSON");
    let status = |name: &str| {
        list.as_array().expect("a list").iter().find(|n| n["name"] == name).expect("listed")["status"].clone()
    };
    assert_eq!((status("node5"), status("other")), (json!("removed"), json!("active")));
}

#[test]
fn a_network_without_permissions_says_so() {
    let net = Net::create(1, 31_400, &[]);
    net.up();
    let said = basalt_err(&["permission", "status", "--rpc", net.url(0)]);
    assert!(said.contains("this network is not permissioned"), "{said}");
    assert_eq!(net.call(0, "permission_status", json!([])), json!({ "permissioned": false }));
}

/// Stops the node of a folder that joined, whatever becomes of the test.
struct Joined(String);

impl Drop for Joined {
    fn drop(&mut self) {
        let _ = crate::net::basalt(&["network", "down", &self.0]);
    }
}

impl Joined {
    fn height(&self, net: &Net, port: u16) -> Option<u64> {
        let text = net.post(&format!("http://127.0.0.1:{port}"), "eth_blockNumber", json!([]))?;
        quantity(&text["result"])
    }
}

#[test]
fn an_invited_node_joins_and_follows_and_finds_its_way_by_a_peer_that_genesis_does_not_know() {
    let net = Net::create(4, 31_500, &["--permissioned"]);
    net.up();
    let mut wallet = Wallet::dev(0);
    (0..3).for_each(|_| advance(&net, &mut wallet));
    let folder = |name: &str| net.dir().parent().expect("a folder").join(name).to_str().expect("UTF-8").to_owned();
    let (first, second) = (folder("first"), folder("second"));
    let new_key = |name: &str| {
        let path = folder(name);
        basalt_ok(&["key", "new", "--plain", "--out", &path]);
        path
    };
    let (a, b) = (new_key("a.key"), new_key("b.key"));

    // Somebody who is not admitted gets nothing, with or without an invitation.
    let invitation = folder("a.json");
    let invite =
        ["permission", "invite", "--role", "full", "--node-key", &a, "--out", &invitation, "--rpc", net.url(0)];
    basalt_ok(&invite);
    let join = |out: &str, invitation: &str, key: &str, name: &str, port: u16, wait: &str| -> Vec<String> {
        let ports = [port, port + 1, port + 2].map(|p| p.to_string());
        let words = ["network", "join", invitation, "--out", out, "--node-key", key, "--name", name, "--wait", wait];
        let more =
            ["--listen", "127.0.0.1", "--rpc-port", &ports[0], "--metrics-port", &ports[1], "--p2p-port", &ports[2]];
        words.iter().chain(&more).map(|w| (*w).to_owned()).collect()
    };
    let words = join(&first, &invitation, &a, "acme", 31_570, "3");
    let said = basalt_err(&words.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(said.contains("has let this node in"), "{said}");

    decide(&net, &["node", "add", &a, "--role", "full", "--name", "acme"]);
    let words = join(&first, &invitation, &a, "acme", 31_570, "60");
    let joined = Joined(first.clone());
    let said = basalt_ok(&words.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(said.contains("caught up at height"), "{said}");
    advance(&net, &mut wallet);
    let top = net.height(0).expect("runs");
    eventually("it follows", SOON, || joined.height(&net, 31_570).filter(|h| *h >= top));

    // The next one is told of the first only, whom the list of genesis does not hold.
    decide(&net, &["node", "add", &b, "--role", "observer", "--name", "guest"]);
    let only = basalt_ok(&["permission", "invite", "--role", "observer", "--rpc", "http://127.0.0.1:31570"]);
    let words = join(&second, only.trim(), &b, "guest", 31_575, "60");
    let guest = Joined(second.clone());
    let said = basalt_ok(&words.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(said.contains("caught up at height"), "{said}");
    advance(&net, &mut wallet);
    let top = net.height(0).expect("runs");
    eventually("the observer follows", SOON, || guest.height(&net, 31_575).filter(|h| *h >= top));
    let (raw, _) = wallet.sign(Some(Address::repeat_byte(0x55)), 1, Bytes::new());
    let answer = net.post("http://127.0.0.1:31575", "eth_sendRawTransaction", json!([raw])).expect("answers");
    let said = answer["error"]["message"].as_str().unwrap_or_default();
    assert!(said.contains("this node is an observer"), "{answer}");

    // Another's invitation, and one that was changed on its way.
    let words = join(&folder("third"), &invitation, &b, "other", 31_580, "3");
    let said = basalt_err(&words.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(said.contains("the invitation is for the node key"), "{said}");
    let cut = &only.trim()[..only.trim().len() - 3];
    let words = join(&folder("fourth"), cut, &b, "other", 31_580, "3");
    basalt_err(&words.iter().map(String::as_str).collect::<Vec<_>>());
}
