//! The driver's way to the world: what an engine's effects become in a running node. Every call but the one that persists
//! only starts work on another thread.

use std::sync::Arc;

use basalt_bft::{
    Bft,
    message::{Message, SignedMessage},
    record::Record,
};
use basalt_consensus::{BuildRequest, Evidence, Input, InputOf, Target, Verdict};
use basalt_primitives::{B256, Bytes, CommitCertificate, Height, PublicKey, SealedBlock};
use crossbeam_channel::Sender;

use super::{
    Choice, Fatal, Ports, Signer,
    executor::{Done, Job},
    record::RecordFile,
    rules::BlockError,
    sign::handed_back,
};
use crate::{
    chain::Chain,
    network::{ConsensusTarget, NetworkHandle},
    sync::Fetcher,
};

/// The driver's way to the world.
pub struct RealPorts {
    pub(super) chain: Chain,
    pub(super) own: Option<PublicKey>,
    pub(super) signer: Signer,
    pub(super) record: RecordFile,
    pub(super) network: NetworkHandle,
    pub(super) fetcher: Fetcher,
    pub(super) jobs: Sender<Job>,
    pub(super) validate: Sender<SealedBlock>,
    pub(super) done: Sender<Result<Done, Fatal>>,
    pub(super) events: Arc<dyn Events>,
}

/// What the driver tells the rest of the node.
pub trait Events: Send + Sync {
    /// A new fork choice.
    fn forkchoice(&self, head: B256, finalized: B256);
    /// Evidence against a validator.
    fn evidence(&self, evidence: &Evidence<SignedMessage>);
    /// A peer's message that broke the rules.
    fn bad_message(&self, sender: &PublicKey, reason: &str);
    /// A proposed block was judged.
    fn judged(&self, block: &SealedBlock, judged: &Result<(), BlockError>);
    /// A validator's message has been verified.
    fn heard(&self, sender: &PublicKey);
    /// The engine has taken a step.
    fn stepped(&self, status: basalt_bft::Status);
}

impl Ports<Bft> for RealPorts {
    fn persist(&mut self, record: &Record) -> Result<(), Fatal> {
        self.record.append(record, self.chain.ledger.head().height())
    }

    fn send(&mut self, to: Target, message: Message) -> Option<InputOf<Bft>> {
        let signed = self.signer.sign(message)?;
        let bytes = Bytes::from(basalt_proto::consensus::encode_message(&signed));
        // The engine speaks of heights whose sets it was given.
        let set = self.chain.sets.at(signed.message.height())?;
        let receivers = set.as_slice().iter().enumerate().filter(|(i, v)| match to {
            Target::All => Some(v.public_key) != self.own,
            Target::One(index) => *i == usize::from(index),
        });
        for (_, validator) in receivers {
            self.network.send_consensus(ConsensusTarget::One(validator.public_key), bytes.clone());
        }
        handed_back(to, signed)
    }

    fn fetch(&mut self, block: B256, height: Height, hint: u16) {
        let key = self.chain.sets.at(height).and_then(|set| Some(set.get(hint)?.public_key));
        let done = self.done.clone();
        self.fetcher.fetch(block, height, key, move |found| {
            let input = found.map_or(Input::FetchFailed { block }, |block| Input::Fetched { block });
            let _ = done.send(Ok(input));
        });
    }

    fn build(&mut self, request: BuildRequest) {
        let (height, round) = (request.height, request.round);
        if self.jobs.try_send(Job::Build(request)).is_err() {
            let _ = self.done.try_send(Ok(Input::BuildFailed { height, round }));
        }
    }

    fn validate(&mut self, block: SealedBlock) {
        let hash = block.hash();
        if self.validate.try_send(block).is_err() {
            let _ = self.done.try_send(Ok(Input::Validated { block: hash, verdict: Verdict::NotYet }));
        }
    }

    fn execute(&mut self, block: SealedBlock, certificate: Arc<CommitCertificate>) {
        // Waits if the queue is full, which only means that execution has not kept up with sync.
        let _ = self.jobs.send(Job::Execute { block, certificate });
    }

    fn forkchoice(&mut self, choice: Choice) {
        self.events.forkchoice(choice.head, choice.finalized);
    }

    fn report(&mut self, evidence: Evidence<SignedMessage>) {
        self.events.evidence(&evidence);
    }
}
