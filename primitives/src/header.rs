//! The block header: what is agreed on, and what binds every byte of the block.

use alloy_primitives::{Address, B256, U256};

use crate::{HashFn, Height, Millis, Round, layout::Layout};

/// The header version this software writes and reads.
pub const HEADER_VERSION: u16 = 1;

/// Latest time a header can carry (the year 10889). Decoders refuse more, so that adding to a timestamp cannot overflow.
pub const MAX_TIMESTAMP_MS: Millis = (1 << 48) - 1;

/// What makes a header expensive or final by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seal {
    /// BFT: none. The commit certificate is kept beside the block until the next block carries it.
    None,
    /// Proof of work: the hash of the header must not exceed the target.
    Work {
        /// Largest hash that counts as solved.
        target: U256,
        /// The number found by the miner.
        nonce: u64,
    },
}

/// A block header. Fields named `parent_…` are results of executing the parent: blocks are ordered first and executed
/// alongside, so header N carries what N−1 led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Format of this header: [`HEADER_VERSION`].
    pub version: u16,
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// Block number.
    pub height: Height,
    /// Wall time in milliseconds since the Unix epoch; above the parent's.
    pub timestamp_ms: Millis,
    /// Hash of the parent's header. For the genesis block: hash of the chain specification.
    pub parent_hash: B256,
    /// Root of the hash tree over the hashes of this block's transactions.
    pub transactions_root: B256,
    /// State root after the parent. In block 1: root of the genesis state. Zero in the genesis block.
    pub parent_state_root: B256,
    /// Root of the hash tree over the parent's receipts.
    pub parent_receipts_root: B256,
    /// Gas used by the parent.
    pub parent_gas_used: u64,
    /// Most gas this block may use.
    pub gas_limit: u64,
    /// EIP-1559 base fee in wei per gas; follows from the parent's base fee, gas used and gas limit.
    pub base_fee: u64,
    /// Address of the validator (or miner) that first proposed this block; receives the tips.
    pub proposer: Address,
    /// Round in which this block was first proposed. A re-proposed block stays the same block.
    pub first_round: Round,
    /// Hash of the validator set for the next height, from the state after the parent.
    pub next_validators_hash: B256,
    /// Hash of the parent's commit certificate, which the body includes. Zero in blocks 0 and 1 and under proof of work.
    pub last_certificate_hash: B256,
    /// The seal of the consensus family.
    pub seal: Seal,
}

impl Header {
    /// The block hash: every field, in the fixed layout, domain separated.
    #[must_use]
    pub fn hash(&self, hash_fn: HashFn) -> B256 {
        hash_fn.of(&self.layout())
    }

    /// The bytes that are hashed.
    #[must_use]
    pub fn layout(&self) -> Layout {
        let mut l = self.fields("basalt/header/v1");
        match self.seal {
            Seal::None => l.u8(0),
            Seal::Work { target, nonce } => l.u8(1).fixed(&target.to_be_bytes::<32>()).u64(nonce),
        };
        l
    }

    /// What a miner seals: every field but the nonce, in a domain of its own. `None` where the family has no seal.
    #[must_use]
    pub fn sealing_hash(&self, hash_fn: HashFn) -> Option<B256> {
        let Seal::Work { target, .. } = self.seal else { return None };
        let mut l = self.fields("basalt/header-to-seal/v1");
        l.fixed(&target.to_be_bytes::<32>());
        Some(hash_fn.of(&l))
    }

    /// Every field but the seal.
    fn fields(&self, domain: &str) -> Layout {
        let mut l = Layout::new(domain);
        l.u16(self.version)
            .u64(self.chain_id)
            .u64(self.height.0)
            .u64(self.timestamp_ms)
            .fixed(&self.parent_hash.0)
            .fixed(&self.transactions_root.0)
            .fixed(&self.parent_state_root.0)
            .fixed(&self.parent_receipts_root.0)
            .u64(self.parent_gas_used)
            .u64(self.gas_limit)
            .u64(self.base_fee)
            .fixed(&self.proposer.0.0)
            .u32(self.first_round.0)
            .fixed(&self.next_validators_hash.0)
            .fixed(&self.last_certificate_hash.0);
        l
    }

    /// The block's time as the EVM and `eth_` see it, in whole seconds.
    #[must_use]
    pub const fn timestamp_s(&self) -> u64 {
        self.timestamp_ms / 1000
    }
}
