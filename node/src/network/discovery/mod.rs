//! Finding peers on a public network: whom to dial so that no single party comes to stand around this node.
//!
//! In: addresses that peers name, and what became of dials. Out: whom to dial next. A fixed number of outbound connections,
//! at most a few of one subnet, to addresses drawn from the [book](book); from time to time a *feeler*, which only looks
//! whether a node answers; after a restart first the *anchors*, outbound peers of before, because an attacker who has filled
//! the book waits for a restart. No I/O here: the network task dials, `file` keeps the book over restarts.

mod book;
mod file;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    net::SocketAddr,
    time::{Duration, Instant},
};

use libp2p::swarm::ConnectionId;
use rand::Rng;

use self::book::{Book, Seconds};
pub(super) use self::file::Kept;
use crate::ip::{Subnet, is_public};

/// Dials begin no faster than this.
const PACE: Duration = Duration::from_millis(200);
/// A feeler so often.
const FEELER: Duration = Duration::from_secs(60);
/// A feeler's connection is closed when this is over, greeted or not.
const FEELER_PATIENCE: Duration = Duration::from_secs(15);
/// Outbound peers remembered over a restart.
const ANCHORS: usize = 4;
/// Addresses that wait to be looked at because another wants their place.
const MAX_DOUBTFUL: usize = 16;
/// Ended connections remembered.
const MAX_GONE: usize = 16;
/// Addresses taken of one peer in answer to one question.
pub(super) const MAX_ANSWER: usize = 64;

/// How peers are sought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveryConfig {
    /// Connections that this node makes itself, beside static peers.
    pub outbound: usize,
    /// How many of them may lead to one subnet (/16 of IPv4, /32 of IPv6).
    pub per_subnet: usize,
    /// Whether loopback and private addresses are taken: for networks inside one.
    pub private_addresses: bool,
}

impl Default for DiscoveryConfig {
    fn default() -> Self {
        Self { outbound: 8, per_subnet: 1, private_addresses: false }
    }
}

/// Why an address is dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To stay.
    Stay,
    /// To see whether a node answers there.
    Feeler,
}

/// Somebody to dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dial {
    pub(super) address: SocketAddr,
    pub(super) purpose: Purpose,
}

/// A dial of ours and the connection it led to.
#[derive(Clone, Copy, Debug)]
struct Link {
    dial: Dial,
    since: Instant,
    greeted: bool,
}

/// The search.
pub(super) struct Discovery {
    config: DiscoveryConfig,
    secret: [u8; 32],
    book: Book,
    links: HashMap<ConnectionId, Link>,
    /// The last that ended: what answered there may be judged after it has closed.
    gone: VecDeque<(ConnectionId, SocketAddr)>,
    anchors: VecDeque<SocketAddr>,
    doubtful: VecDeque<SocketAddr>,
    next_dial: Instant,
    next_feeler: Instant,
}

impl Discovery {
    pub(super) fn new(config: DiscoveryConfig, kept: Kept, now: Instant, wall: Seconds) -> Self {
        let takes = |address: &SocketAddr| config.private_addresses || is_public(address.ip());
        let known = kept.known.into_iter().filter(|k| takes(&k.address)).collect();
        Self {
            secret: kept.secret,
            book: Book::restore(kept.secret, known, wall),
            links: HashMap::new(),
            gone: VecDeque::new(),
            anchors: kept.anchors.into_iter().filter(takes).take(ANCHORS).collect(),
            doubtful: VecDeque::new(),
            next_dial: now,
            next_feeler: now + FEELER,
            config,
        }
    }

    /// What is to be kept over a restart.
    pub(super) fn kept(&self) -> Kept {
        let mut staying: Vec<&Link> =
            self.links.values().filter(|l| l.greeted && l.dial.purpose == Purpose::Stay).collect();
        staying.sort_by_key(|l| l.since);
        let anchors = staying.iter().map(|l| l.dial.address).take(ANCHORS).collect();
        Kept { secret: self.secret, known: self.book.all(), anchors }
    }

    /// Addresses that were only named, addresses that answered.
    pub(super) fn known(&self) -> (usize, usize) {
        self.book.len()
    }

    /// Greeted connections that were made to stay.
    pub(super) fn outbound(&self) -> usize {
        self.staying().filter(|l| l.greeted).count()
    }

    /// Whether all the connections that are wanted are made or under way.
    pub(super) fn is_satisfied(&self) -> bool {
        self.staying().count() >= self.config.outbound
    }

    fn staying(&self) -> impl Iterator<Item = &Link> {
        self.links.values().filter(|l| l.dial.purpose == Purpose::Stay)
    }

    /// Whether an address is one that this node would dial.
    pub(super) fn takes(&self, address: &SocketAddr) -> bool {
        let ip = address.ip();
        address.port() != 0
            && !ip.is_unspecified()
            && !ip.is_multicast()
            && (self.config.private_addresses || is_public(ip))
    }

    /// A peer has named addresses. Only so many are taken at once.
    pub(super) fn heard(&mut self, addresses: impl IntoIterator<Item = SocketAddr>, source: SocketAddr, wall: Seconds) {
        let source = Subnet::of(source);
        for address in addresses.into_iter().take(MAX_ANSWER) {
            if self.takes(&address) {
                self.book.heard(address, source, wall);
            }
        }
    }

