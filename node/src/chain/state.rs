//! Execution's ports on a snapshot of the ledger.

use basalt_execution::{StateError, StateReader, TrieReader};
use basalt_primitives::{
    Address, B256, Bytes, Height, U256,
    state::{Account, TrieKey},
};
use basalt_storage::{Reader as _, Snapshot, State, StorageError};

/// The newest state.
#[derive(Clone, Debug)]
pub struct StateView(pub Snapshot);

/// The state after any block that is kept.
#[derive(Clone, Debug)]
pub struct PastView(pub State);

fn state_error(e: StorageError) -> StateError {
    match e {
        StorageError::Corrupt { .. } => StateError::Corrupt(e.to_string()),
        StorageError::StateNotKept { height, .. } => StateError::Unavailable(height.0),
        other => StateError::Read(other.to_string()),
    }
}

impl StateReader for StateView {
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError> {
        self.0.account(address).map_err(state_error)
    }

    fn storage(&self, address: &Address, slot: U256) -> Result<U256, StateError> {
        self.0.storage(address, &slot).map_err(state_error)
    }

    fn code(&self, hash: &B256) -> Result<Option<Bytes>, StateError> {
        self.0.code(hash).map_err(state_error)
    }

    fn block_hash(&self, height: u64) -> Result<Option<B256>, StateError> {
        self.0.block_hash(Height(height)).map_err(state_error)
    }

    fn certificate_signers(&self, height: u64) -> Result<Vec<u16>, StateError> {
        certificate_signers(&self.0, self.0.head().height(), height)
    }
}

/// Who signed the certificate of a block below `newest`. There the ledger keeps the one that the next block carries, which
/// is the same on every node; that of the newest block itself is this node's own.
fn certificate_signers(ledger: &Snapshot, newest: Height, height: u64) -> Result<Vec<u16>, StateError> {
    if height >= newest.0 {
        return Err(StateError::Unavailable(height));
    }
    let certificate = ledger.certificate(Height(height)).map_err(state_error)?;
    let certificate = certificate.ok_or(StateError::Unavailable(height))?;
    Ok(certificate.signatures.iter().map(|s| s.validator).collect())
}

impl StateReader for PastView {
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError> {
        self.0.account(address).map_err(state_error)
    }

    fn storage(&self, address: &Address, slot: U256) -> Result<U256, StateError> {
        self.0.storage(address, &slot).map_err(state_error)
    }

    fn code(&self, hash: &B256) -> Result<Option<Bytes>, StateError> {
        self.0.code(hash).map_err(state_error)
    }

    fn block_hash(&self, height: u64) -> Result<Option<B256>, StateError> {
        self.0.block_hash(Height(height)).map_err(state_error)
    }

    fn certificate_signers(&self, height: u64) -> Result<Vec<u16>, StateError> {
        certificate_signers(self.0.snapshot(), self.0.height(), height)
    }
}

impl TrieReader for StateView {
    fn node(&self, key: &TrieKey) -> Result<Option<Bytes>, StateError> {
        self.0.trie_node(key).map_err(state_error)
    }
}
