//! Gossip only with those that take part in it: on a permissioned network a connection to an observer, or to a peer that is
//! only asked for the way, has no gossip at all, in either direction.

use std::{
    collections::{HashMap, HashSet},
    ops::{Deref, DerefMut},
    sync::Arc,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    gossipsub,
    swarm::{
        ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
        THandlerOutEvent, ToSwarm, behaviour::ConnectionEstablished, derive_prelude::Either, dummy,
    },
};
use tokio::sync::watch;

use super::{
    gossip::Gossip,
    members::{Members, Standing},
};
/// Gossip behind a gate.
pub(super) struct Gated {
    inner: Gossip,
    members: watch::Receiver<Option<Arc<Members>>>,
    /// Connections without gossip.
    shut: HashSet<ConnectionId>,
    /// Connections with gossip, by peer.
    open: HashMap<PeerId, usize>,
}

impl Gated {
    pub(super) fn new(inner: Gossip, members: watch::Receiver<Option<Arc<Members>>>) -> Self {
        Self { inner, members, shut: HashSet::new(), open: HashMap::new() }
    }

    /// The guard has let the peer in, so whoever is not on the list is a guide.
    fn is_shut(&mut self, id: ConnectionId, peer: &PeerId) -> bool {
        let shut = !Standing::of(self.members.borrow().as_deref(), peer, true).is_some_and(|s| s.gossips());
        if shut {
            self.shut.insert(id);
        }
        shut
    }

    fn established(&mut self, event: ConnectionEstablished<'_>) {
        if self.shut.contains(&event.connection_id) {
            return;
        }
        let others = self.open.entry(event.peer_id).or_default();
        let other_established = std::mem::replace(others, *others + 1);
        // As many as it knows of.
        self.inner
            .on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished { other_established, ..event }));
    }

    fn closed(&mut self, event: ConnectionClosed<'_>) {
        if self.shut.remove(&event.connection_id) {
            return;
        }
        let left = self.open.get_mut(&event.peer_id).map_or(0, |n| {
            *n = n.saturating_sub(1);
            *n
        });
        if left == 0 {
            self.open.remove(&event.peer_id);
        }
        self.inner
            .on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed { remaining_established: left, ..event }));
    }
}

impl Deref for Gated {
    type Target = Gossip;

    fn deref(&self) -> &Gossip {
        &self.inner
    }
}

impl DerefMut for Gated {
    fn deref_mut(&mut self) -> &mut Gossip {
        &mut self.inner
    }
}

impl NetworkBehaviour for Gated {
    type ConnectionHandler = Either<THandler<Gossip>, dummy::ConnectionHandler>;
    type ToSwarm = gossipsub::Event;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if self.is_shut(id, &peer) {
            return Ok(Either::Right(dummy::ConnectionHandler));
        }
        self.inner.handle_established_inbound_connection(id, peer, local, remote).map(Either::Left)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if self.is_shut(id, &peer) {
            return Ok(Either::Right(dummy::ConnectionHandler));
        }
        self.inner.handle_established_outbound_connection(id, peer, address, role, port).map(Either::Left)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(e) => self.established(e),
            FromSwarm::ConnectionClosed(e) => self.closed(e),
            FromSwarm::AddressChange(e) if self.shut.contains(&e.connection_id) => {}
            FromSwarm::DialFailure(e) => {
                // Another behaviour may have refused what this one had let pass.
                self.shut.remove(&e.connection_id);
                self.inner.on_swarm_event(FromSwarm::DialFailure(e));
            }
            FromSwarm::ListenFailure(e) => {
                self.shut.remove(&e.connection_id);
                self.inner.on_swarm_event(FromSwarm::ListenFailure(e));
            }
            other => self.inner.on_swarm_event(other),
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {
            Either::Left(event) => self.inner.on_connection_handler_event(peer, id, event),
            Either::Right(never) => match never {},
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.inner.poll(cx).map(|event| event.map_in(Either::Left))
    }
}
