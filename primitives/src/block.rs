//! A block: header, transactions, and the certificate of its parent.

use std::sync::Arc;

use alloy_primitives::{B256, Bytes};

use crate::{CommitCertificate, HashFn, Header, Height, merkle};

/// A block as it travels and as it is stored. Transactions are kept in their canonical encoding
/// (see [`crate::tx::Transaction::decode`]) so that they are decoded once and never encoded again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The header; its hash is the block's.
    pub header: Header,
    /// The commit certificate of the parent, bound by `header.last_certificate_hash`. `None` in blocks 0 and 1.
    pub last_certificate: Option<CommitCertificate>,
    /// Transactions in order, each in its canonical encoding.
    pub transactions: Vec<Bytes>,
}

/// A block with its hash, computed once, shared without copying.
#[derive(Clone, Debug)]
pub struct SealedBlock {
    hash: B256,
    block: Arc<Block>,
}

impl SealedBlock {
    /// Computes the hash and seals the block.
    #[must_use]
    pub fn new(block: Block, hash_fn: HashFn) -> Self {
        Self { hash: block.header.hash(hash_fn), block: Arc::new(block) }
    }

    /// The block hash.
    #[must_use]
    pub const fn hash(&self) -> B256 {
        self.hash
    }

    /// The block's height.
    #[must_use]
    pub fn height(&self) -> Height {
        self.block.header.height
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.block.header
    }

    /// The whole block.
    #[must_use]
    pub fn block(&self) -> &Block {
        &self.block
    }
}

impl PartialEq for SealedBlock {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl Eq for SealedBlock {}

/// Root of the hash tree over transaction hashes.
#[must_use]
pub fn transactions_root(hash_fn: HashFn, hashes: &[B256]) -> B256 {
    merkle::root(hash_fn, hashes)
}
