//! Accounts, and calls that change nothing.

use alloy_primitives::{Address, B256, Bytes, U256};
use serde_json::Value;

use super::super::{
    RpcError,
    registry::{Call, Registry},
    types::{BlockId, CallArgs, Hex64, Slot},
};

pub(super) fn add(r: &mut Registry) {
    r.quick("eth_accounts", &[], |_: &Call, ()| Ok([(); 0]));
    r.quick("eth_getBalance", &["address", "block"], |c: &Call, (a, id): (Address, Option<BlockId>)| {
        balance(c, &a, id)
    });
    r.quick("eth_getTransactionCount", &["address", "block"], |c: &Call, (a, id): (Address, Option<BlockId>)| {
        nonce(c, &a, id)
    });
    r.quick("eth_getCode", &["address", "block"], |c: &Call, (a, id): (Address, Option<BlockId>)| code(c, &a, id));
    r.quick(
        "eth_getStorageAt",
        &["address", "slot", "block"],
        |c: &Call, (a, slot, id): (Address, Slot, Option<BlockId>)| storage(c, &a, slot, id),
    );
    r.blocking("eth_call", &["transaction", "block", "stateOverrides"], |c: &Call, (args, id, overrides)| {
        no_overrides(overrides)?;
        call(c, args, id)
    });
    r.blocking("eth_estimateGas", &["transaction", "block", "stateOverrides"], |c: &Call, (args, id, overrides)| {
        no_overrides(overrides)?;
        estimate(c, args, id)
    });
}

fn balance(c: &Call, address: &Address, id: Option<BlockId>) -> Result<U256, RpcError> {
    let at = c.app.chain.state_at(id.unwrap_or_default())?;
    Ok(c.app.chain.reader().account(at, address)?.unwrap_or_default().balance)
}

fn nonce(c: &Call, address: &Address, id: Option<BlockId>) -> Result<Hex64, RpcError> {
    let id = id.unwrap_or_default();
    let at = c.app.chain.state_at(id)?;
    let nonce = c.app.chain.reader().account(at, address)?.unwrap_or_default().nonce;
    let waiting = if id == BlockId::Pending { c.app.ports.pool.next_nonce(address) } else { None };
    Ok(Hex64(nonce.max(waiting.unwrap_or(0))))
}

fn code(c: &Call, address: &Address, id: Option<BlockId>) -> Result<Bytes, RpcError> {
    let at = c.app.chain.state_at(id.unwrap_or_default())?;
    Ok(c.app.chain.reader().code(at, address)?)
}

fn storage(c: &Call, address: &Address, slot: Slot, id: Option<BlockId>) -> Result<B256, RpcError> {
    let at = c.app.chain.state_at(id.unwrap_or_default())?;
    Ok(c.app.chain.reader().storage(at, address, slot.0)?.into())
}

fn no_overrides(overrides: Option<Value>) -> Result<(), RpcError> {
    match overrides {
        Some(Value::Object(o)) if o.is_empty() => Ok(()),
        None => Ok(()),
        Some(_) => Err(RpcError::params("state overrides are not supported; call without the third argument")),
    }
}

fn call(c: &Call, args: CallArgs, id: Option<BlockId>) -> Result<Bytes, RpcError> {
    let at = c.app.chain.state_at(id.unwrap_or_default())?;
    Ok(c.app.ports.calls.call(&args.into_request(c.app.spec.chain_id)?, at)?)
}

fn estimate(c: &Call, args: CallArgs, id: Option<BlockId>) -> Result<Hex64, RpcError> {
    let at = c.app.chain.state_at(id.unwrap_or_default())?;
    Ok(Hex64(c.app.ports.calls.estimate_gas(&args.into_request(c.app.spec.chain_id)?, at)?))
}
