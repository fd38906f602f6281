//! Executes ordered blocks, and builds new ones by executing while packing.

use std::{
    any::Any,
    borrow::Borrow,
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use alloy_eips::eip2935::{HISTORY_SERVE_WINDOW, HISTORY_STORAGE_ADDRESS, HISTORY_STORAGE_CODE};
use alloy_primitives::{B256, U256, keccak256};
use basalt_primitives::{
    ChainSpec, Height, PublicKey, Receipt, Transaction,
    chainspec::EvmFork,
    state::StateChanges,
    system::{PERMISSION, permission::Moment},
    tx::Payload,
};
use revm::{
    ExecuteEvm,
    context_interface::{Cfg as _, result::EVMError},
};

use crate::{
    ahead::{self, Ahead},
    block_state::{BlockState, CodeCache},
    development,
    env::BlockEnv,
    evm::{self, BlockEvm, Outcome},
    permission::{self, Permissions, Permits},
    ports::{StateError, StateReader},
    skip::SkipReason,
    system,
    transfer::{TRANSFER_GAS, TransferRules, give, reward, transfer},
};

/// After this many candidates that did not fit, a block counts as full.
const MISFITS: usize = 64;

/// Why a block could not be executed. The node stops with a dump: it never skips a block alone.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// State could not be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The executor panicked.
    #[error("the executor panicked on transaction {index} ({tx}): {message}; keep the dump and report it")]
    Panic {
        /// Index in the block.
        index: usize,
        /// Hash of the transaction.
        tx: B256,
        /// What the panic said.
        message: String,
    },
    /// The validator contract did not remove validators that a set override declares lost.
    #[error(
        "the validator contract did not carry out the set override of this height: {0}; give this node the file the others have"
    )]
    Override(String),
    /// revm refused the block itself.
    #[error("the EVM refused the block: {0}; keep the dump and report it")]
    Evm(String),
}

/// What a block did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Executed {
    /// Receipts of the transactions that ran, in order.
    pub receipts: Vec<Receipt>,
    /// How the state changed.
    pub changes: StateChanges,
    /// Gas used.
    pub gas_used: u64,
    /// Transactions that could not run: index in the block, hash, reason.
    pub skipped: Vec<(usize, B256, SkipReason)>,
}

/// How large a block may get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuildLimits {
    /// Most gas; the block's own gas limit counts as well.
    pub max_gas: u64,
    /// Most bytes of encoded transactions.
    pub max_bytes: u64,
}

/// A block that was built.
#[derive(Clone, Debug)]
pub struct Built<T> {
    /// Transactions of the block, in order; each has a receipt.
    pub included: Vec<T>,
    /// What executing them did; `skipped` is empty.
    pub executed: Executed,
    /// Candidates that were left out, and why.
    pub dropped: Vec<(B256, SkipReason)>,
}

/// Keys that set overrides remove, by the height at whose start they do.
pub type Overrides = BTreeMap<Height, Vec<PublicKey>>;

/// Runs transactions by the rules of one chain.
#[derive(Debug)]
pub struct Executor {
    spec: Arc<ChainSpec>,
    overrides: Overrides,
    pub(crate) codes: CodeCache,
    /// Of a permissioned network: the rules as last read.
    permits: Option<Permits>,
    fast_transfers: bool,
    threads: AtomicUsize,
    taken: AtomicU64,
    again: AtomicU64,
}

impl Executor {
    /// An executor for a chain.
    #[must_use]
    pub fn new(spec: Arc<ChainSpec>) -> Self {
        let permits = spec.alloc.contains_key(&PERMISSION).then(Permits::default);
        Self {
            spec,
            permits,
            overrides: Overrides::new(),
            codes: CodeCache::default(),
            fast_transfers: true,
            threads: AtomicUsize::new(1),
            taken: AtomicU64::new(0),
            again: AtomicU64::new(0),
        }
    }

    /// Removes validators at the start of these blocks, as set overrides say (ADR-0015).
    #[must_use]
    pub fn with_overrides(mut self, overrides: Overrides) -> Self {
        self.overrides = overrides;
        self
    }

