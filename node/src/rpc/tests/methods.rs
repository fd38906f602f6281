//! What the methods answer.

use std::{sync::atomic::Ordering, time::Duration};

use alloy_primitives::{B256, Bytes, keccak256};
use basalt_primitives::Height;
use serde_json::{Value, json};

use super::{
    Fake,
    backend::{CONTRACT, TOPIC, native, one_of_each},
    call, fail,
};
use crate::{
    mempool::test_util,
    rpc::{
        RpcConfig,
        health::{self, Inputs, Limits},
        ports::{CallError, ChainReader as _},
    },
};

#[tokio::test]
async fn a_block_shows_its_own_results_and_only_what_ran() {
    let fake = Fake::new();
    let app = fake.app(RpcConfig::default());
    let view = fake.view(Height(1));
    let block = call(&app, "eth_getBlockByNumber", json!(["0x1", false])).await;
    assert_eq!(block["stateRoot"], json!(view.state_root));
    assert_eq!(block["receiptsRoot"], json!(view.receipts_root));
    assert_eq!(block["gasUsed"], json!("0x1ec30"));
    assert_eq!(block["timestamp"], json!(format!("{:#x}", 1_700_000_001)), "seconds, rounded down");
    assert_eq!(block["difficulty"], "0x0");
    assert_eq!(block["nonce"], "0x0000000000000000");
    assert_eq!(block["uncles"], json!([]));
    assert_eq!(block["transactions"].as_array().map(Vec::len), Some(6));
    assert_eq!(block["baseFeePerGas"], "0x3e8");
    assert!(block.get("totalDifficulty").is_none());
    assert_eq!(
        (&block["withdrawals"], &block["blobGasUsed"], &block["excessBlobGas"]),
        (&json!([]), &json!("0x0"), &json!("0x0"))
    );
    assert_eq!(block["withdrawalsRoot"], json!(basalt_execution::trie::EMPTY_ROOT));
    let by_hash = call(&app, "eth_getBlockByHash", json!([view.hash, false])).await;
    assert_eq!(block, by_hash);
    for tag in ["latest", "safe", "finalized"] {
        assert_eq!(call(&app, "eth_getBlockByNumber", json!([tag, false])).await["number"], "0x2");
    }
    assert_eq!(call(&app, "eth_getBlockByNumber", json!(["earliest"])).await["number"], "0x0");
    assert_eq!(call(&app, "eth_getBlockByNumber", json!(["0x3", false])).await, Value::Null);
    let skipped = call(&app, "consensus_skipped", json!(["0x1"])).await;
    assert_eq!(skipped[0]["reason"], "nonce too low");
}

#[tokio::test]
async fn the_pending_block_follows_the_latest_and_has_no_hash_yet() {
    let fake = Fake::new();
    let app = fake.app(RpcConfig::default());
    let latest = call(&app, "eth_getBlockByNumber", json!(["latest", false])).await;
    for full in [false, true] {
        let pending = call(&app, "eth_getBlockByNumber", json!(["pending", full])).await;
        assert_eq!((&pending["hash"], &pending["nonce"]), (&Value::Null, &Value::Null));
        assert_eq!((&pending["number"], &pending["parentHash"]), (&json!("0x3"), &latest["hash"]));
        assert_eq!((&pending["transactions"], &pending["gasUsed"]), (&json!([]), &json!("0x0")));
        assert_eq!(pending["stateRoot"], latest["stateRoot"]);
        assert_eq!(pending["baseFeePerGas"], call(&app, "eth_baseFee", json!([])).await);
    }
}

#[tokio::test]
async fn peers_are_added_and_removed_by_those_who_may() {
    let fake = Fake::new();
    let (code, text) = fail(&fake.app(RpcConfig::default()), "admin_addPeer", json!(["/ip4/1.2.3.4/tcp/1"])).await;
    assert!(code == -32000 && text.contains("rpc.admin"), "{text}");
    let app = fake.app(RpcConfig { admin: true, ..RpcConfig::default() });
    assert_eq!(call(&app, "admin_addPeer", json!(["/ip4/1.2.3.4/tcp/1"])).await, json!(true));
    assert_eq!(fail(&app, "admin_addPeer", json!(["nonsense"])).await, (-32602, "not an address".to_owned()));
    assert_eq!(call(&app, "admin_removePeer", json!(["id"])).await, json!(true));
    assert_eq!(call(&app, "admin_removePeer", json!(["other"])).await, json!(false));
}

