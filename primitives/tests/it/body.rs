//! The body is the one its header binds.

use alloy_primitives::{B256, Bytes, U256};
use basalt_primitives::{
    Block, HashFn, Height, Round, Seal,
    block::{BodyError, check_body, transactions_root},
};

use crate::samples;

const F: HashFn = HashFn::Sha256;

fn block() -> (Block, Vec<B256>) {
    let mut header = samples::header();
    let hashes = vec![B256::repeat_byte(0xaa), B256::repeat_byte(0xbb)];
    let cert = samples::certificate(B256::ZERO, Height(6), Round(0), header.parent_hash, &[0, 1, 2]);
    header.transactions_root = transactions_root(F, &hashes);
    header.last_certificate_hash = cert.hash(F);
    let transactions = vec![Bytes::from_static(b"a"), Bytes::from_static(b"b")];
    (Block { header, last_certificate: Some(cert), transactions }, hashes)
}

#[test]
fn a_whole_block_passes() {
    let (b, hashes) = block();
    assert_eq!(check_body(&b, F, &hashes), Ok(()));
}

#[test]
fn changed_swapped_or_missing_transactions_are_found() {
    let (b, hashes) = block();
    let h = b.header.height;
    let swapped = [hashes[1], hashes[0]];
    assert_eq!(check_body(&b, F, &swapped), Err(BodyError::TransactionsRoot(h)));
    let changed = [hashes[0], B256::ZERO];
    assert_eq!(check_body(&b, F, &changed), Err(BodyError::TransactionsRoot(h)));
    let fewer = Block { transactions: b.transactions[..1].to_vec(), ..b };
    assert_eq!(check_body(&fewer, F, &hashes[..1]), Err(BodyError::TransactionsRoot(h)));
}

#[test]
fn the_certificate_of_the_parent_and_no_other_is_accepted() {
    let (good, hashes) = block();
    let h = good.header.height;
    let check = |b: &Block| check_body(b, F, &hashes);

    let missing = Block { last_certificate: None, ..good.clone() };
    assert_eq!(check(&missing), Err(BodyError::MissingCertificate(h)));

    let mut changed = good.clone();
    changed.last_certificate.as_mut().unwrap().round = Round(9);
    assert_eq!(check(&changed), Err(BodyError::CertificateHash(h)));

    let mut other = good.clone();
    let cert = samples::certificate(B256::ZERO, Height(5), Round(0), other.header.parent_hash, &[0, 1, 2]);
    other.header.last_certificate_hash = cert.hash(F);
    other.last_certificate = Some(cert);
    assert_eq!(check(&other), Err(BodyError::CertificateOfAnother(h)));

    let mut work = good.clone();
    work.header.seal = Seal::Work { target: U256::MAX, nonce: 1 };
    assert_eq!(check(&work), Err(BodyError::UnexpectedCertificate(h)));

    let mut first = good;
    first.header.height = Height(1);
    assert_eq!(check(&first), Err(BodyError::UnexpectedCertificate(Height(1))));
    first.last_certificate = None;
    assert_eq!(check(&first), Err(BodyError::CertificateHash(Height(1))));
    first.header.last_certificate_hash = B256::ZERO;
    assert_eq!(check(&first), Ok(()));
}
