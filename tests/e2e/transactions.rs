//! The path of a transaction, in both formats, through any of the nodes.

use std::time::Duration;

use alloy_primitives::{Address, Bytes, U256};
use serde_json::{Value, json};

use crate::{
    net::{Net, basalt_ok, eventually, quantity},
    wallet::Wallet,
};

const SOON: Duration = Duration::from_secs(15);

/// Init code of a contract that stores its call's first word in slot 0, emits it as a log, and returns it:
/// PUSH0 CALLDATALOAD DUP1 PUSH0 SSTORE PUSH0 MSTORE PUSH1 32 PUSH0 LOG0 PUSH1 32 PUSH0 RETURN.
const STORE: &str = "0x600f600a5f39600f5ff35f35805f555f5260205fa060205ff3";

#[test]
fn both_formats_are_committed_on_all_nodes_whichever_takes_them() {
    let net = Net::create(4, 21_000, &[]);
    net.up();
    let receiver = Address::repeat_byte(0x77);
    let mut wallet = Wallet::dev(1);
    let mut hashes = Vec::new();
    for node in 0..4 {
        let (raw, hash) = wallet.sign(Some(receiver), 5, Bytes::new());
        assert_eq!(net.call(node, "eth_sendRawTransaction", json!([raw])), json!(hash));
        net.receipt(node, &hash, SOON);
        hashes.push(hash);
        let (account, to) = (node.to_string(), receiver.to_string());
        let sent = basalt_ok(&[
            "tx",
            "send",
            "--dev-account",
            &account,
            "--to",
            &to,
            "--value",
            "3",
            "--rpc",
            net.url(node),
            "--json",
        ]);
        let receipt: Value = serde_json::from_str(&sent).expect("JSON");
        assert_eq!((&receipt["status"], &receipt["type"]), (&json!("0x1"), &json!("0x42")), "{receipt}");
        hashes.push(receipt["transactionHash"].as_str().expect("hash").to_owned());
    }
    for node in 0..4 {
        for hash in &hashes {
            let receipt = net.receipt(node, hash, SOON);
            assert_eq!((quantity(&receipt["status"]), quantity(&receipt["gasUsed"])), (Some(1), Some(21_000)));
        }
        let balance = net.call(node, "eth_getBalance", json!([receiver, "latest"]));
        assert_eq!(quantity(&balance), Some(4 * 5 + 4 * 3));
    }
    net.assert_same_chain(SOON);
}

#[test]
fn a_contract_is_deployed_through_one_node_and_called_through_another() {
    let net = Net::create(4, 21_100, &[]);
    net.up();
    let mut wallet = Wallet::dev(0);
    let (raw, hash) = wallet.sign(None, 0, STORE.parse().expect("hex"));
    net.call(0, "eth_sendRawTransaction", json!([raw]));
    let contract = net.receipt(2, &hash, SOON)["contractAddress"].as_str().expect("contract").to_owned();
    let word = format!("0x{:064x}", 0xbeef);
    let (raw, hash) = wallet.sign(Some(contract.parse().expect("address")), 0, word.parse().expect("hex"));
    net.call(1, "eth_sendRawTransaction", json!([raw]));
    for node in 0..4 {
        let receipt = net.receipt(node, &hash, SOON);
        assert_eq!(receipt["logs"][0]["data"], json!(word));
        assert_eq!(net.call(node, "eth_getStorageAt", json!([contract, "0x0", "latest"])), json!(word));
        let result = net.call(node, "eth_call", json!([{ "to": contract, "data": word }, "latest"]));
        assert_eq!(result, json!(word));
    }
}

#[test]
fn a_refused_transaction_says_why_and_costs_nothing() {
    let net = Net::create(1, 21_200, &[]);
    net.up();
    let error = |raw: &str| {
        let answer = net.ask(0, "eth_sendRawTransaction", json!([raw])).expect("answers");
        let error = &answer["error"];
        assert!(error["code"].is_i64(), "{answer}");
        error["message"].as_str().expect("message").to_owned()
    };
    let tx = |chain_id, nonce, value: U256| alloy_consensus::TxEip1559 {
        chain_id,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: 100_000_000_000,
        to: alloy_primitives::TxKind::Call(Address::repeat_byte(1)),
        value,
        ..Default::default()
    };
    let mut wallet = Wallet::dev(2);
    let one = U256::from(1);
    assert!(error(&wallet.seal(tx(1, 0, one)).0).contains("invalid chain id"));
    assert!(error(&wallet.seal(tx(31337, 65, one)).0).contains("nonce too high"));
    assert!(error(&wallet.seal(tx(31337, 0, U256::MAX >> 8)).0).contains("insufficient funds"));
    assert!(error("0x02").contains("malformed"));
    assert!(error("0x03deadbeef").contains("EIP-4844"));
    assert!(error(&wallet.seal_with_high_s(tx(31337, 0, one))).contains("invalid sender"));
    let (good, hash) = wallet.sign(Some(Address::repeat_byte(1)), 1, Bytes::new());
    net.call(0, "eth_sendRawTransaction", json!([good]));
    net.receipt(0, &hash, SOON);
    assert!(error(&good).contains("nonce too low") || error(&good).contains("already known"));
    assert!(error(&wallet.seal(tx(31337, 0, one)).0).contains("nonce too low"));
    let big = format!("0x{}", "02".repeat(140 * 1024));
    assert!(error(&big).contains("larger than the limit"), "{}", error(&big));
    // Within the gap of 64 it waits, and runs when what was missing comes.
    let (third, late) = wallet.seal(tx(31337, 2, one));
    net.call(0, "eth_sendRawTransaction", json!([third]));
    let (second, _) = wallet.seal(tx(31337, 1, one));
    net.call(0, "eth_sendRawTransaction", json!([second]));
    net.receipt(0, &late, SOON);
}

#[test]
fn health_and_metrics_tell_how_the_node_is() {
    let net = Net::create(1, 21_300, &[]);
    net.up();
    let mut wallet = Wallet::dev(0);
    let (raw, hash) = wallet.sign(Some(Address::repeat_byte(9)), 1, Bytes::new());
    net.call(0, "eth_sendRawTransaction", json!([raw]));
    net.receipt(0, &hash, SOON);
    let (status, _) = net.get(&format!("{}/health/live", net.url(0))).expect("answers");
    assert_eq!(status, 200);
    let (status, body) = net.get(&format!("{}/health/ready", net.url(0))).expect("answers");
    assert_eq!(status, 200, "{body}");
    let text = eventually("metrics show the transaction", SOON, || {
        let (_, text) = net.get("http://127.0.0.1:21320/metrics")?;
        text.lines().any(|l| l.starts_with("basalt_transactions_total") && l.ends_with(" 1")).then_some(text)
    });
    for name in [
        "basalt_height",
        "basalt_peers",
        "basalt_tps",
        "basalt_mempool_ready",
        "basalt_round",
        "basalt_commit_latency_seconds_bucket",
    ] {
        assert!(text.contains(name), "{name} is missing:\n{text}");
    }
}
