//! Calls and imagined blocks.

use alloy_consensus::TxEnvelope;
use alloy_eips::{eip2930::AccessList, eip7702::SignedAuthorization};
use alloy_primitives::{Address, Bytes, U256};
use basalt_execution::{
    Accessed, BlockOverrides, Deadline, StateOverrides,
    simulate::{SimulatedCall, SimulationError},
};

use super::chain::{BlockView, ReadError, StateAt};

/// A call that changes nothing: `eth_call` and `eth_estimateGas`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CallRequest {
    /// Sender; zero if not given.
    pub from: Address,
    /// Receiver; `None` to create a contract.
    pub to: Option<Address>,
    /// Most gas; `None`: as much as a call may have.
    pub gas: Option<u64>,
    /// Fee per gas (`gasPrice` or `maxFeePerGas`); `None`: gas is free and the base fee is not checked.
    pub max_fee_per_gas: Option<u128>,
    /// Tip per gas.
    pub max_priority_fee_per_gas: Option<u128>,
    /// Wei.
    pub value: U256,
    /// Call data or init code.
    pub input: Bytes,
    /// Nonce; `None`: the account's.
    pub nonce: Option<u64>,
    /// Addresses and slots warm from the start.
    pub access_list: AccessList,
    /// EIP-7702 authorizations.
    pub authorization_list: Vec<SignedAuthorization>,
}

/// Why a call did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The contract reverted.
    #[error("execution reverted")]
    Reverted {
        /// What it returned.
        output: Bytes,
    },
    /// It takes longer than this many milliseconds.
    #[error("{}", TooSlow(*.0))]
    Timeout(u64),
    /// It could not begin or did not end: funds, gas, an invalid instruction. The text says which, in geth's words.
    #[error("{0}")]
    Failed(String),
    /// The state.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// What a call that nobody pays for may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallLimits {
    /// When to give up.
    pub deadline: Option<Deadline>,
    /// Most gas, besides a block's.
    pub max_gas: Option<u64>,
}

impl CallLimits {
    /// What is left of an amount of gas.
    #[must_use]
    pub fn cap(&self, gas: u64) -> u64 {
        self.max_gas.map_or(gas, |most| gas.min(most))
    }
}

/// The text of an error: a limit of time was reached.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("execution timeout: it takes longer than the limit of {0} ms; ask for less at once")]
pub struct TooSlow(pub u64);

/// Where a call runs, and what is to be different there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scene {
    /// The state.
    pub at: StateAt,
    /// In a block that follows, instead of in the surroundings of the one whose state it is.
    pub pending: bool,
    /// Accounts.
    pub accounts: StateOverrides,
    /// The block.
    pub block: BlockOverrides,
    /// What it may take.
    pub limits: CallLimits,
}

/// Executes calls on an executed state. Blocking: the RPC calls it on a thread for that.
pub trait CallExecutor: Send + Sync {
    /// Runs the call and gives back what it returns.
    fn call(&self, request: &CallRequest, scene: &Scene) -> Result<Bytes, CallError>;

    /// The least gas limit with which the call succeeds.
    fn estimate_gas(&self, request: &CallRequest, scene: &Scene) -> Result<u64, CallError>;

    /// What the call touches, and how it ends when that is told beforehand.
    fn access_list(&self, request: &CallRequest, scene: &Scene) -> Result<Accessed, CallError>;

    /// Runs imagined blocks on a state.
    fn simulate(&self, plan: &SimulationPlan, at: StateAt) -> Result<Vec<SimulatedBlock>, SimulateError>;
}

/// One block of a simulation, as it is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlannedBlock {
    /// What is to be different about the block.
    pub block: BlockOverrides,
    /// What is to be different about accounts, before its calls.
    pub accounts: StateOverrides,
    /// The calls, in order.
    pub calls: Vec<CallRequest>,
}

/// A simulation, as it is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SimulationPlan {
    /// The blocks, in order.
    pub blocks: Vec<PlannedBlock>,
    /// Check nonces, fees and senders as for real transactions.
    pub validation: bool,
    /// Add logs for movements of value.
    pub trace_transfers: bool,
    /// What all of it may take.
    pub limits: CallLimits,
}

/// An imagined block.
#[derive(Clone, Debug)]
pub struct SimulatedBlock {
    /// The block, as if it were one.
    pub view: BlockView,
    /// Its calls, each with the transaction it would be (with an empty signature).
    pub calls: Vec<(SimulatedCall, TxEnvelope)>,
}

/// Why a simulation was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// It takes longer than this many milliseconds.
    #[error("{}", TooSlow(*.0))]
    Timeout(u64),
    /// A block cannot be where it is asked for; the code is that of the execution API.
    #[error("{1}")]
    Block(i64, String),
    /// A call cannot begin.
    #[error("block {block}, {error}")]
    Call {
        /// Index of the block among those asked for.
        block: usize,
        /// The call, and why.
        error: SimulationError,
    },
    /// The state.
    #[error(transparent)]
    Read(#[from] ReadError),
}
