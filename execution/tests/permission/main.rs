//! The permission contract and what it permits, through the executor.
#![allow(clippy::unwrap_used, reason = "tests")]

mod accounts;
mod chain;
#[path = "../common/mod.rs"]
mod common;
mod layout;
mod votes;
