//! Reads JSON as every kind of parameter there is: for the fuzzer, which has no chain to ask.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    bounds,
    config::RpcConfig,
    error::RpcError,
    logs::FilterArgs,
    methods,
    overrides::{BlockArgs, StateArgs},
    types::{AccessItem, AuthorizationItem, BlockId, CallArgs, Hex64, Hex128, Slot},
};

const CHAIN_ID: u64 = 31_337;

/// Checks and parses a text as the server does, then takes it, or each element if it is a list, for every kind of
/// parameter, with the checks that follow. Says whether any kind fits.
///
/// # Errors
/// When a value that was read is written as something that reads as another value.
pub fn read_all(text: &[u8]) -> Result<bool, String> {
    let limits = RpcConfig::default();
    if bounds::check(text, limits.max_json_depth, limits.max_json_values).is_err() {
        return Ok(false);
    }
    match serde_json::from_slice::<Value>(text) {
        Err(_) => Ok(false),
        Ok(Value::Array(values)) => values.iter().take(16).try_fold(false, |fits, value| Ok(read_one(value)? || fits)),
        Ok(value) => read_one(&value),
    }
}

fn read_one(value: &Value) -> Result<bool, String> {
    let mut fits = methods::read_params(value);
    fits |= reads::<CallArgs, _>(value, |a| a.into_request(CHAIN_ID));
    fits |= reads::<StateArgs, _>(value, StateArgs::into_overrides);
    fits |= reads::<BlockArgs, _>(value, BlockArgs::into_overrides);
    fits |= reads::<FilterArgs, _>(value, FilterArgs::split);
    fits |= reads::<BlockId, _>(value, Ok);
    fits |= reads::<Slot, _>(value, Ok);
    fits |= comes_back::<Hex64>(value)? | comes_back::<Hex128>(value)?;
    fits |= comes_back::<AccessItem>(value)? | comes_back::<AuthorizationItem>(value)?;
    Ok(fits)
}

/// Whether it reads as this kind and passes what is checked next.
pub(super) fn reads<T: DeserializeOwned, O>(value: &Value, next: impl FnOnce(T) -> Result<O, RpcError>) -> bool {
    T::deserialize(value).is_ok_and(|read| next(read).is_ok())
}

/// What is read and written again must read as the same.
fn comes_back<T: DeserializeOwned + Serialize>(value: &Value) -> Result<bool, String> {
    let Ok(read) = T::deserialize(value) else { return Ok(false) };
    let write = |value: &T| serde_json::to_value(value).map_err(|e| format!("cannot be written: {e}"));
    let written = write(&read)?;
    let again = T::deserialize(&written).map_err(|e| format!("{written} is not read again: {e}"))?;
    if write(&again)? == written { Ok(true) } else { Err(format!("{written} reads as another value")) }
}
