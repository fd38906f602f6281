//! Golden vectors. A format that changes shows here; to accept the change, run with `BASALT_BLESS=1` and look at the diff.

use std::{fmt::Write as _, fs, path::PathBuf};

use basalt_primitives::{
    B256, Bytes, HashFn, Height, Round, Seal, U256, merkle,
    receipt::receipts_root,
    validators::{VoteKind, vote_bytes},
};
use basalt_proto::{BlockReceipts, Codec, tx, wire};

use crate::samples::{self, CHAIN_ID, F, GENESIS};

const ALL: [HashFn; 3] = [HashFn::Sha256, HashFn::Keccak256, HashFn::Blake3];

/// Compares named values with the file of that name.
pub fn golden(name: &str, values: &[(String, String)]) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.txt"));
    let mut now = String::new();
    for (key, value) in values {
        writeln!(now, "{key} = {value}").unwrap();
    }
    if std::env::var_os("BASALT_BLESS").is_some_and(|v| v == "1") {
        fs::write(&path, now).unwrap();
        return;
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(now, committed, "{name}: the format changed; if that is meant, run with BASALT_BLESS=1");
}

pub fn entry(key: impl Into<String>, bytes: impl AsRef<[u8]>) -> (String, String) {
    (key.into(), hex::encode(bytes))
}

#[test]
fn header() {
    let bft = samples::header();
    let work = basalt_primitives::Header { seal: Seal::Work { target: U256::MAX >> 12, nonce: 77 }, ..bft.clone() };
    let mut values = vec![];
    for (name, h) in [("bft", bft), ("work", work)] {
        values.push(entry(format!("{name}.layout"), h.layout().as_slice()));
        for f in ALL {
            values.push(entry(format!("{name}.hash.{}", f.name()), h.hash(f)));
        }
        values.push(entry(format!("{name}.encoding"), h.encode()));
    }
    golden("header", &values);
}

#[test]
fn native_transaction() {
    let mut values = vec![];
    for (name, signed) in [("full", samples::native()), ("plain", samples::native_plain())] {
        values.push(entry(format!("{name}.address"), signed.public_key.address()));
        values.push(entry(format!("{name}.layout"), signed.tx.signing_layout(&signed.public_key).as_slice()));
        values.push(entry(format!("{name}.signature"), signed.signature.0));
        for f in ALL {
            values.push(entry(format!("{name}.hash.{}", f.name()), signed.hash(f)));
        }
        let raw = tx::encode_native(&signed);
        values.push(entry(format!("{name}.encoding"), &raw));
        let sender = tx::decode(raw, CHAIN_ID, F).unwrap().verify().unwrap().sender();
        assert_eq!(sender, signed.public_key.address());
    }
    golden("native_transaction", &values);
}

#[test]
fn ethereum_transactions() {
    let sender = samples::ethereum_sender();
    let mut values = vec![entry("sender", sender)];
    for (name, raw) in samples::ethereum() {
        let tx = tx::decode(raw.clone(), CHAIN_ID, F).unwrap().verify().unwrap();
        assert_eq!(tx.sender(), sender, "{name}");
        assert_eq!(tx.hash(), basalt_primitives::keccak256(&raw), "an Ethereum hash is Keccak on every chain");
        values.push(entry(format!("{name}.encoding"), raw));
        values.push(entry(format!("{name}.hash"), tx.hash()));
    }
    golden("ethereum_transactions", &values);
}

#[test]
fn merkle_tree() {
    let leaves: Vec<B256> = (0..7).map(B256::repeat_byte).collect();
    let mut values = vec![];
    for f in ALL {
        for n in 0..=leaves.len() {
            values.push(entry(format!("{}.root.{n}", f.name()), merkle::root(f, &leaves[..n])));
        }
        let proof = merkle::prove(f, &leaves, 4).unwrap();
        values.push(entry(format!("{}.proof.4of7", f.name()), proof.path.concat()));
    }
    golden("merkle_tree", &values);
}

#[test]
fn commit_certificate() {
    let hash = samples::header().hash(F);
    let (height, round) = (Height(7), Round(2));
    let cert = samples::certificate(height, round, hash, &[0, 2, 3]);
    samples::set(4).verify_certificate(GENESIS, &cert).unwrap();
    let vote = |kind| vote_bytes(GENESIS, kind, height, round, hash);
    let values = [
        entry("prepare.layout", vote(VoteKind::Prepare).as_slice()),
        entry("commit.layout", vote(VoteKind::Commit).as_slice()),
        entry("hash", cert.hash(F)),
        entry("encoding", cert.encode()),
    ];
    golden("commit_certificate", &values);
}

#[test]
fn validator_set() {
    let set = samples::set(4);
    golden("validator_set", &[entry("hash", set.hash(F)), entry("encoding", set.encode())]);
}

#[test]
fn block() {
    let certified = samples::certified();
    let values = [
        entry("hash", certified.block.header.hash(F)),
        entry("transactions_root", certified.block.header.transactions_root),
        entry("encoding", certified.block.encode()),
        entry("certified.encoding", certified.encode()),
        entry("empty.encoding", samples::empty_block().block().encode()),
    ];
    golden("block", &values);
}

#[test]
fn receipts() {
    let receipts = samples::receipts();
    let mut values: Vec<_> = receipts.iter().enumerate().map(|(i, r)| entry(format!("hash.{i}"), r.hash(F))).collect();
    values.push(entry("root", receipts_root(F, &receipts)));
    values.push(entry("encoding", BlockReceipts(receipts).encode()));
    golden("receipts", &values);
}

#[test]
fn wire_messages() {
    let hello = wire::Hello {
        protocol_min: 1,
        protocol_max: 2,
        genesis_hash: GENESIS,
        head_height: Height(300),
        head_hash: B256::repeat_byte(8),
        software: "basalt/0.1.0".into(),
        validator: Some(wire::ValidatorProof::sign(&samples::key(1), GENESIS, b"peer")),
    };
    let raw = |b: &'static [u8]| Bytes::from_static(b);
    let values = [
        entry("hello", hello.encode()),
        entry("tx_batch", wire::TxBatch(vec![raw(b"one"), raw(b"two")]).encode()),
        entry("block_range_request", wire::BlockRangeRequest { from: Height(300), count: 64 }.encode()),
        entry("peers_request", wire::PeersRequest { max: 64 }.encode()),
        entry("peers_response", samples::peers().encode()),
        entry("blocks_response", wire::BlocksResponse(vec![raw(b"block")]).encode()),
        entry("block_by_hash_request", wire::BlockByHashRequest { hash: GENESIS, height: Height(1) }.encode()),
        entry("block_by_hash_response.none", wire::BlockByHashResponse(None).encode()),
        entry("status_request", samples::status_request().encode()),
        entry("status_response", samples::status_response().encode()),
        entry("head_announce", wire::HeadAnnounce { height: Height(1), hash: GENESIS }.encode()),
    ];
    golden("wire_messages", &values);
}
