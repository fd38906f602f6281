//! Counters for the monitor. They only ever rise, except those with a method of their own.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::shared::Offence;

/// A counter that only rises.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// The current value.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Messages and payload bytes of one protocol, both ways.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Messages received.
    pub messages_in: Counter,
    /// Payload bytes received.
    pub bytes_in: Counter,
    /// Messages sent.
    pub messages_out: Counter,
    /// Payload bytes sent.
    pub bytes_out: Counter,
}

impl Traffic {
    pub(super) fn received(&self, bytes: usize) {
        self.messages_in.inc();
        self.bytes_in.add(bytes as u64);
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.messages_out.inc();
        self.bytes_out.add(bytes as u64);
    }
}

/// Offences by kind.
#[derive(Debug, Default)]
pub struct Offences {
    garbage: Counter,
    invalid: Counter,
    flood: Counter,
    slow: Counter,
}

impl Offences {
    /// The counter of a kind.
    #[must_use]
    pub const fn of(&self, offence: Offence) -> &Counter {
        match offence {
            Offence::Garbage => &self.garbage,
            Offence::Invalid => &self.invalid,
            Offence::Flood => &self.flood,
            Offence::Slow => &self.slow,
        }
    }

    /// All, by their names.
    #[must_use]
    pub fn by_kind(&self) -> [(&'static str, u64); 4] {
        let Self { garbage, invalid, flood, slow } = self;
        [("garbage", garbage), ("invalid", invalid), ("flood", flood), ("slow", slow)].map(|(n, c)| (n, c.get()))
    }

    /// Of every kind.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.by_kind().iter().map(|(_, n)| n).sum()
    }
}

/// Everything the network counts.
#[derive(Debug, Default)]
pub struct NetworkStats {
    /// Consensus frames.
    pub consensus: Traffic,
    /// Transaction batches over gossip (payload as published and as first received; relaying is not counted).
    pub transactions: Traffic,
    /// Block requests and answers.
    pub sync: Traffic,
    /// Hello and head announcements.
    pub control: Traffic,
    /// Transactions in received batches.
    pub transactions_in: Counter,
    /// Transactions published.
    pub transactions_out: Counter,
    /// Consensus frames dropped because a peer's queue was full (the oldest go first).
    pub dropped_consensus_out: Counter,
    /// Consensus frames dropped because the driver's queue was full.
    pub dropped_consensus_in: Counter,
    /// Batches dropped because the queue of checks was full.
    pub dropped_batches_in: Counter,
    /// Consensus frames from peers that did not prove to be validators, or not of the present set.
    pub dropped_consensus_unproven: Counter,
    /// Transactions dropped because the queue to the network was full.
    pub dropped_transactions_out: Counter,
    /// Transactions dropped because the queue to the mempool was full.
    pub dropped_transactions_in: Counter,
    /// Batches ignored because a peer sent more than its rate, or before its Hello.
    pub dropped_batches_limited: Counter,
    /// Batches nobody could be sent: no peer, or every peer's queue full.
    pub unsent_batches: Counter,
    /// Peer events dropped because nobody read them.
    pub dropped_peer_events: Counter,
    /// Inbound streams refused (too many, or before Hello).
    pub refused_streams: Counter,
    /// Block requests refused for their rate.
    pub refused_requests: Counter,
    /// Connections refused by a limit or a ban.
    pub refused_connections: Counter,
    /// Connections of peers that the network's permissions do not admit, ended before any protocol spoke.
    pub refused_strangers: Counter,
    /// Connections closed because the peer's permission ended or changed.
    pub closed_members: Counter,
    /// Inbound connections that failed before they had an identity (garbage, scans, time-outs).
    pub failed_handshakes: Counter,
    /// Peers of another chain or of no common protocol version.
    pub refused_hellos: Counter,
    /// Breaches of the protocol.
    pub offences: Offences,
    /// Peers and addresses banned.
    pub bans: Counter,
    /// Dials tried.
    pub dials: Counter,
    /// Dials that failed.
    pub failed_dials: Counter,
    pub(super) peers: AtomicU64,
    pub(super) banned: AtomicU64,
    pub(super) known_named: AtomicU64,
    pub(super) known_answered: AtomicU64,
    pub(super) sought_outbound: AtomicU64,
}

impl NetworkStats {
    /// Peers connected and greeted now.
    #[must_use]
    pub fn peers(&self) -> u64 {
        self.peers.load(Relaxed)
    }

    /// Peers and addresses banned now.
    #[must_use]
    pub fn banned(&self) -> u64 {
        self.banned.load(Relaxed)
    }

    /// Addresses in the book that were only named, and that have answered.
    #[must_use]
    pub fn known_addresses(&self) -> (u64, u64) {
        (self.known_named.load(Relaxed), self.known_answered.load(Relaxed))
    }

    /// Greeted connections that the search has made.
    #[must_use]
    pub fn sought(&self) -> u64 {
        self.sought_outbound.load(Relaxed)
    }
}
