//! Transactions: two formats on the wire, one internal type with a sender and a sequential nonce.
//!
//! A transaction's canonical encoding is an EIP-2718 envelope: legacy RLP list, type 1, 2 or 4 exactly as Ethereum
//! wallets sign them, or [`native::TX_TYPE`] followed by the protobuf of a native transaction. An encoding that does
//! not encode to the very same bytes again is refused (`basalt_proto::tx::decode`), so a block's bytes are bound by its
//! transactions' hashes.
//!
//! Stages are types: decoding gives an [`Unverified`]; [`Unverified::verify`] or [`verify_all`] (batched)
//! give a [`Transaction`], whose sender is proven.

pub mod development;
pub mod ethereum;
pub mod native;
mod verify;

use alloy_consensus::{Transaction as _, TxEnvelope};
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};

pub use development::StateEdit;
pub use native::{NativeTx, SecurityLevel, SignedNative};
pub use verify::verify_all;

use crate::HashFn;

/// Largest encoding of one transaction, in bytes.
pub const MAX_TX_BYTES: usize = 128 * 1024;

/// The two formats, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Ed25519, protobuf.
    Native(Box<SignedNative>),
    /// secp256k1, RLP.
    Ethereum(Box<TxEnvelope>),
    /// An edit of the state, on development chains only.
    Edit(Box<StateEdit>),
}

/// A well-formed transaction whose signature has not been checked.
#[derive(Clone, Debug)]
pub struct Unverified {
    raw: Bytes,
    hash: B256,
    payload: Payload,
    /// The sender of a development transaction, which has no signature.
    unsigned: Option<Address>,
}

/// A transaction whose signature has been checked: `sender` is who signed it.
#[derive(Clone, Debug)]
pub struct Transaction {
    raw: Bytes,
    hash: B256,
    sender: Address,
    payload: Payload,
}

/// Why a transaction was refused before it reached any state. The text is what users read.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum TxError {
    /// Longer than [`MAX_TX_BYTES`].
    #[error(
        "transaction of {0} bytes is larger than the limit of {MAX_TX_BYTES}; split the data over several transactions"
    )]
    TooLarge(usize),
    /// Not a transaction.
    #[error("malformed transaction: {0}")]
    Malformed(String),
    /// A known type that Basalt does not carry.
    #[error("{0}")]
    Unsupported(&'static str),
    /// Signed for another chain.
    #[error("invalid chain id for signer: have {have}, want {want}")]
    ChainId {
        /// Chain id in the transaction.
        have: u64,
        /// This chain's id.
        want: u64,
    },
    /// The signature does not verify.
    #[error("invalid sender: the signature does not verify")]
    Signature,
}

impl Unverified {
    /// Wraps a decoded transaction. The caller, `basalt_proto::tx::decode`, vouches that `raw` is the canonical encoding
    /// of `payload` and that the chain id and the size were checked.
    #[must_use]
    pub fn from_canonical(raw: Bytes, payload: Payload, hash_fn: HashFn) -> Self {
        let hash = match &payload {
            Payload::Native(n) => n.hash(hash_fn),
            Payload::Ethereum(e) => *e.tx_hash(),
            Payload::Edit(_) => keccak256(&raw),
        };
        Self { raw, hash, payload, unsigned: None }
    }

    /// A development transaction: `sender` is as good as proven. Only [`development`] makes one.
    fn unsigned(raw: Bytes, payload: Payload, sender: Address) -> Self {
        Self { hash: keccak256(&raw), raw, payload, unsigned: Some(sender) }
    }

    /// The canonical encoding.
    #[must_use]
    pub const fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// The transaction hash.
    #[must_use]
    pub const fn hash(&self) -> B256 {
        self.hash
    }

    /// The decoded format.
    #[must_use]
    pub const fn payload(&self) -> &Payload {
        &self.payload
    }

    /// Checks the signature alone. For many at once see [`verify_all`].
    pub fn verify(self) -> Result<Transaction, TxError> {
        let sender = self.unsigned.or_else(|| match &self.payload {
            Payload::Native(n) => n.verify_sender(),
            Payload::Ethereum(e) => ethereum::recover(e),
            Payload::Edit(_) => None,
        });
        sender.map(|s| self.with_sender(s)).ok_or(TxError::Signature)
    }

