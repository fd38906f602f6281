//! What the RPC needs from the rest of the node, as small traits that the node implements and tests double.
//!
//! Everything here speaks of *executed* blocks: RPC calls a block `latest` once it is executed. "Transactions of a block"
//! are those that ran, in the order of their receipts; what a block carried but could not run is only in
//! [`ChainReader::skipped`].

use std::sync::Arc;

use alloy_consensus::TxEnvelope;
use alloy_eips::{eip2930::AccessList, eip7702::SignedAuthorization};
use alloy_primitives::{Address, B256, Bloom, BloomInput, Bytes, U256};
use basalt_execution::{
    Accessed, BlockOverrides, StateOverrides,
    simulate::{SimulatedCall, SimulationError},
    trace::{Trace, TraceError, TraceLimits, TraceOptions, Traced},
    trie::AccountProof,
};
use basalt_primitives::{
    Header, Height, Log, Millis, PublicKey, Receipt, Round, Transaction, state::Account,
    system::evidence::Equivocation, tx::TxError,
};
pub use basalt_storage::{FoundLog, LogQuery};
use futures::future::BoxFuture;
use serde::Serialize;

use crate::{
    dev::Devnet,
    explain::Explanation,
    mempool::{PoolContent, PoolError, PoolStatus, SenderContent},
};

/// An executed block as clients see it: with its own results, not the parent's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockView {
    /// Block hash.
    pub hash: B256,
    /// The header.
    pub header: Header,
    /// State root after this block.
    pub state_root: B256,
    /// Root of the hash tree over its receipts.
    pub receipts_root: B256,
    /// Gas it used.
    pub gas_used: u64,
    /// Bloom over the logs of its receipts.
    pub bloom: Bloom,
    /// Hashes of the transactions that ran, in order.
    pub tx_hashes: Vec<B256>,
    /// Size of the block as it is stored, in bytes.
    pub size_bytes: usize,
}

impl BlockView {
    /// The block's number.
    #[must_use]
    pub const fn height(&self) -> Height {
        self.header.height
    }
}

/// Which state to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StateAt {
    /// The newest executed.
    #[default]
    Latest,
    /// After the block of this height.
    Height(Height),
}

/// Why a read failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The state of an old block is gone.
    #[error(
        "state of block {height} is not kept here; this node keeps the last {} blocks ({first} to {head}); ask an archive node",
        head.0.saturating_sub(first.0) + 1
    )]
    StateNotKept {
        /// The block asked for.
        height: Height,
        /// The oldest block whose state is kept.
        first: Height,
        /// The newest block.
        head: Height,
    },
    /// A proof would have to be made from a state that lies too far back.
    #[error(
        "no proof for block {height}: proofs are made for the newest block and those before it as long as these lie at most \
         {max_blocks} blocks back and at most {max_changes} accounts and slots have changed since; ask for a newer block"
    )]
    ProofTooOld {
        /// The block asked for.
        height: Height,
        /// Most blocks.
        max_blocks: u64,
        /// Most accounts and slots.
        max_changes: usize,
    },
    /// The ledger could not be read; details go to the log.
    #[error("the ledger could not be read; see the node's log")]
    Storage(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A transaction that a block carried and that could not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SkippedTx {
    /// Its hash.
    pub hash: B256,
    /// Its place in the block as proposed.
    pub index: u32,
    /// Why it could not run.
    pub reason: String,
}

/// Reads the executed chain and its state. Every method may block on the disk for a short time.
pub trait ChainReader: Send + Sync {
    /// The newest executed block.
    fn head(&self) -> Height;

    /// The lower of the newest finalized and the newest executed block.
    fn finalized(&self) -> Height;

    /// The height of an executed block.
    fn height_of(&self, block: &B256) -> Result<Option<Height>, ReadError>;

    /// An executed block; `None` above the head.
    fn block(&self, height: Height) -> Result<Option<Arc<BlockView>>, ReadError>;

    /// The transactions that ran, in order; `None` above the head.
    fn transactions(&self, height: Height) -> Result<Option<Vec<Transaction>>, ReadError>;

    /// One of them. Worth overriding where it can be read alone.
    fn transaction(&self, height: Height, index: u32) -> Result<Option<Transaction>, ReadError> {
        Ok(self.transactions(height)?.and_then(|mut t| {
            let index = index as usize;
            (index < t.len()).then(|| t.swap_remove(index))
        }))
    }

    /// A block with its certificate, in the encoding it is stored and sent in; `None` above the head.
    fn raw_block(&self, height: Height) -> Result<Option<Bytes>, ReadError>;

    /// The receipts, in order; `None` above the head.
    fn receipts(&self, height: Height) -> Result<Option<Vec<Receipt>>, ReadError>;

    /// The logs of the blocks `from..=to` that match, at most `limit`. Without an index of its own a reader looks at every
    /// block, and at no more than [`SCANNED_BLOCKS`].
    fn find_logs(&self, query: &LogQuery, from: Height, to: Height, limit: usize) -> Result<LogSearch, ReadError> {
        scan_logs(self, query, from, to, limit)
    }

    /// Block and index of a transaction that ran.
    fn locate(&self, tx: &B256) -> Result<Option<(Height, u32)>, ReadError>;

    /// What the block carried and could not run.
    fn skipped(&self, height: Height) -> Result<Vec<SkippedTx>, ReadError>;

    /// An account; `None` if it does not exist.
    fn account(&self, at: StateAt, address: &Address) -> Result<Option<Account>, ReadError>;

    /// A storage slot; zero if it does not exist.
    fn storage(&self, at: StateAt, address: &Address, slot: U256) -> Result<U256, ReadError>;

    /// Contract code; empty if there is none.
    fn code(&self, at: StateAt, address: &Address) -> Result<Bytes, ReadError>;

    /// Proof of an account and of slots of it against the block's state root.
    fn proof(&self, at: StateAt, address: &Address, slots: &[U256]) -> Result<AccountProof, ReadError>;
}

/// Blocks without an index that one search looks at, at most.
pub const SCANNED_BLOCKS: u64 = 10_000;

/// What a search for logs came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogSearch {
    /// These are all.
    Found(Vec<FoundLog>),
    /// More than the limit, by this height.
    TooMany(Height),
    /// The search would look at more than it may; at this height it stopped.
    TooMuchWork(Height),
    /// So many blocks of the range are from before logs were indexed: more than may be looked at one by one.
    NotIndexed(u64),
}

