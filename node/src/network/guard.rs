//! Who may connect: limits on connections (in all, pending, per peer, per address) and bans that expire.
//!
//! Written here rather than composed from `libp2p-connection-limits`, which knows no addresses and (0.7) keeps an entry
//! for ever for every identity that once connected. Everything here is bounded by the limits themselves.

use std::{
    collections::HashMap,
    convert::Infallible,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    multiaddr::Protocol,
    swarm::{
        ConnectionClosed, ConnectionDenied, ConnectionId, DialFailure, FromSwarm, ListenFailure, NetworkBehaviour,
        THandler, THandlerInEvent, THandlerOutEvent, ToSwarm, behaviour::ConnectionEstablished, dummy,
    },
};
use tokio::sync::watch;

use super::{
    members::{MAX_GUIDES, Members, Standing},
    stats::NetworkStats,
};

/// Bans remembered at most, of peers and of addresses each.
const MAX_BANS: usize = 4096;
/// Connections per peer: two may exist for a moment when both dial at once.
const PER_PEER: usize = 2;
/// How long after its end a ban still makes the next one longer.
const BAN_MEMORY: Duration = Duration::from_secs(600);
/// A ban is doubled so many times at most.
const MAX_DOUBLINGS: u32 = 6;

/// The limits.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub(super) max_peers: usize,
    pub(super) max_per_ip: usize,
    pub(super) max_pending: usize,
}

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("not admitted to this network; its key must be on the list of nodes (`basalt permission node add`)")]
    NotAdmitted,
    #[error("banned for a while")]
    Banned,
    #[error("too many connections under way")]
    Pending,
    #[error("too many connections from its address")]
    PerAddress,
    #[error("connected already")]
    PerPeer,
    #[error("no room for further peers")]
    Full,
}

#[derive(Clone, Copy, Debug)]
struct Connection {
    inbound: bool,
    address: Option<IpAddr>,
    peer: Option<PeerId>,
}

#[derive(Clone, Copy, Debug)]
struct Ban {
    until: Instant,
    times: u32,
}

pub(super) struct Guard {
    limits: Limits,
    stats: Arc<NetworkStats>,
    /// Static peers find room even when all places are taken.
    reserved: Vec<PeerId>,
    connections: HashMap<ConnectionId, Connection>,
    banned_peers: HashMap<PeerId, Ban>,
    banned_addresses: HashMap<IpAddr, Ban>,
    /// On a permissioned network: who may connect.
    members: watch::Receiver<Option<Arc<Members>>>,
}

impl Guard {
    pub(super) fn new(
        limits: Limits,
        reserved: Vec<PeerId>,
        stats: Arc<NetworkStats>,
        members: watch::Receiver<Option<Arc<Members>>>,
    ) -> Self {
        Self {
            limits,
            stats,
            reserved,
            connections: HashMap::new(),
            banned_peers: HashMap::new(),
            banned_addresses: HashMap::new(),
            members,
        }
    }

    /// Keeps a place for a peer, as for those known at the start.
    pub(super) fn reserve(&mut self, peer: PeerId) {
        if !self.reserved.contains(&peer) {
            self.reserved.push(peer);
        }
    }

    /// Keeps no place for it any more.
    pub(super) fn release(&mut self, peer: &PeerId) {
        self.reserved.retain(|p| p != peer);
    }

    /// Bans a peer; the ban doubles each time. Static peers are not banned longer than `base`, because the network
    /// may need them. Gives the length of the ban.
    pub(super) fn ban_peer(&mut self, peer: PeerId, base: Duration, now: Instant) -> Duration {
        let doublings = if self.reserved.contains(&peer) { 0 } else { MAX_DOUBLINGS };
        let length = ban(&mut self.banned_peers, peer, base, doublings, now);
        self.count(now);
        length
    }

    /// Bans an address. Loopback never is: all nodes of a development network live there.
    pub(super) fn ban_address(&mut self, address: IpAddr, base: Duration, now: Instant) -> Option<Duration> {
        if address.is_loopback() {
            return None;
        }
        let length = ban(&mut self.banned_addresses, address, base, MAX_DOUBLINGS, now);
        self.count(now);
        Some(length)
    }

    /// Whether a peer may not connect now.
    pub(super) fn is_banned(&self, peer: &PeerId, now: Instant) -> bool {
        self.banned_peers.get(peer).is_some_and(|b| b.until > now)
    }

    /// Forgets bans that ended long ago.
    pub(super) fn tidy(&mut self, now: Instant) {
        self.banned_peers.retain(|_, b| b.until + BAN_MEMORY > now);
        self.banned_addresses.retain(|_, b| b.until + BAN_MEMORY > now);
        self.count(now);
    }

