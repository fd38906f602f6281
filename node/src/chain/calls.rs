//! `eth_call`, `eth_estimateGas` and `eth_createAccessList`, on the executor.

use basalt_execution::{
    Accessed, BlockEnv, SkipReason, StateError,
    call::{CallEnd, CallError as Exec, CallRequest as Request},
};
use basalt_primitives::Bytes;
use basalt_storage::Reader as _;

use super::{
    Chain, PastView,
    reader::{damaged, read_error},
};
use crate::{
    clock,
    rpc::ports::{
        CallError, CallExecutor, CallRequest, ReadError, Scene, SimulateError, SimulatedBlock, SimulationPlan, StateAt,
    },
};

/// A call ready to run: in which block, what, and on which state.
pub(super) struct Prepared {
    pub env: BlockEnv,
    pub request: Request,
    pub state: PastView,
}

impl Chain {
    /// The surroundings of the block whose state it is, as clients know it from other nodes.
    pub(super) fn env_of(&self, state: &PastView) -> Result<BlockEnv, ReadError> {
        let header = state.0.snapshot().header(state.0.height()).map_err(read_error)?;
        let header = header.ok_or_else(|| damaged(format!("block {} has no header", state.0.height())))?;
        let summary = state.0.snapshot().summary(state.0.height()).map_err(read_error)?;
        let env = BlockEnv::of(&header);
        // Where headers' times may go back, contracts have seen the highest.
        Ok(match summary.and_then(|s| s.work) {
            Some(work) => env.at(work.time_ms),
            None => env,
        })
    }

    /// The surroundings of a block that follows, now.
    pub(super) fn env_after(&self, state: &PastView) -> Result<BlockEnv, ReadError> {
        let last = self.env_of(state)?;
        let summary = state.0.snapshot().summary(state.0.height()).map_err(read_error)?;
        let summary = summary.ok_or_else(|| damaged(format!("block {} has no summary", last.height)))?;
        let gas_used = summary.outcome.gas_used;
        let head = state.0.snapshot().head();
        if let Some(plan) = self
            .next_block
            .as_ref()
            .filter(|_| state.0.height() == head.height())
            .map(|next| next.plan(&self.spec, &head, clock::wall_ms()))
        {
            return Ok(BlockEnv {
                height: last.height.next(),
                timestamp_ms: plan.timestamp_ms,
                base_fee: plan.base_fee,
                gas_limit: plan.gas_limit,
                beneficiary: plan.coinbase.unwrap_or(last.beneficiary),
                parent_hash: summary.hash,
                prev_randao: summary.hash,
            });
        }
        Ok(BlockEnv {
            height: last.height.next(),
            timestamp_ms: clock::wall_ms().max(last.timestamp_ms + 1),
            base_fee: self.spec.next_base_fee(last.height, last.base_fee, gas_used, last.gas_limit),
            parent_hash: summary.hash,
            prev_randao: summary.hash,
            ..last
        })
    }

    pub(super) fn prepare(&self, request: &CallRequest, scene: &Scene) -> Result<Prepared, ReadError> {
        let state = self.state_at(scene.at)?;
        let mut env = if scene.pending { self.env_after(&state)? } else { self.env_of(&state)? };
        // Whatever block is imagined: no call gets more gas than a real block has.
        let most = scene.limits.cap(env.gas_limit);
        scene.block.apply(&mut env);
        let mut request = exec_request(request);
        request.gas = Some(request.gas.unwrap_or(env.gas_limit).min(most));
        request.deadline = scene.limits.deadline;
        Ok(Prepared { env, request, state })
    }
}

/// The RPC's request as execution has it.
pub(super) fn exec_request(request: &CallRequest) -> Request {
    Request {
        from: request.from,
        to: request.to,
        value: request.value,
        input: request.input.clone(),
        gas: request.gas,
        gas_price: request.max_fee_per_gas,
        max_priority_fee_per_gas: request.max_priority_fee_per_gas,
        access_list: request.access_list.clone(),
        authorizations: request.authorization_list.clone(),
        deadline: None,
    }
}

impl CallExecutor for Chain {
    fn call(&self, request: &CallRequest, scene: &Scene) -> Result<Bytes, CallError> {
        let p = self.prepare(request, scene)?;
        let outcome = self.executor.call(&p.env, &p.request, &p.state, &scene.accounts).map_err(call_error)?;
        match outcome.end {
            CallEnd::Success => Ok(outcome.output),
            CallEnd::Revert => Err(CallError::Reverted { output: outcome.output }),
            CallEnd::Halt(reason) => Err(CallError::Failed(halted(reason, &p, scene))),
        }
    }

    fn estimate_gas(&self, request: &CallRequest, scene: &Scene) -> Result<u64, CallError> {
        let p = self.prepare(request, scene)?;
        self.executor.estimate_gas(&p.env, &p.request, &p.state, &scene.accounts).map_err(call_error)
    }

    fn access_list(&self, request: &CallRequest, scene: &Scene) -> Result<Accessed, CallError> {
        let p = self.prepare(request, scene)?;
        self.executor.access_list(&p.env, &p.request, &p.state, &scene.accounts).map_err(call_error)
    }

    fn simulate(&self, plan: &SimulationPlan, at: StateAt) -> Result<Vec<SimulatedBlock>, SimulateError> {
        self.run_simulation(plan, at)
    }
}

/// Why the EVM stopped a call; with the limit of this node where that may have been the cause.
fn halted(reason: String, p: &Prepared, scene: &Scene) -> String {
    match (p.request.gas, scene.limits.max_gas) {
        (Some(gas), Some(most)) if gas == most => {
            format!("{reason}; a call on this node may use at most {most} gas")
        }
        _ => reason,
    }
}

fn call_error(e: Exec) -> CallError {
    match e {
        Exec::Revert(output) => CallError::Reverted { output },
        Exec::Timeout(ms) => CallError::Timeout(ms),
        Exec::State(e) => CallError::Read(state_error(e)),
        Exec::Invalid(SkipReason::Quarantined(_)) | Exec::Failed(_) => {
            tracing::error!("a call made the executor fail: {e}");
            CallError::Failed(e.to_string())
        }
        other => CallError::Failed(other.to_string()),
    }
}

pub(super) fn state_error(e: StateError) -> ReadError {
    tracing::error!("the state could not be read: {e}");
    ReadError::Storage(Box::new(e))
}
