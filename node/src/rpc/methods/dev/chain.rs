//! Making blocks and taking them back.

use alloy_primitives::B256;
use serde_json::{Value, json};

use super::{
    super::super::{
        RpcError,
        registry::{Call, Registry},
        types::{Hex64, Hex128},
    },
    devnet, head_ms, order, quantity,
};
use crate::dev::Order;

pub(super) fn add(r: &mut Registry) {
    r.waiting("evm_mine", &["options"], |c: Call, (options,): (Option<Value>,)| evm_mine(c, options));
    for name in ["hardhat_mine", "anvil_mine"] {
        r.waiting(
            name,
            &["blocks", "interval"],
            |c: Call, (blocks, interval): (Option<Value>, Option<Value>)| async move {
                let blocks = blocks.as_ref().map_or(Ok(1), quantity)?;
                let interval_s = interval.as_ref().map(quantity).transpose()?;
                order(c, Order::Mine { blocks, interval_s }).await?;
                Ok(true)
            },
        );
    }
    for name in ["evm_snapshot", "anvil_snapshot"] {
        r.waiting(name, &[], |c: Call, ()| async move { Ok(Hex64(order(c, Order::Snapshot).await?)) });
    }
    for name in ["evm_revert", "anvil_revert"] {
        r.waiting(name, &["id"], |c: Call, (id,): (Value,)| async move {
            Ok(order(c, Order::Revert(quantity(&id)?)).await? == 1)
        });
    }
    for name in ["hardhat_reset", "anvil_reset"] {
        r.waiting(name, &["options"], |c: Call, (options,): (Option<Value>,)| reset(c, options));
    }
    r.waiting("evm_setAutomine", &["enabled"], |c: Call, (on,): (bool,)| async move {
        order(c, Order::Mode { automine: Some(on), interval_ms: None }).await?;
        Ok(true)
    });
    for name in ["evm_setIntervalMining", "anvil_setIntervalMining"] {
        r.waiting(name, &["interval"], |c: Call, (interval,): (Value,)| async move {
            let interval_ms = Some(milliseconds(quantity(&interval)?)?);
            order(c, Order::Mode { automine: None, interval_ms }).await?;
            Ok(true)
        });
    }
    for name in ["hardhat_getAutomine", "anvil_getAutomine"] {
        r.quick(name, &[], |c: &Call, ()| Ok(devnet(c)?.automines()));
    }
    for name in ["hardhat_dropTransaction", "anvil_dropTransaction"] {
        r.quick(name, &["hash"], |c: &Call, (hash,): (B256,)| Ok(devnet(c)?.drop_transaction(&hash)));
    }
    r.quick("hardhat_metadata", &[], |c: &Call, ()| metadata(c));
    r.quick("anvil_metadata", &[], |c: &Call, ()| metadata(c));
    r.quick("anvil_nodeInfo", &[], |c: &Call, ()| node_info(c));
}

/// Nothing, a time, or anvil's `{ timestamp, blocks }`.
async fn evm_mine(c: Call, options: Option<Value>) -> Result<&'static str, RpcError> {
    let (blocks, timestamp) = match &options {
        Some(Value::Object(o)) => (o.get("blocks"), o.get("timestamp")),
        time => (None, time.as_ref()),
    };
    let blocks = blocks.filter(|v| !v.is_null()).map_or(Ok(1), quantity)?;
    if let Some(time) = timestamp.filter(|v| !v.is_null()) {
        devnet(&c)?.next.at(quantity(time)?, head_ms(&c)?)?;
    }
    order(c, Order::Mine { blocks, interval_s: None }).await?;
    Ok("0x0")
}

/// anvil takes seconds and Hardhat milliseconds under one name. Nobody wants blocks a quarter of an hour apart from anvil
/// or faster than a second from Hardhat, so the size tells.
fn milliseconds(interval: u64) -> Result<u64, RpcError> {
    let ms = if interval < 1000 { interval * 1000 } else { interval };
    if ms > 86_400_000 {
        return Err(RpcError::params("the interval is longer than a day"));
    }
    Ok(ms)
}

async fn reset(c: Call, options: Option<Value>) -> Result<bool, RpcError> {
    // viem sends `forking` with nothing in it.
    let url = options.as_ref().and_then(|o| o.get("forking")?.get("jsonRpcUrl"));
    if url.is_some_and(|url| !url.is_null()) {
        return Err(RpcError::params(
            "forking another chain is not supported; call without `forking` to go back to genesis",
        ));
    }
    devnet(&c)?.accounts.reset();
    order(c, Order::Reset).await?;
    Ok(true)
}

fn metadata(c: &Call) -> Result<Value, RpcError> {
    let head = c.app.chain.head_view()?;
    Ok(json!({
        "clientVersion": c.app.client_version,
        "chainId": c.app.spec.chain_id,
        "instanceId": devnet(c)?.instance,
        "latestBlockNumber": head.height(),
        "latestBlockHash": head.hash,
    }))
}

fn node_info(c: &Call) -> Result<Value, RpcError> {
    let head = c.app.chain.head_view()?;
    let fork = c.app.spec.fork_at(head.height().next());
    let base_fee = Hex128(super::super::fees::next_base_fee(&c.app)?);
    let gas_limit = devnet(c)?.next.wishes().gas_limit.unwrap_or(head.header.gas_limit);
    Ok(json!({
        "currentBlockNumber": Hex64(head.height().0),
        "currentBlockTimestamp": head.header.timestamp_s(),
        "currentBlockHash": head.hash,
        "hardFork": fork,
        "transactionOrder": "fees",
        "environment": {
            "baseFee": base_fee,
            "chainId": c.app.spec.chain_id,
            "gasLimit": Hex64(gas_limit),
            "gasPrice": base_fee,
        },
        "forkConfig": { "forkUrl": null, "forkBlockNumber": null, "forkRetryBackoff": null },
    }))
}
