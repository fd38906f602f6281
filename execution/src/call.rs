//! Calls that change nothing: `eth_call`, `eth_estimateGas` and `eth_createAccessList`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use alloy_eips::{eip2930::AccessList, eip7702::SignedAuthorization};
use alloy_primitives::{Address, Bytes, KECCAK256_EMPTY, TxKind, U256};
use basalt_primitives::{Log, chainspec::EvmFork};
use revm::{
    ExecuteEvm, InspectEvm as _,
    context::{CfgEnv, TxEnv},
    context_interface::{
        Cfg as _,
        either::Either,
        result::{EVMError, ExecutionResult, HaltReason},
        transaction::TransactionType,
    },
};
use revm_inspectors::access_list::AccessListInspector;

use crate::{
    BlockEnv, Deadline, Executor, SkipReason, StateError, StateOverrides, StateReader,
    block_state::BlockState,
    deadline::{self, Watch},
    evm::{self, BlockEvm},
    executor::panic_message,
    transfer::TRANSFER_GAS,
};

/// A gas estimate is at most this part above what would do: 1/64, as go-ethereum's tolerance of 1.5 %.
const TOLERANCE: u64 = 64;

/// A call whose access list has not settled after so many rounds is given up.
const ACCESS_LIST_ROUNDS: usize = 16;

/// A call or an unsigned transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallRequest {
    /// Who calls; the zero address when nobody is named.
    pub from: Address,
    /// Who is called; `None` to create a contract.
    pub to: Option<Address>,
    /// Wei sent along.
    pub value: U256,
    /// Call data or init code.
    pub input: Bytes,
    /// Most gas; `None` for as much as the block has.
    pub gas: Option<u64>,
    /// Most to pay per gas. `None` or zero: no fee is charged and the base fee is not looked at.
    pub gas_price: Option<u128>,
    /// Tip per gas within `gas_price`; makes this an EIP-1559 transaction.
    pub max_priority_fee_per_gas: Option<u128>,
    /// Accounts and slots that are warm from the start.
    pub access_list: AccessList,
    /// EIP-7702 authorizations.
    pub authorizations: Vec<SignedAuthorization>,
    /// When to give up, over all the runs that the answer takes; `None` for as long as the gas lasts.
    pub deadline: Option<Deadline>,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallEnd {
    /// It ran to its end.
    Success,
    /// The contract reverted; the output says why.
    Revert,
    /// The EVM stopped it, for example out of gas.
    Halt(String),
}

/// What a call led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallOutcome {
    /// How it ended.
    pub end: CallEnd,
    /// Gas used.
    pub gas_used: u64,
    /// Return data, revert data, or the code of the contract made.
    pub output: Bytes,
    /// Events.
    pub logs: Vec<Log>,
}

/// Why a call could not be made, or no gas estimate found.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum CallError {
    /// It could not even start.
    #[error(transparent)]
    Invalid(SkipReason),
    /// State could not be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// It reverts, however much gas it gets. Carries the revert data.
    #[error("execution reverted")]
    Revert(Bytes),
    /// The EVM stops it, however much gas it gets.
    #[error("execution halted: {0}")]
    Halt(String),
    /// Too slow.
    #[error("execution timeout: it takes longer than the limit of {0} ms; ask for less at once")]
    Timeout(u64),
    /// More gas than the call may have.
    #[error("gas required exceeds allowance ({0})")]
    Allowance(u64),
    /// The executor failed.
    #[error("the executor failed on this call: {0}; report it")]
    Failed(String),
}

/// What a call would touch, if it were told beforehand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accessed {
    /// Accounts and slots, without those that are warm anyway.
    pub list: AccessList,
    /// How the call ended, and what it used, with that list.
    pub outcome: CallOutcome,
}

impl Executor {
    /// Runs a call on a state without changing it. The nonce and whether the caller has code are not looked at, and the
    /// fee only when a gas price is named.
    pub fn call(
        &self,
        env: &BlockEnv,
        request: &CallRequest,
        state: &dyn StateReader,
        overrides: &StateOverrides,
    ) -> Result<CallOutcome, CallError> {
        guarded(|| {
            let gas = request.gas.unwrap_or(env.gas_limit).min(env.gas_limit);
            let ran = Caller::new(self, env, request, state, overrides)?.run(request, gas)?;
            Ok(outcome(ran))
        })
    }

    /// The least gas, within a small tolerance, with which a call succeeds.
    pub fn estimate_gas(
        &self,
        env: &BlockEnv,
        request: &CallRequest,
        state: &dyn StateReader,
        overrides: &StateOverrides,
    ) -> Result<u64, CallError> {
        guarded(|| {
            let mut caller = Caller::new(self, env, request, state, overrides)?;
            let most = caller.allowance(self.spec().fork_at(env.height), request)?;
            if caller.is_transfer(request)? && most >= TRANSFER_GAS {
                return Ok(TRANSFER_GAS);
            }
            let first = caller.run(request, most)?;
            let (low, hint) = match &first {
                ExecutionResult::Success { gas, .. } => {
                    let spent = gas.total_gas_spent();
                    (gas.tx_gas_used().saturating_sub(1), (spent + 2300).saturating_mul(64) / 63)
                }
                failed => return Err(failure(failed, most)),
            };
            caller.least(request, low, most, hint)
        })
    }

