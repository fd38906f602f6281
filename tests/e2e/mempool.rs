//! What waits in the mempool: it survives `kill -9`, and says why it waits.

use std::{fs, io::Write as _, time::Duration};

use alloy_consensus::TxEip1559;
use alloy_primitives::{Address, Bytes, TxKind, U256};
use serde_json::{Value, json};

use crate::{
    net::{Net, basalt_err, basalt_ok, eventually, quantity},
    wallet::Wallet,
};

const SOON: Duration = Duration::from_secs(60);
/// Length of a journal with nothing in it.
const EMPTY: u64 = 8;

fn explain(net: &Net, what: &str) -> Value {
    net.call(0, "txpool_explain", json!([what]))
}

fn journal(net: &Net, node: usize) -> std::path::PathBuf {
    net.data(node).join("mempool.journal")
}

#[test]
fn what_was_sent_by_rpc_survives_kill_9_and_a_torn_journal() {
    let net = Net::create(4, 23_300, &[]);
    net.up();
    let mut wallet = Wallet::dev(2);
    let (raw, first) = wallet.sign(Some(Address::repeat_byte(0x57)), 1, Bytes::new());
    net.call(0, "eth_sendRawTransaction", json!([raw]));
    net.receipt(0, &first, SOON);
    // Alone there is no quorum, so what is sent now waits, and no other node has it.
    (1..4).for_each(|n| net.kill(n));
    let hashes: Vec<String> = (0..5)
        .map(|_| {
            let (raw, hash) = wallet.sign(Some(Address::repeat_byte(0x57)), 1, Bytes::new());
            assert_eq!(net.call(0, "eth_sendRawTransaction", json!([raw])), json!(hash));
            hash
        })
        .collect();
    net.kill(0);
    // The machine stopped in the middle of writing an entry.
    let mut file = fs::OpenOptions::new().append(true).open(journal(&net, 0)).expect("the journal is there");
    file.write_all(&[0, 0, 0, 90, 1, 2, 3, 4, 5]).expect("writes");
    drop(file);

    net.up();
    for hash in &hashes {
        for node in 0..4 {
            assert_eq!(quantity(&net.receipt(node, hash, SOON)["status"]), Some(1));
        }
    }
    let told = explain(&net, &hashes[0]);
    assert_eq!(told["state"], "included", "{told}");
    let log = fs::read_to_string(net.dir().join("nodes/node0/node.log")).expect("log");
    let warnings: Vec<&str> = log.lines().filter(|l| l.contains("mempool.journal is torn or damaged")).collect();
    assert!(warnings.len() == 1 && warnings[0].contains("6 transactions are kept, the last 9 bytes"), "{warnings:?}");
    // What peers brought is written nowhere but at its owner's node.
    (1..4).for_each(|n| assert_eq!(fs::metadata(journal(&net, n)).expect("there").len(), EMPTY));

    // Once more: all of it is in blocks now, so that nothing is taken in again, and the journal is written anew, empty.
    net.kill(0);
    net.up();
    let end = || fs::metadata(journal(&net, 0)).ok().filter(|m| m.len() == EMPTY).map(drop);
    eventually("the journal is compacted", SOON, end);
    net.assert_same_chain(SOON);
}

#[test]
fn a_stuck_transaction_is_explained_by_rpc_and_at_the_command_line() {
    let net = Net::create(1, 23_400, &[]);
    net.up();
    let wallet = Wallet::dev(3);
    let tx = |nonce, fee| TxEip1559 {
        chain_id: 31337,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: fee,
        max_priority_fee_per_gas: 0,
        to: TxKind::Call(Address::repeat_byte(0x58)),
        value: U256::from(1),
        access_list: Default::default(),
        input: Bytes::new(),
    };
    let send = |tx| {
        let (raw, hash) = wallet.seal(tx);
        net.call(0, "eth_sendRawTransaction", json!([raw]));
        hash
    };
    let url = net.url(0).to_owned();
    let cli = |what: &str| basalt_ok(&["tx", "explain", what, "--rpc", &url]);

    // Offers less than the base fee; one waits behind it, one beyond a gap.
    let cheap = send(tx(0, 1));
    let behind = send(tx(1, 100_000_000_000));
    let far = send(tx(5, 100_000_000_000));
    let expect = |what: &str, state: &str, reason: &str, mend: &str| {
        let told = explain(&net, what);
        let has = |key: &str, word: &str| told[key].as_str().is_some_and(|t| t.contains(word));
        assert!(told["state"] == state && has("reason", reason) && has("mend", mend), "{told}");
        told
    };
    expect(&cheap, "waiting", "it offers 1 wei per gas and the next block asks for", "replacement with the same nonce");
    expect(&behind, "waiting", "nonce 0", "replacement with the same nonce");
    expect(&far, "queued", "3 earlier nonces of its sender are missing here, the first is 2", "nonce 2");
    let sender = explain(&net, &cheap)["sender"].as_str().expect("sender").to_owned();
    assert_eq!(
        expect(&sender, "waiting", "1 wei per gas", "replacement")["hash"],
        json!(cheap),
        "what holds up the others"
    );
    let text = cli(&sender);
    assert!(
        text.contains("why     it offers 1 wei") && text.contains("do      wait until the base fee falls"),
        "{text}"
    );

    // Done as told.
    let replaced = send(tx(0, 100_000_000_000));
    net.receipt(0, &behind, SOON);
    expect(&replaced, "included", "in block", "receipt");
    expect(&cheap, "gone", &format!("it was replaced by {replaced}"), "ask about the one that replaced it");
    expect(&sender, "queued", "the first is 2", "nonce 2");

    // Refused, and never heard of.
    let (raw, broke) = Wallet::dev(4).seal(TxEip1559 { value: U256::MAX >> 1, ..tx(0, 100_000_000_000) });
    let refusal = net.ask(0, "eth_sendRawTransaction", json!([raw])).expect("answers");
    assert!(refusal["error"]["message"].as_str().expect("text").starts_with("insufficient funds"), "{refusal}");
    expect(&broke, "refused", "insufficient funds", "send it again");
    let nobody = format!("0x{}", "ab".repeat(32));
    expect(&nobody, "unknown", "in no block", "send it again");
    assert!(cli(&nobody).contains("unknown"));
    expect(&format!("0x{}", "ab".repeat(20)), "unknown", "its next nonce is 0", "hash");
    let error = basalt_err(&["tx", "explain", "0x12", "--rpc", &url]);
    assert!(error.contains("expected a transaction hash"), "{error}");
}
