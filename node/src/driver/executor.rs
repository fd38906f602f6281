//! The execution thread: builds, executes ahead, executes and stores. One thread owns the state trie and is the only one
//! that commits, so that whatever it reads is the newest state.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use basalt_consensus::{BuildRequest, Input};
use basalt_execution::{BlockEnv, Executed, StateTrie};
use basalt_primitives::{B256, CommitCertificate, Receipt, SealedBlock, receipt::receipts_root};
use basalt_proto::Codec as _;
use basalt_storage::{BlockCommit, Head, Outcome, Skipped};
use crossbeam_channel::{Receiver, Sender, select_biased};

use super::{Fatal, bodies::Body, verify::Verifier};
use crate::{
    chain::{Chain, StateView},
    mempool::{AccountView, BlockUpdate, SharedPool},
    proposer::{self, Proposer},
};

/// An input without message: what the execution side tells the engine.
pub type Done = Input<basalt_bft::message::SignedMessage, basalt_bft::record::Record>;

/// Execution ahead of finality is dropped when more blocks than this wait for it.
const MAX_AHEAD: usize = 4;

/// Work that must be done, in order.
#[derive(Debug)]
pub enum Job {
    /// Build a block on the head.
    Build(BuildRequest),
    /// Execute a finalized block and store it.
    Execute {
        /// The block.
        block: SealedBlock,
        /// Its certificate.
        certificate: Arc<CommitCertificate>,
    },
}

/// A block that has become durable, for whoever wants to know.
#[derive(Debug)]
pub struct Committed<'a> {
    /// The new head.
    pub head: &'a Arc<Head>,
    /// Its receipts.
    pub receipts: &'a [Receipt],
    /// From the moment its proposal was here until it was durable; `None` for a block that was fetched.
    pub latency: Option<Duration>,
    /// Time to execute, root and store it; without what was executed ahead.
    pub took: Duration,
}

/// Hears of every durable block, on the execution thread: be brief.
pub type Observer = Box<dyn Fn(&Committed<'_>) + Send>;

/// The execution thread's belongings.
pub struct Worker {
    /// The chain.
    pub chain: Chain,
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
    /// Works until a channel closes or something fatal happens. `jobs` go before `ahead`.
    pub fn run(mut self, jobs: &Receiver<Job>, ahead: &Receiver<SealedBlock>, done: &Sender<Result<Done, Fatal>>) {
        loop {
            let result = select_biased! {
                recv(jobs) -> job => match job {
                    Ok(job) => self.work(job, done),
                    Err(_) => return,
                },
                recv(ahead) -> block => {
                    if let Ok(block) = block { self.execute_ahead(&block); }
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

    fn work(&mut self, job: Job, done: &Sender<Result<Done, Fatal>>) -> Result<(), Fatal> {
        match job {
            Job::Build(request) => {
                let _ = done.send(Ok(self.build(&request)?));
            }
            Job::Execute { block, certificate } => self.execute(&block, &certificate, done)?,
        }
        Ok(())
    }

    fn build(&mut self, request: &BuildRequest) -> Result<Done, Fatal> {
        let (height, round) = (request.height, request.round);
        let head = self.chain.ledger.head();
        let Some(proposer) = self.proposer.as_mut().filter(|_| head.hash() == request.parent) else {
            return Ok(Input::BuildFailed { height, round });
        };
        match proposer.build(&self.chain, &self.pool, &head, request) {
            Ok(proposer::Built { block, transactions, executed }) => {
                self.verifier.bodies.insert(block.clone(), Ok(Arc::new(transactions)));
                self.keep_ahead(block.hash(), executed);
                Ok(Input::Built { height, round, block })
            }
            Err(e) => {
                tracing::error!(%height, %round, "could not build a block: {e}");
                Ok(Input::BuildFailed { height, round })
            }
        }
    }

    /// Executes a proposed block while it is being voted on. A failure here is no harm: the block may never be final.
    fn execute_ahead(&mut self, block: &SealedBlock) {
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

    fn execute(
        &mut self,
        block: &SealedBlock,
        certificate: &Arc<CommitCertificate>,
        done: &Sender<Result<Done, Fatal>>,
    ) -> Result<(), Fatal> {
        let start = Instant::now();
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
        self.update_pool(block, &executed, &next, done);
        let later = height.next().next();
        let _ = done.send(Ok(Input::ValidatorSet { height: later, set: self.chain.sets.at(later) }));
        let _ = done.send(Ok(Input::Executed { height, block: block.hash(), had_transactions, timestamp_ms }));
        let latency = self.verifier.bodies.age(&block.hash()).filter(|_| voted);
        (self.observer)(&Committed { head: &next, receipts: &executed.receipts, latency, took: start.elapsed() });
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
            certificate,
            tx_hashes: &tx_hashes,
            receipts: &executed.receipts,
            skipped: &skipped,
            changes: &executed.changes,
            trie: &batch.updates,
            outcome,
        };
        let head = self.chain.ledger.commit(&commit).map_err(|e| Fatal(e.to_string()))?;
        self.trie.commit();
        Ok(head)
    }

    fn update_pool(&self, block: &SealedBlock, executed: &Executed, head: &Head, done: &Sender<Result<Done, Fatal>>) {
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
        let base_fee = proposer::next_base_fee(&self.chain.spec, head);
        let next_height = block.height().next();
        let now_ms = crate::clock::wall_ms();
        let mut pool = self.pool.lock();
        pool.on_block(&BlockUpdate { accounts: &accounts, included: &included, next_height, base_fee, now_ms });
        let pending = pool.has_ready(base_fee, next_height);
        drop(pool);
        let _ = done.send(Ok(Input::Work { pending }));
    }

    /// Keeps the block beside the ledger, for whoever finds out why.
    fn dump(&self, block: &SealedBlock, reason: &str) -> Fatal {
        let path = self.dump_dir.join(format!("block-{}-{}.txt", block.height(), block.hash()));
        let bytes = block.block().encode();
        let text = format!("{reason}\n\n{}\n", hex::encode(bytes));
        let kept = std::fs::create_dir_all(&self.dump_dir).and_then(|()| std::fs::write(&path, text));
        let kept = match kept {
            Ok(()) => format!("the block is kept in {}", path.display()),
            Err(e) => format!("the block could not be kept in {}: {e}", path.display()),
        };
        Fatal(format!(
            "{reason}; {kept}. Stopped so that nothing wrong is stored: report it, and do not delete the data directory"
        ))
    }
}

/// Hashes of all transactions of the block in their order: those that ran and those skipped.
fn tx_hashes(executed: &Executed) -> Vec<B256> {
    let mut hashes: Vec<B256> = executed.receipts.iter().map(|r| r.tx_hash).collect();
    for (index, hash, _) in &executed.skipped {
        hashes.insert(*index, *hash);
    }
    hashes
}
