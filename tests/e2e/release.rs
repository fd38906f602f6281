//! Two of four disks lost: more than heals by itself. The operator's audited word frees one, and the other heals after it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{
    net::{Net, basalt_err, basalt_ok, eventually},
    survival::transfer,
    wallet::Wallet,
};

const SOON: Duration = Duration::from_secs(60);

fn step(net: &Net, node: usize) -> Value {
    net.call(node, "consensus_status", json!([]))["step"].clone()
}

#[test]
fn two_of_four_wiped_wait_until_an_operator_releases_one() {
    let net = Net::create(4, 23_400, &[]);
    net.up();
    let mut wallet = Wallet::dev(6);
    let first = transfer(&net, &mut wallet, 0);
    let config = |node: usize| net.dir().join(format!("nodes/node{node}/node.toml")).display().to_string();
    let args = |node: usize, answers: &str| -> Vec<String> {
        let (config, reason) = (config(node), format!("disk of node{node} burnt"));
        ["validator", "reset-record", "--config", &config, "--answers", answers, "--reason", &reason]
            .map(str::to_owned)
            .into()
    };
    let refused = |node, answers| basalt_err(&args(node, answers).iter().map(String::as_str).collect::<Vec<_>>());

    assert!(refused(2, "2").contains("is running"), "a running node is left alone");
    (0..4).for_each(|node| net.kill(node));
    assert!(refused(0, "2").contains("intact"), "what is known is not forgotten");
    for node in [2, 3] {
        net.wipe(node);
    }
    net.up();
    eventually("both wiped validators wait", SOON, || {
        (step(&net, 2) == "recovering" && step(&net, 3) == "recovering").then_some(())
    });
    assert!(refused(2, "2").contains("is running"), "even one without a record to lock");

    net.kill(2);
    assert!(refused(2, "3").contains("no release is needed"));
    let said = basalt_ok(&args(2, "2").iter().map(String::as_str).collect::<Vec<_>>());
    assert!(said.contains("votes again when voting power 2 has answered"), "{said}");
    let shown = basalt_ok(&["audit", "show", "--config", &config(2), "--act", "reset-record", "--json"]);
    let entry: Value = serde_json::from_str(shown.trim()).expect("one line of JSON");
    assert_eq!((&entry["act"], &entry["reason"]), (&json!("reset-record"), &json!("disk of node2 burnt")));

    let back = Instant::now();
    net.up();
    let second = transfer(&net, &mut wallet, 1);
    println!("released to committing: {:?}", back.elapsed());
    eventually("the other wiped validator heals by itself", SOON, || {
        (step(&net, 3) != "recovering" && net.data(3).join("sign-record").exists()).then_some(())
    });
    for node in 0..4 {
        net.receipt(node, &first, SOON);
        net.receipt(node, &second, SOON);
    }
    net.assert_same_chain(SOON);
}
