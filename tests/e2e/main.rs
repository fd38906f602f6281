//! End to end: real processes, started by the command line from nothing, with real keys, disks and sockets.

mod alerts;
mod audit;
mod auth;
mod authority;
mod bad_input;
mod bench;
mod dev;
mod explain;
mod hosts;
mod mempool;
mod monitor;
mod net;
mod parallel;
mod partition;
mod permission;
mod pow;
mod process;
mod recovery;
mod release;
#[path = "override.rs"]
mod set_override;
mod survival;
mod tls;
mod top;
mod traces;
mod transactions;
mod validators;
mod wallet;
