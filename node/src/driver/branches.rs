//! Execution where blocks are not final when they come (ADR-0027): each is judged and executed on the state of its parent,
//! beside other branches; a fork choice then says which branch the chain is.
//!
//! In: [`Job::Validate`](super::executor::Job::Validate), [`Job::Forkchoice`](super::executor::Job::Forkchoice). Out: layers of
//! the ledger, a mempool that knows what was taken back, the observer's blocks; verdicts for the engine. A block that cannot be
//! executed is invalid and nothing more: nobody has certified it.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use basalt_consensus::{Branch, Input, Verdict};
use basalt_execution::{BlockEnv, ExecError, Executed};
use basalt_pow::Work;
use basalt_primitives::{Address, B256, Header, Receipt, Seal, SealedBlock, Transaction, receipt::receipts_root};
use basalt_storage::{BlockCommit, ChainWork, Head, Outcome, Reader as _, Snapshot, StorageError};

use super::{
    Choice, Fatal,
    executor::{Committed, Worker, tx_hashes},
    rules,
};
use crate::{
    chain::StateView,
    mempool::{AccountView, BlockUpdate, PoolContext, Reorg},
    proposer,
};

/// A block that was taken back.
#[derive(Clone, Debug)]
pub struct Undone {
    /// The block.
    pub block: SealedBlock,
    /// Its receipts.
    pub receipts: Vec<Receipt>,
}

/// Why a block was not staged.
enum Refused {
    /// It breaks a rule.
    Invalid(String),
    /// The node must stop.
    Fatal(Fatal),
}

impl From<StorageError> for Refused {
    fn from(e: StorageError) -> Self {
        Self::Fatal(Fatal(e.to_string()))
    }
}

impl From<basalt_execution::TrieError> for Refused {
    fn from(e: basalt_execution::TrieError) -> Self {
        Self::Fatal(Fatal(e.to_string()))
    }
}

/// The work of a chain with one more block, and its highest time.
#[must_use]
pub fn work_after(parent: &Head, header: &Header) -> Option<ChainWork> {
    let Seal::Work { target, .. } = header.seal else { return None };
    let below = parent.work.map_or(Work::ZERO, |w| Work::from_stored(w.total));
    let total = Work::of(target).and_then(|own| below.plus(own))?.get();
    Some(ChainWork { total, time_ms: time_after(parent, header) })
}

/// The highest time of a chain with one more block: what contracts see.
#[must_use]
pub fn time_after(parent: &Head, header: &Header) -> basalt_primitives::Millis {
    header.timestamp_ms.max(parent.work.map_or(parent.block.header().timestamp_ms, |w| w.time_ms))
}

/// The header as it was when its block was built: what was executed then is known by its hash.
fn unsealed(header: &Header) -> Header {
    Header { seal: Seal::None, ..header.clone() }
}

impl Worker {
    /// Judges a block on the state of its parent, and keeps what it leads to.
    pub(super) fn validate<S, R>(
        &mut self,
        block: &SealedBlock,
        done: &mut dyn FnMut(Input<S, R>),
    ) -> Result<(), Fatal> {
        let verdict = self.judge(block)?;
        done(Input::Validated { block: block.hash(), verdict });
        Ok(())
    }

    fn judge(&mut self, block: &SealedBlock) -> Result<Verdict, Fatal> {
        let (height, hash) = (block.height(), block.hash());
        if self.chain.ledger.staged(&hash).is_some() {
            return Ok(Verdict::Valid);
        }
        let Some(parent) = self.chain.ledger.view_of(&block.header().parent_hash) else {
            tracing::error!(
                %height, %hash,
                "a block is to be judged whose parent is below what is final here; a checkpoint that leads below needs a node that \
                 is synced anew"
            );
            return Ok(Verdict::NotYet);
        };
        match self.stage(&parent, block) {
            Ok(()) => Ok(Verdict::Valid),
            Err(Refused::Invalid(reason)) => {
                tracing::warn!(%height, %hash, proposer = %block.header().proposer, "invalid block: {reason}");
                Ok(Verdict::Invalid)
            }
            Err(Refused::Fatal(fatal)) => Err(fatal),
        }
    }

