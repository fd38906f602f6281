//! An inspector that stops another one, and the EVM with it, when a limit is reached.

use std::time::Instant;

use alloy_primitives::{Address, Log, U256, map::AddressMap};
use alloy_rpc_types_trace::geth::{GethDebugBuiltInTracerType as BuiltIn, GethDebugTracerType};
use revm::{
    Inspector,
    bytecode::opcode,
    context_interface::{ContextError, ContextTr},
    handler::FrameResult,
    interpreter::{
        CallInputs, CallOutcome, CreateInputs, CreateOutcome, FrameInput, Interpreter,
        interpreter_types::{InputsTr as _, Jumps as _, MemoryTr as _, ReturnData as _},
    },
};

use super::{TraceLimit, TraceLimits, TraceOptions};

/// How often the clock is read: a step takes well under a microsecond.
const STEPS_PER_LOOK: u64 = 1024;

/// What recording one step costs, in bytes; nothing for tracers that look at calls only.
#[derive(Clone, Copy, Debug, Default)]
struct StepCost {
    base: usize,
    per_stack_item: usize,
    per_memory_byte: usize,
    per_slot: usize,
    per_return_byte: usize,
    /// Steps after these are not recorded.
    recorded: u64,
}

impl StepCost {
    fn of(options: &TraceOptions) -> Self {
        let full = Self { base: 160, per_stack_item: 40, per_memory_byte: 2, per_slot: 140, ..Self::default() };
        match options.tracer.as_ref().filter(|t| !t.as_str().is_empty()) {
            None => {
                let o = &options.config;
                let when = |on: bool, cost: usize| if on { cost } else { 0 };
                Self {
                    per_stack_item: when(!o.disable_stack.unwrap_or(false), full.per_stack_item),
                    per_memory_byte: when(o.is_memory_enabled(), full.per_memory_byte),
                    per_slot: when(o.is_storage_enabled(), full.per_slot),
                    per_return_byte: when(o.is_return_data_enabled(), 2),
                    recorded: o.limit.filter(|l| *l > 0).unwrap_or(u64::MAX),
                    ..full
                }
            }
            Some(GethDebugTracerType::BuiltInTracer(BuiltIn::Erc7562Tracer)) => Self { recorded: u64::MAX, ..full },
            Some(_) => Self::default(),
        }
    }
}

/// Counts what a trace has taken so far, over all transactions of a request.
pub(super) struct Meter {
    limits: TraceLimits,
    cost: StepCost,
    steps: u64,
    bytes: usize,
    /// How often each account's storage was used in this transaction: so many slots a step may show at most.
    slots: AddressMap<usize>,
    pub(super) exceeded: Option<TraceLimit>,
}

impl Meter {
    pub(super) fn new(limits: TraceLimits, options: &TraceOptions) -> Self {
        let cost = StepCost::of(options);
        Self { limits, cost, steps: 0, bytes: 0, slots: AddressMap::default(), exceeded: None }
    }

    /// Begins the next transaction.
    pub(super) fn next(&mut self) {
        self.slots.clear();
    }

    /// Counts bytes; says whether they are within the limit.
    pub(super) fn add(&mut self, bytes: usize) -> bool {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.limits.max_bytes {
            self.exceeded.get_or_insert(TraceLimit::Bytes(self.limits.max_bytes));
        }
        self.exceeded.is_none()
    }

    /// Looks at the clock; says whether there is time left.
    pub(super) fn in_time(&mut self) -> bool {
        if let Some((deadline, ms)) = self.limits.deadline
            && Instant::now() > deadline
        {
            self.exceeded.get_or_insert(TraceLimit::Time(ms));
        }
        self.exceeded.is_none()
    }

    fn step(&mut self, interp: &Interpreter) -> bool {
        self.steps += 1;
        if self.steps > self.limits.max_steps {
            self.exceeded.get_or_insert(TraceLimit::Steps(self.limits.max_steps));
        }
        if self.steps.is_multiple_of(STEPS_PER_LOOK) {
            self.in_time();
        }
        if self.steps <= self.cost.recorded && self.cost.base > 0 {
            let bytes = self.cost_of(interp);
            self.add(bytes);
        }
        self.exceeded.is_none()
    }

