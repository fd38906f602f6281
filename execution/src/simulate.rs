//! Blocks that are only imagined: `eth_simulateV1` (the execution API's specification).
//!
//! Calls come in, block by block, with what is to be different in each; what they did goes out. Later blocks see what
//! earlier ones changed. Nothing is signed, so who calls is taken on trust.

use std::panic::{AssertUnwindSafe, catch_unwind};

use alloy_primitives::{Address, B256};
use basalt_primitives::state::StateChanges;
use revm::{
    InspectEvm as _,
    context::CfgEnv,
    context_interface::{Cfg as _, result::ExecutionResult},
};
use revm_inspectors::transfer::TransferInspector;

use crate::{
    BlockEnv, CallError, CallOutcome, CallRequest, Executor, SkipReason, StateReader, block_state::BlockState, call,
    deadline, evm, executor::panic_message, overrides::StateOverrides,
};

/// How the calls of a simulation run.
#[derive(Clone, Copy, Debug, Default)]
pub struct SimulationRules {
    /// Check nonces, fees and senders as for real transactions.
    pub validation: bool,
    /// Add a log for every movement of value, as if it were an ERC-20 transfer.
    pub trace_transfers: bool,
}

/// One call of a simulation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulatedCall {
    /// The call as it ran: with its gas limit.
    pub request: CallRequest,
    /// The nonce it ran with.
    pub nonce: u64,
    /// What it did; logs of value transfers among its logs, where asked for.
    pub outcome: CallOutcome,
    /// The contract it made.
    pub created: Option<Address>,
}

/// Why a call made the whole simulation fail: its index in the block, and why it could not begin.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("call {index}: {error}")]
pub struct SimulationError {
    /// Index of the call in its block.
    pub index: usize,
    /// Why.
    pub error: CallError,
}

/// A chain of imagined blocks on a state.
pub struct Simulation<'a> {
    executor: &'a Executor,
    reader: &'a dyn StateReader,
    rules: SimulationRules,
    state: Option<BlockState<'a>>,
    /// Over all blocks.
    most_gas: u64,
    gas_left: u64,
}

impl<'a> Simulation<'a> {
    /// On the state after a block, with at most so much gas over all blocks.
    #[must_use]
    pub fn new(executor: &'a Executor, reader: &'a dyn StateReader, rules: SimulationRules, gas: u64) -> Self {
        Self {
            executor,
            reader,
            rules,
            state: Some(BlockState::new(reader, &executor.codes)),
            most_gas: gas,
            gas_left: gas,
        }
    }

    /// Runs one block: changes accounts, then makes the calls in order. Each request may come with a nonce.
    pub fn block(
        &mut self,
        env: &BlockEnv,
        overrides: &StateOverrides,
        calls: Vec<(CallRequest, Option<u64>)>,
    ) -> Result<Vec<SimulatedCall>, SimulationError> {
        let failed = |error| SimulationError { index: 0, error };
        self.state_mut().override_accounts(overrides).map_err(|e| failed(e.into()))?;
        let mut gas_used = 0;
        let mut done = Vec::with_capacity(calls.len());
        for (index, (mut request, nonce)) in calls.into_iter().enumerate() {
            let left = env.gas_limit.saturating_sub(gas_used);
            let gas = request.gas.unwrap_or_else(|| left.min(self.gas_cap(env)));
            if gas > left {
                let error = CallError::Invalid(SkipReason::BlockGas { limit: gas, left });
                return Err(SimulationError { index, error });
            }
            if self.gas_left == 0 {
                return Err(SimulationError { index, error: CallError::Allowance(self.most_gas) });
            }
            request.gas = Some(gas.min(self.gas_left));
            let ran = self.call(env, request, nonce).map_err(|error| SimulationError { index, error })?;
            gas_used += ran.outcome.gas_used;
            self.gas_left = self.gas_left.saturating_sub(ran.outcome.gas_used);
            done.push(ran);
        }
        Ok(done)
    }

    /// Tells later blocks the hash of an earlier one.
    pub fn put_hash(&mut self, height: u64, hash: B256) {
        self.state_mut().put_hash(height, hash);
    }

    /// How the state now differs from the one it began on.
    #[must_use]
    pub fn changes(&mut self) -> StateChanges {
        self.state_mut().changes()
    }

    fn state_mut(&mut self) -> &mut BlockState<'a> {
        let (reader, codes) = (self.reader, &self.executor.codes);
        self.state.get_or_insert_with(|| BlockState::new(reader, codes))
    }

    fn call(
        &mut self,
        env: &BlockEnv,
        mut request: CallRequest,
        nonce: Option<u64>,
    ) -> Result<SimulatedCall, CallError> {
        call::in_time(&request)?;
        let (mut block, mut cfg) = call::rules(self.executor, env, &request);
        if self.rules.validation {
            block.basefee = env.base_fee;
            self.check_as_real(&mut cfg, env);
            request.gas_price = request.gas_price.or(Some(env.base_fee.into()));
        }
        let next = self.state_mut().account(request.from)?.unwrap_or_default().nonce;
        let nonce = nonce.unwrap_or(next);
        let gas = request.gas.unwrap_or(env.gas_limit);
        let mut tx = call::tx_env(&request, gas, cfg.chain_id);
        tx.nonce = nonce;
        let state = self.state.take().unwrap_or_else(|| BlockState::new(self.reader, &self.executor.codes));
        let inspector = TransferInspector::new(false).with_logs(self.rules.trace_transfers);
        let mut evm = evm::watched(state, block, cfg, inspector);
        deadline::watch(&mut evm, request.deadline);
        let ran = catch_unwind(AssertUnwindSafe(|| evm.inspect_tx(tx)));
        let ran = ran.map_err(|panic| CallError::Failed(panic_message(&*panic)))?;
        let ran = ran.map_err(|e| call::refused(e, &evm.ctx.chain, &request, env))?;
        let mut state = evm.ctx.journaled_state.database;
        state.commit(ran.state)?;
        self.state = Some(state);
        let created = match &ran.result {
            ExecutionResult::Success { output, .. } => output.address().copied(),
            _ => None,
        };
        Ok(SimulatedCall { request, nonce, outcome: call::outcome(ran.result), created })
    }

    /// The most gas one transaction may have.
    fn gas_cap(&self, env: &BlockEnv) -> u64 {
        if !self.rules.validation {
            return u64::MAX;
        }
        evm::config(self.executor.spec().fork_at(env.height), 0).tx_gas_limit_cap()
    }

    fn check_as_real(&self, cfg: &mut CfgEnv, env: &BlockEnv) {
        cfg.disable_nonce_check = false;
        cfg.disable_eip3607 = false;
        cfg.disable_base_fee = false;
        cfg.tx_gas_limit_cap = Some(self.gas_cap(env));
    }
}
