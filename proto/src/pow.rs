//! Proof of work: what nodes say to each other, and what they write down.

use basalt_primitives::{B256, Block, Header, Height};

use crate::{
    DecodeError,
    block::{MAX_BLOCK_BYTES, MAX_HEADER_BYTES},
    codec,
    codec::{Convert, copy, required},
    pb,
    scan::Field,
};

/// Most headers of one message.
pub const MAX_HEADERS: usize = 512;
/// Most hashes of a locator.
pub const MAX_LOCATOR: usize = 32;

/// A message between nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PowMessage {
    /// Headers in a row, lowest first, at most [`MAX_HEADERS`], at least one. Their seals are not checked yet.
    Headers(Vec<Header>),
    /// Asks for the headers after the first of these hashes that is known, at most [`MAX_LOCATOR`], at least one.
    GetHeaders(Vec<B256>),
}

/// A record on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PowRecord {
    /// A block that was judged valid here.
    Block(Box<Block>),
    /// The operator's word.
    Checkpoint {
        /// Height of the block.
        height: Height,
        /// Its hash.
        block: B256,
    },
}

impl Convert for PowMessage {
    type Pb = pb::PowMessage;
    const NAME: &'static str = "proof-of-work message";
    const MAX: usize = MAX_HEADERS * (MAX_HEADER_BYTES + 8) + 64;
    const FIELDS: &'static [Field] = &[
        Field::message(1, "headers", 1, &[Field::bytes(1, "headers", MAX_HEADERS, MAX_HEADER_BYTES)]),
        Field::message(2, "question", 1, &[Field::bytes(1, "locator", MAX_LOCATOR, 32)]),
    ];

    fn to_pb(&self) -> pb::PowMessage {
        use pb::pow_message::Content;
        let content = match self {
            Self::Headers(headers) => {
                Content::Headers(pb::PowHeaders { headers: headers.iter().map(Convert::to_pb).collect() })
            }
            Self::GetHeaders(locator) => {
                Content::GetHeaders(pb::PowGetHeaders { locator: locator.iter().map(|h| copy(h.as_slice())).collect() })
            }
        };
        pb::PowMessage { content: Some(content) }
    }

    fn from_pb(m: pb::PowMessage) -> Result<Self, DecodeError> {
        use pb::pow_message::Content;
        let empty = |what| DecodeError::Missing(what);
        match required("content of the message", m.content)? {
            Content::Headers(h) if h.headers.is_empty() => Err(empty("headers")),
            Content::GetHeaders(g) if g.locator.is_empty() => Err(empty("locator")),
            Content::Headers(h) => {
                h.headers.into_iter().map(Header::from_pb).collect::<Result<_, _>>().map(Self::Headers)
            }
            Content::GetHeaders(g) => {
                let hash = |h: &prost::bytes::Bytes| codec::hash("locator", h);
                g.locator.iter().map(hash).collect::<Result<_, _>>().map(Self::GetHeaders)
            }
        }
    }
}

impl Convert for PowRecord {
    type Pb = pb::PowRecord;
    const NAME: &'static str = "proof-of-work record";
    const MAX: usize = MAX_BLOCK_BYTES + 64;
    const FIELDS: &'static [Field] =
        &[Field::message(1, "block", 1, Block::FIELDS), Field::bytes(2, "checkpoint", 1, 64)];

    fn to_pb(&self) -> pb::PowRecord {
        use pb::pow_record::Content;
        let content = match self {
            Self::Block(block) => Content::Block(block.to_pb()),
            Self::Checkpoint { height, block } => {
                Content::Checkpoint(pb::PowCheckpoint { height: height.0, hash: copy(block.as_slice()) })
            }
        };
        pb::PowRecord { content: Some(content) }
    }

    fn from_pb(r: pb::PowRecord) -> Result<Self, DecodeError> {
        use pb::pow_record::Content;
        match required("content of the record", r.content)? {
            Content::Block(block) => Ok(Self::Block(Box::new(Block::from_pb(block)?))),
            Content::Checkpoint(c) => Ok(Self::Checkpoint {
                height: codec::height("height of the checkpoint", c.height)?,
                block: codec::hash("hash of the checkpoint", &c.hash)?,
            }),
        }
    }
}
