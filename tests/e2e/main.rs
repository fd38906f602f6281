//! End to end: real processes, started by the command line from nothing, with real keys, disks and sockets.

mod bad_input;
mod bench;
mod net;
mod survival;
mod transactions;
mod wallet;
