//! The network on loopback: real sockets, ports chosen by the system, every wait bounded.

mod finding;
mod harness;
mod hostile;
mod peering;
mod permissioned;
mod traffic;
