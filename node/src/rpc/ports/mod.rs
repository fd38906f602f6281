//! What the RPC needs from the rest of the node, as small traits that the node implements and tests double.
//!
//! Everything here speaks of *executed* blocks: RPC calls a block `latest` once it is executed. "Transactions of a block"
//! are those that ran, in the order of their receipts; what a block carried but could not run is only in
//! [`ChainReader::skipped`].

mod calls;
mod chain;
mod consensus;
mod logs;
mod network;
mod pool;
mod trace;

use std::sync::Arc;

pub use basalt_storage::{FoundLog, LogQuery};
pub use calls::{
    CallError, CallExecutor, CallLimits, CallRequest, PlannedBlock, Scene, SimulateError, SimulatedBlock,
    SimulationPlan,
};
pub use chain::{BlockView, ChainReader, ReadError, SkippedTx, StateAt};
pub use consensus::{ConsensusInfo, ConsensusStatus, ValidatorInfo};
pub use logs::{LogSearch, SCANNED_BLOCKS, matching, may_match, scan_logs};
pub use network::{NetworkInfo, NodeInfo, PeerInfo};
pub use pool::{PoolReader, SubmitError, TxSubmitter};
pub use trace::{TraceFailure, TraceTarget, Tracer};

use crate::{dev::Devnet, miner::Miner};

/// All ports together: what the node gives the RPC server.
#[derive(Clone)]
pub struct Ports {
    /// Blocks and state.
    pub chain: Arc<dyn ChainReader>,
    /// Calls.
    pub calls: Arc<dyn CallExecutor>,
    /// Traces.
    pub tracer: Arc<dyn Tracer>,
    /// Submission.
    pub submit: Arc<dyn TxSubmitter>,
    /// Mempool.
    pub pool: Arc<dyn PoolReader>,
    /// Network.
    pub network: Arc<dyn NetworkInfo>,
    /// Consensus.
    pub consensus: Arc<dyn ConsensusInfo>,
    /// The miner, where work makes the blocks.
    pub miner: Option<Arc<Miner>>,
    /// What only development networks have.
    pub dev: Option<Arc<Devnet>>,
}
