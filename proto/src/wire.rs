//! What nodes say to each other besides consensus.

use std::net::{IpAddr, SocketAddr};

use basalt_primitives::{B256, Block, Height, PublicKey, SecretKey, Signature, layout::Layout, tx::MAX_TX_BYTES};

use crate::{
    CertifiedBlock, Codec as _, DecodeError,
    block::{MAX_BLOCK_BYTES, MAX_CERTIFIED_BYTES},
    codec,
    codec::{Convert, copy},
    pb,
    scan::Field,
};

/// The protocol version this software speaks.
pub const PROTOCOL_VERSION: u32 = 1;
/// The oldest protocol version this software speaks.
pub const PROTOCOL_MIN: u32 = 1;

/// Most transactions of one batch.
pub const MAX_BATCH_TXS: usize = 8192;
/// Longest batch of transactions.
pub const MAX_BATCH_BYTES: usize = 2 * 1024 * 1024;
/// Most blocks asked for at once.
pub const MAX_RANGE_BLOCKS: u32 = 256;
/// Most addresses in an answer.
pub const MAX_ADDRESSES: u32 = 64;
/// Longest answer to a range request: one block always fits.
pub const MAX_BLOCKS_BYTES: usize = MAX_CERTIFIED_BYTES + 64;
/// Longest name of a software version.
pub const MAX_SOFTWARE_BYTES: usize = 128;

/// The first message on a connection, both ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The oldest protocol version the sender speaks.
    pub protocol_min: u32,
    /// The newest.
    pub protocol_max: u32,
    /// Hash of the genesis block.
    pub genesis_hash: B256,
    /// Height of the sender's head; a hint.
    pub head_height: Height,
    /// Its hash.
    pub head_hash: B256,
    /// Name and version of the software, for people.
    pub software: String,
    /// Shows that the connection belongs to a validator.
    pub validator: Option<ValidatorProof>,
}

impl Hello {
    /// The highest version both sides speak, or `None`.
    #[must_use]
    pub fn common_version(&self) -> Option<u32> {
        let (low, high) = (self.protocol_min.max(PROTOCOL_MIN), self.protocol_max.min(PROTOCOL_VERSION));
        (low <= high).then_some(high)
    }
}

/// A validator's signature over the genesis hash and the peer identity of its connection, which the transport has
/// authenticated; so it is of no use to anybody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValidatorProof {
    /// The validator's key.
    pub public_key: PublicKey,
    /// The signature.
    pub signature: Signature,
}

impl ValidatorProof {
    fn layout(genesis: B256, peer_id: &[u8]) -> Layout {
        let mut l = Layout::new("basalt/validator-peer/v1");
        l.fixed(&genesis.0).bytes(peer_id);
        l
    }

    pub(crate) fn to_pb(self) -> pb::ValidatorProof {
        pb::ValidatorProof { public_key: copy(&self.public_key.0), signature: copy(&self.signature.0) }
    }

    pub(crate) fn from_pb(v: pb::ValidatorProof) -> Result<Self, DecodeError> {
        Ok(Self {
            public_key: PublicKey(codec::array("validator key", &v.public_key)?),
            signature: Signature(codec::array("validator signature", &v.signature)?),
        })
    }

    /// Signs for the node's own peer id (its bytes).
    #[must_use]
    pub fn sign(key: &SecretKey, genesis: B256, peer_id: &[u8]) -> Self {
        let signature = key.sign(Self::layout(genesis, peer_id).as_slice());
        Self { public_key: key.public_key(), signature }
    }

    /// Whether the key's owner signed for this peer id on this chain.
    #[must_use]
    pub fn verify(&self, genesis: B256, peer_id: &[u8]) -> bool {
        self.public_key.verify(Self::layout(genesis, peer_id).as_slice(), &self.signature)
    }
}

/// Transactions on their way to other nodes, each in its canonical encoding. Decoding copies each out of the frame, so
/// that keeping one does not keep all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxBatch(pub Vec<basalt_primitives::Bytes>);

/// Asks for consecutive blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRangeRequest {
    /// The first height.
    pub from: Height,
    /// How many, 1 to [`MAX_RANGE_BLOCKS`].
    pub count: u32,
}

/// Encoded [`CertifiedBlock`]s by rising height: as the ledger stores them, so that the sender need not decode them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlocksResponse(pub Vec<basalt_primitives::Bytes>);

