//! Static peers: who is to be dialled, and when. Fast at first, because the nodes of a network start at about the same
//! time, then slower up to a cap. No I/O here: the network task resolves and dials.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use libp2p::{PeerId, swarm::ConnectionId};

use super::config::{MAX_STATIC_PEERS, PeerAddr};

/// A connection that lasted so long was a good one: the next dial is fast again.
const GOOD: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Resolving,
    Dialling(ConnectionId),
    /// The address is our own.
    Own,
    /// Taken off the list; its place is free.
    Removed,
}

#[derive(Debug)]
struct Entry {
    address: PeerAddr,
    /// The identity last met at this address.
    met: Option<PeerId>,
    state: State,
    failures: u32,
    next: Instant,
}

impl Entry {
    const fn new(address: PeerAddr, now: Instant) -> Self {
        Self { address, met: None, state: State::Idle, failures: 0, next: now }
    }

    fn peer(&self) -> Option<PeerId> {
        self.address.peer_id.or(self.met)
    }
}

#[derive(Debug)]
pub(super) struct Dialer {
    entries: Vec<Entry>,
    own: PeerId,
    first: Duration,
    cap: Duration,
}

impl Dialer {
    /// Entries with our own identity are left out.
    pub(super) fn new(peers: &[PeerAddr], own: PeerId, first: Duration, cap: Duration, now: Instant) -> Self {
        let entries = peers.iter().filter(|a| a.peer_id != Some(own)).map(|a| Entry::new(a.clone(), now)).collect();
        Self { entries, own, first, cap }
    }

    /// Adds an address, to be dialled at once; false when the list is full. One that is there is dialled now.
    pub(super) fn add(&mut self, address: PeerAddr, now: Instant) -> bool {
        if address.peer_id == Some(self.own) {
            return true;
        }
        let is_listed = |e: &&mut Entry| e.state != State::Removed && e.address == address;
        if let Some(entry) = self.entries.iter_mut().find(is_listed) {
            entry.next = entry.next.min(now);
        } else if let Some(free) = self.entries.iter_mut().find(|e| e.state == State::Removed) {
            *free = Entry::new(address, now);
        } else if self.entries.len() < MAX_STATIC_PEERS {
            self.entries.push(Entry::new(address, now));
        } else {
            return false;
        }
        true
    }

    /// Takes a peer off the list; false if it was not on it. What is under way for it comes to nothing.
    pub(super) fn remove(&mut self, peer: &PeerId) -> bool {
        let mut found = false;
        for entry in self.entries.iter_mut().filter(|e| e.state != State::Removed && e.peer() == Some(*peer)) {
            entry.state = State::Removed;
            found = true;
        }
        found
    }

    /// The identities that are known beforehand.
    pub(super) fn known(&self) -> Vec<PeerId> {
        self.entries.iter().filter_map(|e| e.address.peer_id).collect()
    }

    /// Entries to resolve and dial now. They count as under way until [`Self::failed`] or [`Self::connected`].
    pub(super) fn due(&mut self, now: Instant, is_connected: impl Fn(&PeerId) -> bool) -> Vec<(usize, PeerAddr)> {
        let mut due = Vec::new();
        for (i, e) in self.entries.iter_mut().enumerate() {
            if e.state == State::Idle && e.next <= now && !e.peer().is_some_and(|p| is_connected(&p)) {
                e.state = State::Resolving;
                due.push((i, e.address.clone()));
            }
        }
        due
    }

    /// Whether what was found out for an entry still matters.
    pub(super) fn is_resolving(&self, index: usize) -> bool {
        self.entries.get(index).is_some_and(|e| e.state == State::Resolving)
    }

    /// The address to try of those the name stands for: another one after each failure.
    pub(super) fn choose(&self, index: usize, mut resolved: Vec<SocketAddr>) -> Option<SocketAddr> {
        resolved.sort();
        let failures = self.entries.get(index)?.failures as usize;
        resolved.get(failures % resolved.len().max(1)).copied()
    }

    pub(super) fn dialling(&mut self, index: usize, connection: ConnectionId) {
        if let Some(e) = self.entries.get_mut(index).filter(|e| e.state == State::Resolving) {
            e.state = State::Dialling(connection);
        }
    }

    pub(super) fn index_of(&self, connection: ConnectionId) -> Option<usize> {
        self.entries.iter().position(|e| e.state == State::Dialling(connection))
    }

    /// The identity to insist on when dialling.
    pub(super) fn expects(&self, index: usize) -> Option<PeerId> {
        self.entries.get(index)?.address.peer_id
    }

    /// The address, for people.
    pub(super) fn describe(&self, index: usize) -> String {
        self.entries.get(index).map_or_else(String::new, |e| e.address.to_string())
    }

    /// A dial led to a connection (not yet greeted). The pause is set as if it failed, and made short again by
    /// [`Self::disconnected`] if the connection was a good one.
    pub(super) fn connected(&mut self, connection: ConnectionId, peer: PeerId, now: Instant) {
        let Some(i) = self.index_of(connection) else { return };
        self.entries[i].met = Some(peer);
        self.put_off(i, now);
    }

    /// A dial failed. Gives how often it has failed in a row, so that only the first is logged aloud.
    pub(super) fn failed(&mut self, index: usize, now: Instant) -> u32 {
        self.put_off(index, now);
        self.entries.get(index).map_or(0, |e| e.failures)
    }

    /// The address is our own: never dialled again.
    pub(super) fn is_own(&mut self, index: usize) {
        if let Some(e) = self.entries.get_mut(index) {
            e.state = State::Own;
        }
    }

