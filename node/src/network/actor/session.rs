//! A greeted peer, its budgets, and the streams it may have open.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, Instant},
};

use libp2p::{PeerId, Stream, StreamProtocol, swarm::ConnectionId};
use parking_lot::Mutex;
use tokio::{sync::Semaphore, task::JoinSet};

use super::{Actor, Connection};
use crate::network::{
    error::RequestError,
    limit::Bucket,
    peers::Peer,
    queue::FrameQueue,
    session,
    shared::{Context, Offence},
    status, streams,
    sync::{self, Kind},
    wire::{self, Hello},
};

/// Streams of a kind a peer may have open at once. Two, because the old one may not yet be known to be closed.
const MAX_STREAMS: usize = 2;
/// Block requests answered at once for one peer.
const MAX_SERVED: usize = 4;
/// Block requests taken from a peer per second, and at once.
const REQUESTS: (f64, f64) = (20.0, 100.0);
/// What a question for addresses costs of them: nobody needs it often.
const PEERS_COST: f64 = 20.0;
/// Gossip messages taken from a peer per second, and at once.
const BATCHES: (f64, f64) = (2000.0, 8000.0);
/// Gossip bytes taken from a peer per second, and at once.
const BATCH_BYTES: (f64, f64) = ((16 << 20) as f64, (64 << 20) as f64);
/// Weights of offences halve in this time.
const FORGIVE: Duration = Duration::from_secs(60);

/// A greeted peer and the tasks of its connection; they end when this is dropped.
pub(super) struct Session {
    pub(super) peer: Arc<Peer>,
    pub(super) connection: ConnectionId,
    tasks: JoinSet<()>,
    heads: Arc<Semaphore>,
    consensus: Arc<Semaphore>,
    consensus_budget: Arc<Semaphore>,
    served: Arc<Semaphore>,
    requests: Bucket,
    pub(super) batches: Bucket,
    pub(super) batch_bytes: Bucket,
    points: f64,
    points_at: Instant,
}

impl Actor {
    pub(super) fn open(&mut self, peer: PeerId, protocol: StreamProtocol, reply: streams::Reply) {
        match self.sessions.get(&peer) {
            Some(session) => self.swarm.behaviour_mut().streams.open(peer, session.connection, protocol, reply),
            // The receiver may have gone; then nobody needs to know.
            None => drop(reply.send(Err(RequestError::NotConnected))),
        }
    }

    /// Starts the task of a stream that a greeted peer has opened, if it may have one more.
    pub(super) fn start(&mut self, peer: PeerId, id: ConnectionId, protocol: &StreamProtocol, stream: Stream) {
        let Some(session) = self.sessions.get_mut(&peer).filter(|s| s.connection == id) else { return };
        while session.tasks.try_join_next().is_some() {}
        if session.start(&self.context, protocol, stream).is_none() {
            self.context.shared.stats.refused_streams.inc();
        }
    }
}

impl Session {
    /// `None`: not known, or too many already.
    fn start(&mut self, context: &Arc<Context>, protocol: &StreamProtocol, stream: Stream) -> Option<()> {
        let protocols = &context.shared.protocols;
        let (context, peer) = (Arc::clone(context), Arc::clone(&self.peer));
        if *protocol != protocols.head && !peer.standing.is_served() {
            return None;
        }
        if *protocol == protocols.head {
            let permit = Arc::clone(&self.heads).try_acquire_owned().ok()?;
            self.tasks.spawn(async move {
                session::read_heads(context, peer, stream).await;
                drop(permit);
            });
        } else if *protocol == protocols.consensus {
            if peer.validator.is_none() {
                context.shared.stats.dropped_consensus_unproven.inc();
                return None;
            }
            let permit = Arc::clone(&self.consensus).try_acquire_owned().ok()?;
            let budget = Arc::clone(&self.consensus_budget);
            self.tasks.spawn(async move {
                session::read_consensus(context, peer, budget, stream).await;
                drop(permit);
            });
        } else if *protocol == protocols.status {
            if !self.requests.take(1.0, Instant::now()) {
                context.shared.stats.refused_requests.inc();
                return None;
            }
            let permit = Arc::clone(&self.served).try_acquire_owned().ok()?;
            self.tasks.spawn(status::serve(context, peer, stream, permit));
        } else {
            let (kind, cost) = match protocol {
                p if *p == protocols.blocks_by_range => (Kind::Range, 1.0),
                p if *p == protocols.peers => (Kind::Peers, PEERS_COST),
                p if *p == protocols.genesis => (Kind::Genesis, 1.0),
                _ => (Kind::Hash, 1.0),
            };
            if !self.requests.take(cost, Instant::now()) {
                context.shared.stats.refused_requests.inc();
                return None;
            }
            let permit = Arc::clone(&self.served).try_acquire_owned().ok()?;
            self.tasks.spawn(sync::serve(context, peer, kind, stream, permit));
        }
        Some(())
    }

    /// Adds an offence to what is not forgiven yet.
    pub(super) fn offend(&mut self, offence: Offence, now: Instant) -> f64 {
        let halvings = now.duration_since(self.points_at).as_secs_f64() / FORGIVE.as_secs_f64();
        self.points = self.points * 0.5f64.powf(halvings) + offence.points();
        self.points_at = now;
        self.points
    }
}

impl Context {
    pub(super) fn peer(
        &self,
        id: PeerId,
        connection: &Connection,
        hello: &Hello,
        queue: Option<Arc<FrameQueue>>,
    ) -> Peer {
        let config = &self.shared.config;
        let new_queue = || Arc::new(FrameQueue::new(config.consensus_peer_queue, 4 * config.max_frame()));
        Peer {
            id,
            address: connection.address.clone(),
            inbound: !connection.outbound,
            software: wire::printable(&hello.software, wire::MAX_SOFTWARE),
            validator: connection.standing.validator(hello.validator.map(|p| p.public_key)),
            standing: connection.standing.clone(),
            since: connection.since,
            head: Mutex::new((hello.head_height.0, hello.head_hash)),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            round_trip: AtomicU64::new(0),
            consensus: queue.unwrap_or_else(new_queue),
            requests: Peer::request_permits(),
        }
    }

    pub(super) fn session(self: &Arc<Self>, peer: Arc<Peer>, connection: ConnectionId, now: Instant) -> Session {
        let mut tasks = JoinSet::new();
        if peer.standing.is_served() {
            tasks.spawn(session::announce_heads(Arc::clone(self), Arc::clone(&peer)));
        }
        if self.proof.is_some() && peer.validator.is_some() {
            tasks.spawn(session::send_consensus(Arc::clone(self), Arc::clone(&peer)));
        }
        Session {
            peer,
            connection,
            tasks,
            heads: Arc::new(Semaphore::new(MAX_STREAMS)),
            consensus: Arc::new(Semaphore::new(MAX_STREAMS)),
            consensus_budget: session::consensus_budget(self.shared.config.max_frame()),
            served: Arc::new(Semaphore::new(MAX_SERVED)),
            requests: Bucket::new(REQUESTS.0, REQUESTS.1, now),
            batches: Bucket::new(BATCHES.0, BATCHES.1, now),
            batch_bytes: Bucket::new(BATCH_BYTES.0, BATCH_BYTES.1, now),
            points: 0.0,
            points_at: now,
        }
    }
}
