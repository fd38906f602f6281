//! The messages of the network protocols and their checked decoding (ADR 0007). Consensus messages and blocks are
//! opaque here; what they mean is checked by those who understand them.

use basalt_primitives::{B256, Bytes, PublicKey, Signature};
use libp2p::{PeerId, StreamProtocol};
use prost::Message as _;

use super::identity::ValidatorProof;

/// Oldest wire protocol version this node speaks.
pub(super) const PROTOCOL_MIN: u32 = 1;
/// Newest wire protocol version this node speaks.
pub(super) const PROTOCOL_MAX: u32 = 1;

/// Largest Hello, head announcement or request.
pub(super) const MAX_CONTROL_FRAME: usize = 4096;
/// Longest software name that is kept.
pub(super) const MAX_SOFTWARE: usize = 64;
/// Blocks asked for or answered at once.
pub(super) const MAX_BLOCKS: usize = 1024;
/// Transactions in a batch.
pub(super) const MAX_BATCH: usize = 4096;

/// The protocols of one chain. All but Hello carry the chain in their name, so nothing of another chain is ever
/// negotiated; Hello does not, so that two chains that meet can say why they part.
#[derive(Clone, Debug)]
pub(super) struct Protocols {
    pub(super) hello: StreamProtocol,
    pub(super) head: StreamProtocol,
    pub(super) consensus: StreamProtocol,
    pub(super) blocks_by_range: StreamProtocol,
    pub(super) block_by_hash: StreamProtocol,
    pub(super) gossip_prefix: String,
    pub(super) topic: String,
}

impl Protocols {
    pub(super) fn new(genesis: &B256) -> Self {
        let chain: String = genesis.0[..8].iter().map(|b| format!("{b:02x}")).collect();
        let name = |what: &str| {
            StreamProtocol::try_from_owned(format!("/basalt/{chain}/{what}/1")).expect("begins with a slash")
        };
        Self {
            hello: StreamProtocol::new("/basalt/hello/1"),
            head: name("head"),
            consensus: name("consensus"),
            blocks_by_range: name("blocks-by-range"),
            block_by_hash: name("block-by-hash"),
            gossip_prefix: format!("/basalt/{chain}/gossip"),
            topic: format!("/basalt/{chain}/transactions/1"),
        }
    }

    pub(super) fn inbound(&self) -> Vec<StreamProtocol> {
        [&self.hello, &self.head, &self.consensus, &self.blocks_by_range, &self.block_by_hash]
            .into_iter()
            .cloned()
            .collect()
    }
}

/// A message that does not decode or is out of bounds: an offence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed {what}: {problem}")]
pub(super) struct Malformed {
    what: &'static str,
    problem: String,
}

fn malformed(what: &'static str, problem: impl ToString) -> Malformed {
    Malformed { what, problem: problem.to_string() }
}

/// What two nodes tell each other first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) protocol_min: u32,
    pub(super) protocol_max: u32,
    pub(super) genesis: B256,
    pub(super) head: (u64, B256),
    pub(super) software: String,
    pub(super) proof: Option<ValidatorProof>,
}

/// Why a well-formed Hello does not lead to a connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum HelloRefused {
    #[error(
        "it belongs to another chain: its genesis block is {theirs}, ours {ours}; check that both use the same genesis.json"
    )]
    OtherChain { theirs: B256, ours: B256 },
    #[error(
        "no common protocol version: it speaks {their_min} to {their_max}, we {PROTOCOL_MIN} to {PROTOCOL_MAX}; \
         update the older node"
    )]
    NoCommonVersion { their_min: u32, their_max: u32 },
    #[error("its validator proof is not valid for its identity")]
    BadProof,
}