    fn stage(&mut self, parent: &Snapshot, block: &SealedBlock) -> Result<(), Refused> {
        let invalid = |e: &dyn std::fmt::Display| Refused::Invalid(e.to_string());
        let head = parent.head();
        let next_set = self.chain.sets.at_known(block.height().next()).hash(self.chain.spec.hash_fn);
        rules::check_sealed_block(&self.chain.spec, &head, next_set, block).map_err(|e| invalid(&e))?;
        let work = work_after(&head, block.header()).ok_or_else(|| invalid(&"its work cannot be counted"))?;
        let executed = self.executed_on(parent, block, work)?;
        if let Some((index, hash, why)) = executed.skipped.first() {
            return Err(invalid(&format!("transaction {index} ({hash}) cannot run: {why}")));
        }
        let view = StateView(parent.clone());
        self.trie.turn_to(head.outcome.state_root);
        let batch = self.trie.apply(&executed.changes, &view)?;
        let outcome = Outcome {
            state_root: batch.root,
            receipts_root: receipts_root(self.chain.spec.hash_fn, &executed.receipts),
            gas_used: executed.gas_used,
        };
        let commit = BlockCommit {
            block,
            certificate: None,
            work: Some(work),
            tx_hashes: &tx_hashes(&executed),
            receipts: &executed.receipts,
            skipped: &[],
            changes: &executed.changes,
            trie: &batch.updates,
            outcome,
        };
        match self.chain.ledger.stage(parent, &commit) {
            Ok(_) => {
                self.trie.commit();
                Ok(())
            }
            Err(e) => {
                self.trie.discard();
                Err(e.into())
            }
        }
    }

    fn executed_on(&mut self, parent: &Snapshot, block: &SealedBlock, work: ChainWork) -> Result<Executed, Refused> {
        let built = unsealed(block.header()).hash(self.chain.spec.hash_fn);
        if let Some(at) = self.ahead.iter().position(|(hash, _)| *hash == built) {
            return Ok(self.ahead.swap_remove(at).1);
        }
        self.verifier.check_body(block).map_err(|e| Refused::Invalid(e.to_string()))?;
        let body = self.verifier.bodies.get(&block.hash());
        let body = body.ok_or_else(|| Refused::Invalid("its body was dropped while in use".to_owned()))?;
        let txs = body.map_err(Refused::Invalid)?;
        let env = BlockEnv::of(block.header()).at(work.time_ms);
        match self.chain.executor.execute(&env, &txs, &StateView(parent.clone())) {
            Ok(executed) => Ok(executed),
            Err(ExecError::State(e)) => Err(Refused::Fatal(Fatal(e.to_string()))),
            // Kept, so that it can be found out; the block is not followed.
            Err(e) => Err(Refused::Invalid(format!("{e}; {}", self.keep(block, &e.to_string())))),
        }
    }

    /// Makes the chain what the fork choice says, stores what has become final, and gives transactions back.
    pub(super) fn follow<S, R>(&mut self, choice: &Choice, done: &mut dyn FnMut(Input<S, R>)) -> Result<(), Fatal> {
        let fatal = |e: StorageError| Fatal(e.to_string());
        let ledger = Arc::clone(&self.chain.ledger);
        let old = ledger.snapshot();
        let view = ledger.view_of(&choice.head);
        let view = view.ok_or_else(|| Fatal(format!("the new head {} was never judged", choice.head)))?;
        let safe = view.height_of(&choice.safe).map_err(fatal)?.unwrap_or_default();
        for stored in ledger.adopt(&choice.head, safe, &choice.finalized).map_err(fatal)? {
            tracing::debug!(height = %stored.height(), hash = %stored.hash(), "final");
        }
        match &choice.branch {
            Some(branch) => self.take_branch(&old, branch, done).map_err(fatal),
            None => Ok(()),
        }
    }

