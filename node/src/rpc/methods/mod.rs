//! The methods, by what they ask for. Each file adds its own to the registry.

mod admin;
mod block;
mod consensus;
mod debug;
mod dev;
mod fees;
mod filter;
mod miner;
mod monitor;
pub(super) mod net;
mod permission;
mod proof;
mod simulate;
mod state;
mod transaction;
mod txpool;
mod validators;

pub(super) use net::syncing;

use super::{
    RpcConfig, RpcError,
    registry::{Call, Registry},
};

/// All methods.
pub(super) fn registry(config: &RpcConfig, devnet: bool) -> Registry {
    let mut r = Registry::new(&config.namespaces);
    block::add(&mut r);
    state::add(&mut r);
    proof::add(&mut r);
    fees::add(&mut r);
    transaction::add(&mut r);
    filter::add(&mut r);
    net::add(&mut r);
    txpool::add(&mut r);
    consensus::add(&mut r);
    permission::add(&mut r);
    validators::add(&mut r);
    admin::add(&mut r);
    monitor::add(&mut r);
    debug::add(&mut r);
    simulate::add(&mut r);
    miner::add(&mut r);
    if devnet {
        dev::add(&mut r);
    } else {
        let mut elsewhere = Registry::default();
        dev::add(&mut elsewhere);
        r.name_elsewhere(&elsewhere);
    }
    r
}

/// Whether a value reads as parameters that only one method has.
pub(super) fn read_params(value: &serde_json::Value) -> bool {
    simulate::reads(value) | debug::reads(value)
}

/// Whether this caller may change what the node does. There is no authentication yet, so it is a setting of the port.
fn may_change(c: &Call) -> Result<(), RpcError> {
    if c.app.config.admin {
        return Ok(());
    }
    Err(RpcError::server(
        "this node takes no changes by RPC, because its RPC port may be reachable by strangers; set rpc.admin = true in its configuration, or let rpc.listen be a loopback address",
    ))
}
