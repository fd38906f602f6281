//! Validators that execute blocks on several threads beside ones that do not.

use std::time::Duration;

use alloy_primitives::{Address, Bytes};
use serde_json::json;

use crate::{
    net::{Net, eventually},
    wallet::Wallet,
};

const SOON: Duration = Duration::from_secs(60);
const ROUNDS: usize = 12;

/// Init code of a contract that adds one to slot 0: all its calls depend on each other. PUSH8 code PUSH0 MSTORE PUSH1 8
/// PUSH1 24 RETURN, and the code is PUSH0 SLOAD PUSH1 1 ADD PUSH0 SSTORE STOP.
const SHARED: &str = "0x675f546001015f55005f5260086018f3";
/// The same with a slot for each caller (CALLER in place of PUSH0): calls of different accounts have nothing in common.
const OWN: &str = "0x6733546001013355005f5260086018f3";

fn threads(net: &Net, node: usize, threads: usize) {
    let file = net.dir().join(format!("nodes/node{node}/node.toml"));
    let text = std::fs::read_to_string(&file).expect("reads");
    let setting = format!("[execution]\nthreads = {threads}\n");
    let text = match text.contains("[execution]\n") {
        true => text.replacen("[execution]\n", &setting, 1),
        false => format!("{text}\n{setting}"),
    };
    std::fs::write(&file, text).expect("writes");
}

fn deploy(net: &Net, wallet: &mut Wallet, init: &str) -> Address {
    let init: Bytes = init.replace(' ', "").parse().expect("hex");
    let (raw, hash) = wallet.sign(None, 0, init);
    net.call(0, "eth_sendRawTransaction", json!([raw]));
    let receipt = net.receipt(0, &hash, SOON);
    assert_eq!(receipt["status"], json!("0x1"), "{receipt}");
    receipt["contractAddress"].as_str().and_then(|a| a.parse().ok()).expect("an address")
}

/// How many transactions a node ran ahead of their turn: taken over, and run again.
fn ran_ahead(net: &Net, port: u16) -> Option<(u64, u64)> {
    let (_, text) = net.get(&format!("http://127.0.0.1:{port}/metrics"))?;
    let of = |result: &str| {
        let begin = format!("basalt_transactions_run_ahead_total{{result=\"{result}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&begin)?.parse().ok())
    };
    Some((of("taken")?, of("again")?))
}

#[test]
fn nodes_with_one_and_with_four_threads_agree_under_contended_load() {
    let net = Net::create(4, 32_100, &[]);
    (0..4).for_each(|node| threads(&net, node, if node < 2 { 4 } else { 1 }));
    net.up();
    let mut wallets: Vec<Wallet> = (0..10).map(Wallet::dev).collect();
    let shared = deploy(&net, &mut wallets[0], SHARED);
    let own = deploy(&net, &mut wallets[0], OWN);
    let mut last = Vec::new();
    for round in 0..ROUNDS {
        for (n, wallet) in wallets.iter_mut().enumerate() {
            // Calls that meet, calls that do not, and plain transfers between accounts that also call.
            let to = [shared, own, own, Address::repeat_byte(0x5a)][(round + n) % 4];
            let data = if to == shared || to == own { vec![1].into() } else { Bytes::new() };
            let (raw, hash) = wallet.sign(Some(to), u64::from(data.is_empty()), data);
            net.call(n % 4, "eth_sendRawTransaction", json!([raw]));
            last.push(hash);
        }
    }
    for node in 0..4 {
        for hash in &last[last.len() - wallets.len()..] {
            let receipt = net.receipt(node, hash, SOON);
            assert_eq!(receipt["status"], json!("0x1"), "{receipt}");
        }
    }
    net.assert_same_chain(SOON);
    let calls = (0..ROUNDS).flat_map(|r| (0..10).map(move |n| (r + n) % 4)).filter(|k| *k == 0).count();
    let counted = net.call(2, "eth_getStorageAt", json!([shared, "0x0", "latest"]));
    assert_eq!(counted, json!(format!("{calls:#066x}")), "every call counted, once");
    for (node, port) in [(0, 32_120), (1, 32_121)] {
        let (taken, again) = eventually("the metrics of a node", SOON, || ran_ahead(&net, port));
        println!("node{node} with four threads: {taken} results taken over, {again} transactions run again");
        assert!(taken > 0, "node{node} never executed on several threads");
    }
    for port in [32_122, 32_123] {
        assert_eq!(ran_ahead(&net, port), Some((0, 0)), "one thread is the plain path");
    }
}
