//! A small certified chain piece: real keys, real signatures, everything bound.

use alloy_consensus::{SignableTransaction, TxEip1559, TxEip2930, TxEip7702, TxLegacy};
use alloy_eips::{
    eip2718::Encodable2718,
    eip2930::{AccessList, AccessListItem},
    eip7702::Authorization,
};
use alloy_primitives::{Signature as EthereumSignature, TxKind};
use basalt_primitives::{
    Address, B256, Block, Bytes, CommitCertificate, CommitSignature, HashFn, Header, Height, Log, Receipt, Round, Seal,
    SealedBlock, SecretKey, U256, Validator, ValidatorSet,
    block::transactions_root,
    header::HEADER_VERSION,
    tx::{NativeTx, SecurityLevel, SignedNative},
    validators::{VoteKind, vote_bytes},
};
use basalt_proto::CertifiedBlock;

pub const F: HashFn = HashFn::Sha256;
pub const CHAIN_ID: u64 = 31337;
pub const GENESIS: B256 = B256::repeat_byte(0x99);

pub fn key(i: u8) -> SecretKey {
    SecretKey::from_bytes(&[i; 32])
}

pub fn native() -> SignedNative {
    let tx = NativeTx {
        chain_id: CHAIN_ID,
        nonce: 3,
        valid_from: Height(1),
        valid_until: Some(Height(99)),
        max_fee_per_gas: 2_000_000_000,
        max_priority_fee_per_gas: 1_000_000,
        gas_limit: 50_000,
        to: Some(Address::repeat_byte(9)),
        value: U256::from(1_000_000_000_000_000_000u64),
        input: Bytes::from_static(b"\x01\x02\x03"),
        level: SecurityLevel::Internal,
        payload: Some(Bytes::from_static(b"sealed")),
    };
    tx.sign(&key(1))
}

/// The plainest native transfer: every field that can be absent or zero is.
pub fn native_plain() -> SignedNative {
    let tx = NativeTx {
        chain_id: CHAIN_ID,
        nonce: 0,
        valid_from: Height(0),
        valid_until: None,
        max_fee_per_gas: 0,
        max_priority_fee_per_gas: 0,
        gas_limit: 21_000,
        to: None,
        value: U256::ZERO,
        input: Bytes::new(),
        level: SecurityLevel::Public,
        payload: None,
    };
    tx.sign(&key(2))
}

fn ecdsa(hash: B256) -> EthereumSignature {
    let key = secp256k1::SecretKey::from_byte_array([0x46; 32]).unwrap();
    let message = secp256k1::Message::from_digest(hash.0);
    let (id, rs) = secp256k1::SECP256K1.sign_ecdsa_recoverable(message, &key).serialize_compact();
    let (r, s) = (U256::from_be_slice(&rs[..32]), U256::from_be_slice(&rs[32..]));
    EthereumSignature::new(r, s, i32::from(id) == 1)
}

/// The address of the key that signs the Ethereum samples.
pub fn ethereum_sender() -> Address {
    let key = secp256k1::SecretKey::from_byte_array([0x46; 32]).unwrap();
    basalt_primitives::crypto::secp256k1::address_of(&key.public_key(secp256k1::SECP256K1))
}

fn signed<T>(tx: T) -> Bytes
where
    T: SignableTransaction<EthereumSignature> + alloy_consensus::transaction::RlpEcdsaEncodableTx,
{
    let signature = ecdsa(tx.signature_hash());
    tx.into_signed(signature).encoded_2718().into()
}

fn access_list() -> AccessList {
    let item = AccessListItem { address: Address::repeat_byte(4), storage_keys: vec![B256::repeat_byte(5)] };
    AccessList(vec![item])
}

/// One transaction of each Ethereum type, signed by [`ethereum_sender`].
pub fn ethereum() -> Vec<(&'static str, Bytes)> {
    let (to, input) = (Address::repeat_byte(3), Bytes::from_static(b"\xa9\x05\x9c\xbb"));
    let legacy = TxLegacy {
        chain_id: Some(CHAIN_ID),
        nonce: 9,
        gas_price: 20_000_000_000,
        gas_limit: 21_000,
        to: TxKind::Call(to),
        value: U256::from(10),
        input: Bytes::new(),
    };
    let before_155 = TxLegacy { chain_id: None, to: TxKind::Create, input: input.clone(), ..legacy.clone() };
    let eip2930 = TxEip2930 {
        chain_id: CHAIN_ID,
        nonce: 10,
        gas_price: 1,
        gas_limit: 60_000,
        to: TxKind::Call(to),
        value: U256::ZERO,
        access_list: access_list(),
        input: input.clone(),
    };
    let eip1559 = TxEip1559 {
        chain_id: CHAIN_ID,
        nonce: 11,
        gas_limit: 60_000,
        max_fee_per_gas: 2_000_000_000,
        max_priority_fee_per_gas: 1_000_000_000,
        to: TxKind::Call(to),
        value: U256::from(1),
        access_list: access_list(),
        input: input.clone(),
    };
    let authorization = Authorization { chain_id: U256::from(CHAIN_ID), address: to, nonce: 5 };
    let authorization_signature = ecdsa(authorization.signature_hash());
    let eip7702 = TxEip7702 {
        chain_id: CHAIN_ID,
        nonce: 12,
        gas_limit: 80_000,
        max_fee_per_gas: 2_000_000_000,
        max_priority_fee_per_gas: 1,
        to,
        value: U256::ZERO,
        access_list: AccessList::default(),
        authorization_list: vec![authorization.into_signed(authorization_signature)],
        input,
    };
    vec![
        ("legacy", signed(legacy)),
        ("legacy_before_eip155", signed(before_155)),
        ("eip2930", signed(eip2930)),
        ("eip1559", signed(eip1559)),
        ("eip7702", signed(eip7702)),
    ]
}