/// Looks at the blocks one by one; what a bloom rules out costs little.
pub fn scan_logs<R: ChainReader + ?Sized>(
    reader: &R,
    query: &LogQuery,
    from: Height,
    to: Height,
    limit: usize,
) -> Result<LogSearch, ReadError> {
    let blocks = to.0.saturating_sub(from.0).saturating_add(1);
    if blocks > SCANNED_BLOCKS {
        return Ok(LogSearch::NotIndexed(blocks));
    }
    let mut found = Vec::new();
    for height in (from.0..=to.0).map(Height) {
        let Some(view) = reader.block(height)? else { break };
        if view.bloom.is_zero() || !may_match(query, &view.bloom) {
            continue;
        }
        let receipts = reader.receipts(height)?.unwrap_or_default();
        found.extend(matching(query, &view, &receipts));
        if found.len() > limit {
            return Ok(LogSearch::TooMany(height));
        }
    }
    Ok(LogSearch::Found(found))
}

/// Whether a block with this bloom may have a log that matches.
#[must_use]
pub fn may_match(query: &LogQuery, bloom: &Bloom) -> bool {
    let has = |bytes: &[u8]| bloom.contains_input(BloomInput::Raw(bytes));
    (query.addresses.is_empty() || query.addresses.iter().any(|a| has(a.as_slice())))
        && query.topics.iter().all(|t| t.is_empty() || t.iter().any(|h| has(h.as_slice())))
}

/// The logs of a block that match.
pub fn matching<'a>(
    query: &'a LogQuery,
    view: &'a BlockView,
    receipts: &'a [Receipt],
) -> impl Iterator<Item = FoundLog> + 'a {
    let logs = (0..).zip(receipts).flat_map(|(i, r)| r.logs.iter().map(move |log| (i, r.tx_hash, log)));
    let found = |(position, (receipt, tx_hash, log)): (u32, (u32, B256, &Log))| FoundLog {
        height: view.height(),
        block_hash: view.hash,
        timestamp_ms: view.header.timestamp_ms,
        position,
        receipt,
        tx_hash,
        log: log.clone(),
    };
    (0..).zip(logs).filter(|(_, (_, _, log))| query.matches(log)).map(found)
}

/// A call that changes nothing: `eth_call` and `eth_estimateGas`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CallRequest {
    /// Sender; zero if not given.
    pub from: Address,
    /// Receiver; `None` to create a contract.
    pub to: Option<Address>,
    /// Most gas; `None`: as much as a call may have.
    pub gas: Option<u64>,
    /// Fee per gas (`gasPrice` or `maxFeePerGas`); `None`: gas is free and the base fee is not checked.
    pub max_fee_per_gas: Option<u128>,
    /// Tip per gas.
    pub max_priority_fee_per_gas: Option<u128>,
    /// Wei.
    pub value: U256,
    /// Call data or init code.
    pub input: Bytes,
    /// Nonce; `None`: the account's.
    pub nonce: Option<u64>,
    /// Addresses and slots warm from the start.
    pub access_list: AccessList,
    /// EIP-7702 authorizations.
    pub authorization_list: Vec<SignedAuthorization>,
}

