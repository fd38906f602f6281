//! Looks for seals, outside the engine.
//!
//! In: the block to seal, from the engine ([`Miner::look_for`]), how many threads shall, from configuration and RPC; nonces that
//! programs elsewhere found ([`Miner::submit`]). Out: sealed blocks, and how many hashes a second that takes. Each thread walks its
//! own part of the nonces in batches, and looks between them whether the block is still the one to seal.

mod rate;
#[cfg(test)]
pub(crate) mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use basalt_pow::Sealing;
use basalt_primitives::{Address, B256, Block, Header, Seal, SealedBlock, U256};
use parking_lot::{Condvar, Mutex};

pub use rate::Rate;

use crate::{clock::SharedClock, config::MAX_MINER_THREADS};

/// Nonces tried between two looks at the job.
const BATCH: u64 = 4_096;
/// Blocks to seal that are remembered for programs elsewhere.
const TEMPLATES: usize = 16;
/// Programs elsewhere whose reports of hash rates are remembered, and for how long.
const REPORTS: usize = 256;
const REPORT_LASTS: Duration = Duration::from_secs(60);
/// Miners yield to the rest of the node: this much nicer than it.
const NICER: i32 = 5;

/// A block to seal.
#[derive(Debug)]
struct Template {
    block: SealedBlock,
    sealing_hash: B256,
    target: U256,
}

/// What a program elsewhere needs to look for a seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// What is hashed with the nonce.
    pub sealing_hash: B256,
    /// The number must be at most this.
    pub target: U256,
    /// Height of the block.
    pub height: u64,
}

/// Why the miner did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MinerError {
    /// Nobody to pay.
    #[error(
        "this node does not know who is to be given the rewards; set miner.beneficiary in its configuration and restart it"
    )]
    NoBeneficiary,
    /// Too many threads, or none.
    #[error("threads must be between 1 and {MAX_MINER_THREADS}")]
    Threads,
    /// There is no block to seal yet.
    #[error("there is no work yet: {0}; ask again")]
    NoWork(String),
    /// A thread could not be started.
    #[error("a mining thread could not be started: {0}")]
    Spawn(String),
}

/// Called with the blocks that are found, and with whether blocks are wanted at all.
pub trait Mines: Send + Sync {
    /// A block was sealed.
    fn found(&self, block: SealedBlock);
    /// Whether the engine is to ask for blocks to be sealed.
    fn wanted(&self, on: bool);
}

/// The miner of a node.
pub struct Miner {
    sealing: Sealing,
    beneficiary: Option<Address>,
    clock: SharedClock,
    mines: Box<dyn Mines>,
    /// The block to seal; raised with every change of it.
    generation: AtomicU64,
    job: Mutex<Option<Arc<Template>>>,
    changed: Condvar,
    /// How many threads shall look, and how many there are.
    wanted: AtomicUsize,
    spawned: Mutex<usize>,
    stopped: AtomicBool,
    templates: Mutex<VecDeque<Arc<Template>>>,
    rate: Mutex<Rate>,
    hashes: AtomicU64,
    reports: Mutex<BTreeMap<B256, (u64, Duration)>>,
    /// Where this process begins in the nonces, so that two that seal the same block do not try the same.
    origin: u64,
}

impl Miner {
    /// A miner that looks for nothing yet. `origin` is random.
    #[must_use]
    pub fn new(
        sealing: Sealing,
        beneficiary: Option<Address>,
        clock: SharedClock,
        origin: u64,
        mines: Box<dyn Mines>,
    ) -> Arc<Self> {
        Arc::new(Self {
            sealing,
            beneficiary,
            clock,
            mines,
            generation: AtomicU64::new(0),
            job: Mutex::default(),
            changed: Condvar::new(),
            wanted: AtomicUsize::new(0),
            spawned: Mutex::default(),
            stopped: AtomicBool::new(false),
            templates: Mutex::default(),
            rate: Mutex::default(),
            hashes: AtomicU64::new(0),
            reports: Mutex::default(),
            origin,
        })
    }

    /// Starts looking, on so many threads.
    pub fn start(self: &Arc<Self>, threads: usize) -> Result<(), MinerError> {
        if self.beneficiary.is_none() {
            return Err(MinerError::NoBeneficiary);
        }
        if threads == 0 || threads > MAX_MINER_THREADS {
            return Err(MinerError::Threads);
        }
        let mut spawned = self.spawned.lock();
        while *spawned < threads {
            let (me, index) = (Arc::downgrade(self), *spawned);
            let work = move || search(&me, index);
            let started = thread::Builder::new().name(format!("mine-{index}")).spawn(work);
            started.map_err(|e| MinerError::Spawn(e.to_string()))?;
            *spawned += 1;
        }
        drop(spawned);
        self.wanted.store(threads, Ordering::Relaxed);
        self.mines.wanted(true);
        self.tell();
        Ok(())
    }

    /// Stops looking, programs elsewhere included.
    pub fn stop(&self) {
        self.wanted.store(0, Ordering::Relaxed);
        self.mines.wanted(false);
        self.pause();
        self.templates.lock().clear();
    }

    /// Ends the threads.
    pub fn end(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.tell();
    }