/// `n` validators with one vote each, keys 1 to n.
pub fn set(n: u8) -> ValidatorSet {
    let one = |i| Validator { public_key: key(i).public_key(), power: 1 };
    ValidatorSet::new((1..=n).map(one).collect()).unwrap()
}

/// A certificate signed by the validators at these indexes of the set above.
pub fn certificate(height: Height, round: Round, block_hash: B256, signers: &[u16]) -> CommitCertificate {
    let bytes = vote_bytes(GENESIS, VoteKind::Commit, height, round, block_hash);
    let sign = |&i: &u16| CommitSignature {
        validator: i,
        signature: key(u8::try_from(i).unwrap() + 1).sign(bytes.as_slice()),
    };
    CommitCertificate { height, round, block_hash, signatures: signers.iter().map(sign).collect() }
}

pub fn header() -> Header {
    Header {
        version: HEADER_VERSION,
        chain_id: CHAIN_ID,
        height: Height(7),
        timestamp_ms: 1_700_000_000_123,
        parent_hash: B256::repeat_byte(1),
        transactions_root: B256::repeat_byte(2),
        parent_state_root: B256::repeat_byte(3),
        parent_receipts_root: B256::repeat_byte(4),
        parent_gas_used: 21_000,
        gas_limit: 30_000_000,
        base_fee: 1_000_000_000,
        proposer: key(3).public_key().address(),
        first_round: Round(2),
        next_validators_hash: B256::repeat_byte(6),
        last_certificate_hash: B256::repeat_byte(7),
        seal: Seal::None,
    }
}

/// Block 7 with a native transaction and one of each Ethereum type, the certificate of block 6, and its own.
pub fn certified() -> CertifiedBlock {
    let mut transactions = vec![basalt_proto::tx::encode_native(&native())];
    transactions.extend(ethereum().into_iter().map(|(_, raw)| raw));
    let hash = |raw: &Bytes| basalt_proto::tx::decode(raw.clone(), CHAIN_ID, F).unwrap().hash();
    let hashes: Vec<B256> = transactions.iter().map(hash).collect();
    let mut header = header();
    let last = certificate(Height(6), Round(0), header.parent_hash, &[0, 1, 2, 3]);
    header.transactions_root = transactions_root(F, &hashes);
    header.next_validators_hash = set(4).hash(F);
    header.last_certificate_hash = last.hash(F);
    let certificate = certificate(Height(7), Round(2), header.hash(F), &[0, 2, 3]);
    CertifiedBlock {
        block: Block { header, last_certificate: Some(last), transactions },
        certificate: Some(certificate),
    }
}

/// As [`certified`], without the body's transactions.
pub fn empty_block() -> SealedBlock {
    let mut header = header();
    let last = certificate(Height(6), Round(0), header.parent_hash, &[0, 1, 3]);
    header.transactions_root = transactions_root(F, &[]);
    header.last_certificate_hash = last.hash(F);
    SealedBlock::new(Block { header, last_certificate: Some(last), transactions: vec![] }, F)
}

pub fn receipts() -> Vec<Receipt> {
    let log = Log {
        address: Address::repeat_byte(3),
        topics: vec![B256::repeat_byte(4), B256::repeat_byte(5)],
        data: Bytes::from_static(b"data"),
    };
    let full = Receipt {
        tx_hash: B256::repeat_byte(1),
        tx_type: 0x42,
        success: true,
        gas_used: 30_000,
        cumulative_gas_used: 30_000,
        effective_gas_price: 1_000_000_007,
        contract_address: Some(Address::repeat_byte(2)),
        logs: vec![log, Log { address: Address::ZERO, topics: vec![], data: Bytes::new() }],
        revert_data: Bytes::new(),
    };
    let failed = Receipt {
        tx_hash: B256::repeat_byte(2),
        tx_type: 0,
        success: false,
        gas_used: 21_000,
        cumulative_gas_used: 51_000,
        effective_gas_price: 0,
        contract_address: None,
        logs: vec![],
        revert_data: Bytes::from_static(b"\x08\xc3\x79\xa0"),
    };
    vec![full, failed]
}

pub fn peers() -> basalt_proto::wire::PeersResponse {
    let addresses = ["9.8.7.6:30303", "[2606:4700::1]:1"];
    basalt_proto::wire::PeersResponse(addresses.map(|a| a.parse().expect("an address")).to_vec())
}

pub fn status_request() -> basalt_proto::status::StatusRequest {
    basalt_proto::status::StatusRequest { known: vec![(SecretKey::from_bytes(&[5; 32]).public_key(), 7)] }
}

pub fn status_response() -> basalt_proto::status::StatusResponse {
    let key = SecretKey::from_bytes(&[6; 32]);
    let record = basalt_proto::status::NodeRecord {
        node_key: key.public_key(),
        sequence: 1_700_000_000_000,
        name: "node0".into(),
        organisation: "Example".into(),
        software: "basalt/0.1.0".into(),
        address: "/ip4/127.0.0.1/tcp/1".into(),
        height: 9,
        validator: Some(basalt_proto::wire::ValidatorProof::sign(&SecretKey::from_bytes(&[7; 32]), GENESIS, b"peer")),
        signature: basalt_primitives::Signature([0; 64]),
    };
    basalt_proto::status::StatusResponse { received_at_ms: 1, sent_at_ms: 2, records: vec![record.sign(&key, GENESIS)] }
}