impl Hello {
    pub(super) fn encode(&self) -> Vec<u8> {
        pb::Hello {
            protocol_min: self.protocol_min,
            protocol_max: self.protocol_max,
            genesis_hash: self.genesis.to_vec(),
            head_height: self.head.0,
            head_hash: self.head.1.to_vec(),
            software: self.software.clone(),
            validator: self
                .proof
                .map(|p| pb::ValidatorProof { public_key: p.public_key.0.to_vec(), signature: p.signature.0.to_vec() }),
        }
        .encode_to_vec()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let m = pb::Hello::decode(bytes).map_err(|e| malformed("Hello", e))?;
        if m.protocol_min == 0 || m.protocol_min > m.protocol_max {
            return Err(malformed("Hello", "impossible protocol versions"));
        }
        let proof = m
            .validator
            .map(|v| {
                Ok(ValidatorProof {
                    public_key: PublicKey(fixed("Hello", &v.public_key)?),
                    signature: Signature(fixed("Hello", &v.signature)?),
                })
            })
            .transpose()?;
        Ok(Self {
            protocol_min: m.protocol_min,
            protocol_max: m.protocol_max,
            genesis: B256::new(fixed("Hello", &m.genesis_hash)?),
            head: (m.head_height, B256::new(fixed("Hello", &m.head_hash)?)),
            software: printable(&m.software, MAX_SOFTWARE),
            proof,
        })
    }

    /// Checks a peer's Hello against our chain and its identity; gives the protocol version to speak.
    pub(super) fn accept(&self, genesis: &B256, peer: &PeerId) -> Result<u32, HelloRefused> {
        if self.genesis != *genesis {
            return Err(HelloRefused::OtherChain { theirs: self.genesis, ours: *genesis });
        }
        let version = self.protocol_max.min(PROTOCOL_MAX);
        if version < self.protocol_min.max(PROTOCOL_MIN) {
            let (their_min, their_max) = (self.protocol_min, self.protocol_max);
            return Err(HelloRefused::NoCommonVersion { their_min, their_max });
        }
        if self.proof.is_some_and(|p| !p.verify(genesis, peer)) {
            return Err(HelloRefused::BadProof);
        }
        Ok(version)
    }
}

/// Keeps what may go into a log or a terminal.
pub(super) fn printable(text: &str, max: usize) -> String {
    text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(max).collect()
}

fn fixed<const N: usize>(what: &'static str, bytes: &[u8]) -> Result<[u8; N], Malformed> {
    bytes.try_into().map_err(|_| malformed(what, format_args!("{} bytes where {N} belong", bytes.len())))
}

pub(super) fn encode_head(height: u64, hash: &B256) -> Vec<u8> {
    pb::HeadAnnounce { height, hash: hash.to_vec() }.encode_to_vec()
}

pub(super) fn decode_head(bytes: &[u8]) -> Result<(u64, B256), Malformed> {
    let m = pb::HeadAnnounce::decode(bytes).map_err(|e| malformed("head announcement", e))?;
    Ok((m.height, B256::new(fixed("head announcement", &m.hash)?)))
}

pub(super) fn encode_range_request(from: u64, count: usize) -> Vec<u8> {
    pb::BlockRangeRequest { from, count: u32::try_from(count.min(MAX_BLOCKS)).unwrap_or(u32::MAX) }.encode_to_vec()
}

/// The height to begin at and how many blocks, at most [`MAX_BLOCKS`].
pub(super) fn decode_range_request(bytes: &[u8]) -> Result<(u64, usize), Malformed> {
    let m = pb::BlockRangeRequest::decode(bytes).map_err(|e| malformed("block request", e))?;
    if m.count == 0 {
        return Err(malformed("block request", "asks for nothing"));
    }
    Ok((m.from, (m.count as usize).min(MAX_BLOCKS)))
}

pub(super) fn encode_blocks(blocks: Vec<Bytes>) -> Vec<u8> {
    pb::BlocksResponse { blocks: blocks.into_iter().map(|b| b.0).collect() }.encode_to_vec()
}

/// An answer to a range request of `max` blocks.
pub(super) fn decode_blocks(bytes: bytes::Bytes, max: usize) -> Result<Vec<Bytes>, Malformed> {
    let m = pb::BlocksResponse::decode(bytes).map_err(|e| malformed("blocks", e))?;
    if m.blocks.len() > max {
        return Err(malformed("blocks", format_args!("{} where {max} were asked for", m.blocks.len())));
    }
    if m.blocks.iter().any(bytes::Bytes::is_empty) {
        return Err(malformed("blocks", "an empty block"));
    }
    // Copied, so that one kept block does not keep the whole answer in memory.
    Ok(m.blocks.iter().map(|b| Bytes::copy_from_slice(b)).collect())
}

