//! Proof of work in the node: what runs `basalt_pow::Pow` (ADR-0026, ADR-0027).
//!
//! In: consensus frames of peers, blocks the miner found, an operator's word, work done by the execution thread. Out: headers
//! and questions to peers, blocks to fetch, jobs for execution and for the miner, records on disk.
//!
//! - [`runtime`] gives the engine its threads; [`ports`] is its way to the world.
//! - [`check`] decodes frames, checks seals, answers questions for headers.
//! - [`peers`] numbers peers for the engine; [`records`] keeps what must survive a crash.

pub mod check;
pub mod peers;
pub mod ports;
pub mod records;
pub mod runtime;

use basalt_consensus::Input;
use basalt_pow::{Message, Record, Sealing};
use basalt_primitives::ChainSpec;

/// What comes into the engine.
pub type PowInput = Input<Message, Record>;

/// What sealing a header of this chain takes; `None` where blocks have no seal.
#[must_use]
pub fn sealing(spec: &ChainSpec) -> Option<Sealing> {
    spec.pow().map(|p| Sealing { hash_fn: spec.hash_fn, work_hash: p.work_hash })
}