#[tokio::test]
async fn many_slots_are_read_at_once() {
    let app = Fake::new().app(RpcConfig::default());
    let one = call(&app, "eth_getStorageAt", json!([CONTRACT, "0x0", "latest"])).await;
    let other = call(&app, "eth_getStorageAt", json!([CONTRACT, TOPIC, "latest"])).await;
    let all = call(&app, "eth_getStorageValues", json!([{ CONTRACT.to_string(): ["0x0", TOPIC] }])).await;
    assert_eq!(all, json!({ format!("{CONTRACT:#x}"): [one, other] }));
    assert!(fail(&app, "eth_getStorageValues", json!([{}])).await.1.contains("at least one"));
    let many = vec!["0x0"; 1_025];
    let (code, text) = fail(&app, "eth_getStorageValues", json!([{ CONTRACT.to_string(): many }])).await;
    assert!(code == -32005 && text.contains("1024"), "{text}");
}

#[tokio::test]
async fn a_native_transaction_is_type_0x42_with_placeholders() {
    let fake = Fake::new();
    let app = fake.app(RpcConfig::default());
    let native = one_of_each().pop().expect("the last is native");
    let shown = call(&app, "eth_getTransactionByHash", json!([native.hash()])).await;
    assert_eq!(shown["type"], "0x42");
    for placeholder in ["v", "r", "s", "yParity"] {
        assert_eq!(shown[placeholder], "0x0", "{placeholder}");
    }
    assert_eq!(shown["from"], json!(test_util::address(1)));
    assert_eq!(shown["gasPrice"], "0x3fc", "base fee 1000 and tip 20");
    assert_eq!(shown["maxFeePerGas"], "0xbb8");
    assert_eq!(shown["publicKey"], json!(test_util::key(1).public_key()));
    assert_eq!(shown["validUntil"], Value::Null);
    assert_eq!(shown["securityLevel"], "public");
    assert_eq!(shown["chainId"], "0x7a69");
    assert_eq!((&shown["blockNumber"], &shown["transactionIndex"]), (&json!("0x1"), &json!("0x5")));
}

#[tokio::test]
async fn ethereum_transactions_show_their_signatures() {
    let app = Fake::new().app(RpcConfig::default());
    let at = async |i: &str| call(&app, "eth_getTransactionByBlockNumberAndIndex", json!(["0x1", i])).await;
    let number = |v: &Value| u64::from_str_radix(v.as_str().expect("hex").trim_start_matches("0x"), 16).expect("hex");
    let legacy = at("0x0").await;
    assert!([35, 36].contains(&(number(&legacy["v"]) - 2 * 31_337)), "EIP-155: {}", legacy["v"]);
    assert!(legacy.get("yParity").is_none() && legacy.get("accessList").is_none());
    let old = at("0x1").await;
    assert!([27, 28].contains(&number(&old["v"])) && old.get("chainId").is_none());
    let listed = at("0x2").await;
    assert_eq!(listed["accessList"][0]["address"], json!(CONTRACT));
    assert_eq!(listed["v"], listed["yParity"]);
    let created = at("0x3").await;
    assert_eq!((&created["to"], &created["gasPrice"]), (&Value::Null, &json!("0x3f2")));
    let delegated = at("0x4").await;
    assert_eq!(delegated["authorizationList"][0]["nonce"], "0x4");
    assert_eq!(at("0x6").await, Value::Null);
}

