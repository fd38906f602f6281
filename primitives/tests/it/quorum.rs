//! Quorum arithmetic, and certificates checked against a set.

use alloy_primitives::B256;
use basalt_primitives::{
    Height, PublicKey, Round, Validator, ValidatorSet,
    validators::{CertificateError, SetError, VoteKind},
};
use proptest::prelude::*;

use crate::samples;

/// What makes PBFT safe and live: two quorums share an honest validator, and the honest ones are a quorum.
fn assert_sound(set: &ValidatorSet) {
    let (total, f, q) = (set.total_power(), set.max_faulty(), set.quorum());
    assert!(3 * f < total && 3 * (f + 1) >= total, "f is the largest below a third: {total}");
    assert!(2 * q - total > f, "two quorums share more than f: {total}");
    assert!(q <= total - f, "the honest alone are a quorum: {total}");
    assert!(2 * (q - 1) < total + f + 1, "no smaller quorum would do: {total}");
}

/// Sets of fake keys: quorums do not look at them.
fn weighted(powers: &[u64]) -> ValidatorSet {
    let one = |(i, &power): (usize, &u64)| {
        let mut k = [0xee; 32];
        k[..8].copy_from_slice(&(i as u64).to_be_bytes());
        Validator { public_key: PublicKey(k), power }
    };
    ValidatorSet::new(powers.iter().enumerate().map(one).collect()).unwrap()
}

#[test]
fn quorums_of_1_to_100_equal_votes() {
    for n in 1..=100 {
        assert_sound(&weighted(&vec![1; n]));
    }
    let quorums: Vec<u64> = (1..=10).map(|n| weighted(&vec![1; n]).quorum()).collect();
    assert_eq!(quorums, [1, 2, 2, 3, 4, 4, 5, 6, 6, 7]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn quorums_of_weighted_votes(powers in prop::collection::vec(1u64..1 << 50, 1..60)) {
        assert_sound(&weighted(&powers));
    }
}

#[test]
fn bad_sets_are_refused() {
    let v = |i: u8, power| Validator { public_key: samples::key(i).public_key(), power };
    assert_eq!(ValidatorSet::new(vec![]), Err(SetError::Empty));
    assert_eq!(ValidatorSet::new(vec![v(1, 0)]), Err(SetError::Power));
    assert_eq!(ValidatorSet::new(vec![v(1, 1 << 60)]), Err(SetError::Power));
    assert_eq!(ValidatorSet::new(vec![v(1, u64::MAX), v(2, u64::MAX)]), Err(SetError::Power));
    assert_eq!(ValidatorSet::new(vec![v(1, 1), v(1, 1)]), Err(SetError::Duplicate(samples::key(1).public_key())));
    let many: Vec<_> = (0..=ValidatorSet::MAX as u64)
        .map(|i| {
            let mut k = [1; 32];
            k[..8].copy_from_slice(&i.to_be_bytes());
            Validator { public_key: PublicKey(k), power: 1 }
        })
        .collect();
    assert_eq!(ValidatorSet::new(many), Err(SetError::TooMany(ValidatorSet::MAX + 1)));
}

#[test]
fn power_counts_each_known_index_once() {
    let set = weighted(&[1, 2, 4]);
    assert_eq!(set.power_of([0, 2, 2, 0]), 5);
    assert_eq!(set.power_of([3, 9]), 0);
}

#[test]
fn a_certificate_needs_a_quorum_of_good_signatures_in_order() {
    let (set, genesis, block) = (samples::set(4), B256::repeat_byte(1), B256::repeat_byte(2));
    let (h, r) = (Height(5), Round(1));
    let cert = |signers: &[u16]| samples::certificate(genesis, h, r, block, signers);
    assert_eq!(set.verify_certificate(genesis, &cert(&[0, 1, 3])), Ok(()));
    assert_eq!(set.verify_certificate(genesis, &cert(&[0, 1, 2, 3])), Ok(()));
    let below = CertificateError::BelowQuorum { height: h, power: 2, quorum: 3 };
    assert_eq!(set.verify_certificate(genesis, &cert(&[0, 1])), Err(below));
    for bad in [&[0, 1, 1][..], &[1, 0, 2], &[0, 1, 4], &[0, 1, 2, u16::from(u8::MAX) - 1]] {
        assert_eq!(set.verify_certificate(genesis, &cert(bad)), Err(CertificateError::Indexes(h)));
    }

    let good = cert(&[0, 1, 2]);
    let wrong = Err(CertificateError::Signature(h));
    assert_eq!(set.verify_certificate(B256::ZERO, &good), wrong, "another chain");
    assert_eq!(set.verify_votes(genesis, VoteKind::Prepare, &good), wrong, "another phase");
    let mut c = good.clone();
    c.round = Round(0);
    assert_eq!(set.verify_certificate(genesis, &c), wrong);
    let mut c = good.clone();
    c.block_hash = B256::ZERO;
    assert_eq!(set.verify_certificate(genesis, &c), wrong);
    let mut c = good.clone();
    c.signatures[2].validator = 3;
    assert_eq!(set.verify_certificate(genesis, &c), wrong, "signed by another");
    for i in 0..3 {
        let mut c = good.clone();
        c.signatures[i].signature.0[40] ^= 1;
        assert_eq!(set.verify_certificate(genesis, &c), wrong);
    }
}
