//! End to end: real processes, started by the command line from nothing, with real keys, disks and sockets.

mod bad_input;
mod explain;
mod monitor;
mod net;
mod process;
mod survival;
mod transactions;
mod validators;
mod wallet;
