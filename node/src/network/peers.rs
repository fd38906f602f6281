//! The table of connected peers, shared by the network task (which writes it) and everybody else (who read it).

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use basalt_primitives::{B256, PublicKey, system::permission::Role};
use libp2p::{Multiaddr, PeerId};
use parking_lot::{Mutex, RwLock};
use tokio::sync::Semaphore;

use super::{members::Standing, queue::FrameQueue, stats::NetworkStats};

/// Block requests to one peer at once.
const MAX_REQUESTS: usize = 4;

/// What is known of a connected peer.
#[derive(Clone, Debug)]
pub struct PeerInfo {
    /// Its identity.
    pub peer_id: PeerId,
    /// The remote address of the connection.
    pub address: Multiaddr,
    /// Whether it dialled us.
    pub inbound: bool,
    /// Name and version of its software, as it says.
    pub software: String,
    /// Its head, as it says: a hint.
    pub head: (u64, B256),
    /// The validator key it has proven to hold.
    pub validator: Option<PublicKey>,
    /// How long it has been connected.
    pub connected: Duration,
    /// Payload bytes received from it.
    pub bytes_in: u64,
    /// Payload bytes sent to it (gossip counts as one copy per batch and is left out).
    pub bytes_out: u64,
    /// On a permissioned network: its role; `None` also for a peer that is only asked for the way.
    pub role: Option<Role>,
    /// Whether blocks may be asked of it.
    pub serves: bool,
    /// The last measured round trip.
    pub round_trip: Option<Duration>,
}

/// A connected, greeted peer.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) id: PeerId,
    pub(super) address: Multiaddr,
    pub(super) inbound: bool,
    pub(super) software: String,
    pub(super) validator: Option<PublicKey>,
    pub(super) standing: Standing,
    pub(super) since: Instant,
    pub(super) head: Mutex<(u64, B256)>,
    pub(super) bytes_in: AtomicU64,
    pub(super) bytes_out: AtomicU64,
    /// Microseconds; 0: not measured yet.
    pub(super) round_trip: AtomicU64,
    /// Consensus frames on their way to it.
    pub(super) consensus: Arc<FrameQueue>,
    /// Bounds our requests to it.
    pub(super) requests: Arc<Semaphore>,
}

impl Peer {
    pub(super) fn request_permits() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(MAX_REQUESTS))
    }

    pub(super) fn received(&self, bytes: usize) {
        self.bytes_in.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.bytes_out.fetch_add(bytes as u64, Relaxed);
    }

    fn info(&self) -> PeerInfo {
        let round_trip = self.round_trip.load(Relaxed);
        PeerInfo {
            peer_id: self.id,
            address: self.address.clone(),
            inbound: self.inbound,
            software: self.software.clone(),
            head: *self.head.lock(),
            validator: self.validator,
            role: self.standing.role(),
            serves: self.standing.serves(),
            connected: self.since.elapsed(),
            bytes_in: self.bytes_in.load(Relaxed),
            bytes_out: self.bytes_out.load(Relaxed),
            round_trip: (round_trip > 0).then(|| Duration::from_micros(round_trip)),
        }
    }
}

/// The table.
#[derive(Debug, Default)]
pub(super) struct PeerTable {
    peers: RwLock<HashMap<PeerId, Arc<Peer>>>,
    /// Keys whose consensus frames are taken; `None` until the driver says: any proven key.
    validators: RwLock<Option<HashSet<PublicKey>>>,
}

impl PeerTable {
    pub(super) fn insert(&self, peer: Arc<Peer>, stats: &NetworkStats) {
        let mut peers = self.peers.write();
        peers.insert(peer.id, peer);
        stats.peers.store(peers.len() as u64, Relaxed);
    }

    pub(super) fn remove(&self, peer: &PeerId, stats: &NetworkStats) -> Option<Arc<Peer>> {
        let mut peers = self.peers.write();
        let removed = peers.remove(peer);
        stats.peers.store(peers.len() as u64, Relaxed);
        removed
    }

    pub(super) fn get(&self, peer: &PeerId) -> Option<Arc<Peer>> {
        self.peers.read().get(peer).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<Peer>> {
        self.peers.read().values().cloned().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.peers.read().len()
    }

    pub(super) fn infos(&self) -> Vec<PeerInfo> {
        let mut infos: Vec<_> = self.peers.read().values().map(|p| p.info()).collect();
        infos.sort_by_key(|p| p.peer_id);
        infos
    }

    pub(super) fn set_validators(&self, keys: HashSet<PublicKey>) {
        *self.validators.write() = Some(keys);
    }

    /// Whether consensus frames from and to this key are wanted.
    pub(super) fn is_validator(&self, key: &PublicKey) -> bool {
        self.validators.read().as_ref().is_none_or(|set| set.contains(key))
    }
}