    /// The accounts and slots that a call touches. The list may change what the call does (it sees other gas), so it is
    /// made again with the list until it stays.
    pub fn access_list(
        &self,
        env: &BlockEnv,
        request: &CallRequest,
        state: &dyn StateReader,
        overrides: &StateOverrides,
    ) -> Result<Accessed, CallError> {
        guarded(|| {
            let gas = request.gas.unwrap_or(env.gas_limit).min(env.gas_limit);
            let mut request = request.clone();
            for _ in 0..ACCESS_LIST_ROUNDS {
                let mut before = BlockState::new(state, &self.codes);
                before.override_accounts(overrides)?;
                let (block, cfg) = rules(self, env, &request);
                let tx = tx_env(&request, gas, cfg.chain_id);
                let inspector = AccessListInspector::new(request.access_list.clone());
                let mut evm = evm::watched(before, block, cfg, inspector);
                deadline::watch(&mut evm, request.deadline);
                in_time(&request)?;
                let ran = evm.inspect_one_tx(tx).map_err(|e| refused(e, &evm.ctx.chain, &request, env))?;
                let list = evm.inspector.into_access_list();
                if list == request.access_list {
                    return Ok(Accessed { list, outcome: outcome(ran) });
                }
                request.access_list = list;
            }
            Err(CallError::Failed(format!("its access list changes with the list, {ACCESS_LIST_ROUNDS} times")))
        })
    }
}

/// The rules a call runs by.
pub(crate) fn rules(executor: &Executor, env: &BlockEnv, request: &CallRequest) -> (revm::context::BlockEnv, CfgEnv) {
    let mut cfg = evm::config(executor.spec().fork_at(env.height), executor.spec().chain_id);
    cfg.disable_nonce_check = true;
    cfg.disable_eip3607 = true;
    cfg.tx_gas_limit_cap = Some(u64::MAX);
    let mut block = env.to_revm();
    if is_free(request) {
        cfg.disable_base_fee = true;
        block.basefee = 0;
    }
    (block, cfg)
}

/// Why a call could not begin.
pub(crate) fn refused(e: EVMError<StateError>, watch: &Watch, request: &CallRequest, env: &BlockEnv) -> CallError {
    match (e, request.deadline) {
        (_, Some(deadline)) if watch.expired => CallError::Timeout(deadline.limit_ms()),
        (e, _) => not_begun(e, request, env),
    }
}

/// Whether there is time left, before something begins.
pub(crate) fn in_time(request: &CallRequest) -> Result<(), CallError> {
    match request.deadline {
        Some(deadline) if deadline.passed() => Err(CallError::Timeout(deadline.limit_ms())),
        _ => Ok(()),
    }
}

fn not_begun(e: EVMError<StateError>, request: &CallRequest, env: &BlockEnv) -> CallError {
    match e {
        EVMError::Transaction(e) => {
            let price = request.gas_price.unwrap_or_default();
            CallError::Invalid(SkipReason::from_revm(e, price, env.base_fee, env.gas_limit))
        }
        EVMError::Database(e) => e.into(),
        other => CallError::Failed(other.to_string()),
    }
}

/// An EVM set up for calls.
struct Caller<'a> {
    evm: BlockEvm<'a>,
    env: &'a BlockEnv,
}

impl<'a> Caller<'a> {
    fn new(
        executor: &'a Executor,
        env: &'a BlockEnv,
        request: &CallRequest,
        state: &'a dyn StateReader,
        overrides: &StateOverrides,
    ) -> Result<Self, CallError> {
        let mut before = BlockState::new(state, &executor.codes);
        before.override_accounts(overrides)?;
        let (block, cfg) = rules(executor, env, request);
        let mut evm = evm::evm_over(before, block, cfg);
        deadline::watch(&mut evm, request.deadline);
        Ok(Self { evm, env })
    }

    /// The least gas above `low` and up to `high`, with which the call is known to succeed, by halving.
    fn least(&mut self, request: &CallRequest, mut low: u64, mut high: u64, hint: u64) -> Result<u64, CallError> {
        // What it spent, with room for the 63/64 rule, is most often enough: try that first.
        let mut next = hint;
        while low + 1 < high && high - low > high / TOLERANCE {
            let gas = next.clamp(low + 1, high - 1);
            if self.succeeds(request, gas)? {
                high = gas
            } else {
                low = gas
            }
            next = low.saturating_mul(2).min(low + (high - low) / 2);
        }
        Ok(high)
    }