    /// Threads that look.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.wanted.load(Ordering::Relaxed)
    }

    /// Who is given the rewards.
    #[must_use]
    pub const fn beneficiary(&self) -> Option<Address> {
        self.beneficiary
    }

    /// Looks for the seal of this block, and of no other any more.
    pub fn look_for(&self, block: &SealedBlock) {
        let header = block.header();
        let Seal::Work { target, .. } = header.seal else { return };
        let Some(sealing_hash) = header.sealing_hash(self.sealing.hash_fn) else { return };
        let template = Arc::new(Template { block: block.clone(), sealing_hash, target });
        let mut templates = self.templates.lock();
        templates.push_front(Arc::clone(&template));
        templates.truncate(TEMPLATES);
        drop(templates);
        *self.job.lock() = Some(template);
        self.tell();
    }

    /// Looks for nothing until there is another block to seal.
    pub fn pause(&self) {
        *self.job.lock() = None;
        self.tell();
    }

    fn tell(&self) {
        // Under the lock, so that no thread goes to sleep between its look at the job and this.
        let _job = self.job.lock();
        self.generation.fetch_add(1, Ordering::Relaxed);
        self.changed.notify_all();
    }

    /// The newest block to seal, for a program elsewhere; asking for it makes the engine give some.
    pub fn work(&self) -> Result<Work, MinerError> {
        if self.beneficiary.is_none() {
            return Err(MinerError::NoBeneficiary);
        }
        self.mines.wanted(true);
        let templates = self.templates.lock();
        let newest =
            templates.front().ok_or_else(|| MinerError::NoWork("the node makes a block to seal".to_owned()))?;
        let height = newest.block.height().0;
        Ok(Work { sealing_hash: newest.sealing_hash, target: newest.target, height })
    }

    /// Takes a nonce from elsewhere; whether it seals one of the newest blocks.
    pub fn submit(&self, nonce: u64, sealing_hash: B256) -> bool {
        let found = self.templates.lock().iter().find(|t| t.sealing_hash == sealing_hash).cloned();
        let Some(template) = found else { return false };
        if self.sealing.work_hash.number(sealing_hash, nonce) > template.target {
            return false;
        }
        self.mines.found(self.sealed(&template, nonce));
        true
    }

    /// What a program elsewhere says of its hash rate.
    pub fn report(&self, id: B256, rate: u64) {
        let now = self.clock.mono();
        let mut reports = self.reports.lock();
        reports.retain(|_, (_, at)| now.saturating_sub(*at) < REPORT_LASTS);
        if reports.len() < REPORTS || reports.contains_key(&id) {
            reports.insert(id, (rate, now));
        }
    }

    /// Hashes a second of the last ten, with what programs elsewhere say of theirs.
    #[must_use]
    pub fn hashrate(&self) -> u64 {
        let now = self.clock.mono();
        let reports = self.reports.lock();
        let elsewhere = reports.values().filter(|(_, at)| now.saturating_sub(*at) < REPORT_LASTS).map(|(rate, _)| rate);
        let elsewhere = elsewhere.fold(0u64, |sum, rate| sum.saturating_add(*rate));
        self.rate.lock().at(now, self.hashes.load(Ordering::Relaxed)).saturating_add(elsewhere)
    }

    fn sealed(&self, template: &Template, nonce: u64) -> SealedBlock {
        let block = template.block.block();
        let header = Header { seal: Seal::Work { target: template.target, nonce }, ..block.header.clone() };
        let block = Block { header, last_certificate: None, transactions: block.transactions.clone() };
        SealedBlock::new(block, self.sealing.hash_fn)
    }

    /// Waits for a job for this thread; `None` when it is to end. Gives the generation in which it was one.
    fn next_job(&self, index: usize, done: u64) -> Option<(Arc<Template>, u64)> {
        let mut job = self.job.lock();
        loop {
            if self.stopped.load(Ordering::Relaxed) {
                return None;
            }
            let generation = self.generation.load(Ordering::Relaxed);
            if generation != done
                && index < self.threads()
                && let Some(template) = &*job
            {
                return Some((Arc::clone(template), generation));
            }
            self.changed.wait_for(&mut job, Duration::from_secs(1));
        }
    }
}

/// A thread's life.
fn search(miner: &Weak<Miner>, index: usize) {
    be_nicer();
    let mut done = u64::MAX;
    while let Some(me) = miner.upgrade() {
        let Some((template, generation)) = me.next_job(index, done) else { return };
        done = generation;
        let part = u64::MAX / MAX_MINER_THREADS as u64;
        let mut nonce = me.origin.wrapping_add(part.wrapping_mul(index as u64));
        while me.generation.load(Ordering::Relaxed) == generation {
            let found = try_batch(&me.sealing, &template, nonce);
            me.hashes.fetch_add(found.map_or(BATCH, |n| n.wrapping_sub(nonce) + 1), Ordering::Relaxed);
            if let Some(nonce) = found {
                me.mines.found(me.sealed(&template, nonce));
                break;
            }
            nonce = nonce.wrapping_add(BATCH);
        }
    }
}

fn try_batch(sealing: &Sealing, template: &Template, from: u64) -> Option<u64> {
    let tried = (0..BATCH).map(|i| from.wrapping_add(i));
    let mut tried = tried;
    tried.find(|nonce| sealing.work_hash.number(template.sealing_hash, *nonce) <= template.target)
}

/// On Linux the priority of a process is that of a thread, if it is asked for by the thread itself.
fn be_nicer() {
    let priority = rustix::process::getpriority_process(None).unwrap_or(0);
    if let Err(e) = rustix::process::setpriority_process(None, (priority + NICER).min(19)) {
        tracing::debug!("a mining thread keeps its priority: {e}");
    }
}
