//! A network of proof of work: real processes that look for real seals. Behaviour, not timing: the difficulty is low, and what is
//! waited for comes whatever the machine can do.

use std::time::Duration;

use alloy_primitives::{Address, Bytes, U256};
use serde_json::{Value, json};

use crate::{
    hosts::Hosts,
    net::{Net, basalt_err, eventually, quantity},
    process::Proc,
    wallet::Wallet,
};

const SOON: Duration = Duration::from_secs(180);

/// A network of miners, with more of the command line.
fn create(miners: u16, port: u16, more: &[&str]) -> Net {
    let pow = ["--consensus", "pow", "--difficulty", "60000", "--block-interval-ms", "1000"];
    Net::create(miners, port, &[&pow[..], more].concat())
}

fn block(net: &Net, node: usize, id: &str) -> Value {
    net.call(node, "eth_getBlockByNumber", json!([id, false]))
}

fn number(block: &Value) -> u64 {
    quantity(&block["number"]).expect("a number")
}

fn hash_at(net: &Net, node: usize, height: u64) -> Value {
    block(net, node, &format!("{height:#x}"))["hash"].clone()
}

/// All nodes have the same blocks up to so many below the lowest head.
fn common_prefix(net: &Net, nodes: &[usize], below: u64) -> u64 {
    let lowest = nodes.iter().filter_map(|n| net.height(*n)).min().expect("heads");
    let height = lowest.saturating_sub(below);
    eventually(&format!("all have the same block {height}"), SOON, || {
        let first = hash_at(net, nodes[0], height);
        nodes.iter().all(|n| hash_at(net, *n, height) == first).then_some(())
    });
    height
}

/// A number of a node's metrics page, which is 20 ports above its RPC.
fn metric(net: &Net, node: usize, name: &str) -> f64 {
    let (base, port) = net.url(node).rsplit_once(':').expect("a port");
    let port: u16 = port.parse().expect("a number");
    let (_, text) = net.get(&format!("{base}:{}/metrics", port + 20)).expect("metrics");
    let line = text.lines().find(|l| l.starts_with(&format!("{name} ")) || l.starts_with(&format!("{name}{{")));
    line.and_then(|l| l.rsplit(' ').next()?.parse().ok()).unwrap_or_else(|| panic!("{name} in {text}"))
}

#[test]
fn three_miners_agree_are_paid_and_lose_nothing_when_they_are_killed() {
    let net = create(3, 31_000, &[]);
    net.up();
    (0..3).for_each(|n| net.wait_height(n, 8, SOON));
    let same = common_prefix(&net, &[0, 1, 2], 3);
    let head = block(&net, 0, "latest");
    assert!(U256::from_str_radix(&head["difficulty"].as_str().expect("hex")[2..], 16).expect("a number") > U256::ZERO);
    assert_ne!(head["nonce"], json!("0x0000000000000000"));

    // Who is given the rewards: the first development account, two ether a block and no fees so far.
    let miner = head["miner"].clone();
    let at = |height: u64| {
        let balance = net.call(0, "eth_getBalance", json!([miner, format!("{height:#x}")]));
        U256::from_str_radix(&balance.as_str().expect("hex")[2..], 16).expect("a number")
    };
    let reward = U256::from(2_000_000_000_000_000_000u64);
    assert_eq!(at(same) - at(0), reward * U256::from(same));

    // A transaction that one node takes is in a block everywhere, and gathers confirmations.
    let mut wallet = Wallet::dev(1);
    let (raw, hash) = wallet.sign(Some(Address::repeat_byte(0x77)), 5, Bytes::new());
    net.call(2, "eth_sendRawTransaction", json!([raw]));
    for node in 0..3 {
        eventually(&format!("node{node} confirms it three times"), SOON, || {
            let receipt = net.ask(node, "eth_getTransactionReceipt", json!([hash]))?["result"].clone();
            quantity(&receipt["confirmations"]).filter(|n| *n >= 3)
        });
    }
    // Finality is 64 blocks deep, and what is safe twelve.
    assert_eq!(number(&block(&net, 0, "finalized")), 0);
    let (safe, latest) = (number(&block(&net, 0, "safe")), net.height(0).expect("head"));
    assert!(safe + 12 <= latest, "{safe} is safe, {latest} the head");
    let explained = net.call(0, "consensus_explain", json!([]));
    assert_eq!(explained["situation"], json!("mining"), "{explained}");
    assert_eq!(net.call(0, "consensus_status", json!([]))["engine"], json!("pow"));
    eventually("node0 counts its hashes", SOON, || {
        quantity(&net.call(0, "miner_hashrate", json!([]))).filter(|rate| *rate > 0)
    });
    assert!(metric(&net, 0, "basalt_mining_difficulty_hashes") > 1.0);

    // One is killed while it mines; it comes back and catches up. Then all at once: what was announced was on disk.
    net.kill(1);
    let before = net.height(0).expect("head");
    net.wait_height(0, before + 3, SOON);
    net.up();
    net.wait_height(1, before + 3, SOON);
    common_prefix(&net, &[0, 1, 2], 3);
    let known: Vec<(u64, Value)> =
        (0..3).map(|n| net.height(n).expect("head")).map(|h| (h - 4, hash_at(&net, 0, h - 4))).collect();
    (0..3).for_each(|n| net.kill(n));
    net.up();
    for (height, hash) in known {
        for node in 0..3 {
            net.wait_height(node, height, SOON);
            assert_eq!(hash_at(&net, node, height), hash, "block {height} of node{node} was lost");
        }
    }
    let receipt = net.call(1, "eth_getTransactionReceipt", json!([hash]));
    assert_eq!(receipt["status"], json!("0x1"));
}