impl BlocksResponse {
    /// Decodes the blocks. Whether they are the ones asked for, and their certificates, are still to be checked.
    pub fn decode_blocks(&self) -> Result<Vec<CertifiedBlock>, DecodeError> {
        self.0.iter().map(|b| CertifiedBlock::decode(b.0.clone())).collect()
    }
}

/// Asks for one block, final or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockByHashRequest {
    /// Its hash.
    pub hash: B256,
    /// Its height: where to look.
    pub height: Height,
}

/// The block asked for, or `None` when the sender does not have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockByHashResponse(pub Option<Block>);

/// Asks on a public network where other nodes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeersRequest {
    /// How many at most, 1 to [`MAX_ADDRESSES`].
    pub max: u32,
}

/// Where nodes were found or are said to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeersResponse(pub Vec<SocketAddr>);

/// A new head, as a hint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadAnnounce {
    /// Its height.
    pub height: Height,
    /// Its hash.
    pub hash: B256,
}

impl Convert for Hello {
    type Pb = pb::Hello;
    const NAME: &'static str = "hello";
    const MAX: usize = 4096;
    const FIELDS: &'static [Field] =
        &[Field::bytes(6, "software version", 1, MAX_SOFTWARE_BYTES), Field::bytes(7, "validator proof", 1, 256)];
    const LENIENT: bool = true;

    fn to_pb(&self) -> pb::Hello {
        pb::Hello {
            protocol_min: self.protocol_min,
            protocol_max: self.protocol_max,
            genesis_hash: copy(self.genesis_hash.as_slice()),
            head_height: self.head_height.0,
            head_hash: copy(self.head_hash.as_slice()),
            software: self.software.clone(),
            validator: self.validator.map(ValidatorProof::to_pb),
        }
    }

    fn from_pb(h: pb::Hello) -> Result<Self, DecodeError> {
        if h.protocol_min > h.protocol_max {
            return Err(DecodeError::Value { what: "protocol versions", problem: "end before they begin" });
        }
        Ok(Self {
            protocol_min: h.protocol_min,
            protocol_max: h.protocol_max,
            genesis_hash: codec::hash("genesis hash", &h.genesis_hash)?,
            head_height: codec::height("head height", h.head_height)?,
            head_hash: codec::hash("head hash", &h.head_hash)?,
            software: h.software,
            validator: h.validator.map(ValidatorProof::from_pb).transpose()?,
        })
    }
}

impl Convert for TxBatch {
    type Pb = pb::TxBatch;
    const NAME: &'static str = "transaction batch";
    const MAX: usize = MAX_BATCH_BYTES;
    const FIELDS: &'static [Field] = &[Field::bytes(1, "transactions", MAX_BATCH_TXS, MAX_TX_BYTES)];

    fn to_pb(&self) -> pb::TxBatch {
        pb::TxBatch { transactions: self.0.iter().map(|t| t.0.clone()).collect() }
    }

    fn from_pb(b: pb::TxBatch) -> Result<Self, DecodeError> {
        Ok(Self(b.transactions.iter().map(|t| basalt_primitives::Bytes(copy(t))).collect()))
    }
}

impl Convert for BlockRangeRequest {
    type Pb = pb::BlockRangeRequest;
    const NAME: &'static str = "block range request";
    const MAX: usize = 64;
    const FIELDS: &'static [Field] = &[];

    fn to_pb(&self) -> pb::BlockRangeRequest {
        pb::BlockRangeRequest { from: self.from.0, count: self.count }
    }

    fn from_pb(r: pb::BlockRangeRequest) -> Result<Self, DecodeError> {
        if r.count == 0 || r.count > MAX_RANGE_BLOCKS {
            return Err(DecodeError::Value { what: "block range", problem: "is empty or too long" });
        }
        Ok(Self { from: codec::height("first height", r.from)?, count: r.count })
    }
}

impl Convert for BlocksResponse {
    type Pb = pb::BlocksResponse;
    const NAME: &'static str = "blocks response";
    const MAX: usize = MAX_BLOCKS_BYTES;
    const FIELDS: &'static [Field] = &[Field::bytes(1, "blocks", MAX_RANGE_BLOCKS as usize, MAX_CERTIFIED_BYTES)];

