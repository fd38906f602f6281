//! The engine knows peers by number: these are given out here, to as many as a node can have, and again when a peer has long
//! been silent.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use libp2p::PeerId;
use parking_lot::Mutex;

/// Most numbers given out at once: more than a node has peers.
const MOST: usize = 8_192;

/// Numbers of peers. Cheap to clone; all clones give the same.
#[derive(Clone, Debug, Default)]
pub struct PeerNumbers(Arc<Mutex<Numbers>>);

#[derive(Debug, Default)]
struct Numbers {
    by_peer: HashMap<PeerId, u16>,
    by_number: HashMap<u16, PeerId>,
    /// In the order in which they were given out.
    order: VecDeque<u16>,
    next: u16,
}

impl PeerNumbers {
    /// The number of a peer, the same as before if it still has one. The oldest is taken back where there are too many.
    #[must_use]
    pub fn of(&self, peer: &PeerId) -> u16 {
        let mut n = self.0.lock();
        if let Some(known) = n.by_peer.get(peer) {
            return *known;
        }
        if n.order.len() >= MOST
            && let Some(oldest) = n.order.pop_front()
            && let Some(gone) = n.by_number.remove(&oldest)
        {
            n.by_peer.remove(&gone);
        }
        let number = n.next;
        n.next = n.next.wrapping_add(1);
        n.by_peer.insert(*peer, number);
        n.by_number.insert(number, *peer);
        n.order.push_back(number);
        number
    }

    /// The peer of a number.
    #[must_use]
    pub fn peer(&self, number: u16) -> Option<PeerId> {
        self.0.lock().by_number.get(&number).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_last_until_there_are_too_many() {
        let numbers = PeerNumbers::default();
        let peers: Vec<PeerId> = (0..MOST + 2).map(|_| PeerId::random()).collect();
        let given: Vec<u16> = peers.iter().map(|p| numbers.of(p)).collect();
        assert_eq!(numbers.of(&peers[MOST]), given[MOST], "known");
        assert_eq!(numbers.peer(given[MOST + 1]), Some(peers[MOST + 1]));
        assert_eq!(numbers.peer(given[0]), None, "the oldest went");
        assert_ne!(numbers.of(&peers[0]), given[0], "and gets another");
        for _ in 0..10 {
            (0..MOST).for_each(|_| assert!(numbers.peer(numbers.of(&PeerId::random())).is_some()));
        }
        assert_eq!(numbers.0.lock().by_number.len(), MOST);
    }
}
