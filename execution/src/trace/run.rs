//! Runs what is to be traced.

use std::{
    borrow::Borrow,
    panic::{AssertUnwindSafe, catch_unwind},
};

use alloy_primitives::B256;
use alloy_rpc_types_trace::geth::GethDebugBuiltInTracerType as BuiltIn;
use basalt_primitives::{Transaction, tx::Payload};
use revm::{
    InspectEvm as _,
    context::{CfgEnv, TxEnv},
    context_interface::result::{EVMError, ResultAndState},
    state::EvmState,
};
use revm_inspectors::tracing::{DebugInspector, DebugInspectorError, TransactionContext};

use super::{
    Trace, TraceError, TraceLimits, TraceOptions, Traced, TracerType,
    limited::{Limited, Meter},
};
use crate::{
    BlockEnv, CallRequest, Executor, SkipReason, StateReader,
    block_state::BlockState,
    call, development, evm,
    executor::{Failure, RunningBlock, panic_message},
    overrides::StateOverrides,
};

impl Executor {
    /// Traces the transactions of a block that ran, all of them or the one at an index. `state` is the state before the
    /// block, `block` its hash.
    pub fn trace_block<T: Borrow<Transaction>>(
        &self,
        (env, block): (&BlockEnv, B256),
        txs: &[T],
        only: Option<usize>,
        state: &dyn StateReader,
        (options, limits): (&TraceOptions, TraceLimits),
    ) -> Result<Vec<Traced>, TraceError> {
        guarded(|| {
            let mut tracer = Tracer::new(options, limits)?;
            let mut running = RunningBlock::open(self, env, state).map_err(TraceError::Block)?;
            let last = only.map_or(txs.len(), |i| i.saturating_add(1).min(txs.len()));
            let mut traced = Vec::new();
            for (index, tx) in txs[..last].iter().map(Borrow::borrow).enumerate() {
                if !tracer.meter.in_time() {
                    break;
                }
                if only.is_none_or(|i| i == index) {
                    let place =
                        TransactionContext { block_hash: Some(block), tx_index: Some(index), tx_hash: Some(tx.hash()) };
                    let trace = running.trace(&mut tracer, tx, place)?;
                    traced.push(Traced { tx: tx.hash(), trace });
                } else {
                    running.run(tx, u64::MAX).map_err(again)?;
                }
            }
            tracer.meter.exceeded.map_or(Ok(traced), |limit| Err(limit.into()))
        })
    }

    /// Traces a call that changes nothing.
    pub fn trace_call(
        &self,
        env: &BlockEnv,
        request: &CallRequest,
        (state, overrides): (&dyn StateReader, &StateOverrides),
        (options, limits): (&TraceOptions, TraceLimits),
    ) -> Result<Trace, TraceError> {
        guarded(|| {
            let mut tracer = Tracer::new(options, limits)?;
            let mut before = BlockState::new(state, &self.codes);
            before.override_accounts(overrides)?;
            let (block, cfg) = call::rules(self, env, request);
            let gas = request.gas.unwrap_or(env.gas_limit).min(env.gas_limit);
            let tx = call::tx_env(request, gas, cfg.chain_id);
            Ok(tracer.run(before, (block, cfg), tx, None)?.0)
        })
    }
}

impl RunningBlock<'_> {
    /// Runs the next transaction of the block under a tracer.
    fn trace(
        &mut self,
        tracer: &mut Tracer<'_>,
        tx: &Transaction,
        place: TransactionContext,
    ) -> Result<Trace, TraceError> {
        if let Payload::Edit(edit) = tx.payload() {
            self.run(tx, u64::MAX).map_err(again)?;
            return Ok(development::trace(edit, tracer.options));
        }
        let (state, mut env) = self.lend();
        env.1.disable_eip3607 = tx.is_unsigned();
        let run = tracer.run(state, env, evm::tx_env(tx).map_err(TraceError::Invalid)?, Some(place))?;
        let (trace, mut state, changes) = run;
        state.commit(changes)?;
        self.give_back(state);
        Ok(trace)
    }
}

/// A tracer and what it has used up.
struct Tracer<'o> {
    options: &'o TraceOptions,
    meter: Meter,
}

type Ran<'a> = (Trace, BlockState<'a>, EvmState);

