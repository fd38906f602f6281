//! Errors of the JSON-RPC, with the codes that Ethereum clients expect (EIP-1474, and 3 for a revert as geth has it).

use alloy_primitives::Bytes;
use serde::Serialize;
use serde_json::Value;

use super::ports::{CallError, ReadError, SubmitError};
use crate::auth::Denied;

/// Not JSON.
pub const PARSE: i64 = -32700;
/// JSON, but not a request.
pub const INVALID_REQUEST: i64 = -32600;
/// No such method.
pub const METHOD_NOT_FOUND: i64 = -32601;
/// Wrong parameters.
pub const INVALID_PARAMS: i64 = -32602;
/// Our fault.
pub const INTERNAL: i64 = -32603;
/// The request was understood and refused.
pub const SERVER: i64 = -32000;
/// What was asked for is not (or no longer) here.
pub const RESOURCE_NOT_FOUND: i64 = -32001;
/// It took too long.
pub const TIMEOUT: i64 = -32002;
/// The answer would be too large.
pub const RESPONSE_TOO_LARGE: i64 = -32003;
/// A limit of this node.
pub const LIMIT: i64 = -32005;
/// The caller is not known, or may not call this; the code is Besu's.
pub const UNAUTHORIZED: i64 = -40100;
/// The contract reverted; the data are what it returned.
pub const REVERTED: i64 = 3;

/// The error of one request.
#[derive(Clone, Debug, PartialEq, Serialize, thiserror::Error)]
#[error("{message} (code {code})")]
pub struct RpcError {
    /// See the constants of this module.
    pub code: i64,
    /// One sentence, with a mend.
    pub message: String,
    /// More, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

impl RpcError {
    /// An error without data.
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    /// [`INVALID_PARAMS`].
    pub fn params(message: impl Into<String>) -> Self {
        Self::new(INVALID_PARAMS, message)
    }

    /// [`SERVER`].
    pub fn server(message: impl Into<String>) -> Self {
        Self::new(SERVER, message)
    }

    /// [`LIMIT`].
    pub fn limit(message: impl Into<String>) -> Self {
        Self::new(LIMIT, message)
    }

    /// [`INTERNAL`]; the cause goes to the log and not to the caller.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "a request failed inside the node");
        Self::new(INTERNAL, "internal error; see the node's log")
    }
}

impl From<Denied> for RpcError {
    fn from(denied: Denied) -> Self {
        let code = if denied.retry_ms().is_some() { LIMIT } else { UNAUTHORIZED };
        let data = denied.retry_ms().map(|ms| serde_json::json!({ "retryAfterMs": ms }));
        Self { code, message: denied.to_string(), data }
    }
}

impl From<ReadError> for RpcError {
    fn from(e: ReadError) -> Self {
        match e {
            ReadError::StateNotKept { .. } | ReadError::ProofTooOld { .. } => {
                Self::new(RESOURCE_NOT_FOUND, e.to_string())
            }
            ReadError::Storage(cause) => {
                tracing::error!(%cause, "the ledger could not be read");
                Self::new(INTERNAL, "the ledger could not be read; see the node's log")
            }
        }
    }
}

impl From<SubmitError> for RpcError {
    fn from(e: SubmitError) -> Self {
        let code = match &e {
            SubmitError::Tx(_) | SubmitError::Unavailable(_) => SERVER,
            SubmitError::Pool(p) => p.code(),
        };
        Self::new(code, e.to_string())
    }
}

impl From<CallError> for RpcError {
    fn from(e: CallError) -> Self {
        match e {
            CallError::Reverted { output } => reverted(&output),
            CallError::Timeout(_) => Self::new(TIMEOUT, e.to_string()),
            CallError::Failed(text) => Self::server(text),
            CallError::Read(e) => e.into(),
        }
    }
}

/// The error of a revert, with its reason in words and its data.
#[must_use]
pub fn reverted(output: &Bytes) -> RpcError {
    let message = match revert_reason(output) {
        Some(reason) => format!("execution reverted: {reason}"),
        None => "execution reverted".to_owned(),
    };
    RpcError { code: REVERTED, message, data: Some(Value::String(output.to_string())) }
}

/// The text of Solidity's `Error(string)`, or what its `Panic(uint256)` means.
#[must_use]
pub fn revert_reason(output: &[u8]) -> Option<String> {
    const ERROR: [u8; 4] = [0x08, 0xc3, 0x79, 0xa0];
    const PANIC: [u8; 4] = [0x4e, 0x48, 0x7b, 0x71];
    let (selector, data) = output.split_first_chunk::<4>()?;
    match *selector {
        ERROR => {
            let offset = word(data, 0)?;
            let length = word(data, offset)?;
            let text = data.get(offset + 32..(offset + 32).checked_add(length)?)?;
            Some(String::from_utf8_lossy(text).chars().take(1024).collect())
        }
        PANIC => Some(panic_reason(word(data, 0)?)),
        _ => None,
    }
}

/// A 32-byte word that fits 32 bits, as a number.
fn word(data: &[u8], offset: usize) -> Option<usize> {
    let word = data.get(offset..offset.checked_add(32)?)?;
    let (high, low) = word.split_at(28);
    high.iter().all(|b| *b == 0).then(|| u32::from_be_bytes([low[0], low[1], low[2], low[3]]) as usize)
}

fn panic_reason(code: usize) -> String {
    match code {
        0x01 => "assert(false)".into(),
        0x11 => "arithmetic underflow or overflow".into(),
        0x12 => "division or modulo by zero".into(),
        0x21 => "enum overflow".into(),
        0x22 => "invalid encoded storage byte array accessed".into(),
        0x31 => "out-of-bounds array access; popping on an empty array".into(),
        0x32 => "out-of-bounds access of an array or bytesN".into(),
        0x41 => "out of memory".into(),
        0x51 => "uninitialized function".into(),
        other => format!("unknown panic code: {other:#x}"),
    }
}