#[tokio::test]
async fn receipts_count_their_logs_over_the_block() {
    let app = Fake::new().app(RpcConfig::default());
    let txs = one_of_each();
    let receipt = call(&app, "eth_getTransactionReceipt", json!([txs[3].hash()])).await;
    assert_eq!(receipt["contractAddress"], json!(CONTRACT));
    let indexes: Vec<_> = receipt["logs"].as_array().expect("logs").iter().map(|l| l["logIndex"].clone()).collect();
    assert_eq!(indexes, [json!("0x3"), json!("0x4"), json!("0x5")], "0 + 1 + 2 logs come before");
    assert_eq!((&receipt["status"], &receipt["type"]), (&json!("0x1"), &json!("0x2")));
    let failed = call(&app, "eth_getTransactionReceipt", json!([txs[1].hash()])).await;
    assert_eq!((&failed["status"], &failed["contractAddress"]), (&json!("0x0"), &Value::Null));
    let all = call(&app, "eth_getBlockReceipts", json!(["0x1"])).await;
    assert_eq!(all[3], receipt);
    assert_eq!(call(&app, "eth_getTransactionReceipt", json!([TOPIC])).await, Value::Null);
}

#[tokio::test]
async fn a_creation_that_failed_still_says_where_the_contract_would_be() {
    let fake = Fake::new();
    let (first, create) = (native(9, 0), one_of_each().swap_remove(3));
    let would_be = create.sender().create(create.payload().nonce());
    fake.add_block(vec![first, create]);
    let receipt = call(&fake.app(RpcConfig::default()), "eth_getBlockReceipts", json!(["0x3"])).await[1].clone();
    assert_eq!((&receipt["status"], &receipt["contractAddress"]), (&json!("0x0"), &json!(would_be)));
}

#[tokio::test]
async fn a_waiting_transaction_has_no_block_and_counts_for_pending() {
    let fake = Fake::new();
    let app = fake.app(RpcConfig::default());
    let tx = native(1, 0);
    fake.admit(vec![native(1, 2)]);
    let sender = test_util::address(1);
    let nonce = async |tag: &str| call(&app, "eth_getTransactionCount", json!([sender, tag])).await;
    assert_eq!(nonce("pending").await, "0x0", "a gap does not count");
    fake.admit(vec![test_util::sign(1, test_util::transfer(0)), native(1, 1)]);
    assert_eq!((nonce("pending").await, nonce("latest").await), (json!("0x3"), json!("0x0")));
    let waiting = call(&app, "eth_getTransactionByHash", json!([native(1, 1).hash()])).await;
    assert_eq!((&waiting["blockHash"], &waiting["gasPrice"]), (&Value::Null, &json!("0xbb8")));
    let content = call(&app, "txpool_content", json!([])).await;
    assert_eq!(content["pending"][sender.to_checksum(None)]["1"]["hash"], json!(native(1, 1).hash()));
    let of_one = call(&app, "txpool_contentFrom", json!([sender])).await;
    assert_eq!(of_one["pending"].as_object().map(serde_json::Map::len), Some(3));
    assert_eq!(call(&app, "txpool_status", json!([])).await, json!({ "pending": "0x3", "queued": "0x0" }));
    drop(tx);
}

#[tokio::test]
async fn state_of_an_old_block_is_refused_with_a_mend() {
    let app = Fake::new().app(RpcConfig::default());
    let account = test_util::address(1);
    let (code, text) = fail(&app, "eth_getBalance", json!([account, "0x1"])).await;
    assert_eq!(code, -32001);
    assert_eq!(
        text,
        "state of block 1 is not kept here; this node keeps the last 1 blocks (2 to 2); ask an archive node"
    );
    for block in ["latest", "pending", "finalized", "0x2"] {
        assert_eq!(call(&app, "eth_getBalance", json!([account, block])).await, "0x3e8");
    }
    let hash = call(&app, "eth_getBlockByNumber", json!(["latest", false])).await["hash"].clone();
    assert_eq!(call(&app, "eth_getBalance", json!([account, { "blockHash": hash }])).await, "0x3e8");
    let (code, text) = fail(&app, "eth_getBalance", json!([account, "0x99"])).await;
    assert!(code == -32000 && text.starts_with("header not found"), "{text}");
}

