//! Makes blocks: takes executable transactions from the mempool, executes them while packing, and seals the header.

use std::sync::Arc;

use basalt_consensus::BuildRequest;
use basalt_execution::{BuildLimits, ExecError, Executed};
use basalt_primitives::{
    Address, B256, Block, ChainSpec, CommitCertificate, Header, Millis, SealedBlock, Transaction,
    block::{MAX_TRANSACTIONS, transactions_root},
};
use basalt_storage::Head;

use crate::{
    chain::{Chain, StateView},
    driver::rules::{Chosen, next_header},
    mempool::SharedPool,
};

/// Takes the proposer's part for one validator.
#[derive(Clone, Copy, Debug)]
pub struct Proposer {
    /// The validator's address: proposer of the blocks, receiver of the tips.
    pub address: Address,
}

/// A block with what executing it did.
#[derive(Debug)]
pub struct Built {
    /// The block.
    pub block: SealedBlock,
    /// Its transactions.
    pub transactions: Vec<Arc<Transaction>>,
    /// What they did.
    pub executed: Executed,
}

/// The base fee of the block after `head`.
#[must_use]
pub fn next_base_fee(spec: &ChainSpec, head: &Head) -> u64 {
    let h = head.block.header();
    spec.next_base_fee(h.height, h.base_fee, head.outcome.gas_used, h.gas_limit)
}

impl Proposer {
    /// Builds a block on `head`, at `wall_ms` by this node's clock. Transactions that can never run are taken out of the pool.
    pub fn build(
        &self,
        chain: &Chain,
        pool: &SharedPool,
        head: &Arc<Head>,
        request: &BuildRequest,
        wall_ms: Millis,
    ) -> Result<Built, ExecError> {
        let spec = &chain.spec;
        let chosen = Chosen {
            timestamp_ms: wall_ms.max(request.min_timestamp_ms),
            proposer: self.address,
            first_round: request.round,
            transactions_root: B256::ZERO,
            last_certificate_hash: request.last_certificate.as_ref().map_or(B256::ZERO, |c| c.hash(spec.hash_fn)),
        };
        let next_set =
            chain.sets.announced(request.height.next()).expect("known two above an executed block").hash(spec.hash_fn);
        let header = next_header(spec, head, next_set, chosen);
        let candidates = candidates(pool, &header, spec);
        seal(chain, pool, header, request.last_certificate.clone(), candidates)
    }
}

/// Executes what of the candidates fits on the newest state, and seals the block under the header, whose transactions root
/// is made here.
pub(crate) fn seal(
    chain: &Chain,
    pool: &SharedPool,
    mut header: Header,
    last_certificate: Option<CommitCertificate>,
    candidates: Vec<Arc<Transaction>>,
) -> Result<Built, ExecError> {
    let spec = &chain.spec;
    let state = StateView(chain.ledger.snapshot());
    let env = chain.env_on(&state.0.head(), &header);
    let limits = BuildLimits { max_gas: header.gas_limit, max_bytes: spec.max_block_bytes };
    let built = chain.executor.build(&env, candidates, limits, &state)?;
    forget_impossible(pool, &built.dropped);
    let hashes: Vec<B256> = built.included.iter().map(|t| t.hash()).collect();
    header.transactions_root = transactions_root(spec.hash_fn, &hashes);
    let transactions = built.included.iter().map(|t| t.raw().clone()).collect();
    let block = SealedBlock::new(Block { header, last_certificate, transactions }, spec.hash_fn);
    Ok(Built { block, transactions: built.included, executed: built.executed })
}

/// Executable transactions, best first, no more than could fit; taken at once so that the pool is not held while they run.
pub(crate) fn candidates(pool: &SharedPool, header: &Header, spec: &ChainSpec) -> Vec<Arc<Transaction>> {
    let pool = pool.lock();
    let (mut bytes, mut gas) = (0u64, 0u64);
    pool.ready(header.base_fee, header.height)
        .take_while(|tx| {
            // Gas is counted at its least, 21,000: what transactions really use shows when they run.
            bytes += tx.raw().len() as u64;
            gas += 21_000;
            bytes <= spec.max_block_bytes && gas <= header.gas_limit
        })
        .take(MAX_TRANSACTIONS)
        .cloned()
        .collect()
}

fn forget_impossible(pool: &SharedPool, dropped: &[(B256, basalt_execution::SkipReason)]) {
    let mut pool = pool.lock();
    for (hash, reason) in dropped.iter().filter(|(_, reason)| !reason.may_run_later()) {
        tracing::info!(tx = %hash, "dropped from the mempool: {reason}");
        pool.remove(hash, &reason.to_string());
    }
}
