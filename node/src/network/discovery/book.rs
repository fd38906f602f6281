//! The address book: where other nodes are said to be, and where they were found.
//!
//! After Bitcoin Core's `addrman` (Heilman, Kendler, Zohar, Goldberg, "Eclipse Attacks on Bitcoin's Peer-to-Peer Network",
//! USENIX Security 2015, and the countermeasures that followed it). Two tables, one of addresses that somebody named, one of
//! addresses that answered. An address has one place in each, drawn with this node's secret from its subnet and from the
//! subnet that named it, so that whoever owns few subnets can fill few buckets however many addresses and identities they
//! have, and cannot tell which. Pure: no clock, no I/O, chance from outside.

use std::{collections::HashMap, net::SocketAddr};

use rand::{Rng, RngExt as _, seq::SliceRandom as _};
use ring::digest;
use serde::{Deserialize, Serialize};

use crate::ip::Subnet;

/// Seconds since 1970.
pub(super) type Seconds = u64;

/// Places in a bucket.
const SLOTS: usize = 32;
const NEW_BUCKETS: usize = 256;
const TRIED_BUCKETS: usize = 64;
/// Buckets that one naming subnet can reach.
const NEW_PER_SOURCE: u64 = 16;
/// Buckets that the addresses of one subnet can reach.
const TRIED_PER_SUBNET: u64 = 4;

const DAY: Seconds = 24 * 3600;
/// Nobody has named it for so long: gone.
const FORGOTTEN: Seconds = 30 * DAY;
/// What has never answered gets so many attempts.
const ATTEMPTS_UNSEEN: u32 = 3;
/// What has answered gets so many, and at least [`GRACE`] since.
const ATTEMPTS_SEEN: u32 = 10;
const GRACE: Seconds = 7 * DAY;
/// An address tried so recently is hardly tried again.
const RECENT: Seconds = 600;
/// So many can be told at once: there is nothing to hide in a small network.
const FEW: usize = 16;
/// Clocks may differ by so much.
const SKEW: Seconds = 600;

/// What is known of an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Known {
    pub(super) address: SocketAddr,
    /// Whose word it was.
    pub(super) source: Subnet,
    /// When it was last named.
    pub(super) heard: Seconds,
    /// When it last answered as a node of this chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) succeeded: Option<Seconds>,
    /// When it was last dialled; 0: never.
    pub(super) attempted: Seconds,
    /// Attempts since it last answered.
    pub(super) attempts: u32,
    /// Whether it stands in the table of those that answered.
    pub(super) tried: bool,
}

impl Known {
    /// Whether its place is better given to another.
    const fn is_hopeless(&self, now: Seconds) -> bool {
        let unanswered = match self.succeeded {
            None => self.attempts >= ATTEMPTS_UNSEEN,
            Some(at) => self.attempts >= ATTEMPTS_SEEN && at + GRACE < now,
        };
        self.heard > now + SKEW || self.heard + FORGOTTEN < now || unanswered
    }

    /// How likely a draw is to be kept: each failure makes it less so.
    fn chance(&self, now: Seconds) -> f64 {
        let recent = self.attempted > 0 && self.attempted + RECENT > now;
        (if recent { 0.01 } else { 1.0 }) * 0.66f64.powi(i32::try_from(self.attempts.min(8)).unwrap_or(8))
    }
}

/// Places by bucket; each holds an address that [`Book::known`] has too.
#[derive(Clone, Debug)]
struct Table(Vec<Option<SocketAddr>>);

impl Table {
    fn new(buckets: usize) -> Self {
        Self(vec![None; buckets * SLOTS])
    }

    fn len(&self) -> usize {
        self.0.iter().flatten().count()
    }
}

/// The book.
#[derive(Clone, Debug)]
pub(super) struct Book {
    secret: [u8; 32],
    known: HashMap<SocketAddr, Known>,
    new: Table,
    tried: Table,
}