#[tokio::test]
async fn a_revert_has_code_3_its_reason_and_its_data() {
    let fake = Fake::new();
    let app = fake.app(RpcConfig::default());
    let mut output = vec![0x08, 0xc3, 0x79, 0xa0];
    for word in [32u8, 5] {
        output.extend_from_slice(&B256::with_last_byte(word).0);
    }
    output.extend_from_slice(b"Nope!");
    output.resize(4 + 96, 0);
    let output = Bytes::from(output);
    let expected = output.to_string();
    *fake.call.lock() = Box::new(move |_| Err(CallError::Reverted { output: output.clone() }));
    let answer = super::request(&app, "eth_call", json!([{ "to": CONTRACT }, "latest"])).await;
    assert_eq!(answer["error"], json!({ "code": 3, "message": "execution reverted: Nope!", "data": expected }));
    *fake.call.lock() = Box::new(|_| Err(CallError::Failed("out of gas".into())));
    assert_eq!(fail(&app, "eth_estimateGas", json!([{}])).await, (-32000, "out of gas".into()));
}

#[test]
fn revert_reasons_are_read_with_care() {
    use crate::rpc::error::revert_reason;
    let panic = |code: u8| [&[0x4e, 0x48, 0x7b, 0x71], &B256::with_last_byte(code).0[..]].concat();
    assert_eq!(revert_reason(&panic(0x11)).as_deref(), Some("arithmetic underflow or overflow"));
    assert_eq!(revert_reason(&panic(0x99)).as_deref(), Some("unknown panic code: 0x99"));
    assert_eq!(revert_reason(&[0x08, 0xc3, 0x79, 0xa0]), None);
    let hostile = [&[0x08, 0xc3, 0x79, 0xa0], &[0xff; 64][..]].concat();
    assert_eq!(revert_reason(&hostile), None);
    let far = [&[0x08, 0xc3, 0x79, 0xa0][..], &B256::with_last_byte(32).0, &[0u8; 28], &[0xff; 4]].concat();
    assert_eq!(revert_reason(&far), None);
}

#[tokio::test]
async fn call_arguments_are_checked() {
    let app = Fake::new().app(RpcConfig::default());
    assert_eq!(call(&app, "eth_call", json!([{ "to": CONTRACT, "data": "0x1234" }])).await, "0x1234");
    let message = async |args: Value| fail(&app, "eth_call", json!([args, "latest"])).await;
    assert!(message(json!({ "data": "0x01", "input": "0x02" })).await.1.contains("both \"data\" and \"input\""));
    assert!(message(json!({ "chainId": "0x1" })).await.1.contains("have=1, want=31337"));
    assert!(message(json!({ "gasPrice": "0x1", "maxFeePerGas": "0x1" })).await.1.contains("both gasPrice"));
    assert!(
        message(json!({ "maxFeePerGas": "0x1", "maxPriorityFeePerGas": "0x2" })).await.1.contains("maxFeePerGas (1)")
    );
    assert!(message(json!({ "blobVersionedHashes": [] })).await.1.contains("EIP-4844"));
    let overrides = async |o: Value| fail(&app, "eth_call", json!([{}, "latest", o])).await;
    assert_eq!(overrides(json!({ "0x00": {} })).await.0, -32602);
    let both = json!({ CONTRACT.to_string(): { "state": {}, "stateDiff": {} } });
    assert!(overrides(both).await.1.contains("both 'state' and 'stateDiff'"));
    assert!(overrides(json!({ CONTRACT.to_string(): { "nonsense": 1 } })).await.1.contains("nonsense"));
    let moved = json!({ CONTRACT.to_string(): { "movePrecompileToAddress": CONTRACT } });
    assert!(overrides(moved).await.1.contains("movePrecompileToAddress"));
    let block = async |o: Value| fail(&app, "eth_call", json!([{}, "latest", {}, o])).await;
    assert!(block(json!({ "blobBaseFee": "0x5" })).await.1.contains("no blob market"));
    assert!(block(json!({ "time": "0xffffffffffffffff" })).await.1.contains("seconds"));
}

