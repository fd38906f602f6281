//! `eth_simulateV1`: imagined blocks on a state, with headers as real ones would have them.

use alloy_consensus::{SignableTransaction as _, TxEip1559, TxEip2930, TxEip7702, TxEnvelope, TxLegacy};
use alloy_primitives::{Bloom, Signature, TxKind};
use basalt_execution::{
    BlockEnv, CallError, Deadline, StateError, StateTrie, TrieReader,
    call::{CallEnd, CallRequest as Request},
    simulate::{SimulatedCall, Simulation, SimulationRules},
};
use basalt_primitives::{
    B256, Bytes, Header, Height, Receipt, U256,
    block::transactions_root,
    header::{HEADER_VERSION, Seal},
    receipt::receipts_root,
    state::TrieKey,
};

use super::{Chain, StateView, calls::exec_request};
use crate::rpc::ports::{BlockView, CallRequest, PlannedBlock, SimulateError, SimulatedBlock, SimulationPlan, StateAt};

/// Most blocks of a simulation, those in between included.
const MAX_BLOCKS: u64 = 256;
/// A simulation may use so many blocks' worth of gas in all.
const GAS_BLOCKS: u64 = 2;

/// Codes of the execution API.
const BLOCK_NUMBERS: i64 = -38020;
const BLOCK_TIMES: i64 = -38021;
const TOO_MANY_BLOCKS: i64 = -38026;

impl Chain {
    pub(super) fn run_simulation(
        &self,
        plan: &SimulationPlan,
        at: StateAt,
    ) -> Result<Vec<SimulatedBlock>, SimulateError> {
        let state = self.state_at(at)?;
        let mut last = self.env_after(&state)?;
        // Before the first imagined block: the block whose state it is.
        let base = self.env_of(&state)?;
        last.height = base.height;
        last.timestamp_ms = base.timestamp_ms;
        let blocks = with_gaps(&plan.blocks, base.height)?;
        let rules = SimulationRules { validation: plan.validation, trace_transfers: plan.trace_transfers };
        let gas = plan.limits.cap(base.gas_limit.saturating_mul(GAS_BLOCKS));
        let mut run = Run {
            chain: self,
            simulation: Simulation::new(&self.executor, &state, rules, gas),
            // Only the newest state has its trie at hand.
            trie: (state.0.height() == state.0.snapshot().head().height())
                .then(|| StateView(state.0.snapshot().clone())),
            last,
            most_gas: base.gas_limit,
            validation: plan.validation,
            deadline: plan.limits.deadline,
        };
        blocks.iter().map(|(index, block)| run.block(*index, block)).collect()
    }
}

/// The blocks asked for, with empty ones in between where numbers jump; each with its index in the plan.
fn with_gaps(planned: &[PlannedBlock], base: Height) -> Result<Vec<(usize, PlannedBlock)>, SimulateError> {
    let mut blocks = Vec::new();
    let mut last = base.0;
    for (index, block) in planned.iter().enumerate() {
        let number = block.block.number.unwrap_or(last.saturating_add(1));
        if number <= last {
            let text = format!("block numbers must be in order: {number} <= {last}");
            return Err(SimulateError::Block(BLOCK_NUMBERS, text));
        }
        if number - base.0 > MAX_BLOCKS {
            let text = format!("too many blocks: the limit is {MAX_BLOCKS}");
            return Err(SimulateError::Block(TOO_MANY_BLOCKS, text));
        }
        for between in last + 1..number {
            let mut empty = PlannedBlock::default();
            empty.block.number = Some(between);
            blocks.push((index, empty));
        }
        let mut block = block.clone();
        block.block.number = Some(number);
        blocks.push((index, block));
        last = number;
    }
    Ok(blocks)
}

struct Run<'a> {
    chain: &'a Chain,
    simulation: Simulation<'a>,
    trie: Option<StateView>,
    /// The block before: its surroundings, except that hashes and base fee are already those of its child.
    last: BlockEnv,
    most_gas: u64,
    validation: bool,
    deadline: Option<Deadline>,
}

