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

use basalt_bft::record::Record;
use basalt_consensus::{Input, Verdict};
use basalt_primitives::{Bytes, CommitCertificate, Height, PublicKey, SealedBlock};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, select_biased};

use super::{
    Driver, Fatal, Signer,
    executor::{Done, Job, Worker},
    judge::{Judge, verdict},
    ports::{Events, RealPorts},
    record::RecordFile,
    verify::{Checked, Incoming, Verifier},
};
use crate::{
    chain::Chain,
    clock::{Clock, SharedClock},
    mempool::SharedPool,
    network::NetworkHandle,
    sync::Fetcher,
};

/// How long the engine's thread sleeps at most when nothing is due, so that it notices a stop.
const IDLE: Duration = Duration::from_millis(500);
/// Checked messages handled in a row before other inputs are looked at again.
const QUEUE: usize = 1024;
/// Jobs for execution: the engine asks for few at a time.
const JOBS: usize = 64;

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
    pub(crate) work: Receiver<()>,
    pub(crate) stop: Arc<AtomicBool>,
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

/// Everything the driver's threads are made of.
pub struct Parts {
    /// The chain.
    pub chain: Chain,
    /// Drives the engine's timeouts and block time.
    pub clock: SharedClock,
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
    verify_messages(&parts.verifier, parts.verify_threads, &mailbox.incoming, &checked_tx, move || {
        ledger.head().height()
    })?;
    let (worker, pool) = (parts.worker, parts.verifier.pool.clone());
    let worker_done = done_tx.clone();
    let executor = spawn_vital("execute", &done_tx, move || execute_blocks(worker, &jobs, &ahead, &worker_done))?;
    let judge = Judge { chain: parts.chain.clone(), verifier: parts.verifier, clock: Arc::clone(&parts.clock) };
    let (validate_done, told) = (done_tx.clone(), Arc::clone(&parts.events));
    spawn_vital("validate", &done_tx, move || validate_blocks(&judge, &*told, &validate, &ahead_tx, &validate_done))?;
    let ports = RealPorts {
        own: parts.key.as_ref().map(basalt_primitives::SecretKey::public_key),
        signer: Signer { key: parts.key, genesis: parts.chain.genesis, sets: parts.chain.sets.clone() },
        chain: parts.chain.clone(),
        record: parts.record,
        network: parts.network,
        fetcher: parts.fetcher,
        jobs: jobs_tx,
        validate: validate_tx,
        done: done_tx,
        events: Arc::clone(&parts.events),
    };
    let driver = Driver::new(parts.engine, ports);
    let (events, clock, told) = (parts.events, parts.clock, Told { done, checked, pool });
    thread::Builder::new().name("engine".into()).spawn(move || {
        let result = run(driver, &*clock, &mailbox, restored, &told, &*events);
        // The ports are gone with the driver, so execution ends after the job it is in: nothing is half stored.
        let _ = executor.join();
        result
    })
}

/// Starts a thread without which the node must not go on: if it panics, the engine's thread hears of it and stops.
pub(crate) fn spawn_vital<D: Send + 'static>(
    name: &'static str,
    done: &Sender<Result<D, Fatal>>,
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

/// What the other threads tell the engine's.
struct Told {
    /// The execution and the validation thread.
    done: Receiver<Result<Done, Fatal>>,
    /// Those that check messages.
    checked: Receiver<Checked>,
    /// To look again whether something waits.
    pool: SharedPool,
}