#[tokio::test]
async fn both_formats_are_sent_and_a_batch_answers_each() {
    let fake = Fake::new();
    let app = fake.app(RpcConfig::default());
    let hash = |raw: &[u8]| json!(keccak256(raw));
    assert_eq!(call(&app, "eth_sendRawTransaction", json!(["0x42aa"])).await, hash(&[0x42, 0xaa]));
    let (code, text) = fail(&app, "eth_sendRawTransaction", json!(["0xff"])).await;
    assert_eq!((code, text.as_str()), (-32000, "malformed transaction: type 255"));
    let many = call(&app, "basalt_sendRawTransactions", json!([["0x01", "0xff", "0x02"]])).await;
    assert_eq!(many[0]["hash"], hash(&[1]));
    assert_eq!(many[1]["error"]["code"], -32000);
    assert_eq!(many[2]["hash"], hash(&[2]));
    assert_eq!(fake.submitted.lock().len(), 5);
    assert_eq!(fail(&app, "eth_sendRawTransaction", json!(["0xzz"])).await.0, -32602);
}

#[tokio::test]
async fn logs_are_found_by_address_topic_and_range() {
    let app = Fake::new().app(RpcConfig::default());
    let count = async |filter: Value| call(&app, "eth_getLogs", json!([filter])).await.as_array().map_or(0, Vec::len);
    let topic = B256::with_last_byte;
    assert_eq!(count(json!({ "fromBlock": "0x0" })).await, 15);
    assert_eq!(count(json!({})).await, 0, "only the newest block, which is empty");
    assert_eq!(count(json!({ "fromBlock": "0x2", "toBlock": "latest" })).await, 0);
    assert_eq!(count(json!({ "fromBlock": "0x1", "toBlock": "0x99" })).await, 15, "cut at the head");
    assert_eq!(count(json!({ "fromBlock": "0x5", "toBlock": "0x9" })).await, 0, "above the head");
    assert_eq!(count(json!({ "fromBlock": "0x0", "topics": [null, topic(0)] })).await, 5);
    assert_eq!(count(json!({ "fromBlock": "0x0", "topics": [TOPIC, [topic(0), topic(4)]] })).await, 6);
    assert_eq!(count(json!({ "fromBlock": "0x0", "topics": [[], topic(4)] })).await, 1);
    assert_eq!(
        count(json!({ "fromBlock": "0x0", "topics": [TOPIC, topic(0), null] })).await,
        0,
        "a third topic is asked for"
    );
    assert_eq!(count(json!({ "fromBlock": "0x0", "address": CONTRACT })).await, 15);
    assert_eq!(count(json!({ "fromBlock": "0x0", "address": [test_util::address(1)] })).await, 0);
    let hash = call(&app, "eth_getBlockByNumber", json!(["0x1"])).await["hash"].clone();
    assert_eq!(count(json!({ "blockHash": hash })).await, 15);
    let message = async |filter: Value| fail(&app, "eth_getLogs", json!([filter])).await;
    assert_eq!(message(json!({ "blockHash": hash, "fromBlock": "0x1" })).await.0, -32602);
    assert_eq!(message(json!({ "fromBlock": "0x2", "toBlock": "0x1" })).await.0, -32602);
    assert_eq!(message(json!({ "topics": [null, null, null, null, null] })).await.0, -32602);
    assert_eq!(message(json!({ "blockHash": TOPIC })).await.0, -32000);
}

#[tokio::test]
async fn log_queries_have_limits() {
    let app = Fake::new().app(RpcConfig { max_logs_blocks: 2, max_logs: 14, ..RpcConfig::default() });
    let (code, text) = fail(&app, "eth_getLogs", json!([{ "fromBlock": "0x0" }])).await;
    assert!(code == -32005 && text.contains("limit of 2 blocks"), "{text}");
    let (code, text) = fail(&app, "eth_getLogs", json!([{ "fromBlock": "0x1" }])).await;
    assert!(code == -32005 && text.contains("limit of 14 logs"), "{text}");
}