impl Run<'_> {
    fn block(&mut self, index: usize, planned: &PlannedBlock) -> Result<SimulatedBlock, SimulateError> {
        self.in_time()?;
        let env = self.env(planned)?;
        let request = |c| Request { deadline: self.deadline, ..exec_request(c) };
        let calls = planned.calls.iter().map(|c| (request(c), c.nonce)).collect();
        let ran = self.simulation.block(&env, &planned.accounts, calls);
        let calls = ran.map_err(|failed| match failed.error {
            CallError::Timeout(ms) => SimulateError::Timeout(ms),
            _ => SimulateError::Call { block: index, error: failed },
        })?;
        let calls: Vec<_> = calls.into_iter().map(|c| self.with_tx(c)).collect();
        let receipts = receipts(&calls, &env);
        let state_root = self.state_root()?;
        let view = self.view(&env, &calls, &receipts, state_root);
        self.simulation.put_hash(env.height.0, view.hash);
        let base_fee = if self.validation {
            self.chain.spec.next_base_fee(env.height, env.base_fee, view.gas_used, env.gas_limit)
        } else {
            env.base_fee
        };
        self.last = BlockEnv { base_fee, parent_hash: view.hash, prev_randao: view.hash, ..env };
        Ok(SimulatedBlock { view, calls })
    }

    fn env(&self, planned: &PlannedBlock) -> Result<BlockEnv, SimulateError> {
        let mut env = BlockEnv { timestamp_ms: self.last.timestamp_ms + 1000, ..self.last.clone() };
        if !self.validation {
            env.base_fee = 0;
        }
        planned.block.apply(&mut env);
        env.gas_limit = env.gas_limit.min(self.most_gas);
        if env.timestamp_s() <= self.last.timestamp_s() {
            let text =
                format!("block timestamps must be in order: {} <= {}", env.timestamp_s(), self.last.timestamp_s());
            return Err(SimulateError::Block(BLOCK_TIMES, text));
        }
        Ok(env)
    }

    fn with_tx(&self, call: SimulatedCall) -> (SimulatedCall, TxEnvelope) {
        let tx = unsigned(&call.request, call.nonce, self.chain.spec.chain_id);
        (call, tx)
    }

    fn view(
        &self,
        env: &BlockEnv,
        calls: &[(SimulatedCall, TxEnvelope)],
        receipts: &[Receipt],
        state_root: B256,
    ) -> BlockView {
        let hash_fn = self.chain.spec.hash_fn;
        let tx_hashes: Vec<B256> = calls.iter().map(|(_, tx)| *tx.tx_hash()).collect();
        let header = Header {
            version: HEADER_VERSION,
            chain_id: self.chain.spec.chain_id,
            height: env.height,
            timestamp_ms: env.timestamp_ms,
            parent_hash: self.last.parent_hash,
            transactions_root: transactions_root(hash_fn, &tx_hashes),
            parent_state_root: B256::ZERO,
            parent_receipts_root: B256::ZERO,
            parent_gas_used: 0,
            gas_limit: env.gas_limit,
            base_fee: env.base_fee,
            proposer: env.beneficiary,
            first_round: Default::default(),
            next_validators_hash: B256::ZERO,
            last_certificate_hash: B256::ZERO,
            seal: Seal::None,
        };
        BlockView {
            hash: header.hash(hash_fn),
            header,
            state_root,
            receipts_root: receipts_root(hash_fn, receipts),
            gas_used: receipts.last().map_or(0, |r| r.cumulative_gas_used),
            bloom: receipts.iter().fold(Bloom::ZERO, |all, r| all | r.bloom()),
            tx_hashes,
            size_bytes: 0,
            fork: self.chain.spec.fork_at(env.height),
        }
    }

    /// The root after what was imagined so far; zero where the trie of the state is not kept.
    fn state_root(&mut self) -> Result<B256, SimulateError> {
        let Some(trie) = &self.trie else { return Ok(B256::ZERO) };
        let root = trie.0.head().outcome.state_root;
        let changes = self.simulation.changes();
        let reader = Timed { trie, deadline: self.deadline };
        let applied = StateTrie::open(root, 0).apply(&changes, &reader as &dyn TrieReader);
        self.in_time()?;
        Ok(applied.map_or_else(
            |e| {
                tracing::error!("the state root of a simulation could not be made: {e}");
                B256::ZERO
            },
            |batch| batch.root,
        ))
    }

    fn in_time(&self) -> Result<(), SimulateError> {
        match self.deadline {
            Some(deadline) if deadline.passed() => Err(SimulateError::Timeout(deadline.limit_ms())),
            _ => Ok(()),
        }
    }
}