    /// A greeted connection to the peer ended after it had lasted `lasted`.
    pub(super) fn disconnected(&mut self, peer: &PeerId, lasted: Duration, now: Instant) {
        for i in 0..self.entries.len() {
            if self.entries[i].peer() == Some(*peer) && self.entries[i].state == State::Idle {
                if lasted >= GOOD {
                    self.entries[i].failures = 0;
                }
                self.entries[i].next = now + self.pause(self.entries[i].failures);
            }
        }
    }

    /// The peer is not to be dialled for a while.
    pub(super) fn avoid(&mut self, peer: &PeerId, pause: Duration, now: Instant) {
        for e in self.entries.iter_mut().filter(|e| e.peer() == Some(*peer)) {
            e.next = e.next.max(now + pause);
        }
    }

    fn put_off(&mut self, index: usize, now: Instant) {
        let Some(failures) = self.entries.get(index).map(|e| e.failures) else { return };
        let next = now + self.pause(failures);
        let e = &mut self.entries[index];
        if e.state == State::Removed {
            return;
        }
        e.state = State::Idle;
        e.failures = failures.saturating_add(1);
        e.next = next;
    }

    /// The pause after so many failures, a quarter more or less so that nodes do not dial in step.
    fn pause(&self, failures: u32) -> Duration {
        let pause = self.first.saturating_mul(2u32.saturating_pow(failures)).min(self.cap);
        pause.mul_f64(rand::random_range(0.75..1.25))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(250);
    const CAP: Duration = Duration::from_secs(10);

    fn dialer(addresses: &[&str]) -> (Dialer, Instant) {
        let peers: Vec<PeerAddr> = addresses.iter().map(|a| a.parse().expect("address")).collect();
        let now = Instant::now();
        (Dialer::new(&peers, PeerId::random(), FIRST, CAP, now), now)
    }

    #[test]
    fn pauses_grow_to_the_cap_and_shrink_after_a_good_connection() {
        let (mut d, mut now) = dialer(&["localhost:1"]);
        let mut pauses = Vec::new();
        for _ in 0..10 {
            assert_eq!(d.due(now, |_| false).len(), 1);
            assert!(d.due(now, |_| false).is_empty(), "under way");
            d.failed(0, now);
            pauses.push(d.entries[0].next - now);
            now = d.entries[0].next;
        }
        assert!(pauses[0] <= FIRST.mul_f64(1.25) && pauses[1] <= FIRST.mul_f64(2.5));
        assert!(pauses.iter().all(|p| *p <= CAP.mul_f64(1.25)) && pauses[9] >= CAP.mul_f64(0.75));
        let (peer, connection) = (PeerId::random(), ConnectionId::new_unchecked(1));
        d.due(now, |_| false);
        d.dialling(0, connection);
        d.connected(connection, peer, now);
        let later = now + Duration::from_secs(60);
        assert!(d.due(later, |p| *p == peer).is_empty(), "no dial while connected");
        d.disconnected(&peer, Duration::from_secs(60), later);
        assert!(d.entries[0].next - later <= FIRST.mul_f64(1.25));
        assert_eq!(d.due(later + FIRST.mul_f64(1.25), |_| false).len(), 1);
    }

    #[test]
    fn a_connection_that_breaks_at_once_counts_as_a_failure() {
        let (mut d, now) = dialer(&["localhost:1"]);
        let peer = PeerId::random();
        for n in 0..8 {
            let connection = ConnectionId::new_unchecked(n);
            d.due(now + CAP * 2 * (n as u32 + 1), |_| false);
            d.dialling(0, connection);
            d.connected(connection, peer, now);
            d.disconnected(&peer, Duration::from_millis(10), now);
        }
        assert!(d.entries[0].next - now >= CAP.mul_f64(0.75));
    }

    #[test]
    fn peers_are_added_and_removed() {
        let (mut d, now) = dialer(&["localhost:1"]);
        let peer = PeerId::random();
        let address = PeerAddr::new("localhost", 2, Some(peer));
        assert!(d.add(address.clone(), now) && d.add(address.clone(), now));
        assert_eq!((d.entries.len(), d.due(now, |_| false).len()), (2, 2), "twice is once");
        assert!(!d.remove(&PeerId::random()) && d.remove(&peer) && !d.remove(&peer));
        assert!(!d.is_resolving(1) && d.is_resolving(0));
        d.dialling(1, ConnectionId::new_unchecked(7));
        d.failed(1, now);
        assert!(d.due(now + CAP * 2, |_| false).is_empty(), "what came of it is forgotten");
        assert!(d.add(PeerAddr::new("localhost", 3, None), now));
        assert_eq!(d.entries.len(), 2, "its place is used again");
        for port in 4..=u16::try_from(MAX_STATIC_PEERS).expect("small") + 1 {
            assert!(d.add(PeerAddr::new("localhost", port, None), now), "{port}");
        }
        assert!(!d.add(PeerAddr::new("localhost", 9_999, None), now), "full");
        assert_eq!(d.entries.len(), MAX_STATIC_PEERS);
    }

    #[test]
    fn names_with_several_addresses_are_tried_in_turn() {
        let (mut d, now) = dialer(&["a:1"]);
        let list: Vec<SocketAddr> = vec!["1.1.1.1:1".parse().expect("a"), "2.2.2.2:1".parse().expect("a")];
        let first = d.choose(0, list.clone());
        d.failed(0, now);
        assert_ne!(first, d.choose(0, list));
        assert_eq!(d.choose(0, Vec::new()), None);
    }
}