    /// Sends every transaction through the EVM: the reference that the fast path is compared with.
    #[must_use]
    pub const fn without_fast_transfers(mut self) -> Self {
        self.fast_transfers = false;
        self
    }

    /// Executes ordered blocks on this many threads, with the results of one; 1, the default, is the reference that the
    /// others are compared with. Building stays sequential.
    #[must_use]
    pub fn with_threads(self, threads: usize) -> Self {
        self.use_threads(threads);
        self
    }

    /// As [`Self::with_threads`], from the next block on.
    pub fn use_threads(&self, threads: usize) {
        self.threads.store(threads.max(1), Ordering::Relaxed);
    }

    fn threads(&self) -> usize {
        self.threads.load(Ordering::Relaxed)
    }

    /// Of the transactions that were run ahead of their turn, how many could be taken over and how many ran again.
    #[must_use]
    pub fn ran_ahead(&self) -> (u64, u64) {
        (self.taken.load(Ordering::Relaxed), self.again.load(Ordering::Relaxed))
    }

    /// What accounts may do in a block of this height and time after this state; `None`: the network has no permissions.
    pub fn permissions<'a>(
        &'a self,
        state: &'a dyn StateReader,
        now: Moment,
    ) -> Result<Option<Permissions<'a>>, StateError> {
        self.permits.as_ref().map(|permits| permits.at(state, now)).transpose()
    }

    /// The chain's rules.
    #[must_use]
    pub const fn spec(&self) -> &Arc<ChainSpec> {
        &self.spec
    }

    /// Executes an ordered block. What cannot run is skipped and named. The result is that of running one transaction
    /// after the other, on however many threads it was made.
    pub fn execute<T: Borrow<Transaction> + Sync>(
        &self,
        env: &BlockEnv,
        txs: &[T],
        state: &dyn StateReader,
    ) -> Result<Executed, ExecError> {
        let mut at = 0;
        let run = catch_unwind(AssertUnwindSafe(|| {
            let mut block = RunningBlock::open(self, env, state)?;
            let mut skipped = Vec::new();
            let threads = self.threads();
            let window = if threads > 1 { threads * ahead::WINDOW } else { txs.len().max(1) };
            for (window, txs) in txs.chunks(window).enumerate().map(|(n, txs)| (n * window, txs)) {
                let mut ahead = block.run_ahead(txs, threads).into_iter();
                for (index, tx) in txs.iter().map(Borrow::borrow).enumerate() {
                    at = window + index;
                    match block.run_or_take(tx, env.gas_limit - block.gas_used, ahead.next()) {
                        Ok(()) => {}
                        Err(Failure::Skip(reason)) => skipped.push((at, tx.hash(), reason)),
                        Err(Failure::Block(e)) => return Err(e),
                    }
                }
            }
            block.close(skipped)
        }));
        run.unwrap_or_else(|panic| {
            let tx = txs.get(at).map_or(B256::ZERO, |t| t.borrow().hash());
            Err(ExecError::Panic { index: at, tx, message: panic_message(&*panic) })
        })
    }

    /// Builds a block: runs candidates in the order they come, packs by the gas they use, leaves out what cannot run.
    /// Ends when the block is full or the candidates do, so a source that knows a deadline simply ends. A candidate that
    /// makes the executor panic is put in quarantine and the block goes on without it.
    pub fn build<T: Borrow<Transaction>>(
        &self,
        env: &BlockEnv,
        candidates: impl IntoIterator<Item = T>,
        limits: BuildLimits,
        state: &dyn StateReader,
    ) -> Result<Built<T>, ExecError> {
        let mut block = RunningBlock::open(self, env, state)?;
        let mut packing = Packing::new(limits, env.gas_limit);
        let (mut included, mut dropped) = (Vec::new(), Vec::new());
        for candidate in candidates {
            if packing.full(block.gas_used) {
                break;
            }
            let tx: &Transaction = candidate.borrow();
            match packing.admit(tx).and_then(|()| block.run_guarded(tx, packing.gas - block.gas_used)) {
                Ok(()) => {
                    packing.bytes -= tx.raw().len() as u64;
                    included.push(candidate);
                }
                Err(Failure::Skip(reason)) => {
                    packing.misfit(&reason);
                    dropped.push((tx.hash(), reason));
                }
                Err(Failure::Block(e)) => return Err(e),
            }
        }
        Ok(Built { included, executed: block.close(Vec::new())?, dropped })
    }
}