/// Trie nodes, as long as there is time: to read them is what a root takes.
struct Timed<'a> {
    trie: &'a StateView,
    deadline: Option<Deadline>,
}

impl TrieReader for Timed<'_> {
    fn node(&self, key: &TrieKey) -> Result<Option<Bytes>, StateError> {
        if self.deadline.is_some_and(|d| d.passed()) {
            return Err(StateError::Read("the simulation's time is over".into()));
        }
        self.trie.node(key)
    }
}

fn receipts(calls: &[(SimulatedCall, TxEnvelope)], env: &BlockEnv) -> Vec<Receipt> {
    let mut cumulative_gas_used = 0;
    let receipt = |(call, tx): &(SimulatedCall, TxEnvelope)| {
        cumulative_gas_used += call.outcome.gas_used;
        Receipt {
            tx_hash: *tx.tx_hash(),
            tx_type: tx.tx_type() as u8,
            success: call.outcome.end == CallEnd::Success,
            gas_used: call.outcome.gas_used,
            cumulative_gas_used,
            effective_gas_price: call.request.gas_price.unwrap_or(env.base_fee.into()),
            contract_address: call.created,
            logs: call.outcome.logs.clone(),
            revert_data: Bytes::new(),
        }
    };
    calls.iter().map(receipt).collect()
}

/// The transaction that a call would be, with a signature of zeros.
pub(crate) fn unsigned_tx(call: &CallRequest, nonce: u64, chain_id: u64) -> TxEnvelope {
    unsigned(&exec_request(call), nonce, chain_id)
}

fn unsigned(r: &Request, nonce: u64, chain_id: u64) -> TxEnvelope {
    let signature = Signature::new(U256::ZERO, U256::ZERO, false);
    let to = r.to.map_or(TxKind::Create, TxKind::Call);
    let gas_limit = r.gas.unwrap_or_default();
    let (value, input, access_list) = (r.value, r.input.clone(), r.access_list.clone());
    let fee = r.gas_price.unwrap_or_default();
    match (r.to, r.max_priority_fee_per_gas) {
        (Some(to), tip) if !r.authorizations.is_empty() => TxEip7702 {
            chain_id,
            nonce,
            gas_limit,
            max_fee_per_gas: fee,
            max_priority_fee_per_gas: tip.unwrap_or_default(),
            to,
            value,
            access_list,
            authorization_list: r.authorizations.clone(),
            input,
        }
        .into_signed(signature)
        .into(),
        (_, None) if r.gas_price.is_some() && access_list.is_empty() => {
            TxLegacy { chain_id: Some(chain_id), nonce, gas_price: fee, gas_limit, to, value, input }
                .into_signed(signature)
                .into()
        }
        (_, None) if r.gas_price.is_some() => {
            TxEip2930 { chain_id, nonce, gas_price: fee, gas_limit, to, value, access_list, input }
                .into_signed(signature)
                .into()
        }
        (_, tip) => TxEip1559 {
            chain_id,
            nonce,
            gas_limit,
            max_fee_per_gas: fee,
            max_priority_fee_per_gas: tip.unwrap_or_default(),
            to,
            value,
            access_list,
            input,
        }
        .into_signed(signature)
        .into(),
    }
}
