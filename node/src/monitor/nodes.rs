//! The nodes of the network, not only one's peers: each signs a record of itself every few seconds, peers pass records on,
//! and this directory keeps the newest of each.
//!
//! A record proves only that the owner of a node key said it; what it says (name, organisation, address) nobody has
//! verified, except the validator key, whose proof is in it. Strangers can make keys without end, so the directory is
//! bounded: validators stay, and of the others the ones unseen for longest go first.

use std::collections::BTreeMap;

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

/// One node as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeView {
    /// Its peer id.
    pub id: String,
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
    /// Its newest block, as it says.
    pub height: u64,
    /// Whether it has been seen lately, by this node or by one that told this node.
    pub on: bool,
    /// Milliseconds since it was last seen; none: never since this node started.
    pub last_seen_ms: Option<Millis>,
    /// Whether it is connected to this node.
    pub connected: bool,
    /// Whether it is this node.
    pub is_self: bool,
}

#[derive(Clone, Debug)]
struct Known {
    record: NodeRecord,
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
    nodes: Mutex<BTreeMap<PublicKey, Known>>,
}

impl Directory {
    /// An empty directory of this chain and this node key.
    #[must_use]
    pub fn new(genesis: B256, own: PublicKey) -> Self {
        Self { genesis, own, nodes: Mutex::default() }
    }

    /// Signs a new record of this node and keeps it.
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
        let record = NodeRecord {
            node_key: self.own,
            sequence: wall,
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
        self.nodes.lock().insert(self.own, Known { record, peer, seen: Some(mono), heard: mono });
    }

    /// What is known of whom, for a question to a peer.
    #[must_use]
    pub fn request(&self) -> StatusRequest {
        StatusRequest { known: self.nodes.lock().iter().map(|(key, k)| (*key, k.record.sequence)).collect() }
    }

    /// Takes a record in. False: its signature does not hold, which no honest node passes on.
    pub fn learn(
        &self,
        record: NodeRecord,
        is_validator: impl Fn(&PublicKey) -> bool,
        (mono, wall): (Millis, Millis),
    ) -> bool {
        let mut nodes = self.nodes.lock();
        let known = nodes.get(&record.node_key);
        if record.node_key == self.own || known.is_some_and(|k| k.record.sequence >= record.sequence) {
            return true;
        }
        let Some(peer) = peer_id_of(&record.node_key) else { return false };
        if !record.verify(self.genesis, &peer.to_bytes()) {
            return false;
        }
        let fresh = known.is_some() || record.sequence.abs_diff(wall) < FRESH_MS;
        let seen = if fresh { Some(mono) } else { None };
        nodes.insert(record.node_key, Known { record, peer, seen, heard: mono });
        nodes.retain(|key, k| *key == self.own || mono.saturating_sub(k.heard) < FORGET_MS);
        while nodes.len() > MAX_NODES {
            let rank = |(key, k): &(&PublicKey, &Known)| {
                let keep = **key == self.own || k.record.validator.is_some_and(|v| is_validator(&v.public_key));
                (keep, k.seen, **key)
            };
            let Some((key, _)) = nodes.iter().min_by_key(rank) else { break };
            let key = *key;
            nodes.remove(&key);
        }
        true
    }

    /// Notes that peers are connected: they are on, whatever their records say.
    pub fn connected(&self, peers: &[PeerId], mono: Millis) {
        for known in self.nodes.lock().values_mut().filter(|k| peers.contains(&k.peer)) {
            (known.seen, known.heard) = (Some(mono), mono);
        }
    }

    /// All nodes by name: `connected` says who is a peer, `validator` gives name and address of a validator key of the
    /// present set, and who was not seen for `down_after` is off.
    pub fn list(
        &self,
        mono: Millis,
        down_after: Millis,
        connected: &[PeerId],
        validator: impl Fn(&PublicKey) -> Option<(Option<String>, String)>,
    ) -> Vec<NodeView> {
        let nodes = self.nodes.lock();
        let mut views: Vec<NodeView> = nodes
            .iter()
            .map(|(key, k)| {
                let votes = k.record.validator.and_then(|v| validator(&v.public_key));
                let (name, address) = votes.map_or((None, None), |(name, address)| (name, Some(address)));
                let is_self = *key == self.own;
                let unseen = if is_self { Some(0) } else { k.seen.map(|at| mono.saturating_sub(at)) };
                NodeView {
                    id: k.peer.to_string(),
                    name: name.unwrap_or_else(|| printable(&k.record.name)),
                    organisation: printable(&k.record.organisation),
                    role: if address.is_some() { "validator" } else { "follower" },
                    validator: address,
                    address: printable(&k.record.address),
                    version: printable(&k.record.software),
                    height: k.record.height,
                    on: unseen.is_some_and(|ms| ms < down_after),
                    last_seen_ms: unseen,
                    connected: connected.contains(&k.peer),
                    is_self,
                }
            })
            .collect();
        views.sort_by(|a, b| (a.role != "validator", &a.name, &a.id).cmp(&(b.role != "validator", &b.name, &b.id)));
        views
    }
}

