//! The level-1 simulator: real engines, everything around them simulated from one seed.
//!
//! A [`World`] runs nodes, each an engine with a simulated driver: a disk with a ledger and a sign record, an effect queue
//! in which nothing passes an unsynced record, a mempool, an executor whose state names the validators of the height after
//! the next, block sync. Between them lies a network that loses, duplicates, reorders, delays and partitions; nodes crash
//! between any two effects and in the middle of any write, and come back with or without their disk; wall clocks skew and
//! jump. A [`Plan`] says what goes wrong and when; it is drawn from the seed or written by hand. After every effect the oracles
//! of [`oracle`] look at what was said, decided and certified; after the world has healed, the liveness oracle gives it a bounded
//! time to commit everything that was submitted.
//!
//! What belongs to one engine family (keys, signatures, adversaries) comes in through [`Lab`]. Equal seeds give equal runs,
//! so a failing run is simply run again with its log switched on.
//!
//! Rooms: `world` is the event loop and the judgement at the end, `driver` carries out effects, `wire` the network, `faults`
//! crashes and restarts, `sync` block sync and fetching.

mod driver;
mod faults;
mod mempool;
mod node;
pub mod oracle;
mod plan;
mod sync;
mod wire;
mod world;

use std::sync::Arc;

use basalt_primitives::{
    B256, CommitCertificate, Height, Millis, PublicKey, Round, SealedBlock, ValidatorSet, chainspec::BftParams,
};
use rand_chacha::ChaCha8Rng;

pub use oracle::Violation;
pub use plan::{Crash, Cut, Lag, Plan, SetChange, SyncCrash};
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

/// A block with the certificate that is said to finalize it.
pub type Certified = (SealedBlock, Arc<CommitCertificate>);

/// What the simulator must know about an engine family.
pub trait Lab {
    /// The engine under test.
    type Engine: Engine<Message: Clone, Signed: Clone, Record: Clone>;
    /// What a Byzantine validator does with what its honest engine says.
    type Adversary;

    /// The keys of all nodes there ever are; a *validator* below is a number in this list.
    fn keys(&self) -> &[PublicKey];
    /// The validators of the first two heights.
    fn set(&self) -> &Arc<ValidatorSet>;
    /// Consensus parameters.
    fn params(&self) -> &BftParams;
    /// The genesis block.
    fn genesis(&self) -> &SealedBlock;
    /// An engine for a validator, waiting for its first input.
    fn engine(&self, validator: u16) -> Self::Engine;
    /// The sign record a new validator is given.
    fn first_records(&self) -> Vec<<Self::Engine as Engine>::Record>;
    /// The height a message is about.
    fn height(&self, message: &<Self::Engine as Engine>::Message) -> Height;
    /// What was signed.
    fn message<'a>(&self, signed: &'a <Self::Engine as Engine>::Signed) -> &'a <Self::Engine as Engine>::Message;
    /// Signs, as the driver does; `index` is the signer's place in the set of the message's height.
    fn sign(
        &self,
        validator: u16,
        index: u16,
        message: <Self::Engine as Engine>::Message,
    ) -> <Self::Engine as Engine>::Signed;
    /// Verifies against the set of the message's height, as the driver does before the engine sees anything.
    fn verify(&self, set: &ValidatorSet, signed: &<Self::Engine as Engine>::Signed) -> bool;
    /// Verifies the signatures of a commit certificate, as the driver does: deliberate bugs get in here.
    fn verify_certificate(&self, set: &ValidatorSet, certificate: &CommitCertificate) -> bool;
    /// Whether a certificate holds: for the oracles, without deliberate bugs.
    fn certificate_holds(&self, set: &ValidatorSet, certificate: &CommitCertificate) -> bool;
    /// Whether the sync side checks that a certificate is for this height and block, as it must.
    fn checks_certified_height(&self) -> bool {
        true
    }
    /// Whether the sync side believes a height that a peer merely claims, as it must not.
    fn believes_claims(&self) -> bool {
        false
    }
    /// One line for the log.
    fn describe(&self, message: &<Self::Engine as Engine>::Message) -> String;
    /// The block in a message, whose body the driver checks against its header.
    fn block_in<'a>(&self, message: &'a <Self::Engine as Engine>::Message) -> Option<&'a SealedBlock>;
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
    /// Whether an engine has all it needs to vote, or is none that should.
    fn ready(&self, engine: &Self::Engine) -> bool;
    /// What an engine says about itself, for the log.
    fn explain(&self, engine: &Self::Engine) -> String;
    /// The longest an engine may wait for anything by a timer of its own.
    fn longest_timer(&self) -> Millis;

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
    /// What the adversary says to one validator of its own accord, having heard a message of a height with this set.
    fn provoke(
        &self,
        adversary: &mut Self::Adversary,
        rng: &mut ChaCha8Rng,
        set: &ValidatorSet,
        to: u16,
        heard: &<Self::Engine as Engine>::Signed,
    ) -> Vec<<Self::Engine as Engine>::Message>;
    /// What the adversary gives to one that asks it for these blocks, and the height it claims to have.
    fn serve(
        &self,
        adversary: &mut Self::Adversary,
        rng: &mut ChaCha8Rng,
        blocks: Vec<Certified>,
        height: Height,
    ) -> (Vec<Certified>, Height);
}
