//! What a block tells the EVM, and the values of Ethereum's constants that have no source here (ADR-0008).

use alloy_primitives::{Address, B256, U256};
use basalt_primitives::{Header, Height, Millis, chainspec::EvmFork};
use revm::{context_interface::block::BlobExcessGasAndPrice, primitives::hardfork::SpecId};

/// What BLOBBASEFEE answers: there is no blob market, so it stands at EIP-4844's minimum for ever.
pub const BLOB_BASE_FEE: u128 = 1;

/// The block a transaction runs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockEnv {
    /// NUMBER, and what chooses the fork.
    pub height: Height,
    /// TIMESTAMP, which the EVM sees in whole seconds.
    pub timestamp_ms: Millis,
    /// COINBASE: the block's proposer, who receives the tips.
    pub beneficiary: Address,
    /// BASEFEE, in wei.
    pub base_fee: u64,
    /// GASLIMIT of the block.
    pub gas_limit: u64,
    /// Hash of the parent: stored by EIP-2935 where its contract exists.
    pub parent_hash: B256,
    /// PREVRANDAO: the parent's hash. It is not random: a proposer can choose among blocks (ADR-0008).
    pub prev_randao: B256,
}

impl BlockEnv {
    /// The environment of a block with this header.
    #[must_use]
    pub const fn of(header: &Header) -> Self {
        Self {
            height: header.height,
            timestamp_ms: header.timestamp_ms,
            beneficiary: header.proposer,
            base_fee: header.base_fee,
            gas_limit: header.gas_limit,
            parent_hash: header.parent_hash,
            prev_randao: header.parent_hash,
        }
    }

    /// The same at another time: where headers' times may go back, contracts see the highest so far (ADR-0027).
    #[must_use]
    pub const fn at(self, timestamp_ms: Millis) -> Self {
        Self { timestamp_ms, ..self }
    }

    /// The block's time as the EVM sees it.
    #[must_use]
    pub const fn timestamp_s(&self) -> u64 {
        self.timestamp_ms / 1000
    }

    pub(crate) fn to_revm(&self) -> revm::context::BlockEnv {
        revm::context::BlockEnv {
            number: U256::from(self.height.0),
            beneficiary: self.beneficiary,
            timestamp: U256::from(self.timestamp_s()),
            gas_limit: self.gas_limit,
            basefee: self.base_fee,
            difficulty: U256::ZERO,
            prevrandao: Some(self.prev_randao),
            blob_excess_gas_and_price: Some(BlobExcessGasAndPrice { excess_blob_gas: 0, blob_gasprice: BLOB_BASE_FEE }),
            slot_num: 0,
        }
    }
}

/// revm's name of a fork.
pub(crate) const fn spec_id(fork: EvmFork) -> SpecId {
    match fork {
        EvmFork::Shanghai => SpecId::SHANGHAI,
        EvmFork::Cancun => SpecId::CANCUN,
        EvmFork::Prague => SpecId::PRAGUE,
        EvmFork::Osaka => SpecId::OSAKA,
    }
}