#[tokio::test]
async fn filters_give_what_came_since_the_last_poll() {
    let fake = Fake::new();
    let app = fake.app(RpcConfig { max_filters: 3, ..RpcConfig::default() });
    let install = async |method: &str, params: Value| call(&app, method, params).await;
    let blocks = install("eth_newBlockFilter", json!([])).await;
    let logs = install("eth_newFilter", json!([{ "fromBlock": "0x0", "topics": [TOPIC] }])).await;
    let pending = install("eth_newPendingTransactionFilter", json!([])).await;
    let (code, text) = fail(&app, "eth_newBlockFilter", json!([])).await;
    assert!(code == -32005 && text.contains("limit of 3"), "{text}");
    let poll = async |id: &Value| call(&app, "eth_getFilterChanges", json!([id])).await;
    assert_eq!(poll(&blocks).await, json!([]));
    let (first, second) = (fake.add_block(vec![native(1, 0), native(1, 1)]), fake.add_block(Vec::new()));
    fake.admit(vec![native(5, 0)]);
    assert_eq!(poll(&blocks).await, json!([first.hash, second.hash]));
    assert_eq!(poll(&blocks).await, json!([]));
    assert_eq!(poll(&logs).await.as_array().map(Vec::len), Some(1), "only of the new blocks");
    assert_eq!(poll(&logs).await, json!([]));
    assert_eq!(poll(&pending).await, json!([native(5, 0).hash()]));
    let all = call(&app, "eth_getFilterLogs", json!([logs])).await;
    assert_eq!(all.as_array().map(Vec::len), Some(16), "of the whole range");
    assert!(fail(&app, "eth_getFilterLogs", json!([blocks])).await.1.starts_with("filter not found"));
    assert_eq!(call(&app, "eth_uninstallFilter", json!([blocks])).await, true);
    assert_eq!(call(&app, "eth_uninstallFilter", json!([blocks])).await, false);
    assert!(fail(&app, "eth_getFilterChanges", json!([blocks])).await.1.starts_with("filter not found"));
}

#[tokio::test]
async fn a_filter_that_nobody_polls_makes_room() {
    let app = Fake::new().app(RpcConfig { max_filters: 1, filter_lifetime_ms: 0, ..RpcConfig::default() });
    let old = call(&app, "eth_newBlockFilter", json!([])).await;
    call(&app, "eth_newBlockFilter", json!([])).await;
    assert!(fail(&app, "eth_getFilterChanges", json!([old])).await.1.starts_with("filter not found"));
}

#[tokio::test]
async fn fees_follow_the_chain() {
    let app = Fake::new().app(RpcConfig::default());
    let history = call(&app, "eth_feeHistory", json!(["0x2", "0x1", [0, 100]])).await;
    assert_eq!(history["oldestBlock"], "0x0");
    assert_eq!(history["baseFeePerGas"].as_array().map(Vec::len), Some(3), "one more than asked for");
    assert_eq!(history["baseFeePerGas"][2], call(&app, "eth_getBlockByNumber", json!(["0x2"])).await["baseFeePerGas"]);
    // Tips of block 1 are 10 (1559 and 7702), 20 (native) and 1000 (legacy).
    assert_eq!(history["reward"], json!([["0x0", "0x0"], ["0xa", "0x3e8"]]));
    assert_eq!(history["gasUsedRatio"][1], json!(126_000.0 / 30_000_000.0));
    assert_eq!(fail(&app, "eth_feeHistory", json!([1, "latest", [50, 10]])).await.0, -32602);
    assert_eq!(fail(&app, "eth_feeHistory", json!([1, "0x99", []])).await.0, -32000);
    assert_eq!(call(&app, "eth_feeHistory", json!(["0xffffffff", "latest"])).await["oldestBlock"], "0x0");
    let tip = call(&app, "eth_maxPriorityFeePerGas", json!([])).await;
    assert_eq!(tip, "0x3e8", "the 60th percentile of what was paid");
}