impl<'o> Tracer<'o> {
    fn new(options: &'o TraceOptions, limits: TraceLimits) -> Result<Self, TraceError> {
        inspector(options)?;
        Ok(Self { options, meter: Meter::new(limits, options) })
    }

    /// Runs one transaction; gives its trace, the state before it, and what it changed.
    fn run<'a>(
        &mut self,
        state: BlockState<'a>,
        (block, cfg): (revm::context::BlockEnv, CfgEnv),
        tx: TxEnv,
        place: Option<TransactionContext>,
    ) -> Result<Ran<'a>, TraceError> {
        self.meter.next();
        let fee = (tx.gas_price, block.basefee, block.gas_limit);
        let meter = std::mem::replace(&mut self.meter, Meter::new(NOTHING, self.options));
        let mut evm = evm::watched(state, block.clone(), cfg, Limited { inner: inspector(self.options)?, meter });
        let ran = evm.inspect_tx(tx.clone());
        let Limited { mut inner, meter } = evm.inspector;
        self.meter = meter;
        let ran = match (self.meter.exceeded, ran) {
            (Some(limit), _) => return Err(limit.into()),
            (None, Ok(ran)) => ran,
            (None, Err(EVMError::Database(e))) => return Err(e.into()),
            (None, Err(EVMError::Transaction(e))) => {
                return Err(TraceError::Invalid(SkipReason::from_revm(e, fee.0, fee.1, fee.2)));
            }
            (None, Err(other)) => return Err(TraceError::Failed(other.to_string())),
        };
        let mut state = evm.ctx.journaled_state.database;
        self.admit_prestate(&state, &ran)?;
        let trace = inner.get_result(place, &tx, &block, &ran, &mut state).map_err(|e| match e {
            DebugInspectorError::Database(e) => TraceError::State(e),
            other => TraceError::Failed(other.to_string()),
        })?;
        Ok((trace, state, ran.state))
    }

    /// The prestate tracer writes the code of every account, which only now is known to fit.
    fn admit_prestate<H>(&mut self, state: &BlockState<'_>, ran: &ResultAndState<H>) -> Result<(), TraceError> {
        let shows_code = self
            .options
            .tracer
            .as_ref()
            .is_some_and(|t| matches!(t, TracerType::BuiltInTracer(BuiltIn::PreStateTracer | BuiltIn::MuxTracer)));
        if !shows_code {
            return Ok(());
        }
        for (address, account) in &ran.state {
            let before = state.peek(address)?.unwrap_or_default().code_hash;
            let mut bytes = 300 + 280 * account.storage.len() + 2 * state.code(before)?.len();
            if account.info.code_hash != before {
                bytes += account.info.code.as_ref().map_or(0, |c| 2 * c.len());
            }
            if !self.meter.add(bytes) {
                break;
            }
        }
        self.meter.exceeded.map_or(Ok(()), |limit| Err(limit.into()))
    }
}

/// Limits of a meter that stands in while the real one is with the EVM.
const NOTHING: TraceLimits = TraceLimits { max_steps: 0, max_bytes: 0, deadline: None };

fn inspector(options: &TraceOptions) -> Result<DebugInspector, TraceError> {
    if let Some(TracerType::JsTracer(name)) = &options.tracer
        && !name.is_empty()
    {
        let shown: String = name.chars().take(40).collect();
        return Err(TraceError::Options(format!(
            "tracer {shown:?} is not known: tracers written in JavaScript are not run here; there are callTracer, flatCallTracer, prestateTracer, 4byteTracer, muxTracer, noopTracer, erc7562Tracer, and struct logs without a name"
        )));
    }
    DebugInspector::new(options.clone()).map_err(|e| {
        TraceError::Options(format!("{e}: `tracerConfig` does not fit the tracer; see go-ethereum's built-in tracers"))
    })
}

fn again(failure: Failure) -> TraceError {
    match failure {
        Failure::Skip(reason) => TraceError::Failed(format!("a transaction of the block does not run again: {reason}")),
        Failure::Block(e) => TraceError::Block(e),
    }
}

fn guarded<T>(run: impl FnOnce() -> Result<T, TraceError>) -> Result<T, TraceError> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Err(TraceError::Failed(panic_message(&*panic))))
}
