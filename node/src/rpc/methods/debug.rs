//! Traces, and the bytes of blocks, transactions and receipts.

use std::time::{Duration, Instant};

use alloy_primitives::{B256, Bytes};
use basalt_execution::trace::{Trace, TraceError, TraceLimits, TraceOptions, Traced};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    super::{
        App, RpcError, error, format, params,
        ports::{TraceFailure, TraceTarget},
        registry::{Call, Registry},
        types::{BlockId, CallArgs},
    },
    state::{self, scene},
    transaction,
};
use crate::rpc::overrides::{BlockArgs, StateArgs};

pub(super) fn add(r: &mut Registry) {
    r.tracing("debug_traceTransaction", &["hash", "options"], |c: &Call, (hash, options): (B256, Option<Options>)| {
        trace_transaction(c, &hash, options)
    });
    r.tracing("debug_traceBlockByNumber", &["block", "options"], |c: &Call, (id, options)| trace_block(c, id, options));
    r.tracing("debug_traceBlockByHash", &["hash", "options"], |c: &Call, (hash, options): (B256, _)| {
        trace_block(c, BlockId::Hash(hash), options)
    });
    r.tracing("debug_traceCall", &["transaction", "block", "options"], |c: &Call, (args, id, options)| {
        trace_call(c, args, id, options)
    });
    r.quick("debug_getRawTransaction", &["hash"], |c: &Call, (hash,): (B256,)| transaction::raw_by_hash(c, &hash));
    r.quick("debug_getRawHeader", &["block"], |c: &Call, (id,): (BlockId,)| {
        let view = c.app.chain.view(id)?.ok_or_else(state::no_block)?;
        Ok(Bytes::copy_from_slice(view.header.layout().as_slice()))
    });
    r.blocking("debug_getRawBlock", &["block"], |c: &Call, (id,): (BlockId,)| {
        let height = c.app.chain.resolve(id)?.ok_or_else(state::no_block)?;
        c.app.chain.reader().raw_block(height)?.ok_or_else(state::no_block)
    });
    r.blocking("debug_getRawReceipts", &["block"], |c: &Call, (id,): (BlockId,)| {
        let view = c.app.chain.view(id)?.ok_or_else(state::no_block)?;
        Ok(c.app.chain.receipts(&view)?.iter().map(format::raw_receipt).collect::<Vec<Bytes>>())
    });
    // Bad blocks are never stored: a proposal that is not right gets no vote.
    r.quick("debug_getBadBlocks", &[], |_: &Call, ()| Ok([(); 0]));
}

/// The options of geth's trace methods.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Options {
    #[serde(flatten)]
    trace: TraceOptions,
    #[serde(default)]
    state_overrides: Option<StateArgs>,
    #[serde(default)]
    block_overrides: Option<BlockArgs>,
    #[serde(default)]
    tx_index: Option<Value>,
}

fn trace_transaction(c: &Call, hash: &B256, options: Option<Options>) -> Result<Trace, RpcError> {
    let options = options.unwrap_or_default();
    let limits = limits(&c.app, &options.trace)?;
    let (height, index) = c.app.chain.reader().locate(hash)?.ok_or_else(|| match c.app.ports.pool.get(hash) {
        Some(_) => RpcError::server("transaction not found: it waits in the mempool and is in no block yet"),
        None => RpcError::server("transaction not found"),
    })?;
    let target = TraceTarget::Transaction(height, index);
    let traced = c.app.ports.tracer.trace(target, &options.trace, limits)?.pop();
    traced.map(|t| t.trace).ok_or_else(|| RpcError::internal("a transaction was not traced"))
}

/// One transaction of a traced block.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TracedJson {
    tx_hash: B256,
    result: Trace,
}

