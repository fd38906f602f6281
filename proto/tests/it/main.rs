//! The formats: golden vectors, round trips, limits, and the promise that no bit is free.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod bit_flips;
mod consensus;
mod development;
mod golden;
mod limits;
mod pow;
mod round_trip;
mod samples;
mod status;
