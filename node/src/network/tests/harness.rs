//! Nodes for tests.

use std::{
    future::Future,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use basalt_primitives::{B256, Bytes, SecretKey};
use libp2p::multiaddr::Protocol;
use tokio::{
    runtime::Handle,
    time::{sleep, timeout},
};

use crate::network::{
    BlockSource, ChainInfo, Identity, Members, Network, NetworkConfig, NetworkEvents, NetworkHandle, PeerAddr, PeerId,
};

/// Nothing in these tests takes longer on any machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// The chain of all test nodes.
pub(super) const GENESIS: B256 = B256::repeat_byte(0xaa);

/// A chain of opaque blocks.
#[derive(Default)]
pub(super) struct Blocks(pub(super) Vec<Bytes>);

impl Blocks {
    pub(super) fn of(count: usize, size: usize) -> Self {
        Self((0..count).map(|i| vec![i as u8 + 1; size].into()).collect())
    }

    pub(super) fn hash(height: u64) -> B256 {
        B256::repeat_byte((height as u8).wrapping_add(1))
    }
}

impl BlockSource for Blocks {
    fn head(&self) -> (u64, B256) {
        let head = self.0.len().saturating_sub(1) as u64;
        (head, Self::hash(head))
    }

    fn block_range(&self, from: u64, max_count: usize, max_bytes: usize) -> Vec<Bytes> {
        let mut bytes = 0;
        let fits = |b: &&Bytes| {
            bytes += b.len();
            bytes <= max_bytes
        };
        self.0.iter().skip(from as usize).take(max_count).take_while(fits).cloned().collect()
    }

    fn block_by_hash(&self, hash: &B256) -> Option<Bytes> {
        let height = u64::from(hash.0[0]).checked_sub(1)?;
        self.0.get(height as usize).filter(|_| Self::hash(height) == *hash).cloned()
    }
}

/// What a test node is made of.
pub(super) struct Plan {
    pub(super) seed: u8,
    pub(super) validator: bool,
    pub(super) genesis: B256,
    pub(super) blocks: Blocks,
    pub(super) members: Option<Members>,
    pub(super) config: NetworkConfig,
}

pub(super) struct Node {
    pub(super) handle: NetworkHandle,
    pub(super) events: NetworkEvents,
    pub(super) address: SocketAddr,
}

pub(super) fn plan(seed: u8) -> Plan {
    let config = NetworkConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        hello_timeout: PATIENCE,
        redial_first: Duration::from_millis(50),
        max_block_bytes: 1 << 20,
        ..NetworkConfig::default()
    };
    Plan { seed, validator: true, genesis: GENESIS, blocks: Blocks::of(1, 10), members: None, config }
}

pub(super) fn validator_key(seed: u8) -> SecretKey {
    SecretKey::from_bytes(&[seed | 0x80; 32])
}

pub(super) fn identity(seed: u8) -> Identity {
    Identity::new(&SecretKey::from_bytes(&[seed; 32]))
}

/// A port that is free now.
pub(super) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port()
}

impl Plan {
    pub(super) fn peers<'a>(mut self, peers: impl IntoIterator<Item = &'a Node>) -> Self {
        self.config.static_peers = peers.into_iter().map(Node::peer_addr).collect();
        self
    }

    pub(super) fn observer(mut self) -> Self {
        self.validator = false;
        self
    }

    pub(super) async fn start(self) -> Node {
        let key = validator_key(self.seed);
        let chain = ChainInfo { genesis: self.genesis, software: format!("test/{}", self.seed), members: self.members };
        let (handle, events) = Network::start(
            self.config,
            &identity(self.seed),
            self.validator.then_some(&key),
            chain,
            Arc::new(self.blocks),
            &Handle::current(),
        )
        .expect("starts");
        let listening = soon(handle.wait_listening()).await.expect("listens");
        let port = listening.iter().find_map(|p| if let Protocol::Tcp(p) = p { Some(p) } else { None });
        let address = SocketAddr::from(([127, 0, 0, 1], port.expect("a port")));
        Node { handle, events, address }
    }
}

impl Node {
    pub(super) fn id(&self) -> PeerId {
        self.handle.local_peer_id()
    }

    pub(super) fn peer_addr(&self) -> PeerAddr {
        PeerAddr::new("127.0.0.1", self.address.port(), Some(self.id()))
    }

    pub(super) async fn has_peers(&self, n: usize) {
        eventually("peers", || self.handle.peer_count() == n).await;
    }
}

/// Waits for something that must come.
pub(super) async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("in time")
}

/// Waits until a condition holds that must come to hold.
pub(super) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(PATIENCE, wait).await.is_ok(), "never happened: {what}");
}

/// Nodes that all know each other, connected.
pub(super) async fn mesh(n: u8) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    for seed in 1..=n {
        let node = plan(seed).peers(&nodes).start().await;
        nodes.push(node);
    }
    for node in &nodes {
        node.has_peers(usize::from(n) - 1).await;
    }
    nodes
}
