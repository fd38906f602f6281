//! What a proof-of-work chain agrees on, and what its miners hash.
//!
//! A header is sealed in two steps: everything but the nonce is hashed by the chain's own function into the *sealing hash*
//! ([`Header::sealing_hash`](crate::Header::sealing_hash)), and that with a nonce by the chain's work function ([`WorkHash`]) into
//! the number that must not exceed the target. So whoever searches needs 32 bytes and a target (`eth_getWork`), and a try is one
//! block of SHA-256, once over.

use alloy_primitives::{B256, U256};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::Millis;

/// Domain of what miners hash, with its length in front, as in every fixed layout.
const DOMAIN: &[u8; 14] = b"\0\0\0\x0abasalt/pow";
/// Length of what they hash: one block of SHA-256 with its padding.
const WORK_BYTES: usize = DOMAIN.len() + 32 + 8;

/// The function that miners try nonces with: a genesis choice of its own, beside the chain's [`crate::HashFn`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkHash {
    /// SHA-256 of SHA-256, the default. Machines made for it exist.
    #[default]
    Sha256d,
    /// Keccak-256 as Ethereum uses it.
    Keccak256,
    /// BLAKE3.
    Blake3,
}

impl WorkHash {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sha256d, Self::Keccak256, Self::Blake3];

    /// The number a nonce comes to: where it is at most the target, the header is sealed.
    #[must_use]
    pub fn number(self, sealing_hash: B256, nonce: u64) -> U256 {
        let mut bytes = [0; WORK_BYTES];
        bytes[..14].copy_from_slice(DOMAIN);
        bytes[14..46].copy_from_slice(&sealing_hash.0);
        bytes[46..].copy_from_slice(&nonce.to_be_bytes());
        let hash = match self {
            Self::Sha256d => B256::from_slice(digest(&SHA256, digest(&SHA256, &bytes).as_ref()).as_ref()),
            Self::Keccak256 => alloy_primitives::keccak256(bytes),
            Self::Blake3 => B256::from(*blake3::hash(&bytes).as_bytes()),
        };
        U256::from_be_bytes(hash.0)
    }

    /// Stable code in fixed layouts.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Sha256d => 1,
            Self::Keccak256 => 2,
            Self::Blake3 => 3,
        }
    }
}

/// Parameters of the proof-of-work engine: all nodes agree on them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PowParams {
    /// What miners hash.
    pub work_hash: WorkHash,
    /// The time between blocks that difficulty aims at, in milliseconds.
    pub block_interval_ms: Millis,
    /// The target doubles where the chain is this far behind its schedule, and halves where it is this far ahead of it.
    pub half_life_ms: Millis,
    /// Target of block 1. A higher one is easier.
    pub initial_target: U256,
    /// No block is easier than this.
    pub max_target: U256,
    /// How far a block's timestamp may be ahead of a node's clock, in milliseconds.
    pub future_drift_ms: Millis,
    /// Blocks this far below the head are final: no branch that leaves the chain below them is adopted without an operator's word.
    pub finality_depth: u64,
    /// Blocks this far below the head are called safe.
    pub safe_depth: u64,
    /// What whoever seals a block is given for it, in wei, newly made; the tips come on top.
    pub block_reward: U256,
}

/// A parameter out of its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("genesis `{field}`: {allowed}")]
pub struct PowRange {
    /// JSON name of the field.
    pub field: &'static str,
    /// What is allowed.
    pub allowed: &'static str,
}

/// A day.
const DAY_MS: Millis = 86_400_000;

impl PowParams {
    /// Checks every field's range. The least interval and drift are what clocks and networks can do; a half-life below eight
    /// intervals follows chance more than the hash rate; a drift above the half-life would let timestamps alone halve the work.
    pub fn check(&self) -> Result<(), PowRange> {
        let spacing = self.block_interval_ms;
        let ranges = [
            (
                (1_000..=DAY_MS).contains(&spacing),
                "consensus.blockIntervalMs",
                "must be between 1000 and 86400000 (a day)",
            ),
            (
                (8 * spacing..=365 * DAY_MS).contains(&self.half_life_ms),
                "consensus.halfLifeMs",
                "must be between 8 block intervals and 31536000000 (a year)",
            ),
            (!self.max_target.is_zero(), "consensus.maxTarget", "must not be 0"),
            (
                !self.initial_target.is_zero() && self.initial_target <= self.max_target,
                "consensus.initialTarget",
                "must be above 0 and at most maxTarget",
            ),
            (
                (1_000..=self.half_life_ms).contains(&self.future_drift_ms),
                "consensus.futureDriftMs",
                "must be at least 1000 and at most halfLifeMs",
            ),
            ((6..=4_096).contains(&self.finality_depth), "consensus.finalityDepth", "must be between 6 and 4096"),
            (
                (1..=self.finality_depth).contains(&self.safe_depth),
                "consensus.safeDepth",
                "must be at least 1 and at most finalityDepth",
            ),
            (
                self.block_reward.bit_len() <= 128,
                "consensus.blockReward",
                "must be below 2^128 wei, so that no balance overflows",
            ),
        ];
        match ranges.into_iter().find(|(sound, ..)| !sound) {
            None => Ok(()),
            Some((_, field, allowed)) => Err(PowRange { field, allowed }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Layout;

    #[test]
    fn what_miners_hash_is_a_fixed_layout_of_one_sha256_block() {
        let mut layout = Layout::new("basalt/pow");
        layout.fixed(&[7; 32]).u64(0x0102_0304_0506_0708);
        assert_eq!(layout.as_slice().len(), WORK_BYTES);
        const { assert!(WORK_BYTES <= 55, "55 bytes and the padding are one block") };
        let number = WorkHash::Keccak256.number(B256::repeat_byte(7), 0x0102_0304_0506_0708);
        assert_eq!(number, U256::from_be_bytes(alloy_primitives::keccak256(layout.as_slice()).0));
    }

    fn params() -> PowParams {
        PowParams {
            work_hash: WorkHash::Sha256d,
            block_interval_ms: 10_000,
            half_life_ms: 3_600_000,
            initial_target: U256::MAX >> 20,
            max_target: U256::MAX >> 8,
            future_drift_ms: 15_000,
            finality_depth: 64,
            safe_depth: 12,
            block_reward: U256::from(2_000_000_000_000_000_000u64),
        }
    }

    #[test]
    fn each_parameter_out_of_its_range_is_named() {
        assert_eq!(params().check(), Ok(()));
        type Spoil = fn(&mut PowParams);
        let cases: [(&str, Spoil); 11] = [
            ("blockIntervalMs", |p| p.block_interval_ms = 999),
            ("halfLifeMs", |p| p.half_life_ms = 79_999),
            ("maxTarget", |p| p.max_target = U256::ZERO),
            ("initialTarget", |p| p.initial_target = U256::ZERO),
            ("initialTarget", |p| p.initial_target = U256::MAX),
            ("futureDriftMs", |p| p.future_drift_ms = 3_600_001),
            ("finalityDepth", |p| p.finality_depth = 5),
            ("finalityDepth", |p| p.finality_depth = 4_097),
            ("blockReward", |p| p.block_reward = U256::ONE << 128),
            ("safeDepth", |p| p.safe_depth = 0),
            ("safeDepth", |p| p.safe_depth = 65),
        ];
        for (field, spoil) in cases {
            let mut p = params();
            spoil(&mut p);
            let refused = p.check().expect_err(field);
            assert_eq!(refused.field, format!("consensus.{field}"));
        }
    }
}
