//! consensus/bft

pub mod message;
pub mod record;

pub use message::{
    Message, MessageError, PreparedCertificate, PreparedClaim, Proposal, RoundChange, SignState, SignStateRequest,
    SignedMessage, SignedRoundChange, Vote,
};
pub use record::{Prepared, Record};
