//! Local network settings: they change performance and exposure, never a chain rule.

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use basalt_primitives::block::MAX_TRANSACTION_BYTES;
use basalt_proto::wire::MAX_BLOCKS_BYTES;
use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{
    discovery::DiscoveryConfig,
    error::{NetworkError, PeerAddrError},
};

/// Settings of the network side of one node.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    /// Where to listen. Port 0 takes any free port.
    pub listen: SocketAddr,
    /// Neither listens nor dials: a development network has no peers.
    pub offline: bool,
    /// Addresses under which others reach this node, when they differ from `listen`.
    pub external: Vec<Multiaddr>,
    /// Peers to stay connected to. At most [`MAX_STATIC_PEERS`].
    pub static_peers: Vec<PeerAddr>,
    /// Seek peers beyond the static ones; `None` on private networks.
    pub discovery: Option<DiscoveryConfig>,
    /// Where the addresses of peers are kept over restarts; `None`: nowhere.
    pub peers_file: Option<PathBuf>,
    /// Connected peers at most, in both directions. Static peers always find room.
    pub max_peers: usize,
    /// Connections from one IP address at most, pending ones included. Loopback is exempt.
    pub max_per_ip: usize,
    /// Connections at most whose handshake is not finished, per direction.
    pub max_pending: usize,
    /// No new connection is taken while the process uses more memory than this. 0: no limit.
    pub max_process_memory: u64,
    /// The chain's largest block (bytes of its transactions), from the chain specification: sizes frames and answers.
    pub max_block_bytes: usize,
    /// Batches received but not yet read by the mempool; above, they are dropped and counted.
    pub transaction_queue: usize,
    /// Bytes of transactions waiting to be published; above, new ones are dropped and counted.
    pub outbox_bytes: usize,
    /// Batches are published at most so often. After a quiet moment of this length a transaction goes out at once; under
    /// load it waits for company, because what costs is the message, not the transaction.
    pub batch_interval: Duration,
    /// Consensus frames received but not yet read by the driver, all peers together.
    pub consensus_queue: usize,
    /// Consensus frames waiting for one peer; above, the oldest is dropped and counted.
    pub consensus_peer_queue: usize,
    /// Deadline of a block request.
    pub request_timeout: Duration,
    /// How long a new connection may take to say a valid Hello.
    pub hello_timeout: Duration,
    /// How often peers are pinged. A peer that misses two pings is disconnected.
    pub ping_interval: Duration,
    /// First pause before a static peer is dialled again; doubles up to `redial_cap`.
    pub redial_first: Duration,
    /// Longest pause between dials of a static peer.
    pub redial_cap: Duration,
    /// First ban of a peer that broke the protocol; doubles with each further one, up to 64 times.
    pub ban: Duration,
    /// How long a peer of another chain is neither dialled nor taken.
    pub other_chain_pause: Duration,
}

/// Size of an answer to a block request where blocks are small.
const RESPONSE: usize = 4 << 20;

/// Static peers at most.
pub const MAX_STATIC_PEERS: usize = 256;

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 30303)),
            offline: false,
            external: Vec::new(),
            static_peers: Vec::new(),
            discovery: None,
            peers_file: None,
            max_peers: 50,
            max_per_ip: 8,
            max_pending: 32,
            max_process_memory: 0,
            max_block_bytes: 8 << 20,
            transaction_queue: 1024,
            outbox_bytes: 8 << 20,
            batch_interval: Duration::from_millis(40),
            consensus_queue: 1024,
            consensus_peer_queue: 1024,
            request_timeout: Duration::from_secs(20),
            hello_timeout: Duration::from_secs(5),
            ping_interval: Duration::from_secs(5),
            redial_first: Duration::from_millis(250),
            redial_cap: Duration::from_secs(10),
            ban: Duration::from_secs(30),
            other_chain_pause: Duration::from_secs(30),
        }
    }
}

impl NetworkConfig {
    /// Slack of a frame above a block's transactions: their framing, header, certificates, proof of a round change.
    const FRAME_SLACK: usize = 2 << 20;

    /// Largest consensus frame.
    #[must_use]
    pub const fn max_frame(&self) -> usize {
        self.max_block_bytes + Self::FRAME_SLACK
    }

    /// Largest answer to a block request: room for one largest block, or some smaller ones.
    #[must_use]
    pub const fn max_response(&self) -> usize {
        match self.max_block_bytes + Self::FRAME_SLACK {
            ..RESPONSE => RESPONSE,
            MAX_BLOCKS_BYTES.. => MAX_BLOCKS_BYTES,
            one => one,
        }
    }

