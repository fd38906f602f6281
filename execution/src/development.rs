//! Edits of the state, which only blocks of development networks carry (ADR-0022).

use alloy_primitives::KECCAK256_EMPTY;
use alloy_rpc_types_trace::geth::{CallFrame, DefaultFrame, GethDebugBuiltInTracerType as BuiltIn};
use basalt_primitives::tx::{StateEdit, development::Change};

use crate::{
    StateError,
    block_state::BlockState,
    trace::{Trace, TraceOptions, TracerType},
};

/// Makes the account what the edit says. An account left without nonce, balance and code ceases to exist (EIP-161).
pub(crate) fn apply(edit: &StateEdit, state: &mut BlockState<'_>) -> Result<(), StateError> {
    let address = edit.address();
    let mut account = state.account(address)?.unwrap_or_default();
    match edit.change() {
        Change::Balance(wei) => account.balance = *wei,
        Change::Nonce(nonce) => account.nonce = *nonce,
        Change::Code(code) => account.code_hash = state.put_code(code.clone()),
        // Only a contract has storage: an account that is none yet begins as one does, with nonce 1 (EIP-161, EIP-7610).
        Change::Slot(..) if account.code_hash == KECCAK256_EMPTY && account.nonce == 0 => account.nonce = 1,
        Change::Slot(..) => {}
    }
    state.put(address, account)?;
    if let Change::Slot(slot, value) = edit.change() {
        state.put_slot(address, *slot, *value)?;
    }
    Ok(())
}

/// What a tracer says of an edit: that it happened. No code ran.
pub(crate) fn trace(edit: &StateEdit, options: &TraceOptions) -> Trace {
    match &options.tracer {
        Some(TracerType::BuiltInTracer(BuiltIn::CallTracer)) => Trace::CallTracer(CallFrame {
            to: Some(edit.address()),
            input: edit.bytes().clone(),
            typ: "EDIT".to_owned(),
            ..CallFrame::default()
        }),
        _ => Trace::Default(DefaultFrame::default()),
    }
}
