//! The Engine contract: consensus as a pure state machine.
//!
//! Everything an engine knows comes in through [`Engine::step`]; everything it wants goes out as [`Effect`]s, carried out
//! by the driver first in, first out, across steps. An engine has no clock, no randomness, no I/O and no hash-ordered
//! iteration (`consensus/clippy.toml` forbids them), so a run is a function of its inputs and the simulator can replay it.
//!
//! Two clocks come in: `mono` drives timeouts and never jumps; `wall` is only ever used for block time, so a clock that is
//! set cannot fire a timer.
//!
//! An engine holds no keys. It says *what* to sign ([`Engine::Message`], in [`Effect::Send`]); the driver signs it, hands the
//! signed form ([`Engine::Signed`]) back to the engine as [`Input::Message`] and sends it to the peers. So an engine's own
//! vote travels the same path as everybody's and counts only once it is signed, which is after every record before it is
//! synced; and certificates are assembled from signatures the engine has seen (ADR-0002).

pub mod sim;

use std::sync::Arc;

use basalt_primitives::{B256, CommitCertificate, Height, Millis, Round, SealedBlock, ValidatorSet};

/// A message whose signature the driver has checked. Only the driver makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<M>(M);

impl<M> Verified<M> {
    /// Wraps a message after its signatures were verified; the caller vouches for it.
    pub const fn assume(message: M) -> Self {
        Self(message)
    }

    /// The message.
    pub const fn get(&self) -> &M {
        &self.0
    }

    /// The message, by value.
    pub fn into_inner(self) -> M {
        self.0
    }
}

/// The driver's judgement of a proposed block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// May be voted for.
    Valid,
    /// Breaks a rule whatever the clock says: evidence against its proposer.
    Invalid,
    /// Not now: its timestamp is ahead of this clock. The engine may ask again later.
    NotYet,
}

/// What the engine asks to be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildRequest {
    /// Height of the block.
    pub height: Height,
    /// Round it is proposed in.
    pub round: Round,
    /// Hash of the parent.
    pub parent: B256,
    /// Certificate of the parent, for the body; `None` at height 1.
    pub last_certificate: Option<CommitCertificate>,
    /// The timestamp must be at least this (parent's + interval); the driver takes the wall clock when it is later.
    pub min_timestamp_ms: Millis,
}

/// What comes into an engine.
#[derive(Clone, Debug)]
pub enum Input<S, R> {
    /// The first input, once: what the disk holds.
    Restored(Restored<R>),
    /// `mono` has reached the deadline.
    Tick,
    /// A verified message of a validator: a peer's, or the engine's own, handed back once signed (see [`Effect::Send`]).
    /// Verified means: every signature in it, inner ones too, and every block body in it against the block's header.
    Message {
        /// Index of the signer in the set of the message's height. Proof of work, where nobody signs: the driver's number of the
        /// peer.
        from: u16,
        /// The message.
        message: Verified<S>,
    },
    /// Whether transactions wait in the mempool that a block could take.
    Work {
        /// True when there are any.
        pending: bool,
    },
    /// The block asked for by [`Effect::Build`].
    Built {
        /// Height and round asked for.
        height: Height,
        /// Round asked for.
        round: Round,
        /// The block.
        block: SealedBlock,
    },
    /// It could not be built.
    BuildFailed {
        /// Height asked for.
        height: Height,
        /// Round asked for.
        round: Round,
    },
    /// The judgement asked for by [`Effect::Validate`].
    Validated {
        /// Hash of the block.
        block: B256,
        /// The judgement.
        verdict: Verdict,
    },
    /// A finalized block has been executed and is durable with its state: after a crash, [`Restored`] holds it or a later
    /// one. The engine's restart rule rests on this.
    Executed {
        /// Height of the block.
        height: Height,
        /// Its hash.
        block: B256,
        /// Whether it carried transactions, so that a further block must certify its results.
        had_transactions: bool,
        /// Its timestamp.
        timestamp_ms: Millis,
    },
    /// Proof of work: the miner found a seal.
    Sealed {
        /// The sealed block.
        block: SealedBlock,
    },
    /// The sync side has fetched a block whose certificate it has verified against the validator set, and whose body it has
    /// checked against the header (two blocks with equal hashes may differ in their bodies: equality of hashes is no check).
    Synced {
        /// The block.
        block: SealedBlock,
        /// Its certificate.
        certificate: Arc<CommitCertificate>,
    },
    /// A block asked for by [`Effect::Fetch`] has arrived (hash checked, and body against header).
    Fetched {
        /// The block.
        block: SealedBlock,
    },
    /// Nobody could give it.
    FetchFailed {
        /// Hash of the block.
        block: B256,
    },
    /// The validator set of a height, from the state after height − 2 (hash carried by the header before it). The driver
    /// hands in the set of height h + 2 before it reports h as executed.
    ValidatorSet {
        /// The height.
        height: Height,
        /// The set.
        set: Arc<ValidatorSet>,
    },
    /// Proof of work: whether this node looks for blocks.
    Mine {
        /// True to begin, false to stop.
        on: bool,
    },
    /// Proof of work: the operator's word that this block is on the right chain. The last word counts.
    Checkpoint {
        /// Its height.
        height: Height,
        /// Its hash.
        block: B256,
    },
}

/// What a decided height says about who proposes above it.
#[derive(Clone, Debug)]
pub struct Past {
    /// The height.
    pub height: Height,
    /// Round of its block's first proposal, from the header.
    pub first_round: Round,
    /// The validators that decided it.
    pub set: Arc<ValidatorSet>,
}

