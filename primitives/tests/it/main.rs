//! What the domain types promise, seen from outside.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod binding;
mod body;
mod chainspec;
mod merkle;
mod pow;
mod quorum;
mod samples;
mod set_override;
mod signatures;
mod verify_all;
mod zip215;
