//! The engine's threads: one runs it, one executes, one looks at frames; the miner has its own. They talk over bounded channels.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use basalt_consensus::{Alarm, Input, Restored};
use basalt_pow::{Pow, Record, Refusal, Status};
use basalt_primitives::{B256, Bytes, Height, Millis, SealedBlock};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, select_biased};
use libp2p::PeerId;

use super::{
    PowInput,
    check::{Checker, Frame},
    peers::PeerNumbers,
    ports::PowPorts,
    records::Records,
};
use crate::{
    chain::Chain,
    clock::{Clock, SharedClock},
    driver::{
        Driver, Fatal,
        executor::{Job, Worker},
        runtime::{Mailbox, spawn_vital},
    },
    mempool::SharedPool,
    miner::{Miner, Mines},
    network::{NetworkHandle, Offence},
    sync::Fetcher,
};

/// How long the engine's thread sleeps at most, so that it notices a stop.
const IDLE: Duration = Duration::from_millis(500);
/// Frames and inputs that wait.
const QUEUE: usize = 1_024;
/// Jobs that wait for execution: the engine judges one block at a time.
const JOBS: usize = 64;
/// A picture of the engine is left for those who ask at most so often, but when the head moves.
const PICTURE_MS: Millis = 250;

/// The ends of the channels that the rest of the node holds.
#[derive(Clone)]
pub struct PowHandle {
    frames: Sender<Frame>,
    inputs: Sender<PowInput>,
}

impl PowHandle {
    /// Hands in a frame of a peer. False when the queue is full and it was dropped: heads are announced again.
    #[must_use]
    pub fn frame(&self, peer: PeerId, bytes: Bytes) -> bool {
        !matches!(self.frames.try_send(Frame { peer, bytes }), Err(TrySendError::Full(_)))
    }

    /// The operator's word on which chain is right. False when too much waits.
    #[must_use]
    pub fn checkpoint(&self, height: Height, block: B256) -> bool {
        self.inputs.try_send(Input::Checkpoint { height, block }).is_ok()
    }
}

impl Mines for PowHandle {
    fn found(&self, block: SealedBlock) {
        // Waits for the engine: a block that was found is worth it.
        let _ = self.inputs.send(Input::Sealed { block });
    }

    fn wanted(&self, on: bool) {
        let _ = self.inputs.send(Input::Mine { on });
    }
}

/// The receiving ends.
pub struct PowMailbox {
    frames: Receiver<Frame>,
    inputs: Receiver<PowInput>,
}

/// Makes the handle and the mailbox behind it.
#[must_use]
pub fn mailbox() -> (PowHandle, PowMailbox) {
    let (frames_tx, frames) = bounded(QUEUE);
    let (inputs_tx, inputs) = bounded(QUEUE);
    (PowHandle { frames: frames_tx, inputs: inputs_tx }, PowMailbox { frames, inputs })
}

/// The engine as it stood a moment ago.
#[derive(Clone, Debug)]
pub struct Picture {
    /// In fields.
    pub status: Status,
    /// In sentences, the most important first.
    pub words: Vec<String>,
}

/// Hears of the engine, on its thread: be brief.
pub trait Watches: Send + Sync {
    /// A new picture.
    fn stepped(&self, picture: Picture);
    /// Something only people can decide.
    fn alarm(&self, alarm: &Alarm);
}

/// Everything the threads are made of.
pub struct Parts {
    /// The chain.
    pub chain: Chain,
    /// Drives timers and block time.
    pub clock: SharedClock,
    /// The engine, with no input yet.
    pub engine: Pow,
    /// What survives a crash.
    pub records: Records,
    /// The network.
    pub network: NetworkHandle,
    /// Gets blocks from peers.
    pub fetcher: Fetcher,
    /// Numbers of peers.
    pub peers: PeerNumbers,
    /// Looks at frames.
    pub checker: Checker,
    /// The execution thread's belongings.
    pub worker: Worker,
    /// The miner.
    pub miner: Arc<Miner>,
    /// Hears of the engine.
    pub watches: Arc<dyn Watches>,
}

/// Starts the threads; the engine's ends when it is asked to, or with an error.
pub fn start(
    parts: Parts,
    stop: Mailbox,
    mailbox: PowMailbox,
    restored: Restored<Record>,
) -> std::io::Result<thread::JoinHandle<Result<(), Fatal>>> {
    let (jobs_tx, jobs) = bounded(JOBS);
    let (done_tx, done) = bounded(QUEUE);
    let (checked_tx, checked) = bounded(QUEUE);

    let worker = parts.worker;
    let pool = worker.pool.clone();
    let answers = done_tx.clone();
    let executor = spawn_vital("execute", &done_tx, move || execute(worker, &jobs, &answers))?;
    look_at_frames(parts.checker, mailbox.frames, checked_tx)?;
    let alarms = Arc::clone(&parts.watches);
    let ports = PowPorts {
        chain: parts.chain.clone(),
        records: parts.records,
        network: parts.network.clone(),
        fetcher: parts.fetcher,
        peers: parts.peers.clone(),
        jobs: jobs_tx,
        done: done_tx,
        miner: Arc::clone(&parts.miner),
        alarms: Arc::new(move |alarm| alarms.alarm(alarm)),
    };
    let told = Told { done, checked, inputs: mailbox.inputs, pool };
    let blame = Blame { network: parts.network, peers: parts.peers };
    let (clock, watches, miner) = (parts.clock, parts.watches, parts.miner);
    let mut driver = Driver::new(parts.engine, ports);
    thread::Builder::new().name("engine".into()).spawn(move || {
        let result = run(&mut driver, &*clock, &stop, restored, &told, &*watches, &blame);
        miner.end();
        // The ports go with the driver, so execution ends after the job it is in.
        drop(driver);
        drop(told);
        let _ = executor.join();
        result
    })
}

