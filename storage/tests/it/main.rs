//! The ledger against real directories: what is committed comes back, and nothing else is ever taken for it.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod chain;
mod committing;
mod crash;
mod damage;
mod history;
mod layers;
mod logs;
mod opening;
