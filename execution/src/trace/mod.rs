//! Traces of transactions and calls, in the forms that go-ethereum's `debug_` methods give them.
//!
//! A block's environment, its transactions and the state before it come in; for each transaction asked for goes out what
//! `revm-inspectors` saw, ready to be written as JSON. What runs before the traced transaction runs as it did in the
//! block. Every trace is bounded in steps, bytes and time ([`TraceLimits`]); the error names the limit.

mod limited;
mod run;

use std::time::Instant;

use alloy_primitives::B256;
pub use alloy_rpc_types_trace::geth::{
    GethDebugTracerType as TracerType, GethDebugTracingOptions as TraceOptions, GethTrace as Trace,
};

use crate::{ExecError, SkipReason, StateError};

/// How large a trace may get, over all transactions of one request.
#[derive(Clone, Copy, Debug)]
pub struct TraceLimits {
    /// Most instructions executed.
    pub max_steps: u64,
    /// Most bytes of what is recorded, about as JSON has it.
    pub max_bytes: usize,
    /// When to give up, and how many milliseconds after the start that is.
    pub deadline: Option<(Instant, u64)>,
}

/// The limit that a trace ran into.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum TraceLimit {
    /// Too many instructions.
    #[error(
        "the trace takes more than the limit of {0} instructions; trace a single transaction, or one that does less"
    )]
    Steps(u64),
    /// Too much recorded.
    #[error(
        "the trace is larger than the limit of {0} bytes; use `limit`, `disableStack` and `disableStorage`, or a tracer such as callTracer"
    )]
    Bytes(usize),
    /// Too slow.
    #[error("execution timeout: the trace takes longer than the limit of {0} ms; trace less at once")]
    Time(u64),
}

/// Why there is no trace.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The tracer, or what it was told.
    #[error("{0}")]
    Options(String),
    /// It became too large or slow.
    #[error(transparent)]
    Limit(#[from] TraceLimit),
    /// The call could not begin.
    #[error(transparent)]
    Invalid(SkipReason),
    /// State could not be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The block did not run again as it did.
    #[error("block cannot be executed again: {0}")]
    Block(#[source] ExecError),
    /// The executor failed.
    #[error("the executor failed on this trace: {0}; report it")]
    Failed(String),
}

/// What one transaction did.
#[derive(Clone, Debug)]
pub struct Traced {
    /// The transaction.
    pub tx: B256,
    /// What the tracer saw.
    pub trace: Trace,
}
