//! Accounts, and calls that change nothing.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, Bytes, U256};
use basalt_execution::{CallEnd, Deadline};
use serde::Serialize;

use super::super::{
    App, RpcError, error,
    overrides::{BlockArgs, StateArgs},
    ports::{CallLimits, Scene, StateAt},
    registry::{Call, Registry},
    types::{AccessItem, BlockId, CallArgs, Hex64, Slot},
};

pub(super) fn add(r: &mut Registry) {
    r.quick("eth_accounts", &[], |c: &Call, ()| {
        Ok(c.app.ports.dev.as_ref().map_or_else(Vec::new, |dev| dev.accounts.addresses().to_vec()))
    });
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
    r.blocking("eth_getStorageValues", &["requests", "block"], storage_values);
    r.blocking("eth_call", &["transaction", "block", "stateOverrides", "blockOverrides"], call);
    r.blocking("eth_estimateGas", &["transaction", "block", "stateOverrides", "blockOverrides"], estimate);
    r.blocking("eth_createAccessList", &["transaction", "block", "stateOverrides"], access_list);
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

/// Slots that one `eth_getStorageValues` may ask for, as go-ethereum has it.
const MAX_SLOTS: usize = 1_024;

/// Slots by account.
type Slots = BTreeMap<Address, Vec<Slot>>;

fn storage_values(c: &Call, (slots, id): (Slots, Option<BlockId>)) -> Result<BTreeMap<Address, Vec<B256>>, RpcError> {
    let count: usize = slots.values().map(Vec::len).sum();
    if count == 0 {
        return Err(RpcError::params("empty request: name at least one account with one slot"));
    }
    if count > MAX_SLOTS {
        return Err(RpcError::limit(format!("{count} slots asked for, the limit is {MAX_SLOTS}; ask in parts")));
    }
    // One block for all of them, also when the head moves on meanwhile.
    let at = match c.app.chain.state_at(id.unwrap_or_default())? {
        StateAt::Latest => StateAt::Height(c.app.chain.reader().head()),
        at => at,
    };
    let values = |(address, slots): (Address, Vec<Slot>)| {
        let read = |slot: Slot| Ok(B256::from(c.app.chain.reader().storage(at, &address, slot.0)?));
        Ok((address, slots.into_iter().map(read).collect::<Result<_, RpcError>>()?))
    };
    slots.into_iter().map(values).collect()
}

/// Where a call runs.
pub(super) fn scene(
    c: &Call,
    id: Option<BlockId>,
    accounts: Option<StateArgs>,
    block: Option<BlockArgs>,
) -> Result<Scene, RpcError> {
    let id = id.unwrap_or_default();
    Ok(Scene {
        at: c.app.chain.state_at(id)?,
        pending: id == BlockId::Pending,
        accounts: accounts.unwrap_or_default().into_overrides()?,
        block: block.unwrap_or_default().into_overrides()?,
        limits: call_limits(&c.app),
    })
}

/// What a call may take that begins now. It goes on when its caller has gone, so it must end by itself.
pub(super) fn call_limits(app: &App) -> CallLimits {
    let ms = app.config.call_timeout_ms.min(app.config.request_timeout_ms);
    CallLimits { deadline: Some(Deadline::after_ms(ms)), max_gas: Some(app.config.max_call_gas) }
}

/// A call, where it runs, and what is to be different there.
type CallParams = (CallArgs, Option<BlockId>, Option<StateArgs>, Option<BlockArgs>);

fn call(c: &Call, (args, id, accounts, block): CallParams) -> Result<Bytes, RpcError> {
    let scene = scene(c, id, accounts, block)?;
    Ok(c.app.ports.calls.call(&args.into_request(c.app.spec.chain_id)?, &scene)?)
}

/// A transaction that is to be sent runs in a block to come, so that is where it is estimated unless a block is named.
fn estimate(c: &Call, (args, id, accounts, block): CallParams) -> Result<Hex64, RpcError> {
    let scene = scene(c, Some(id.unwrap_or(BlockId::Pending)), accounts, block)?;
    Ok(Hex64(c.app.ports.calls.estimate_gas(&args.into_request(c.app.spec.chain_id)?, &scene)?))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AccessListJson {
    access_list: Vec<AccessItem>,
    gas_used: Hex64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

fn access_list(
    c: &Call,
    (args, id, accounts): (CallArgs, Option<BlockId>, Option<StateArgs>),
) -> Result<AccessListJson, RpcError> {
    let scene = scene(c, Some(id.unwrap_or(BlockId::Pending)), accounts, None)?;
    let found = c.app.ports.calls.access_list(&args.into_request(c.app.spec.chain_id)?, &scene)?;
    let error = match found.outcome.end {
        CallEnd::Success => None,
        CallEnd::Revert => Some(error::reverted(&found.outcome.output).message),
        CallEnd::Halt(reason) => Some(reason),
    };
    let access_list = found.list.iter().map(Into::into).collect();
    Ok(AccessListJson { access_list, gas_used: Hex64(found.outcome.gas_used), error })
}

/// The error where a block must be.
pub(super) fn no_block() -> RpcError {
    RpcError::server("block not found: this node has no such block")
}
