//! Coming together and parting.

use std::{net::SocketAddr, time::Duration};

use basalt_primitives::B256;
use tokio::runtime::Handle;

use super::harness::{Blocks, eventually, free_port, identity, mesh, plan, soon};
use crate::network::{ChainInfo, Network, NetworkConfig, NetworkError, PeerAddr, PeerEvent};

#[tokio::test]
async fn a_port_in_use_is_a_clear_error() {
    let a = plan(1).start().await;
    let config = NetworkConfig { listen: a.address, ..NetworkConfig::default() };
    let chain = ChainInfo { genesis: B256::ZERO, software: "test".into(), members: None };
    let blocks = std::sync::Arc::new(Blocks::default());
    let error = Network::start(config, &identity(2), None, chain, blocks, &Handle::current()).expect_err("in use");
    assert!(matches!(error, NetworkError::PortInUse(address) if address == a.address));
    assert!(error.to_string().contains("already in use"), "{error}");
}

#[tokio::test]
async fn peers_of_another_chain_part_and_are_left_alone() {
    let a = plan(1).start().await;
    let mut other = plan(2).peers([&a]);
    other.genesis = B256::repeat_byte(0xbb);
    let b = other.start().await;
    eventually("both refuse", || [&a, &b].iter().all(|n| n.handle.stats().refused_hellos.get() == 1)).await;
    let dials = b.handle.stats().dials.get();
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(b.handle.stats().dials.get(), dials, "dialled again at once");
    assert_eq!((a.handle.peer_count(), b.handle.peer_count()), (0, 0));
    let c = plan(3).peers([&a]).start().await;
    c.has_peers(1).await;
}

#[tokio::test]
async fn a_peer_that_restarts_is_found_again() {
    let mut listen = plan(1);
    listen.config.listen = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let (address, a) = (listen.config.listen, listen.start().await);
    let mut b = plan(2).peers([&a]).start().await;
    b.has_peers(1).await;
    a.handle.shutdown();
    soon(a.handle.wait_stopped()).await;
    assert!(a.handle.is_stopped());
    b.has_peers(0).await;
    let mut again = plan(1);
    again.config.listen = address;
    let a = again.start().await;
    b.has_peers(1).await;
    a.has_peers(1).await;
    let mut seen = Vec::new();
    while let Ok(event) = b.events.peers.try_recv() {
        match event {
            PeerEvent::Connected { .. } => seen.push("connected"),
            PeerEvent::Disconnected { .. } => seen.push("disconnected"),
            PeerEvent::Head { .. } => {}
        }
    }
    assert_eq!(seen, ["connected", "disconnected", "connected"]);
}

#[tokio::test]
async fn peers_are_added_and_removed_while_it_runs() {
    let (a, b) = (plan(1).start().await, plan(2).start().await);
    assert!(b.handle.add_peer(a.peer_addr()).await.expect("it runs"));
    b.has_peers(1).await;
    a.has_peers(1).await;
    let stranger = identity(3).peer_id();
    assert!(!b.handle.remove_peer(stranger).await.expect("it runs"), "neither listed nor connected");
    assert!(b.handle.remove_peer(a.id()).await.expect("it runs"));
    b.has_peers(0).await;
    let dials = b.handle.stats().dials.get();
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!((b.handle.stats().dials.get(), b.handle.peer_count()), (dials, 0), "it is not dialled again");
    assert!(b.handle.add_peer(a.peer_addr()).await.expect("it runs"));
    b.has_peers(1).await;
    b.handle.shutdown();
    soon(b.handle.wait_stopped()).await;
    assert!(b.handle.add_peer(a.peer_addr()).await.is_err(), "a network that has ended says so");
}

