//! Offences of peers and failed handshakes of strangers: points, bans, what is forgotten.

use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId, swarm::ListenError};
use tracing::{debug, info, warn};

use super::{Actor, dialling::denied};
use crate::network::{
    guard,
    shared::{BAN_AT, Offence},
};

/// Handshakes an address may fail within [`FAILURE_WINDOW`] before it is banned, and addresses watched.
const MAX_FAILURES: u32 = 20;
pub(super) const FAILURE_WINDOW: Duration = Duration::from_secs(60);
const MAX_WATCHED: usize = 1024;

impl Actor {
    pub(super) fn on_offence(&mut self, peer: PeerId, offence: Offence, detail: &str) {
        let now = Instant::now();
        self.context.shared.stats.offences.of(offence).inc();
        let points = match self.sessions.get_mut(&peer) {
            Some(session) => session.offend(offence, now),
            None => offence.points(),
        };
        if points < BAN_AT {
            return debug!(%peer, ?offence, detail, points, "offence");
        }
        if self.swarm.behaviour().guard.is_banned(&peer, now) {
            return self.close_all(&peer);
        }
        let length = self.swarm.behaviour_mut().guard.ban_peer(peer, self.context.shared.config.ban, now);
        self.context.shared.stats.bans.inc();
        warn!(%peer, ?offence, "banned peer for {} s: {detail}", length.as_secs());
        self.dialer.avoid(&peer, length, now);
        self.close_all(&peer);
    }

    /// An inbound connection that failed before it had an identity: garbage, a scan, a time-out, or a limit of ours.
    pub(super) fn on_failed_handshake(&mut self, address: &Multiaddr, error: &ListenError) {
        match error {
            ListenError::Denied { cause } => {
                return debug!(%address, reason = %denied(cause), "connection refused");
            }
            // This node has dialled itself; the dialling side deals with it.
            ListenError::LocalPeerId { .. } => return,
            _ => {}
        }
        self.context.shared.stats.failed_handshakes.inc();
        debug!(%address, %error, "inbound handshake failed");
        let Some(ip) = guard::address_of(address) else { return };
        let now = Instant::now();
        if self.failures.len() >= MAX_WATCHED && !self.failures.contains_key(&ip) {
            self.failures.retain(|_, (_, since)| now - *since < FAILURE_WINDOW / 4);
            if self.failures.len() >= MAX_WATCHED {
                return;
            }
        }
        let (count, since) = self.failures.entry(ip).or_insert((0, now));
        if now - *since >= FAILURE_WINDOW {
            (*count, *since) = (0, now);
        }
        *count += 1;
        match *count {
            1 => info!(%address, %error, "inbound connection is not from a Basalt node"),
            n if n >= MAX_FAILURES => {
                *count = 0;
                let ban = self.context.shared.config.ban;
                if let Some(length) = self.swarm.behaviour_mut().guard.ban_address(ip, ban, now) {
                    self.context.shared.stats.bans.inc();
                    warn!(%ip, "banned address for {} s: {MAX_FAILURES} failed handshakes", length.as_secs());
                }
            }
            _ => {}
        }
    }
}
