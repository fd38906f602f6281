//! Until when a call may run. Calls that nobody pays for are bounded by gas and by this.
//!
//! Whatever runs long in the EVM jumps or calls, because code is short: so those instructions look at the clock, and
//! nothing else is slowed down. A single precompile or one frame without a jump is bounded by its gas.

use std::time::{Duration, Instant};

use revm::{
    bytecode::opcode,
    context::ContextError,
    context_interface::ContextTr as _,
    interpreter::{
        InstructionContext, InstructionExecResult, InstructionResult,
        instructions::{Instruction, contract, control},
        interpreter::EthInterpreter,
    },
};

use crate::evm::{BlockContext, BlockEvm};

/// How often the clock is read: between two looks there may be as many costly instructions as jumps.
const JUMPS_PER_LOOK: u32 = 16;

/// The moment at which work is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    at: Instant,
    limit_ms: u64,
}

impl Deadline {
    /// So many milliseconds from now.
    #[must_use]
    pub fn after_ms(limit_ms: u64) -> Self {
        Self { at: Instant::now() + Duration::from_millis(limit_ms), limit_ms }
    }

    /// Whether it has passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        Instant::now() >= self.at
    }

    /// The whole time there was, in milliseconds: for the error.
    #[must_use]
    pub const fn limit_ms(&self) -> u64 {
        self.limit_ms
    }
}

/// What an EVM knows of its deadline.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    deadline: Option<Deadline>,
    jumps: u32,
    /// Set once the EVM was stopped.
    pub(crate) expired: bool,
}

/// Lets an EVM stop at a deadline.
pub(crate) fn watch<I>(evm: &mut BlockEvm<'_, I>, deadline: Option<Deadline>) {
    let Some(deadline) = deadline else { return };
    evm.ctx.chain = Watch { deadline: Some(deadline), ..Watch::default() };
    let gas = *evm.instruction.gas_table();
    let mut put = |code: u8, instruction| evm.instruction.insert_instruction(code, instruction, gas[code as usize]);
    put(opcode::JUMP, Instruction::new(|c| timed(c, control::jump)));
    put(opcode::JUMPI, Instruction::new(|c| timed(c, control::jumpi)));
    put(opcode::CALL, Instruction::new(|c| timed(c, contract::call::<{ opcode::CALL }, _, _>)));
    put(opcode::CALLCODE, Instruction::new(|c| timed(c, contract::call::<{ opcode::CALLCODE }, _, _>)));
    put(opcode::DELEGATECALL, Instruction::new(|c| timed(c, contract::call::<{ opcode::DELEGATECALL }, _, _>)));
    put(opcode::STATICCALL, Instruction::new(|c| timed(c, contract::call::<{ opcode::STATICCALL }, _, _>)));
}

type Context<'c, 'a> = InstructionContext<'c, BlockContext<'a>, EthInterpreter>;

#[inline(always)]
fn timed<'a>(
    context: Context<'_, 'a>,
    instruction: impl FnOnce(Context<'_, 'a>) -> InstructionExecResult,
) -> InstructionExecResult {
    let watch = &mut context.host.chain;
    watch.jumps = watch.jumps.wrapping_add(1);
    if watch.jumps.is_multiple_of(JUMPS_PER_LOOK) && watch.deadline.is_some_and(|d| d.passed()) {
        watch.expired = true;
        *context.host.error() = Err(ContextError::Custom("the deadline has passed".into()));
        return Err(InstructionResult::FatalExternalError);
    }
    instruction(context)
}
