//! Why the mempool refused a transaction, in the words that Ethereum clients recognise, with a mend.

use alloy_primitives::{Address, U256};
use basalt_primitives::{Height, system::permission::Denied};

/// Why a transaction was not taken. The beginning of each text is what geth says, because clients match on it.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum PoolError {
    /// The same transaction is there.
    #[error("already known: this very transaction is waiting in the pool")]
    AlreadyKnown,
    /// The account has used the nonce.
    #[error("nonce too low: next nonce {next}, tx nonce {nonce}")]
    NonceTooLow {
        /// Nonce of the transaction.
        nonce: u64,
        /// The account's next nonce.
        next: u64,
    },
    /// Too far beyond the first missing nonce.
    #[error(
        "nonce too high: address {sender}, tx: {nonce} state: {next}; the next nonce this pool misses is {missing} and at most {max_gap} may be skipped, so send that one first"
    )]
    NonceTooHigh {
        /// The sender.
        sender: Address,
        /// Nonce of the transaction.
        nonce: u64,
        /// The account's next nonce.
        next: u64,
        /// First nonce that neither the chain nor the pool has.
        missing: u64,
        /// The limit.
        max_gap: u64,
    },
    /// The last nonce can never be used (EIP-2681).
    #[error("nonce has max value: 2^64-1 can never be used (EIP-2681)")]
    NonceMax,
    /// The balance does not cover it.
    #[error("insufficient funds for gas * price + value: balance {balance}, tx cost {cost}, overshot {}", cost.saturating_sub(*balance))]
    InsufficientFunds {
        /// The sender's balance.
        balance: U256,
        /// The most the transaction can cost.
        cost: U256,
    },
    /// The balance does not cover it together with what the sender has in the pool.
    #[error("insufficient funds for gas * price + value: balance {balance}, queued cost {queued}, tx cost {cost}, overshot {}; wait until earlier transactions are in a block, or add funds", cost.saturating_add(*queued).saturating_sub(*balance))]
    InsufficientFundsWithPending {
        /// The sender's balance.
        balance: U256,
        /// The most that the sender's transactions in the pool can cost.
        queued: U256,
        /// The most the transaction can cost.
        cost: U256,
    },
    /// Another transaction has the nonce and this one does not pay enough more.
    #[error(
        "replacement transaction underpriced: nonce {nonce} is taken by a transaction with fee {old_fee} and tip {old_tip} per gas; offer at least {need_fee} and {need_tip}"
    )]
    ReplacementUnderpriced {
        /// The nonce.
        nonce: u64,
        /// Fee per gas of the one there.
        old_fee: u128,
        /// Tip per gas of the one there.
        old_tip: u128,
        /// Least fee per gas that replaces it.
        need_fee: u128,
        /// Least tip per gas that replaces it.
        need_tip: u128,
    },
    /// Another transaction has the nonce and gas is free, so there is no price to outbid it with.
    #[error(
        "replacement transaction underpriced: nonce {nonce} is taken and offers no fee; it can only be cancelled, once, by a \
         transaction of 0 wei without data from {sender} to itself with the same nonce"
    )]
    FreeReplacement {
        /// The nonce.
        nonce: u64,
        /// The sender.
        sender: Address,
    },
    /// One peer brought too much of what is in the pool.
    #[error(
        "this peer brought {count} transactions with {bytes} bytes of what is in the pool; the limits are {max_count} and {max_bytes}"
    )]
    PeerLimit {
        /// Transactions in the pool that it brought.
        count: usize,
        /// Their bytes.
        bytes: usize,
        /// Most transactions.
        max_count: usize,
        /// Most bytes.
        max_bytes: usize,
    },
    /// Below the least fee.
    #[error("transaction underpriced: gas price {fee} is below the minimum of {min} wei")]
    Underpriced {
        /// Fee per gas offered.
        fee: u128,
        /// Least fee per gas.
        min: u128,
    },
    /// The tip is above the fee.
    #[error("max priority fee per gas higher than max fee per gas: maxPriorityFeePerGas {tip}, maxFeePerGas {fee}")]
    TipAboveFee {
        /// The tip.
        tip: u128,
        /// The fee.
        fee: u128,
    },
    /// Less gas than the transaction needs before it runs.
    #[error("intrinsic gas too low: gas {have}, minimum needed {need}")]
    IntrinsicGas {
        /// Gas limit of the transaction.
        have: u64,
        /// What it takes.
        need: u64,
    },
    /// Less gas than its data costs at least (EIP-7623).
    #[error("insufficient gas for floor data gas cost: gas {have}, minimum needed {need}")]
    FloorGas {
        /// Gas limit of the transaction.
        have: u64,
        /// What it takes.
        need: u64,
    },
    /// More gas than a block has.
    #[error("exceeds block gas limit: tx gas {gas}, block gas limit {limit}; ask for less gas")]
    BlockGasLimit {
        /// Gas limit of the transaction.
        gas: u64,
        /// Gas limit of a block.
        limit: u64,
    },
    /// More gas than one transaction may have (EIP-7825).
    #[error("transaction gas limit too high (cap: {cap}, tx: {gas}); split the work over several transactions")]
    GasCap {
        /// Gas limit of the transaction.
        gas: u64,
        /// The cap.
        cap: u64,
    },
    /// Init code beyond EIP-3860.
    #[error("max initcode size exceeded: code size {size}, limit {limit}; split the contract")]
    InitCode {
        /// Bytes of init code.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// A type that the chain's fork does not have yet.
    #[error("transaction type not supported: {0}")]
    TypeNotSupported(&'static str),
    /// A set-code transaction that sets nothing.
    #[error("EIP-7702 transaction with empty auth list")]
    EmptyAuthorizations,
    /// The validity window of a native transaction is over.
    #[error(
        "transaction expired: it was valid until block {until} and the next block is {next}; sign it again with a later validUntil"
    )]
    Expired {
        /// Last height at which it was valid.
        until: Height,
        /// The next height.
        next: Height,
    },
    /// The validity window begins after it ends.
    #[error("transaction can never be valid: validFrom {from} is after validUntil {until}")]
    EmptyWindow {
        /// First height.
        from: Height,
        /// Last height.
        until: Height,
    },
    /// The sender has too many.
    #[error(
        "sender limit exceeded: {sender} has {limit} transactions in the pool, the most one sender may have; wait for the next block"
    )]
    SenderLimit {
        /// The sender.
        sender: Address,
        /// The limit.
        limit: usize,
    },
    /// The sender's transactions are too long together.
    #[error(
        "sender limit exceeded: {sender} would have more than {limit} bytes in the pool, the most one sender may have; wait for the next block"
    )]
    SenderBytes {
        /// The sender.
        sender: Address,
        /// The limit.
        limit: usize,
    },
    /// The network's permissions do not let its sender do that.
    #[error(transparent)]
    NotPermitted(#[from] Box<Denied>),
    /// The pool is full of better ones.
    #[error(
        "txpool is full: {count} transactions, {bytes} bytes, none of which would give way; offer a higher fee or try again after the next block"
    )]
    Full {
        /// Transactions in the pool.
        count: usize,
        /// Bytes in the pool.
        bytes: usize,
    },
}