/// What room a block that is being built still has.
struct Packing {
    gas: u64,
    bytes: u64,
    misfits: usize,
}

impl Packing {
    fn new(limits: BuildLimits, gas_limit: u64) -> Self {
        Self { gas: limits.max_gas.min(gas_limit), bytes: limits.max_bytes, misfits: 0 }
    }

    const fn full(&self, gas_used: u64) -> bool {
        self.gas - gas_used < TRANSFER_GAS || self.misfits >= MISFITS
    }

    fn admit(&self, tx: &Transaction) -> Result<(), Failure> {
        let size = tx.raw().len() as u64;
        if size > self.bytes {
            return Err(SkipReason::BlockBytes { size, left: self.bytes }.into());
        }
        Ok(())
    }

    const fn misfit(&mut self, reason: &SkipReason) {
        if matches!(reason, SkipReason::BlockGas { .. } | SkipReason::BlockBytes { .. }) {
            self.misfits += 1;
        }
    }
}

/// Why one transaction did not run: it alone is left out, or the whole block has failed.
pub(crate) enum Failure {
    Skip(SkipReason),
    Block(ExecError),
}

impl From<SkipReason> for Failure {
    fn from(reason: SkipReason) -> Self {
        Self::Skip(reason)
    }
}

impl From<StateError> for Failure {
    fn from(e: StateError) -> Self {
        Self::Block(e.into())
    }
}

/// A block under execution.
pub(crate) struct RunningBlock<'a> {
    executor: &'a Executor,
    env: &'a BlockEnv,
    reader: &'a dyn StateReader,
    permissions: Option<Permissions<'a>>,
    rules: TransferRules,
    evm: BlockEvm<'a>,
    receipts: Vec<Receipt>,
    gas_used: u64,
    /// A transaction's effects are being taken over: a panic now leaves the block's state torn.
    committing: bool,
}

impl<'a> RunningBlock<'a> {
    pub(crate) fn open(
        executor: &'a Executor,
        env: &'a BlockEnv,
        reader: &'a dyn StateReader,
    ) -> Result<Self, ExecError> {
        let fork = executor.spec.fork_at(env.height);
        // Those after the parent, whatever this block does to them.
        let permissions = executor.permissions(reader, Moment { height: env.height, time_s: env.timestamp_s() })?;
        let mut state = BlockState::new(reader, &executor.codes);
        store_parent_hash(env, fork, &mut state)?;
        system::store_genesis_hash(env, &mut state)?;
        let cfg = evm::config(fork, executor.spec.chain_id);
        let rules = TransferRules::new(cfg.spec, cfg.chain_id, cfg.tx_gas_limit_cap());
        let mut evm = evm::evm_over(state, env.to_revm(), cfg);
        match executor.overrides.get(&env.height) {
            // A change that was approved waits for the next block, which knows the set without the lost.
            Some(lost) => system::remove_lost(lost, &mut evm)?,
            // Its one validator stays, whoever may be impersonated; and under proof of work there are none.
            None if executor.spec.is_devnet() || executor.spec.pow().is_some() => {}
            None => system::apply_change(&executor.spec, env, reader, &mut evm)?,
        }
        Ok(Self {
            executor,
            env,
            reader,
            permissions,
            rules,
            evm,
            receipts: Vec::new(),
            gas_used: 0,
            committing: false,
        })
    }

    /// After the last transaction: whoever sealed the block is given its reward, and the changes are counted.
    fn close(mut self, skipped: Vec<(usize, B256, SkipReason)>) -> Result<Executed, ExecError> {
        let state = &mut self.evm.ctx.journaled_state.database;
        if let Some(pow) = self.executor.spec.pow().filter(|p| !p.block_reward.is_zero()) {
            give(state, self.env.beneficiary, pow.block_reward)?;
        }
        let changes = state.changes();
        Ok(Executed { receipts: self.receipts, changes, gas_used: self.gas_used, skipped })
    }