    fn count(&self, now: Instant) {
        let banned = self.banned_peers.values().chain(self.banned_addresses.values()).filter(|b| b.until > now);
        self.stats.banned.store(banned.count() as u64, Relaxed);
    }

    fn pending(&self, inbound: bool) -> usize {
        self.connections.values().filter(|c| c.inbound == inbound && c.peer.is_none()).count()
    }

    fn check_inbound_address(&self, address: Option<IpAddr>, now: Instant) -> Result<(), Refused> {
        let Some(ip) = address.filter(|ip| !ip.is_loopback()) else { return Ok(()) };
        if self.banned_addresses.get(&ip).is_some_and(|b| b.until > now) {
            return Err(Refused::Banned);
        }
        let same = self.connections.values().filter(|c| c.address == Some(ip)).count();
        if same >= self.limits.max_per_ip { Err(Refused::PerAddress) } else { Ok(()) }
    }

    /// What a peer is to this node; `None`: not let in. Only where nobody on the list is connected does this node ask others
    /// for the way: those its configuration names and it dials itself, and no more than a few.
    pub(super) fn standing(&self, peer: &PeerId, outbound: bool) -> Option<Standing> {
        let members = self.members.borrow();
        let standing = Standing::of(members.as_deref(), peer, outbound && self.reserved.contains(peer))?;
        if !standing.is_guide() {
            return Some(standing);
        }
        let peers = || self.connections.values().filter_map(|c| c.peer).filter(|p| p != peer);
        let is_member = |p: PeerId| members.as_ref().is_some_and(|m| m.get(&p).is_some());
        (!peers().any(is_member) && peers().count() < MAX_GUIDES).then_some(standing)
    }

    fn check_admitted(&self, peer: &PeerId, outbound: bool) -> Result<(), Refused> {
        if self.standing(peer, outbound).is_some() {
            return Ok(());
        }
        if !outbound {
            self.stats.refused_strangers.inc();
        }
        Err(Refused::NotAdmitted)
    }

    fn check_peer(&self, id: ConnectionId, peer: &PeerId, inbound: bool, now: Instant) -> Result<(), Refused> {
        if self.is_banned(peer, now) {
            return Err(Refused::Banned);
        }
        self.check_admitted(peer, !inbound)?;
        let others = || self.connections.iter().filter(move |(other, c)| **other != id && c.peer.is_some());
        if others().filter(|(_, c)| c.peer == Some(*peer)).count() >= PER_PEER {
            return Err(Refused::PerPeer);
        }
        if inbound && !self.reserved.contains(peer) && others().count() >= self.limits.max_peers {
            return Err(Refused::Full);
        }
        Ok(())
    }

    fn establish(&mut self, id: ConnectionId, peer: PeerId, inbound: bool) -> Result<(), ConnectionDenied> {
        self.check_peer(id, &peer, inbound, Instant::now()).map_err(|r| self.refuse(r))
    }

    fn refuse(&self, reason: Refused) -> ConnectionDenied {
        self.stats.refused_connections.inc();
        ConnectionDenied::new(reason)
    }
}

fn ban<K: Copy + Eq + Hash>(
    bans: &mut HashMap<K, Ban>,
    key: K,
    base: Duration,
    max_doublings: u32,
    now: Instant,
) -> Duration {
    if bans.len() >= MAX_BANS && !bans.contains_key(&key) {
        let soonest = bans.iter().min_by_key(|(_, b)| b.until).map(|(k, _)| *k);
        soonest.map(|k| bans.remove(&k));
    }
    let entry = bans.entry(key).or_insert(Ban { until: now, times: 0 });
    let length = base * 2u32.pow(entry.times.min(max_doublings));
    *entry = Ban { until: entry.until.max(now + length), times: entry.times.saturating_add(1) };
    length
}

/// The IP address a connection comes from; IPv6 by its /64, which one customer usually has whole.
pub(super) fn address_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(match ip.to_ipv4_mapped() {
            Some(v4) => v4.into(),
            None if ip.is_loopback() => ip.into(),
            None => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
        }),
        _ => None,
    }
}

