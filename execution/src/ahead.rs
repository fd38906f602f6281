//! Transactions run ahead of their turn, on several threads.
//!
//! A window of a block's transactions is run against the state before the window, each by itself and with what it read
//! recorded ([`run`]). Then, in the block's order, a result is taken over if everything it read is still so, and else the
//! transaction runs again, as it would have in a sequential execution (`RunningBlock::run_or_take`). What a transaction does
//! follows from what it reads alone, so the outcome is that of the sequential executor; `tests/parallel.rs` compares them.
//!
//! Every transaction tips the proposer, which would make each depend on the one before. Ahead of its turn nobody tips
//! ([`Untipped`]); the tip is added when the result is taken over. A transaction that looks at the proposer's account or
//! changes it runs in its turn. So do plain transfers, which cost less than handing them about, and whatever cannot run,
//! fails or panics: refusals have one source only.

use std::{
    borrow::Borrow,
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicUsize, Ordering},
};

use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256};
use basalt_primitives::{Transaction, state::Account};
use revm::{
    ExecuteEvm,
    context::{BlockEnv as RevmBlock, CfgEnv, ContextSetters},
    context_interface::result::{EVMError, HaltReason, InvalidTransaction},
    handler::{EvmTr, FrameTr, Handler},
    state::EvmState,
};

use crate::{
    block_state::{BlockState, CodeCache, Reads},
    evm::{self, BlockEvm, Outcome},
    ports::{StateError, StateReader},
    transfer::TransferRules,
};

/// Transactions of a window, for each thread. More would read state that is further behind, fewer would wait more often.
pub(crate) const WINDOW: usize = 32;

/// What running a transaction ahead of its turn gave.
#[derive(Default)]
pub(crate) struct Ahead {
    /// What it read.
    pub(crate) reads: Reads,
    /// What it did, but for the tip; `None` if it must run in its turn.
    pub(crate) ran: Option<(Outcome, EvmState)>,
}

/// How blocks are run ahead.
pub(crate) struct Rules<'a> {
    pub(crate) threads: usize,
    pub(crate) codes: &'a CodeCache,
    pub(crate) block: RevmBlock,
    pub(crate) cfg: CfgEnv,
    /// Plain transfers are left to the fast path.
    pub(crate) transfers: Option<&'a TransferRules>,
}

/// Runs each of the transactions by itself on this state.
pub(crate) fn run<T: Borrow<Transaction> + Sync>(rules: &Rules<'_>, state: &BlockState<'_>, txs: &[T]) -> Vec<Ahead> {
    let (base, next) = (Base(state), AtomicUsize::new(0));
    let work = || {
        let (mut worker, mut done) = (Worker::new(rules, &base), Vec::new());
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(tx) = txs.get(index) else { return done };
            done.extend(worker.run(tx.borrow()).map(|ahead| (index, ahead)));
        }
    };
    let mut all: Vec<Ahead> = Vec::new();
    all.resize_with(txs.len(), Ahead::default);
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..rules.threads.min(txs.len())).map(|_| scope.spawn(work)).collect();
        let mine = work();
        // A worker that failed outside a transaction has done nothing: its share runs in its turn.
        for (index, ahead) in mine.into_iter().chain(others.into_iter().filter_map(|t| t.join().ok()).flatten()) {
            all[index] = ahead;
        }
    });
    all
}

/// An EVM of one thread, over a fresh state for each transaction.
struct Worker<'b> {
    rules: &'b Rules<'b>,
    base: &'b Base<'b>,
    evm: BlockEvm<'b>,
}

impl<'b> Worker<'b> {
    fn new(rules: &'b Rules<'b>, base: &'b Base<'b>) -> Self {
        let state = BlockState::new(base, rules.codes);
        Self { rules, base, evm: evm::evm_over(state, rules.block.clone(), rules.cfg.clone()) }
    }

    /// `None` for what was not tried: a plain transfer.
    fn run(&mut self, tx: &Transaction) -> Option<Ahead> {
        let run = catch_unwind(AssertUnwindSafe(|| (!self.is_plain(tx)).then(|| self.run_evm(tx))));
        let reads = self.evm.ctx.journaled_state.database.take_reads();
        let ran = match run {
            Ok(None) => return None,
            Ok(Some(ran @ Some(_))) => ran,
            Ok(Some(None)) | Err(_) => {
                // The journal may be in any shape.
                *self = Self::new(self.rules, self.base);
                None
            }
        };
        let tip_matters = reads.accounts.iter().any(|(address, _)| *address == self.rules.block.beneficiary);
        Some(Ahead { reads, ran: ran.filter(|_| !tip_matters) })
    }

    /// Whether the fast path will take it, as far as can be told now.
    fn is_plain(&self, tx: &Transaction) -> bool {
        let Some(to) = self.rules.transfers.and_then(|rules| rules.candidate(tx.payload())) else { return false };
        matches!(self.base.0.peek(&to), Ok(a) if a.is_none_or(|a| a.code_hash == KECCAK256_EMPTY))
    }

    fn run_evm(&mut self, tx: &Transaction) -> Option<(Outcome, EvmState)> {
        self.evm.ctx.journaled_state.database = BlockState::recording(self.base, self.rules.codes);
        self.evm.ctx.set_tx(evm::tx_env(tx).ok()?);
        let result = Untipped::default().run(&mut self.evm).ok()?;
        Some((result.into(), self.evm.finalize()))
    }
}

/// Ethereum's rules without the proposer's tip.
struct Untipped<'a>(PhantomData<BlockEvm<'a>>);

impl Default for Untipped<'_> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<'a> Handler for Untipped<'a> {
    type Evm = BlockEvm<'a>;
    type Error = EVMError<StateError, InvalidTransaction>;
    type HaltReason = HaltReason;

    fn reward_beneficiary(
        &self,
        _: &mut Self::Evm,
        _: &mut <<Self::Evm as EvmTr>::Frame as FrameTr>::FrameResult,
    ) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// A block's state between two windows, read by all threads.
struct Base<'a>(&'a BlockState<'a>);

impl StateReader for Base<'_> {
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError> {
        self.0.peek(address)
    }

    fn storage(&self, address: &Address, slot: U256) -> Result<U256, StateError> {
        self.0.peek_slot(address, slot)
    }

    fn code(&self, hash: &B256) -> Result<Option<Bytes>, StateError> {
        self.0.code(*hash).map(|code| Some(code.original_bytes()))
    }

    fn block_hash(&self, height: u64) -> Result<Option<B256>, StateError> {
        revm::DatabaseRef::block_hash_ref(self.0, height).map(Some)
    }
}
