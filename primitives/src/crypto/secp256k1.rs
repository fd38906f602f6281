//! secp256k1 by libsecp256k1: recovering the sender of an Ethereum transaction.

use alloy_primitives::{Address, B256, U256, keccak256};
use secp256k1::{Message, SECP256K1, ecdsa};

/// Half the curve order: a signature's s above it is refused (EIP-2).
const HALF_ORDER: U256 =
    U256::from_limbs([0xdfe9_2f46_681b_20a0, 0x5d57_6e73_57a4_501d, u64::MAX, 0x7fff_ffff_ffff_ffff]);

/// Recovers the address that signed `hash`, or `None` when the signature is malformed or its s is high.
#[must_use]
pub fn recover(hash: &B256, r: U256, s: U256, y_odd: bool) -> Option<Address> {
    if s > HALF_ORDER {
        return None;
    }
    let mut compact = [0u8; 64];
    compact[..32].copy_from_slice(&r.to_be_bytes::<32>());
    compact[32..].copy_from_slice(&s.to_be_bytes::<32>());
    let id = ecdsa::RecoveryId::try_from(i32::from(y_odd)).ok()?;
    let sig = ecdsa::RecoverableSignature::from_compact(&compact, id).ok()?;
    let key = SECP256K1.recover_ecdsa(Message::from_digest(hash.0), &sig).ok()?;
    Some(address_of(&key))
}

/// The Ethereum address of a public key.
#[must_use]
pub fn address_of(key: &secp256k1::PublicKey) -> Address {
    Address::from_slice(&keccak256(&key.serialize_uncompressed()[1..])[12..])
}
