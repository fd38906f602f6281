//! The methods of test nodes, as Hardhat and anvil have them. Only development networks serve them (ADR-0022); elsewhere the
//! table knows their names, so that the error can say where they exist.

mod chain;
mod next;
mod send;
mod sign;
mod state;

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::super::{
    RpcError,
    registry::{Call, Registry},
    types::Hex64,
};
use crate::dev::{DevError, Devnet, Order};

/// Adds all of them.
pub(super) fn add(r: &mut Registry) {
    chain::add(r);
    next::add(r);
    state::add(r);
    send::add(r);
    sign::add(r);
}

impl From<DevError> for RpcError {
    fn from(e: DevError) -> Self {
        Self::server(e.0)
    }
}

/// The development network; the methods exist on no other.
fn devnet(c: &Call) -> Result<Arc<Devnet>, RpcError> {
    c.app.ports.dev.clone().ok_or_else(|| RpcError::internal("a development method without a development network"))
}

/// Has an order carried out.
async fn order(c: Call, order: Order) -> Result<u64, RpcError> {
    Ok(devnet(&c)?.order(order).await?)
}

/// Time of the newest block, in milliseconds.
fn head_ms(c: &Call) -> Result<u64, RpcError> {
    Ok(c.app.chain.head_view()?.header.timestamp_ms)
}

/// A quantity as hex, as a JSON number or as a string of decimal digits: callers of these methods send all three.
fn quantity(value: &Value) -> Result<u64, RpcError> {
    if let Some(n) = value.as_str().and_then(|s| s.parse().ok()) {
        return Ok(n);
    }
    Ok(Hex64::deserialize(value).map_err(|e| RpcError::params(format!("invalid argument: {e}")))?.0)
}
