//! The driver's threads: one runs the engine, one executes, one validates, some verify messages. They talk over bounded
//! channels; the engine's thread never waits for execution or for the network.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use basalt_bft::{message::SignedMessage, record::Record};
use basalt_consensus::{BuildRequest, Evidence, Input, Target, Verdict};
use basalt_primitives::{B256, Bytes, CommitCertificate, Height, PublicKey, SealedBlock};
use basalt_storage::SignRecord;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, select_biased};

use super::{
    Driver, Fatal, Ports,
    executor::{Done, Job, Worker},
    rules::{self, BlockError, Sets},
    verify::{Checked, Incoming, Verifier},
};
use crate::{
    chain::Chain,
    clock,
    network::{ConsensusTarget, NetworkHandle},
    sync::Fetcher,
};

/// How long the engine's thread sleeps at most when nothing is due, so that it notices a stop.
const IDLE: Duration = Duration::from_millis(500);
/// Checked messages handled in a row before other inputs are looked at again.
const QUEUE: usize = 1024;
/// Jobs for execution: the engine asks for few at a time.
const JOBS: usize = 64;
/// The sign record is rewritten with what is still needed after this many bytes.
const REWRITE_RECORD_AT: usize = 64 * 1024 * 1024;

/// The ends of the driver's channels that the rest of the node holds.
#[derive(Clone)]
pub struct DriverHandle {
    incoming: Sender<Incoming>,
    inputs: Sender<Done>,
    work: Sender<()>,
    stop: Arc<AtomicBool>,
}

impl DriverHandle {
    /// Hands in a consensus message of a peer. False when the queue is full and it was dropped: it will be sent again.
    pub fn message(&self, sender: PublicKey, bytes: Bytes) -> bool {
        !matches!(self.incoming.try_send(Incoming { sender, bytes }), Err(TrySendError::Full(_)))
    }

    /// Hands in a block whose certificate was verified; waits while the driver is busy.
    pub fn synced(&self, block: SealedBlock, certificate: Arc<CommitCertificate>) {
        let _ = self.inputs.send(Input::Synced { block, certificate });
    }

    /// Says that the mempool has something to propose.
    pub fn work(&self) {
        let _ = self.work.try_send(());
    }

    /// Asks the driver to stop after the step it is in.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.work();
    }
}

/// The receiving ends, made before the threads so that others can hold the handle first.
pub struct Mailbox {
    incoming: Receiver<Incoming>,
    inputs: Receiver<Done>,
    work: Receiver<()>,
    stop: Arc<AtomicBool>,
}

/// Makes the handle and the mailbox behind it.
#[must_use]
pub fn mailbox() -> (DriverHandle, Mailbox) {
    let (incoming_tx, incoming) = bounded(QUEUE);
    let (inputs_tx, inputs) = bounded(JOBS);
    let (work_tx, work) = bounded(1);
    let stop = Arc::new(AtomicBool::new(false));
    let handle = DriverHandle { incoming: incoming_tx, inputs: inputs_tx, work: work_tx, stop: Arc::clone(&stop) };
    (handle, Mailbox { incoming, inputs, work, stop })
}

/// The sign record on disk; `None` on a node that does not vote, or whose disk was lost until it has recovered.
pub struct RecordFile {
    /// Where it is or will be.
    pub dir: std::path::PathBuf,
    /// The open file.
    pub file: Option<SignRecord>,
    /// What is in it and still needed, oldest first, so that it can be rewritten.
    pub entries: Vec<Record>,
    /// Bytes appended since it was last rewritten.
    pub appended: usize,
}

impl RecordFile {
    fn append(&mut self, record: &Record, executed: Height) -> Result<(), Fatal> {
        let fatal = |e: basalt_storage::StorageError| Fatal(format!("cannot write the sign record: {e}"));
        let bytes = basalt_proto::consensus::encode_record(record);
        // What speaks of executed heights is history; the newest entry stays whatever it speaks of.
        self.entries.retain(|r| r.height() > executed);
        self.entries.push(record.clone());
        let Some(file) = &mut self.file else {
            // Only a recovered key begins a record here; everyone else's was made by `network create`.
            self.file = Some(SignRecord::create(&self.dir, &bytes).map_err(fatal)?);
            return Ok(());
        };
        file.append(&bytes).map_err(fatal)?;
        self.appended += bytes.len();
        if self.appended >= REWRITE_RECORD_AT {
            let keep: Vec<Bytes> =
                self.entries.iter().map(|r| Bytes::from(basalt_proto::consensus::encode_record(r))).collect();
            file.rewrite(&keep).map_err(fatal)?;
            self.appended = 0;
        }
        Ok(())
    }
}

