//! The Basalt node: everything around the engines, the executor and the ledger that makes them a running process.

pub mod audit;
pub mod auth;
pub mod bench;
pub mod chain;
mod client;
pub mod clock;
pub mod cmd;
pub mod config;
pub mod dev;
pub mod driver;
pub mod evidence;
pub mod explain;
pub mod ingress;
mod ip;
pub mod keys;
pub mod mempool;
pub mod monitor;
pub mod network;
pub mod permission;
pub mod proposer;
pub mod rpc;
pub mod service;
pub mod sync;
pub mod tls;
pub mod validators;
