//! Nodes that know one of them find the others, and find them again.

use std::path::Path;

use basalt_primitives::B256;

use super::harness::{Node, Plan, eventually, free_port, plan};
use crate::network::DiscoveryConfig;

/// A node that seeks peers, on loopback.
fn seeker(seed: u8, file: Option<&Path>) -> Plan {
    let mut plan = plan(seed).observer();
    plan.config.listen.set_port(free_port());
    plan.config.discovery = Some(DiscoveryConfig { private_addresses: true, ..DiscoveryConfig::default() });
    plan.config.peers_file = file.map(Path::to_owned);
    plan
}

async fn has_at_least(node: &Node, peers: usize) {
    eventually("enough peers", || node.handle.peer_count() >= peers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_knows_one_node_finds_the_others_and_keeps_them_without_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("peers.json");
    let bootnode = seeker(1, None).start().await;
    let mut nodes = Vec::new();
    for seed in 2..=6 {
        let file = (seed == 6).then_some(file.as_path());
        nodes.push(seeker(seed, file).peers([&bootnode]).start().await);
    }
    for node in &nodes {
        has_at_least(node, 5).await;
    }
    bootnode.handle.shutdown();
    bootnode.handle.wait_stopped().await;
    let last = nodes.pop().expect("five");
    let known = || last.handle.stats().known_addresses();
    eventually("addresses of the others", || known().0 + known().1 >= 4).await;
    last.handle.shutdown();
    last.handle.wait_stopped().await;
    assert!(file.exists(), "written at the end");
    // Without the bootnode and without a word of anybody: from the book alone.
    let again = seeker(6, Some(&file)).start().await;
    has_at_least(&again, 4).await;
    assert!(again.handle.stats().sought() <= 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_node_of_this_chain_is_forgotten() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("peers.json");
    let mut foreign = seeker(9, None);
    foreign.genesis = B256::repeat_byte(0xbb);
    let foreign = foreign.start().await;
    let nobody = free_port();
    let known = |port: u16| {
        format!(
            r#"{{"address":"127.0.0.1:{port}","source":{{"Alone":"127.0.0.1:1"}},"heard":{},"attempted":0,"attempts":0,"tried":false}}"#,
            crate::clock::wall().as_secs()
        )
    };
    let text = format!(
        r#"{{"version":1,"secret":"{}","anchors":["127.0.0.1:{}"],"known":[{},{}]}}"#,
        "07".repeat(32),
        foreign.address.port(),
        known(foreign.address.port()),
        known(nobody)
    );
    std::fs::write(&file, text).expect("written");
    let node = seeker(1, Some(&file)).start().await;
    eventually("the refusal", || node.handle.stats().refused_hellos.get() >= 1).await;
    eventually("the failure", || node.handle.stats().failed_dials.get() >= 1).await;
    node.handle.shutdown();
    node.handle.wait_stopped().await;
    let text = std::fs::read_to_string(&file).expect("written at the end");
    assert!(!text.contains(&format!(":{}\"", foreign.address.port())), "of another chain: {text}");
    assert!(text.contains(&format!(":{nobody}\"")), "it may come back: {text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_seek_tells_nobody_where_others_are() {
    let quiet = plan(1).start().await;
    let friend = plan(2).peers([&quiet]).start().await;
    let curious = seeker(3, None).peers([&quiet]).start().await;
    quiet.has_peers(2).await;
    friend.has_peers(1).await;
    eventually("the question", || curious.handle.stats().known_addresses().1 >= 1).await;
    assert_eq!(curious.handle.peer_count(), 1);
    assert_eq!(curious.handle.stats().known_addresses(), (0, 1), "only the one it knew before");
}