fn trace_block(c: &Call, id: BlockId, options: Option<Options>) -> Result<Vec<TracedJson>, RpcError> {
    let options = options.unwrap_or_default();
    let limits = limits(&c.app, &options.trace)?;
    let height = c.app.chain.resolve(id)?.ok_or_else(state::no_block)?;
    let traced = c.app.ports.tracer.trace(TraceTarget::Block(height), &options.trace, limits)?;
    Ok(traced.into_iter().map(|Traced { tx, trace }| TracedJson { tx_hash: tx, result: trace }).collect())
}

fn trace_call(c: &Call, args: CallArgs, id: Option<BlockId>, options: Option<Options>) -> Result<Trace, RpcError> {
    let options = options.unwrap_or_default();
    if options.tx_index.is_some_and(|i| !i.is_null()) {
        return Err(RpcError::params("txIndex is not supported; trace on the block before, or trace the transaction"));
    }
    let limits = limits(&c.app, &options.trace)?;
    let scene = scene(c, id, options.state_overrides, options.block_overrides)?;
    let request = args.into_request(c.app.spec.chain_id)?;
    Ok(c.app.ports.tracer.trace_call(&request, &scene, &options.trace, limits)?)
}

fn limits(app: &App, options: &TraceOptions) -> Result<TraceLimits, RpcError> {
    let most = app.config.trace_timeout_ms;
    let ms = options.timeout.as_deref().map(go_duration_ms).transpose()?.map_or(most, |ms| ms.min(most));
    Ok(TraceLimits {
        max_steps: app.config.max_trace_steps,
        max_bytes: app.config.max_response_bytes,
        deadline: Some((Instant::now() + Duration::from_millis(ms), ms)),
    })
}

/// Whether a value reads as options of a trace.
pub(super) fn reads(value: &Value) -> bool {
    params::reads(value, |options: Options| {
        let (accounts, block) =
            (options.state_overrides.unwrap_or_default(), options.block_overrides.unwrap_or_default());
        accounts.into_overrides()?;
        block.into_overrides()?;
        options.trace.timeout.as_deref().map(go_duration_ms).transpose()
    })
}

/// A duration as Go writes it: `300ms`, `1.5s`, `1m30s`.
fn go_duration_ms(text: &str) -> Result<u64, RpcError> {
    let wrong = || RpcError::params("invalid timeout: expected a duration such as \"5s\", \"1m30s\" or \"300ms\"");
    let (mut rest, mut ms) = (text, 0f64);
    while !rest.is_empty() && text.len() <= 32 {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit = &rest[digits..];
        let length = unit.find(|c: char| c.is_ascii_digit()).unwrap_or(unit.len());
        ms += number
            * match &unit[..length] {
                "ns" => 1e-6,
                "us" | "µs" => 1e-3,
                "ms" => 1.0,
                "s" => 1e3,
                "m" => 60e3,
                "h" => 3600e3,
                _ => return Err(wrong()),
            };
        rest = &unit[length..];
    }
    if text.is_empty() || !rest.is_empty() { Err(wrong()) } else { Ok(ms as u64) }
}

impl From<TraceFailure> for RpcError {
    fn from(e: TraceFailure) -> Self {
        match e {
            TraceFailure::Read(e) => e.into(),
            TraceFailure::Trace(e) => match e {
                TraceError::Options(text) => Self::params(text),
                TraceError::Limit(limit) => Self::new(error::LIMIT, limit.to_string()),
                TraceError::Invalid(reason) => Self::server(format!("tracing failed: {reason}")),
                TraceError::State(e) => Self::internal(e),
                TraceError::Block(_) | TraceError::Failed(_) => Self::internal(e),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::go_duration_ms;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, ms) in [("5s", 5_000), ("300ms", 300), ("1.5s", 1_500), ("1m30s", 90_000), ("1h", 3_600_000)] {
            assert_eq!(go_duration_ms(text), Ok(ms), "{text}");
        }
        for text in ["", "5", "s", "5 s", "-1s", "1x", "1.2.3s", &"1s".repeat(40)] {
            assert!(go_duration_ms(text).is_err(), "{text}");
        }
    }
}