/// The driver's way to the world.
pub struct RealPorts {
    chain: Chain,
    own: Option<PublicKey>,
    record: RecordFile,
    network: NetworkHandle,
    fetcher: Fetcher,
    jobs: Sender<Job>,
    validate: Sender<SealedBlock>,
    done: Sender<Result<Done, Fatal>>,
    events: Arc<dyn Events>,
}

/// What the driver tells the rest of the node.
pub trait Events: Send + Sync {
    /// A new fork choice.
    fn forkchoice(&self, head: B256, finalized: B256);
    /// Evidence against a validator.
    fn evidence(&self, evidence: &Evidence<SignedMessage>);
    /// A peer's message that broke the rules.
    fn bad_message(&self, sender: &PublicKey, reason: &str);
    /// The engine has taken a step.
    fn stepped(&self, status: basalt_bft::Status);
}

impl Ports for RealPorts {
    fn persist(&mut self, record: &Record) -> Result<(), Fatal> {
        self.record.append(record, self.chain.ledger.head().height())
    }

    fn send(&mut self, to: Target, message: &SignedMessage) {
        let bytes = Bytes::from(basalt_proto::consensus::encode_message(message));
        let set = self.chain.sets.at(message.message.height());
        let receivers = set.as_slice().iter().enumerate().filter(|(i, v)| match to {
            Target::All => Some(v.public_key) != self.own,
            Target::One(index) => *i == usize::from(index),
        });
        for (_, validator) in receivers {
            self.network.send_consensus(ConsensusTarget::One(validator.public_key), bytes.clone());
        }
    }