    /// Runs one transaction with at most `gas_left` gas.
    pub(crate) fn run(&mut self, tx: &Transaction, gas_left: u64) -> Result<(), Failure> {
        self.admit(tx, gas_left)?;
        if let Payload::Edit(edit) = tx.payload() {
            self.committing = true;
            development::apply(edit, &mut self.evm.ctx.journaled_state.database)?;
            self.committing = false;
            self.receipts.push(self.receipt(tx, Outcome::edit()));
            return Ok(());
        }
        let state = &mut self.evm.ctx.journaled_state.database;
        let outcome = if self.executor.fast_transfers && transfer(&self.rules, self.env, tx, state)? {
            Outcome::transfer()
        } else {
            self.run_evm(tx)?
        };
        self.gas_used += outcome.gas_used;
        self.receipts.push(self.receipt(tx, outcome));
        Ok(())
    }

    /// Runs the transactions on several threads, as if each came next; nothing where there is one thread only.
    fn run_ahead<T: Borrow<Transaction> + Sync>(&self, txs: &[T], threads: usize) -> Vec<Ahead> {
        let executor = self.executor;
        if threads < 2 || txs.len() < 2 {
            return Vec::new();
        }
        let rules = ahead::Rules {
            threads,
            codes: &executor.codes,
            block: self.env.to_revm(),
            cfg: self.evm.ctx.cfg.clone(),
            transfers: executor.fast_transfers.then_some(&self.rules),
        };
        ahead::run(&rules, &self.evm.ctx.journaled_state.database, txs)
    }

    /// As [`Self::run`], but takes over what running the transaction ahead has given, if it still holds.
    fn run_or_take(&mut self, tx: &Transaction, gas_left: u64, ahead: Option<Ahead>) -> Result<(), Failure> {
        let Some(Ahead { reads, ran }) = ahead else { return self.run(tx, gas_left) };
        let state = &mut self.evm.ctx.journaled_state.database;
        let holds = state.agrees(&reads);
        let tried = !reads.accounts.is_empty();
        state.prime(reads);
        let Some((outcome, changes)) = ran.filter(|_| holds) else {
            self.executor.again.fetch_add(u64::from(tried), Ordering::Relaxed);
            return self.run(tx, gas_left);
        };
        self.admit(tx, gas_left)?;
        let state = &mut self.evm.ctx.journaled_state.database;
        state.commit(changes)?;
        let tip = tx.payload().effective_gas_price(self.env.base_fee).map_or(0, |(_, tip)| tip);
        reward(state, self.env.beneficiary, tip, outcome.gas_used)?;
        self.executor.taken.fetch_add(1, Ordering::Relaxed);
        self.gas_used += outcome.gas_used;
        self.receipts.push(self.receipt(tx, outcome));
        Ok(())
    }

    /// As [`Self::run`], but a panic of the EVM costs only the transaction.
    fn run_guarded(&mut self, tx: &Transaction, gas_left: u64) -> Result<(), Failure> {
        let run = catch_unwind(AssertUnwindSafe(|| self.run(tx, gas_left)));
        run.unwrap_or_else(|panic| {
            let message = panic_message(&*panic);
            if self.committing {
                let index = self.receipts.len();
                return Err(Failure::Block(ExecError::Panic { index, tx: tx.hash(), message }));
            }
            self.rebuild_evm();
            Err(SkipReason::Quarantined(message).into())
        })
    }

    fn admit(&self, tx: &Transaction, gas_left: u64) -> Result<(), Failure> {
        self.check_form(tx, gas_left)?;
        let Some(permissions) = &self.permissions else { return Ok(()) };
        let state = &self.evm.ctx.journaled_state.database;
        let has_code = |a: &_| Ok(permission::code_hash_is_code(state.peek(a)?.map(|a| a.code_hash)));
        permissions.check(tx, has_code)?.map_err(|denied| SkipReason::from(Box::new(denied)).into())
    }

