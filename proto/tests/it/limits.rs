//! Declared lengths and counts are checked before anything is allocated, and errors say which limit it was.

use basalt_primitives::{B256, Block, Bytes, CommitCertificate, Header, Height, ValidatorSet, block::MAX_TRANSACTIONS};
use basalt_proto::{
    BlockReceipts, CertifiedBlock, Codec, DecodeError,
    wire::{self, BlockRangeRequest, BlocksResponse, Hello, MAX_BATCH_TXS, PeersRequest, PeersResponse, TxBatch},
};
use proptest::prelude::*;

use crate::samples;

/// `n` empty items of a repeated field: two bytes each here, dozens each once decoded.
fn empties(tag: u8, n: usize) -> Vec<u8> {
    [tag << 3 | 2, 0].repeat(n)
}

fn nested(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag << 3 | 2];
    let mut n = content.len();
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
    out.extend_from_slice(content);
    out
}

fn too_many(e: &DecodeError) -> bool {
    matches!(e, DecodeError::TooMany { .. })
}

#[test]
fn floods_of_empty_items_are_refused_by_their_count() {
    let many = |e: DecodeError| assert!(too_many(&e), "{e}");
    many(TxBatch::decode(empties(1, MAX_BATCH_TXS + 1)).unwrap_err());
    many(Block::decode(empties(3, MAX_TRANSACTIONS + 1)).unwrap_err());
    many(CertifiedBlock::decode(nested(1, &empties(3, MAX_TRANSACTIONS + 1))).unwrap_err());
    many(CommitCertificate::decode(empties(4, ValidatorSet::MAX + 1)).unwrap_err());
    many(Block::decode(nested(2, &empties(4, ValidatorSet::MAX + 1))).unwrap_err());
    many(ValidatorSet::decode(empties(1, ValidatorSet::MAX + 1)).unwrap_err());
    many(BlocksResponse::decode(empties(1, wire::MAX_RANGE_BLOCKS as usize + 1)).unwrap_err());
    let five_topics = nested(8, &empties(2, 5));
    many(BlockReceipts::decode(nested(1, &five_topics)).unwrap_err());
}

/// Protobuf merges a message that occurs twice, which would double what each occurrence may hold.
#[test]
fn singular_messages_occur_once() {
    let half = nested(2, &empties(4, ValidatorSet::MAX));
    assert!(too_many(&Block::decode([half.clone(), half].concat()).unwrap_err()));
}

#[test]
fn lengths_beyond_the_bytes_are_refused() {
    for declared in [
        &[0x7f][..],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0xff; 10],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
    ] {
        for tag in [0x0a, 0x12, 0x1a, 0x22] {
            let bytes = [&[tag], declared, &[0; 8]].concat();
            assert!(Block::decode(bytes.clone()).is_err());
            assert!(TxBatch::decode(bytes.clone()).is_err());
            assert!(BlockReceipts::decode(bytes).is_err());
        }
    }
}

#[test]
fn too_long_messages_are_refused_by_their_size() {
    let e = TxBatch::decode(vec![0; TxBatch::MAX_BYTES + 1]).unwrap_err();
    assert!(matches!(e, DecodeError::TooLarge { .. }), "{e}");
    let e = Header::decode(vec![0; Header::MAX_BYTES + 1]).unwrap_err();
    assert!(matches!(e, DecodeError::TooLarge { .. }), "{e}");
    let e = Block::decode(nested(3, &vec![0; 200_000])).unwrap_err();
    assert!(matches!(e, DecodeError::TooLarge { what: "transactions", .. }), "{e}");
}

/// The longest of everything still fits what its decoder looks at.
#[test]
fn the_longest_values_fit() {
    let header = Header {
        chain_id: u64::MAX,
        height: Height::MAX,
        timestamp_ms: basalt_primitives::header::MAX_TIMESTAMP_MS,
        parent_gas_used: u64::MAX,
        gas_limit: u64::MAX,
        base_fee: u64::MAX,
        first_round: basalt_primitives::Round(u32::MAX),
        seal: basalt_primitives::Seal::Work { target: basalt_primitives::U256::MAX, nonce: u64::MAX },
        ..samples::header()
    };
    assert_eq!(Header::decode(header.encode()).unwrap(), header);
    let signature = samples::key(1).sign(b"x");
    let signatures = (0..ValidatorSet::MAX as u16)
        .map(|i| basalt_primitives::CommitSignature { validator: u16::MAX - 255 + i, signature })
        .collect();
    let height = Height::MAX;
    let cert = CommitCertificate { height, round: header.first_round, block_hash: B256::ZERO, signatures };
    assert_eq!(CommitCertificate::decode(cert.encode()).unwrap(), cert);

    let count = 128;
    let full = vec![0xab; basalt_primitives::block::MAX_TRANSACTION_BYTES / count];
    let block = Block { header, last_certificate: Some(cert.clone()), transactions: vec![Bytes::from(full); count] };
    let certified = CertifiedBlock { block, certificate: Some(cert) };
    let bytes = certified.encode();
    assert_eq!(CertifiedBlock::decode(bytes.clone()).unwrap(), certified);
    let response = BlocksResponse(vec![bytes.into()]);
    assert_eq!(BlocksResponse::decode(response.encode()).unwrap().decode_blocks().unwrap(), [certified]);
}

