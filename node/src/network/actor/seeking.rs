//! Seeking peers on a public network: the search's dials, what peers answer, what is kept over restarts.

use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use libp2p::{
    Multiaddr, PeerId, identify,
    multiaddr::Protocol,
    swarm::{ConnectionId, DialError, dial_opts::DialOpts},
};
use tracing::{debug, warn};

use super::Actor;
use crate::{
    clock,
    network::{
        discovery::{Dial, Discovery, Kept, Purpose},
        shared::{Command, Context},
        sync,
    },
};

/// Peers are asked for addresses so often, one each time; and so often while nobody else is known to dial.
const ASK: Duration = Duration::from_secs(120);
const ASK_SOON: Duration = Duration::from_secs(5);
/// With so many addresses that answered there is no need to ask.
const ENOUGH: usize = 1000;
/// Askers are told the same for so long, unless much more is known meanwhile: who asks often learns no more.
const SAME_ANSWER: Duration = Duration::from_secs(600);
/// The book is written down so often.
const SAVE: Duration = Duration::from_secs(300);
/// Addresses taken of what a peer says of itself.
const OWN_ADDRESSES: usize = 4;

/// The search and its timers.
pub(super) struct Seeking {
    discovery: Discovery,
    next_ask: Instant,
    answer_until: Instant,
    /// How many addresses were known when the answer was made.
    answer_of: usize,
    next_save: Instant,
}

fn wall() -> u64 {
    clock::wall().as_secs()
}

/// The address of a direct connection, or of a listener, over TCP.
pub(super) fn socket_of(address: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = address.iter();
    let ip: IpAddr = match parts.next()? {
        Protocol::Ip4(ip) => ip.into(),
        Protocol::Ip6(ip) => ip.to_ipv4_mapped().map_or(ip.into(), Into::into),
        _ => return None,
    };
    let Some(Protocol::Tcp(port)) = parts.next() else { return None };
    let is_direct = parts.all(|p| matches!(p, Protocol::P2p(_))) && !address.iter().any(|p| p == Protocol::P2pCircuit);
    is_direct.then_some(SocketAddr::new(ip, port))
}

impl Seeking {
    /// `None` where peers are not sought.
    pub(super) fn new(context: &Context, now: Instant) -> Option<Self> {
        let config = &context.shared.config;
        let discovery = config.discovery.clone().filter(|_| !config.offline)?;
        let kept = config.peers_file.as_deref().map_or_else(Kept::empty, Kept::read);
        Some(Self {
            discovery: Discovery::new(discovery, kept, now, wall()),
            next_ask: now + ASK_SOON,
            answer_until: now,
            answer_of: 0,
            // Soon for the first time: what is found then is worth most.
            next_save: now + SAVE / 10,
        })
    }
}

impl Actor {
    /// What is due of the search.
    pub(super) fn seek(&mut self, now: Instant) {
        let Some(seeking) = &mut self.seeking else { return };
        for id in seeking.discovery.overdue(now) {
            self.swarm.close_connection(id);
            seeking.discovery.ended(id);
        }
        let known = self.connections.values().filter_map(|c| socket_of(&c.address));
        let listening = self.connections.values().flat_map(|c| c.listens.iter().copied());
        let connected: HashSet<SocketAddr> = known.chain(listening).collect();
        let dial = seeking.discovery.due(&mut rand::rng(), &connected, now, wall());
        if let Some(dial) = dial {
            self.dial_found(dial, now);
        }
        self.ask_now_and_then(now);
        self.refresh_answer(now);
        self.save_now_and_then(now);
    }

    fn dial_found(&mut self, dial: Dial, now: Instant) {
        let address = Multiaddr::from(dial.address.ip()).with(Protocol::Tcp(dial.address.port()));
        let options = DialOpts::unknown_peer_id().address(address).allocate_new_port().build();
        let id = options.connection_id();
        self.context.shared.stats.dials.inc();
        if let Some(seeking) = &mut self.seeking {
            seeking.discovery.dialling(dial, id, now);
        }
        debug!(address = %dial.address, purpose = ?dial.purpose, "dialling a found address");
        if let Err(error) = self.swarm.dial(options) {
            self.on_failed_search(id, &error);
        }
    }

    /// A dial of the search failed; nothing to do if it was not one.
    pub(super) fn on_failed_search(&mut self, id: ConnectionId, error: &DialError) {
        let Some(seeking) = self.seeking.as_mut().filter(|s| s.discovery.purpose(id).is_some()) else { return };
        debug!(%error, "a found address does not answer");
        self.context.shared.stats.failed_dials.inc();
        match error {
            DialError::LocalPeerId { .. } => seeking.discovery.useless(id),
            _ => seeking.discovery.ended(id),
        }
    }

    /// What answers there is of no use.
    pub(super) fn on_useless(&mut self, id: ConnectionId) {
        if let Some(seeking) = &mut self.seeking {
            seeking.discovery.useless(id);
        }
    }

    /// A connection ended.
    pub(super) fn on_search_ended(&mut self, id: ConnectionId) {
        if let Some(seeking) = &mut self.seeking {
            seeking.discovery.ended(id);
        }
    }