#[test]
fn a_node_that_knows_one_other_joins_and_programs_elsewhere_mine() {
    let net = create(2, 31_100, &["--followers", "1"]);
    // The newcomer knows one address: the last of the two in its file goes.
    let file = net.dir().join("nodes/node2/node.toml");
    let text = std::fs::read_to_string(&file).expect("reads");
    let known = text.lines().find(|l| l.contains("/tcp/31140/")).expect("node0's address").to_owned();
    let start = text.find("peers = [").expect("peers");
    let end = start + text[start..].find(']').expect("its end") + 1;
    let address = known.split('"').find(|w| w.contains("/tcp/31140/")).expect("quoted");
    let one = format!("{}peers = [\"{address}\"]{}", &text[..start], &text[end..]);
    std::fs::write(&file, one).expect("writes");

    let _miners: Vec<Proc> = (0..2).map(|n| Proc::node(&net, n, &[], &[])).collect();
    net.wait_height(0, 12, SOON);
    let _newcomer = Proc::node(&net, 2, &[], &[]);
    net.wait_height(2, 12, SOON);
    common_prefix(&net, &[0, 1, 2], 3);
    eventually("the newcomer has one peer", SOON, || {
        quantity(&net.call(2, "net_peerCount", json!([]))).filter(|peers| *peers >= 1)
    });
    let mining = net.ask(2, "miner_start", json!([1])).expect("answers");
    assert!(mining["error"]["message"].as_str().is_some_and(|m| m.contains("miner.beneficiary")), "{mining}");

    // Work for programs elsewhere: with the node's own threads off, blocks come from here.
    for node in 0..2 {
        assert_eq!(net.call(node, "miner_stop", json!([])), json!(true));
    }
    let sealed = eventually("a nonce that was found here seals a block", SOON, || {
        let work = net.ask(0, "eth_getWork", json!([]))?["result"].clone();
        let sealing = work[0].as_str()?.parse().ok()?;
        let target = U256::from_str_radix(&work[2].as_str()?[2..], 16).ok()?;
        let hash = basalt_primitives::WorkHash::Sha256d;
        let nonce = (0..5_000_000u64).find(|n| hash.number(sealing, *n) <= target)?;
        let params = json!([format!("{nonce:#018x}"), work[0], work[1]]);
        let taken = net.call(0, "eth_submitWork", params);
        (taken == json!(true)).then(|| format!("{nonce:#018x}"))
    });
    eventually("everybody has that block", SOON, || {
        let height = net.height(0)?;
        let from = height.saturating_sub(3);
        let mine = (from..=height).map(|h| block(&net, 0, &format!("{h:#x}"))).find(|b| b["nonce"] == json!(sealed))?;
        (1..3).all(|n| hash_at(&net, n, number(&mine)) == mine["hash"]).then_some(())
    });
}

#[test]
fn a_cut_network_is_healed_by_the_side_with_more_work_and_gives_transactions_back() {
    let mut net = create(3, 31_200, &[]);
    let Some(hosts) = Hosts::new(3) else { return };
    hosts.settle(&mut net);
    // Elsewhere than on loopback a node takes no changes by RPC unless it is told to.
    let file = net.dir().join("nodes/node2/node.toml");
    let text = std::fs::read_to_string(&file).expect("reads").replace("[rpc]\n", "[rpc]\nadmin = true\n");
    std::fs::write(&file, text).expect("writes");
    let start = |n| Proc::node(&net, n, &["ip", "netns", "exec", &hosts.namespace(n)], &[]);
    let _nodes: Vec<Proc> = (0..3).map(start).collect();
    (0..3).for_each(|n| net.wait_height(n, 3, SOON));
    common_prefix(&net, &[0, 1, 2], 2);

    hosts.split(&[0, 1], &[2]);
    let mut wallet = Wallet::dev(1);
    let (raw, hash) = wallet.sign(Some(Address::repeat_byte(0x77)), 5, Bytes::new());
    net.call(2, "eth_sendRawTransaction", json!([raw]));
    let lonely = net.receipt(2, &hash, SOON);
    assert_eq!(net.call(2, "miner_stop", json!([])), json!(true));
    let alone = net.height(2).expect("head");
    // The other side goes on until it has more blocks, of about the same difficulty.
    net.wait_height(0, alone + 4, SOON);
    assert!(net.call(0, "eth_getTransactionReceipt", json!([hash])).is_null(), "the cut leaks");
    let filter = net.call(2, "eth_newBlockFilter", json!([]));
    hosts.heal();
    eventually("node2 goes over to the other side", SOON, || {
        let theirs = hash_at(&net, 0, alone);
        (hash_at(&net, 2, alone) == theirs).then_some(())
    });
    assert!(metric(&net, 2, "basalt_reorgs_total") >= 1.0);
    assert!(!net.call(2, "eth_getFilterChanges", json!([filter])).as_array().expect("hashes").is_empty());
    // What only the abandoned blocks held waits again, reaches the others, and is in one of their blocks.
    for node in 0..3 {
        let receipt = net.receipt(node, &hash, SOON);
        assert_ne!(receipt["blockHash"], lonely["blockHash"], "that block is abandoned");
    }
    common_prefix(&net, &[0, 1, 2], 3);
}

#[test]
fn what_cannot_be_such_a_network_is_refused() {
    let dir = tempfile::tempdir().expect("tempdir");
    let out = dir.path().join("net");
    let args = ["network", "create", "--consensus", "pow", "--out", out.to_str().expect("UTF-8")];
    assert!(basalt_err(&args).contains("--beneficiary"));
    let short = [&args[..], &["--dev", "--block-interval-ms", "10"]].concat();
    assert!(basalt_err(&short).contains("consensus.blockIntervalMs"));
}
