//! Why a transaction cannot run in a block: it then takes no nonce, pays no fee and has no receipt.

use alloy_primitives::U256;
use basalt_primitives::{Height, system::permission::Denied};
use revm::context_interface::result::InvalidTransaction;

/// Why a transaction was left out. The wording follows what Ethereum clients match on.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum SkipReason {
    /// Already used.
    #[error("nonce too low: next nonce {state}, tx nonce {tx}")]
    NonceTooLow {
        /// Nonce of the transaction.
        tx: u64,
        /// The account's next nonce.
        state: u64,
    },
    /// Earlier ones are missing.
    #[error("nonce too high: next nonce {state}, tx nonce {tx}; send the missing transactions first")]
    NonceTooHigh {
        /// Nonce of the transaction.
        tx: u64,
        /// The account's next nonce.
        state: u64,
    },
    /// A nonce of 2^64−1, which EIP-2681 forbids.
    #[error("nonce has max value (EIP-2681)")]
    NonceMax,
    /// Cannot pay gas limit × max fee + value.
    #[error("insufficient funds for gas * price + value: have {have} want {want}")]
    InsufficientFunds {
        /// The balance.
        have: U256,
        /// The most the transaction can cost.
        want: U256,
    },
    /// Gas limit × max fee + value does not fit 256 bits.
    #[error("gas * price + value overflows; lower the gas limit, the fee or the value")]
    CostOverflow,
    /// Pays less than the base fee.
    #[error("max fee per gas less than block base fee: maxFeePerGas {max_fee}, baseFee {base_fee}")]
    FeeTooLow {
        /// The transaction's max fee per gas.
        max_fee: u128,
        /// The block's base fee.
        base_fee: u64,
    },
    /// A tip above the max fee.
    #[error("max priority fee per gas higher than max fee per gas")]
    TipAboveFee,
    /// Its gas limit exceeds what is left in this block.
    #[error("gas limit {limit} exceeds the {left} gas left in the block")]
    BlockGas {
        /// Gas limit of the transaction.
        limit: u64,
        /// Gas left.
        left: u64,
    },
    /// Its bytes exceed what is left in this block.
    #[error("{size} bytes exceed the {left} bytes left in the block")]
    BlockBytes {
        /// Encoded size of the transaction.
        size: u64,
        /// Bytes left.
        left: u64,
    },
    /// Above the cap of EIP-7825.
    #[error("transaction gas limit too high (cap: {cap}, tx: {limit}); split the work over several transactions")]
    GasCap {
        /// Gas limit of the transaction.
        limit: u64,
        /// The cap of the fork.
        cap: u64,
    },
    /// Below what its bytes cost before it starts.
    #[error("intrinsic gas too low: gas {limit}, minimum needed {needed}")]
    IntrinsicGas {
        /// Gas limit of the transaction.
        limit: u64,
        /// What it needs at least.
        needed: u64,
    },
    /// EIP-3607: a contract cannot send transactions.
    #[error("sender not an eoa: the account has contract code (EIP-3607)")]
    SenderHasCode,
    /// EIP-3860.
    #[error("max initcode size exceeded (EIP-3860)")]
    InitCodeSize,
    /// Signed for another chain.
    #[error("invalid chain id for signer: this transaction is for another chain")]
    ChainId,
    /// Native validity window: too early.
    #[error("not valid before block {from}, this is block {height}")]
    NotYetValid {
        /// First height at which it may be in a block.
        from: Height,
        /// This block.
        height: Height,
    },
    /// Native validity window: too late.
    #[error("expired: valid until block {until}, this is block {height}; sign it again with a later end")]
    Expired {
        /// Last height at which it may be in a block.
        until: Height,
        /// This block.
        height: Height,
    },
    /// The network's permissions do not let its sender do that.
    #[error(transparent)]
    NotPermitted(#[from] Box<Denied>),
    /// EIP-7702 without authorizations.
    #[error("EIP-7702 transaction with empty authorization list")]
    NoAuthorizations,
    /// A transaction type this fork does not know.
    #[error("transaction type not supported: {0}")]
    Unsupported(String),
    /// The executor panicked on it while a block was being built; it is quarantined.
    #[error("the executor failed on this transaction and put it in quarantine: {0}; report it with the node's dump")]
    Quarantined(String),
}

impl SkipReason {
    /// Whether the same bytes may run in a later block.
    #[must_use]
    pub const fn may_run_later(&self) -> bool {
        matches!(
            self,
            Self::NonceTooHigh { .. }
                | Self::InsufficientFunds { .. }
                | Self::FeeTooLow { .. }
                | Self::BlockGas { .. }
                | Self::BlockBytes { .. }
                | Self::NotYetValid { .. }
                | Self::SenderHasCode
                | Self::Unsupported(_)
        )
    }

    /// Translates revm's refusal.
    pub(crate) fn from_revm(e: InvalidTransaction, max_fee: u128, base_fee: u64, block_gas: u64) -> Self {
        use InvalidTransaction as E;
        match e {
            E::NonceTooLow { tx, state } => Self::NonceTooLow { tx, state },
            E::NonceTooHigh { tx, state } => Self::NonceTooHigh { tx, state },
            E::NonceOverflowInTransaction => Self::NonceMax,
            E::LackOfFundForMaxFee { fee, balance } => Self::InsufficientFunds { have: *balance, want: *fee },
            E::OverflowPaymentInTransaction => Self::CostOverflow,
            E::GasPriceLessThanBasefee => Self::FeeTooLow { max_fee, base_fee },
            E::PriorityFeeGreaterThanMaxFee => Self::TipAboveFee,
            E::CallerGasLimitMoreThanBlock => Self::BlockGas { limit: u64::MAX, left: block_gas },
            E::TxGasLimitGreaterThanCap { gas_limit, cap } => Self::GasCap { limit: gas_limit, cap },
            E::CallGasCostMoreThanGasLimit { initial_gas, gas_limit } => {
                Self::IntrinsicGas { limit: gas_limit, needed: initial_gas }
            }
            E::GasFloorMoreThanGasLimit { gas_floor, gas_limit } => {
                Self::IntrinsicGas { limit: gas_limit, needed: gas_floor }
            }
            E::RejectCallerWithCode => Self::SenderHasCode,
            E::CreateInitCodeSizeLimit => Self::InitCodeSize,
            E::InvalidChainId | E::MissingChainId => Self::ChainId,
            E::EmptyAuthorizationList => Self::NoAuthorizations,
            other => Self::Unsupported(other.to_string()),
        }
    }
}