    fn run(&mut self, request: &CallRequest, gas: u64) -> Result<ExecutionResult, CallError> {
        in_time(request)?;
        let chain_id = self.evm.ctx.cfg.chain_id;
        let ran = self.evm.transact(tx_env(request, gas, chain_id));
        ran.map(|ran| ran.result).map_err(|e| refused(e, &self.evm.ctx.chain, request, self.env))
    }

    fn succeeds(&mut self, request: &CallRequest, gas: u64) -> Result<bool, CallError> {
        match self.run(request, gas) {
            Ok(ran) => Ok(ran.is_success()),
            Err(CallError::Invalid(SkipReason::IntrinsicGas { .. })) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// The most gas a transaction like this could have: by block, by fork, and by what its sender can pay.
    fn allowance(&mut self, fork: EvmFork, request: &CallRequest) -> Result<u64, CallError> {
        let cap = evm::config(fork, 0).tx_gas_limit_cap();
        let most = request.gas.unwrap_or(u64::MAX).min(self.env.gas_limit).min(cap);
        let price = U256::from(request.gas_price.unwrap_or_default());
        if price.is_zero() {
            return Ok(most);
        }
        let have = self.evm.ctx.journaled_state.database.account(request.from)?.unwrap_or_default().balance;
        let left = have
            .checked_sub(request.value)
            .ok_or(CallError::Invalid(SkipReason::InsufficientFunds { have, want: request.value }))?;
        Ok(most.min((left / price).saturating_to()))
    }

    /// Whether this moves value to an account without code and does nothing else.
    fn is_transfer(&mut self, request: &CallRequest) -> Result<bool, CallError> {
        let Some(to) = request.to else { return Ok(false) };
        let plain = request.input.is_empty() && request.access_list.is_empty() && request.authorizations.is_empty();
        if !plain || self.evm.precompiles.contains(&to) {
            return Ok(false);
        }
        let state = &mut self.evm.ctx.journaled_state.database;
        let code = state.account(to)?.map_or(KECCAK256_EMPTY, |a| a.code_hash);
        Ok(code == KECCAK256_EMPTY && state.account(request.from)?.unwrap_or_default().balance >= request.value)
    }
}

fn is_free(request: &CallRequest) -> bool {
    request.gas_price.unwrap_or_default() == 0
}

pub(crate) fn tx_env(request: &CallRequest, gas: u64, chain_id: u64) -> TxEnv {
    let tx_type = if !request.authorizations.is_empty() {
        TransactionType::Eip7702
    } else if request.max_priority_fee_per_gas.is_some() {
        TransactionType::Eip1559
    } else if request.access_list.is_empty() {
        TransactionType::Legacy
    } else {
        TransactionType::Eip2930
    };
    let tip = matches!(tx_type, TransactionType::Eip7702 | TransactionType::Eip1559);
    TxEnv {
        tx_type: tx_type as u8,
        caller: request.from,
        gas_limit: gas,
        gas_price: request.gas_price.unwrap_or_default(),
        gas_priority_fee: tip.then(|| request.max_priority_fee_per_gas.unwrap_or_default()),
        kind: request.to.map_or(TxKind::Create, TxKind::Call),
        value: request.value,
        data: request.input.clone(),
        nonce: 0,
        chain_id: Some(chain_id),
        access_list: request.access_list.clone(),
        blob_hashes: Vec::new(),
        max_fee_per_blob_gas: 0,
        authorization_list: request.authorizations.iter().cloned().map(Either::Left).collect(),
    }
}

pub(crate) fn outcome(ran: ExecutionResult) -> CallOutcome {
    let gas_used = ran.gas().tx_gas_used();
    let output = ran.output().cloned().unwrap_or_default();
    let end = match &ran {
        ExecutionResult::Success { .. } => CallEnd::Success,
        ExecutionResult::Revert { .. } => CallEnd::Revert,
        ExecutionResult::Halt { reason, .. } => CallEnd::Halt(reason.to_string()),
    };
    let logs = if end == CallEnd::Success { ran.into_logs() } else { Vec::new() };
    CallOutcome { end, gas_used, output, logs: logs.into_iter().map(evm::log).collect() }
}

fn failure(ran: &ExecutionResult, allowance: u64) -> CallError {
    match ran {
        ExecutionResult::Revert { output, .. } => CallError::Revert(output.clone()),
        ExecutionResult::Halt { reason: HaltReason::OutOfGas(_), .. } => CallError::Allowance(allowance),
        ExecutionResult::Halt { reason, .. } => CallError::Halt(reason.to_string()),
        ExecutionResult::Success { .. } => CallError::Failed("a success taken for a failure".into()),
    }
}

fn guarded<T>(run: impl FnOnce() -> Result<T, CallError>) -> Result<T, CallError> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Err(CallError::Failed(panic_message(&*panic))))
}
