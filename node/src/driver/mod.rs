//! The driver: runs an engine on the real world.
//!
//! In: verified messages, finished work, ticks. Out: what the engine's effects ask for, first in, first out, across steps.
//! A message is signed and sent only after every record before it is synced, because [`Ports::persist`] returns only
//! then. [`Driver`] itself has no thread, clock or I/O: [`runtime`] gives it all three, a simulator can give it others.

pub mod bodies;
pub mod branches;
pub mod executor;
pub mod judge;
pub mod ports;
pub mod record;
pub mod rules;
pub mod runtime;
pub mod sign;
pub mod verify;

use std::{collections::VecDeque, sync::Arc};

use basalt_consensus::{Alarm, Branch, BuildRequest, Effect, EffectOf, Engine, Evidence, InputOf, Target};
use basalt_primitives::{B256, CommitCertificate, Height, Millis, SealedBlock};

pub use sign::Signer;

/// A failure after which the node must stop, because going on could break a promise to its peers.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Fatal(pub String);

/// A new fork choice: see [`Effect::Forkchoice`].
#[derive(Clone, Debug)]
pub struct Choice {
    /// Newest block of the chain.
    pub head: B256,
    /// Newest block that is safe.
    pub safe: B256,
    /// Newest final block.
    pub finalized: B256,
    /// What has changed since the last one.
    pub branch: Option<Arc<Branch>>,
}

/// What the driver of an engine needs of the world. Each call but [`Ports::persist`] only starts work; its result comes back
/// as an input.
pub trait Ports<E: Engine> {
    /// Appends a record to what survives a crash, and syncs it.
    fn persist(&mut self, record: &E::Record) -> Result<(), Fatal>;
    /// Signs a message where the family does, and sends it. Gives back what the engine is to hear of its own words.
    fn send(&mut self, to: Target, message: E::Message) -> Option<InputOf<E>>;
    /// Looks for a block among the peers.
    fn fetch(&mut self, block: B256, height: Height, hint: u16);
    /// Builds a block.
    fn build(&mut self, request: BuildRequest);
    /// Judges a block against its parent.
    fn validate(&mut self, block: SealedBlock);
    /// Executes a finalized block and stores it.
    fn execute(&mut self, block: SealedBlock, certificate: Arc<CommitCertificate>);
    /// Carries a new fork choice out, and announces it.
    fn forkchoice(&mut self, choice: Choice);
    /// Keeps evidence of misbehaviour.
    fn report(&mut self, evidence: Evidence<E::Signed>);
    /// Looks for a seal. Only proof of work asks for it.
    fn seal(&mut self, block: SealedBlock) -> Result<(), Fatal> {
        Err(Fatal(format!("an engine whose blocks have no seal asks for that of block {}", block.height())))
    }
    /// Tells the operator. Only proof of work asks for it.
    fn alarm(&mut self, alarm: Alarm) -> Result<(), Fatal> {
        Err(Fatal(format!("an engine that raises no alarm has raised one: {alarm:?}")))
    }
}

/// An engine with its ports.
pub struct Driver<E: Engine, P> {
    engine: E,
    ports: P,
    effects: VecDeque<EffectOf<E>>,
}

impl<E: Engine, P: Ports<E>> Driver<E, P> {
    /// A driver for an engine that has had no input yet.
    pub const fn new(engine: E, ports: P) -> Self {
        Self { engine, ports, effects: VecDeque::new() }
    }

    /// The engine, to look at.
    pub const fn engine(&self) -> &E {
        &self.engine
    }

    /// The engine, to ask it for what it keeps for its driver.
    pub const fn engine_mut(&mut self) -> &mut E {
        &mut self.engine
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
            Effect::Send { to, message } => return Ok(self.ports.send(to, message)),
            Effect::Fetch { block, height, hint } => self.ports.fetch(block, height, hint),
            Effect::Build(request) => self.ports.build(request),
            Effect::Validate { block } => self.ports.validate(block),
            Effect::Execute { block, certificate } => self.ports.execute(block, certificate),
            Effect::Forkchoice { head, safe, finalized, branch, .. } => {
                self.ports.forkchoice(Choice { head, safe, finalized, branch });
            }
            Effect::Report(evidence) => self.ports.report(evidence),
            Effect::Seal { block } => self.ports.seal(block)?,
            Effect::Alarm(alarm) => self.ports.alarm(alarm)?,
        }
        Ok(None)
    }
}