#[tokio::test]
async fn the_small_ones_answer() {
    let fake = Fake::new();
    let app = fake.app(RpcConfig::default());
    assert_eq!(call(&app, "web3_clientVersion", json!([])).await, "basalt/v0/test");
    assert_eq!(call(&app, "web3_sha3", json!(["0x"])).await, json!(keccak256([])));
    assert_eq!(call(&app, "net_version", json!([])).await, "31337");
    assert_eq!(call(&app, "net_listening", json!([])).await, true);
    assert_eq!(call(&app, "net_peerCount", json!([])).await, "0x0");
    assert_eq!(call(&app, "eth_syncing", json!([])).await, false);
    fake.highest.store(9, Ordering::Relaxed);
    assert_eq!(call(&app, "eth_syncing", json!([])).await["highestBlock"], "0x9");
    assert_eq!(call(&app, "eth_getUncleCountByBlockNumber", json!(["0x1"])).await, "0x0");
    assert_eq!(call(&app, "eth_getUncleCountByBlockNumber", json!(["0x9"])).await, Value::Null);
    let slot = call(&app, "eth_getStorageAt", json!([CONTRACT, "0x0f"])).await;
    assert_eq!(slot, json!(B256::with_last_byte(16)));
    assert_eq!(call(&app, "rpc_modules", json!([])).await["eth"], "1.0");
    let platform = call(&app, "platform_status", json!([])).await;
    assert_eq!((&platform["hash"], &platform["evmFork"]), (&json!("sha256"), &json!("osaka")));
    assert_eq!(call(&app, "consensus_status", json!([])).await["engine"], "pbft");
    let (code, text) = fail(&app, "consensus_validators", json!(["0x9"])).await;
    assert!(code == -32000 && text.contains("not determined yet"), "{text}");
    assert_eq!(call(&app, "consensus_proposals", json!([])).await, json!([]));
    assert_eq!(call(&app, "consensus_evidence", json!([])).await, json!({ "onChain": [], "local": [] }));
    assert_eq!(call(&app, "admin_nodeInfo", json!([])).await["protocols"]["basalt"]["chainId"], 31_337);
    let (code, text) = fail(&app, "eth_subscribe", json!(["newHeads"])).await;
    assert!(code == -32601 && text.contains("WebSocket"), "{text}");
}