#[test]
fn numbers_that_would_overflow_sums_are_refused() {
    let mut h = samples::header();
    h.height = Height(Height::MAX.0 + 1);
    assert!(Header::decode(h.encode()).is_err());
    let mut h = samples::header();
    h.timestamp_ms = u64::MAX;
    assert!(Header::decode(h.encode()).is_err());
    for (from, count) in [(0, 0), (0, wire::MAX_RANGE_BLOCKS + 1), (u64::MAX, 1)] {
        assert!(BlockRangeRequest::decode(BlockRangeRequest { from: Height(from), count }.encode()).is_err());
    }
}

#[test]
fn addresses_are_few_and_whole() {
    let peers = samples::peers();
    assert_eq!(PeersResponse::decode(peers.encode()).unwrap(), peers);
    let many = |n: usize| PeersResponse(vec![peers.0[1]; n]).encode();
    assert!(PeersResponse::decode(many(wire::MAX_ADDRESSES as usize)).is_ok());
    assert!(PeersResponse::decode(many(wire::MAX_ADDRESSES as usize + 1)).is_err());
    for length in [0, 1, 2, 5, 7, 17, 19] {
        let bytes = [vec![0x0a, length], vec![1; usize::from(length)]].concat();
        assert!(PeersResponse::decode(bytes).is_err(), "{length} bytes are no address");
    }
    for max in [0, wire::MAX_ADDRESSES + 1] {
        assert!(PeersRequest::decode(PeersRequest { max }.encode()).is_err());
    }
}

fn hello() -> Hello {
    Hello {
        protocol_min: 1,
        protocol_max: 1,
        genesis_hash: samples::GENESIS,
        head_height: Height(1),
        head_hash: B256::ZERO,
        software: "basalt/0.1.0".into(),
        validator: None,
    }
}

#[test]
fn hello_negotiates_and_lets_newer_nodes_say_more() {
    assert_eq!(hello().common_version(), Some(1));
    assert_eq!(Hello { protocol_max: 9, ..hello() }.common_version(), Some(1));
    assert_eq!(Hello { protocol_min: 2, protocol_max: 9, ..hello() }.common_version(), None);
    let backwards = Hello { protocol_min: 2, protocol_max: 1, ..hello() };
    assert!(Hello::decode(backwards.encode()).is_err());
    let more = [hello().encode(), nested(15, b"something new")].concat();
    assert_eq!(Hello::decode(more).unwrap(), hello());
    let long = Hello { software: "x".repeat(wire::MAX_SOFTWARE_BYTES + 1), ..hello() };
    assert!(Hello::decode(long.encode()).is_err());
}

#[test]
fn a_validator_proof_is_good_for_one_peer_on_one_chain() {
    let proof = wire::ValidatorProof::sign(&samples::key(1), samples::GENESIS, b"peer");
    assert!(proof.verify(samples::GENESIS, b"peer"));
    assert!(!proof.verify(samples::GENESIS, b"other"));
    assert!(!proof.verify(B256::ZERO, b"peer"));
    let other = wire::ValidatorProof { public_key: samples::key(2).public_key(), ..proof };
    assert!(!other.verify(samples::GENESIS, b"peer"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// No bytes make a decoder panic, and what is accepted is the encoding of what it says.
    #[test]
    fn arbitrary_bytes_are_refused_or_canonical(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        fn canonical<T: Codec>(bytes: &[u8]) -> bool {
            T::decode(bytes.to_vec()).map_or(true, |v| v.encode() == bytes)
        }
        prop_assert!(canonical::<Block>(&bytes));
        prop_assert!(canonical::<CertifiedBlock>(&bytes));
        prop_assert!(canonical::<CommitCertificate>(&bytes));
        prop_assert!(canonical::<BlockReceipts>(&bytes));
        prop_assert!(canonical::<ValidatorSet>(&bytes));
        prop_assert!(canonical::<TxBatch>(&bytes));
        prop_assert!(canonical::<BlocksResponse>(&bytes));
        prop_assert!(canonical::<PeersResponse>(&bytes));
        prop_assert!(canonical::<wire::BlockByHashResponse>(&bytes));
        let _ = Hello::decode(bytes);
    }

    /// Likewise for good encodings with a few bytes changed, cut out or put in.
    #[test]
    fn damaged_encodings_are_refused_or_canonical(
        at in any::<prop::sample::Index>(),
        cut in 0usize..4,
        put in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        let mut bytes = samples::certified().encode();
        let at = at.index(bytes.len());
        let end = (at + cut).min(bytes.len());
        bytes.splice(at..end, put);
        prop_assert!(CertifiedBlock::decode(bytes.clone()).map_or(true, |v| v.encode() == bytes));
        let raw = Bytes::from(bytes[at..].to_vec());
        let _ = basalt_proto::tx::decode(raw, samples::CHAIN_ID, samples::F);
    }
}
