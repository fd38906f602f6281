//! consensus/bft

pub mod election;
mod engine;
mod guard;
mod inbox;
pub mod message;
pub mod mutation;
pub mod record;
mod recovery;
mod rules;
pub mod sim;
mod status;
mod timers;
mod votes;

pub use engine::{Bft, Config};
pub use message::{
    Message, MessageError, PreparedCertificate, PreparedClaim, Proposal, RoundChange, SignState, SignStateRequest,
    SignedMessage, SignedRoundChange, Vote,
};
pub use record::{Prepared, Record};
pub use status::{Status, Step};
