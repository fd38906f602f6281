//! Call data of the validator contract. Every argument is a word, or a list of words, so encoding is a selector and words.

use alloy_primitives::{B256, Bytes, U256, keccak256};

use super::evidence::Equivocation;
use crate::{Height, PublicKey};

/// Signatures of the functions called from here.
pub const SIGNATURES: [&str; 9] = [
    "proposeAdd(bytes32,bytes32)",
    "proposeRemove(bytes32)",
    "proposeReplace(bytes32,bytes32)",
    "approve(uint256)",
    "withdraw(uint256)",
    "ready(uint256,bytes32)",
    "reportEquivocation(uint8,bytes32,uint64,uint32,bytes32[2],bytes32[4])",
    "applyChange(uint256)",
    "removeLost(bytes32[])",
];

fn encode(signature: &str, words: &[B256]) -> Bytes {
    let mut data = keccak256(signature)[..4].to_vec();
    words.iter().for_each(|w| data.extend_from_slice(&w.0));
    data.into()
}

fn word(n: u64) -> B256 {
    U256::from(n).into()
}

/// Proposes a new validator.
#[must_use]
pub fn propose_add(key: &PublicKey, name: &str) -> Bytes {
    encode(SIGNATURES[0], &[key.0.into(), super::validators::name_word(name)])
}

/// Proposes that a validator leaves.
#[must_use]
pub fn propose_remove(key: &PublicKey) -> Bytes {
    encode(SIGNATURES[1], &[key.0.into()])
}

/// Proposes a new key for a validator.
#[must_use]
pub fn propose_replace(old: &PublicKey, new: &PublicKey) -> Bytes {
    encode(SIGNATURES[2], &[old.0.into(), new.0.into()])
}

/// Approves a proposal.
#[must_use]
pub fn approve(id: u64) -> Bytes {
    encode(SIGNATURES[3], &[word(id)])
}

/// Takes a proposal back.
#[must_use]
pub fn withdraw(id: u64) -> Bytes {
    encode(SIGNATURES[4], &[word(id)])
}

/// Says that the sender knows a recent block.
#[must_use]
pub fn ready(height: Height, hash: B256) -> Bytes {
    encode(SIGNATURES[5], &[word(height.0), hash])
}

/// Puts an equivocation on record.
#[must_use]
pub fn report_equivocation(e: &Equivocation) -> Bytes {
    let half = |s: &[u8; 64], i: usize| B256::from_slice(&s[32 * i..32 * (i + 1)]);
    let [a, b] = [&e.signatures[0].0, &e.signatures[1].0];
    let mut words = vec![word(e.kind.code().into()), e.key.0.into(), word(e.height.0), word(e.round.0.into())];
    words.extend(e.blocks);
    words.extend([half(a, 0), half(a, 1), half(b, 0), half(b, 1)]);
    encode(SIGNATURES[6], &words)
}

/// The executor's call; bit i of `signed`: member i has signed one of the last certificates.
#[must_use]
pub fn apply_change(signed: U256) -> Bytes {
    encode(SIGNATURES[7], &[signed.into()])
}

/// The executor's call at the height of a set override.
#[must_use]
pub fn remove_lost(keys: &[PublicKey]) -> Bytes {
    let mut words = vec![word(32), word(keys.len() as u64)];
    words.extend(keys.iter().map(|key| B256::from(key.0)));
    encode(SIGNATURES[8], &words)
}
