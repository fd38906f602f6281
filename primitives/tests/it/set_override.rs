//! The set override: sets with lost members, and the file.

use alloy_primitives::{B256, hex};
use basalt_primitives::{
    CommitSignature, HashFn, Height, PublicKey, Round, SetOverride, Validator, ValidatorSet,
    set_override::{MAX_BYTES, OverrideError},
    validators::{SetError, VoteKind},
};
use proptest::prelude::*;

use crate::samples::{certificate, key, set};

const GENESIS: B256 = B256::repeat_byte(7);

fn keys(indexes: &[u8]) -> Vec<PublicKey> {
    indexes.iter().map(|i| set(7).get(u16::from(*i)).expect("a member").public_key).collect()
}

/// The secret keys of `samples::set` by index.
fn secret(index: u8) -> basalt_primitives::SecretKey {
    let wanted = keys(&[index])[0];
    assert_eq!(key(index + 1).public_key(), wanted);
    key(index + 1)
}

fn made() -> SetOverride {
    SetOverride::new(GENESIS, Height(9), keys(&[1, 2])).expect("sound")
}

#[test]
fn lost_members_keep_their_place_and_lose_their_power() {
    let plain = set(7);
    let marked = plain.without(&keys(&[1, 3, 5]), true).unwrap();
    assert_eq!((marked.len(), marked.total_power(), marked.quorum(), marked.max_faulty()), (7, 4, 4, 0));
    assert_eq!(marked.index_of(&keys(&[5])[0]), Some(5));
    assert_eq!(marked.power_of([0, 1, 2, 3, 3]), 2);
    assert_eq!(marked.remaining().map(|(i, _)| i).collect::<Vec<_>>(), [0, 2, 4, 6]);
    assert!(marked.is_overridden() && marked.is_lost(1) && !marked.is_lost(2) && !marked.is_lost(99));
    assert!(marked.is_quorum([0, 2, 4, 6]) && !marked.is_quorum([0, 1, 2, 3, 4, 5]));
    assert!(marked.may_prepare([0, 1, 2, 3, 5]) && !marked.may_prepare([0, 1, 2, 3]));
    let second = plain.without(&keys(&[1, 3, 5]), false).unwrap();
    assert!(!second.may_prepare([0, 1, 2, 3, 5]) && second.may_prepare([0, 2, 4, 6]));
    assert_eq!(plain.without(&keys(&[0, 1, 2, 3, 4, 5, 6]), true), Err(SetError::Empty));
    assert_eq!(plain.without(&[PublicKey([3; 32])], true), Ok(plain.clone()), "strangers are passed over");
}

#[test]
fn the_hash_covers_the_lost_under_a_domain_of_its_own() {
    let plain = set(4);
    let hash = |lost: &[u8]| plain.without(&keys(lost), true).unwrap().hash(HashFn::Sha256);
    let all = [hash(&[]), hash(&[2]), hash(&[3]), hash(&[2, 3])];
    assert_eq!(all[0], plain.hash(HashFn::Sha256));
    assert!((0..4).all(|i| (0..i).all(|j| all[i] != all[j])));
    assert_eq!(
        hex::encode(hash(&[2, 3])),
        "20cc48d50c52738e743ef6ee14e2d7223b89c7a6efa1586aa950210fe263aafa",
        "a golden value: it is in headers"
    );
}

#[test]
fn commit_certificates_need_all_that_remain_and_old_prepares_still_count() {
    let marked = set(4).without(&keys(&[2, 3]), true).unwrap();
    let commit = |by: &[u16]| certificate(GENESIS, Height(9), Round(1), B256::repeat_byte(1), by);
    assert_eq!(marked.verify_certificate(GENESIS, &commit(&[0, 1])), Ok(()));
    for few in [&[0][..], &[0, 2, 3], &[1, 2, 3]] {
        assert!(marked.verify_certificate(GENESIS, &commit(few)).is_err(), "{few:?}");
    }
    // The same signers as prepares: signatures differ, so only the count is looked at.
    let bytes = basalt_primitives::validators::vote_bytes(
        GENESIS,
        VoteKind::Prepare,
        Height(9),
        Round(1),
        B256::repeat_byte(1),
    );
    let mut prepared = commit(&[0, 2, 3]);
    prepared.signatures =
        [0, 2, 3].map(|i| CommitSignature { validator: i, signature: secret(i as u8).sign(bytes.as_slice()) }).to_vec();
    assert_eq!(marked.verify_votes(GENESIS, VoteKind::Prepare, &prepared), Ok(()));
    let second = set(4).without(&keys(&[2, 3]), false).unwrap();
    assert!(second.verify_votes(GENESIS, VoteKind::Prepare, &prepared).is_err());
}