impl NetworkBehaviour for Guard {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let address = address_of(remote);
        self.check_inbound_address(address, Instant::now()).map_err(|r| self.refuse(r))?;
        if self.pending(true) >= self.limits.max_pending {
            return Err(self.refuse(Refused::Pending));
        }
        self.connections.insert(id, Connection { inbound: true, address, peer: None });
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.establish(id, peer, true)?;
        Ok(dummy::ConnectionHandler)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        if peer.is_some_and(|p| self.is_banned(&p, Instant::now())) {
            return Err(self.refuse(Refused::Banned));
        }
        if let Some(peer) = peer {
            self.check_admitted(&peer, true).map_err(|r| self.refuse(r))?;
        }
        if self.pending(false) >= self.limits.max_pending {
            return Err(self.refuse(Refused::Pending));
        }
        let address = addresses.first().and_then(address_of);
        self.connections.insert(id, Connection { inbound: false, address, peer: None });
        Ok(Vec::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.establish(id, peer, false)?;
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished { connection_id, peer_id, .. }) => {
                if let Some(c) = self.connections.get_mut(&connection_id) {
                    c.peer = Some(peer_id);
                }
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. })
            | FromSwarm::DialFailure(DialFailure { connection_id, .. })
            | FromSwarm::ListenFailure(ListenFailure { connection_id, .. }) => {
                self.connections.remove(&connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(max_per_ip: usize, max_pending: usize, max_peers: usize) -> Guard {
        let limits = Limits { max_peers, max_per_ip, max_pending };
        Guard::new(limits, Vec::new(), Arc::default(), watch::channel(None).1)
    }

    fn id(n: usize) -> ConnectionId {
        ConnectionId::new_unchecked(n)
    }

    fn dial_in(g: &mut Guard, n: usize, from: &str) -> Result<(), Refused> {
        let local = "/ip4/10.0.0.1/tcp/1".parse().expect("address");
        g.handle_pending_inbound_connection(id(n), &local, &from.parse().expect("address"))
            .map_err(|e| *e.downcast_ref::<Refused>().expect("ours"))
    }

    #[test]
    fn one_address_gets_only_so_many_connections_and_loopback_is_exempt() {
        let mut g = guard(2, 100, 100);
        assert_eq!(dial_in(&mut g, 1, "/ip4/1.2.3.4/tcp/1"), Ok(()));
        assert_eq!(dial_in(&mut g, 2, "/ip4/1.2.3.4/tcp/2"), Ok(()));
        assert_eq!(dial_in(&mut g, 3, "/ip4/1.2.3.4/tcp/3"), Err(Refused::PerAddress));
        assert_eq!(dial_in(&mut g, 4, "/ip4/1.2.3.5/tcp/3"), Ok(()));
        assert_eq!(dial_in(&mut g, 5, "/ip6/2001:db8::1/tcp/3"), Ok(()));
        assert_eq!(dial_in(&mut g, 6, "/ip6/2001:db8::2/tcp/3"), Ok(()));
        assert_eq!(dial_in(&mut g, 7, "/ip6/2001:db8::3/tcp/3"), Err(Refused::PerAddress));
        for n in 10..20 {
            assert_eq!(dial_in(&mut g, n, "/ip4/127.0.0.1/tcp/3"), Ok(()));
        }
    }

    #[test]
    fn pending_connections_are_bounded() {
        let mut g = guard(100, 3, 100);
        for n in 0..3 {
            assert_eq!(dial_in(&mut g, n, "/ip4/127.0.0.1/tcp/3"), Ok(()));
        }
        assert_eq!(dial_in(&mut g, 9, "/ip4/127.0.0.1/tcp/3"), Err(Refused::Pending));
    }

    #[test]
    fn bans_expire_and_double() {
        let (mut g, now, peer) = (guard(8, 8, 8), Instant::now(), PeerId::random());
        let base = Duration::from_secs(10);
        assert_eq!(g.ban_peer(peer, base, now), base);
        assert!(g.is_banned(&peer, now + Duration::from_secs(9)));
        assert!(!g.is_banned(&peer, now + Duration::from_secs(11)));
        assert_eq!(g.ban_peer(peer, base, now + Duration::from_secs(11)), base * 2);
        assert!((0..20).map(|_| g.ban_peer(peer, base, now)).all(|length| length <= base * 64));
        g.tidy(now + base * 64 + BAN_MEMORY + base);
        assert!(g.banned_peers.is_empty());
        assert_eq!(g.ban_address(IpAddr::from([127, 0, 0, 1]), base, now), None);
        assert_eq!(g.ban_address(IpAddr::from([9, 9, 9, 9]), base, now), Some(base));
        assert_eq!(dial_in(&mut g, 1, "/ip4/9.9.9.9/tcp/3"), Err(Refused::Banned));
    }

    #[test]
    fn the_list_of_bans_is_bounded() {
        let (mut g, now) = (guard(8, 8, 8), Instant::now());
        for _ in 0..MAX_BANS + 50 {
            g.ban_peer(PeerId::random(), Duration::from_secs(10), now);
        }
        assert_eq!(g.banned_peers.len(), MAX_BANS);
    }
}
