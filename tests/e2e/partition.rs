//! Networks that are cut: real nodes on hosts of their own, links that silently carry nothing. Whoever has a quorum goes on, nobody
//! else does; when the network is whole again all agree, and what any living node had accepted is in a block.

use std::time::{Duration, Instant};

use alloy_primitives::{Address, Bytes};
use serde_json::json;

use crate::{hosts::Hosts, net::Net, process::Proc, wallet::Wallet};

const SOON: Duration = Duration::from_secs(60);
/// How long a cut lasts.
const CUT: Duration = Duration::from_secs(4);

struct Cluster {
    net: Net,
    hosts: Hosts,
    _nodes: Vec<Proc>,
    /// A client at each node.
    wallets: Vec<Wallet>,
    accepted: Vec<String>,
}

impl Cluster {
    fn start(count: u16, port: u16) -> Option<Self> {
        let mut net = Net::create(count, port, &[]);
        let count = usize::from(count);
        let hosts = Hosts::new(count)?;
        hosts.settle(&mut net);
        let start = |node| {
            let namespace = hosts.namespace(node);
            Proc::node(&net, node, &["ip", "netns", "exec", &namespace], &[])
        };
        let nodes: Vec<Proc> = (0..count).map(start).collect();
        let wallets = (0..count).map(Wallet::dev).collect();
        let mut cluster = Self { net, hosts, _nodes: nodes, wallets, accepted: Vec::new() };
        (0..count).for_each(|node| cluster.net.wait_height(node, 0, SOON));
        let hash = cluster.send(0);
        cluster.everybody_has(&hash);
        Some(cluster)
    }

    /// A client hands a transaction to a node, which accepts it.
    fn send(&mut self, node: usize) -> String {
        let (raw, hash) = self.wallets[node].sign(Some(Address::repeat_byte(0x57)), 1, Bytes::new());
        self.net.call(node, "eth_sendRawTransaction", json!([raw]));
        self.accepted.push(hash.clone());
        hash
    }

    fn has(&self, node: usize, hash: &str) -> bool {
        self.net.ask(node, "eth_getTransactionReceipt", json!([hash])).is_some_and(|a| !a["result"].is_null())
    }

    fn everybody_has(&self, hash: &str) {
        (0..self.net.len()).for_each(|node| drop(self.net.receipt(node, hash, SOON)));
    }

    /// Everything that was accepted is in a block everywhere, and all have the same blocks.
    fn nothing_is_lost(&self) {
        self.accepted.iter().for_each(|hash| self.everybody_has(hash));
        self.net.assert_same_chain(SOON);
    }

    /// Mends the network; how long until these transactions are in a block on every node.
    fn heal(&self, what: &str, hashes: &[String]) -> Duration {
        self.hosts.heal();
        let start = Instant::now();
        hashes.iter().for_each(|hash| self.everybody_has(hash));
        let took = start.elapsed();
        println!("time to recover, {what}: {took:?}");
        took
    }
}

#[test]
fn cut_in_two_cut_off_and_deaf_on_one_side_nodes_agree_again() {
    let Some(mut c) = Cluster::start(4, 22_900) else { return };

    // 2|2: neither side has a quorum, so neither may go on.
    c.hosts.split(&[0, 1], &[2, 3]);
    let both = [c.send(0), c.send(2)];
    std::thread::sleep(CUT);
    for (node, hash) in [(0, &both[0]), (1, &both[0]), (2, &both[1]), (3, &both[1])] {
        assert!(!c.has(node, hash), "node{node} went on without a quorum");
    }
    c.heal("2|2", &both);
    c.nothing_is_lost();

    // 3|1: three go on; the fourth does not, and catches up.
    c.hosts.split(&[0, 1, 2], &[3]);
    let three = c.send(1);
    let alone = c.send(3);
    [0, 1, 2].iter().for_each(|n| drop(c.net.receipt(*n, &three, SOON)));
    std::thread::sleep(CUT);
    assert!(!c.has(3, &three) && !c.has(3, &alone) && !c.has(0, &alone), "the cut leaks");
    c.heal("3|1: the cut-off node has the others' blocks", &[three]);
    c.heal("3|1: what the cut-off node accepted is in a block", &[alone]);
    c.nothing_is_lost();

    // Asymmetric: nothing that node1 sends arrives, while it is sent everything.
    [0, 2, 3].iter().for_each(|to| c.hosts.cut(1, *to));
    let others = c.send(2);
    [0, 2, 3].iter().for_each(|n| drop(c.net.receipt(*n, &others, SOON)));
    let mute = c.send(1);
    std::thread::sleep(CUT);
    assert!(!c.has(0, &mute), "the cut leaks");
    c.heal("asymmetric", &[others, mute]);
    c.nothing_is_lost();
}