    fn check_form(&self, tx: &Transaction, gas_left: u64) -> Result<(), SkipReason> {
        let payload = tx.payload();
        if tx.is_unsigned() && !self.executor.spec.is_devnet() {
            return Err(SkipReason::Unsupported("nobody signed it, and this is no development network".into()));
        }
        if let Payload::Native(n) = payload {
            let height = self.env.height;
            if height < n.tx.valid_from {
                return Err(SkipReason::NotYetValid { from: n.tx.valid_from, height });
            }
            if let Some(until) = n.tx.valid_until.filter(|until| height > *until) {
                return Err(SkipReason::Expired { until, height });
            }
        }
        let limit = payload.gas_limit();
        if limit > gas_left {
            return Err(SkipReason::BlockGas { limit, left: gas_left });
        }
        Ok(())
    }

    fn run_evm(&mut self, tx: &Transaction) -> Result<Outcome, Failure> {
        // An impersonated account may well be a contract; whatever runs ahead or next is to be judged as ever.
        let tx_env = evm::tx_env(tx)?;
        self.evm.ctx.cfg.disable_eip3607 = tx.is_unsigned();
        let ran = self.evm.transact(tx_env);
        self.evm.ctx.cfg.disable_eip3607 = false;
        let ran = ran.map_err(|e| match e {
            EVMError::Transaction(e) => Failure::Skip(SkipReason::from_revm(
                e,
                tx.payload().max_fee_per_gas(),
                self.env.base_fee,
                self.env.gas_limit,
            )),
            EVMError::Database(e) => e.into(),
            other => Failure::Block(ExecError::Evm(other.to_string())),
        })?;
        self.committing = true;
        self.evm.ctx.journaled_state.database.commit(ran.state)?;
        self.committing = false;
        Ok(ran.result.into())
    }

    /// Gives away the state as it is between two transactions, with the rules to run the next one by: for a tracer, who
    /// gives it back.
    pub(crate) fn lend(&mut self) -> (BlockState<'a>, (revm::context::BlockEnv, revm::context::CfgEnv)) {
        let empty = BlockState::new(self.reader, &self.executor.codes);
        let state = std::mem::replace(&mut self.evm.ctx.journaled_state.database, empty);
        (state, (self.env.to_revm(), self.evm.ctx.cfg.clone()))
    }

    /// Takes the state back.
    pub(crate) fn give_back(&mut self, state: BlockState<'a>) {
        self.evm.ctx.journaled_state.database = state;
    }

    /// A fresh EVM over the same state: a panic may have left the old one's journal in any shape.
    fn rebuild_evm(&mut self) {
        let empty = BlockState::new(self.reader, &self.executor.codes);
        let state = std::mem::replace(&mut self.evm.ctx.journaled_state.database, empty);
        let cfg = self.evm.ctx.cfg.clone();
        self.evm = evm::evm_over(state, self.env.to_revm(), cfg);
    }

    fn receipt(&self, tx: &Transaction, outcome: Outcome) -> Receipt {
        let payload = tx.payload();
        let price = payload.effective_gas_price(self.env.base_fee).map_or(0, |(price, _)| price);
        Receipt {
            tx_hash: tx.hash(),
            tx_type: payload.tx_type(),
            success: outcome.success,
            gas_used: outcome.gas_used,
            cumulative_gas_used: self.gas_used,
            effective_gas_price: price,
            contract_address: outcome.contract_address,
            logs: outcome.logs,
            revert_data: outcome.revert_data,
        }
    }
}

/// EIP-2935: the parent's hash goes into the history contract, where genesis has put that contract. Writing the slot is
/// what the contract itself does when the system address calls it.
fn store_parent_hash(env: &BlockEnv, fork: EvmFork, state: &mut BlockState<'_>) -> Result<(), StateError> {
    let Some(parent) = env.height.prev().filter(|_| fork >= EvmFork::Prague) else { return Ok(()) };
    let deployed = state.account(HISTORY_STORAGE_ADDRESS)?.map(|a| a.code_hash);
    if deployed == Some(keccak256(&HISTORY_STORAGE_CODE)) {
        let slot = U256::from(parent.0 % HISTORY_SERVE_WINDOW as u64);
        state.put_slot(HISTORY_STORAGE_ADDRESS, slot, env.parent_hash.into())?;
    }
    Ok(())
}

/// What a panic said.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "unknown cause".into())
}
