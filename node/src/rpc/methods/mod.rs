//! The methods, by what they ask for. Each file adds its own to the registry.

mod admin;
mod block;
mod consensus;
mod debug;
mod fees;
mod filter;
mod net;
mod simulate;
mod state;
mod transaction;
mod txpool;

use super::{RpcConfig, registry::Registry};

/// All methods.
pub(super) fn registry(config: &RpcConfig) -> Registry {
    let mut r = Registry::new(&config.namespaces);
    block::add(&mut r);
    state::add(&mut r);
    fees::add(&mut r);
    transaction::add(&mut r);
    filter::add(&mut r);
    net::add(&mut r);
    txpool::add(&mut r);
    consensus::add(&mut r);
    admin::add(&mut r);
    debug::add(&mut r);
    simulate::add(&mut r);
    r
}