    /// Takes the signature as checked: for transactions this process has just signed, or has read back from its own
    /// ledger, whose blocks were checked before they were stored. An Ethereum sender is still recovered.
    pub fn assume_verified(self) -> Result<Transaction, TxError> {
        let sender = self.unsigned.or_else(|| match &self.payload {
            Payload::Native(n) => Some(n.public_key.address()),
            Payload::Ethereum(e) => ethereum::recover(e),
            Payload::Edit(_) => None,
        });
        sender.map(|s| self.with_sender(s)).ok_or(TxError::Signature)
    }

    fn with_sender(self, sender: Address) -> Transaction {
        Transaction { raw: self.raw, hash: self.hash, sender, payload: self.payload }
    }
}

impl Transaction {
    /// The canonical encoding.
    #[must_use]
    pub const fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// The transaction hash.
    #[must_use]
    pub const fn hash(&self) -> B256 {
        self.hash
    }

    /// Who signed it.
    #[must_use]
    pub const fn sender(&self) -> Address {
        self.sender
    }

    /// The decoded format.
    #[must_use]
    pub const fn payload(&self) -> &Payload {
        &self.payload
    }

    /// Whether it is one of a development chain, which nobody signed.
    #[must_use]
    pub fn is_unsigned(&self) -> bool {
        self.raw.first() == Some(&development::TX_TYPE)
    }
}

/// The fields both formats share, read without caring which it is.
macro_rules! both {
    ($(#[$doc:meta])* $name:ident -> $ty:ty, $n:ident => $native:expr, $e:ident => $eth:expr, $d:ident => $edit:expr) => {
        impl Payload {
            $(#[$doc])*
            #[must_use]
            pub fn $name(&self) -> $ty {
                match self {
                    Self::Native($n) => $native,
                    Self::Ethereum($e) => $eth,
                    Self::Edit($d) => $edit,
                }
            }
        }
    };
}

both!(/** Chain id; `None` for pre-EIP-155 Ethereum transactions. */ chain_id -> Option<u64>, n => Some(n.tx.chain_id), e => e.chain_id(), d => Some(d.chain_id()));
both!(/** Sender's nonce. */ nonce -> u64, n => n.tx.nonce, e => e.nonce(), d => d.sequence());
both!(/** Most gas. */ gas_limit -> u64, n => n.tx.gas_limit, e => e.gas_limit(), _d => 0);
both!(/** Most to pay per gas: EIP-1559's max fee, or the legacy gas price. */ max_fee_per_gas -> u128, n => n.tx.max_fee_per_gas, e => e.max_fee_per_gas(), _d => 0);
both!(/** Tip per gas: EIP-1559's priority fee, or the legacy gas price. */ max_priority_fee_per_gas -> u128, n => n.tx.max_priority_fee_per_gas, e => e.max_priority_fee_per_gas().unwrap_or_else(|| e.max_fee_per_gas()), _d => 0);
both!(/** Receiver, `None` to create a contract. */ to -> Option<Address>, n => n.tx.to, e => e.to(), d => Some(d.address()));
both!(/** Wei transferred. */ value -> U256, n => n.tx.value, e => e.value(), _d => U256::ZERO);
both!(/** Call data or init code. */ input -> &Bytes, n => &n.tx.input, e => e.input(), d => d.bytes());
both!(/** EIP-2718 type. */ tx_type -> u8, _n => native::TX_TYPE, e => e.tx_type() as u8, _d => development::TX_TYPE);

impl Payload {
    /// The most this transaction can cost its sender: value and gas at the full fee; saturating.
    #[must_use]
    pub fn max_cost(&self) -> U256 {
        let gas = U256::from(self.gas_limit()).saturating_mul(U256::from(self.max_fee_per_gas()));
        gas.saturating_add(self.value())
    }

    /// What it pays per gas at a base fee, and of that the tip; `None` when it does not cover the base fee.
    #[must_use]
    pub fn effective_gas_price(&self, base_fee: u64) -> Option<(u128, u128)> {
        let tip = self.max_fee_per_gas().checked_sub(u128::from(base_fee))?.min(self.max_priority_fee_per_gas());
        Some((u128::from(base_fee) + tip, tip))
    }
}
