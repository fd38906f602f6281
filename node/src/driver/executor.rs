//! The execution side: builds, executes ahead, executes and stores. One worker owns the state trie and is the only one
//! that commits, so that whatever it reads is the newest state. It has no thread: [`super::runtime`] gives it one.
//!
//! In: jobs of the engine and proposed blocks. Out: inputs for the engine, handed to `done` in order.

use std::{path::PathBuf, sync::Arc, time::Duration};

use basalt_consensus::{BuildRequest, Input};
use basalt_execution::{BlockEnv, Executed, StateTrie};
use basalt_primitives::{B256, CommitCertificate, Receipt, SealedBlock, Transaction, receipt::receipts_root};
use basalt_proto::Codec as _;
use basalt_storage::{BlockCommit, Head, Outcome, Skipped};

use super::{Choice, Fatal, bodies::Body, branches::Undone, verify::Verifier};
use crate::{
    chain::{Chain, StateView},
    clock::SharedClock,
    mempool::{AccountView, BlockUpdate, SharedPool},
    proposer::{self, Proposer},
};

/// What the execution side tells a BFT engine: an input without message.
pub type Done = Input<basalt_bft::message::SignedMessage, basalt_bft::record::Record>;

/// Execution ahead of finality is dropped when more blocks than this wait for it.
const MAX_AHEAD: usize = 4;

/// Work that must be done, in order.
#[derive(Debug)]
pub enum Job {
    /// Build a block on the head.
    Build(BuildRequest),
    /// Judge a block by executing it on the state of its parent, beside other branches.
    Validate(SealedBlock),
    /// Make the chain what a fork choice says.
    Forkchoice(Choice),
    /// Execute a finalized block and store it.
    Execute {
        /// The block.
        block: SealedBlock,
        /// Its certificate.
        certificate: Arc<CommitCertificate>,
    },
}

/// A block that has become the newest of the chain, for whoever wants to know: durable where blocks are final when they come.
#[derive(Debug)]
pub struct Committed<'a> {
    /// The new head.
    pub head: &'a Arc<Head>,
    /// Its receipts.
    pub receipts: Arc<Vec<Receipt>>,
    /// From the moment its proposal was here until it was durable; `None` for a block that was fetched.
    pub latency: Option<Duration>,
    /// Time to execute, root and store it; without what was executed ahead. `None` where it was judged before.
    pub took: Option<Duration>,
    /// Blocks that were taken back for this one and those after it, newest first.
    pub undone: &'a [Undone],
}

