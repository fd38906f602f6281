//! The Basalt node: network, mempool, driver, RPC, command line.

pub mod network;
