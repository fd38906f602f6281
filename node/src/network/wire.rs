//! What peers say to each other (ADR 0007): the protocol names of a chain, the judgement of a Hello, and the checked
//! decoding of everything else, by `basalt-proto`. Consensus messages and blocks are opaque here; what they mean is for
//! those who understand them.

use std::net::SocketAddr;

use basalt_primitives::{B256, Bytes, Height};
use basalt_proto::{
    Codec as _, DecodeError,
    wire::{
        BlockByHashRequest, BlockRangeRequest, BlocksResponse, HeadAnnounce, MAX_ADDRESSES, MAX_RANGE_BLOCKS,
        PROTOCOL_MIN, PROTOCOL_VERSION, PeersRequest, PeersResponse, TxBatch,
    },
};
use libp2p::{PeerId, StreamProtocol};
use prost::encoding::{decode_varint, encode_varint, encoded_len_varint};

pub(super) use basalt_proto::wire::Hello;

/// Largest Hello, head announcement or request.
pub(super) const MAX_CONTROL_FRAME: usize = Hello::MAX_BYTES;
/// Longest software name that is shown and logged.
pub(super) const MAX_SOFTWARE: usize = 64;
/// Blocks asked for or answered at once.
pub(super) const MAX_BLOCKS: usize = MAX_RANGE_BLOCKS as usize;
/// Transactions in a batch that we send.
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
    pub(super) status: StreamProtocol,
    pub(super) peers: StreamProtocol,
    pub(super) genesis: StreamProtocol,
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
            status: name("status"),
            peers: name("peers"),
            genesis: name("genesis"),
            gossip_prefix: format!("/basalt/{chain}/gossip"),
            topic: format!("/basalt/{chain}/transactions/1"),
        }
    }

    /// What peers may open here; other nodes' addresses are told only where peers are sought.
    pub(super) fn inbound(&self, seeks_peers: bool) -> Vec<StreamProtocol> {
        let blocks = [&self.blocks_by_range, &self.block_by_hash, &self.genesis];
        [&self.hello, &self.head, &self.consensus, &self.status]
            .into_iter()
            .chain(blocks)
            .chain(seeks_peers.then_some(&self.peers))
            .cloned()
            .collect()
    }
}

/// Why a well-formed Hello does not lead to a connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum HelloRefused {
    #[error(
        "it belongs to another chain: its genesis block is {theirs}, ours {ours}; \
         check that both nodes use the same genesis.json"
    )]
    OtherChain { theirs: B256, ours: B256 },
    #[error(
        "no common protocol version: it speaks {their_min} to {their_max}, we {PROTOCOL_MIN} to {PROTOCOL_VERSION}; \
         update the older node"
    )]
    NoCommonVersion { their_min: u32, their_max: u32 },
    #[error("its validator proof is not valid for its identity")]
    BadProof,
}

/// Checks a peer's Hello against our chain and its identity; gives the protocol version to speak.
pub(super) fn judge_hello(hello: &Hello, genesis: &B256, peer: &PeerId) -> Result<u32, HelloRefused> {
    if hello.genesis_hash != *genesis {
        return Err(HelloRefused::OtherChain { theirs: hello.genesis_hash, ours: *genesis });
    }
    let (their_min, their_max) = (hello.protocol_min, hello.protocol_max);
    let version = hello.common_version().ok_or(HelloRefused::NoCommonVersion { their_min, their_max })?;
    if hello.validator.is_some_and(|p| !p.verify(*genesis, &peer.to_bytes())) {
        return Err(HelloRefused::BadProof);
    }
    Ok(version)
}

/// Keeps what may go into a log or a terminal.
pub(super) fn printable(text: &str, max: usize) -> String {
    text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(max).collect()
}

/// A height as the wire has it. Beyond the highest there is nothing to ask for.
fn height(h: u64) -> Height {
    Height(h.min(Height::MAX.0))
}

pub(super) fn encode_head(h: u64, hash: B256) -> Vec<u8> {
    HeadAnnounce { height: height(h), hash }.encode()
}

pub(super) fn decode_head(bytes: bytes::Bytes) -> Result<(u64, B256), DecodeError> {
    HeadAnnounce::decode(bytes).map(|m| (m.height.0, m.hash))
}

pub(super) fn encode_range_request(from: u64, count: usize) -> Vec<u8> {
    let count = u32::try_from(count).unwrap_or(MAX_RANGE_BLOCKS).clamp(1, MAX_RANGE_BLOCKS);
    BlockRangeRequest { from: height(from), count }.encode()
}