/// Hears of every durable block, on the worker's thread: be brief.
pub type Observer = Box<dyn Fn(&Committed<'_>) + Send>;

/// The execution side of a node.
pub struct Worker {
    /// The chain.
    pub chain: Chain,
    /// Block time of built blocks, and how long work took.
    pub clock: SharedClock,
    /// The state trie, at the head's root.
    pub trie: StateTrie,
    /// Checks bodies that are not kept any more.
    pub verifier: Verifier,
    /// The mempool.
    pub pool: SharedPool,
    /// Makes blocks; `None` on a node that does not vote.
    pub proposer: Option<Proposer>,
    /// Where dumps of blocks that could not be executed go.
    pub dump_dir: PathBuf,
    /// Hears of durable blocks.
    pub observer: Observer,
    /// Blocks executed before they were final, oldest first.
    pub ahead: Vec<(B256, Executed)>,
}

impl Worker {
    /// Does one job; what the engine must hear of goes to `done`, as soon as it is true.
    pub fn work<S, R>(&mut self, job: Job, done: &mut dyn FnMut(Input<S, R>)) -> Result<(), Fatal> {
        match job {
            Job::Validate(block) => self.validate(&block, done)?,
            Job::Forkchoice(choice) => self.follow(&choice, done)?,
            Job::Build(request) => done(self.build(&request)),
            Job::Execute { block, certificate } => self.execute(&block, &certificate, done)?,
        }
        Ok(())
    }

    fn build<S, R>(&mut self, request: &BuildRequest) -> Input<S, R> {
        let (height, round) = (request.height, request.round);
        let head = self.chain.ledger.head();
        let Some(proposer) = self.proposer.as_mut().filter(|_| head.hash() == request.parent) else {
            return Input::BuildFailed { height, round };
        };
        match proposer.build(&self.chain, &self.pool, &head, request, self.clock.wall_ms()) {
            Ok(proposer::Built { block, transactions, executed }) => {
                self.take_built(&block, transactions, executed);
                Input::Built { height, round, block }
            }
            Err(e) => {
                tracing::error!(%height, %round, "could not build a block: {e}");
                Input::BuildFailed { height, round }
            }
        }
    }

    /// Keeps a block that was built here, so that it is neither decoded nor executed again.
    pub(crate) fn take_built(&mut self, block: &SealedBlock, transactions: Vec<Arc<Transaction>>, executed: Executed) {
        self.verifier.bodies.insert(block.clone(), Ok(Arc::new(transactions)));
        self.keep_ahead(block.hash(), executed);
    }

    /// Executes a proposed block while it is being voted on. A failure here is no harm: the block may never be final.
    pub fn execute_ahead(&mut self, block: &SealedBlock) {
        let head = self.chain.ledger.head();
        let known = self.ahead.iter().any(|(hash, _)| *hash == block.hash());
        if known || block.header().parent_hash != head.hash() {
            return;
        }
        let Some(Ok(body)) = self.verifier.bodies.get(&block.hash()) else { return };
        let state = StateView(self.chain.ledger.snapshot());
        if let Ok(executed) = self.chain.executor.execute(&BlockEnv::of(block.header()), &body, &state) {
            self.keep_ahead(block.hash(), executed);
        }
    }

    fn keep_ahead(&mut self, block: B256, executed: Executed) {
        if self.ahead.len() == MAX_AHEAD {
            self.ahead.remove(0);
        }
        self.ahead.push((block, executed));
    }

    fn execute<S, R>(
        &mut self,
        block: &SealedBlock,
        certificate: &Arc<CommitCertificate>,
        done: &mut dyn FnMut(Input<S, R>),
    ) -> Result<(), Fatal> {
        let start = self.clock.mono();
        let head = self.chain.ledger.head();
        if block.height() <= head.height() {
            return Ok(()); // The engine asked twice; it has its answer.
        }
        self.check_agrees(&head, block)?;
        let voted = self.ahead.iter().any(|(hash, _)| *hash == block.hash());
        let executed = self.executed(block)?;
        let next = self.store(block, certificate, &executed)?;
        self.ahead.clear();
        let had_transactions = !block.block().transactions.is_empty();
        let (height, timestamp_ms) = (block.height(), block.header().timestamp_ms);
        // Before the engine goes on to the next height it must know whether anything is left to propose, and the set of
        // height + 2, which follows from this state.
        let pending = self.update_pool(block, &executed, &next);
        done(Input::Work { pending });
        let later = height.next().next();
        done(Input::ValidatorSet { height: later, set: self.chain.sets.at_known(later) });
        done(Input::Executed { height, block: block.hash(), had_transactions, timestamp_ms });
        let latency = self.verifier.bodies.age(&block.hash()).filter(|_| voted);
        let took = self.clock.mono().saturating_sub(start);
        let (receipts, took) = (Arc::new(executed.receipts), Some(took));
        (self.observer)(&Committed { head: &next, receipts, latency, took, undone: &[] });
        Ok(())
    }

    /// A certified header says what the parent led to. If it led to something else here, this node has diverged: it stops
    /// with a dump and never skips alone.
    fn check_agrees(&self, head: &Head, block: &SealedBlock) -> Result<(), Fatal> {
        let h = block.header();
        let certified = (h.parent_hash, h.parent_state_root, h.parent_receipts_root, h.parent_gas_used);
        let ours = (head.hash(), head.outcome.state_root, head.outcome.receipts_root, head.outcome.gas_used);
        if certified == ours {
            return Ok(());
        }
        let text =
            format!("block {} is certified with {certified:?} for its parent, but this node has {ours:?}", h.height);
        Err(self.dump(block, &text))
    }

    fn executed(&mut self, block: &SealedBlock) -> Result<Executed, Fatal> {
        if let Some(at) = self.ahead.iter().position(|(hash, _)| *hash == block.hash()) {
            return Ok(self.ahead.swap_remove(at).1);
        }
        let body = self.body(block)?;
        let txs =
            body.map_err(|e| self.dump(block, &format!("certified block {} is invalid here: {e}", block.height())))?;
        let state = StateView(self.chain.ledger.snapshot());
        let env = BlockEnv::of(block.header());
        self.chain.executor.execute(&env, &txs, &state).map_err(|e| self.dump(block, &e.to_string()))
    }

    fn body(&self, block: &SealedBlock) -> Result<Body, Fatal> {
        if let Err(e) = self.verifier.check_body(block) {
            return Err(self.dump(block, &format!("certified block {}: {e}", block.height())));
        }
        let body = self.verifier.bodies.get(&block.hash());
        body.ok_or_else(|| Fatal(format!("the body of block {} was dropped while in use", block.height())))
    }

    fn store(
        &mut self,
        block: &SealedBlock,
        certificate: &CommitCertificate,
        executed: &Executed,
    ) -> Result<Arc<Head>, Fatal> {
        let hash_fn = self.chain.spec.hash_fn;
        let state = StateView(self.chain.ledger.snapshot());
        let batch = self.trie.apply(&executed.changes, &state).map_err(|e| self.dump(block, &e.to_string()))?;
        let outcome = Outcome {
            state_root: batch.root,
            receipts_root: receipts_root(hash_fn, &executed.receipts),
            gas_used: executed.gas_used,
        };
        let tx_hashes = tx_hashes(executed);
        let skipped: Vec<Skipped> = executed
            .skipped
            .iter()
            .map(|(i, hash, why)| Skipped { index: *i as u32, tx_hash: *hash, reason: why.to_string() })
            .collect();
        let commit = BlockCommit {
            block,
            certificate: Some(certificate),
            work: None,
            tx_hashes: &tx_hashes,
            receipts: &executed.receipts,
            skipped: &skipped,
            changes: &executed.changes,
            trie: &batch.updates,
            outcome,
        };
        // Before the block is the head: whoever sees it must find the set of its height + 2.
        let sets = self.chain.sets.executed(block.height(), &executed.changes, &state);
        sets.map_err(|e| self.dump(block, &e.to_string()))?;
        let head = self.chain.ledger.commit(&commit).map_err(|e| Fatal(e.to_string()))?;
        self.trie.commit();
        Ok(head)
    }

    /// Takes the block's results into the mempool; whether anything is left to propose.
    fn update_pool(&self, block: &SealedBlock, executed: &Executed, head: &Head) -> bool {
        let accounts: Vec<_> = executed
            .changes
            .accounts
            .iter()
            .map(|(address, account)| {
                let a = account.unwrap_or_default();
                (*address, AccountView { nonce: a.nonce, balance: a.balance })
            })
            .collect();
        let included = tx_hashes(executed);
        let skipped: Vec<_> = executed.skipped.iter().map(|(_, hash, why)| (*hash, why.to_string())).collect();
        let base_fee = proposer::next_base_fee(&self.chain.spec, head);
        let next_height = block.height().next();
        let now_ms = self.clock.wall_ms();
        let mut pool = self.pool.lock();
        pool.on_block(&BlockUpdate {
            accounts: &accounts,
            included: &included,
            skipped: &skipped,
            next_height,
            base_fee,
            now_ms,
        });
        pool.has_ready(base_fee, next_height)
    }

    /// Keeps the block beside the ledger, for whoever finds out why.
    fn dump(&self, block: &SealedBlock, reason: &str) -> Fatal {
        let kept = self.keep(block, reason);
        Fatal(format!(
            "{reason}; {kept}. Stopped so that nothing wrong is stored: report it, and do not delete the data directory"
        ))
    }

    /// Writes a block beside the ledger; says where it is.
    pub(super) fn keep(&self, block: &SealedBlock, reason: &str) -> String {
        let path = self.dump_dir.join(format!("block-{}-{}.txt", block.height(), block.hash()));
        let bytes = block.block().encode();
        let text = format!("{reason}\n\n{}\n", hex::encode(bytes));
        let kept = std::fs::create_dir_all(&self.dump_dir).and_then(|()| std::fs::write(&path, text));
        match kept {
            Ok(()) => format!("the block is kept in {}", path.display()),
            Err(e) => format!("the block could not be kept in {}: {e}", path.display()),
        }
    }
}

/// Hashes of all transactions of the block in their order: those that ran and those skipped.
pub(super) fn tx_hashes(executed: &Executed) -> Vec<B256> {
    let mut hashes: Vec<B256> = executed.receipts.iter().map(|r| r.tx_hash).collect();
    for (index, hash, _) in &executed.skipped {
        hashes.insert(*index, *hash);
    }
    hashes
}
