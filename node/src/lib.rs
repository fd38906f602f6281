//! The Basalt node as a library: what the `basalt` binary is made of.

pub mod mempool;
pub mod monitor;
pub mod rpc;