#[test]
fn a_file_is_in_force_once_all_that_remain_have_signed() {
    let mut o = made();
    let remaining = [0, 3];
    assert_eq!(o.check_signed_so_far(GENESIS, &set(4)).map(|m| m.len()), Ok(2));
    o.sign(&secret(0));
    assert!(matches!(o.check(GENESIS, &set(4)), Err(OverrideError::Missing(m)) if m == keys(&[3])));
    remaining.iter().for_each(|i| o.sign(&secret(*i)));
    assert_eq!(o.check(GENESIS, &set(4)), Ok(()));
    let read = SetOverride::from_json(o.to_json().as_bytes()).unwrap();
    assert_eq!(read, o);
    assert_eq!(
        hex::encode(HashFn::Sha256.of(&o.signing_layout())),
        "0e07c0fbf15588d7e609422a6c5391b84141b51311a96acba94d731eb186e45c",
        "what is signed never changes"
    );
    // Other facts, other signatures.
    let other = SetOverride::new(GENESIS, Height(10), o.lost.clone()).unwrap();
    let mut forged = o.clone();
    forged.height = Height(10);
    assert!(matches!(forged.check(GENESIS, &set(4)), Err(OverrideError::Signature(_))));
    assert!(
        other.covers(Height(10)) && other.covers(Height(11)) && !other.covers(Height(12)) && !other.covers(Height(9))
    );
    assert!(matches!(o.check(B256::ZERO, &set(4)), Err(OverrideError::OtherChain(_))));
    o.sign(&secret(1));
    assert!(matches!(o.check(GENESIS, &set(4)), Err(OverrideError::Stranger(_))));
}

#[test]
fn what_is_not_needed_or_leaves_nobody_is_refused() {
    let lose = |indexes: &[u8]| SetOverride::new(GENESIS, Height(9), keys(indexes)).unwrap().check(GENESIS, &set(4));
    assert_eq!(lose(&[1]), Err(OverrideError::NotNeeded { remaining: 3, total: 4 }));
    assert_eq!(lose(&[0, 1, 2, 3]), Err(OverrideError::All));
    assert!(matches!(lose(&[1, 6]), Err(OverrideError::Unknown(_))));
    assert!(matches!(SetOverride::new(GENESIS, Height(9), vec![]), Err(OverrideError::List(_))));
    assert!(matches!(SetOverride::new(GENESIS, Height(9), keys(&[1, 1])), Err(OverrideError::List(_))));
    assert_eq!(SetOverride::new(GENESIS, Height(0), keys(&[1])), Err(OverrideError::Genesis));
}

#[test]
fn other_texts_are_refused() {
    let good = made().to_json();
    for (from, to) in [
        ("basalt/set-override/v1", "basalt/set-override/v2"),
        ("\"height\"", "\"hight\""),
        ("\"height\": 9", "\"height\": -9"),
        ("\"lost\": [", "\"lost\": [ 1,"),
        ("\"signatures\": []", "\"signatures\": [{}]"),
        ("\"signatures\": []", "\"signatures\": [], \"more\": 1"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good, "{from}");
        assert!(SetOverride::from_json(bad.as_bytes()).is_err(), "{bad}");
    }
    assert_eq!(SetOverride::from_json(&vec![b' '; MAX_BYTES + 1]), Err(OverrideError::TooLarge));
}

/// The largest file there can be is read.
#[test]
fn the_largest_set_fits() {
    let secrets: Vec<_> = (0..=255).map(key).collect();
    let one = |k: &basalt_primitives::SecretKey| Validator { public_key: k.public_key(), power: 1 };
    let full = ValidatorSet::new(secrets.iter().map(one).collect()).unwrap();
    let (lost, remain) = secrets.split_at(128);
    let mut o = SetOverride::new(GENESIS, Height(9), lost.iter().map(|k| k.public_key()).collect()).unwrap();
    remain.iter().for_each(|k| o.sign(k));
    let text = o.to_json();
    assert!(text.len() < MAX_BYTES, "{}", text.len());
    assert_eq!(SetOverride::from_json(text.as_bytes()).unwrap().check(GENESIS, &full), Ok(()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever is read again says the same; nothing makes the reader panic.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400), at in 0usize..400, byte: u8) {
        let _ = SetOverride::from_json(&bytes);
        let mut text = made().to_json().into_bytes();
        let at = at % text.len();
        text[at] = byte;
        if let Ok(read) = SetOverride::from_json(&text) {
            prop_assert_eq!(SetOverride::from_json(read.to_json().as_bytes()), Ok(read));
        }
    }
}
