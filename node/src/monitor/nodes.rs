//! The nodes of the network, not only one's peers: each signs a record of itself every few seconds, peers pass records on,
//! and this directory keeps the newest of each.
//!
//! A record proves only that the owner of a node key said it; what it says (name, organisation, address) nobody has
//! verified, except the validator key, whose proof is in it. Strangers can make keys without end, so the directory is
//! bounded: validators stay, and of the others the ones unseen for longest go first. Checking signatures is dear, so of
//! one answer only so many new records are taken; both sides take turns, so that nobody's record is always the one left out.

use std::collections::{BTreeMap, BTreeSet};

use basalt_primitives::{B256, Millis, PublicKey, SecretKey, Signature};
use basalt_proto::{
    Codec as _,
    status::{MAX_NAME_BYTES, MAX_NODES, MAX_STATUS_BYTES, NodeRecord, StatusRequest},
    wire::{MAX_SOFTWARE_BYTES, ValidatorProof},
};
use parking_lot::Mutex;
use serde::Serialize;

use crate::network::{PeerId, StatusSource, peer_id_of};

/// A record this much older than our clock, of a node never heard of, says that there was a node, not that it is on.
const FRESH_MS: Millis = 120_000;
/// A node is forgotten when nothing was heard of it for this long.
const FORGET_MS: Millis = 24 * 60 * 60 * 1000;
/// Room that an answer keeps for its frame.
const FRAMING: usize = 64;
/// Most new records taken of one answer: some 30 ms of checking signatures.
pub const MAX_LEARNT: usize = 256;

/// One node as it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeView {
    /// Its peer id; none for a validator that nothing was heard of yet.
    pub id: Option<String>,
    /// Its name, as it says; for a validator of genesis, the name there.
    pub name: String,
    /// Who runs it, as it says: not verified.
    pub organisation: String,
    /// `validator` if it has proven a key of the present set, else `follower`.
    pub role: &'static str,
    /// Account address of its validator key.
    pub validator: Option<String>,
    /// Where it listens, as it says.
    pub address: String,
    /// Name and version of its software, as it says.
    pub version: String,
    /// Its newest block, as it says; none if nothing was heard of it yet.
    pub height: Option<u64>,
    /// Whether it has been seen lately, by this node or by one that told this node.
    pub on: bool,
    /// Milliseconds since it was last seen; none: never since this node started.
    pub last_seen_ms: Option<Millis>,
    /// Whether it is connected to this node.
    pub connected: bool,
    /// Whether it is this node.
    pub is_self: bool,
}

/// A validator of the present set.
#[derive(Clone, Debug)]
pub struct Voter {
    /// Its key.
    pub key: PublicKey,
    /// Its name of genesis.
    pub name: Option<String>,
    /// Account address of its key.
    pub address: String,
    /// Whether it is connected, or this node.
    pub connected: bool,
    /// Whether it is this node.
    pub is_self: bool,
}

impl Voter {
    /// How a validator is shown of which nothing was heard yet.
    fn unheard(&self) -> NodeView {
        NodeView {
            id: None,
            name: self.name.clone().unwrap_or_else(|| self.address.clone()),
            organisation: String::new(),
            role: VALIDATOR,
            validator: Some(self.address.clone()),
            address: String::new(),
            version: String::new(),
            height: None,
            on: self.connected,
            last_seen_ms: self.connected.then_some(0),
            connected: self.connected,
            is_self: self.is_self,
        }
    }
}

const VALIDATOR: &str = "validator";

#[derive(Clone, Debug)]
struct Known {
    record: NodeRecord,
    /// Bytes of it.
    size: usize,
    peer: PeerId,
    /// Monotonic; none: only heard of.
    seen: Option<Millis>,
    /// When it was last heard of.
    heard: Millis,
}

/// What this node says of itself.
#[derive(Clone, Debug, Default)]
pub struct Myself {
    /// Its name.
    pub name: String,
    /// Who runs it.
    pub organisation: String,
    /// Name and version of its software.
    pub software: String,
    /// Where it listens.
    pub address: String,
}

