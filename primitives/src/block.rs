//! A block: header, transactions, and the certificate of its parent.

use std::sync::Arc;

use alloy_primitives::{B256, Bytes};

use crate::{CommitCertificate, HashFn, Header, Height, Seal, merkle};

/// Most transactions of one block, whatever their size: decoders are bounded by it, so proposers must keep to it.
/// The largest block (16 MiB) would need transactions of 128 bytes to reach it.
pub const MAX_TRANSACTIONS: usize = 1 << 17;

/// Most bytes of one block's transactions on any chain; `maxBlockBytes` of a chain is at most this.
pub const MAX_TRANSACTION_BYTES: usize = 16 * 1024 * 1024;

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

/// Why a body does not belong to its header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// More transactions than any block may have.
    #[error("block {height} has {count} transactions, more than the limit of {MAX_TRANSACTIONS}")]
    TooManyTransactions {
        /// Height of the block.
        height: Height,
        /// How many it has.
        count: usize,
    },
    /// The transactions are not those of the header.
    #[error("block {0} does not match its transactions root; fetch it again from another peer")]
    TransactionsRoot(Height),
    /// There is no certificate of the parent although there must be one.
    #[error("block {0} lacks the commit certificate of its parent; fetch it again from another peer")]
    MissingCertificate(Height),
    /// A certificate of the parent where there must be none.
    #[error(
        "block {0} carries a commit certificate of its parent where none belongs; fetch it again from another peer"
    )]
    UnexpectedCertificate(Height),
    /// The certificate is not the one the header names.
    #[error("block {0} does not match its certificate hash; fetch it again from another peer")]
    CertificateHash(Height),
    /// The certificate is of another block than the parent.
    #[error("block {0} carries a certificate of another block than its parent; fetch it again from another peer")]
    CertificateOfAnother(Height),
}

/// Checks that the body is the one the header binds: the transactions by their root, the parent's certificate by its
/// hash. `tx_hashes` are the hashes of `block.transactions` in order, which the caller has decoded (and whose encoding
/// it has found canonical). Whether the certificate's signatures verify is for the validator set to say.
pub fn check_body(block: &Block, hash_fn: HashFn, tx_hashes: &[B256]) -> Result<(), BodyError> {
    let (header, height) = (&block.header, block.header.height);
    let count = block.transactions.len();
    if count > MAX_TRANSACTIONS {
        return Err(BodyError::TooManyTransactions { height, count });
    }
    assert_eq!(tx_hashes.len(), count, "the caller hashes every transaction of the block");
    if transactions_root(hash_fn, tx_hashes) != header.transactions_root {
        return Err(BodyError::TransactionsRoot(height));
    }
    check_last_certificate(block, hash_fn)
}

/// The first block with a certified parent is block 2: the genesis block needs no votes. Proof of work has no votes.
fn check_last_certificate(block: &Block, hash_fn: HashFn) -> Result<(), BodyError> {
    let (header, height) = (&block.header, block.header.height);
    let wanted = header.seal == Seal::None && height.0 >= 2;
    match &block.last_certificate {
        None if wanted => Err(BodyError::MissingCertificate(height)),
        None if header.last_certificate_hash.is_zero() => Ok(()),
        None => Err(BodyError::CertificateHash(height)),
        Some(_) if !wanted => Err(BodyError::UnexpectedCertificate(height)),
        Some(c) if c.hash(hash_fn) != header.last_certificate_hash => Err(BodyError::CertificateHash(height)),
        Some(c) if Some(c.height) != height.prev() || c.block_hash != header.parent_hash => {
            Err(BodyError::CertificateOfAnother(height))
        }
        Some(_) => Ok(()),
    }
}