impl Book {
    /// An empty one. The secret must be random and stay the same for as long as what is in the book.
    pub(super) fn new(secret: [u8; 32]) -> Self {
        Self { secret, known: HashMap::new(), new: Table::new(NEW_BUCKETS), tried: Table::new(TRIED_BUCKETS) }
    }

    /// Puts back what was written down; what finds no place is dropped.
    pub(super) fn restore(secret: [u8; 32], all: Vec<Known>, now: Seconds) -> Self {
        let mut book = Self::new(secret);
        for mut known in all {
            if known.is_hopeless(now) || book.known.contains_key(&known.address) {
                continue;
            }
            known.tried &= book.tried.0[book.tried_place(known.address)].is_none();
            let place = if known.tried { book.tried_place(known.address) } else { book.new_place(&known) };
            let table = if known.tried { &mut book.tried } else { &mut book.new };
            if table.0[place].is_none() {
                table.0[place] = Some(known.address);
                book.known.insert(known.address, known);
            }
        }
        book
    }

    /// Everything, to be written down.
    pub(super) fn all(&self) -> Vec<Known> {
        let mut all: Vec<_> = self.known.values().cloned().collect();
        all.sort_by_key(|k| k.address);
        all
    }

    /// Addresses that were only named, and that answered.
    pub(super) fn len(&self) -> (usize, usize) {
        (self.new.len(), self.tried.len())
    }

    /// Somebody has named an address. Whether there was a place for it.
    pub(super) fn heard(&mut self, address: SocketAddr, source: Subnet, now: Seconds) -> bool {
        if let Some(known) = self.known.get_mut(&address) {
            known.heard = known.heard.max(now);
            return true;
        }
        let known = Known { address, source, heard: now, succeeded: None, attempted: 0, attempts: 0, tried: false };
        let place = self.new_place(&known);
        if let Some(holder) = self.new.0[place] {
            if !self.known.get(&holder).is_none_or(|k| k.is_hopeless(now)) {
                return false;
            }
            self.known.remove(&holder);
        }
        self.new.0[place] = Some(address);
        self.known.insert(address, known);
        true
    }

    /// It is being dialled.
    pub(super) fn attempted(&mut self, address: SocketAddr, now: Seconds) {
        if let Some(known) = self.known.get_mut(&address) {
            known.attempted = now;
            known.attempts = known.attempts.saturating_add(1);
        }
    }

    /// A node of this chain answered there. Gives the address that holds its place among those that did, when that is
    /// taken: if that one does not answer any more, it should [yield](Self::demote).
    pub(super) fn succeeded(&mut self, address: SocketAddr, now: Seconds) -> Option<SocketAddr> {
        let place = self.tried_place(address);
        let known = self.known.get_mut(&address)?;
        (known.succeeded, known.heard, known.attempts) = (Some(now), known.heard.max(now), 0);
        if known.tried {
            return None;
        }
        if let Some(holder) = self.tried.0[place] {
            if !self.known.get(&holder).is_none_or(|k| k.is_hopeless(now)) {
                return Some(holder);
            }
            self.demote(holder);
        }
        self.leave(address);
        self.tried.0[place] = Some(address);
        if let Some(known) = self.known.get_mut(&address) {
            known.tried = true;
        }
        None
    }

    /// It does not answer any more: back among those that were only named, if there is a place.
    pub(super) fn demote(&mut self, address: SocketAddr) {
        self.leave(address);
        let Some(known) = self.known.get_mut(&address) else { return };
        known.tried = false;
        let known = known.clone();
        let place = self.new_place(&known);
        match self.new.0[place] {
            None => self.new.0[place] = Some(address),
            Some(_) => drop(self.known.remove(&address)),
        }
    }

    /// What is there is no node of this chain, or ourselves.
    pub(super) fn forget(&mut self, address: SocketAddr) {
        self.leave(address);
        self.known.remove(&address);
    }

    fn leave(&mut self, address: SocketAddr) {
        let Some(known) = self.known.get(&address) else { return };
        let place = if known.tried { self.tried_place(address) } else { self.new_place(known) };
        let table = if known.tried { &mut self.tried } else { &mut self.new };
        if table.0[place] == Some(address) {
            table.0[place] = None;
        }
    }

