//! Connections from their beginning to their end: the greeting, two connections to one peer, pings.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use libp2p::{Multiaddr, PeerId, Stream, StreamProtocol, ping, swarm::ConnectionId};
use tokio::sync::oneshot;
use tracing::{debug, info, warn};

use super::{Actor, Connection, Stage};
use crate::network::{
    members::Standing,
    session::{self, HelloFailure},
    shared::{Command, Offence, PeerEvent},
    wire::Hello,
};

/// Streams a connection may open before its Hello is judged; they wait unread.
const MAX_HELD: usize = 8;
/// Of two connections to the same peer, one that is older than this is presumed dead when a new one arrives; younger
/// ones come from both sides dialling at once.
const YOUNG: Duration = Duration::from_secs(10);

impl Actor {
    pub(super) fn on_connected(&mut self, peer: PeerId, id: ConnectionId, address: &Multiaddr, outbound: bool) {
        let now = Instant::now();
        // The guard let it in a moment ago; the list may have changed since.
        let Some(standing) = self.swarm.behaviour().guard.standing(&peer, outbound) else {
            debug!(%peer, %address, "not admitted any more");
            if outbound {
                self.dialer.connected(id, peer, now);
            }
            self.swarm.close_connection(id);
            return;
        };
        let blank = standing.is_guide();
        debug!(%peer, %address, outbound, ?standing, "connected, greeting");
        let stage = Stage::Greeting { begun: outbound, held: Vec::new() };
        let connection = Connection {
            peer,
            address: address.clone(),
            outbound,
            since: now,
            stage,
            missed_pings: 0,
            standing,
            listens: Vec::new(),
        };
        self.connections.insert(id, connection);
        if outbound {
            self.dialer.connected(id, peer, now);
            let (reply, stream) = oneshot::channel();
            let hello = self.context.shared.protocols.hello.clone();
            self.swarm.behaviour_mut().streams.open(peer, id, hello, reply);
            let context = Arc::clone(&self.context);
            self.tasks.spawn(async move {
                let result = session::hello_out(&context, peer, blank, stream).await;
                let _ = context.shared.commands.send(Command::Hello { peer, connection: id, result }).await;
            });
        }
    }