/// What the other threads tell the engine's.
struct Told {
    done: Receiver<Result<PowInput, Fatal>>,
    checked: Receiver<PowInput>,
    inputs: Receiver<PowInput>,
    pool: SharedPool,
}

/// Tells the network side of peers that send what no correct node does.
struct Blame {
    network: NetworkHandle,
    peers: PeerNumbers,
}

impl Blame {
    fn tell(&self, number: u16, refusal: Refusal) {
        let offence = match refusal {
            Refusal::Height(_) | Refusal::Target { .. } | Refusal::Median { .. } | Refusal::Work => Offence::Garbage,
            Refusal::OnInvalid => Offence::Invalid,
            // Theirs may be right.
            Refusal::Checkpoint(_) | Refusal::Full => return,
        };
        let Some(peer) = self.peers.peer(number) else { return };
        tracing::warn!(%peer, "header refused: {refusal}");
        self.network.report_peer(peer, offence, format!("header refused: {refusal}"));
    }
}

fn run(
    driver: &mut Driver<Pow, PowPorts>,
    clock: &dyn Clock,
    stop: &Mailbox,
    restored: Restored<Record>,
    told: &Told,
    watches: &dyn Watches,
    blame: &Blame,
) -> Result<(), Fatal> {
    driver.handle(clock.mono_ms(), clock.wall_ms(), Input::Restored(restored))?;
    let (mut pictured_at, mut pictured) = (0, B256::ZERO);
    while !stop.stop.load(Ordering::Relaxed) {
        let now = clock.mono_ms();
        let due = now >= pictured_at + PICTURE_MS || driver.engine().head() != Some(pictured);
        let status = due.then(|| driver.engine().status()).flatten();
        if let Some(status) = status {
            (pictured_at, pictured) = (now, status.head_hash);
            watches.stepped(Picture { status, words: driver.engine().explain() });
        }
        let wait = driver.deadline().map_or(IDLE, |d| Duration::from_millis(d.saturating_sub(now)).min(IDLE));
        let input = select_biased! {
            recv(told.done) -> d => match d {
                Ok(d) => Some(up_to_date(d?, &told.pool)),
                Err(_) => return Err(Fatal("the execution thread is gone".into())),
            },
            recv(told.inputs) -> i => i.ok(),
            recv(told.checked) -> c => match c {
                Ok(input) => Some(input),
                Err(_) => return Err(Fatal("the thread that checks frames is gone".into())),
            },
            recv(stop.work) -> _ => Some(Input::Work { pending: true }),
            default(wait) => None,
        };
        let (mono, wall) = (clock.mono_ms(), clock.wall_ms());
        if let Some(input) = input {
            driver.handle(mono, wall, input)?;
        }
        if driver.deadline().is_some_and(|d| d <= mono) {
            driver.handle(mono, wall, Input::Tick)?;
        }
        for (peer, refusal) in driver.engine_mut().take_refusals() {
            blame.tell(peer, refusal);
        }
    }
    Ok(())
}

/// That nothing waits may have been overtaken by what came in since.
fn up_to_date(input: PowInput, pool: &SharedPool) -> PowInput {
    match input {
        Input::Work { pending: false } => Input::Work { pending: pool.lock().work_since_ms().is_some() },
        other => other,
    }
}

fn execute(mut worker: Worker, jobs: &Receiver<Job>, done: &Sender<Result<PowInput, Fatal>>) {
    // If the driver is gone it has stopped, and nobody needs the answer.
    let mut answer = |input| drop(done.send(Ok(input)));
    for job in jobs {
        if let Err(fatal) = worker.work(job, &mut answer) {
            let _ = done.send(Err(fatal));
            return;
        }
    }
}

fn look_at_frames(checker: Checker, frames: Receiver<Frame>, checked: Sender<PowInput>) -> std::io::Result<()> {
    thread::Builder::new().name("verify-0".into()).spawn(move || {
        for frame in frames {
            // A panic here is our bug, but it must not cost the node its ears.
            let looked = catch_unwind(AssertUnwindSafe(|| checker.check(&frame)));
            let input = looked.unwrap_or_else(|_| {
                tracing::error!(peer = %frame.peer, "a frame made the check fail; report it");
                None
            });
            if input.is_some_and(|input| checked.send(input).is_err()) {
                return;
            }
        }
    })?;
    Ok(())
}