#[tokio::test]
async fn nodes_that_all_dial_each_other_end_with_one_connection_each() {
    let ports: Vec<u16> = (0..4).map(|_| free_port()).collect();
    let addr = |i: usize| PeerAddr::new("localhost", ports[i], Some(identity(i as u8 + 1).peer_id()));
    let mut nodes = Vec::new();
    for (i, port) in ports.iter().copied().enumerate() {
        let mut p = plan(i as u8 + 1);
        p.config.redial_first = NetworkConfig::default().redial_first;
        p.config.listen = SocketAddr::from(([127, 0, 0, 1], port));
        // Everybody lists everybody, itself included, and all dial at once.
        p.config.static_peers = (0..4).map(addr).collect();
        nodes.push(p.start().await);
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    for node in &nodes {
        node.has_peers(3).await;
    }
    // Connections made twice have been reduced to one, and stay.
    tokio::time::sleep(Duration::from_millis(500)).await;
    for node in &nodes {
        assert_eq!(node.handle.peer_count(), 3);
        assert_eq!(node.handle.stats().offences.all(), 0);
    }
}

#[tokio::test]
async fn a_node_that_lists_itself_without_identity_notices() {
    let port = free_port();
    let mut p = plan(1);
    p.config.listen = SocketAddr::from(([127, 0, 0, 1], port));
    p.config.static_peers = vec![PeerAddr::new("127.0.0.1", port, None)];
    let a = p.start().await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    // At most the one that began before it knew where it listens.
    assert!(a.handle.stats().dials.get() <= 1);
    assert_eq!((a.handle.peer_count(), a.handle.stats().failed_handshakes.get()), (0, 0));
}

#[tokio::test]
async fn a_peer_without_a_configured_identity_is_connected_once() {
    let a = plan(1).start().await;
    let mut p = plan(2);
    p.config.static_peers = vec![PeerAddr::new("localhost", a.address.port(), None)];
    let b = p.start().await;
    b.has_peers(1).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(b.handle.stats().dials.get(), 1);
    assert_eq!(b.handle.peers()[0].peer_id, a.id());
}

#[tokio::test]
async fn the_wrong_identity_at_an_address_is_not_a_peer() {
    let a = plan(1).start().await;
    let mut p = plan(2);
    p.config.static_peers = vec![PeerAddr::new("127.0.0.1", a.address.port(), Some(identity(9).peer_id()))];
    let b = p.start().await;
    eventually("the failed dial", || b.handle.stats().failed_dials.get() > 0).await;
    assert_eq!(b.handle.peer_count(), 0);
}

#[tokio::test]
async fn places_are_limited_but_static_peers_find_one() {
    let mut full = plan(1);
    full.config.max_peers = 2;
    // Node 5 is known beforehand; nobody listens there.
    full.config.static_peers = vec![PeerAddr::new("127.0.0.1", free_port(), Some(identity(5).peer_id()))];
    let a = full.start().await;
    let _b = plan(2).peers([&a]).start().await;
    let _c = plan(3).peers([&a]).start().await;
    a.has_peers(2).await;
    let d = plan(4).peers([&a]).start().await;
    eventually("the refusal", || a.handle.stats().refused_connections.get() > 0).await;
    assert_eq!(d.handle.peer_count(), 0);
    let e = plan(5).peers([&a]).start().await;
    e.has_peers(1).await;
    a.has_peers(3).await;
}

#[tokio::test]
async fn peers_are_described() {
    let nodes = mesh(2).await;
    eventually("a round trip", || nodes[0].handle.peers()[0].round_trip.is_some()).await;
    let info = nodes[0].handle.peers().remove(0);
    assert_eq!((info.peer_id, info.software.as_str(), info.inbound), (nodes[1].id(), "test/2", true));
    assert!(info.bytes_in > 0 && info.bytes_out > 0 && info.round_trip < Some(Duration::from_secs(5)));
    assert_eq!(nodes[0].handle.stats().peers(), 1);
    nodes[0].handle.disconnect(nodes[1].id());
    eventually("it comes back", || nodes[1].handle.stats().dials.get() == 2).await;
    nodes[0].has_peers(1).await;
}

#[test]
fn peer_addresses_are_read_in_every_form() {
    let id = identity(1).peer_id();
    let good = [
        ("/ip4/1.2.3.4/tcp/30303".to_owned(), "1.2.3.4", None),
        (format!("/dns4/node-1.example.org/tcp/30303/p2p/{id}"), "node-1.example.org", Some(id)),
        (format!("/ip6/::1/tcp/30303/p2p/{id}"), "::1", Some(id)),
        ("validator_0:30303".to_owned(), "validator_0", None),
        (format!("[::1]:30303/p2p/{id}"), "::1", Some(id)),
    ];
    for (text, host, peer_id) in good {
        let address: PeerAddr = text.parse().expect(&text);
        assert_eq!(address, PeerAddr::new(host, 30303, peer_id));
        assert_eq!(address.to_string().parse(), Ok(address));
    }
    for bad in [
        "",
        "host",
        "host:",
        "host:0",
        "host:99999",
        ":1",
        "a b:1",
        "/ip4/1.2.3.4/udp/1",
        "/tcp/1",
        "/ip4/1.2.3.4/tcp/1/p2p/xyz",
        "/ip4/1.2.3.4/tcp/1/quic",
        "host:1/p2p/notanid",
    ] {
        let error = bad.parse::<PeerAddr>().expect_err(bad);
        assert!(error.to_string().contains("is not a peer address"), "{error}");
    }
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let check = |change: fn(&mut NetworkConfig)| {
        let mut config = NetworkConfig::default();
        change(&mut config);
        config.check()
    };
    assert!(check(|_| {}).is_ok());
    assert!(check(|c| c.max_peers = 0).is_err());
    assert!(check(|c| c.max_per_ip = 0).is_err());
    assert!(check(|c| c.consensus_queue = 0).is_err());
    assert!(check(|c| c.max_block_bytes = usize::MAX).is_err());
    assert!(check(|c| c.static_peers = vec![PeerAddr::new("a", 1, None); 1000]).is_err());
}
