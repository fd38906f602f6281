//! Accounts of the load: keys of either kind that sign one kind of transaction as wallets of that kind do.

use alloy_consensus::{SignableTransaction as _, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Signature, TxKind};
use basalt_primitives::{
    Address, B256, Bytes, HashFn, Height, SecretKey, U256,
    crypto::secp256k1::address_of,
    tx::{NativeTx, SecurityLevel},
};
use secp256k1::SECP256K1;

use super::workload::Format;
use crate::keys::{self, KeyError};

/// A key of the load. `Debug` names its address only.
#[derive(Clone)]
pub enum Account {
    /// Ed25519.
    Native(SecretKey),
    /// secp256k1.
    Ethereum(secp256k1::SecretKey),
}

/// What every transaction of a run has in common.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Chain id.
    pub chain_id: u64,
    /// Most to pay per gas.
    pub max_fee: u128,
    /// The chain's hash function.
    pub hash_fn: HashFn,
}

/// One transaction to sign; without receiver it makes a contract.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Nonce.
    pub nonce: u64,
    /// Receiver.
    pub to: Option<Address>,
    /// Wei.
    pub value: U256,
    /// Call data or init code.
    pub input: Bytes,
    /// Most gas.
    pub gas: u64,
}

/// A signed transaction.
#[derive(Clone, Debug)]
pub struct Signed {
    /// Its hash.
    pub hash: B256,
    /// Its encoding.
    pub raw: Bytes,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Account({})", self.address())
    }
}

impl Account {
    /// A fresh key.
    pub fn generate(format: Format) -> Result<Self, KeyError> {
        if format == Format::Native {
            return Ok(Self::Native(keys::generate()?));
        }
        loop {
            // All but one in 2^128 of 32-byte strings are keys.
            if let Ok(key) = secp256k1::SecretKey::from_byte_array(keys::random::<32>()?) {
                return Ok(Self::Ethereum(key));
            }
        }
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> Address {
        match self {
            Self::Native(key) => key.public_key().address(),
            Self::Ethereum(key) => address_of(&key.public_key(SECP256K1)),
        }
    }

    /// Signs and encodes a transaction.
    #[must_use]
    pub fn sign(&self, terms: &Terms, draft: Draft) -> Signed {
        match self {
            Self::Native(key) => sign_native(key, terms, draft),
            Self::Ethereum(key) => sign_ethereum(key, terms, draft),
        }
    }
}

fn sign_native(key: &SecretKey, terms: &Terms, draft: Draft) -> Signed {
    let tx = NativeTx {
        chain_id: terms.chain_id,
        nonce: draft.nonce,
        valid_from: Height::GENESIS,
        valid_until: None,
        max_fee_per_gas: terms.max_fee,
        max_priority_fee_per_gas: 0,
        gas_limit: draft.gas,
        to: draft.to,
        value: draft.value,
        input: draft.input,
        level: SecurityLevel::Public,
        payload: None,
    };
    let signed = tx.sign(key);
    Signed { hash: signed.hash(terms.hash_fn), raw: basalt_proto::tx::encode_native(&signed) }
}

fn sign_ethereum(key: &secp256k1::SecretKey, terms: &Terms, draft: Draft) -> Signed {
    let tx = TxEip1559 {
        chain_id: terms.chain_id,
        nonce: draft.nonce,
        gas_limit: draft.gas,
        max_fee_per_gas: terms.max_fee,
        max_priority_fee_per_gas: 0,
        to: draft.to.map_or(TxKind::Create, TxKind::Call),
        value: draft.value,
        access_list: Default::default(),
        input: draft.input,
    };
    let message = secp256k1::Message::from_digest(tx.signature_hash().0);
    let (id, bytes) = SECP256K1.sign_ecdsa_recoverable(message, key).serialize_compact();
    let (r, s) = (U256::from_be_slice(&bytes[..32]), U256::from_be_slice(&bytes[32..]));
    let signed = TxEnvelope::from(tx.into_signed(Signature::new(r, s, i32::from(id) == 1)));
    Signed { hash: *signed.tx_hash(), raw: signed.encoded_2718().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_either_key_signs_verifies_as_its_address_with_its_hash() {
        let terms = Terms { chain_id: 5, max_fee: 9, hash_fn: HashFn::Sha256 };
        for format in [Format::Native, Format::Ethereum] {
            let account = Account::generate(format).expect("key");
            let draft =
                Draft { nonce: 3, to: Some(Address::ZERO), value: U256::from(1), input: Bytes::new(), gas: 21_000 };
            let signed = account.sign(&terms, draft);
            let tx =
                basalt_proto::tx::decode(signed.raw, 5, terms.hash_fn).expect("decodes").verify().expect("verifies");
            assert_eq!((tx.sender(), tx.hash(), tx.payload().nonce()), (account.address(), signed.hash, 3));
        }
    }
}
