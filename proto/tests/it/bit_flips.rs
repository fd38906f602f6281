//! No bit of what is stored or received is free: flip any one, and something says so.

use basalt_primitives::{
    Bytes, ValidatorSet,
    receipt::receipts_root,
    tx::{MAX_TX_BYTES, TxError},
};
use basalt_proto::{
    BlockReceipts, CertifiedBlock, Codec,
    block::{check, check_certificate},
    tx,
};

use crate::samples::{CHAIN_ID, F, GENESIS, certified, ethereum, native, native_plain, receipts, set};

/// Every encoding that differs from `bytes` in one bit.
fn flips(bytes: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> {
    (0..bytes.len() * 8).map(|bit| {
        let mut changed = bytes.to_vec();
        changed[bit / 8] ^= 1 << (bit % 8);
        (bit, changed)
    })
}

/// What a node does with a block from a peer or from its own disk.
fn accept(bytes: Vec<u8>, set: &ValidatorSet) -> Result<(), String> {
    let certified = CertifiedBlock::decode(bytes).map_err(|e| e.to_string())?;
    let header = &certified.block.header;
    check_certificate(header, header.hash(F), certified.certificate.as_ref(), set, GENESIS)
        .map_err(|e| e.to_string())?;
    check(&certified.block, F).map_err(|e| e.to_string())?;
    Ok(())
}

#[test]
fn every_flipped_bit_of_a_certified_block_is_found() {
    let (bytes, set) = (certified().encode(), set(4));
    accept(bytes.clone(), &set).unwrap();
    for (bit, changed) in flips(&bytes) {
        let error = accept(changed, &set).expect_err(&format!("bit {bit} of {}", bytes.len() * 8));
        assert!(!error.is_empty() && !error.contains('\n'), "bit {bit}: {error}");
    }
}

/// The certificate of the block's own height aside, the header binds the body alone.
#[test]
fn every_flipped_bit_of_a_body_is_found_without_any_validator_set() {
    let good = certified().block;
    let (bytes, hash) = (good.encode(), good.header.hash(F));
    for (bit, changed) in flips(&bytes) {
        let accepted =
            basalt_primitives::Block::decode(changed).is_ok_and(|b| b.header.hash(F) == hash && check(&b, F).is_ok());
        assert!(!accepted, "bit {bit}");
    }
}

#[test]
fn cut_or_extended_blocks_are_refused() {
    let (bytes, set) = (certified().encode(), set(4));
    for n in 0..bytes.len() {
        assert!(accept(bytes[..n].to_vec(), &set).is_err(), "cut to {n}");
    }
    for extra in [0u8, 1, 0x0a, 0x12, 0x1a, 0xff] {
        assert!(accept([bytes.as_slice(), &[extra]].concat(), &set).is_err());
    }
    // A second, empty occurrence of each field, which protobuf would merge; and an unknown field.
    for more in [[0x0a, 0], [0x12, 0], [0x1a, 0], [0x20, 1]] {
        assert!(accept([bytes.as_slice(), &more].concat(), &set).is_err());
    }
}

#[test]
fn every_flipped_bit_of_a_transaction_gives_another_transaction_or_none() {
    let mut all = vec![tx::encode_native(&native()), tx::encode_native(&native_plain())];
    all.extend(ethereum().into_iter().map(|(_, raw)| raw));
    for raw in all {
        let good = tx::decode(raw.clone(), CHAIN_ID, F).unwrap();
        let sender = good.clone().verify().unwrap().sender();
        for (bit, changed) in flips(&raw) {
            let Ok(other) = tx::decode(changed.into(), CHAIN_ID, F) else { continue };
            assert_ne!(other.hash(), good.hash(), "bit {bit} is not in the hash");
            // secp256k1 recovers some sender from almost anything; it must not be this one.
            assert!(!other.verify().is_ok_and(|t| t.sender() == sender), "bit {bit} keeps the sender");
        }
    }
}

#[test]
fn every_flipped_bit_of_receipts_or_a_validator_set_changes_their_root_or_is_refused() {
    let receipts = receipts();
    let root = receipts_root(F, &receipts);
    for (bit, changed) in flips(&BlockReceipts(receipts).encode()) {
        assert!(!BlockReceipts::decode(changed).is_ok_and(|r| receipts_root(F, &r.0) == root), "receipts, bit {bit}");
    }
    let set = set(4);
    for (bit, changed) in flips(&set.encode()) {
        assert!(!ValidatorSet::decode(changed).is_ok_and(|s| s.hash(F) == set.hash(F)), "set, bit {bit}");
    }
}

#[test]
fn transactions_of_another_chain_too_long_or_empty_are_refused_with_a_reason() {
    let raw = tx::encode_native(&native());
    assert_eq!(tx::decode(raw, 1, F).unwrap_err(), TxError::ChainId { have: CHAIN_ID, want: 1 });
    let eth = ethereum();
    assert_eq!(tx::decode(eth[0].1.clone(), 1, F).unwrap_err(), TxError::ChainId { have: CHAIN_ID, want: 1 });
    assert!(tx::decode(eth[1].1.clone(), 1, F).is_ok(), "before EIP-155 there is no chain id");
    let long = Bytes::from(vec![0x42; MAX_TX_BYTES + 1]);
    assert_eq!(tx::decode(long, CHAIN_ID, F).unwrap_err(), TxError::TooLarge(MAX_TX_BYTES + 1));
    assert!(matches!(tx::decode(Bytes::new(), CHAIN_ID, F), Err(TxError::Malformed(_))));
    assert!(matches!(tx::decode(vec![0x42].into(), CHAIN_ID, F), Err(TxError::Malformed(_))));
    assert!(matches!(tx::decode(vec![3, 0xc0].into(), CHAIN_ID, F), Err(TxError::Unsupported(_))));
}
