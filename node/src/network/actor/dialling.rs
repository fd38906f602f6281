//! Dialling: names are resolved, addresses dialled, failures put off.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use libp2p::{
    Multiaddr, PeerId,
    multiaddr::Protocol,
    swarm::{
        ConnectionId, DialError,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use tokio::time::timeout;
use tracing::{debug, info};

use super::Actor;
use crate::network::{PeerAddr, guard, shared::Command};

/// How long resolving a name may take.
const RESOLVE: Duration = Duration::from_secs(5);

impl Actor {
    pub(super) fn dial_due(&mut self, now: Instant) {
        let due = {
            let connections = &self.connections;
            self.dialer.due(now, |peer| connections.values().any(|c| c.peer == *peer))
        };
        for (index, address) in due {
            let shared = Arc::clone(&self.context.shared);
            self.tasks.spawn(async move {
                let found = timeout(RESOLVE, tokio::net::lookup_host((address.host.as_str(), address.port))).await;
                let result = found.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())).map(Iterator::collect);
                let _ = shared.commands.send(Command::Resolved { index, result }).await;
            });
        }
    }

    pub(super) fn on_resolved(&mut self, index: usize, result: std::io::Result<Vec<SocketAddr>>) {
        if !self.dialer.is_resolving(index) {
            return;
        }
        let target = match result {
            Ok(found) => self.dialer.choose(index, found),
            Err(error) => return self.dial_failed(index, &error.to_string()),
        };
        let Some(target) = target else { return self.dial_failed(index, "the name has no address") };
        let address = Multiaddr::from(target.ip()).with(Protocol::Tcp(target.port()));
        if self.context.shared.listening.borrow().contains(&address) {
            info!(%address, "a peer address is this node's own; not dialled");
            return self.dialer.is_own(index);
        }
        // A port of its own: dialling from the listening port makes two nodes that dial each other at the same moment
        // meet in one broken connection.
        let options = match self.dialer.expects(index) {
            Some(peer) => DialOpts::peer_id(peer)
                .condition(PeerCondition::Disconnected)
                .addresses(vec![address])
                .allocate_new_port()
                .build(),
            None => DialOpts::unknown_peer_id().address(address).allocate_new_port().build(),
        };
        let id = options.connection_id();
        self.dialer.dialling(index, id);
        self.context.shared.stats.dials.inc();
        if let Err(error) = self.swarm.dial(options) {
            self.on_failed_dial(id, &error);
        }
    }

    /// Adds a static peer; false when the list is full.
    pub(super) fn add_peer(&mut self, address: PeerAddr) -> bool {
        let (now, peer) = (Instant::now(), address.peer_id);
        let is_added = self.dialer.add(address, now);
        if let Some(peer) = peer.filter(|_| is_added) {
            self.swarm.behaviour_mut().guard.reserve(peer);
        }
        self.dial_due(now);
        is_added
    }

    /// Takes a peer off the list and closes its connections; false if it was neither listed nor connected.
    pub(super) fn remove_peer(&mut self, peer: &PeerId) -> bool {
        let was_listed = self.dialer.remove(peer);
        let was_connected = self.connections.values().any(|c| c.peer == *peer);
        self.swarm.behaviour_mut().guard.release(peer);
        self.close_all(peer);
        was_listed || was_connected
    }

    pub(super) fn on_failed_dial(&mut self, id: ConnectionId, error: &DialError) {
        let Some(index) = self.dialer.index_of(id) else { return };
        match error {
            DialError::LocalPeerId { address } => {
                info!(%address, "a peer address is this node's own; not dialled again");
                self.dialer.is_own(index);
            }
            DialError::WrongPeerId { obtained, address } => {
                let text = format!("the node at {address} has the identity {obtained}, not the one configured");
                self.dial_failed(index, &text);
            }
            DialError::Denied { cause } => self.dial_failed(index, &denied(cause)),
            other => self.dial_failed(index, &other.to_string()),
        }
    }

    fn dial_failed(&mut self, index: usize, error: &str) {
        self.context.shared.stats.failed_dials.inc();
        let times = self.dialer.failed(index, Instant::now());
        let address = self.dialer.describe(index);
        let error = error.split_whitespace().collect::<Vec<_>>().join(" ");
        if times == 1 {
            info!(address, error, "peer not reached yet, trying again");
        } else {
            debug!(address, error, times, "peer not reached");
        }
    }
}

/// Why a connection was denied, as the guard says it.
pub(super) fn denied(cause: &libp2p::swarm::ConnectionDenied) -> String {
    match cause.downcast_ref::<guard::Refused>() {
        Some(reason) => reason.to_string(),
        None => std::error::Error::source(cause).map_or_else(|| cause.to_string(), ToString::to_string),
    }
}