/// Why a call did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The contract reverted.
    #[error("execution reverted")]
    Reverted {
        /// What it returned.
        output: Bytes,
    },
    /// It could not begin or did not end: funds, gas, an invalid instruction. The text says which, in geth's words.
    #[error("{0}")]
    Failed(String),
    /// The state.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Where a call runs, and what is to be different there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scene {
    /// The state.
    pub at: StateAt,
    /// In a block that follows, instead of in the surroundings of the one whose state it is.
    pub pending: bool,
    /// Accounts.
    pub accounts: StateOverrides,
    /// The block.
    pub block: BlockOverrides,
}

/// Executes calls on an executed state. Blocking: the RPC calls it on a thread for that.
pub trait CallExecutor: Send + Sync {
    /// Runs the call and gives back what it returns.
    fn call(&self, request: &CallRequest, scene: &Scene) -> Result<Bytes, CallError>;

    /// The least gas limit with which the call succeeds.
    fn estimate_gas(&self, request: &CallRequest, scene: &Scene) -> Result<u64, CallError>;

    /// What the call touches, and how it ends when that is told beforehand.
    fn access_list(&self, request: &CallRequest, scene: &Scene) -> Result<Accessed, CallError>;

    /// Runs imagined blocks on a state.
    fn simulate(&self, plan: &SimulationPlan, at: StateAt) -> Result<Vec<SimulatedBlock>, SimulateError>;
}

/// One block of a simulation, as it is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlannedBlock {
    /// What is to be different about the block.
    pub block: BlockOverrides,
    /// What is to be different about accounts, before its calls.
    pub accounts: StateOverrides,
    /// The calls, in order.
    pub calls: Vec<CallRequest>,
}

/// A simulation, as it is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SimulationPlan {
    /// The blocks, in order.
    pub blocks: Vec<PlannedBlock>,
    /// Check nonces, fees and senders as for real transactions.
    pub validation: bool,
    /// Add logs for movements of value.
    pub trace_transfers: bool,
}

/// An imagined block.
#[derive(Clone, Debug)]
pub struct SimulatedBlock {
    /// The block, as if it were one.
    pub view: BlockView,
    /// Its calls, each with the transaction it would be (with an empty signature).
    pub calls: Vec<(SimulatedCall, TxEnvelope)>,
}

/// Why a simulation was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// A block cannot be where it is asked for; the code is that of the execution API.
    #[error("{1}")]
    Block(i64, String),
    /// A call cannot begin.
    #[error("block {block}, {error}")]
    Call {
        /// Index of the block among those asked for.
        block: usize,
        /// The call, and why.
        error: SimulationError,
    },
    /// The state.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Which transactions of a block to trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceTarget {
    /// All of the block.
    Block(Height),
    /// One of them, by index.
    Transaction(Height, u32),
}

/// Why there is no trace.
#[derive(Debug, thiserror::Error)]
pub enum TraceFailure {
    /// Of the trace itself.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The state or the block.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Runs transactions and calls again under a tracer. Blocking, and for long.
pub trait Tracer: Send + Sync {
    /// Traces transactions of a block.
    fn trace(
        &self,
        target: TraceTarget,
        options: &TraceOptions,
        limits: TraceLimits,
    ) -> Result<Vec<Traced>, TraceFailure>;

    /// Traces a call.
    fn trace_call(
        &self,
        request: &CallRequest,
        scene: &Scene,
        options: &TraceOptions,
        limits: TraceLimits,
    ) -> Result<Trace, TraceFailure>;
}

/// Why a submitted transaction was not accepted.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum SubmitError {
    /// Not a transaction, for another chain, or not signed.
    #[error(transparent)]
    Tx(#[from] TxError),
    /// Refused by the mempool.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// The node cannot take transactions now; the text says why and what to do.
    #[error("{0}")]
    Unavailable(String),
}

/// Takes transactions in: decodes, verifies, admits, passes on to peers.
pub trait TxSubmitter: Send + Sync {
    /// Submits transactions in their canonical encoding (either format); one answer for each, in order. Awaiting the
    /// answer is the caller's backpressure.
    fn submit(&self, raw: Vec<Bytes>) -> BoxFuture<'static, Vec<Result<B256, SubmitError>>>;
}

/// Reads the mempool.
pub trait PoolReader: Send + Sync {
    /// How full it is.
    fn status(&self) -> PoolStatus;
    /// Everything.
    fn content(&self) -> PoolContent;
    /// One sender's transactions.
    fn content_of(&self, sender: &Address) -> SenderContent;
    /// A transaction.
    fn get(&self, hash: &B256) -> Option<Arc<Transaction>>;
    /// The nonce a sender's next transaction should have; `None` when nothing of the sender waits.
    fn next_nonce(&self, sender: &Address) -> Option<u64>;
    /// Wall time since when transactions that a block could take have been waiting; `None` when none wait.
    fn work_since_ms(&self) -> Option<Millis>;
}

/// One connected peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerInfo {
    /// libp2p peer id.
    pub id: String,
    /// Name and version it announced.
    pub name: String,
    /// Address it is connected by.
    pub address: String,
    /// Whether it dialled us.
    pub inbound: bool,
    /// Newest block it has announced.
    pub height: Option<Height>,
    /// Protocols it speaks.
    pub protocols: Vec<String>,
    /// The validator it is, if it has proven to be one.
    pub validator: Option<Address>,
}

