//! The level-1 simulator of the proof-of-work engine: real engines, real seals, everything around them from one seed.
//!
//! A [`World`] runs nodes with simulated drivers: a disk with a ledger of final blocks and records of those above, states beside each
//! other by block, a mempool, a miner whose finds are drawn from an exponential distribution (mean: the target's work by the node's
//! hash rate; the nonce is then really searched, at difficulties of some dozens of hashes). Between them lies a network that loses,
//! duplicates, delays and partitions; nodes crash and come back; wall clocks are off and jump. Some miners do not keep to the
//! protocol ([`Role`]). The oracles of [`oracle`] look at every fork choice and every announcement; they compute everything anew,
//! from the headers alone.
//!
//! "Finality never conflicts" is statistical here: it is asserted of every node by itself (never taken back without the operator's
//! word), and between nodes where the plan leaves no attacker enough work. `tests/theory.rs` compares frequencies with the theory.
//!
//! Rooms: `plan` says what goes wrong, `scenario` names plans, `world` is the event loop, `driver` carries out effects, `wire` the
//! network, `faults` crashes and restarts, `roles` the miners that cheat, `store` what a node keeps.

mod driver;
mod faults;
pub mod oracle;
mod plan;
mod roles;
pub mod scenario;
mod store;
mod wire;
mod world;

pub use plan::{Crash, Cut, Op, Plan, Role, test_params};
pub use world::{Failure, Summary, World};