#[test]
fn readiness_depends_on_what_is_due() {
    let limits = Limits { max_commit_age_ms: 1_000, max_behind: 3 };
    let due = |i: Inputs| health::reasons(i, limits).len();
    assert_eq!(due(Inputs { commit_age_ms: 999_999, ..Inputs::default() }), 0, "idle, and no empty blocks");
    assert_eq!(
        due(Inputs { commit_age_ms: 999_999, work_age_ms: Some(900), ..Inputs::default() }),
        0,
        "work just came"
    );
    assert_eq!(due(Inputs { commit_age_ms: 900, work_age_ms: Some(99_999), ..Inputs::default() }), 0, "it commits");
    assert_eq!(due(Inputs { commit_age_ms: 1_200, work_age_ms: Some(1_100), ..Inputs::default() }), 1);
    assert_eq!(due(Inputs { commit_age_ms: 5_900, heartbeat_ms: Some(5_000), ..Inputs::default() }), 0);
    assert_eq!(due(Inputs { commit_age_ms: 6_100, heartbeat_ms: Some(5_000), ..Inputs::default() }), 1);
    assert_eq!(due(Inputs { behind: 3, ..Inputs::default() }), 0);
    assert_eq!(due(Inputs { behind: 4, ..Inputs::default() }), 1);
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_given_up() {
    let fake = Fake::new();
    let app = fake.app(RpcConfig { request_timeout_ms: 20, ..RpcConfig::default() });
    let (release, wait) = std::sync::mpsc::channel::<()>();
    let wait = parking_lot::Mutex::new(wait);
    *fake.call.lock() = Box::new(move |_| {
        let _ = wait.lock().recv_timeout(Duration::from_secs(20));
        Ok(Bytes::new())
    });
    let (code, text) = fail(&app, "eth_call", json!([{}])).await;
    assert!(code == -32002 && text.contains("20 ms"), "{text}");
    drop(release);
    assert_eq!(fake.head(), Height(2));
}

#[tokio::test]
async fn traces_are_asked_for_with_their_limits() {
    let fake = Fake::new();
    let app = fake.app(RpcConfig { max_trace_steps: 77, ..RpcConfig::default() });
    let txs = one_of_each();
    let block = call(&app, "debug_traceBlockByNumber", json!(["0x1"])).await;
    let hashes: Vec<_> = block.as_array().expect("a list").iter().map(|t| t["txHash"].clone()).collect();
    assert_eq!(hashes, txs.iter().map(|t| json!(t.hash())).collect::<Vec<_>>());
    let one = call(&app, "debug_traceTransaction", json!([txs[2].hash(), { "tracer": "callTracer" }])).await;
    assert!(one["structLogs"].is_array(), "{one}");
    assert_eq!(fail(&app, "debug_traceTransaction", json!([TOPIC])).await.1, "transaction not found");
    fake.admit(vec![native(3, 0)]);
    let waiting = fail(&app, "debug_traceTransaction", json!([native(3, 0).hash()])).await.1;
    assert!(waiting.contains("mempool"), "{waiting}");
    assert!(fail(&app, "debug_traceBlockByNumber", json!(["0x99"])).await.1.contains("block not found"));
    let (code, text) = fail(&app, "debug_traceCall", json!([{ "to": CONTRACT }, "latest", { "limit": 7 }])).await;
    assert!(code == -32005 && text.contains("limit of 77 instructions"), "{text}");
    let (code, text) = fail(&app, "debug_traceCall", json!([{}, "latest", { "timeout": "soon" }])).await;
    assert!(code == -32602 && text.contains("timeout"), "{text}");
    assert_eq!(fail(&app, "debug_traceCall", json!([{}, "latest", { "txIndex": "0x0" }])).await.0, -32602);
}

#[tokio::test]
async fn raw_receipts_are_ethereums() {
    use alloy_consensus::{Eip658Value, ReceiptEnvelope};
    use alloy_eips::eip2718::Decodable2718 as _;
    let app = Fake::new().app(RpcConfig::default());
    let raws = call(&app, "debug_getRawReceipts", json!(["0x1"])).await;
    let raws: Vec<Bytes> = serde_json::from_value(raws).expect("bytes");
    let receipts = call(&app, "eth_getBlockReceipts", json!(["0x1"])).await;
    // The last is native, of a type that Ethereum does not know.
    assert_eq!((raws.len(), raws[5][0]), (6, 0x42));
    for (raw, shown) in raws[..5].iter().zip(receipts.as_array().expect("a list")) {
        let read = ReceiptEnvelope::decode_2718(&mut raw.as_ref()).expect("canonical");
        assert_eq!(json!(format!("{:#x}", u8::from(read.tx_type()))), shown["type"]);
        assert_eq!(read.as_receipt().expect("a receipt").status, Eip658Value::Eip658(shown["status"] == "0x1"));
        assert_eq!(json!(read.logs_bloom()), shown["logsBloom"]);
        assert_eq!(read.logs().len(), shown["logs"].as_array().map_or(0, Vec::len));
    }
}

#[tokio::test]
async fn development_methods_say_where_they_exist() {
    let app = Fake::new().app(RpcConfig::default());
    for method in [
        "evm_snapshot",
        "evm_revert",
        "evm_mine",
        "hardhat_mine",
        "anvil_mine",
        "evm_increaseTime",
        "evm_setNextBlockTimestamp",
        "evm_setAutomine",
        "evm_setIntervalMining",
        "hardhat_setBalance",
        "anvil_setCode",
        "hardhat_setNonce",
        "anvil_setStorageAt",
        "hardhat_setNextBlockBaseFeePerGas",
        "hardhat_setCoinbase",
        "hardhat_impersonateAccount",
        "anvil_stopImpersonatingAccount",
        "anvil_autoImpersonateAccount",
        "evm_setBlockGasLimit",
        "hardhat_reset",
        "anvil_dropTransaction",
        "hardhat_metadata",
        "anvil_nodeInfo",
        "eth_sendUnsignedTransaction",
    ] {
        let (code, text) = fail(&app, method, json!([])).await;
        assert_eq!(code, -32601, "{method}: {text}");
        assert!(text.contains("only development networks have it") && text.contains("`basalt dev`"), "{text}");
    }
    for method in ["eth_sendTransaction", "eth_sign", "personal_sign", "eth_signTypedData_v4"] {
        let (code, text) = fail(&app, method, json!([])).await;
        assert_eq!(code, -32601, "{method}: {text}");
        assert!(text.contains("keeps no keys") && text.contains("`basalt dev`"), "{text}");
    }
    assert_eq!(call(&app, "eth_accounts", json!([])).await, json!([]));
    let modules = call(&app, "rpc_modules", json!([])).await;
    assert!(["evm", "hardhat", "anvil", "personal"].iter().all(|n| modules.get(n).is_none()), "{modules}");
}
