//! The thread that makes the blocks of a development network, in the place of an engine.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock, atomic::Ordering},
    thread,
    time::Duration,
};

use basalt_primitives::{
    Address, B256, CommitCertificate, CommitSignature, Height, Round, SealedBlock, SecretKey, Transaction,
    header::MAX_TIMESTAMP_MS,
    system::VALIDATORS,
    tx::{MAX_TX_BYTES, StateEdit, development::Change},
    validators::{VoteKind, vote_bytes},
};
use basalt_storage::{Head, Reader as _};
use crossbeam_channel::{Receiver, select};

use super::{Answer, Asked, DevError, Devnet, Modes, NextBlock, ORDERS, OnRewind, Order, Wishes, bounded, next::Plan};
use crate::{
    driver::{
        Fatal,
        executor::{Done, Job, Worker},
        rules::{Chosen, next_header},
        runtime::Mailbox,
    },
    ingress::{Admission, IngressEvents},
    keys,
    proposer::{self, Built},
    rpc::EventHub,
};

/// How long the thread sleeps at most, so that it notices a stop.
const IDLE: Duration = Duration::from_millis(500);
/// Most blocks of one order.
const MAX_BLOCKS: u64 = 100_000;
/// Most snapshots remembered.
const MAX_SNAPSHOTS: usize = 100_000;

/// What the sequencer is made of.
pub struct Parts {
    /// Executes and commits.
    pub worker: Worker,
    /// The key of the one validator.
    pub key: SecretKey,
    /// Takes transactions in again after blocks were taken back.
    pub admission: Admission,
    /// Where removed logs are announced.
    pub hub: EventHub,
    /// Told of transactions that nobody signed.
    pub events: Arc<dyn IngressEvents>,
}

/// The thread, which ends `Ok` after a stop, else with what was fatal.
pub type Handle = thread::JoinHandle<Result<(), Fatal>>;

/// Starts the thread. Its handle ends as an engine's does.
pub fn start(parts: Parts, mailbox: Mailbox) -> anyhow::Result<(Handle, Arc<Devnet>)> {
    let (orders, incoming) = bounded(ORDERS);
    let next = parts.worker.chain.next_block.clone().unwrap_or_default();
    let modes = Arc::new(Modes::default());
    let on_rewind = Arc::new(OnceLock::new());
    let devnet = Devnet {
        next: next.clone(),
        accounts: super::Accounts::new(),
        instance: B256::from(keys::random::<32>()?),
        sending: tokio::sync::Mutex::default(),
        orders,
        modes: Arc::clone(&modes),
        admission: parts.admission.clone(),
        events: parts.events,
        on_rewind: Arc::clone(&on_rewind),
    };
    let mut sequencer = Sequencer {
        worker: parts.worker,
        key: parts.key,
        admission: parts.admission,
        hub: parts.hub,
        next,
        modes,
        on_rewind,
        snapshots: BTreeMap::new(),
        last_snapshot: 0,
        due: None,
        mailbox,
    };
    sequencer.default_mode();
    let thread = thread::Builder::new().name("sequencer".into()).spawn(move || sequencer.run(&incoming))?;
    Ok((thread, Arc::new(devnet)))
}

/// A remembered block, and what the next one was to be like.
#[derive(Clone, Copy, Debug)]
struct Saved {
    height: Height,
    wishes: Wishes,
}

pub(super) struct Sequencer {
    pub(super) worker: Worker,
    key: SecretKey,
    pub(super) admission: Admission,
    pub(super) hub: EventHub,
    next: NextBlock,
    modes: Arc<Modes>,
    pub(super) on_rewind: Arc<OnceLock<OnRewind>>,
    snapshots: BTreeMap<u64, Saved>,
    last_snapshot: u64,
    /// Monotonic time of the next block at an interval.
    due: Option<Duration>,
    mailbox: Mailbox,
}

/// Why an order came to nothing.
pub(super) enum Trouble {
    /// The order was wrong.
    Refused(DevError),
    /// The node must stop.
    Fatal(Fatal),
}

impl From<DevError> for Trouble {
    fn from(e: DevError) -> Self {
        Self::Refused(e)
    }
}

impl From<Fatal> for Trouble {
    fn from(e: Fatal) -> Self {
        Self::Fatal(e)
    }
}

impl Sequencer {
    fn run(mut self, orders: &Receiver<Asked>) -> Result<(), Fatal> {
        let work = self.mailbox.work.clone();
        while !self.stopped() {
            let now = self.worker.clock.mono();
            let wait = self.due.map_or(IDLE, |due| due.saturating_sub(now).min(IDLE));
            select! {
                recv(orders) -> asked => match asked {
                    Ok(asked) => self.answer(asked)?,
                    Err(_) => return Ok(()),
                },
                recv(work) -> _ => self.unasked(Self::settle)?,
                default(wait) => {}
            }
            if self.due.is_some_and(|due| due <= self.worker.clock.mono()) {
                self.unasked(|me| me.make(&me.plan()).map(drop))?;
                self.restart_interval();
            }
        }
        Ok(())
    }

