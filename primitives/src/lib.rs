//! Basalt's domain types: what a block, a transaction, a certificate and a chain specification are, how each is
//! hashed and signed, and nothing else. No I/O, no clocks, no randomness.
//!
//! Bytes that are hashed or signed come from [`layout`] (fixed layout, domain separated), never from protobuf, whose
//! encoding is not canonical. Wire and disk formats live in `basalt-proto`.

pub mod block;
pub mod certificate;
pub mod chainspec;
pub mod crypto;
pub mod hash;
pub mod header;
pub mod layout;
pub mod merkle;
pub mod pow;
pub mod receipt;
pub mod set_override;
pub mod state;
pub mod system;
pub mod tx;
pub mod units;
pub mod validators;

pub use alloy_primitives::{Address, B256, Bloom, Bytes, U256, address, b256, keccak256};
pub use block::{Block, SealedBlock};
pub use certificate::{CommitCertificate, CommitSignature};
pub use chainspec::ChainSpec;
pub use crypto::ed25519::{PublicKey, SecretKey, Signature};
pub use hash::HashFn;
pub use header::{Header, Seal};
pub use pow::{PowParams, WorkHash};
pub use receipt::{Log, Receipt};
pub use set_override::SetOverride;
pub use tx::{Transaction, TxError};
pub use units::{Height, Millis, Round};
pub use validators::{Validator, ValidatorSet};
