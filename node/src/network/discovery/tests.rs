//! The book's bounds, the search's rules, and an eclipse attack on a model of the network.

use std::{
    collections::{HashMap, HashSet},
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use libp2p::swarm::ConnectionId;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::{book::Book, *};

const WALL: u64 = 1_700_000_000;
const DAY: u64 = 24 * 3600;

fn at(ip: [u8; 4]) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::from(ip), 30303))
}

/// A public address in a subnet of its own.
fn honest(n: u8) -> SocketAddr {
    at([20 + n / 200, n % 200, n, 1])
}

fn search(outbound: usize) -> (Discovery, Instant) {
    let now = Instant::now();
    let config = DiscoveryConfig { outbound, ..DiscoveryConfig::default() };
    (Discovery::new(config, Kept { secret: [7; 32], known: Vec::new(), anchors: Vec::new() }, now, WALL), now)
}

#[test]
fn whoever_owns_few_subnets_fills_few_places_however_often_they_speak() {
    let mut book = Book::new([1; 32]);
    for n in 0..100 {
        assert!(book.heard(honest(n), Subnet::of(honest(n)), WALL), "{n}");
    }
    for i in 0..=u16::MAX {
        let [a, b] = i.to_be_bytes();
        for subnet in [[66, 1], [66, 2]] {
            let source = Subnet::of(at([66, subnet[1], b, a]));
            book.heard(at([subnet[0], subnet[1], a, b]), source, WALL);
        }
    }
    let theirs = book.all().iter().filter(|k| k.address.to_string().starts_with("66.")).count();
    assert!(theirs <= 4 * 32, "{theirs}: one bucket for each pair of named and naming subnet");
    assert!(book.len().0 - theirs >= 90, "the others are still there: {:?}", book.len());
}

#[test]
fn one_peer_cannot_fill_the_book_with_addresses_of_others() {
    let mut book = Book::new([1; 32]);
    let mut rng = StdRng::seed_from_u64(1);
    for _ in 0..100_000 {
        book.heard(at(rng.random()), Subnet::of(at([66, 1, 1, 1])), WALL);
    }
    assert!(book.len().0 <= 16 * 32, "{:?}", book.len());
}

#[test]
fn what_answers_stays_and_what_never_does_gives_way() {
    let mut book = Book::new([2; 32]);
    let address = honest(1);
    assert!(book.heard(address, Subnet::of(address), WALL));
    assert_eq!((book.succeeded(address, WALL), book.len()), (None, (0, 1)));
    for _ in 0..9 {
        book.attempted(address, WALL + 8 * DAY);
    }
    let again = Book::restore([2; 32], book.all(), WALL + 8 * DAY);
    assert_eq!(again.len(), (0, 1), "a node that was away for a week is still known");
    book.attempted(address, WALL + 8 * DAY);
    assert_eq!(Book::restore([2; 32], book.all(), WALL + 8 * DAY).len(), (0, 0), "ten failures later it is not");
    let silent = honest(2);
    book.heard(silent, Subnet::of(silent), WALL);
    (0..3).for_each(|_| book.attempted(silent, WALL));
    let mut rng = StdRng::seed_from_u64(1);
    assert!(!book.sample(&mut rng, WALL, 64).contains(&silent), "others are not told of it");
    assert_eq!(Book::restore([2; 32], book.all(), WALL + 31 * DAY).len(), (0, 0), "nobody has named them for a month");
}

#[test]
fn a_place_that_two_answer_for_is_kept_until_its_holder_fails() {
    let mut book = Book::new([3; 32]);
    // Addresses of one subnet share four buckets: two of them meet before long.
    let mut meeting = None;
    for n in 0..=255 {
        let address = at([30, 1, n, 1]);
        book.heard(address, Subnet::of(honest(n)), WALL);
        if let Some(holder) = book.succeeded(address, WALL) {
            meeting = Some((address, holder));
            break;
        }
    }
    let (newcomer, holder) = meeting.expect("two addresses have the same place");
    assert_eq!(book.succeeded(newcomer, WALL), Some(holder), "still its place");
    book.demote(holder);
    assert_eq!(book.succeeded(newcomer, WALL), None, "now the newcomer's");
}

#[test]
fn a_written_book_is_read_as_it_was_and_a_damaged_one_put_aside() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("peers.json");
    let (mut d, _) = search(8);
    d.heard((0..50).map(honest), honest(60), WALL);
    d.met(honest(70), WALL);
    let kept = d.kept();
    kept.write(&path).expect("written");
    assert_eq!(Kept::read(&path), kept);
    let text = std::fs::read_to_string(&path).expect("text");
    for damaged in [&text[..text.len() / 2], "", "[]", &text.replace("\"version\":1", "\"version\":9")] {
        std::fs::write(&path, damaged).expect("written");
        assert!(Kept::read(&path).known.is_empty());
        assert!(!path.exists() && path.with_extension("json.bad").exists(), "put aside");
    }
    assert!(Kept::read(&path).known.is_empty(), "none is no error");
}

#[test]
fn private_addresses_are_taken_only_where_that_is_meant() {
    let private: Vec<SocketAddr> = ["10.0.0.1:1", "127.0.0.1:1", "[fd00::1]:1", "192.168.0.1:1"]
        .into_iter()
        .map(|a| a.parse().expect("an address"))
        .collect();
    let (mut d, now) = search(8);
    d.heard(private.clone(), honest(1), WALL);
    assert_eq!(d.known(), (0, 0));
    let config = DiscoveryConfig { private_addresses: true, ..DiscoveryConfig::default() };
    let mut d = Discovery::new(config, d.kept(), now, WALL);
    d.heard(private, honest(1), WALL);
    d.heard(["0.0.0.0:1".parse().expect("a"), "10.0.0.9:0".parse().expect("a")], honest(1), WALL);
    assert_eq!(d.known().0, 4, "nothing that cannot be dialled");
}