    pub(super) fn on_inbound(&mut self, id: ConnectionId, protocol: StreamProtocol, stream: Stream) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let peer = connection.peer;
        let blank = connection.standing.is_guide();
        let is_hello = protocol == self.context.shared.protocols.hello;
        match &mut connection.stage {
            Stage::Greeting { begun, .. } if is_hello && !*begun => {
                *begun = true;
                let context = Arc::clone(&self.context);
                self.tasks.spawn(async move {
                    let result = session::hello(&context, peer, blank, stream).await;
                    let _ = context.shared.commands.send(Command::Hello { peer, connection: id, result }).await;
                });
            }
            Stage::Greeting { held, .. } if !is_hello && held.len() < MAX_HELD => held.push((protocol, stream)),
            Stage::Greeted if !is_hello => self.start(peer, id, &protocol, stream),
            Stage::Closing => {}
            // Dropping the stream resets it.
            _ => self.context.shared.stats.refused_streams.inc(),
        }
    }

    /// The connection may have closed meanwhile; what a bad Hello leads to holds for the peer all the same.
    pub(super) fn on_hello(&mut self, peer: PeerId, id: ConnectionId, result: Result<Hello, HelloFailure>) {
        match result {
            Ok(hello) => self.on_greeted(peer, id, &hello),
            Err(HelloFailure::Broken(cause)) => {
                debug!(%peer, cause, "Hello failed");
                self.close(id);
            }
            Err(HelloFailure::Garbage(detail)) => {
                self.on_offence(peer, Offence::Garbage, &detail);
                self.on_useless(id);
                self.close(id);
            }
            Err(HelloFailure::Refused(reason)) => {
                warn!(%peer, "refused peer: {reason}");
                self.context.shared.stats.refused_hellos.inc();
                let (pause, now) = (self.context.shared.config.other_chain_pause, Instant::now());
                self.swarm.behaviour_mut().guard.ban_peer(peer, pause, now);
                self.dialer.avoid(&peer, pause, now);
                self.on_useless(id);
                self.close(id);
            }
        }
    }

    pub(super) fn on_greeted(&mut self, peer: PeerId, id: ConnectionId, hello: &Hello) {
        let Some(Connection { stage: Stage::Greeting { held, .. }, .. }) = self.connections.get_mut(&id) else {
            return;
        };
        let held = std::mem::take(held);
        if self.is_feeler(id) {
            // It has seen what it was sent for: a node of this chain answers there.
            self.on_answered(id);
            return self.close(id);
        }
        if self.admit(id, hello) {
            self.note_listens(id);
            self.on_answered(id);
            for (protocol, stream) in held {
                self.start(peer, id, &protocol, stream);
            }
        }
    }

    /// Makes a greeted connection the peer's, unless a better one exists.
    fn admit(&mut self, id: ConnectionId, hello: &Hello) -> bool {
        let now = Instant::now();
        let Some(new) = self.connections.get(&id) else { return false };
        let peer_id = new.peer;
        let mut queue = None;
        if let Some(old) = self.sessions.get(&peer_id) {
            let old_id = old.connection;
            if self.connections.get(&old_id).is_some_and(|old| self.prefers_old(old, new, now)) {
                debug!(peer = %peer_id, "closing the second of two connections");
                self.close(id);
                return false;
            }
            queue = Some(Arc::clone(&old.peer.consensus));
            self.sessions.remove(&peer_id);
            self.close(old_id);
        }
        let replaces = queue.is_some();
        let Some(new) = self.connections.get_mut(&id) else { return false };
        new.stage = Stage::Greeted;
        let peer = Arc::new(self.context.peer(peer_id, new, hello, queue));
        self.context.shared.table.insert(Arc::clone(&peer), &self.context.shared.stats);
        let session = self.context.session(Arc::clone(&peer), id, now);
        self.sessions.insert(peer_id, session);
        if !replaces {
            info!(
                peer = %peer_id, address = %peer.address, inbound = peer.inbound, software = %peer.software,
                height = hello.head_height.0, validator = ?peer.validator, "peer connected"
            );
            let (height, hash) = (hello.head_height.0, hello.head_hash);
            self.context.tell(PeerEvent::Connected { peer: peer_id, validator: peer.validator, height, hash });
        }
        true
    }

    /// Both sides come to the same answer: of two young connections the one stays that the lower identity dialled;
    /// an old one gives way, because a peer that dials again has lost it.
    fn prefers_old(&self, old: &Connection, new: &Connection, now: Instant) -> bool {
        if now - old.since > YOUNG || old.outbound == new.outbound {
            return false;
        }
        let we_are_lower = self.context.shared.local_peer < old.peer;
        old.outbound == we_are_lower
    }

    /// A new list: whoever is not on it any more goes, and whoever has another role comes again with it.
    pub(super) fn judge_standings(&mut self) {
        let members = self.context.shared.members.borrow().clone();
        let now = |c: &Connection| Standing::of(members.as_deref(), &c.peer, c.standing.is_guide());
        let changed = |c: &&Connection| now(c).as_ref() != Some(&c.standing);
        let gone: Vec<_> =
            self.connections.iter().filter(|(_, c)| changed(c)).map(|(id, c)| (*id, c.peer, now(c))).collect();
        for (id, peer, standing) in gone {
            match standing {
                None => info!(%peer, "disconnecting: the network's permissions do not admit it any more"),
                Some(standing) => info!(%peer, ?standing, "disconnecting: its role has changed; it may come again"),
            }
            self.context.shared.stats.closed_members.inc();
            self.close(id);
        }
    }

    /// Once somebody on the list is there, nobody else is asked for the way.
    pub(super) fn leave_guides(&mut self) {
        let greeted = |s: &Standing| !s.is_guide();
        if !self.sessions.values().any(|s| greeted(&s.peer.standing)) {
            return;
        }
        let guides: Vec<_> =
            self.connections.iter().filter(|(_, c)| c.standing.is_guide()).map(|(id, c)| (*id, c.peer)).collect();
        for (id, peer) in guides {
            debug!(%peer, "disconnecting: a member of the network is connected, nobody else is asked for the way");
            self.close(id);
        }
    }

    pub(super) fn on_closed(&mut self, id: ConnectionId, cause: &str) {
        let Some(connection) = self.connections.remove(&id) else { return };
        let peer = connection.peer;
        self.on_search_ended(id);
        if self.sessions.get(&peer).is_some_and(|s| s.connection == id) {
            self.sessions.remove(&peer);
            self.context.shared.table.remove(&peer, &self.context.shared.stats);
            info!(%peer, cause, "peer disconnected");
            self.dialer.disconnected(&peer, connection.since.elapsed(), Instant::now());
            self.context.tell(PeerEvent::Disconnected { peer });
        }
    }

    pub(super) fn close(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.stage = Stage::Closing;
        }
        self.swarm.close_connection(id);
    }

    pub(super) fn close_all(&mut self, peer: &PeerId) {
        let ids: Vec<_> = self.connections.iter().filter(|(_, c)| c.peer == *peer).map(|(id, _)| *id).collect();
        ids.into_iter().for_each(|id| self.close(id));
    }

    pub(super) fn on_ping(&mut self, event: &ping::Event) {
        let Some(connection) = self.connections.get_mut(&event.connection) else { return };
        match &event.result {
            Ok(round_trip) => {
                connection.missed_pings = 0;
                if let Some(session) = self.sessions.get(&event.peer) {
                    let micros = u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX).max(1);
                    session.peer.round_trip.store(micros, Relaxed);
                }
            }
            Err(failure) => {
                connection.missed_pings += 1;
                if connection.missed_pings >= 2 {
                    info!(peer = %event.peer, %failure, "disconnecting: it does not answer pings");
                    self.close(event.connection);
                }
            }
        }
    }
}