    fn stopped(&self) -> bool {
        self.mailbox.stop.load(Ordering::Relaxed)
    }

    fn answer(&mut self, asked: Asked) -> Result<(), Fatal> {
        let answer: Answer = match self.obey(asked.order) {
            Ok(n) => Ok(n),
            Err(Trouble::Refused(e)) => Err(e),
            Err(Trouble::Fatal(fatal)) => return Err(fatal),
        };
        // Whoever asked may have gone; what was done stays.
        let _ = asked.answer.send(answer);
        Ok(())
    }

    fn unasked(&mut self, work: impl FnOnce(&mut Self) -> Result<(), Trouble>) -> Result<(), Fatal> {
        match work(self) {
            Ok(()) => Ok(()),
            Err(Trouble::Refused(e)) => {
                tracing::error!("no block was made: {e}");
                Ok(())
            }
            Err(Trouble::Fatal(fatal)) => Err(fatal),
        }
    }

    fn obey(&mut self, order: Order) -> Result<u64, Trouble> {
        match order {
            Order::Settle => self.settle()?,
            Order::Mine { blocks, interval_s } => self.mine(blocks, interval_s)?,
            Order::Edit(address, change) => self.edit(address, change)?,
            Order::Snapshot => return self.snapshot(),
            Order::Revert(id) => return self.revert(id).map(u64::from),
            Order::Reset => self.reset()?,
            Order::Mode { automine, interval_ms } => self.set_mode(automine, interval_ms),
        }
        Ok(0)
    }

    fn default_mode(&mut self) {
        use basalt_primitives::chainspec::Consensus;
        let interval = match &self.worker.chain.spec.consensus {
            Consensus::Dev(p) => p.block_interval_ms,
            Consensus::Pbft(_) | Consensus::Pow(_) => None,
        };
        self.set_mode(Some(interval.is_none()), Some(interval.unwrap_or(0)));
    }

    fn set_mode(&mut self, automine: Option<bool>, interval_ms: Option<u64>) {
        if let Some(on) = automine {
            self.modes.automine.store(on, Ordering::Relaxed);
        }
        if let Some(ms) = interval_ms {
            self.modes.interval_ms.store(ms, Ordering::Relaxed);
            self.restart_interval();
        }
    }

    fn restart_interval(&mut self) {
        let ms = self.modes.interval_ms.load(Ordering::Relaxed);
        self.due = (ms > 0).then(|| self.worker.clock.mono() + Duration::from_millis(ms));
    }

    fn head(&self) -> Arc<Head> {
        self.worker.chain.ledger.head()
    }

    fn plan(&self) -> Plan {
        self.next.plan(&self.worker.chain.spec, &self.head(), self.worker.clock.wall_ms())
    }

    /// Makes blocks until nothing waits that could be in one.
    fn settle(&mut self) -> Result<(), Trouble> {
        while self.modes.automine.load(Ordering::Relaxed) && !self.stopped() {
            let plan = self.plan();
            let built = self.build(&plan, None)?;
            if built.transactions.is_empty() {
                return Ok(());
            }
            self.commit(built)?;
            self.next.carried_out(&plan, self.worker.clock.wall_ms());
        }
        Ok(())
    }

    fn mine(&mut self, blocks: u64, interval_s: Option<u64>) -> Result<(), Trouble> {
        if blocks > MAX_BLOCKS {
            return Err(DevError(format!("{blocks} blocks asked for, the limit is {MAX_BLOCKS} at once")).into());
        }
        for i in 0..blocks {
            if self.stopped() {
                return Err(super::stopping().into());
            }
            let mut plan = self.plan();
            if let Some(interval) = interval_s.filter(|interval| i > 0 && *interval > 0) {
                let parent = self.head().block.header().timestamp_s();
                let at = parent.saturating_add(interval).min(super::next::LATEST_S);
                plan.timestamp_ms = at.max(parent + 1) * 1000;
            }
            self.make(&plan)?;
        }
        Ok(())
    }

    /// Makes a block, empty if nothing waits.
    fn make(&mut self, plan: &Plan) -> Result<(), Trouble> {
        let built = self.build(plan, None)?;
        self.commit(built)?;
        self.next.carried_out(plan, self.worker.clock.wall_ms());
        Ok(())
    }

