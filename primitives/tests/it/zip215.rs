//! ZIP-215 (https://zips.z.cash/zip-0215): its 196 small-order cases, and the ten of "Taming the many EdDSAs"
//! (Chalkias, Garillot, Nikolaenko, 2020; novifinancial/ed25519-speccheck), where libraries disagree.
//!
//! Two layers are looked at. Underneath, ed25519-zebra must follow ZIP-215 to the letter, single and batched alike. On
//! top, Basalt refuses small-order keys, single and batched alike.

use basalt_primitives::{PublicKey, SecretKey, Signature, crypto::ed25519};
use ed25519_zebra as zebra;

/// The fourteen encodings of the eight points of small order: eight canonical ones, then six that are not.
const SMALL_ORDER: [&str; 14] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
];

fn unhex<const N: usize>(s: &str) -> [u8; N] {
    hex::decode(s).unwrap().try_into().unwrap()
}

/// What the library underneath says: alone, and as one of a batch with a good signature beside it.
fn library(key: [u8; 32], message: &[u8], signature: [u8; 64]) -> (bool, bool) {
    let sig = zebra::Signature::from_bytes(&signature);
    let single = zebra::VerificationKey::try_from(key).is_ok_and(|k| k.verify(&sig, message).is_ok());
    let other = SecretKey::from_bytes(&[7; 32]);
    let mut batch = zebra::batch::Verifier::new();
    batch.queue((zebra::VerificationKeyBytes::from(key), sig, message));
    let good = zebra::Signature::from_bytes(&other.sign(b"good").0);
    batch.queue((zebra::VerificationKeyBytes::from(other.public_key().0), good, b"good"));
    (single, batch.verify(rand::rng()).is_ok())
}

/// What Basalt says, likewise.
fn ours(key: PublicKey, message: &[u8], signature: Signature) -> (bool, bool) {
    let other = SecretKey::from_bytes(&[7; 32]);
    let good = (other.public_key(), b"good".as_slice(), other.sign(b"good"));
    (key.verify(message, &signature), ed25519::verify_batch([good, (key, message, signature)]))
}

#[test]
fn all_196_small_order_cases_verify_under_zip_215_and_are_refused_by_us() {
    let mut cases = 0;
    for a in SMALL_ORDER {
        for r in SMALL_ORDER {
            let mut signature = [0; 64]; // s = 0
            signature[..32].copy_from_slice(&unhex::<32>(r));
            assert_eq!(library(unhex(a), b"Zcash", signature), (true, true), "A = {a}, R = {r}");
            assert_eq!(ours(PublicKey(unhex(a)), b"Zcash", Signature(signature)), (false, false), "A = {a}, R = {r}");
            cases += 1;
        }
    }
    assert_eq!(cases, 196);
}

#[test]
fn small_order_keys_are_known_and_no_other_is_taken_for_one() {
    for a in SMALL_ORDER {
        assert!(PublicKey(unhex(a)).is_small_order(), "{a}");
        assert!(a.parse::<PublicKey>().is_err(), "{a}");
    }
    for i in 0..=255 {
        assert!(!SecretKey::from_bytes(&[i; 32]).public_key().is_small_order());
    }
    for [_, key, _] in [SPECCHECK[2], SPECCHECK[3], SPECCHECK[6]] {
        assert!(!PublicKey(unhex(key)).is_small_order(), "mixed order is not small order: {key}");
    }
}

/// Message, public key, signature.
const SPECCHECK: [[&str; 3]; 10] = [
    // 0, 1: key of small order.
    [
        "8c93255d71dcab10e8f379c26200f3c7bd5f09d9bc3068d3ef4edeb4853022b6",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a0000000000000000000000000000000000000000000000000000000000000000",
    ],
    [
        "9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43a5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04",
    ],
    // 2: R of small order, key of mixed order.
    [
        "aebf3f2601a0c8c5d39cc7d8911642f740b78168218da8471772b35f9d35b9ab",
        "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa8c4bd45aecaca5b24fb97bc10ac27ac8751a7dfe1baff8b953ec9f5833ca260e",
    ],
    // 3: key and R of mixed order, verifies with and without the cofactor.
    [
        "9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79",
        "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
        "9046a64750444938de19f227bb80485e92b83fdb4b6506c160484c016cc1852f87909e14428a7a1d62e9f22f3d3ad7802db02eb2e688b6c52fcd6648a98bd009",
    ],
    // 4, 5: verify with the cofactor only; where single and batched checks of other libraries part.
    [
        "e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c",
        "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
        "160a1cb0dc9c0258cd0a7d23e94d8fa878bcb1925f2c64246b2dee1796bed5125ec6bc982a269b723e0668e540911a9a6a58921d6925e434ab10aa7940551a09",
    ],
    [
        "e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c",
        "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
        "21122a84e0b5fca4052f5b1235c80a537878b38f3142356b2c2384ebad4668b7e40bc836dac0f71076f9abe3a53f9c03c1ceeeddb658d0030494ace586687405",
    ],
    // 6, 7: s at or above the group order.
    [
        "85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40",
        "442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623",
        "e96f66be976d82e60150baecff9906684aebb1ef181f67a7189ac78ea23b6c0e547f7690a0e2ddcd04d87dbc3490dc19b3b3052f7ff0538cb68afb369ba3a514",
    ],
    [
        "85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40",
        "442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623",
        "8ce5b96c8f26d0ab6c47958c9e68b937104cd36e13c33566acd2fe8d38aa19427e71f98a473474f2f13f06f97c20d58cc3f54b8bd0d272f42b695dd7e89a8c22",
    ],
    // 8, 9: R not canonical; it is hashed re-encoded in one, as it came in the other.
    [
        "fdaebc429f4a735932a160da1301080c13280eea8bc280d1b392c6b9e6ba3a5a",
        "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f454d370c8d9fc323a41450f8d513eafeb5b0697390c1e505a0d4ddc71f566607",
    ],
    [
        "84b698d39be126ff55fe45079e6c8bf64a0d7db6994560b4e96b7021eb39c1a1",
        "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f084d5b99c2a9463d9c8bd5026916996984eeec87ddf1d3be329006ace1b37b09",
    ],
];

#[test]
fn the_cases_where_libraries_disagree_follow_zip_215_single_and_batched() {
    let zip_215 = [true, true, true, true, true, true, false, false, false, true];
    for (i, [message, key, signature]) in SPECCHECK.into_iter().enumerate() {
        let (message, key, signature) = (hex::decode(message).unwrap(), unhex(key), unhex(signature));
        assert_eq!(library(key, &message, signature), (zip_215[i], zip_215[i]), "case {i}");
        let want = zip_215[i] && i > 1; // 0 and 1 are under keys of small order
        assert_eq!(ours(PublicKey(key), &message, Signature(signature)), (want, want), "case {i}");
    }
}
