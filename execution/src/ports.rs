//! The ports execution reads through. Storage (or an in-memory overlay) implements them; execution knows neither.

use alloy_primitives::{Address, B256, Bytes, U256};
use basalt_primitives::state::{Account, TrieKey};

/// Why state could not be read. Always fatal for the block at hand: a node that cannot read its state must not guess.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum StateError {
    /// The store failed.
    #[error("cannot read the state: {0}; check the disk and the node's log, then restart")]
    Read(String),
    /// The store answered with something that cannot be.
    #[error("the stored state is damaged: {0}; run `basalt scrub` or restore a backup")]
    Corrupt(String),
    /// An account names code that is not stored.
    #[error("the stored state is damaged: no code for hash {0}; run `basalt scrub` or restore a backup")]
    MissingCode(B256),
    /// The state of that block is no longer (or not yet) kept.
    #[error("the state of block {0} is not available on this node; ask an archive node")]
    Unavailable(u64),
}

impl revm::database_interface::DBErrorMarker for StateError {}

/// Reads flat state as it was after some block.
pub trait StateReader: Sync {
    /// The account, or `None` when it does not exist.
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError>;

    /// The value of a storage slot, zero when it was never set.
    fn storage(&self, address: &Address, slot: U256) -> Result<U256, StateError>;

    /// Contract code by its hash.
    fn code(&self, hash: &B256) -> Result<Option<Bytes>, StateError>;

    /// The hash of an earlier block of this chain.
    fn block_hash(&self, height: u64) -> Result<Option<B256>, StateError>;

    /// Indexes, in the validator set of that height, of those whose signatures are in the certificate of an earlier block
    /// as the block after it carries it. Asked for only in blocks that decide about a change of the validator set, and
    /// never for the parent. A reader that cannot tell must fail: to answer nothing would lead to another state.
    fn certificate_signers(&self, height: u64) -> Result<Vec<u16>, StateError> {
        Err(StateError::Unavailable(height))
    }
}

/// Reads persisted trie nodes by where they hang.
pub trait TrieReader {
    /// The node's encoding, or `None` when there is none at that place.
    fn node(&self, key: &TrieKey) -> Result<Option<Bytes>, StateError>;
}
