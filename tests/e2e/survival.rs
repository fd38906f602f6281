//! Crashes and losses: real `kill -9`, real empty disks. Nothing committed is ever lost, and the chain goes on.

use std::{
    thread,
    time::{Duration, Instant},
};

use alloy_primitives::{Address, Bytes};
use serde_json::json;

use crate::{
    net::{Net, eventually, quantity},
    wallet::Wallet,
};

const SOON: Duration = Duration::from_secs(30);

/// Sends a transfer through a node and waits until that node has it in a block.
pub fn transfer(net: &Net, wallet: &mut Wallet, node: usize) -> String {
    let (raw, hash) = wallet.sign(Some(Address::repeat_byte(0x55)), 1, Bytes::new());
    net.call(node, "eth_sendRawTransaction", json!([raw]));
    net.receipt(node, &hash, SOON);
    hash
}

fn assert_all_there(net: &Net, hashes: &[String]) {
    for node in 0..net.len() {
        for hash in hashes {
            let receipt = net.receipt(node, hash, SOON);
            assert_eq!(quantity(&receipt["status"]), Some(1));
        }
    }
}

#[test]
fn one_of_four_killed_all_killed_and_one_wiped_lose_nothing() {
    let net = Net::create(4, 22_000, &[]);
    let start = Instant::now();
    net.up();
    let mut wallet = Wallet::dev(3);
    let mut hashes = vec![transfer(&net, &mut wallet, 0)];
    println!("create to first transaction committed: {:?}", start.elapsed());

    // One killed: the others go on without it, and it catches up when it is back.
    net.kill(1);
    assert_eq!(net.status()[1]["crashed"], json!(true));
    for node in [0, 2, 3, 0, 2, 3] {
        hashes.push(transfer(&net, &mut wallet, node));
    }
    let back = Instant::now();
    net.up();
    hashes.push(transfer(&net, &mut wallet, 1));
    println!("killed node back to committing: {:?}", back.elapsed());
    assert_all_there(&net, &hashes);

    // All killed at once, in the middle of work.
    for _ in 0..20 {
        let (raw, hash) = wallet.sign(Some(Address::repeat_byte(0x55)), 1, Bytes::new());
        net.call(0, "eth_sendRawTransaction", json!([raw]));
        hashes.push(hash);
    }
    let last = hashes.last().cloned().expect("sent");
    net.receipt(0, &last, SOON);
    let before = net.height(0).expect("height");
    (0..4).for_each(|n| net.kill(n));
    let back = Instant::now();
    net.up();
    assert!(net.height(0).expect("height") >= before, "a committed block is gone");
    hashes.push(transfer(&net, &mut wallet, 2));
    println!("all killed to committing: {:?}", back.elapsed());
    assert_all_there(&net, &hashes);

    // One loses its disk, is restarted empty, and votes again: the others alone are then not enough when one more is gone.
    net.kill(3);
    net.wipe(3);
    let back = Instant::now();
    net.up();
    let top = net.height(0).expect("height");
    net.wait_height(3, top, SOON);
    println!("wiped node back at the head: {:?}", back.elapsed());
    for node in [3, 0] {
        hashes.push(transfer(&net, &mut wallet, node));
    }
    // It asks all others what it may have signed: with f = 1 three must answer, so none may go before.
    eventually("the wiped validator has recovered its sign record", SOON, || {
        let step = net.call(3, "consensus_status", json!([]))["step"].clone();
        (step != json!("recovering") && net.data(3).join("sign-record").exists()).then_some(())
    });
    println!("wiped node may vote again: {:?}", back.elapsed());
    net.kill(0);
    hashes.push(transfer(&net, &mut wallet, 3));
    net.up();
    assert_all_there(&net, &hashes);
    net.assert_same_chain(SOON);
}

#[test]
fn networks_of_one_two_three_and_seven_commit_and_restart() {
    for (n, port) in [(1, 22_100), (2, 22_200), (3, 22_300), (7, 22_400)] {
        let net = Net::create(n, port, &[]);
        net.up();
        let mut wallet = Wallet::dev(4);
        let mut hashes = vec![transfer(&net, &mut wallet, 0)];
        net.down();
        net.up();
        hashes.push(transfer(&net, &mut wallet, usize::from(n) - 1));
        if n == 7 {
            // f = 2.
            net.kill(0);
            net.kill(1);
            hashes.push(transfer(&net, &mut wallet, 2));
            net.up();
        }
        assert_all_there(&net, &hashes);
        net.assert_same_chain(SOON);
    }
}

#[test]
fn a_follower_started_late_syncs_without_voting() {
    let net = Net::create(4, 22_600, &["--followers", "1"]);
    net.up();
    let mut wallet = Wallet::dev(5);
    let hash = transfer(&net, &mut wallet, 0);
    let status = net.status();
    assert_eq!(status.len(), 5);
    assert_eq!(status[4]["role"], json!("follower"));
    let url = status[4]["rpc"].as_str().expect("rpc").to_owned();
    let client = reqwest_receipt(&url, &hash);
    assert!(client, "the follower has the transaction");
}

fn reqwest_receipt(url: &str, hash: &str) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    let http = basalt_node::tls::client::http().no_proxy().build().expect("client");
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "eth_getTransactionReceipt", "params": [hash] });
    let deadline = Instant::now() + SOON;
    while Instant::now() < deadline {
        let answer: serde_json::Value = runtime
            .block_on(async { http.post(url).json(&body).send().await?.json().await })
            .expect("the follower answers");
        if !answer["result"].is_null() {
            return true;
        }
        thread::sleep(Duration::from_millis(50));
    }
    false
}
