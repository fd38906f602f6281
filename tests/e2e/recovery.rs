//! Time to recover: real `kill -9`, real signals, real load. What an honest node that lives had accepted is never lost.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use alloy_primitives::{Address, Bytes};
use serde_json::json;

use crate::{
    net::{Net, eventually},
    wallet::Wallet,
};

const SOON: Duration = Duration::from_secs(60);

fn send(net: &Net, wallet: &mut Wallet, node: usize) -> String {
    let (raw, hash) = wallet.sign(Some(Address::repeat_byte(0x58)), 1, Bytes::new());
    net.call(node, "eth_sendRawTransaction", json!([raw]));
    hash
}

/// Everything accepted is in a block on every node, and all have the same blocks.
fn nothing_is_lost(net: &Net, accepted: &[String]) {
    for node in 0..net.len() {
        accepted.iter().for_each(|hash| drop(net.receipt(node, hash, SOON)));
    }
    net.assert_same_chain(SOON);
}

#[test]
fn three_of_four_killed_and_back() {
    let net = Net::create(4, 28_000, &[]);
    net.up();
    let mut wallet = Wallet::dev(0);
    let mut accepted: Vec<String> = (0..20).map(|_| send(&net, &mut wallet, 0)).collect();
    // In the middle of work.
    [1, 2, 3].iter().for_each(|n| net.kill(*n));
    accepted.extend((0..20).map(|_| send(&net, &mut wallet, 0)));
    let last = accepted.last().cloned().expect("sent");
    std::thread::sleep(Duration::from_secs(2));
    let answer = net.call(0, "eth_getTransactionReceipt", json!([last]));
    assert!(answer.is_null(), "one of four went on alone");
    let back = Instant::now();
    net.up();
    let up = back.elapsed();
    net.receipt(0, &last, SOON);
    println!("time to recover, three of four killed: {:?}, of which {up:?} to start them", back.elapsed());
    nothing_is_lost(&net, &accepted);
}

#[test]
fn rolling_restart_under_load() {
    let net = Net::create(4, 28_100, &[]);
    net.up();
    // Each client hands its transactions to one node.
    let mut wallets: Vec<Wallet> = (0..4).map(Wallet::dev).collect();
    let mut accepted = Vec::new();
    for restarted in 0..4 {
        let others: Vec<usize> = (0..4).filter(|n| *n != restarted).collect();
        let mut load = |rounds: usize| {
            for _ in 0..rounds {
                others.iter().for_each(|n| accepted.push(send(&net, &mut wallets[*n], *n)));
            }
        };
        load(10);
        terminate(&net, restarted);
        let before = net.height(others[0]).expect("height");
        load(20);
        eventually("blocks go on without it", SOON, || net.height(others[0]).filter(|h| *h > before));
        let back = Instant::now();
        net.up();
        load(10);
        let top = net.height(others[0]).expect("height");
        net.wait_height(restarted, top, SOON);
        println!("time to recover, node{restarted} restarted under load: {:?}", back.elapsed());
        let last = accepted.last().cloned().expect("sent");
        net.receipt(restarted, &last, SOON);
    }
    println!("{} transactions accepted during the rolling restart", accepted.len());
    nothing_is_lost(&net, &accepted);
}

/// Asks a node to stop, as an upgrade would.
fn terminate(net: &Net, node: usize) {
    let pid = net.status()[node]["pid"].as_u64().expect("the node runs");
    assert!(Command::new("kill").arg(pid.to_string()).status().expect("kill runs").success());
    eventually("it stops", SOON, || (net.status()[node]["on"] == json!(false)).then_some(()));
}
