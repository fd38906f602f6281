//! Runs transactions and calls again under a tracer.

use basalt_execution::trace::{Trace, TraceError, TraceLimits, TraceOptions, Traced};
use basalt_storage::Reader as _;

use super::{Chain, reader::read_error};
use crate::rpc::ports::{CallRequest, ChainReader as _, ReadError, Scene, StateAt, TraceFailure, TraceTarget, Tracer};

impl Tracer for Chain {
    fn trace(
        &self,
        target: TraceTarget,
        options: &TraceOptions,
        limits: TraceLimits,
    ) -> Result<Vec<Traced>, TraceFailure> {
        let (height, only) = match target {
            TraceTarget::Block(height) => (height, None),
            TraceTarget::Transaction(height, index) => (height, Some(index as usize)),
        };
        let genesis = || TraceError::Options("genesis is not traceable".into());
        let parent = height.prev().ok_or_else(genesis)?;
        let missing = || ReadError::Storage(format!("block {height} is not readable").into());
        let header = self.ledger.snapshot().header(height).map_err(read_error)?.ok_or_else(missing)?;
        let txs = self.transactions(height)?.ok_or_else(missing)?;
        let state = self.state_at(StateAt::Height(parent))?;
        let env = self.env_of(&self.state_at(StateAt::Height(height))?)?;
        let block = header.hash(self.spec.hash_fn);
        Ok(self.executor.trace_block((&env, block), &txs, only, &state, (options, limits))?)
    }

    fn trace_call(
        &self,
        request: &CallRequest,
        scene: &Scene,
        options: &TraceOptions,
        limits: TraceLimits,
    ) -> Result<Trace, TraceFailure> {
        let p = self.prepare(request, scene)?;
        Ok(self.executor.trace_call(&p.env, &p.request, (&p.state, &scene.accounts), (options, limits))?)
    }
}
