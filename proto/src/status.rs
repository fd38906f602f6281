//! What nodes tell each other about themselves and the others: signed records that are passed on, and clocks.

use basalt_primitives::{B256, Millis, PublicKey, SecretKey, Signature, layout::Layout};

use crate::{
    DecodeError, codec,
    codec::{Convert, copy},
    pb,
    scan::Field,
    wire::{MAX_SOFTWARE_BYTES, ValidatorProof},
};

/// Longest name of a node or an organisation.
pub const MAX_NAME_BYTES: usize = 64;
/// Longest address.
pub const MAX_ADDRESS_BYTES: usize = 256;
/// Most nodes in a request or an answer.
pub const MAX_NODES: usize = 1024;
/// Longest record.
pub const MAX_RECORD_BYTES: usize = 1024;
/// Longest answer: what does not fit is asked for the next time.
pub const MAX_STATUS_BYTES: usize = 256 * 1024;

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRecord {
    /// Its identity among peers.
    pub node_key: PublicKey,
    /// When it said so, by its own clock: a larger one replaces a smaller one.
    pub sequence: Millis,
    /// Its name.
    pub name: String,
    /// Who runs it, as it says.
    pub organisation: String,
    /// Name and version of its software.
    pub software: String,
    /// Where it listens, as it says.
    pub address: String,
    /// Its newest block.
    pub height: u64,
    /// Shows that it holds a validator key.
    pub validator: Option<ValidatorProof>,
    /// By the node key, over everything above.
    pub signature: Signature,
}

impl NodeRecord {
    fn layout(&self, genesis: B256) -> Layout {
        let mut l = Layout::new("basalt/node-record/v1");
        l.fixed(&genesis.0).fixed(&self.node_key.0).u64(self.sequence);
        for text in [&self.name, &self.organisation, &self.software, &self.address] {
            l.bytes(text.as_bytes());
        }
        l.u64(self.height);
        match &self.validator {
            None => l.u8(0),
            Some(proof) => l.u8(1).fixed(&proof.public_key.0).fixed(&proof.signature.0),
        };
        l
    }

    /// Signs the record; its key becomes this one's.
    #[must_use]
    pub fn sign(mut self, key: &SecretKey, genesis: B256) -> Self {
        self.node_key = key.public_key();
        self.signature = key.sign(self.layout(genesis).as_slice());
        self
    }

    /// Whether the key's owner said this on this chain, and, given the peer id that follows from the key, whether it
    /// holds the validator key it names.
    #[must_use]
    pub fn verify(&self, genesis: B256, peer_id: &[u8]) -> bool {
        self.node_key.verify(self.layout(genesis).as_slice(), &self.signature)
            && self.validator.is_none_or(|proof| proof.verify(genesis, peer_id))
    }
}

/// Asks for what is newer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatusRequest {
    /// Nodes and the sequence of the newest record known of each.
    pub known: Vec<(PublicKey, Millis)>,
}

/// The peer's clock, and records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusResponse {
    /// When the request was read, by the peer's clock.
    pub received_at_ms: Millis,
    /// When the answer was written, by the peer's clock.
    pub sent_at_ms: Millis,
    /// Records newer than those named in the request.
    pub records: Vec<NodeRecord>,
}

const RECORD_FIELDS: &[Field] = &[
    Field::bytes(1, "node key", 1, 32),
    Field::bytes(3, "node name", 1, MAX_NAME_BYTES),
    Field::bytes(4, "organisation", 1, MAX_NAME_BYTES),
    Field::bytes(5, "software version", 1, MAX_SOFTWARE_BYTES),
    Field::bytes(6, "node address", 1, MAX_ADDRESS_BYTES),
    Field::bytes(8, "validator proof", 1, 256),
    Field::bytes(9, "record signature", 1, 64),
];

impl Convert for NodeRecord {
    type Pb = pb::NodeRecord;
    const NAME: &'static str = "node record";
    const MAX: usize = MAX_RECORD_BYTES;
    const FIELDS: &'static [Field] = RECORD_FIELDS;

    fn to_pb(&self) -> pb::NodeRecord {
        pb::NodeRecord {
            node_key: copy(&self.node_key.0),
            sequence: self.sequence,
            name: self.name.clone(),
            organisation: self.organisation.clone(),
            software: self.software.clone(),
            address: self.address.clone(),
            height: self.height,
            validator: self.validator.map(ValidatorProof::to_pb),
            signature: copy(&self.signature.0),
        }
    }

    fn from_pb(r: pb::NodeRecord) -> Result<Self, DecodeError> {
        Ok(Self {
            node_key: PublicKey(codec::array("node key", &r.node_key)?),
            sequence: r.sequence,
            name: r.name,
            organisation: r.organisation,
            software: r.software,
            address: r.address,
            height: r.height,
            validator: r.validator.map(ValidatorProof::from_pb).transpose()?,
            signature: Signature(codec::array("record signature", &r.signature)?),
        })
    }
}

impl Convert for StatusRequest {
    type Pb = pb::StatusRequest;
    const NAME: &'static str = "status request";
    const MAX: usize = 64 * 1024;
    const FIELDS: &'static [Field] =
        &[Field::message(1, "known nodes", MAX_NODES, &[Field::bytes(1, "node key", 1, 32)])];

    fn to_pb(&self) -> pb::StatusRequest {
        let known =
            |(key, sequence): &(PublicKey, Millis)| pb::KnownNode { node_key: copy(&key.0), sequence: *sequence };
        pb::StatusRequest { known: self.known.iter().map(known).collect() }
    }

    fn from_pb(r: pb::StatusRequest) -> Result<Self, DecodeError> {
        let known = |k: pb::KnownNode| Ok((PublicKey(codec::array("node key", &k.node_key)?), k.sequence));
        Ok(Self { known: r.known.into_iter().map(known).collect::<Result<_, DecodeError>>()? })
    }
}

impl Convert for StatusResponse {
    type Pb = pb::StatusResponse;
    const NAME: &'static str = "status response";
    const MAX: usize = MAX_STATUS_BYTES;
    const FIELDS: &'static [Field] = &[Field::message(3, "node records", MAX_NODES, RECORD_FIELDS)];

    fn to_pb(&self) -> pb::StatusResponse {
        pb::StatusResponse {
            received_at_ms: self.received_at_ms,
            sent_at_ms: self.sent_at_ms,
            records: self.records.iter().map(Convert::to_pb).collect(),
        }
    }

    fn from_pb(r: pb::StatusResponse) -> Result<Self, DecodeError> {
        Ok(Self {
            received_at_ms: r.received_at_ms,
            sent_at_ms: r.sent_at_ms,
            records: r.records.into_iter().map(NodeRecord::from_pb).collect::<Result<_, _>>()?,
        })
    }
}