    fn to_pb(&self) -> pb::BlocksResponse {
        pb::BlocksResponse { blocks: self.0.iter().map(|b| b.0.clone()).collect() }
    }

    fn from_pb(r: pb::BlocksResponse) -> Result<Self, DecodeError> {
        Ok(Self(r.blocks.into_iter().map(basalt_primitives::Bytes).collect()))
    }
}

impl Convert for PeersRequest {
    type Pb = pb::PeersRequest;
    const NAME: &'static str = "peers request";
    const MAX: usize = 64;
    const FIELDS: &'static [Field] = &[];

    fn to_pb(&self) -> pb::PeersRequest {
        pb::PeersRequest { max: self.max }
    }

    fn from_pb(r: pb::PeersRequest) -> Result<Self, DecodeError> {
        if r.max == 0 || r.max > MAX_ADDRESSES {
            return Err(DecodeError::Value { what: "peers request", problem: "asks for none or too many" });
        }
        Ok(Self { max: r.max })
    }
}

impl Convert for PeersResponse {
    type Pb = pb::PeersResponse;
    const NAME: &'static str = "peers response";
    const MAX: usize = 4096;
    const FIELDS: &'static [Field] = &[Field::bytes(1, "peer addresses", MAX_ADDRESSES as usize, 18)];

    fn to_pb(&self) -> pb::PeersResponse {
        pb::PeersResponse { addresses: self.0.iter().map(|a| address_bytes(*a).into()).collect() }
    }

    fn from_pb(r: pb::PeersResponse) -> Result<Self, DecodeError> {
        Ok(Self(r.addresses.iter().map(|a| address(a)).collect::<Result<_, _>>()?))
    }
}

fn address_bytes(address: SocketAddr) -> Vec<u8> {
    let mut bytes = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    bytes.extend(address.port().to_be_bytes());
    bytes
}

fn address(bytes: &[u8]) -> Result<SocketAddr, DecodeError> {
    let malformed = || DecodeError::Value { what: "peer address", problem: "is not 6 or 18 bytes long" };
    let (ip, port) = bytes.split_last_chunk::<2>().ok_or_else(malformed)?;
    let ip = match ip.len() {
        4 => <[u8; 4]>::try_from(ip).map(IpAddr::from),
        _ => <[u8; 16]>::try_from(ip).map(IpAddr::from),
    };
    Ok(SocketAddr::new(ip.map_err(|_| malformed())?, u16::from_be_bytes(*port)))
}

impl Convert for BlockByHashRequest {
    type Pb = pb::BlockByHashRequest;
    const NAME: &'static str = "block request";
    const MAX: usize = 64;
    const FIELDS: &'static [Field] = &[];

    fn to_pb(&self) -> pb::BlockByHashRequest {
        pb::BlockByHashRequest { hash: copy(self.hash.as_slice()), height: self.height.0 }
    }

    fn from_pb(r: pb::BlockByHashRequest) -> Result<Self, DecodeError> {
        Ok(Self { hash: codec::hash("block hash", &r.hash)?, height: codec::height("block height", r.height)? })
    }
}

impl Convert for BlockByHashResponse {
    type Pb = pb::BlockByHashResponse;
    const NAME: &'static str = "block response";
    const MAX: usize = MAX_BLOCK_BYTES + 16;
    const FIELDS: &'static [Field] = &[Field::message(1, "block", 1, crate::block::BLOCK_FIELDS)];

    fn to_pb(&self) -> pb::BlockByHashResponse {
        pb::BlockByHashResponse { block: self.0.as_ref().map(Convert::to_pb) }
    }

    fn from_pb(r: pb::BlockByHashResponse) -> Result<Self, DecodeError> {
        Ok(Self(r.block.map(Block::from_pb).transpose()?))
    }
}

impl Convert for HeadAnnounce {
    type Pb = pb::HeadAnnounce;
    const NAME: &'static str = "head announcement";
    const MAX: usize = 64;
    const FIELDS: &'static [Field] = &[];

    fn to_pb(&self) -> pb::HeadAnnounce {
        pb::HeadAnnounce { height: self.height.0, hash: copy(self.hash.as_slice()) }
    }

    fn from_pb(h: pb::HeadAnnounce) -> Result<Self, DecodeError> {
        Ok(Self { height: codec::height("head height", h.height)?, hash: codec::hash("head hash", &h.hash)? })
    }
}