/// The height to begin at and how many blocks, 1 to [`MAX_BLOCKS`].
pub(super) fn decode_range_request(bytes: bytes::Bytes) -> Result<(u64, usize), DecodeError> {
    BlockRangeRequest::decode(bytes).map(|m| (m.from.0, m.count as usize))
}

pub(super) fn encode_blocks(blocks: Vec<Bytes>) -> Vec<u8> {
    BlocksResponse(blocks).encode()
}

/// An answer to a range request of `max` blocks.
pub(super) fn decode_blocks(bytes: bytes::Bytes, max: usize) -> Result<Vec<Bytes>, DecodeError> {
    let BlocksResponse(blocks) = BlocksResponse::decode(bytes)?;
    if blocks.len() > max {
        return Err(DecodeError::TooMany { what: "blocks", max });
    }
    // Copied, so that one kept block does not keep the whole answer in memory.
    Ok(blocks.iter().map(|b| Bytes::copy_from_slice(b)).collect())
}

pub(super) fn encode_hash_request(hash: B256, h: u64) -> Vec<u8> {
    BlockByHashRequest { hash, height: height(h) }.encode()
}

pub(super) fn decode_hash_request(bytes: bytes::Bytes) -> Result<(B256, u64), DecodeError> {
    BlockByHashRequest::decode(bytes).map(|m| (m.hash, m.height.0))
}

pub(super) fn encode_peers_request() -> Vec<u8> {
    PeersRequest { max: MAX_ADDRESSES }.encode()
}

/// How many addresses at most.
pub(super) fn decode_peers_request(bytes: bytes::Bytes) -> Result<usize, DecodeError> {
    PeersRequest::decode(bytes).map(|m| m.max as usize)
}

pub(super) fn encode_peers(addresses: Vec<SocketAddr>) -> Vec<u8> {
    PeersResponse(addresses).encode()
}

pub(super) fn decode_peers(bytes: bytes::Bytes) -> Result<Vec<SocketAddr>, DecodeError> {
    PeersResponse::decode(bytes).map(|m| m.0)
}

/// The key of field 1, a message.
const BLOCK_FIELD: u8 = 0x0a;

/// The encoding of `basalt_proto::wire::BlockByHashResponse` around a block that is encoded already, so that it need not
/// be decoded first.
pub(super) fn encode_block(block: Option<&Bytes>) -> Vec<u8> {
    let Some(block) = block else { return Vec::new() };
    let mut answer = Vec::with_capacity(block.len() + 8);
    answer.push(BLOCK_FIELD);
    encode_varint(block.len() as u64, &mut answer);
    answer.extend_from_slice(block);
    answer
}

/// The block in such an answer, still encoded.
pub(super) fn decode_block(bytes: &bytes::Bytes) -> Result<Option<Bytes>, DecodeError> {
    const BAD: DecodeError = DecodeError::Value { what: "block answer", problem: "is not one block or none" };
    let mut rest = match bytes.split_first() {
        None => return Ok(None),
        Some((&BLOCK_FIELD, rest)) => rest,
        Some(_) => return Err(BAD),
    };
    let (before, length) = (rest.len(), decode_varint(&mut rest).map_err(|_| BAD)?);
    if length != rest.len() as u64 || before - rest.len() != encoded_len_varint(length) {
        return Err(BAD);
    }
    Ok(Some(Bytes(bytes.slice(bytes.len() - rest.len()..))))
}

pub(super) fn encode_batch(transactions: Vec<Bytes>) -> Vec<u8> {
    TxBatch(transactions).encode()
}

/// The transactions of a batch: at least one, none empty.
pub(super) fn decode_batch(bytes: Vec<u8>) -> Result<Vec<Bytes>, DecodeError> {
    let TxBatch(transactions) = TxBatch::decode(bytes)?;
    if transactions.is_empty() || transactions.iter().any(|t| t.is_empty()) {
        return Err(DecodeError::Value {
            what: "transaction batch",
            problem: "is empty or holds an empty transaction",
        });
    }
    Ok(transactions)
}

#[cfg(test)]
mod tests {
    use basalt_primitives::{Block, Header, Seal, SecretKey};
    use basalt_proto::wire::{BlockByHashResponse, ValidatorProof};
    use proptest::prelude::*;

    use super::*;

