//! Ed25519: keys and signatures by ed25519-dalek (RFC 8032), verification by ed25519-zebra under the rules of ZIP-215,
//! where single and batched verification agree on every input. Small-order public keys are refused on top, because a
//! signature under such a key says nothing about the message.

use std::fmt;

use alloy_primitives::Address;
use ed25519_dalek::Signer as _;
use ed25519_zebra as zebra;
use ring::digest;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroizing;

/// An Ed25519 public key, as its 32-byte encoding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

/// An Ed25519 signature, R ‖ s.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signature(pub [u8; 64]);

/// An Ed25519 secret key. Never printed; cleared from memory when dropped.
#[derive(Clone)]
pub struct SecretKey(ed25519_dalek::SigningKey);

/// Encodings of the eight points of small order, canonical or not, as ZIP-215 would accept them.
/// The last byte's top bit (the sign of x) is ignored in the comparison.
const SMALL_ORDER_Y: [[u8; 32]; 7] = {
    const P_LOW: u8 = 0xed;
    const fn p_plus(d: u8) -> [u8; 32] {
        let mut b = [0xff; 32];
        b[0] = P_LOW + d;
        b[31] = 0x7f;
        b
    }
    const fn small(d: u8) -> [u8; 32] {
        let mut b = [0; 32];
        b[0] = d;
        b
    }
    const fn p_minus_1() -> [u8; 32] {
        let mut b = [0xff; 32];
        b[0] = P_LOW - 1;
        b[31] = 0x7f;
        b
    }
    [
        small(0),
        small(1),
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
            0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
            0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
        ],
        p_minus_1(),
        p_plus(0),
        p_plus(1),
    ]
};

impl PublicKey {
    /// The native account address: the last 20 bytes of SHA-256 over a domain and the key. The domain keeps it from
    /// ever being the address of an Ethereum key.
    #[must_use]
    pub fn address(&self) -> Address {
        let mut h = digest::Context::new(&digest::SHA256);
        h.update(b"basalt/address/ed25519/v1");
        h.update(&self.0);
        Address::from_slice(&h.finish().as_ref()[12..])
    }

    /// Whether this is a point of small order, under which signatures prove nothing.
    #[must_use]
    pub fn is_small_order(&self) -> bool {
        let mut y = self.0;
        y[31] &= 0x7f;
        SMALL_ORDER_Y.contains(&y)
    }

    /// Whether signatures can verify under this key: it encodes a point of the curve, and not one of small order.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        !self.is_small_order() && zebra::VerificationKey::try_from(self.0).is_ok()
    }

    /// Verifies one signature under ZIP-215; false for small-order keys.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &Signature) -> bool {
        if self.is_small_order() {
            return false;
        }
        let Ok(key) = zebra::VerificationKey::try_from(self.0) else { return false };
        key.verify(&zebra::Signature::from_bytes(&signature.0), message).is_ok()
    }
}

/// Verifies many signatures at once: true if every one would verify alone. Much cheaper than one by one.
/// On false, verify one by one to find which.
pub fn verify_batch<'a>(items: impl IntoIterator<Item = (PublicKey, &'a [u8], Signature)>) -> bool {
    let mut batch = zebra::batch::Verifier::new();
    for (key, message, signature) in items {
        if key.is_small_order() {
            return false;
        }
        let sig = zebra::Signature::from_bytes(&signature.0);
        batch.queue((zebra::VerificationKeyBytes::from(key.0), sig, message));
    }
    batch.verify(rand::rng()).is_ok()
}

impl SecretKey {
    /// A key from its 32-byte seed.
    #[must_use]
    pub fn from_bytes(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// The 32-byte seed.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public key.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs a message.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {})", self.public_key())
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// Not the hex of a key that [`PublicKey::is_valid`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not an Ed25519 public key (64 hex digits of a point that is not of small order)")]
pub struct KeyParseError(String);

impl std::str::FromStr for PublicKey {
    type Err = KeyParseError;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let fail = || KeyParseError(s.chars().take(80).collect());
        let mut bytes = [0; 32];
        hex::decode_to_slice(s.strip_prefix("0x").unwrap_or(s), &mut bytes).map_err(|_| fail())?;
        let key = Self(bytes);
        if key.is_valid() { Ok(key) } else { Err(fail()) }
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}
