//! What honest peers send each other.

use std::{collections::HashSet, sync::Arc, time::Duration};

use basalt_primitives::{B256, Bytes, SecretKey, Signature};
use basalt_proto::status::{NodeRecord, StatusRequest};

use super::harness::{Blocks, Node, eventually, mesh, plan, soon, validator_key};
use crate::network::{BatchVerdict, ConsensusTarget, PeerEvent, PeerId, RequestError, StatusSource};

fn message(n: u32, size: usize) -> Bytes {
    let mut m = vec![7; size.max(4)];
    m[..4].copy_from_slice(&n.to_be_bytes());
    m.into()
}

#[tokio::test]
async fn validators_exchange_consensus_frames_in_order() {
    let mut nodes = mesh(2).await;
    let (a, b) = (validator_key(1).public_key(), validator_key(2).public_key());
    for n in 0..200 {
        assert_eq!(nodes[0].handle.send_consensus(ConsensusTarget::All, message(n, 100)), 1);
    }
    for n in 0..200 {
        let frame = soon(nodes[1].events.consensus.recv()).await.expect("a frame");
        assert_eq!((frame.peer, frame.validator, frame.bytes), (nodes[0].id(), Some(a), message(n, 100)));
    }
    assert_eq!(nodes[1].handle.send_consensus(ConsensusTarget::One(a), message(1, 900_000)), 1);
    assert_eq!(soon(nodes[0].events.consensus.recv()).await.expect("a frame").bytes.len(), 900_000);
    assert_eq!(nodes[0].handle.send_consensus(ConsensusTarget::One(a), message(1, 4)), 0, "not to itself");
    assert_eq!(nodes[0].handle.peer_of_validator(&b), Some(nodes[1].id()));
    let too_large = message(1, 4 << 20);
    assert_eq!(nodes[0].handle.send_consensus(ConsensusTarget::All, too_large), 0);
    assert_eq!(nodes[0].handle.stats().dropped_consensus_out.get(), 1);
    let stats = nodes[1].handle.stats();
    assert_eq!((stats.consensus.messages_in.get(), stats.consensus.messages_out.get()), (200, 1));
}

#[tokio::test]
async fn every_validator_of_four_hears_every_other() {
    let mut nodes = mesh(4).await;
    for (n, node) in nodes.iter().enumerate() {
        assert_eq!(node.handle.send_consensus(ConsensusTarget::All, message(n as u32, 64)), 3);
    }
    for (n, node) in nodes.iter_mut().enumerate() {
        let mut heard = HashSet::new();
        for _ in 0..3 {
            let frame = soon(node.events.consensus.recv()).await.expect("a frame");
            heard.insert(frame.bytes);
        }
        let others: HashSet<_> = (0..4).filter(|m| *m != n).map(|m| message(m as u32, 64)).collect();
        assert_eq!(heard, others);
    }
}

#[tokio::test]
async fn a_slow_driver_loses_the_oldest_frames_and_the_newest_arrive() {
    let mut plan_a = plan(1);
    plan_a.config.consensus_peer_queue = 8;
    let a = plan_a.start().await;
    let mut plan_b = plan(2).peers([&a]);
    plan_b.config.consensus_queue = 1;
    let mut b = plan_b.start().await;
    a.has_peers(1).await;
    // Nobody reads at b: its channel, its memory budget and the flow-control window fill up, then a's queue.
    let mut sent = 0;
    while a.handle.stats().dropped_consensus_out.get() < 50 {
        a.handle.send_consensus(ConsensusTarget::All, message(sent, 500_000));
        sent += 1;
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(sent < 10_000, "nothing is ever dropped");
    }
    let mut numbers = Vec::new();
    while numbers.last() != Some(&(sent - 1)) {
        let frame = soon(b.events.consensus.recv()).await.expect("a frame");
        numbers.push(u32::from_be_bytes(frame.bytes[..4].try_into().expect("four bytes")));
    }
    assert!(numbers.is_sorted(), "{numbers:?}");
    assert!(numbers.len() <= sent as usize - 50);
}

#[tokio::test]
async fn frames_of_keys_outside_the_set_are_dropped() {
    let mut nodes = mesh(2).await;
    let (a, b) = (validator_key(1).public_key(), validator_key(2).public_key());
    nodes[1].handle.set_validators([b]);
    nodes[0].handle.send_consensus(ConsensusTarget::All, message(1, 10));
    eventually("the drop", || nodes[1].handle.stats().dropped_consensus_unproven.get() == 1).await;
    assert_eq!(nodes[1].handle.send_consensus(ConsensusTarget::All, message(1, 10)), 0);
    nodes[1].handle.set_validators([a, b]);
    nodes[0].handle.send_consensus(ConsensusTarget::All, message(2, 10));
    assert_eq!(soon(nodes[1].events.consensus.recv()).await.expect("a frame").bytes, message(2, 10));
}