/// A network of nodes that answer or not, and a clock.
struct World {
    honest: HashSet<SocketAddr>,
    hostile: Vec<SocketAddr>,
    rng: StdRng,
    next_id: usize,
}

impl World {
    /// Lets the search run for so long; whoever is dialled answers if it exists, and names others: honest nodes some honest
    /// ones, hostile ones only their own. Hostile ones also dial in and name themselves all the time.
    fn run(&mut self, d: &mut Discovery, start: Instant, wall: u64, seconds: u64) {
        for tick in 0..seconds * 5 {
            let (now, wall) = (start + Duration::from_millis(tick * 200), wall + tick / 5);
            let friend = self.hostile[self.rng.random_range(0..self.hostile.len())];
            d.heard([friend], friend, wall);
            for id in d.overdue(now) {
                d.ended(id);
            }
            let Some(dial) = d.due(&mut self.rng, &HashSet::new(), now, wall) else { continue };
            self.next_id += 1;
            let id = ConnectionId::new_unchecked(self.next_id);
            d.dialling(dial, id, now);
            self.answer(d, dial, id, wall);
        }
    }

    fn answer(&mut self, d: &mut Discovery, dial: Dial, id: ConnectionId, wall: u64) {
        let is_honest = self.honest.contains(&dial.address);
        if !is_honest && !self.hostile.contains(&dial.address) {
            return d.ended(id);
        }
        d.greeted(id, wall);
        let mut named = Vec::new();
        for _ in 0..MAX_ANSWER {
            let count = if is_honest { self.honest.len() } else { self.hostile.len() };
            let n = self.rng.random_range(0..count);
            named.push(if is_honest { honest(u8::try_from(n).expect("few")) } else { self.hostile[n] });
        }
        d.heard(named, dial.address, wall);
        if dial.purpose == Purpose::Feeler {
            d.ended(id);
        }
    }
}

fn outbound(d: &Discovery) -> HashMap<bool, usize> {
    let mut of = HashMap::new();
    for link in d.links.values().filter(|l| l.greeted && l.dial.purpose == Purpose::Stay) {
        *of.entry(link.dial.address.to_string().starts_with("66.")).or_default() += 1;
    }
    of
}

/// The attack that issue and paper describe: thousands of addresses in two subnets, restart after restart.
#[test]
fn five_thousand_addresses_of_two_subnets_do_not_surround_a_node_over_twenty_restarts() {
    for seed in 0..5u64 {
        let mut world = World {
            honest: (0..60).map(honest).collect(),
            hostile: (0..5_000u16).map(|n| at([66, (n % 2) as u8, (n >> 8) as u8, n as u8])).collect(),
            rng: StdRng::seed_from_u64(seed),
            next_id: 0,
        };
        let (mut d, start) = search(8);
        // It knows one bootnode, and the attacker speaks first and most.
        d.met(honest(0), WALL);
        let mut secret = [0; 32];
        world.rng.fill(&mut secret);
        let mut kept = Kept { secret, ..d.kept() };
        for restart in 0..20u64 {
            let (start, wall) = (start + Duration::from_secs(restart * 1_000), WALL + restart * 1_000);
            let mut d = Discovery::new(DiscoveryConfig::default(), kept, start, wall);
            for address in world.hostile.clone() {
                d.heard([address], address, wall);
            }
            world.run(&mut d, start, wall, 300);
            let of = outbound(&d);
            let good = of.get(&false).copied().unwrap_or(0);
            assert!(good >= 4, "seed {seed}, restart {restart}: {of:?} (true: the attacker's)");
            assert!(of.get(&true).copied().unwrap_or(0) <= 2, "one of each subnet at most: {of:?}");
            kept = d.kept();
            assert!(kept.anchors.iter().filter(|a| !a.to_string().starts_with("66.")).count() >= 2, "{kept:?}");
        }
    }
}

#[test]
fn subnets_are_not_doubled_feelers_come_and_go_and_what_fails_waits() {
    let (mut d, now) = search(4);
    d.heard((0..=255).map(|n| at([40, 1, n, 1])), honest(1), WALL);
    let mut rng = StdRng::seed_from_u64(1);
    let none = HashSet::new();
    let first = d.due(&mut rng, &none, now, WALL).expect("one of them");
    d.dialling(first, ConnectionId::new_unchecked(1), now);
    let later = now + Duration::from_secs(1);
    assert_eq!(d.due(&mut rng, &none, later, WALL), None, "the subnet has its connection");
    d.ended(ConnectionId::new_unchecked(1));
    assert!(d.due(&mut rng, &none, later, WALL).is_some_and(|dial| dial != first), "hardly the same again");
    let minute = now + Duration::from_secs(61);
    d.dialling(first, ConnectionId::new_unchecked(2), minute);
    let feeler = d.due(&mut rng, &none, minute, WALL).expect("a feeler");
    assert_eq!(feeler.purpose, Purpose::Feeler);
    d.dialling(feeler, ConnectionId::new_unchecked(3), minute);
    assert!(d.overdue(minute).is_empty());
    assert_eq!(d.overdue(minute + Duration::from_secs(16)), [ConnectionId::new_unchecked(3)]);
    d.useless(ConnectionId::new_unchecked(3));
    assert!(d.kept().known.iter().all(|k| k.address != feeler.address), "not a node: forgotten");
}
