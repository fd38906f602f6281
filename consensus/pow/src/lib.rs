//! The proof-of-work engine.
pub mod asert;
mod bodies;
mod choice;
mod engine;
pub mod message;
mod miner;
pub mod mutation;
mod rules;
mod seal;
pub mod sim;
mod status;
mod sync;
pub mod theory;
mod tree;
pub mod work;

pub use engine::{Config, Pow};
pub use message::{Message, Record, Root};
pub use rules::Refusal;
pub use seal::{SealError, SealedHeader, Sealing};
pub use status::Status;
pub use work::Work;