    /// A static peer, or a bootnode, answered: it belongs in the book too.
    pub(super) fn met(&mut self, address: SocketAddr, wall: Seconds) {
        if self.takes(&address) {
            self.book.heard(address, Subnet::of(address), wall);
            self.doubt(address, wall);
        }
    }

    /// Addresses to tell others.
    pub(super) fn sample(&self, rng: &mut impl Rng, wall: Seconds) -> Vec<SocketAddr> {
        self.book.sample(rng, wall, MAX_ANSWER)
    }

    /// Whom to dial now, if anybody; `connected` are addresses of peers that this node is connected to anyhow. [`Self::dialling`] follows.
    pub(super) fn due(
        &mut self,
        rng: &mut impl Rng,
        connected: &HashSet<SocketAddr>,
        now: Instant,
        wall: Seconds,
    ) -> Option<Dial> {
        if now < self.next_dial {
            return None;
        }
        let dial = self.wanted(rng, connected, now, wall)?;
        self.next_dial = now + PACE;
        self.book.attempted(dial.address, wall);
        Some(dial)
    }

    fn wanted(
        &mut self,
        rng: &mut impl Rng,
        connected: &HashSet<SocketAddr>,
        now: Instant,
        wall: Seconds,
    ) -> Option<Dial> {
        let busy: HashSet<SocketAddr> = self.links.values().map(|l| l.dial.address).collect();
        let mut subnets: HashMap<Subnet, usize> = HashMap::new();
        for link in self.staying() {
            *subnets.entry(Subnet::of(link.dial.address)).or_default() += 1;
        }
        let is_free = |a: &SocketAddr| !busy.contains(a) && !connected.contains(a);
        let has_room = |a: &SocketAddr| subnets.get(&Subnet::of(*a)).copied().unwrap_or(0) < self.config.per_subnet;
        if self.staying().count() < self.config.outbound {
            while let Some(address) = self.anchors.pop_front() {
                if is_free(&address) && has_room(&address) {
                    return Some(Dial { address, purpose: Purpose::Stay });
                }
            }
            let found = self.book.pick(rng, wall, |a| is_free(a) && has_room(a));
            if let Some(address) = found {
                return Some(Dial { address, purpose: Purpose::Stay });
            }
        }
        if now < self.next_feeler {
            return None;
        }
        self.next_feeler = now + FEELER;
        let doubtful = std::mem::take(&mut self.doubtful).into_iter().filter(|a| is_free(a)).collect::<VecDeque<_>>();
        self.doubtful = doubtful;
        let address = self.doubtful.front().copied().or_else(|| self.book.pick_new(rng, wall, is_free))?;
        Some(Dial { address, purpose: Purpose::Feeler })
    }

    /// A dial has begun.
    pub(super) fn dialling(&mut self, dial: Dial, id: ConnectionId, now: Instant) {
        self.links.insert(id, Link { dial, since: now, greeted: false });
    }

    /// Why a connection was made, if it was made here.
    pub(super) fn purpose(&self, id: ConnectionId) -> Option<Purpose> {
        self.links.get(&id).map(|l| l.dial.purpose)
    }

    /// A node of this chain answered.
    pub(super) fn greeted(&mut self, id: ConnectionId, wall: Seconds) {
        if let Some(link) = self.links.get_mut(&id) {
            link.greeted = true;
            let address = link.dial.address;
            self.doubt(address, wall);
        }
    }

    /// Notes that it answered, and who is to be looked at because it has the place.
    fn doubt(&mut self, answered: SocketAddr, wall: Seconds) {
        self.doubtful.retain(|a| *a != answered);
        if let Some(holder) = self.book.succeeded(answered, wall)
            && self.doubtful.len() < MAX_DOUBTFUL
            && !self.doubtful.contains(&holder)
        {
            self.doubtful.push_back(holder);
        }
    }

    /// The dial failed, or the connection ended.
    pub(super) fn ended(&mut self, id: ConnectionId) {
        let Some(link) = self.links.remove(&id) else { return };
        self.gone.truncate(MAX_GONE - 1);
        self.gone.push_front((id, link.dial.address));
        if !link.greeted && self.doubtful.front() == Some(&link.dial.address) {
            self.doubtful.pop_front();
            self.book.demote(link.dial.address);
        }
    }

    /// What answered is no node of this chain, breaks its protocol, or is ourselves: its place is better used.
    pub(super) fn useless(&mut self, id: ConnectionId) {
        let link = self.links.remove(&id).map(|l| l.dial.address);
        let address = link.or_else(|| self.gone.iter().find(|(gone, _)| *gone == id).map(|(_, address)| *address));
        if let Some(address) = address {
            self.doubtful.retain(|a| *a != address);
            self.book.forget(address);
        }
    }

    /// Feelers whose time is over.
    pub(super) fn overdue(&self, now: Instant) -> Vec<ConnectionId> {
        let over = |l: &Link| l.dial.purpose == Purpose::Feeler && now - l.since > FEELER_PATIENCE;
        self.links.iter().filter(|(_, l)| over(l)).map(|(id, _)| *id).collect()
    }
}