pub(super) fn encode_hash_request(hash: &B256, height: u64) -> Vec<u8> {
    pb::BlockByHashRequest { hash: hash.to_vec(), height }.encode_to_vec()
}

pub(super) fn decode_hash_request(bytes: &[u8]) -> Result<(B256, u64), Malformed> {
    let m = pb::BlockByHashRequest::decode(bytes).map_err(|e| malformed("block request", e))?;
    Ok((B256::new(fixed("block request", &m.hash)?), m.height))
}

pub(super) fn encode_block(block: Option<Bytes>) -> Vec<u8> {
    pb::BlockByHashResponse { block: block.map(|b| b.0) }.encode_to_vec()
}

pub(super) fn decode_block(bytes: bytes::Bytes) -> Result<Option<Bytes>, Malformed> {
    let m = pb::BlockByHashResponse::decode(bytes).map_err(|e| malformed("block", e))?;
    Ok(m.block.map(Bytes))
}

pub(super) fn encode_batch(transactions: Vec<Bytes>) -> Vec<u8> {
    pb::TxBatch { transactions: transactions.into_iter().map(|t| t.0).collect() }.encode_to_vec()
}

/// The transactions of a batch: one to [`MAX_BATCH`], none empty, none longer than `max_bytes`.
pub(super) fn decode_batch(bytes: Vec<u8>, max_bytes: usize) -> Result<Vec<Bytes>, Malformed> {
    let m = pb::TxBatch::decode(bytes::Bytes::from(bytes)).map_err(|e| malformed("transaction batch", e))?;
    if m.transactions.is_empty() || m.transactions.len() > MAX_BATCH {
        return Err(malformed("transaction batch", format_args!("{} transactions", m.transactions.len())));
    }
    if m.transactions.iter().any(|t| t.is_empty() || t.len() > max_bytes) {
        return Err(malformed("transaction batch", "a transaction that is empty or too large"));
    }
    // Copied, so that one transaction waiting in the mempool does not keep its whole batch in memory.
    Ok(m.transactions.iter().map(|t| Bytes::copy_from_slice(t)).collect())
}

/// The messages of `proto/proto/basalt/v1/wire.proto`, with blocks as opaque bytes.
mod pb {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Hello {
        #[prost(uint32, tag = "1")]
        pub(super) protocol_min: u32,
        #[prost(uint32, tag = "2")]
        pub(super) protocol_max: u32,
        #[prost(bytes = "vec", tag = "3")]
        pub(super) genesis_hash: Vec<u8>,
        #[prost(uint64, tag = "4")]
        pub(super) head_height: u64,
        #[prost(bytes = "vec", tag = "5")]
        pub(super) head_hash: Vec<u8>,
        #[prost(string, tag = "6")]
        pub(super) software: String,
        #[prost(message, optional, tag = "7")]
        pub(super) validator: Option<ValidatorProof>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct ValidatorProof {
        #[prost(bytes = "vec", tag = "1")]
        pub(super) public_key: Vec<u8>,
        #[prost(bytes = "vec", tag = "2")]
        pub(super) signature: Vec<u8>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct TxBatch {
        #[prost(bytes = "bytes", repeated, tag = "1")]
        pub(super) transactions: Vec<bytes::Bytes>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct BlockRangeRequest {
        #[prost(uint64, tag = "1")]
        pub(super) from: u64,
        #[prost(uint32, tag = "2")]
        pub(super) count: u32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct BlocksResponse {
        #[prost(bytes = "bytes", repeated, tag = "1")]
        pub(super) blocks: Vec<bytes::Bytes>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct BlockByHashRequest {
        #[prost(bytes = "vec", tag = "1")]
        pub(super) hash: Vec<u8>,
        #[prost(uint64, tag = "2")]
        pub(super) height: u64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct BlockByHashResponse {
        #[prost(bytes = "bytes", optional, tag = "1")]
        pub(super) block: Option<bytes::Bytes>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct HeadAnnounce {
        #[prost(uint64, tag = "1")]
        pub(super) height: u64,
        #[prost(bytes = "vec", tag = "2")]
        pub(super) hash: Vec<u8>,
    }
}