    fn block() -> Block {
        let header = Header {
            version: basalt_primitives::header::HEADER_VERSION,
            chain_id: 1,
            height: Height(7),
            timestamp_ms: 1_700_000_000_000,
            parent_hash: B256::repeat_byte(1),
            transactions_root: B256::repeat_byte(2),
            parent_state_root: B256::repeat_byte(3),
            parent_receipts_root: B256::repeat_byte(4),
            parent_gas_used: 5,
            gas_limit: 6,
            base_fee: 7,
            proposer: basalt_primitives::Address::repeat_byte(8),
            first_round: basalt_primitives::Round(0),
            next_validators_hash: B256::repeat_byte(9),
            last_certificate_hash: B256::ZERO,
            seal: Seal::None,
        };
        Block { header, last_certificate: None, transactions: vec![vec![1; 300].into()] }
    }

    #[test]
    fn a_block_answer_made_from_bytes_is_the_one_of_the_format() {
        let block = block();
        let encoded = Bytes::from(block.encode());
        let answer = encode_block(Some(&encoded));
        assert_eq!(answer, BlockByHashResponse(Some(block)).encode());
        assert_eq!(decode_block(&answer.into()), Ok(Some(encoded)));
        assert_eq!(encode_block(None), BlockByHashResponse(None).encode());
        assert_eq!(decode_block(&bytes::Bytes::new()), Ok(None));
    }

    #[test]
    fn hellos_are_judged_by_chain_version_and_proof() {
        let (genesis, peer) = (B256::repeat_byte(1), PeerId::random());
        let key = SecretKey::from_bytes(&[1; 32]);
        let hello = |protocol_min, protocol_max, genesis_hash, validator| Hello {
            protocol_min,
            protocol_max,
            genesis_hash,
            head_height: Height(0),
            head_hash: B256::ZERO,
            software: String::new(),
            validator,
        };
        let judge = |h: Hello| judge_hello(&h, &genesis, &peer);
        assert_eq!(judge(hello(1, 1, genesis, None)), Ok(1));
        assert_eq!(judge(hello(1, 99, genesis, None)), Ok(1));
        assert_eq!(
            judge(hello(2, 3, genesis, None)),
            Err(HelloRefused::NoCommonVersion { their_min: 2, their_max: 3 })
        );
        let theirs = B256::repeat_byte(2);
        assert_eq!(judge(hello(1, 1, theirs, None)), Err(HelloRefused::OtherChain { theirs, ours: genesis }));
        let proof = |genesis, peer: PeerId| Some(ValidatorProof::sign(&key, genesis, &peer.to_bytes()));
        assert_eq!(judge(hello(1, 1, genesis, proof(genesis, peer))), Ok(1));
        let stolen = proof(genesis, PeerId::random());
        assert_eq!(judge(hello(1, 1, genesis, stolen)), Err(HelloRefused::BadProof));
        assert_eq!(judge(hello(1, 1, genesis, proof(theirs, peer))), Err(HelloRefused::BadProof));
    }

    #[test]
    fn names_carry_the_chain_so_that_nothing_of_another_chain_is_negotiated() {
        let (a, b) = (Protocols::new(&B256::repeat_byte(1)), Protocols::new(&B256::repeat_byte(2)));
        assert_eq!(a.consensus.as_ref(), "/basalt/0101010101010101/consensus/1");
        let common: Vec<_> = a.inbound(true).into_iter().filter(|p| b.inbound(true).contains(p)).collect();
        assert_eq!(common, [a.hello]);
        assert_ne!(a.topic, b.topic);
    }

    #[test]
    fn what_goes_into_logs_cannot_speak_to_a_terminal() {
        assert_eq!(printable("basalt/1.0\u{1b}[31m\nüx", 64), "basalt/1.0[31mx");
        assert_eq!(printable(&"a".repeat(100), 64).len(), 64);
    }

    #[test]
    fn requests_stay_within_what_is_answered() {
        assert_eq!(decode_range_request(encode_range_request(5, 0).into()), Ok((5, 1)));
        assert_eq!(
            decode_range_request(encode_range_request(u64::MAX, 1 << 40).into()),
            Ok((Height::MAX.0, MAX_BLOCKS))
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn no_bytes_make_a_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), max in 0usize..4) {
            let input = bytes::Bytes::from(bytes.clone());
            let _ = Hello::decode(input.clone());
            let _ = decode_head(input.clone());
            let _ = decode_range_request(input.clone());
            let _ = decode_hash_request(input.clone());
            let _ = decode_batch(bytes);
            prop_assert!(!decode_blocks(input.clone(), max).is_ok_and(|b| b.len() > max));
            if let Ok(block) = decode_block(&input) {
                prop_assert_eq!(encode_block(block.as_ref()), input.to_vec());
            }
        }
    }
}
