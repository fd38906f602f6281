//! The driver: runs an engine on the real world.
//!
//! In: verified messages, finished work, ticks. Out: what the engine's effects ask for, first in, first out, across steps.
//! The signature of a message is made only after every record before it is synced, because [`Ports::persist`] returns only
//! then. [`Driver`] itself has no thread, clock or I/O: [`runtime`] gives it all three, a simulator can give it others.

pub mod bodies;
pub mod executor;
pub mod judge;
pub mod ports;
pub mod record;
pub mod rules;
pub mod runtime;
pub mod verify;

use std::{collections::VecDeque, sync::Arc};

use basalt_bft::message::{Message, SignedMessage};
use basalt_bft::record::Record;
use basalt_consensus::{BuildRequest, Effect, EffectOf, Engine, Evidence, Input, InputOf, Target, Verified};
use basalt_primitives::{B256, CommitCertificate, Height, Millis, SealedBlock, SecretKey};

use crate::validators::ValidatorSets;

/// A failure after which the node must stop, because going on could break a promise to its peers.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Fatal(pub String);

/// What the driver needs of the world. Each call but [`Ports::persist`] only starts work; its result comes back as an input.
pub trait Ports {
    /// Appends to the sign record and syncs it.
    fn persist(&mut self, record: &Record) -> Result<(), Fatal>;
    /// Sends a signed message to validators of its height.
    fn send(&mut self, to: Target, message: &SignedMessage);
    /// Looks for a block among the peers.
    fn fetch(&mut self, block: B256, height: Height, hint: u16);
    /// Builds a block.
    fn build(&mut self, request: BuildRequest);
    /// Judges a block against its parent.
    fn validate(&mut self, block: SealedBlock);
    /// Executes a finalized block and stores it.
    fn execute(&mut self, block: SealedBlock, certificate: Arc<CommitCertificate>);
    /// Announces a new fork choice.
    fn forkchoice(&mut self, head: B256, finalized: B256);
    /// Keeps evidence of misbehaviour.
    fn report(&mut self, evidence: Evidence<SignedMessage>);
}

/// An engine with its key and its ports.
pub struct Driver<E: Engine, P> {
    engine: E,
    key: Option<SecretKey>,
    genesis: B256,
    sets: ValidatorSets,
    ports: P,
    effects: VecDeque<EffectOf<E>>,
}

impl<E, P> Driver<E, P>
where
    E: Engine<Message = Message, Signed = SignedMessage, Record = Record>,
    P: Ports,
{
    /// A driver for an engine that has had no input yet. Without a key it follows and never speaks.
    pub const fn new(engine: E, key: Option<SecretKey>, genesis: B256, sets: ValidatorSets, ports: P) -> Self {
        Self { engine, key, genesis, sets, ports, effects: VecDeque::new() }
    }

    /// The engine, to look at.
    pub const fn engine(&self) -> &E {
        &self.engine
    }

    /// When the engine wants a tick.
    pub fn deadline(&self) -> Option<Millis> {
        self.engine.deadline()
    }

    /// Feeds one input and carries out everything it leads to, the engine's own messages included.
    pub fn handle(&mut self, mono: Millis, wall: Millis, input: InputOf<E>) -> Result<(), Fatal> {
        self.effects.extend(self.engine.step(mono, wall, input));
        while let Some(effect) = self.effects.pop_front() {
            if let Some(own) = self.carry_out(effect)? {
                self.effects.extend(self.engine.step(mono, wall, own));
            }
        }
        Ok(())
    }

    fn carry_out(&mut self, effect: EffectOf<E>) -> Result<Option<InputOf<E>>, Fatal> {
        match effect {
            Effect::Persist(record) => self.ports.persist(&record)?,
            Effect::Send { to, message } => return Ok(self.sign_and_send(to, message)),
            Effect::Fetch { block, height, hint } => self.ports.fetch(block, height, hint),
            Effect::Build(request) => self.ports.build(request),
            Effect::Validate { block } => self.ports.validate(block),
            Effect::Execute { block, certificate } => self.ports.execute(block, certificate),
            Effect::Forkchoice { head, finalized, .. } => self.ports.forkchoice(head, finalized),
            Effect::Report(evidence) => self.ports.report(evidence),
            Effect::Seal { .. } | Effect::Alarm(_) => {
                return Err(Fatal("a BFT engine asked for what belongs to proof of work".into()));
            }
        }
        Ok(None)
    }

    /// Signs, sends, and hands back what went to all, as the contract of [`Effect::Send`] says.
    fn sign_and_send(&mut self, to: Target, message: Message) -> Option<InputOf<E>> {
        let key = self.key.as_ref()?;
        let from = self.sets.at(message.height())?.index_of(&key.public_key())?;
        let signature = key.sign(message.signing_layout(self.genesis).as_slice());
        let signed = SignedMessage { from, message, signature };
        self.ports.send(to, &signed);
        (to == Target::All).then(|| Input::Message { from, message: Verified::assume(signed) })
    }
}
