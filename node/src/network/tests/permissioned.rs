//! A permissioned network on loopback: who is let in, as what, and when it goes.

use std::time::Duration;

use basalt_primitives::{PublicKey, system::permission::Role};
use tokio::time::{sleep, timeout};

use super::harness::{Node, Plan, eventually, identity, plan, soon, validator_key};
use crate::network::{BatchVerdict, ConsensusTarget, Member, Members, PeerId};

fn id(seed: u8) -> PeerId {
    identity(seed).peer_id()
}

fn validator(seed: u8) -> PublicKey {
    validator_key(seed).public_key()
}

fn members(list: &[(u8, Role)]) -> Members {
    let member = |seed: u8, role| {
        let validator = (role == Role::Validator).then(|| validator(seed));
        (id(seed), Member { role, validator, name: format!("node{seed}") })
    };
    Members::new(list.iter().map(|(seed, role)| member(*seed, *role)).collect(), Default::default())
}

fn with(seed: u8, members: &Members) -> Plan {
    Plan { members: Some(members.clone()), ..plan(seed) }
}

#[tokio::test]
async fn a_stranger_gets_not_one_byte_of_a_protocol() {
    let list = members(&[(1, Role::Validator), (2, Role::Full)]);
    let a = with(1, &list).start().await;
    // It believes in an open network and dials at once, again and again.
    let stranger = plan(3).peers([&a]).start().await;
    let refused = || a.handle.stats().refused_strangers.get();
    eventually("refused again and again", || refused() >= 3).await;
    assert_eq!((a.handle.peer_count(), stranger.handle.peer_count()), (0, 0));
    for node in [&a, &stranger] {
        let stats = node.handle.stats();
        assert_eq!(stats.control.bytes_in.get() + stats.sync.bytes_in.get() + stats.consensus.bytes_in.get(), 0);
    }
    assert_eq!(a.handle.stats().control.bytes_out.get(), 0, "not even a Hello");
    let b = with(2, &list).peers([&a]).start().await;
    b.has_peers(1).await;
    a.has_peers(1).await;
    assert_eq!(a.handle.peers()[0].role, Some(Role::Full));
}

#[tokio::test]
async fn whoever_is_taken_off_the_list_goes_and_does_not_come_back() {
    let list = members(&[(1, Role::Validator), (2, Role::Validator), (3, Role::Full)]);
    let a = with(1, &list).start().await;
    let b = with(2, &list).peers([&a]).start().await;
    let c = with(3, &list).peers([&a, &b]).start().await;
    c.has_peers(2).await;
    let less = members(&[(1, Role::Validator), (2, Role::Validator)]);
    a.handle.set_members(less.clone());
    b.handle.set_members(less);
    c.has_peers(0).await;
    let refused = || a.handle.stats().refused_strangers.get();
    eventually("it tries again", || refused() >= 2).await;
    assert_eq!((a.handle.peer_count(), b.handle.peer_count(), c.handle.peer_count()), (1, 1, 0));
    assert_eq!(a.handle.stats().closed_members.get(), 1);
    // And in again.
    a.handle.set_members(list);
    c.has_peers(1).await;
}

async fn nothing_comes(node: &mut Node) {
    assert!(timeout(Duration::from_secs(2), node.events.transactions.recv()).await.is_err());
}

#[tokio::test]
async fn an_observer_hears_and_tells_of_no_transactions_and_a_gateway_submits() {
    let roles = [(1, Role::Validator), (2, Role::Validator), (3, Role::Observer), (4, Role::Gateway)];
    let list = members(&roles);
    let mut a = with(1, &list).start().await;
    let mut b = with(2, &list).peers([&a]).start().await;
    let mut observer = with(3, &list).observer().peers([&a, &b]).start().await;
    let gateway = with(4, &list).observer().peers([&a]).start().await;
    observer.has_peers(2).await;
    gateway.has_peers(1).await;
    a.has_peers(3).await;
    let mut sent = 0u8;
    let batch = loop {
        sent += 1;
        gateway.handle.broadcast_transactions(vec![vec![sent; 9].into()]);
        if let Ok(batch) = timeout(Duration::from_millis(300), a.events.transactions.recv()).await {
            break batch.expect("runs");
        }
        assert!(sent < 60, "gossip never came up");
    };
    assert_eq!(batch.peer, id(4));
    a.handle.report_batch(batch.id, BatchVerdict::Relay);
    let relayed = soon(b.events.transactions.recv()).await.expect("runs");
    assert_eq!(relayed.peer, id(1));
    nothing_comes(&mut observer).await;
    observer.handle.broadcast_transactions(vec![vec![0xee; 9].into()]);
    let heard = timeout(Duration::from_secs(2), async {
        loop {
            let batch = b.events.transactions.recv().await.expect("runs");
            assert_ne!(batch.peer, id(3), "an observer's batch");
        }
    });
    assert!(heard.await.is_err());
    // Blocks it may have all the same, and nobody asks it for any.
    let blocks = soon(observer.handle.request_blocks(id(1), 0, 1)).await.expect("served");
    assert_eq!(blocks.len(), 1);
    let of = |node: &Node, seed| node.handle.peers().into_iter().find(|p| p.peer_id == id(seed)).expect("connected");
    assert!(!of(&a, 3).serves && !of(&a, 4).serves && of(&a, 2).serves);
}