fn run(
    mut driver: Driver<basalt_bft::Bft, RealPorts>,
    clock: &dyn Clock,
    mailbox: &Mailbox,
    restored: basalt_consensus::Restored<Record>,
    told: &Told,
    events: &dyn Events,
) -> Result<(), Fatal> {
    let Told { done, checked, pool } = told;
    driver.handle(clock.mono_ms(), clock.wall_ms(), Input::Restored(restored))?;
    while !mailbox.stop.load(Ordering::Relaxed) {
        events.stepped(driver.engine().status());
        let now = clock.mono_ms();
        let wait = driver.deadline().map_or(IDLE, |d| Duration::from_millis(d.saturating_sub(now)).min(IDLE));
        let input = select_biased! {
            recv(done) -> d => match d {
                Ok(d) => Some(up_to_date(d?, pool)),
                Err(_) => return Err(Fatal("the execution thread is gone".into())),
            },
            recv(checked) -> c => match c {
                Ok(Checked::Good { sender, from, message }) => {
                    events.heard(&sender);
                    Some(Input::Message { from, message: *message })
                }
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
        let (mono, wall) = (clock.mono_ms(), clock.wall_ms());
        if let Some(input) = input {
            driver.handle(mono, wall, input)?;
        }
        if driver.deadline().is_some_and(|d| d <= mono) {
            driver.handle(mono, wall, Input::Tick)?;
        }
    }
    Ok(())
}

/// That nothing waits, as the execution side says, may have been overtaken: what came in since has been told to the engine, perhaps
/// before this. Without a second look the engine would rest while a transaction waits that nothing follows.
fn up_to_date(input: Done, pool: &SharedPool) -> Done {
    match input {
        Input::Work { pending: false } => Input::Work { pending: pool.lock().work_since_ms().is_some() },
        other => other,
    }
}

/// Threads that check peers' messages; they end when `incoming` closes. `executed` gives the newest executed height.
fn verify_messages(
    verifier: &Verifier,
    threads: usize,
    incoming: &Receiver<Incoming>,
    checked: &Sender<Checked>,
    executed: impl Fn() -> Height + Clone + Send + 'static,
) -> std::io::Result<()> {
    for i in 0..threads {
        let (me, incoming, checked, executed) = (verifier.clone(), incoming.clone(), checked.clone(), executed.clone());
        thread::Builder::new().name(format!("verify-{i}")).spawn(move || {
            for message in incoming {
                // A panic here is our bug, but it must not cost the node its ears.
                let check = catch_unwind(AssertUnwindSafe(|| me.check(&message, executed())));
                let result = check.unwrap_or_else(|_| {
                    let reason = "it made the verifier fail; the log has the message: report it".to_owned();
                    Some(Checked::Bad { sender: message.sender, reason })
                });
                let Some(result) = result else { continue };
                if checked.send(result).is_err() {
                    return;
                }
            }
        })?;
    }
    Ok(())
}

/// The execution thread: works until a channel closes or something fatal happens. `jobs` go before `ahead`.
fn execute_blocks(
    mut worker: Worker,
    jobs: &Receiver<Job>,
    ahead: &Receiver<SealedBlock>,
    done: &Sender<Result<Done, Fatal>>,
) {
    // If the driver is gone it has stopped, and nobody needs the answer.
    let mut answer = |input| drop(done.send(Ok(input)));
    loop {
        let result = select_biased! {
            recv(jobs) -> job => match job {
                Ok(job) => worker.work(job, &mut answer),
                Err(_) => return,
            },
            recv(ahead) -> block => {
                if let Ok(block) = block { worker.execute_ahead(&block); }
                Ok(())
            }
        };
        if let Err(fatal) = result {
            // The driver stops the node; if it is gone already, so are we.
            let _ = done.send(Err(fatal));
            return;
        }
    }
}

/// The validation thread: judges proposals and hands good ones on to be executed ahead of their finality.
fn validate_blocks(
    judge: &Judge,
    events: &dyn Events,
    blocks: &Receiver<SealedBlock>,
    ahead: &Sender<SealedBlock>,
    done: &Sender<Result<Done, Fatal>>,
) {
    for block in blocks {
        let judged = judge.check(&block);
        events.judged(&block, &judged);
        let (hash, verdict) = (block.hash(), verdict(&judged));
        if verdict == Verdict::Valid {
            // Full: it is executed when it is final.
            let _ = ahead.try_send(block);
        }
        if done.send(Ok(Input::Validated { block: hash, verdict })).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mempool::{MempoolConfig, test_util};

    #[test]
    fn that_nothing_waits_is_believed_only_while_it_is_true() {
        let pool = SharedPool::new(MempoolConfig::default());
        let told = || up_to_date(Input::Work { pending: false }, &pool);
        assert!(matches!(told(), Input::Work { pending: false }));
        test_util::admit(&pool, test_util::sign(1, test_util::transfer(0)));
        assert!(matches!(told(), Input::Work { pending: true }), "it came between the look at the pool and this");
    }
}
