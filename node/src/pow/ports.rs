//! The engine's way to the world. Every call but the one that persists only starts work on another thread.

use std::sync::Arc;

use basalt_consensus::{Alarm, BuildRequest, Evidence, Input, InputOf, Target};
use basalt_pow::{Message, Pow, Record, SealedHeader};
use basalt_primitives::{B256, Bytes, CommitCertificate, Height, SealedBlock};
use basalt_proto::{Codec as _, pow::PowMessage};
use crossbeam_channel::Sender;

use super::{PowInput, peers::PeerNumbers, records::Records};
use crate::{
    chain::Chain,
    driver::{Choice, Fatal, Ports, executor::Job},
    miner::Miner,
    network::{ConsensusTarget, NetworkHandle},
    sync::Fetcher,
};

/// The engine's way to the world.
pub struct PowPorts {
    pub(super) chain: Chain,
    pub(super) records: Records,
    pub(super) network: NetworkHandle,
    pub(super) fetcher: Fetcher,
    pub(super) peers: PeerNumbers,
    pub(super) jobs: Sender<Job>,
    pub(super) done: Sender<Result<PowInput, Fatal>>,
    pub(super) miner: Arc<Miner>,
    pub(super) alarms: Arc<dyn Fn(&Alarm) + Send + Sync>,
}

impl Ports<Pow> for PowPorts {
    fn persist(&mut self, record: &Record) -> Result<(), Fatal> {
        self.records.append(record, self.chain.ledger.finalized().height())
    }

    fn send(&mut self, to: Target, message: Message) -> Option<InputOf<Pow>> {
        let message = match message {
            Message::Headers(headers) => {
                PowMessage::Headers(headers.into_iter().map(SealedHeader::into_header).collect())
            }
            Message::GetHeaders { locator } => PowMessage::GetHeaders(locator),
        };
        let to = match to {
            Target::All => ConsensusTarget::All,
            Target::One(number) => ConsensusTarget::Peer(self.peers.peer(number)?),
        };
        self.network.send_consensus(to, Bytes::from(message.encode()));
        None
    }

    fn fetch(&mut self, block: B256, height: Height, hint: u16) {
        let done = self.done.clone();
        self.fetcher.fetch_from(block, height, self.peers.peer(hint), move |found| {
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
        // Waits if the queue is full, which only means that execution has not kept up; one block is judged at a time.
        let _ = self.jobs.send(Job::Validate(block));
    }

    fn execute(&mut self, block: SealedBlock, _certificate: Arc<CommitCertificate>) {
        tracing::error!(height = %block.height(), "proof of work has no certificates: this is our bug, report it");
    }

    fn forkchoice(&mut self, choice: Choice) {
        if choice.branch.is_some() {
            // It looks for a block on what is not the head any more.
            self.miner.pause();
        }
        let _ = self.jobs.send(Job::Forkchoice(choice));
    }

    fn report(&mut self, evidence: Evidence<Message>) {
        tracing::error!(height = %evidence.height, "nobody signs under proof of work: this is our bug, report it");
    }

    fn seal(&mut self, block: SealedBlock) -> Result<(), Fatal> {
        self.miner.look_for(&block);
        Ok(())
    }

    fn alarm(&mut self, alarm: Alarm) -> Result<(), Fatal> {
        (self.alarms)(&alarm);
        Ok(())
    }
}