    fn cost_of(&mut self, interp: &Interpreter) -> usize {
        let cost = &self.cost;
        let storage = if cost.per_slot > 0 && matches!(interp.bytecode.opcode(), opcode::SLOAD | opcode::SSTORE) {
            let used = self.slots.entry(interp.input.target_address()).or_default();
            *used += 1;
            *used * cost.per_slot
        } else {
            0
        };
        cost.base
            + interp.stack.len() * cost.per_stack_item
            + interp.memory.size() * cost.per_memory_byte
            + interp.return_data.buffer().len() * cost.per_return_byte
            + storage
    }
}

/// A tracer within limits. Once a limit is reached the tracer hears nothing more and the EVM stops with an error.
pub(super) struct Limited<I> {
    pub(super) inner: I,
    pub(super) meter: Meter,
}

/// What a frame costs besides its data.
const FRAME: usize = 400;

impl<I> Limited<I> {
    const fn open(&self) -> bool {
        self.meter.exceeded.is_none()
    }
}

impl<CTX: ContextTr, I: Inspector<CTX>> Inspector<CTX> for Limited<I> {
    fn initialize_interp(&mut self, interp: &mut Interpreter, context: &mut CTX) {
        if self.open() {
            self.inner.initialize_interp(interp, context);
        }
    }

    fn step(&mut self, interp: &mut Interpreter, context: &mut CTX) {
        if self.open() && self.meter.step(interp) {
            return self.inner.step(interp, context);
        }
        let text = self.meter.exceeded.map_or_else(String::new, |l| l.to_string());
        *context.error() = Err(ContextError::Custom(text));
        interp.halt_fatal();
    }

    fn step_end(&mut self, interp: &mut Interpreter, context: &mut CTX) {
        if self.open() {
            self.inner.step_end(interp, context);
        }
    }

    fn log_full(&mut self, interp: &mut Interpreter, context: &mut CTX, log: Log) {
        if self.open() && self.meter.add(FRAME + 2 * log.data.data.len()) {
            self.inner.log_full(interp, context, log);
        }
    }

    fn log(&mut self, context: &mut CTX, log: Log) {
        if self.open() && self.meter.add(FRAME + 2 * log.data.data.len()) {
            self.inner.log(context, log);
        }
    }

    fn call(&mut self, context: &mut CTX, inputs: &mut CallInputs) -> Option<CallOutcome> {
        let bytes = FRAME + 2 * inputs.input.len();
        if self.open() && self.meter.add(bytes) { self.inner.call(context, inputs) } else { None }
    }

    fn call_end(&mut self, context: &mut CTX, inputs: &CallInputs, outcome: &mut CallOutcome) {
        if self.open() && self.meter.add(2 * outcome.result.output.len()) {
            self.inner.call_end(context, inputs, outcome);
        }
    }

    fn create(&mut self, context: &mut CTX, inputs: &mut CreateInputs) -> Option<CreateOutcome> {
        let bytes = FRAME + 2 * inputs.init_code().len();
        if self.open() && self.meter.add(bytes) { self.inner.create(context, inputs) } else { None }
    }

    fn create_end(&mut self, context: &mut CTX, inputs: &CreateInputs, outcome: &mut CreateOutcome) {
        if self.open() && self.meter.add(2 * outcome.result.output.len()) {
            self.inner.create_end(context, inputs, outcome);
        }
    }

    fn selfdestruct(&mut self, contract: Address, target: Address, value: U256) {
        if self.open() && self.meter.add(FRAME) {
            Inspector::<CTX>::selfdestruct(&mut self.inner, contract, target, value);
        }
    }

    fn frame_start(&mut self, context: &mut CTX, input: &mut FrameInput) -> Option<FrameResult> {
        if self.open() { self.inner.frame_start(context, input) } else { None }
    }

    fn frame_end(&mut self, context: &mut CTX, input: &FrameInput, result: &mut FrameResult) {
        if self.open() {
            self.inner.frame_end(context, input, result);
        }
    }
}
