//! Drives revm: configuration per fork, translation of transactions and results.

use alloy_consensus::Transaction as _;
use alloy_primitives::{Address, Bytes, TxKind};
use basalt_primitives::{Log, Receipt, Transaction, chainspec::EvmFork, tx::Payload};
use revm::{
    Context, MainBuilder, MainnetEvm,
    context::{BlockEnv as RevmBlock, CfgEnv, Journal, TxEnv},
    context_interface::{
        either::Either,
        result::{ExecutionResult, Output},
        transaction::TransactionType,
    },
};

use crate::{block_state::BlockState, deadline::Watch, env::spec_id, precompiles::precompiles, skip::SkipReason};

/// The EVM over a block's state.
pub(crate) type BlockEvm<'a, I = ()> = MainnetEvm<BlockContext<'a>, I>;

/// What an EVM over a block's state knows.
pub(crate) type BlockContext<'a> = Context<RevmBlock, TxEnv, CfgEnv, BlockState<'a>, Journal<BlockState<'a>>, Watch>;

/// revm's configuration of a fork on this chain.
pub(crate) fn config(fork: EvmFork, chain_id: u64) -> CfgEnv {
    CfgEnv::new().with_spec_and_mainnet_gas_params(spec_id(fork)).with_chain_id(chain_id).enable_tx_chain_id_check()
}

/// Builds an EVM over a state.
pub(crate) fn evm_over<'a>(state: BlockState<'a>, block: RevmBlock, cfg: CfgEnv) -> BlockEvm<'a> {
    watched(state, block, cfg, ())
}

/// Builds an EVM that tells an inspector what it does.
pub(crate) fn watched<'a, I>(state: BlockState<'a>, block: RevmBlock, cfg: CfgEnv, inspector: I) -> BlockEvm<'a, I> {
    let mut ctx: BlockContext<'a> = Context::new(state, cfg.spec);
    ctx.block = block;
    let precompiles = precompiles(cfg.spec);
    ctx.cfg = cfg;
    let mut evm = ctx.build_mainnet_with_inspector(inspector);
    evm.precompiles = precompiles;
    evm
}

/// A transaction as revm wants it. A native one follows the rules of EIP-1559.
pub(crate) fn tx_env(tx: &Transaction) -> Result<TxEnv, SkipReason> {
    let payload = tx.payload();
    if matches!(payload, Payload::Edit(_)) {
        return Err(SkipReason::Unsupported("an edit of the state does not run in the EVM".into()));
    }
    let mut env = TxEnv {
        tx_type: TransactionType::Eip1559 as u8,
        caller: tx.sender(),
        gas_limit: payload.gas_limit(),
        gas_price: payload.max_fee_per_gas(),
        gas_priority_fee: Some(payload.max_priority_fee_per_gas()),
        kind: payload.to().map_or(TxKind::Create, TxKind::Call),
        value: payload.value(),
        data: payload.input().clone(),
        nonce: payload.nonce(),
        chain_id: payload.chain_id(),
        access_list: Default::default(),
        blob_hashes: Vec::new(),
        max_fee_per_blob_gas: 0,
        authorization_list: Vec::new(),
    };
    if let Payload::Ethereum(e) = payload {
        if e.is_eip4844() {
            return Err(SkipReason::Unsupported("blob transactions (EIP-4844) do not exist on this chain".into()));
        }
        env.tx_type = e.tx_type() as u8;
        env.gas_priority_fee = e.max_priority_fee_per_gas();
        env.access_list = e.access_list().cloned().unwrap_or_default();
        env.authorization_list = e.authorization_list().unwrap_or_default().iter().cloned().map(Either::Left).collect();
    }
    Ok(env)
}

/// What of a transaction's result goes into its receipt.
pub(crate) struct Outcome {
    pub(crate) success: bool,
    pub(crate) gas_used: u64,
    pub(crate) contract_address: Option<Address>,
    pub(crate) logs: Vec<Log>,
    pub(crate) revert_data: Bytes,
}

impl From<ExecutionResult> for Outcome {
    fn from(result: ExecutionResult) -> Self {
        let gas_used = result.gas().tx_gas_used();
        let failed =
            |revert_data| Self { success: false, gas_used, contract_address: None, logs: Vec::new(), revert_data };
        match result {
            ExecutionResult::Success { logs, output, .. } => Self {
                success: true,
                gas_used,
                contract_address: match output {
                    Output::Create(_, address) => address,
                    Output::Call(_) => None,
                },
                logs: logs.into_iter().map(log).collect(),
                revert_data: Bytes::new(),
            },
            ExecutionResult::Revert { output, .. } => {
                failed(Bytes::copy_from_slice(&output[..output.len().min(Receipt::MAX_OUTPUT)]))
            }
            ExecutionResult::Halt { .. } => failed(Bytes::new()),
        }
    }
}

/// revm's log as ours.
pub(crate) fn log(log: alloy_primitives::Log) -> Log {
    let (topics, data) = log.data.split();
    Log { address: log.address, topics, data }
}

impl Outcome {
    /// What a plain transfer leads to.
    pub(crate) const fn transfer() -> Self {
        Self::success(crate::transfer::TRANSFER_GAS)
    }

    /// What an edit of the state leads to.
    pub(crate) const fn edit() -> Self {
        Self::success(0)
    }

    const fn success(gas_used: u64) -> Self {
        Self { success: true, gas_used, contract_address: None, logs: Vec::new(), revert_data: Bytes::new() }
    }
}