    /// Draws an address to dial, from either table alike. Buckets are drawn, not addresses: full ones count no more.
    pub(super) fn pick(
        &self,
        rng: &mut impl Rng,
        now: Seconds,
        wanted: impl Fn(&SocketAddr) -> bool,
    ) -> Option<SocketAddr> {
        let first_tried = rng.random_bool(0.5);
        let (first, second) = if first_tried { (&self.tried, &self.new) } else { (&self.new, &self.tried) };
        self.pick_in(first, rng, now, &wanted).or_else(|| self.pick_in(second, rng, now, &wanted))
    }

    /// Draws one that has not answered yet, to see whether it does.
    pub(super) fn pick_new(
        &self,
        rng: &mut impl Rng,
        now: Seconds,
        wanted: impl Fn(&SocketAddr) -> bool,
    ) -> Option<SocketAddr> {
        self.pick_in(&self.new, rng, now, &wanted)
    }

    fn pick_in(
        &self,
        table: &Table,
        rng: &mut impl Rng,
        now: Seconds,
        wanted: &impl Fn(&SocketAddr) -> bool,
    ) -> Option<SocketAddr> {
        let mut buckets: Vec<&[Option<SocketAddr>]> = table.0.chunks(SLOTS).collect();
        buckets.shuffle(rng);
        let (mut leniency, mut last) = (1.0, None);
        for bucket in buckets {
            let fit: Vec<&Known> =
                bucket.iter().flatten().filter(|a| wanted(a)).filter_map(|a| self.known.get(a)).collect();
            let Some(drawn) = fit.get(rng.random_range(0..fit.len().max(1))) else { continue };
            if rng.random_bool((drawn.chance(now) * leniency).min(1.0)) {
                return Some(drawn.address);
            }
            leniency *= 1.2;
            last = Some(drawn.address);
        }
        last
    }

    /// Some addresses to tell others, at most `most`: a quarter of all, or all of few.
    pub(super) fn sample(&self, rng: &mut impl Rng, now: Seconds, most: usize) -> Vec<SocketAddr> {
        let mut good: Vec<_> = self.known.values().filter(|k| !k.is_hopeless(now)).map(|k| k.address).collect();
        good.sort_unstable();
        let count = good.len().div_ceil(4).max(good.len().min(FEW)).min(most);
        good.partial_shuffle(rng, count).0.to_vec()
    }

    /// SHA-256 over this node's secret, what is drawn for, and from what, as a number.
    fn draw(&self, what: &str, from: &[&str]) -> u64 {
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(&self.secret);
        hash.update(what.as_bytes());
        for part in from {
            // Parts have no zero bytes.
            hash.update(&[0]);
            hash.update(part.as_bytes());
        }
        let digest = hash.finish();
        digest.as_ref().iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte))
    }

    fn new_place(&self, known: &Known) -> usize {
        let (subnet, source) = (format!("{:?}", Subnet::of(known.address)), format!("{:?}", known.source));
        let share = self.draw("new share", &[&subnet, &source]) % NEW_PER_SOURCE;
        let bucket = self.draw("new bucket", &[&source, &share.to_string()]);
        place(bucket, NEW_BUCKETS, self.draw("new slot", &[&known.address.to_string()]))
    }

    fn tried_place(&self, address: SocketAddr) -> usize {
        let address_text = address.to_string();
        let share = self.draw("tried share", &[&address_text]) % TRIED_PER_SUBNET;
        let bucket = self.draw("tried bucket", &[&format!("{:?}", Subnet::of(address)), &share.to_string()]);
        place(bucket, TRIED_BUCKETS, self.draw("tried slot", &[&address_text]))
    }
}

/// The index of a slot; both draws may be any number.
fn place(bucket: u64, buckets: usize, slot: u64) -> usize {
    let below = |number: u64, limit: usize| usize::try_from(number % limit as u64).unwrap_or(0);
    below(bucket, buckets) * SLOTS + below(slot, SLOTS)
}