    fn take_branch<S, R>(
        &mut self,
        old: &Snapshot,
        branch: &Branch,
        done: &mut dyn FnMut(Input<S, R>),
    ) -> Result<(), StorageError> {
        let new = self.chain.ledger.snapshot();
        let (mut undone, mut adopted, mut touched) = (Vec::new(), Vec::new(), BTreeSet::new());
        for (hashes, view, blocks) in [(&branch.abandoned, old, &mut undone), (&branch.adopted, &new, &mut adopted)] {
            for hash in hashes {
                let Some(height) = view.height_of(hash)? else { continue };
                let Some(block) = view.block(height)? else { continue };
                touched.extend(view.changed(height)?.accounts);
                blocks.push(Undone { block, receipts: view.receipts(height)?.unwrap_or_default() });
            }
        }
        if !undone.is_empty() {
            tracing::info!(
                depth = undone.len(), adopted = adopted.len(), head = %new.head().height(), ancestor = %branch.ancestor,
                "reorganisation: another branch has more work"
            );
        }
        let pending = self.tell_pool(&new, &undone, &adopted, touched)?;
        done(Input::Work { pending });
        self.tell_observer(&new, &undone, adopted)
    }

    fn tell_observer(&self, new: &Snapshot, undone: &[Undone], adopted: Vec<Undone>) -> Result<(), StorageError> {
        let mut undone = undone;
        for Undone { block, receipts } in adopted {
            let Some(summary) = new.summary(block.height())? else { continue };
            let head = Arc::new(Head {
                block,
                certificate: None,
                outcome: summary.outcome,
                total_transactions: summary.total_transactions,
                work: summary.work,
            });
            let receipts = Arc::new(receipts);
            (self.observer)(&Committed { head: &head, receipts, latency: None, took: None, undone });
            undone = &[];
        }
        Ok(())
    }

    /// Brings the pool to the new head; whether anything is left to propose.
    fn tell_pool(
        &self,
        new: &Snapshot,
        undone: &[Undone],
        adopted: &[Undone],
        touched: BTreeSet<Address>,
    ) -> Result<bool, StorageError> {
        let head = new.head();
        let mut accounts = Vec::with_capacity(touched.len());
        for address in touched {
            let a = new.account(&address)?.unwrap_or_default();
            accounts.push((address, AccountView { nonce: a.nonce, balance: a.balance }));
        }
        let included: Vec<B256> = adopted.iter().flat_map(|b| &b.receipts).map(|r| r.tx_hash).collect();
        let (base_fee, next_height) = (proposer::next_base_fee(&self.chain.spec, &head), head.height().next());
        let now_ms = self.clock.wall_ms();
        let returned = self.returned(undone, &included);
        let mut pool = self.pool.lock();
        if undone.is_empty() {
            let skipped = &[];
            let update =
                BlockUpdate { accounts: &accounts, included: &included, skipped, next_height, base_fee, now_ms };
            pool.on_block(&update);
        } else {
            let gas_limit = self.chain.next_gas_limit(&head);
            let fork = self.chain.spec.fork_at(next_height);
            let context = PoolContext { next_height, base_fee, gas_limit, fork, now_ms };
            pool.on_reorg(&Reorg { accounts: &accounts, included: &included, returned: &returned, context });
        }
        Ok(pool.has_ready(base_fee, next_height))
    }

    /// The transactions of abandoned blocks that are not in adopted ones, in the order in which they ran.
    fn returned(&self, undone: &[Undone], included: &[B256]) -> Vec<Transaction> {
        let included: HashSet<&B256> = included.iter().collect();
        let raws = undone.iter().rev().flat_map(|b| &b.block.block().transactions);
        let txs = raws.filter_map(|raw| self.chain.decode(raw).ok());
        txs.filter(|tx| !included.contains(&tx.hash())).collect()
    }
}
