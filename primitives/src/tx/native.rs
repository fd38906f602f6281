//! Native transactions: Ed25519 signatures over a fixed layout, protobuf on the wire.

use alloy_primitives::{Address, B256, Bytes, U256};

use crate::{HashFn, Height, PublicKey, SecretKey, Signature, layout::Layout};

/// EIP-2718 type byte of a native transaction ('B').
pub const TX_TYPE: u8 = 0x42;

/// The sensitivity class a user gives the data of a transaction. What each level demands is the network's policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecurityLevel {
    /// Anyone may read it.
    #[default]
    Public,
    /// Members of the network.
    Internal,
    /// Named parties; encrypted.
    Confidential,
    /// Named parties; data and then the whole transaction encrypted.
    Secret,
}

impl SecurityLevel {
    /// Stable code in layouts and on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The level of a code.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Public,
            1 => Self::Internal,
            2 => Self::Confidential,
            3 => Self::Secret,
            _ => return None,
        })
    }
}

/// The fields a native account signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NativeTx {
    /// Chain this is for.
    pub chain_id: u64,
    /// Sender's sequential nonce.
    pub nonce: u64,
    /// First height at which it may be in a block.
    pub valid_from: Height,
    /// Last height at which it may be in a block; `None` for no end.
    pub valid_until: Option<Height>,
    /// Most to pay per gas, in wei.
    pub max_fee_per_gas: u128,
    /// Tip per gas, in wei, within `max_fee_per_gas`.
    pub max_priority_fee_per_gas: u128,
    /// Most gas to use.
    pub gas_limit: u64,
    /// Receiver, or `None` to create a contract.
    pub to: Option<Address>,
    /// Wei to transfer.
    pub value: U256,
    /// Call data or init code.
    pub input: Bytes,
    /// Class of the data.
    pub level: SecurityLevel,
    /// Encrypted payload, carried and hashed but not executed.
    pub payload: Option<Bytes>,
}

/// A native transaction with its key and signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedNative {
    /// What was signed.
    pub tx: NativeTx,
    /// Key of the sender.
    pub public_key: PublicKey,
    /// Signature over [`NativeTx::signing_layout`].
    pub signature: Signature,
}

impl NativeTx {
    /// The bytes that are signed.
    #[must_use]
    pub fn signing_layout(&self, public_key: &PublicKey) -> Layout {
        let mut l = Layout::new("basalt/native-tx/v1");
        l.fixed(&public_key.0)
            .u64(self.chain_id)
            .u64(self.nonce)
            .u64(self.valid_from.0)
            .option(self.valid_until, |l, h| {
                l.u64(h.0);
            })
            .u128(self.max_fee_per_gas)
            .u128(self.max_priority_fee_per_gas)
            .u64(self.gas_limit)
            .option(self.to, |l, a| {
                l.fixed(&a.0.0);
            })
            .fixed(&self.value.to_be_bytes::<32>())
            .bytes(&self.input)
            .u8(self.level.code())
            .option(self.payload.as_ref(), |l, p| {
                l.bytes(p);
            });
        l
    }

    /// Signs with the sender's key.
    #[must_use]
    pub fn sign(self, key: &SecretKey) -> SignedNative {
        let public_key = key.public_key();
        let signature = key.sign(self.signing_layout(&public_key).as_slice());
        SignedNative { tx: self, public_key, signature }
    }
}

impl SignedNative {
    /// The transaction hash: over the signed layout and the signature.
    #[must_use]
    pub fn hash(&self, hash_fn: HashFn) -> B256 {
        let mut l = self.tx.signing_layout(&self.public_key);
        l.fixed(&self.signature.0);
        hash_fn.of(&l)
    }
}

impl SignedNative {
    /// The sender's address, if the signature verifies.
    #[must_use]
    pub fn verify_sender(&self) -> Option<Address> {
        let layout = self.tx.signing_layout(&self.public_key);
        self.public_key.verify(layout.as_slice(), &self.signature).then(|| self.public_key.address())
    }
}
