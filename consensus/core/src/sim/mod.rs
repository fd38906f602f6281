//! The level-1 simulator: real engines, everything around them simulated from one seed.
//!
//! A [`World`] runs nodes, each an engine with a simulated driver: a disk with a ledger and a sign record, an effect queue
//! in which nothing passes an unsynced record, a mempool, an executor, block sync. Between them lies a network that loses,
//! duplicates, reorders, delays and partitions; nodes crash between any two effects and come back with or without their
//! disk; wall clocks skew and jump. A [`Plan`] says what goes wrong and when; it is drawn from the seed or written by hand.
//! After every effect the oracles of [`oracle`] look at what was said, decided and certified; after the world has healed,
//! the liveness oracle gives it a bounded time to commit everything that was submitted.
//!
//! What belongs to one engine family (keys, signatures, adversaries) comes in through [`Lab`]. Equal seeds give equal runs,
//! so a failing run is simply run again with its log switched on.

mod driver;
mod mempool;
mod node;
pub mod oracle;
mod plan;
mod world;

use std::sync::Arc;

use basalt_primitives::{B256, CommitCertificate, Height, Round, SealedBlock, ValidatorSet, chainspec::BftParams};
use rand_chacha::ChaCha8Rng;

pub use oracle::Violation;
pub use plan::{Crash, Cut, Plan};
pub use world::{Failure, Summary, World};

use crate::Engine;

/// A vote-like statement, as the equivocation oracle sees it: of one kind, a validator says one thing per round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Name of the kind.
    pub kind: &'static str,
    /// Height.
    pub height: Height,
    /// Round.
    pub round: Round,
    /// What it is for.
    pub block: B256,
}

/// What the simulator must know about an engine family.
pub trait Lab {
    /// The engine under test.
    type Engine: Engine<Message: Clone, Signed: Clone, Record: Clone>;
    /// What a Byzantine validator does with what its honest engine says.
    type Adversary;

    /// The validators.
    fn set(&self) -> &Arc<ValidatorSet>;
    /// Consensus parameters.
    fn params(&self) -> &BftParams;
    /// The genesis block.
    fn genesis(&self) -> &SealedBlock;
    /// An engine for a validator, waiting for its first input.
    fn engine(&self, validator: u16) -> Self::Engine;
    /// The sign record a new validator is given.
    fn first_records(&self) -> Vec<<Self::Engine as Engine>::Record>;
    /// Signs, as the driver does.
    fn sign(&self, validator: u16, message: <Self::Engine as Engine>::Message) -> <Self::Engine as Engine>::Signed;
    /// Verifies, as the driver does before the engine sees anything.
    fn verify(&self, signed: &<Self::Engine as Engine>::Signed) -> bool;
    /// Verifies a commit certificate.
    fn verify_certificate(&self, certificate: &CommitCertificate) -> bool;
    /// One line for the log.
    fn describe(&self, message: &<Self::Engine as Engine>::Message) -> String;
    /// The statement in a message that binds its signer, if there is one.
    fn statement(&self, message: &<Self::Engine as Engine>::Message) -> Option<Statement>;
    /// The promise in a record never to vote below a round of a height.
    fn promise(&self, record: &<Self::Engine as Engine>::Record) -> Option<(Height, Round)>;
    /// Whether what must be on disk before this message leaves is in the record.
    fn recorded(
        &self,
        records: &[<Self::Engine as Engine>::Record],
        message: &<Self::Engine as Engine>::Message,
    ) -> bool;
    /// Whether an engine has all it needs to vote.
    fn ready(&self, engine: &Self::Engine) -> bool;
    /// What an engine says about itself, for the log.
    fn explain(&self, engine: &Self::Engine) -> String;

    /// An adversary of one of a few kinds, by number.
    fn adversary(&self, validator: u16, kind: u8) -> Self::Adversary;
    /// What the adversary sends to one validator when its engine says `message` to it.
    fn corrupt(
        &self,
        adversary: &mut Self::Adversary,
        rng: &mut ChaCha8Rng,
        to: u16,
        message: &<Self::Engine as Engine>::Message,
    ) -> Vec<<Self::Engine as Engine>::Message>;
    /// What the adversary says to one validator of its own accord, having heard a message.
    fn provoke(
        &self,
        adversary: &mut Self::Adversary,
        rng: &mut ChaCha8Rng,
        to: u16,
        heard: &<Self::Engine as Engine>::Signed,
    ) -> Vec<<Self::Engine as Engine>::Message>;
}
