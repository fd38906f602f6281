//! The peer-to-peer network: rust-libp2p over TCP, Noise and Yamux (ADR 0007).
//!
//! In: connections of strangers. Out: consensus messages of proven validators, batches of transactions, peers that come
//! and go, blocks asked for. Nothing of a peer is looked at before its [Hello](wire::Hello) is judged; every frame,
//! queue and map is bounded, drops are counted in [`NetworkStats`], and a peer that breaks the protocol is disconnected
//! and banned for a while. Bytes are decoded and bounded here; signatures and blocks are for the driver to verify.
//!
//! - `actor` drives the swarm and owns all state; `shared` is what it shares with the tasks.
//! - `guard` limits and bans connections, and lets in whom `members` lists; `gated` keeps gossip from those it is not
//!   for; `dialer` decides when to dial static peers, `discovery` whom else on a public network.
//! - `streams` opens and takes raw substreams; `frame` cuts them into frames; `wire` is what the frames say.
//! - `session` greets peers and carries heads and consensus; `sync` asks for and serves blocks; `gossip` spreads
//!   transactions; `status` is what nodes tell each other about themselves.

mod actor;
mod config;
mod dialer;
mod discovery;
mod error;
mod frame;
mod gated;
mod gossip;
mod guard;
mod handle;
mod identity;
mod limit;
mod members;
mod peers;
mod queue;
mod session;
mod shared;
mod stats;
mod status;
mod streams;
mod sync;
#[cfg(test)]
mod tests;
mod wire;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::{Duration, Instant},
};

use basalt_primitives::{B256, SecretKey};
use libp2p::{
    Multiaddr, Swarm, SwarmBuilder, gossipsub::IdentTopic, identify, memory_connection_limits, multiaddr::Protocol,
    noise, ping, swarm::behaviour::toggle::Toggle, tcp, yamux,
};
use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
};

use actor::{Actor, Behaviour};
use dialer::Dialer;
use gated::Gated;
use guard::{Guard, Limits};
use shared::{COMMANDS, Context, Shared};

pub use config::{MAX_STATIC_PEERS, NetworkConfig, PeerAddr};
pub use discovery::DiscoveryConfig;
pub use error::{NetworkError, PeerAddrError, RequestError};
#[cfg(test)]
pub(crate) use gossip::DUPLICATES_FOR;
pub use gossip::{BatchId, BatchVerdict};
pub use handle::{BlockSource, ConsensusTarget, NetworkEvents, NetworkHandle};
pub use identity::{Identity, peer_id_of};
pub use libp2p::{Multiaddr as PeerMultiaddr, PeerId};
pub use members::{Member, Members};
pub use peers::PeerInfo;
pub use shared::{ConsensusFrame, Offence, PeerEvent, TransactionBatch};
pub use stats::{Counter, NetworkStats, Offences, Traffic};
pub use status::{StatusExchange, StatusSource};

/// Peer events nobody has read yet.
const PEER_EVENTS: usize = 1024;
/// Substreams of one connection, both ways.
const MAX_SUBSTREAMS: usize = 64;
/// Inbound substreams of one connection whose protocol is not agreed on yet.
const MAX_NEGOTIATING: usize = 16;
/// How long TCP, Noise and Yamux may take.
const TRANSPORT_TIMEOUT: Duration = Duration::from_secs(8);
/// A connection without streams is closed after this; a greeted one always has some.
const IDLE: Duration = Duration::from_secs(30);

/// Which chain this node is on and what it calls itself.
#[derive(Clone, Debug)]
pub struct ChainInfo {
    /// Hash of the genesis block.
    pub genesis: B256,
    /// Name and version of the software, such as `basalt/0.1.0`.
    pub software: String,
    /// On a permissioned network: who may connect.
    pub members: Option<Members>,
}

/// The network side of a node.
#[derive(Debug)]
pub struct Network;

impl Network {
    /// Starts listening and dialling. `validator` is the consensus key of a validator: peers are shown that this
    /// connection speaks for it. The task runs on `runtime` until [`NetworkHandle::shutdown`].
    pub fn start(
        config: NetworkConfig,
        identity: &Identity,
        validator: Option<&SecretKey>,
        chain: ChainInfo,
        blocks: Arc<dyn BlockSource>,
        runtime: &Handle,
    ) -> Result<(NetworkHandle, NetworkEvents), NetworkError> {
        config.check()?;
        if !config.offline {
            check_port(config.listen)?;
        }
        // The transport's sockets and timers belong to the runtime.
        let _entered = runtime.enter();
        let (commands, commands_in) = mpsc::channel(COMMANDS);
        let (consensus, consensus_out) = mpsc::channel(config.consensus_queue);
        let (transactions, transactions_out) = mpsc::channel(config.transaction_queue);
        let (events, events_out) = mpsc::channel(PEER_EVENTS);
        let local_peer = identity.peer_id();
        let proof = validator.map(|key| identity::prove(key, &chain.genesis, &local_peer));
        let shared = Arc::new(Shared {
            protocols: wire::Protocols::new(&chain.genesis),
            local_peer,
            own_validator: proof.map(|p| p.public_key),
            table: Default::default(),
            stats: Arc::default(),
            outbox: gossip::Outbox::new(config.outbox_bytes),
            head: watch::Sender::new(blocks.head()),
            members: watch::Sender::new(chain.members.clone().map(Arc::new)),
            listening: watch::Sender::new(Vec::new()),
            addresses: Default::default(),
            stop: watch::Sender::new(false),
            stopped: watch::Sender::new(false),
            commands,
            runtime: runtime.clone(),
            status: std::sync::OnceLock::new(),
            config,
        });
        let dialer = dialer(&shared);
        let (mut swarm, topic) = swarm(identity, &shared, &chain, dialer.known())?;
        if !shared.config.offline {
            listen(&mut swarm, &shared.config)?;
        }
        let software = wire::printable(&chain.software, wire::MAX_SOFTWARE);
        let context =
            Context { genesis: chain.genesis, software, proof, blocks, consensus, events, shared: shared.clone() };
        let actor = Actor::new(swarm, topic, Arc::new(context), commands_in, transactions, dialer);
        let stopped = shared.clone();
        runtime.spawn(async move {
            // Also said when the task panics, so that nobody waits for ever.
            let _said = SayStopped(stopped);
            actor.run().await;
        });
        let events = NetworkEvents { consensus: consensus_out, transactions: transactions_out, peers: events_out };
        Ok((NetworkHandle { shared }, events))
    }
}

