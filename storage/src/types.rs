//! What goes into the ledger with a block, and what comes out.

use std::sync::Arc;

use basalt_primitives::{
    B256, CommitCertificate, Height, Millis, Receipt, SealedBlock, U256,
    state::{StateChanges, TrieUpdates},
};

/// What executing a block led to: the three values the next header carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// State root after the block.
    pub state_root: B256,
    /// Root of the hash tree over its receipts.
    pub receipts_root: B256,
    /// Gas it used.
    pub gas_used: u64,
}

/// Under proof of work: what follows from the headers of a chain up to and with a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainWork {
    /// Expected number of hashes in all its seals.
    pub total: U256,
    /// The highest timestamp: what contracts see, since headers' times may go back.
    pub time_ms: Millis,
}

/// A block's line in the ledger's table of outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The block hash.
    pub hash: B256,
    /// What executing it led to.
    pub outcome: Outcome,
    /// Transactions executed since genesis, this block's included.
    pub total_transactions: u64,
    /// Work of its chain, where blocks have a seal.
    pub work: Option<ChainWork>,
}

/// The newest block of the ledger.
#[derive(Clone, Debug)]
pub struct Head {
    /// The block.
    pub block: SealedBlock,
    /// The certificate that finalized it; `None` for the genesis block, and where nobody votes.
    pub certificate: Option<Arc<CommitCertificate>>,
    /// What executing it led to.
    pub outcome: Outcome,
    /// Transactions executed since genesis.
    pub total_transactions: u64,
    /// Work of its chain, where blocks have a seal.
    pub work: Option<ChainWork>,
}

impl Head {
    /// The height.
    #[must_use]
    pub fn height(&self) -> Height {
        self.block.height()
    }

    /// The block hash.
    #[must_use]
    pub const fn hash(&self) -> B256 {
        self.block.hash()
    }
}

/// Where an executed transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxLocation {
    /// Height of its block.
    pub height: Height,
    /// Position among the block's transactions, skipped ones included.
    pub index: u32,
    /// Position among the block's executed transactions, which is that of its receipt and what `eth_` calls its index.
    pub receipt: u32,
}

/// An ordered transaction that could not run: it has no receipt, paid nothing and counted no nonce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Position among the block's transactions.
    pub index: u32,
    /// Its hash.
    pub tx_hash: B256,
    /// Why, for people; cut after 65,535 bytes.
    pub reason: String,
}

/// A finalized and executed block with all that must become durable with it.
#[derive(Clone, Copy, Debug)]
pub struct BlockCommit<'a> {
    /// The block.
    pub block: &'a SealedBlock,
    /// The certificate that finalizes it; `None` exactly where blocks have a seal.
    pub certificate: Option<&'a CommitCertificate>,
    /// Work of its chain; `None` where blocks have no seal.
    pub work: Option<ChainWork>,
    /// Hashes of its transactions, in order.
    pub tx_hashes: &'a [B256],
    /// Receipts of the executed ones, in order.
    pub receipts: &'a [Receipt],
    /// The ones that could not run, by rising position.
    pub skipped: &'a [Skipped],
    /// What it changed.
    pub changes: &'a StateChanges,
    /// Trie nodes it changed; every stale node is named, those of wiped storage tries too.
    pub trie: &'a TrieUpdates,
    /// What executing it led to.
    pub outcome: Outcome,
}

/// The state before the first block.
#[derive(Clone, Debug, Default)]
pub struct GenesisState {
    /// Accounts, slots and code.
    pub changes: StateChanges,
    /// Nodes of the tries over them.
    pub trie: TrieUpdates,
    /// Their root.
    pub root: B256,
}
