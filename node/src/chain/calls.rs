//! `eth_call` and `eth_estimateGas`, on the executor.

use basalt_execution::{
    BlockEnv, SkipReason, StateError,
    call::{CallEnd, CallError as Exec, CallRequest as Request},
};
use basalt_primitives::Bytes;
use basalt_storage::Reader as _;

use super::{
    Chain, PastView,
    reader::{damaged, read_error},
};
use crate::{
    clock, proposer,
    rpc::ports::{CallError, CallExecutor, CallRequest, ReadError, StateAt},
};

impl Chain {
    /// Where a call on the newest state runs: as if in the next block.
    fn next_env(&self, state: &PastView) -> BlockEnv {
        let head = state.0.snapshot().head();
        let header = head.block.header();
        BlockEnv {
            height: header.height.next(),
            timestamp_ms: clock::wall_ms().max(header.timestamp_ms + 1),
            beneficiary: header.proposer,
            base_fee: proposer::next_base_fee(&self.spec, &head),
            gas_limit: header.gas_limit,
            parent_hash: head.hash(),
            prev_randao: head.hash(),
        }
    }

    /// Where a call on the state after a named block runs: in that block's own surroundings, as clients know it from
    /// other nodes.
    fn past_env(&self, state: &PastView) -> Result<BlockEnv, ReadError> {
        let header = state.0.snapshot().header(state.0.height()).map_err(read_error)?;
        header.map(|h| BlockEnv::of(&h)).ok_or_else(|| damaged(format!("block {} has no header", state.0.height())))
    }

    fn prepare(&self, request: &CallRequest, at: StateAt) -> Result<(BlockEnv, Request, PastView), CallError> {
        let state = self.state_at(at)?;
        let env = match at {
            StateAt::Latest => self.next_env(&state),
            StateAt::Height(_) => self.past_env(&state)?,
        };
        let call = Request {
            from: request.from,
            to: request.to,
            value: request.value,
            input: request.input.clone(),
            gas: request.gas,
            gas_price: request.max_fee_per_gas,
            max_priority_fee_per_gas: request.max_priority_fee_per_gas,
            access_list: request.access_list.clone(),
            authorizations: request.authorization_list.clone(),
        };
        Ok((env, call, state))
    }
}

impl CallExecutor for Chain {
    fn call(&self, request: &CallRequest, at: StateAt) -> Result<Bytes, CallError> {
        let (env, call, state) = self.prepare(request, at)?;
        let outcome = self.executor.call(&env, &call, &state).map_err(call_error)?;
        match outcome.end {
            CallEnd::Success => Ok(outcome.output),
            CallEnd::Revert => Err(CallError::Reverted { output: outcome.output }),
            CallEnd::Halt(reason) => Err(CallError::Failed(reason)),
        }
    }

    fn estimate_gas(&self, request: &CallRequest, at: StateAt) -> Result<u64, CallError> {
        let (env, call, state) = self.prepare(request, at)?;
        self.executor.estimate_gas(&env, &call, &state).map_err(call_error)
    }
}

fn call_error(e: Exec) -> CallError {
    match e {
        Exec::Revert(output) => CallError::Reverted { output },
        Exec::State(e) => state_error(e),
        Exec::Invalid(SkipReason::Quarantined(_)) | Exec::Failed(_) => {
            tracing::error!("a call made the executor fail: {e}");
            CallError::Failed(e.to_string())
        }
        other => CallError::Failed(other.to_string()),
    }
}

fn state_error(e: StateError) -> CallError {
    tracing::error!("the state could not be read: {e}");
    CallError::Read(ReadError::Storage(Box::new(e)))
}
