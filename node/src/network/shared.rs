//! What the handle, the network task and the tasks of each peer share.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use basalt_primitives::{B256, Bytes, Height, PublicKey};
use basalt_proto::wire::{PROTOCOL_MIN, PROTOCOL_VERSION, ValidatorProof};
use libp2p::{Multiaddr, PeerId, Stream, StreamProtocol, swarm::ConnectionId};
use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, mpsc, oneshot, watch},
};

use super::{
    config::{NetworkConfig, PeerAddr},
    error::RequestError,
    gossip::{BatchId, BatchVerdict, Outbox},
    handle::BlockSource,
    members::List,
    peers::PeerTable,
    session::HelloFailure,
    stats::NetworkStats,
    status::StatusSource,
    streams::Reply,
    wire::{Hello, Protocols},
};

/// Commands and reports on their way to the network task.
pub(super) const COMMANDS: usize = 1024;

/// What the handle sees.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: NetworkConfig,
    pub(super) protocols: Protocols,
    pub(super) local_peer: PeerId,
    pub(super) own_validator: Option<PublicKey>,
    pub(super) table: PeerTable,
    pub(super) stats: Arc<NetworkStats>,
    pub(super) outbox: Outbox,
    pub(super) head: watch::Sender<(u64, B256)>,
    pub(super) members: List,
    pub(super) listening: watch::Sender<Vec<Multiaddr>>,
    pub(super) stop: watch::Sender<bool>,
    pub(super) stopped: watch::Sender<bool>,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) runtime: Handle,
    /// What peers who ask for addresses are told; empty where peers are not sought.
    pub(super) addresses: Mutex<Vec<SocketAddr>>,
    /// Set once, when the node's monitor is there.
    pub(super) status: OnceLock<Arc<dyn StatusSource>>,
}

impl Shared {
    /// Opens a stream to a connected peer.
    pub(super) async fn open(&self, peer: PeerId, protocol: StreamProtocol) -> Result<Stream, RequestError> {
        let (reply, answer) = oneshot::channel();
        let open = Command::Open { peer, protocol, reply };
        self.commands.send(open).await.map_err(|_| RequestError::Closed)?;
        answer.await.map_err(|_| RequestError::NotConnected)?
    }

    /// Reports what a peer did; the network task decides.
    pub(super) async fn report(&self, peer: PeerId, offence: Offence, detail: String) {
        // When the network task is gone there is nobody left to punish.
        let _ = self.commands.send(Command::Offence { peer, offence, detail }).await;
    }
}

/// What the tasks of a peer see besides.
pub(super) struct Context {
    pub(super) shared: Arc<Shared>,
    pub(super) genesis: B256,
    pub(super) software: String,
    pub(super) proof: Option<ValidatorProof>,
    pub(super) blocks: Arc<dyn BlockSource>,
    pub(super) consensus: mpsc::Sender<ConsensusFrame>,
    pub(super) events: mpsc::Sender<PeerEvent>,
}

impl Context {
    /// What this node says of itself. A peer that is only asked for the way learns the chain and nothing else.
    pub(super) fn hello(&self, blank: bool) -> Hello {
        let (height, head_hash) = if blank { (0, self.genesis) } else { *self.shared.head.borrow() };
        Hello {
            protocol_min: PROTOCOL_MIN,
            protocol_max: PROTOCOL_VERSION,
            genesis_hash: self.genesis,
            head_height: Height(height),
            head_hash,
            software: self.software.clone(),
            validator: self.proof.filter(|_| !blank),
        }
    }

    /// Tells the node about peers; when nobody reads, events are dropped and counted.
    pub(super) fn tell(&self, event: PeerEvent) {
        if self.events.try_send(event).is_err() {
            self.shared.stats.dropped_peer_events.inc();
        }
    }
}

/// What the network task is asked or told.
pub(super) enum Command {
    Open {
        peer: PeerId,
        protocol: StreamProtocol,
        reply: Reply,
    },
    Verdict {
        batch: BatchId,
        verdict: BatchVerdict,
    },
    Offence {
        peer: PeerId,
        offence: Offence,
        detail: String,
    },
    Disconnect {
        peer: PeerId,
    },
    AddPeer {
        address: PeerAddr,
        reply: oneshot::Sender<bool>,
    },
    RemovePeer {
        peer: PeerId,
        reply: oneshot::Sender<bool>,
    },
    Hello {
        peer: PeerId,
        connection: ConnectionId,
        result: Result<Hello, HelloFailure>,
    },
    Resolved {
        index: usize,
        result: std::io::Result<Vec<SocketAddr>>,
    },
    /// What a peer answered that was asked for addresses.
    Addresses {
        peer: PeerId,
        addresses: Vec<SocketAddr>,
    },
}

/// How a peer can break the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offence {
    /// Bytes that no correct node sends: banned at once.
    Garbage,
    /// Something no honest node passes on: banned when it happens again and again.
    Invalid,
    /// More than its share.
    Flood,
    /// It keeps us waiting.
    Slow,
}

impl Offence {
    /// Weight; at [`BAN_AT`] the peer is banned. Weights halve every minute.
    pub(super) const fn points(self) -> f64 {
        match self {
            Self::Garbage => BAN_AT,
            Self::Slow => BAN_AT / 5.0,
            Self::Invalid => BAN_AT / 20.0,
            Self::Flood => BAN_AT / 1000.0,
        }
    }
}

/// Points at which a peer is banned.
pub(super) const BAN_AT: f64 = 1000.0;

/// A consensus message as it came over its own stream. Its memory counts against the sender until it is dropped.
#[derive(Debug)]
pub struct ConsensusFrame {
    /// The connection it came over.
    pub peer: PeerId,
    /// The validator key that connection has proven. The message's own signature is for the receiver to check.
    pub validator: PublicKey,
    /// The message.
    pub bytes: Bytes,
    pub(super) _budget: OwnedSemaphorePermit,
}

/// Transactions received over gossip, not yet checked.
#[derive(Debug)]
pub struct TransactionBatch {
    /// Who passed them on.
    pub peer: PeerId,
    /// To be named in [`super::NetworkHandle::report_batch`] once they are checked.
    pub id: BatchId,
    /// Each in the encoding it was signed and sent in.
    pub transactions: Vec<Bytes>,
}

/// What happens to peers. Events can be lost when nobody reads them; the table of peers is always right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerEvent {
    /// A peer is connected and has said a valid Hello.
    Connected {
        /// The peer.
        peer: PeerId,
        /// The validator key it has proven.
        validator: Option<PublicKey>,
        /// Height of its head, as it says.
        height: u64,
        /// Hash of its head, as it says.
        hash: B256,
    },
    /// A peer has gone.
    Disconnected {
        /// The peer.
        peer: PeerId,
    },
    /// A peer says it has a new head: a hint.
    Head {
        /// The peer.
        peer: PeerId,
        /// Height of its head.
        height: u64,
        /// Hash of its head.
        hash: B256,
    },
}