#[tokio::test]
async fn observers_neither_get_nor_send_consensus() {
    let a = plan(1).start().await;
    let b = plan(2).observer().peers([&a]).start().await;
    a.has_peers(1).await;
    assert_eq!(a.handle.send_consensus(ConsensusTarget::All, message(1, 10)), 0);
    assert_eq!(a.handle.peers()[0].validator, None);
    eventually("b knows a", || b.handle.peers().first().is_some_and(|p| p.validator.is_some())).await;
}

fn transactions(node: u8, n: usize) -> Vec<Bytes> {
    (0..n).map(|i| format!("transaction {i} of node {node}").into_bytes().into()).collect()
}

async fn collect(node: &mut Node, n: usize) -> HashSet<Bytes> {
    let mut all = HashSet::new();
    while all.len() < n {
        let batch = soon(node.events.transactions.recv()).await.expect("a batch");
        all.extend(batch.transactions.into_iter().filter(|t| t.starts_with(b"transaction")));
    }
    all
}

/// Gossip needs a moment after the connection to learn who listens.
async fn gossip_ready(nodes: &mut [Node]) {
    let n = nodes.len();
    for (i, sender) in (0..n).map(|i| (i, nodes[i].handle.clone())).collect::<Vec<_>>() {
        let probe = Bytes::from(format!("probe of {i}").into_bytes());
        for (j, node) in nodes.iter_mut().enumerate().filter(|(j, _)| *j != i) {
            let mut attempt = 0;
            loop {
                // A new batch each time, or it would be taken for the old one.
                sender.broadcast_transactions(vec![probe.clone(), format!("{i} {j} {attempt}").into_bytes().into()]);
                let batch = tokio::time::timeout(Duration::from_millis(200), node.events.transactions.recv()).await;
                if batch.is_ok_and(|b| b.is_some_and(|b| b.transactions.contains(&probe))) {
                    break;
                }
                attempt += 1;
                assert!(attempt < 100, "gossip never came up");
            }
        }
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    for node in nodes {
        while node.events.transactions.try_recv().is_ok() {}
    }
}

#[tokio::test]
async fn a_batch_reaches_all() {
    let mut nodes = mesh(4).await;
    gossip_ready(&mut nodes).await;
    for (i, node) in nodes.iter().enumerate() {
        node.handle.broadcast_transactions(transactions(i as u8, 500));
    }
    for i in 0..4u8 {
        let expected: HashSet<Bytes> = (0..4).filter(|j| *j != i).flat_map(|j| transactions(j, 500)).collect();
        assert!(collect(&mut nodes[usize::from(i)], 1500).await == expected);
    }
}

#[tokio::test]
async fn a_batch_is_relayed_only_after_it_was_found_good() {
    let a = plan(1).start().await;
    let b = plan(2).peers([&a]).start().await;
    let c = plan(3).peers([&b]).start().await;
    b.has_peers(2).await;
    let mut nodes = [a, b, c];
    gossip_ready(&mut nodes[..2]).await;
    gossip_ready(&mut nodes[1..]).await;
    let [a, mut b, mut c] = nodes;
    for (verdict, text) in [(BatchVerdict::Ignore, "bad"), (BatchVerdict::Relay, "good")] {
        a.handle.broadcast_transactions(vec![text.as_bytes().to_vec().into()]);
        let batch = soon(b.events.transactions.recv()).await.expect("a batch");
        assert_eq!(batch.peer, a.id());
        b.handle.report_batch(batch.id, verdict);
    }
    let relayed = soon(c.events.transactions.recv()).await.expect("a batch");
    assert_eq!((relayed.peer, &relayed.transactions[0][..]), (b.id(), &b"good"[..]));
}

#[tokio::test]
async fn consensus_passes_unread_transactions() {
    let mut plan_b = plan(2);
    plan_b.config.transaction_queue = 1;
    let a = plan(1).start().await;
    let b = plan_b.peers([&a]).start().await;
    let mut nodes = [a, b];
    nodes[0].has_peers(1).await;
    gossip_ready(&mut nodes).await;
    let [a, mut b] = nodes;
    let bulk = |i: usize| (0..100).map(|j| vec![(i + j) as u8; 10_000 + i].into()).collect::<Vec<Bytes>>();
    for n in 0..50 {
        a.handle.broadcast_transactions(bulk(n as usize));
        a.handle.send_consensus(ConsensusTarget::All, message(n, 1000));
        assert_eq!(soon(b.events.consensus.recv()).await.expect("a frame").bytes, message(n, 1000));
    }
    eventually("drops are counted", || b.handle.stats().dropped_transactions_in.get() > 0).await;
}

#[tokio::test]
async fn blocks_are_served_in_bounded_pieces() {
    let mut plan_a = plan(1);
    plan_a.blocks = Blocks::of(20, 500_000);
    let expected = plan_a.blocks.0.clone();
    let a = plan_a.start().await;
    let b = plan(2).peers([&a]).start().await;
    b.has_peers(1).await;
    assert_eq!(b.handle.peers()[0].head, (19, Blocks::hash(19)));
    let (mut got, mut pieces) = (Vec::new(), 0);
    while got.len() < 20 {
        let piece = soon(b.handle.request_blocks(a.id(), got.len() as u64, 100)).await.expect("blocks");
        assert!(!piece.is_empty() && piece.iter().map(|p| p.len()).sum::<usize>() <= 4 << 20);
        got.extend(piece);
        pieces += 1;
    }
    assert_eq!(got, expected);
    assert!(pieces >= 3);
    assert_eq!(soon(b.handle.request_blocks(a.id(), 20, 5)).await.expect("an answer").len(), 0);
    assert_eq!(soon(b.handle.request_blocks(a.id(), 3, 2)).await.expect("blocks"), expected[3..5]);
}

#[tokio::test]
async fn a_block_is_found_by_its_hash_at_whoever_has_it() {
    let empty = plan(1).start().await;
    let mut plan_full = plan(2);
    plan_full.blocks = Blocks::of(5, 100);
    let full = plan_full.start().await;
    let c = plan(3).peers([&empty, &full]).start().await;
    c.has_peers(2).await;
    let (peer, block) =
        soon(c.handle.request_block_by_hash(Some(empty.id()), Blocks::hash(4), 4)).await.expect("asks").expect("found");
    assert_eq!((peer, block), (full.id(), vec![5; 100].into()));
    let unknown = B256::repeat_byte(0xee);
    assert!(soon(c.handle.request_block_by_hash(None, unknown, 4)).await.expect("asks").is_none());
    let stranger = soon(c.handle.request_blocks(PeerId::random(), 0, 1)).await;
    assert!(matches!(stranger, Err(RequestError::NotConnected)));
}

#[tokio::test]
async fn requests_work_from_threads_without_a_runtime() {
    let nodes = mesh(2).await;
    let (handle, peer) = (nodes[1].handle.clone(), nodes[0].id());
    let blocks = std::thread::spawn(move || futures::executor::block_on(handle.request_blocks(peer, 0, 1)));
    let joined = tokio::task::spawn_blocking(move || blocks.join()).await.expect("joins").expect("no panic");
    assert_eq!(joined.expect("blocks").len(), 1);
}

#[tokio::test]
async fn heads_are_announced_and_only_the_newest_matters() {
    let mut nodes = mesh(2).await;
    for height in 1..=1000 {
        nodes[0].handle.announce_head(height, Blocks::hash(height));
    }
    eventually("the newest head", || nodes[1].handle.peers()[0].head == (1000, Blocks::hash(1000))).await;
    let mut heads = 0;
    while let Ok(event) = nodes[1].events.peers.try_recv() {
        heads += usize::from(matches!(event, PeerEvent::Head { .. }));
    }
    assert!(heads < 100, "{heads} announcements for one new head");
}

#[derive(Debug)]
struct Records(Vec<NodeRecord>);

impl StatusSource for Records {
    fn newer(&self, request: &StatusRequest) -> Vec<NodeRecord> {
        let unknown = |r: &&NodeRecord| request.known.iter().all(|(key, _)| *key != r.node_key);
        self.0.iter().filter(unknown).cloned().collect()
    }
}

#[tokio::test]
async fn peers_tell_their_clocks_and_the_nodes_they_know() {
    let nodes = mesh(2).await;
    let key = SecretKey::from_bytes(&[9; 32]);
    let record = NodeRecord {
        node_key: key.public_key(),
        sequence: 1,
        name: "far away".into(),
        organisation: String::new(),
        software: "test/9".into(),
        address: String::new(),
        height: 3,
        validator: None,
        signature: Signature([0; 64]),
    };
    let record = record.sign(&key, B256::repeat_byte(0xaa));
    let (asker, asked) = (&nodes[0].handle, &nodes[1]);
    let ask = |known| soon(asker.exchange_status(asked.id(), StatusRequest { known }));
    let exchange = ask(Vec::new()).await.expect("an answer before there is a source");
    assert!(exchange.records.is_empty(), "{exchange:?}");
    assert!(exchange.clock_offset_ms.is_some_and(|ms| ms.abs() < 2_000), "one machine, one clock: {exchange:?}");
    asked.handle.serve_status(Arc::new(Records(vec![record.clone()])));
    assert_eq!(ask(Vec::new()).await.expect("an answer").records, std::slice::from_ref(&record));
    assert!(ask(vec![(record.node_key, 1)]).await.expect("an answer").records.is_empty());
    assert!(asker.exchange_status(PeerId::random(), StatusRequest::default()).await.is_err(), "nobody there");
}
