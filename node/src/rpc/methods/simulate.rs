//! `eth_simulateV1`.

use alloy_primitives::Bytes;
use basalt_execution::{CallEnd, CallError, SkipReason, simulate::SimulatedCall};
use serde::{Deserialize, Serialize};

use super::super::{
    RpcError,
    error::{self, REVERTED},
    format::{BlockJson, LogJson, TxJson},
    overrides::{BlockArgs, StateArgs},
    params,
    ports::{PlannedBlock, SimulateError, SimulatedBlock, SimulationPlan},
    registry::{Call, Registry},
    types::{BlockId, CallArgs, Hex64},
};
use super::state::call_limits;

/// Most calls of a simulation.
const MAX_CALLS: usize = 1_000;
/// A simulation took too long: the execution API's own code for it.
const TIMEOUT: i64 = -32016;
/// The EVM stopped a call, other than by a revert.
const VM_ERROR: i64 = -32015;

pub(super) fn add(r: &mut Registry) {
    r.blocking("eth_simulateV1", &["payload", "block"], |c: &Call, (args, id): (Args, Option<BlockId>)| {
        simulate(c, args, id)
    });
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Args {
    block_state_calls: Vec<BlockCalls>,
    #[serde(default)]
    trace_transfers: bool,
    #[serde(default)]
    validation: bool,
    #[serde(default)]
    return_full_transactions: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct BlockCalls {
    block_overrides: Option<BlockArgs>,
    state_overrides: Option<StateArgs>,
    calls: Option<Vec<CallArgs>>,
}

impl BlockCalls {
    fn into_block(self, chain_id: u64) -> Result<PlannedBlock, RpcError> {
        let calls = self.calls.unwrap_or_default().into_iter().map(|c| c.into_request(chain_id));
        Ok(PlannedBlock {
            block: self.block_overrides.unwrap_or_default().into_overrides()?,
            accounts: self.state_overrides.unwrap_or_default().into_overrides()?,
            calls: calls.collect::<Result<_, _>>()?,
        })
    }
}

/// Whether a value reads as the blocks of a simulation.
pub(super) fn reads(value: &serde_json::Value) -> bool {
    let block = |b: BlockCalls| b.into_block(31_337);
    params::reads(value, |args: Args| args.block_state_calls.into_iter().map(block).collect::<Result<Vec<_>, _>>())
}

fn simulate(c: &Call, args: Args, id: Option<BlockId>) -> Result<Vec<BlockOut>, RpcError> {
    if args.block_state_calls.is_empty() {
        return Err(RpcError::params("empty input: blockStateCalls names no block"));
    }
    let calls: usize = args.block_state_calls.iter().map(|b| b.calls.as_ref().map_or(0, Vec::len)).sum();
    if calls > MAX_CALLS {
        return Err(RpcError::limit(format!("{calls} calls given, the limit is {MAX_CALLS}")));
    }
    let at = c.app.chain.state_at(id.unwrap_or_default())?;
    let blocks = args.block_state_calls.into_iter().map(|b| b.into_block(c.app.spec.chain_id));
    let plan = SimulationPlan {
        blocks: blocks.collect::<Result<_, _>>()?,
        validation: args.validation,
        trace_transfers: args.trace_transfers,
        limits: call_limits(&c.app),
    };
    let blocks = c.app.ports.calls.simulate(&plan, at)?;
    Ok(blocks.into_iter().map(|b| BlockOut::new(&b, args.return_full_transactions)).collect())
}

#[derive(Serialize)]
struct BlockOut {
    #[serde(flatten)]
    block: BlockJson,
    calls: Vec<CallOut>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CallOut {
    status: Hex64,
    return_data: Bytes,
    gas_used: Hex64,
    max_used_gas: Hex64,
    logs: Vec<LogJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<RpcError>,
}

impl BlockOut {
    fn new(block: &SimulatedBlock, full: bool) -> Self {
        let view = &block.view;
        let tx = |(i, (call, tx)): (usize, &(SimulatedCall, _))| TxJson::simulated(tx, call.request.from, view, i);
        let txs = full.then(|| block.calls.iter().enumerate().map(tx).collect());
        let mut first_log = 0;
        let mut calls = Vec::with_capacity(block.calls.len());
        for (i, (call, tx)) in block.calls.iter().enumerate() {
            calls.push(CallOut::new(call, |n, log| LogJson::new(log, view, *tx.tx_hash(), i, first_log + n)));
            first_log += call.outcome.logs.len();
        }
        Self { block: BlockJson::imagined(view, txs), calls }
    }
}

impl CallOut {
    fn new(call: &SimulatedCall, log: impl Fn(usize, &basalt_primitives::Log) -> LogJson) -> Self {
        let outcome = &call.outcome;
        let error = match &outcome.end {
            CallEnd::Success => None,
            CallEnd::Revert => Some(RpcError { code: REVERTED, ..error::reverted(&outcome.output) }),
            CallEnd::Halt(reason) => Some(RpcError::new(VM_ERROR, reason.clone())),
        };
        Self {
            status: Hex64((outcome.end == CallEnd::Success).into()),
            return_data: outcome.output.clone(),
            gas_used: Hex64(outcome.gas_used),
            max_used_gas: Hex64(outcome.gas_used),
            logs: outcome.logs.iter().enumerate().map(|(n, l)| log(n, l)).collect(),
            error,
        }
    }
}

impl From<SimulateError> for RpcError {
    fn from(e: SimulateError) -> Self {
        match &e {
            SimulateError::Timeout(_) => Self::new(TIMEOUT, e.to_string()),
            SimulateError::Block(code, text) => Self::new(*code, text),
            SimulateError::Call { error, .. } => Self::new(code_of(&error.error), e.to_string()),
            SimulateError::Read(_) => match e {
                SimulateError::Read(e) => e.into(),
                other => Self::internal(other),
            },
        }
    }
}

/// The execution API's code of why a call cannot begin.
const fn code_of(e: &CallError) -> i64 {
    match e {
        CallError::Invalid(reason) => match reason {
            SkipReason::NonceTooLow { .. } => -38010,
            SkipReason::NonceTooHigh { .. } | SkipReason::NonceMax => -38011,
            SkipReason::FeeTooLow { .. } => -38012,
            SkipReason::IntrinsicGas { .. } => -38013,
            SkipReason::InsufficientFunds { .. } | SkipReason::CostOverflow => -38014,
            SkipReason::BlockGas { .. } => -38015,
            SkipReason::SenderHasCode => -38024,
            SkipReason::InitCodeSize => -38025,
            _ => error::INVALID_PARAMS,
        },
        CallError::Allowance(_) => error::LIMIT,
        CallError::State(_) | CallError::Failed(_) => error::INTERNAL,
        _ => error::SERVER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_too_long_says_so_with_the_codes_that_clients_know() {
        let late = RpcError::from(SimulateError::Timeout(7));
        assert_eq!((late.code, late.message.contains("limit of 7 ms")), (-32016, true), "{late}");
        let late = RpcError::from(crate::rpc::ports::CallError::Timeout(7));
        assert_eq!((late.code, late.message.contains("limit of 7 ms")), (-32002, true), "{late}");
    }
}