struct SayStopped(Arc<Shared>);

impl Drop for SayStopped {
    fn drop(&mut self) {
        self.0.stopped.send_replace(true);
    }
}

/// libp2p listens with SO_REUSEPORT, so two nodes on one port would start without an error and share the connections.
/// A plain bind finds out.
fn check_port(address: SocketAddr) -> Result<(), NetworkError> {
    if address.port() == 0 {
        return Ok(());
    }
    match TcpListener::bind(address) {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::AddrInUse => Err(NetworkError::PortInUse(address)),
        Err(e) => Err(NetworkError::Listen { address, reason: e.to_string() }),
    }
}

fn dialer(shared: &Shared) -> Dialer {
    let c = &shared.config;
    Dialer::new(&c.static_peers, shared.local_peer, c.redial_first, c.redial_cap, Instant::now())
}

fn listen(swarm: &mut Swarm<Behaviour>, config: &NetworkConfig) -> Result<(), NetworkError> {
    let address = Multiaddr::from(config.listen.ip()).with(Protocol::Tcp(config.listen.port()));
    let fail = |reason: String| NetworkError::Listen { address: config.listen, reason };
    swarm.listen_on(address).map_err(|e| fail(e.to_string()))?;
    external(config).into_iter().for_each(|address| swarm.add_external_address(address));
    Ok(())
}

/// What peers are told of where this node is: what is configured, else where it listens, unless that is everywhere.
fn external(config: &NetworkConfig) -> Vec<Multiaddr> {
    let listens = Multiaddr::from(config.listen.ip()).with(Protocol::Tcp(config.listen.port()));
    let is_one = config.discovery.is_some() && !config.listen.ip().is_unspecified() && config.listen.port() != 0;
    match config.external.is_empty() && is_one {
        true => vec![listens],
        false => config.external.clone(),
    }
}

fn swarm(
    identity: &Identity,
    shared: &Shared,
    chain: &ChainInfo,
    reserved: Vec<PeerId>,
) -> Result<(Swarm<Behaviour>, IdentTopic), NetworkError> {
    let (behaviour, topic) = behaviour(identity, shared, chain, reserved)?;
    let fail = |e: &dyn std::fmt::Display| NetworkError::Transport(e.to_string());
    let yamux = || {
        let mut config = yamux::Config::default();
        config.set_max_num_streams(MAX_SUBSTREAMS);
        config
    };
    let swarm = SwarmBuilder::with_existing_identity(identity.keypair())
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux)
        .map_err(|e| fail(&e))?
        .with_behaviour(|_| behaviour)
        .map_err(|e| fail(&e))?
        .with_swarm_config(|c| {
            c.with_idle_connection_timeout(IDLE).with_max_negotiating_inbound_streams(MAX_NEGOTIATING)
        })
        .with_connection_timeout(TRANSPORT_TIMEOUT)
        .build();
    Ok((swarm, topic))
}

fn behaviour(
    identity: &Identity,
    shared: &Shared,
    chain: &ChainInfo,
    reserved: Vec<PeerId>,
) -> Result<(Behaviour, IdentTopic), NetworkError> {
    let config = &shared.config;
    let (gossip, topic) = gossip::behaviour(&shared.protocols)?;
    let limits = Limits { max_peers: config.max_peers, max_per_ip: config.max_per_ip, max_pending: config.max_pending };
    let memory = (config.max_process_memory > 0).then(|| {
        let bytes = usize::try_from(config.max_process_memory).unwrap_or(usize::MAX);
        memory_connection_limits::Behaviour::with_max_bytes(bytes)
    });
    let ping = ping::Config::new().with_interval(config.ping_interval).with_timeout(config.ping_interval);
    let identify = identify::Config::new("/basalt/1".into(), identity.keypair().public())
        .with_agent_version(chain.software.clone())
        .with_cache_size(0)
        .with_hide_listen_addrs(true);
    let behaviour = Behaviour {
        guard: Guard::new(limits, reserved, Arc::clone(&shared.stats), shared.members.subscribe()),
        memory: Toggle::from(memory),
        streams: streams::Behaviour::new(shared.protocols.inbound(config.discovery.is_some())),
        gossip: Gated::new(gossip, shared.members.subscribe()),
        ping: ping::Behaviour::new(ping),
        identify: identify::Behaviour::new(identify),
    };
    Ok((behaviour, topic))
}