/// This node in the network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeInfo {
    /// libp2p peer id.
    pub id: String,
    /// Name from the configuration.
    pub name: String,
    /// Addresses it listens on, with its peer id, as others would dial them.
    pub listen_addresses: Vec<String>,
}

/// What the network side knows.
pub trait NetworkInfo: Send + Sync {
    /// This node.
    fn node(&self) -> NodeInfo;
    /// Connected peers.
    fn peers(&self) -> Vec<PeerInfo>;
    /// How many there are.
    fn peer_count(&self) -> usize {
        self.peers().len()
    }
    /// Adds a peer to stay connected to until the node stops; the address is refused with the reason.
    fn add_peer(&self, address: &str) -> BoxFuture<'static, Result<(), String>>;
    /// Leaves a peer, named by its identity or an address that ends with it; false if it was neither listed nor connected.
    fn remove_peer(&self, peer: &str) -> BoxFuture<'static, Result<bool, String>>;
    /// While blocks are being fetched: the height at which that began, and the highest height peers claim.
    fn syncing(&self) -> Option<(Height, Height)>;
}

/// One validator, as `consensus_validators` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ValidatorInfo {
    /// Index in the set.
    pub index: u16,
    /// Account address of its key.
    pub address: Address,
    /// Its key.
    pub public_key: PublicKey,
    /// Voting power.
    pub power: u64,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Whether it is this node.
    pub is_self: bool,
    /// Whether it is connected (or is this node).
    pub online: bool,
    /// Whether its vote is in the newest certificate; `None` while there is none.
    pub in_last_certificate: Option<bool>,
    /// The newest of the last 64 certificates with its signature. A certificate carries the first quorum that answered, so
    /// a validator that is only slow may be in none.
    pub last_signed: Option<Height>,
}

/// Where consensus stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsensusStatus {
    /// Consensus family: `pbft`.
    pub engine: String,
    /// Whether this node votes.
    pub is_validator: bool,
    /// Height that is being agreed on.
    pub height: Height,
    /// Round of it.
    pub round: Round,
    /// Step: what is being waited for.
    pub step: String,
    /// Proposer of the round.
    pub proposer: Option<Address>,
    /// Newest finalized height.
    pub finalized: Height,
    /// Newest executed height.
    pub executed: Height,
    /// Milliseconds since this node last committed a block; `None` if it has not since it started.
    pub last_commit_age_ms: Option<Millis>,
    /// Voting power of a quorum.
    pub quorum: u64,
    /// Voting power of all validators.
    pub total_power: u64,
    /// Voting power that is connected, this node's included.
    pub online_power: u64,
    /// Whether the connected power is a quorum.
    pub quorum_reachable: bool,
    /// The highest height a peer has spoken of: a hint.
    pub highest_seen: Height,
    /// The round whose block this validator is locked on.
    pub locked_round: Option<Round>,
    /// Milliseconds that the round timer has run and after which it fires; `None` while it stands still.
    pub round_timer_ms: Option<(Millis, Millis)>,
    /// Validators from which the current step lacks something, by name.
    pub missing: Vec<String>,
    /// In words: what it waits for. `consensus_explain` says more.
    pub explanation: String,
}

/// What the driver knows of consensus.
pub trait ConsensusInfo: Send + Sync {
    /// Where it stands.
    fn status(&self) -> ConsensusStatus;
    /// Why there is no block, or why the last one took as long as it did.
    fn explain(&self) -> Explanation;
    /// The validators of a height; `None` when it is not known here.
    fn validators(&self, height: Option<Height>) -> Option<Vec<ValidatorInfo>>;
    /// The name of a key that is or was a validator's.
    fn validator_name(&self, key: &PublicKey) -> Option<String>;
    /// Proof of misbehaviour that this node itself has seen.
    fn evidence(&self) -> Vec<Equivocation>;
    /// Milliseconds since the node started.
    fn uptime_ms(&self) -> Millis;
}

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
    /// What only development networks have.
    pub dev: Option<Arc<Devnet>>,
}
