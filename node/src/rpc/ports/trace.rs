//! Traces.

use basalt_execution::trace::{Trace, TraceError, TraceLimits, TraceOptions, Traced};
use basalt_primitives::Height;

use super::{
    calls::{CallRequest, Scene},
    chain::ReadError,
};

/// Which transactions of a block to trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceTarget {
    /// All of the block.
    Block(Height),
    /// One of them, by index.
    Transaction(Height, u32),
}

/// Why there is no trace.
#[derive(Debug, thiserror::Error)]
pub enum TraceFailure {
    /// Of the trace itself.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The state or the block.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Runs transactions and calls again under a tracer. Blocking, and for long.
pub trait Tracer: Send + Sync {
    /// Traces transactions of a block.
    fn trace(
        &self,
        target: TraceTarget,
        options: &TraceOptions,
        limits: TraceLimits,
    ) -> Result<Vec<Traced>, TraceFailure>;

    /// Traces a call.
    fn trace_call(
        &self,
        request: &CallRequest,
        scene: &Scene,
        options: &TraceOptions,
        limits: TraceLimits,
    ) -> Result<Trace, TraceFailure>;
}
