//! Published vectors: Ed25519 (RFC 8032 section 7.1) and signed Ethereum transactions.

use alloy_consensus::TxEnvelope;
use alloy_primitives::{Address, B256, U256, address};
use basalt_primitives::{
    PublicKey, SecretKey, Signature,
    crypto::{ed25519, secp256k1},
    tx::ethereum,
};

/// RFC 8032 section 7.1: secret key, public key, message, signature.
const RFC_8032: [[&str; 4]; 4] = [
    [
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ],
    [
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ],
    [
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ],
    [
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ],
];

fn unhex<const N: usize>(s: &str) -> [u8; N] {
    hex::decode(s).unwrap().try_into().unwrap()
}

#[test]
fn rfc_8032_vectors_sign_and_verify() {
    for [seed, public, message, signature] in RFC_8032 {
        let key = SecretKey::from_bytes(&unhex(seed));
        let message = hex::decode(message).unwrap();
        assert_eq!(key.public_key(), PublicKey(unhex(public)));
        assert_eq!(key.to_bytes(), zeroize::Zeroizing::new(unhex(seed)));
        let sig = key.sign(&message);
        assert_eq!(sig, Signature(unhex(signature)));
        assert!(key.public_key().verify(&message, &sig));
        assert!(ed25519::verify_batch([(key.public_key(), message.as_slice(), sig)]));
    }
}

#[test]
fn any_changed_bit_of_an_ed25519_signature_or_message_fails() {
    let [seed, _, message, _] = RFC_8032[2];
    let (key, message) = (SecretKey::from_bytes(&unhex(seed)), hex::decode(message).unwrap());
    let good = key.sign(&message);
    for bit in 0..512 {
        let mut sig = good;
        sig.0[bit / 8] ^= 1 << (bit % 8);
        assert!(!key.public_key().verify(&message, &sig), "signature bit {bit}");
    }
    for bit in 0..message.len() * 8 {
        let mut m = message.clone();
        m[bit / 8] ^= 1 << (bit % 8);
        assert!(!key.public_key().verify(&m, &good), "message bit {bit}");
    }
}

#[test]
fn secret_keys_are_not_printed() {
    let key = SecretKey::from_bytes(&[0x5a; 32]);
    let shown = format!("{key:?}");
    assert!(!shown.contains(&"5a".repeat(4)), "{shown}");
    assert!(shown.contains(&key.public_key().to_string()));
}

#[test]
fn public_keys_parse_from_hex_and_refuse_what_is_none() {
    let key = SecretKey::from_bytes(&[1; 32]).public_key();
    assert_eq!(key.to_string().parse::<PublicKey>(), Ok(key));
    assert_eq!(format!("0x{key}").parse::<PublicKey>(), Ok(key));
    let two = format!("02{}", "00".repeat(31)); // y = 2 is on no curve point
    for bad in ["", "0x", &"zz".repeat(32), &"00".repeat(31), &"00".repeat(32), &"ab".repeat(33), &two] {
        assert!(bad.parse::<PublicKey>().is_err(), "{bad}");
    }
}

/// The example of EIP-155 (chain 1, key 0x4646…46), and a transaction of the Ethereum main network (type 2).
const ETHEREUM: [(&str, Address); 2] = [
    (
        "f86c098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a76400008025a028ef61340bd939bc2195fe537567866003e1a15d3c71ff63e1590620aa636276a067cbe9d8997f761aecb703304b3800ccf555c9f3dc64214b297fb1966a3b6d83",
        address!("9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F"),
    ),
    (
        "02f86f0102843b9aca0085029e7822d68298f094d9e1459a7a482635700cbc20bbaf52d495ab9c9680841b55ba3ac080a0c199674fcb29f353693dd779c017823b954b3c69dffa3cd6b2a6ff7888798039a028ca912de909e7e6cdef9cdcaf24c54dd8c1032946dfa1d85c206b32a9064fe8",
        address!("001e2b7dE757bA469a57bF6b23d982458a07eFcE"),
    ),
];

fn parts(tx: &TxEnvelope) -> (B256, U256, U256, bool) {
    let sig = tx.signature();
    (tx.signature_hash(), sig.r(), sig.s(), sig.v())
}

#[test]
fn senders_of_known_ethereum_transactions_are_recovered() {
    for (raw, sender) in ETHEREUM {
        let tx = ethereum::decode(&hex::decode(raw).unwrap()).unwrap();
        let (hash, r, s, odd) = parts(&tx);
        assert_eq!(secp256k1::recover(&hash, r, s, odd), Some(sender));
        assert_ne!(secp256k1::recover(&hash, r, s, !odd), Some(sender), "the other parity is another key");
        assert_ne!(secp256k1::recover(&B256::ZERO, r, s, odd), Some(sender), "another message is another key");
    }
}

#[test]
fn high_s_and_numbers_outside_the_group_are_refused() {
    let order = U256::from_limbs([0xbfd2_5e8c_d036_4141, 0xbaae_dce6_af48_a03b, u64::MAX - 1, u64::MAX]);
    let tx = ethereum::decode(&hex::decode(ETHEREUM[0].0).unwrap()).unwrap();
    let (hash, r, s, odd) = parts(&tx);
    assert_eq!(secp256k1::recover(&hash, r, order - s, !odd), None, "EIP-2: the mirrored signature");
    let half = order >> 1;
    assert_eq!(secp256k1::recover(&hash, r, half + U256::from(1), odd), None);
    assert!(secp256k1::recover(&hash, r, half, odd).is_some(), "half itself is allowed");
    for bad in [U256::ZERO, order, U256::MAX] {
        assert_eq!(secp256k1::recover(&hash, bad, s, odd), None);
        assert_eq!(secp256k1::recover(&hash, r, bad, odd), None);
    }
}

#[test]
fn ethereum_transactions_have_one_encoding() {
    for (raw, _) in ETHEREUM {
        let raw = hex::decode(raw).unwrap();
        for cut in 0..raw.len() {
            assert!(ethereum::decode(&raw[..cut]).is_err(), "cut to {cut}");
        }
        assert!(ethereum::decode(&[raw.as_slice(), &[0]].concat()).is_err(), "a byte too many");
    }
    let blob = ethereum::decode(&[3, 0xc0]).unwrap_err().to_string();
    assert!(blob.contains("blob"), "{blob}");
}