    fn fetch(&mut self, block: B256, height: Height, hint: u16) {
        let key = self.chain.sets.at(height).get(hint).map(|v| v.public_key);
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

    fn forkchoice(&mut self, head: B256, finalized: B256) {
        self.events.forkchoice(head, finalized);
    }

    fn report(&mut self, evidence: Evidence<SignedMessage>) {
        self.events.evidence(&evidence);
    }
}

/// Everything the driver's threads are made of.
pub struct Parts {
    /// The chain.
    pub chain: Chain,
    /// The engine, with no input yet.
    pub engine: basalt_bft::Bft,
    /// The validator key; `None` follows.
    pub key: Option<basalt_primitives::SecretKey>,
    /// The sign record.
    pub record: RecordFile,
    /// The network.
    pub network: NetworkHandle,
    /// Gets single blocks from peers.
    pub fetcher: Fetcher,
    /// The execution thread's belongings.
    pub worker: Worker,
    /// Checks messages.
    pub verifier: Verifier,
    /// Threads that check messages.
    pub verify_threads: usize,
    /// The rest of the node.
    pub events: Arc<dyn Events>,
}

/// Starts all threads. The returned handle ends with the engine's thread: `Ok` after a stop, else what was fatal.
pub fn start(
    parts: Parts,
    mailbox: Mailbox,
    restored: basalt_consensus::Restored<Record>,
) -> std::io::Result<thread::JoinHandle<Result<(), Fatal>>> {
    let (jobs_tx, jobs) = bounded(JOBS);
    let (ahead_tx, ahead) = bounded(4);
    let (validate_tx, validate) = bounded(JOBS);
    let (done_tx, done) = bounded(QUEUE);
    let (checked_tx, checked) = bounded(QUEUE);
    let ledger = Arc::clone(&parts.chain.ledger);
    parts.verifier.start(parts.verify_threads, &mailbox.incoming, &checked_tx, move || ledger.head().height())?;
    let worker = parts.worker;
    let worker_done = done_tx.clone();
    let executor = spawn_vital("execute", &done_tx, move || worker.run(&jobs, &ahead, &worker_done))?;
    let (chain, verifier, validate_done) = (parts.chain.clone(), parts.verifier.clone(), done_tx.clone());
    spawn_vital("validate", &done_tx, move || {
        validate_blocks(&chain, &verifier, &validate, &ahead_tx, &validate_done);
    })?;
    let ports = RealPorts {
        own: parts.key.as_ref().map(basalt_primitives::SecretKey::public_key),
        chain: parts.chain.clone(),
        record: parts.record,
        network: parts.network,
        fetcher: parts.fetcher,
        jobs: jobs_tx,
        validate: validate_tx,
        done: done_tx,
        events: Arc::clone(&parts.events),
    };
    let driver = Driver::new(parts.engine, parts.key, parts.chain.genesis, parts.chain.sets, ports);
    let events = parts.events;
    thread::Builder::new().name("engine".into()).spawn(move || {
        let result = run(driver, &mailbox, restored, &done, &checked, &*events);
        // The ports are gone with the driver, so execution ends after the job it is in: nothing is half stored.
        let _ = executor.join();
        result
    })
}

/// Starts a thread without which the node must not go on: if it panics, the engine's thread hears of it and stops.
fn spawn_vital(
    name: &'static str,
    done: &Sender<Result<Done, Fatal>>,
    work: impl FnOnce() + Send + 'static,
) -> std::io::Result<thread::JoinHandle<()>> {
    let done = done.clone();
    thread::Builder::new().name(name.into()).spawn(move || {
        if catch_unwind(AssertUnwindSafe(work)).is_err() {
            let text = format!("the {name} thread panicked; the log has the message. Restart the node, and report it");
            // If nobody listens any more, the node is stopping already.
            let _ = done.send(Err(Fatal(text)));
        }
    })
}

fn run(
    mut driver: Driver<basalt_bft::Bft, RealPorts>,
    mailbox: &Mailbox,
    restored: basalt_consensus::Restored<Record>,
    done: &Receiver<Result<Done, Fatal>>,
    checked: &Receiver<Checked>,
    events: &dyn Events,
) -> Result<(), Fatal> {
    driver.handle(clock::mono_ms(), clock::wall_ms(), Input::Restored(restored))?;
    while !mailbox.stop.load(Ordering::Relaxed) {
        events.stepped(driver.engine().status());
        let now = clock::mono_ms();
        let wait = driver.deadline().map_or(IDLE, |d| Duration::from_millis(d.saturating_sub(now)).min(IDLE));
        let input = select_biased! {
            recv(done) -> d => match d {
                Ok(d) => Some(d?),
                Err(_) => return Err(Fatal("the execution thread is gone".into())),
            },
            recv(checked) -> c => match c {
                Ok(Checked::Good { from, message }) => Some(Input::Message { from, message: *message }),
                Ok(Checked::Bad { sender, reason }) => {
                    events.bad_message(&sender, &reason);
                    None
                }
                Err(_) => return Err(Fatal("the verification threads are gone".into())),
            },
            recv(mailbox.work) -> _ => Some(Input::Work { pending: true }),
            recv(mailbox.inputs) -> i => i.ok(),
            default(wait) => None,
        };
        let (mono, wall) = (clock::mono_ms(), clock::wall_ms());
        if let Some(input) = input {
            driver.handle(mono, wall, input)?;
        }
        if driver.deadline().is_some_and(|d| d <= mono) {
            driver.handle(mono, wall, Input::Tick)?;
        }
    }
    Ok(())
}

/// The validation thread: judges proposals and hands good ones on to be executed ahead of their finality.
fn validate_blocks(
    chain: &Chain,
    verifier: &Verifier,
    blocks: &Receiver<SealedBlock>,
    ahead: &Sender<SealedBlock>,
    done: &Sender<Result<Done, Fatal>>,
) {
    for block in blocks {
        let verdict = match judge(chain, verifier, &block) {
            Ok(()) => Verdict::Valid,
            Err(e @ BlockError::Early { .. }) => {
                tracing::warn!(height = %block.height(), "proposal not voted for yet: {e}");
                Verdict::NotYet
            }
            Err(e) => {
                tracing::warn!(height = %block.height(), hash = %block.hash(), "invalid proposal: {e}");
                Verdict::Invalid
            }
        };
        let hash = block.hash();
        if verdict == Verdict::Valid {
            // Full: it is executed when it is final.
            let _ = ahead.try_send(block);
        }
        if done.send(Ok(Input::Validated { block: hash, verdict })).is_err() {
            return;
        }
    }
}

fn judge(chain: &Chain, verifier: &Verifier, block: &SealedBlock) -> Result<(), BlockError> {
    let head = chain.ledger.head();
    let height = block.height();
    let (parent, this, next) = (chain.sets.at(head.height()), chain.sets.at(height), chain.sets.at(height.next()));
    let sets = Sets { parent: &parent, this: &this, next: &next };
    rules::check_block(&chain.spec, chain.genesis, &head, sets, block, Some(clock::wall_ms()))?;
    verifier.check_body(block)?;
    match verifier.bodies.get(&block.hash()) {
        Some(Err(reason)) => Err(BlockError::InvalidBody(reason)),
        _ => Ok(()),
    }
}