impl PoolError {
    /// The JSON-RPC code; Ethereum clients expect -32000 and tell the errors apart by their text.
    #[must_use]
    pub const fn code(&self) -> i64 {
        -32000
    }

    /// A short stable name, for metrics.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::AlreadyKnown => "already_known",
            Self::NonceTooLow { .. } => "nonce_too_low",
            Self::NonceTooHigh { .. } | Self::NonceMax => "nonce_too_high",
            Self::InsufficientFunds { .. } | Self::InsufficientFundsWithPending { .. } => "insufficient_funds",
            Self::PeerLimit { .. } => "peer_limit",
            Self::ReplacementUnderpriced { .. } | Self::FreeReplacement { .. } => "replacement_underpriced",
            Self::Underpriced { .. } | Self::TipAboveFee { .. } => "fee",
            Self::IntrinsicGas { .. } | Self::FloorGas { .. } | Self::BlockGasLimit { .. } | Self::GasCap { .. } => {
                "gas"
            }
            Self::InitCode { .. } | Self::TypeNotSupported(_) | Self::EmptyAuthorizations => "unsupported",
            Self::Expired { .. } | Self::EmptyWindow { .. } => "expired",
            Self::SenderLimit { .. } | Self::SenderBytes { .. } => "sender_limit",
            Self::NotPermitted(_) => "not_permitted",
            Self::Full { .. } => "full",
        }
    }
}
