//! `[miner]`: whether this node looks for blocks, on a chain of proof of work.

use basalt_primitives::Address;
use serde::{Deserialize, Serialize};

/// Most threads that look for a seal.
pub const MAX_MINER_THREADS: usize = 256;

/// Mining. `miner_start` and `miner_stop` change it until the node stops.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MinerConfig {
    /// Threads that look for blocks from the start; 0: none, the default.
    pub threads: usize,
    /// Account that is given the reward and the tips of the blocks found. Needed to mine, and for `eth_getWork`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beneficiary: Option<Address>,
}

impl MinerConfig {
    /// Whether nothing is set.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Checks the ranges; the key and the problem of what is wrong.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        if self.threads > MAX_MINER_THREADS {
            return Err(("miner.threads", "must be at most 256"));
        }
        if self.threads > 0 && self.beneficiary.is_none() {
            return Err((
                "miner.beneficiary",
                "must name the account that is given the rewards where miner.threads is set",
            ));
        }
        Ok(())
    }
}