impl StatusSource for Directory {
    fn newer(&self, request: &StatusRequest) -> Vec<NodeRecord> {
        let known: BTreeMap<_, _> = request.known.iter().copied().collect();
        let mut room = MAX_STATUS_BYTES - FRAMING;
        let mut out = Vec::new();
        for (key, k) in &*self.nodes.lock() {
            if known.get(key).is_some_and(|sequence| *sequence >= k.record.sequence) {
                continue;
            }
            let Some(rest) = room.checked_sub(k.record.encode().len() + 8) else { break };
            room = rest;
            out.push(k.record.clone());
        }
        out
    }
}

/// What a stranger wrote, for logs and terminals.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
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
mod tests {
    use super::*;

    const GENESIS: B256 = B256::repeat_byte(1);

    fn key(n: u8) -> SecretKey {
        SecretKey::from_bytes(&[n; 32])
    }

    fn record(key: &SecretKey, sequence: Millis, name: &str) -> NodeRecord {
        let record = NodeRecord {
            node_key: key.public_key(),
            sequence,
            name: name.into(),
            organisation: "org\u{1b}[31m".into(),
            software: "basalt/1".into(),
            address: "/ip4/1.2.3.4/tcp/5".into(),
            height: 7,
            validator: None,
            signature: Signature([0; 64]),
        };
        record.sign(key, GENESIS)
    }

    fn directory() -> Directory {
        Directory::new(GENESIS, key(1).public_key())
    }

    fn nobody(_: &PublicKey) -> bool {
        false
    }

    fn names(d: &Directory, mono: Millis) -> Vec<(String, bool)> {
        d.list(mono, 30_000, &[], |_| None).into_iter().map(|v| (v.name, v.on)).collect()
    }

    #[test]
    fn records_travel_from_one_directory_to_another_and_age() {
        let (a, b) = (directory(), Directory::new(GENESIS, key(2).public_key()));
        a.announce(&key(1), None, &Myself { name: "a".into(), ..Myself::default() }, 3, (0, 1_000_000));
        assert!(a.learn(record(&key(3), 1_000_000, "c"), nobody, (0, 1_000_000)));
        for r in a.newer(&b.request()) {
            assert!(b.learn(r, nobody, (50, 1_000_000)));
        }
        assert_eq!(names(&b, 60), [("a".into(), true), ("c".into(), true)]);
        assert!(a.newer(&b.request()).is_empty(), "nothing is told twice");
        assert_eq!(names(&b, 40_000), [("a".into(), false), ("c".into(), false)]);
        let c = peer_id_of(&key(3).public_key()).expect("an id");
        b.connected(&[c], 40_000);
        assert_eq!(names(&b, 40_001), [("a".into(), false), ("c".into(), true)]);
        assert_eq!(b.list(40_001, 30_000, &[c], |_| None)[1].organisation, "org[31m", "no control characters");
    }

    #[test]
    fn forged_old_and_own_records_change_nothing() {
        let d = directory();
        let good = record(&key(3), 1_000_000, "c");
        let forged = NodeRecord { name: "x".into(), sequence: 2_000_000, ..good.clone() };
        assert!(d.learn(good, nobody, (0, 1_000_000)));
        assert!(!d.learn(forged, nobody, (0, 1_000_000)));
        assert!(d.learn(record(&key(3), 999_999, "older"), nobody, (0, 1_000_000)));
        assert!(d.learn(record(&key(1), 9_000_000, "me?"), nobody, (0, 1_000_000)));
        assert_eq!(names(&d, 0), [("c".into(), true)]);
        assert!(d.learn(record(&key(4), 1_000, "long gone"), nobody, (0, 1_000_000)));
        assert_eq!(names(&d, 0), [("c".into(), true), ("long gone".into(), false)]);
    }

    #[test]
    fn strangers_do_not_push_validators_out_and_what_is_never_heard_of_again_is_forgotten() {
        let d = directory();
        let validator = key(9);
        let node = key(8);
        let peer = peer_id_of(&node.public_key()).expect("an id");
        let proof = ValidatorProof::sign(&validator, GENESIS, &peer.to_bytes());
        let proven = NodeRecord { validator: Some(proof), ..record(&node, 1_000_000, "v") }.sign(&node, GENESIS);
        let is_validator = |k: &PublicKey| *k == validator.public_key();
        assert!(d.learn(proven, is_validator, (0, 1_000_000)));
        for n in 0..1_100u32 {
            let mut seed = [7; 32];
            seed[..4].copy_from_slice(&n.to_be_bytes());
            let stranger = SecretKey::from_bytes(&seed);
            assert!(d.learn(record(&stranger, 1_000_000, "s"), is_validator, (u64::from(n), 1_000_000)));
        }
        assert_eq!(d.request().known.len(), MAX_NODES);
        let named = |k: &PublicKey| is_validator(k).then(|| (Some("node8".to_owned()), "0x9".to_owned()));
        let views = d.list(0, 30_000, &[], named);
        assert_eq!((views[0].name.as_str(), views[0].role), ("node8", "validator"), "genesis' name, not its own");
        assert!(d.learn(record(&key(5), 1_000_000, "later"), nobody, (FORGET_MS + 2_000, 1_000_000)));
        assert_eq!(d.request().known.len(), 1);
    }

    #[test]
    fn the_clock_is_compared_by_the_median() {
        assert_eq!(clock_offset(vec![]), None);
        assert_eq!(clock_offset(vec![700]), Some(-700));
        assert_eq!(clock_offset(vec![3, i64::MIN, 2, i64::MAX, 1]), Some(-2));
        assert_eq!(clock_offset(vec![i64::MIN]), Some(i64::MAX));
    }
}