    /// Changes an account in a block of its own, one millisecond after its parent: contracts see no time pass, and what was
    /// set for the next block is not used up.
    fn edit(&mut self, address: Address, change: Change) -> Result<(), Trouble> {
        self.check_edit(address, &change)?;
        let head = self.head();
        let spec = &self.worker.chain.spec;
        let edit = StateEdit::new(spec.chain_id, head.height().next().0, address, change).into_unverified();
        let tx = edit.verify().map_err(|e| DevError(e.to_string()))?;
        if tx.raw().len() > MAX_TX_BYTES {
            return Err(DevError(format!("the code is too large: the limit is about {MAX_TX_BYTES} bytes")).into());
        }
        let plan = Plan {
            timestamp_ms: head.block.header().timestamp_ms + 1,
            base_fee: proposer::next_base_fee(spec, &head),
            ..self.plan()
        };
        let built = self.build(&plan, Some(Arc::new(tx)))?;
        if built.transactions.is_empty() {
            return Err(DevError("the edit could not be carried out; see the node's log".into()).into());
        }
        self.commit(built)
    }

    fn check_edit(&self, address: Address, change: &Change) -> Result<(), DevError> {
        if address == VALIDATORS {
            return Err(DevError(format!("{address} is the chain's validator contract and cannot be edited")));
        }
        let Change::Nonce(nonce) = change else { return Ok(()) };
        let account = self.worker.chain.ledger.account(&address).map_err(|e| DevError(e.to_string()))?;
        let now = account.unwrap_or_default().nonce;
        if *nonce < now {
            return Err(DevError(format!(
                "New nonce ({nonce}) must not be smaller than the existing nonce ({now}); use evm_snapshot and evm_revert to go back"
            )));
        }
        Ok(())
    }

    /// A block after the head: with what waits, or with one transaction alone.
    fn build(&self, plan: &Plan, only: Option<Arc<Transaction>>) -> Result<Built, DevError> {
        if plan.timestamp_ms > MAX_TIMESTAMP_MS {
            return Err(DevError(
                "no later block is possible: the clock is at its end; go back with evm_revert".into(),
            ));
        }
        let Worker { chain, pool, .. } = &self.worker;
        let (spec, head) = (&chain.spec, self.head());
        let certificate = head.certificate.as_deref().cloned();
        let chosen = Chosen {
            timestamp_ms: plan.timestamp_ms,
            proposer: plan.coinbase.unwrap_or_else(|| self.key.public_key().address()),
            first_round: Round::ZERO,
            transactions_root: B256::ZERO,
            last_certificate_hash: certificate.as_ref().map_or(B256::ZERO, |c| c.hash(spec.hash_fn)),
        };
        let next_set = chain.sets.at_known(head.height().next().next()).hash(spec.hash_fn);
        let mut header = next_header(spec, &head, next_set, chosen);
        (header.gas_limit, header.base_fee) = (plan.gas_limit, plan.base_fee);
        let candidates = match only {
            Some(tx) => vec![tx],
            None => proposer::candidates(pool, &header, spec),
        };
        proposer::seal(chain, pool, header, certificate, candidates).map_err(|e| {
            tracing::error!("could not build a block: {e}");
            DevError(format!("no block was made: {e}"))
        })
    }

    fn commit(&mut self, built: Built) -> Result<(), Trouble> {
        let Built { block, transactions, executed } = built;
        let certificate = Arc::new(self.certify(&block)?);
        self.worker.take_built(&block, transactions, executed);
        self.worker.work(Job::Execute { block, certificate }, &mut |_: Done| {})?;
        Ok(())
    }

    /// The commit vote of the one validator is a quorum.
    fn certify(&self, block: &SealedBlock) -> Result<CommitCertificate, Fatal> {
        let (height, round, block_hash) = (block.height(), Round::ZERO, block.hash());
        let chain = &self.worker.chain;
        let index = chain.sets.at(height).and_then(|set| set.index_of(&self.key.public_key()));
        let validator = index.ok_or_else(|| Fatal("the validator key is not the one of this genesis".into()))?;
        let vote = vote_bytes(chain.genesis, VoteKind::Commit, height, round, block_hash);
        let signatures = vec![CommitSignature { validator, signature: self.key.sign(vote.as_slice()) }];
        Ok(CommitCertificate { height, round, block_hash, signatures })
    }

    fn snapshot(&mut self) -> Result<u64, Trouble> {
        if self.snapshots.len() >= MAX_SNAPSHOTS {
            return Err(DevError(format!("the limit of {MAX_SNAPSHOTS} snapshots is reached; revert to one")).into());
        }
        self.last_snapshot += 1;
        let saved = Saved { height: self.head().height(), wishes: self.next.wishes() };
        self.snapshots.insert(self.last_snapshot, saved);
        Ok(self.last_snapshot)
    }

    /// A snapshot is gone once it was gone back to, and so are all that were made after it.
    fn revert(&mut self, id: u64) -> Result<bool, Trouble> {
        let Some(saved) = self.snapshots.get(&id).copied() else { return Ok(false) };
        self.rewind(saved.height)?;
        self.snapshots.split_off(&id);
        self.next.restore(saved.wishes);
        Ok(true)
    }

    fn reset(&mut self) -> Result<(), Trouble> {
        self.rewind(Height::GENESIS)?;
        self.snapshots.clear();
        self.next.restore(Wishes::default());
        self.default_mode();
        Ok(())
    }
}