    /// Whether a connection was made only to see whether somebody answers.
    pub(super) fn is_feeler(&self, id: ConnectionId) -> bool {
        self.seeking.as_ref().is_some_and(|s| s.discovery.purpose(id) == Some(Purpose::Feeler))
    }

    /// A node of this chain has answered a dial of ours: the address is good, and its peer may know others.
    pub(super) fn on_answered(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get(&id).filter(|c| c.outbound) else { return };
        let (peer, address) = (connection.peer, socket_of(&connection.address));
        let Some(seeking) = &mut self.seeking else { return };
        match seeking.discovery.purpose(id) {
            Some(_) => seeking.discovery.greeted(id, wall()),
            None => address.into_iter().for_each(|a| seeking.discovery.met(a, wall())),
        }
        if !self.is_feeler(id) {
            self.ask(peer);
        }
    }

    /// A peer has said where it listens. It counts once the peer is greeted; then it is worth dialling after it has gone.
    pub(super) fn on_identified(&mut self, id: ConnectionId, info: &identify::Info) {
        let Some(seeking) = &self.seeking else { return };
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let takes = |a: &SocketAddr| seeking.discovery.takes(a);
        connection.listens = info.listen_addrs.iter().filter_map(socket_of).filter(takes).take(OWN_ADDRESSES).collect();
        self.note_listens(id);
    }

    /// Takes what a greeted peer has said of itself.
    pub(super) fn note_listens(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get(&id).filter(|c| c.is_greeted()) else { return };
        let (Some(seeking), Some(source)) = (&mut self.seeking, socket_of(&connection.address)) else { return };
        seeking.discovery.heard(connection.listens.iter().copied(), source, wall());
    }

    /// A peer has answered a question for addresses.
    pub(super) fn on_addresses(&mut self, peer: PeerId, addresses: Vec<SocketAddr>) {
        let address = self.sessions.get(&peer).and_then(|s| socket_of(&s.peer.address));
        let (Some(seeking), Some(source)) = (&mut self.seeking, address) else { return };
        debug!(%peer, count = addresses.len(), "a peer has named addresses");
        seeking.discovery.heard(addresses, source, wall());
    }

    fn ask_now_and_then(&mut self, now: Instant) {
        let Some(seeking) = self.seeking.as_mut().filter(|s| now >= s.next_ask) else { return };
        seeking.next_ask = now + if seeking.discovery.is_satisfied() { ASK } else { ASK_SOON };
        if seeking.discovery.known().1 >= ENOUGH {
            return;
        }
        // Only peers that this node has chosen: who dials in could come often, and bring its own friends.
        let chosen = self.sessions.values().filter(|s| !s.peer.inbound).map(|s| s.peer.id);
        if let Some(peer) = rand::seq::IteratorRandom::choose(chosen, &mut rand::rng()) {
            self.ask(peer);
        }
    }

    fn ask(&mut self, peer: PeerId) {
        let shared = Arc::clone(&self.context.shared);
        self.tasks.spawn(async move {
            match sync::request_peers(Arc::clone(&shared), peer).await {
                Ok(addresses) => drop(shared.commands.send(Command::Addresses { peer, addresses }).await),
                Err(error) => debug!(%peer, %error, "asked for addresses in vain"),
            }
        });
    }

    /// Counts what is known, and renews what askers are told.
    fn refresh_answer(&mut self, now: Instant) {
        let Some(seeking) = &mut self.seeking else { return };
        let (named, answered) = seeking.discovery.known();
        let stats = &self.context.shared.stats;
        stats.known_named.store(named as u64, Relaxed);
        stats.known_answered.store(answered as u64, Relaxed);
        stats.sought_outbound.store(seeking.discovery.outbound() as u64, Relaxed);
        let known = named + answered;
        if now < seeking.answer_until && known <= seeking.answer_of + seeking.answer_of / 4 {
            return;
        }
        seeking.answer_of = known;
        seeking.answer_until = now + SAME_ANSWER;
        *self.context.shared.addresses.lock() = seeking.discovery.sample(&mut rand::rng(), wall());
    }

    fn save_now_and_then(&mut self, now: Instant) {
        let Some(seeking) = self.seeking.as_mut().filter(|s| now >= s.next_save) else { return };
        seeking.next_save = now + SAVE;
        let kept = seeking.discovery.kept();
        let shared = Arc::clone(&self.context.shared);
        self.context.shared.runtime.spawn_blocking(move || save(&shared.config.peers_file, &kept));
    }

    /// Writes down what outlives the restart.
    pub(super) fn save_peers(&self) {
        if let Some(seeking) = &self.seeking {
            save(&self.context.shared.config.peers_file, &seeking.discovery.kept());
        }
    }
}

fn save(path: &Option<std::path::PathBuf>, kept: &Kept) {
    let Some(path) = path else { return };
    if let Err(error) = kept.write(path) {
        warn!(path = %path.display(), %error, "cannot write the address book; after a restart peers are sought anew");
    }
}