#[tokio::test]
async fn a_key_counts_only_for_the_node_that_is_listed_with_it() {
    let mut list = members(&[(1, Role::Validator), (2, Role::Validator)]);
    let a = with(1, &list).start().await;
    let b = with(2, &list).peers([&a]).start().await;
    b.has_peers(1).await;
    a.has_peers(1).await;
    assert_eq!(a.handle.peers()[0].validator, Some(validator(2)));
    assert_eq!(a.handle.send_consensus(ConsensusTarget::All, vec![1].into()), 1);
    // Another role: the connection ends, and the next is without a voice.
    list = members(&[(1, Role::Validator), (2, Role::Full)]);
    a.handle.set_members(list.clone());
    b.handle.set_members(list);
    eventually("back as a full node", || a.handle.peers().first().is_some_and(|p| p.role == Some(Role::Full))).await;
    assert_eq!(a.handle.peers()[0].validator, None);
    assert_eq!(a.handle.send_consensus(ConsensusTarget::All, vec![1].into()), 0);
}

#[tokio::test]
async fn a_node_with_an_old_list_asks_the_peer_it_was_told_of_and_gives_nothing_away() {
    let now = members(&[(1, Role::Validator), (2, Role::Full)]);
    let old = members(&[(2, Role::Full), (9, Role::Validator)]);
    let a = with(1, &now).start().await;
    // Its configuration names node 1, which its list does not hold.
    let b = with(2, &old).peers([&a]).start().await;
    b.has_peers(1).await;
    a.has_peers(1).await;
    let blocks = soon(b.handle.request_blocks(id(1), 0, 1)).await.expect("the way");
    assert_eq!(blocks.len(), 1);
    let seen = a.handle.peers().remove(0);
    assert_eq!((seen.head, seen.validator), ((0, super::harness::GENESIS), None), "a blank Hello");
    let answer = soon(a.handle.request_blocks(id(2), 0, 1)).await;
    assert!(answer.is_err(), "{answer:?}");
    assert_eq!(b.handle.send_consensus(ConsensusTarget::All, vec![1].into()), 0);
    // Once it has caught up, it takes the peer for what it is.
    b.handle.set_members(now);
    eventually("a member", || b.handle.peers().first().is_some_and(|p| p.role == Some(Role::Validator))).await;
    eventually("a full Hello", || a.handle.peers().first().is_some_and(|p| p.software == "test/2")).await;
}

#[tokio::test]
async fn nobody_is_asked_for_the_way_while_a_member_is_there_and_a_stranger_never_by_its_own_call() {
    let list = members(&[(1, Role::Validator), (2, Role::Full)]);
    let a = with(1, &list).start().await;
    let outsider = plan(5).start().await;
    let b = with(2, &list).peers([&a, &outsider]).start().await;
    eventually("the member is there", || b.handle.peers().iter().any(|p| p.peer_id == id(1))).await;
    eventually("and nobody else", || b.handle.peer_count() == 1).await;
    sleep(Duration::from_millis(500)).await;
    assert_eq!((b.handle.peer_count(), outsider.handle.peer_count()), (1, 0));
    // The outsider calls by itself: it was named for being dialled, not for being let in.
    assert!(outsider.handle.add_peer(b.peer_addr()).await.expect("runs"));
    eventually("refused", || b.handle.stats().refused_strangers.get() >= 1).await;
    assert_eq!(outsider.handle.peer_count(), 0);
}
