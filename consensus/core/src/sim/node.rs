//! A simulated node: what survives a crash, and what does not.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use basalt_primitives::{B256, CommitCertificate, Header, Height, Millis, SealedBlock, ValidatorSet};

use super::{
    Lab, SyncCrash,
    mempool::{self, Mempool, State},
};
use crate::{EffectOf, Engine, Past};

/// A finalized block in a ledger.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub block: SealedBlock,
    pub certificate: Option<Arc<CommitCertificate>>,
    /// State after it.
    pub state: State,
}

/// What survives a crash.
#[derive(Debug)]
pub(super) struct Disk<R> {
    /// Genesis first.
    pub ledger: Vec<Entry>,
    /// Transactions in it.
    pub done: BTreeSet<u64>,
    pub records: Option<Vec<R>>,
    /// Behind the last record lies half of another: what a crash in the middle of a write leaves. The next start cuts it off.
    pub torn: bool,
}

impl<R> Disk<R> {
    pub fn head(&self) -> &Entry {
        self.ledger.last().expect("genesis is always there")
    }

    pub fn append(&mut self, block: SealedBlock, certificate: Arc<CommitCertificate>, changes: &[Arc<ValidatorSet>]) {
        let state = mempool::execute(&self.head().state, &block, changes);
        self.done.extend(mempool::transactions(&block));
        self.ledger.push(Entry { block, certificate: Some(certificate), state });
    }

    /// The decided heights, all of them: no simulated chain is long.
    pub fn past(&self) -> Vec<Past> {
        let decided = self.ledger.iter().skip(1).map(|entry| entry.block.header());
        let past =
            |h: &Header| Some(Past { height: h.height, first_round: h.first_round, set: self.set_at(h.height)? });
        decided.filter_map(past).collect()
    }

    pub fn lose_ledger(&mut self) {
        self.ledger.truncate(1);
        self.done.clear();
    }

    /// The validators of a height, as far as this ledger tells: those of h follow from the state after h − 2.
    pub fn set_at(&self, height: Height) -> Option<Arc<ValidatorSet>> {
        let from = usize::try_from(height.0.saturating_sub(2)).ok()?;
        self.ledger.get(from).map(|entry| entry.state.set.clone())
    }
}

/// What does not.
pub(super) struct Process<E: Engine> {
    pub engine: E,
    /// Which start of the node this is: events for an earlier one are void.
    pub epoch: u64,
    /// True time at which its monotonic clock read `mono_base`.
    pub booted: Millis,
    pub mono_base: Millis,
    /// Effects not yet carried out, in order.
    pub queue: VecDeque<EffectOf<E>>,
    /// Whether the first of them is a record being synced.
    pub syncing: bool,
    /// Decided blocks to be executed; the first is being executed.
    pub executing: VecDeque<(SealedBlock, Arc<CommitCertificate>)>,
    /// Blocks a peer has given, not yet checked: the validators of their height are not known before execution gets there.
    pub offered: VecDeque<(SealedBlock, Arc<CommitCertificate>)>,
    /// The height a peer claims to have, where the lab's driver is one that believes such things.
    pub believes: Height,
    /// Newest decided block.
    pub tip: SealedBlock,
    /// Effects left until it crashes, and for how long.
    pub fuse: Option<(u32, Millis)>,
    /// It crashes during a sync to come: how many until then, for how long, and what becomes of the record.
    pub dies_syncing: Option<(u32, Millis, Option<SyncCrash>)>,
    /// The next Tick, in true time.
    pub tick_at: Option<Millis>,
    /// What the engine was last told of the mempool.
    pub told_pending: bool,
}

impl<E: Engine> Process<E> {
    pub const fn mono(&self, now: Millis) -> Millis {
        now - self.booted + self.mono_base
    }
}

/// One node.
pub(super) struct Node<L: Lab> {
    /// Number of the key it runs, in the lab's list. Not an index in any validator set.
    pub validator: u16,
    pub disk: Disk<<L::Engine as Engine>::Record>,
    pub process: Option<Process<L::Engine>>,
    pub starts: u64,
    pub pool: Mempool,
    /// Transactions its own clients insist on.
    pub clients: BTreeSet<u64>,
    pub adversary: Option<L::Adversary>,
    /// Whether the oracles hold it to the rules.
    pub honest: bool,
    /// Whether it has lost its record, once.
    pub wiped: bool,
    /// A crash that came while it was down: it counts from the next start.
    pub armed: Option<usize>,
    /// Never started.
    pub silent: bool,
}

impl<L: Lab> Node<L> {
    /// A block it could serve.
    pub fn block(&self, hash: &B256, height: Height) -> Option<SealedBlock> {
        let stored = usize::try_from(height.0).ok().and_then(|h| self.disk.ledger.get(h)).map(|e| e.block.clone());
        let process = self.process.as_ref()?;
        let decided = || process.executing.iter().map(|(block, _)| block).find(|b| b.hash() == *hash).cloned();
        stored.filter(|b| b.hash() == *hash).or_else(decided).or_else(|| process.engine.block(hash))
    }
}
