//! Many signatures at once: each transaction gets its own answer.

use alloy_primitives::Bytes;
use basalt_primitives::{
    HashFn, PublicKey, Signature,
    tx::{Payload, SignedNative, TxError, Unverified, ethereum, verify_all},
};
use proptest::prelude::*;

use crate::samples;

fn native(nonce: u64) -> SignedNative {
    let mut tx = samples::native();
    tx.nonce = nonce;
    tx.sign(&samples::key(u8::try_from(nonce % 5).unwrap() + 1))
}

/// The encoding does not matter here.
fn unverified(signed: SignedNative) -> Unverified {
    Unverified::from_canonical(Bytes::new(), Payload::Native(Box::new(signed)), HashFn::Sha256)
}

fn ethereum_tx() -> Unverified {
    let raw = hex::decode("f86c098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a76400008025a028ef61340bd939bc2195fe537567866003e1a15d3c71ff63e1590620aa636276a067cbe9d8997f761aecb703304b3800ccf555c9f3dc64214b297fb1966a3b6d83").unwrap();
    let tx = ethereum::decode(&raw).unwrap();
    Unverified::from_canonical(raw.into(), Payload::Ethereum(Box::new(tx)), HashFn::Sha256)
}

/// The ways in which a signature can be bad.
fn spoil(tx: &mut SignedNative, how: u8) {
    match how % 5 {
        0 => tx.signature = Signature([0xff; 64]),
        1 => tx.tx.value += alloy_primitives::U256::from(1),
        2 => tx.public_key = samples::key(99).public_key(),
        3 => tx.public_key = PublicKey([0; 32]),
        _ => tx.signature.0[0] ^= 1,
    }
}

#[test]
fn nothing_in_nothing_out() {
    assert!(verify_all(vec![]).is_empty());
}

#[test]
fn a_good_batch_passes_with_the_right_senders() {
    let signed: Vec<_> = (0..300).map(native).collect();
    let results = verify_all(signed.iter().cloned().map(unverified).collect());
    for (tx, result) in signed.iter().zip(results) {
        let verified = result.unwrap();
        assert_eq!(verified.sender(), tx.public_key.address());
        assert_eq!(verified.hash(), tx.hash(HashFn::Sha256));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn bad_signatures_spoil_nobody_else(
        bad in prop::collection::btree_map(0usize..280, any::<u8>(), 0..20),
        ethereum_at in prop::collection::btree_set(0usize..280, 0..5),
    ) {
        let txs: Vec<Unverified> = (0..280).map(|i| {
            if ethereum_at.contains(&i) {
                return ethereum_tx();
            }
            let mut tx = native(i as u64);
            if let Some(how) = bad.get(&i) {
                spoil(&mut tx, *how);
            }
            unverified(tx)
        }).collect();
        let hashes: Vec<_> = txs.iter().map(Unverified::hash).collect();
        for (i, result) in verify_all(txs.clone()).into_iter().enumerate() {
            let want_good = ethereum_at.contains(&i) || !bad.contains_key(&i);
            prop_assert_eq!(result.is_ok(), want_good, "transaction {}", i);
            match (&result, txs[i].clone().verify()) {
                (Ok(a), Ok(b)) => prop_assert_eq!((a.sender(), a.hash()), (b.sender(), hashes[i])),
                (Err(a), Err(b)) => prop_assert_eq!((a, &b), (&TxError::Signature, &TxError::Signature)),
                _ => prop_assert!(false, "single and batched disagree on transaction {}", i),
            }
        }
    }
}
