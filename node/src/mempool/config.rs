//! Limits of the mempool: local settings, which may only change performance and exposure, and the few rules of the chain that
//! it needs to know at all times.

use std::collections::BTreeSet;

use alloy_primitives::Address;
use serde::{Deserialize, Serialize};

/// Limits of the mempool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MempoolConfig {
    /// Most transactions.
    pub max_transactions: usize,
    /// Most bytes, counting each transaction's encoding and [`MempoolConfig::OVERHEAD_BYTES`] for what is kept beside it.
    pub max_bytes: usize,
    /// Most transactions of one sender.
    pub max_per_sender: usize,
    /// How far a nonce may be beyond the first missing one.
    pub max_nonce_gap: u64,
    /// How much more a replacement must pay, in percent, in both fee and tip.
    pub price_bump_percent: u64,
    /// Fees per gas below this many wei are refused.
    pub min_fee_per_gas: u128,
    /// A transaction that waits beyond a nonce gap for longer than this is dropped, in milliseconds.
    pub queued_lifetime_ms: u64,
    /// An executable transaction that no block takes for longer than this is dropped, in milliseconds.
    pub pending_lifetime_ms: u64,
    /// Most of the pool that transactions brought by one peer may fill, in percent.
    pub max_peer_percent: usize,
    /// Most of [`MempoolConfig::max_bytes`] that one sender's transactions may fill, in percent.
    pub max_sender_percent: usize,
    /// The chain's rule: senders whose transactions are essential. They go first, and give way last.
    pub essential: BTreeSet<Address>,
    /// The chain's rule: most gas of a block, of which each lane has its share.
    pub block_gas: u64,
    /// The chain's rule: most bytes of a block's transactions, of which each lane has its share.
    pub block_bytes: u64,
}

impl MempoolConfig {
    /// What a transaction is taken to cost in memory beside its encoding: decoded form, queue and index entries.
    pub const OVERHEAD_BYTES: usize = 1024;
}

impl Default for MempoolConfig {
    fn default() -> Self {
        Self {
            max_transactions: 50_000,
            max_bytes: 128 * 1024 * 1024,
            max_per_sender: 4_096,
            max_nonce_gap: 64,
            price_bump_percent: 10,
            min_fee_per_gas: 0,
            queued_lifetime_ms: 3 * 60 * 60 * 1000,
            pending_lifetime_ms: 24 * 60 * 60 * 1000,
            max_peer_percent: 75,
            max_sender_percent: 50,
            essential: BTreeSet::new(),
            block_gas: 200_000_000,
            block_bytes: 4 << 20,
        }
    }
}