/// The directory.
#[derive(Debug)]
pub struct Directory {
    genesis: B256,
    own: PublicKey,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    nodes: BTreeMap<PublicKey, Known>,
    /// Largest sequence that this node has given a record of its own, in this life or before.
    own_sequence: Millis,
}

impl Directory {
    /// An empty directory of this chain and this node key.
    #[must_use]
    pub fn new(genesis: B256, own: PublicKey) -> Self {
        Self { genesis, own, state: Mutex::default() }
    }

    /// Signs a new record of this node and keeps it. Its sequence is above all that this node gave before, so that a clock
    /// that was ahead once does not make the others deaf to it.
    pub fn announce(
        &self,
        key: &SecretKey,
        validator: Option<ValidatorProof>,
        me: &Myself,
        height: u64,
        (mono, wall): (Millis, Millis),
    ) {
        let cut = |text: &str, max: usize| {
            let end = (0..=max.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
            text[..end].to_owned()
        };
        let mut state = self.state.lock();
        let record = NodeRecord {
            node_key: self.own,
            sequence: wall.max(state.own_sequence.saturating_add(1)),
            name: cut(&me.name, MAX_NAME_BYTES),
            organisation: cut(&me.organisation, MAX_NAME_BYTES),
            software: cut(&me.software, MAX_SOFTWARE_BYTES),
            address: cut(&me.address, basalt_proto::status::MAX_ADDRESS_BYTES),
            height,
            validator,
            signature: Signature([0; 64]),
        };
        let Some(peer) = peer_id_of(&self.own) else { return };
        let record = record.sign(key, self.genesis);
        state.own_sequence = record.sequence;
        let size = record.encode().len();
        state.nodes.insert(self.own, Known { record, size, peer, seen: Some(mono), heard: mono });
    }

    /// What is known of whom, for a question to a peer.
    #[must_use]
    pub fn request(&self) -> StatusRequest {
        StatusRequest { known: self.state.lock().nodes.iter().map(|(key, k)| (*key, k.record.sequence)).collect() }
    }

    /// Takes in what a peer passed on, at most [`MAX_LEARNT`] new records of it. False: a signature does not hold, which no
    /// honest node passes on. Checks signatures: not for a thread that must not wait.
    pub fn learn(
        &self,
        records: Vec<NodeRecord>,
        is_validator: impl Fn(&PublicKey) -> bool,
        times: (Millis, Millis),
    ) -> bool {
        let new = records.into_iter().filter(|r| self.is_new(r)).take(MAX_LEARNT);
        // The lock is not held while signatures are checked.
        for record in new {
            let Some(peer) = peer_id_of(&record.node_key) else { return false };
            if !record.verify(self.genesis, &peer.to_bytes()) {
                return false;
            }
            self.state.lock().keep(record, peer, self.own, &is_validator, times);
        }
        true
    }

    fn is_new(&self, record: &NodeRecord) -> bool {
        let state = self.state.lock();
        let known = state.nodes.get(&record.node_key).map(|k| k.record.sequence);
        known.is_none_or(|sequence| sequence < record.sequence)
    }

    /// Notes that peers are connected: they are on, whatever their records say.
    pub fn connected(&self, peers: &[PeerId], mono: Millis) {
        for known in self.state.lock().nodes.values_mut().filter(|k| peers.contains(&k.peer)) {
            (known.seen, known.heard) = (Some(mono), mono);
        }
    }

    /// All nodes, validators first, by name: `connected` says who is a peer, and who was not seen for `down_after` is off.
    pub fn list(&self, mono: Millis, down_after: Millis, connected: &[PeerId], voters: &[Voter]) -> Vec<NodeView> {
        let state = self.state.lock();
        let mut views: Vec<NodeView> = state
            .nodes
            .iter()
            .map(|(key, k)| {
                let voter = k.record.validator.and_then(|proof| voters.iter().find(|v| v.key == proof.public_key));
                let is_self = *key == self.own;
                let unseen = if is_self { Some(0) } else { k.seen.map(|at| mono.saturating_sub(at)) };
                NodeView {
                    id: Some(k.peer.to_string()),
                    name: voter.and_then(|v| v.name.clone()).unwrap_or_else(|| printable(&k.record.name)),
                    organisation: printable(&k.record.organisation),
                    role: if voter.is_some() { VALIDATOR } else { "follower" },
                    validator: voter.map(|v| v.address.clone()),
                    address: printable(&k.record.address),
                    version: printable(&k.record.software),
                    height: Some(k.record.height),
                    on: unseen.is_some_and(|ms| ms < down_after),
                    last_seen_ms: unseen,
                    connected: connected.contains(&k.peer),
                    is_self,
                }
            })
            .collect();
        let heard: BTreeSet<String> = views.iter().filter_map(|v| v.validator.clone()).collect();
        views.extend(voters.iter().filter(|v| !heard.contains(&v.address)).map(Voter::unheard));
        views.sort_by(|a, b| (a.role != VALIDATOR, &a.name, &a.id).cmp(&(b.role != VALIDATOR, &b.name, &b.id)));
        views
    }
}

impl State {
    /// Keeps a record whose signature holds, if it is still new.
    fn keep(
        &mut self,
        record: NodeRecord,
        peer: PeerId,
        own: PublicKey,
        is_validator: impl Fn(&PublicKey) -> bool,
        (mono, wall): (Millis, Millis),
    ) {
        if record.node_key == own {
            self.own_sequence = self.own_sequence.max(record.sequence);
            return;
        }
        let known = self.nodes.get(&record.node_key);
        if known.is_some_and(|k| k.record.sequence >= record.sequence) {
            return;
        }
        let fresh = known.is_some() || record.sequence.abs_diff(wall) < FRESH_MS;
        let (size, seen) = (record.encode().len(), fresh.then_some(mono));
        self.nodes.insert(record.node_key, Known { record, size, peer, seen, heard: mono });
        self.nodes.retain(|key, k| *key == own || mono.saturating_sub(k.heard) < FORGET_MS);
        while self.nodes.len() > MAX_NODES {
            let rank = |(key, k): &(&PublicKey, &Known)| {
                let keep = **key == own || k.record.validator.is_some_and(|v| is_validator(&v.public_key));
                (keep, k.seen, **key)
            };
            let Some((key, _)) = self.nodes.iter().min_by_key(rank) else { break };
            let key = *key;
            self.nodes.remove(&key);
        }
    }
}

impl StatusSource for Directory {
    fn newer(&self, request: &StatusRequest) -> Vec<NodeRecord> {
        let known: BTreeMap<_, _> = request.known.iter().copied().collect();
        let state = self.state.lock();
        let newer = state.nodes.iter().map(|(key, k)| (known.get(key).copied(), k));
        let newer = newer.filter(|(known, k)| known.is_none_or(|sequence| sequence < k.record.sequence));
        let (unknown, mut stale): (Vec<_>, Vec<_>) = newer.partition(|(known, _)| known.is_none());
        // In turns, the stalest first: an answer that cannot hold all leaves nobody out for ever.
        stale.sort_by_key(|(known, _)| *known);
        let mut room = MAX_STATUS_BYTES - FRAMING;
        let mut out = Vec::new();
        let (mut stale, mut unknown) = (stale.into_iter(), unknown.into_iter());
        loop {
            let turn = [stale.next(), unknown.next()];
            if turn.iter().all(Option::is_none) {
                return out;
            }
            for (_, k) in turn.into_iter().flatten() {
                let Some(rest) = room.checked_sub(k.size + 8) else { return out };
                room = rest;
                out.push(k.record.clone());
            }
        }
    }
}

/// What a stranger wrote, for logs and terminals: nothing that moves a cursor or turns the direction of writing.
pub(crate) fn printable(text: &str) -> String {
    let turns =
        |c| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    text.chars().filter(|c| !c.is_control() && !turns(*c)).collect()
}

/// This clock minus the peers', in milliseconds: the median, which a minority of liars cannot move beyond what honest
/// peers measured. None without a measurement.
#[must_use]
pub fn clock_offset(mut theirs: Vec<i64>) -> Option<i64> {
    theirs.sort_unstable();
    let middle = theirs.len().checked_sub(1)? / 2;
    Some(theirs[middle].saturating_neg())
}

#[cfg(test)]
mod tests;
