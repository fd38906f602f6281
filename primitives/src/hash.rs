//! The chain's hash function: a genesis choice for blocks, native transactions and the hash tree.
//! Inside the EVM everything stays Keccak.

use alloy_primitives::B256;
use ring::digest;
use serde::{Deserialize, Serialize};

use crate::layout::Layout;

/// The selectable hash functions, all with 32-byte results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HashFn {
    /// FIPS 180-4 SHA-256, the default.
    #[default]
    Sha256,
    /// Keccak-256 as Ethereum uses it.
    Keccak256,
    /// BLAKE3.
    Blake3,
}

impl HashFn {
    /// Hashes the bytes.
    #[must_use]
    pub fn hash(self, data: &[u8]) -> B256 {
        match self {
            Self::Sha256 => B256::from_slice(digest::digest(&digest::SHA256, data).as_ref()),
            Self::Keccak256 => alloy_primitives::keccak256(data),
            Self::Blake3 => B256::from(*blake3::hash(data).as_bytes()),
        }
    }

    /// Hashes a fixed layout.
    #[must_use]
    pub fn of(self, layout: &Layout) -> B256 {
        self.hash(layout.as_slice())
    }

    /// Stable code in fixed layouts and on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Sha256 => 1,
            Self::Keccak256 => 2,
            Self::Blake3 => 3,
        }
    }

    /// The name used in genesis and status answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Keccak256 => "keccak256",
            Self::Blake3 => "blake3",
        }
    }
}