    /// Checks what would not work.
    pub fn check(&self) -> Result<(), NetworkError> {
        let fail = |setting, problem: String| Err(NetworkError::Config { setting, problem });
        if self.max_peers == 0 || self.max_peers > 4096 {
            return fail("max_peers", format!("is {}: choose 1 to 4096", self.max_peers));
        }
        if self.max_per_ip == 0 || self.max_pending == 0 {
            return fail("max_per_ip", "and max_pending must be at least 1".into());
        }
        if self.static_peers.len() > MAX_STATIC_PEERS {
            return fail("peers", format!("has {} entries: at most {MAX_STATIC_PEERS}", self.static_peers.len()));
        }
        if let Some(d) = &self.discovery
            && (d.outbound == 0 || d.per_subnet == 0 || d.outbound > self.max_peers)
        {
            return fail("discovery", "outbound must be 1 to max_peers, and per_subnet at least 1".into());
        }
        if self.max_block_bytes == 0 || self.max_block_bytes > MAX_TRANSACTION_BYTES {
            let problem = format!("is {}: choose 1 to {MAX_TRANSACTION_BYTES}", self.max_block_bytes);
            return fail("max_block_bytes", problem);
        }
        if [self.transaction_queue, self.consensus_queue, self.consensus_peer_queue, self.outbox_bytes].contains(&0) {
            return fail("queues", "must each have room for at least one".into());
        }
        Ok(())
    }
}

/// Where a peer is: a host (name or IP address), a port and, if known, its identity. Names are resolved at each dial.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerAddr {
    /// Host name or IP address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The identity to insist on.
    pub peer_id: Option<PeerId>,
}

impl PeerAddr {
    /// The address of a peer with a known identity.
    #[must_use]
    pub fn new(host: impl Into<String>, port: u16, peer_id: Option<PeerId>) -> Self {
        Self { host: host.into(), port, peer_id }
    }

    fn from_multiaddr(text: &str) -> Result<Self, &'static str> {
        let address: Multiaddr = text.parse().map_err(|_| "not a multiaddress")?;
        let mut parts = address.iter();
        let host = match parts.next() {
            Some(Protocol::Dns(h) | Protocol::Dns4(h) | Protocol::Dns6(h)) => h.into_owned(),
            Some(Protocol::Ip4(ip)) => ip.to_string(),
            Some(Protocol::Ip6(ip)) => ip.to_string(),
            _ => return Err("it must begin with /ip4, /ip6, /dns, /dns4 or /dns6"),
        };
        let Some(Protocol::Tcp(port)) = parts.next() else { return Err("only /tcp is spoken") };
        let peer_id = match parts.next() {
            None => None,
            Some(Protocol::P2p(id)) => Some(id),
            Some(_) => return Err("only /p2p/ID may follow the port"),
        };
        if parts.next().is_some() {
            return Err("nothing may follow the peer id");
        }
        Ok(Self { host, port, peer_id })
    }

    fn from_host_port(text: &str) -> Result<Self, &'static str> {
        let (address, peer_id) = match text.split_once("/p2p/") {
            Some((address, id)) => (address, Some(id.parse().map_err(|_| "the peer id is malformed")?)),
            None => (text, None),
        };
        let (host, port) = address.rsplit_once(':').ok_or("the port is missing")?;
        let port = port.parse().map_err(|_| "the port is not a number below 65536")?;
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        Ok(Self { host: host.to_owned(), port, peer_id })
    }
}

impl FromStr for PeerAddr {
    type Err = PeerAddrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = if text.starts_with('/') { Self::from_multiaddr(text) } else { Self::from_host_port(text) };
        let fail = |problem| PeerAddrError { text: text.chars().take(120).collect(), problem };
        let peer = parsed.map_err(fail)?;
        let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if peer.host.is_empty() || peer.host.len() > 253 || !peer.host.chars().all(valid) {
            return Err(fail("the host name is malformed"));
        }
        if peer.port == 0 {
            return Err(fail("the port must not be 0"));
        }
        Ok(peer)
    }
}

impl fmt::Display for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)?;
        } else {
            write!(f, "{}:{}", self.host, self.port)?;
        }
        self.peer_id.map_or(Ok(()), |id| write!(f, "/p2p/{id}"))
    }
}

impl Serialize for PeerAddr {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PeerAddr {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}
