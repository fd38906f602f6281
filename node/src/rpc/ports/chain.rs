//! Executed blocks and their states.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bloom, Bytes, U256};
use basalt_execution::trie::AccountProof;
use basalt_primitives::{Header, Height, Receipt, Transaction, chainspec::EvmFork, state::Account};
use basalt_storage::LogQuery;
use serde::Serialize;

use super::logs::{LogSearch, scan_logs};

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
    /// Size of the block in bytes, without its own certificate.
    pub size_bytes: usize,
    /// The EVM rules it ran under.
    pub fork: EvmFork,
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

    /// The newest block that is not taken back unless assumptions break: the finalized one where blocks are final when they come.
    fn safe(&self) -> Height {
        self.finalized()
    }

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
    /// block, and at no more than [`SCANNED_BLOCKS`](super::SCANNED_BLOCKS).
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