/// What the disk held at start.
#[derive(Clone, Debug)]
pub struct Restored<R> {
    /// The newest finalized and executed block.
    pub head: SealedBlock,
    /// Its certificate; `None` for the genesis block.
    pub certificate: Option<Arc<CommitCertificate>>,
    /// Whether the head carried transactions whose results are not yet certified by a later block.
    pub had_transactions: bool,
    /// Validator sets of the next height and of the one after, as far as known.
    pub sets: Vec<(Height, Arc<ValidatorSet>)>,
    /// Decided heights in order up to the head, as far back as the engine family asks for; nothing at genesis.
    pub past: Vec<Past>,
    /// The sign record, oldest first. `None`: this key has no record on this disk (wiped, or new to it), so the engine must
    /// not vote until it has learnt what it may have signed.
    pub records: Option<Vec<R>>,
    /// A fresh random number: makes the answers to this start's questions to peers unlike those to any other start's.
    pub nonce: u64,
}

/// Who a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// All other validators of the height. Proof of work: all peers.
    All,
    /// One of them, by index in the set of the message's height. Proof of work: the driver's number of a peer.
    One(u16),
}

/// What a new fork choice changes: blocks are taken back down to the ancestor, and others put on it. The transactions of the
/// abandoned that are not among the adopted wait again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    /// Newest block that the old chain and the new one have in common.
    pub ancestor: B256,
    /// Blocks of the old chain above it, newest first: the order in which they are undone.
    pub abandoned: Vec<B256>,
    /// Blocks of the new chain above it, oldest first: the order in which they are done.
    pub adopted: Vec<B256>,
}

/// Something that goes on only with an operator's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// Proof of work: a branch has more work than the chain of this node, but leaves it below the finality depth. It is refused
    /// until a checkpoint says that it is right.
    DeepBranch {
        /// Its newest block.
        tip: B256,
        /// Height of that.
        height: Height,
        /// Newest block it has in common with this node's chain.
        ancestor: B256,
        /// Height of that.
        ancestor_height: Height,
    },
}

/// What an engine wants done. The driver carries effects out in order, across steps; nothing after a [`Effect::Persist`]
/// leaves before that record is synced to disk.
#[derive(Clone, Debug)]
pub enum Effect<M, S, R> {
    /// Append to the sign record and sync.
    Persist(R),
    /// Sign, and send. With [`Target::All`] the driver also hands the signed message back as [`Input::Message`] with `from`
    /// the own index (a lone validator hears nobody else); with [`Target::One`] it does not. Where nobody signs (proof of work),
    /// nothing is handed back.
    Send {
        /// Receivers.
        to: Target,
        /// Unsigned content; the driver signs it with the validator key.
        message: M,
    },
    /// Get this block from any peer.
    Fetch {
        /// Its hash.
        block: B256,
        /// Its height.
        height: Height,
        /// A validator likely to have it.
        hint: u16,
    },
    /// Build a block; answered by Built or BuildFailed.
    Build(BuildRequest),
    /// Judge a block against its parent; answered by Validated. The parent is executed. Proof of work: execute it too, in a state
    /// beside that of other branches, and keep that until the block is final or given up.
    Validate {
        /// The block.
        block: SealedBlock,
    },
    /// Execute a finalized block and store it in one atomic batch; answered by Executed.
    Execute {
        /// The block.
        block: SealedBlock,
        /// The certificate that finalizes it.
        certificate: Arc<CommitCertificate>,
    },
    /// Proof of work: look for a seal.
    Seal {
        /// The block to seal.
        block: SealedBlock,
    },
    /// A new fork choice. BFT moves head and finalized together with a certificate as proof; proof of work moves the head
    /// often, and with it what is safe and final, some depths below.
    Forkchoice {
        /// Newest block of the canonical chain.
        head: B256,
        /// Newest block that will not be reverted unless assumptions break.
        safe: B256,
        /// Newest final block.
        finalized: B256,
        /// Proof of finality.
        proof: Option<Arc<CommitCertificate>>,
        /// What has changed since the last one; `None` where the head has not, where every head is final, and at the first after a
        /// start.
        branch: Option<Arc<Branch>>,
    },
    /// Provable misbehaviour of a validator.
    Report(Evidence<S>),
    /// The operator must know, and may have to decide.
    Alarm(Alarm),
}

/// Two signed messages that no honest validator signs both.
#[derive(Clone, Debug)]
pub struct Evidence<S> {
    /// The validator.
    pub validator: u16,
    /// Height of the offence.
    pub height: Height,
    /// Round of the offence.
    pub round: Round,
    /// The messages.
    pub first: S,
    /// The contradicting one.
    pub second: S,
}

/// What comes into an engine `E`.
pub type InputOf<E> = Input<<E as Engine>::Signed, <E as Engine>::Record>;

/// What an engine `E` wants done.
pub type EffectOf<E> = Effect<<E as Engine>::Message, <E as Engine>::Signed, <E as Engine>::Record>;

/// A consensus engine.
pub trait Engine {
    /// What a validator says, unsigned: what goes out.
    type Message;
    /// A message with its signer and signature: what comes in.
    type Signed;
    /// What must survive a crash.
    type Record;

    /// Takes one input and says what it leads to.
    fn step(&mut self, mono: Millis, wall: Millis, input: InputOf<Self>) -> Vec<EffectOf<Self>>;

    /// The next moment (mono) at which the engine wants a Tick. There is nothing to cancel: ask again after each step.
    fn deadline(&self) -> Option<Millis>;

    /// A block the engine holds that need not be in the store yet (proposed or prepared), so that the driver can serve it
    /// to peers that ask for it with [`Effect::Fetch`].
    fn block(&self, hash: &B256) -> Option<SealedBlock>;
}
