//! What makes a block the valid child of another. Proposer and validator use the same function: the proposer to make the
//! header, the validator to make it again from the fields the proposer was free to choose, and compare.

use std::sync::Arc;

use basalt_primitives::{
    Address, B256, ChainSpec, Header, Height, Millis, Round, Seal, SealedBlock, ValidatorSet,
    header::HEADER_VERSION,
    tx::{self, Transaction, TxError},
    validators::CertificateError,
};
use basalt_storage::Head;

/// The fields of a header that its proposer chooses.
#[derive(Clone, Copy, Debug)]
pub struct Chosen {
    /// Block time.
    pub timestamp_ms: Millis,
    /// Who proposed it first.
    pub proposer: Address,
    /// In which round.
    pub first_round: Round,
    /// What is in it.
    pub transactions_root: B256,
    /// Which quorum of the parent it carries.
    pub last_certificate_hash: B256,
}

/// Why a block is not a valid child. Each is evidence against its proposer, but for [`BlockError::Early`].
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// Not the child of our head.
    #[error("block {height} does not follow our head {head}")]
    NotNext {
        /// Height of the block.
        height: Height,
        /// Our head.
        head: Height,
    },
    /// A field that follows from the parent has another value.
    #[error("header field `{0}` does not follow from the parent")]
    Field(&'static str),
    /// Not later than the parent.
    #[error("timestamp {timestamp_ms} is not above the parent's {parent_ms}")]
    Timestamp {
        /// The block's.
        timestamp_ms: Millis,
        /// The parent's.
        parent_ms: Millis,
    },
    /// Ahead of our clock.
    #[error("timestamp is {ahead_ms} ms ahead of this clock; check clock synchronisation if this repeats")]
    Early {
        /// How much.
        ahead_ms: Millis,
    },
    /// The proposer is no validator.
    #[error("proposer {0} is not a validator")]
    Proposer(Address),
    /// The parent's certificate is missing, unexpected or of another block.
    #[error("the parent's commit certificate is {0}")]
    CertificateMissing(&'static str),
    /// It does not verify.
    #[error("the parent's {0}")]
    Certificate(#[from] CertificateError),
    /// The body is not what the header says, or cannot be decoded.
    #[error(transparent)]
    Body(#[from] basalt_proto::block::BlockError),
    /// Too many bytes.
    #[error("{bytes} bytes of transactions are above the limit of {limit}")]
    TooLarge {
        /// What it has.
        bytes: u64,
        /// What is allowed.
        limit: u64,
    },
    /// A transaction in it is invalid, as was found before.
    #[error("{0}")]
    InvalidBody(String),
    /// A transaction that is not signed by its sender.
    #[error("transaction {index}: {error}")]
    Transaction {
        /// Its position.
        index: usize,
        /// Why.
        error: TxError,
    },
}

/// The header that follows from a parent and what the proposer chose. `next_validators` is the hash of the set for the
/// height after the block's, from the state after the parent.
#[must_use]
pub fn next_header(spec: &ChainSpec, parent: &Head, next_validators: B256, chosen: Chosen) -> Header {
    let p = parent.block.header();
    Header {
        version: HEADER_VERSION,
        chain_id: spec.chain_id,
        height: p.height.next(),
        timestamp_ms: chosen.timestamp_ms,
        parent_hash: parent.hash(),
        transactions_root: chosen.transactions_root,
        parent_state_root: parent.outcome.state_root,
        parent_receipts_root: parent.outcome.receipts_root,
        parent_gas_used: parent.outcome.gas_used,
        gas_limit: spec.gas_limit,
        base_fee: spec.next_base_fee(p.height, p.base_fee, parent.outcome.gas_used, p.gas_limit),
        proposer: chosen.proposer,
        first_round: chosen.first_round,
        next_validators_hash: next_validators,
        last_certificate_hash: chosen.last_certificate_hash,
        seal: Seal::None,
    }
}

/// The validator sets around a block.
#[derive(Clone, Copy, Debug)]
pub struct Sets<'a> {
    /// Signed the parent.
    pub parent: &'a ValidatorSet,
    /// Votes on the block.
    pub this: &'a ValidatorSet,
    /// Votes on its child, as a header announces it.
    pub next: &'a ValidatorSet,
}

/// Checks header, parent certificate and body of a block against its parent, without its transactions' signatures. `wall` is this node's clock; `None` for blocks that are
/// already certified, whose time a quorum has judged.
pub fn check_block(
    spec: &ChainSpec,
    genesis: B256,
    parent: &Head,
    sets: Sets<'_>,
    block: &SealedBlock,
    wall: Option<Millis>,
) -> Result<(), BlockError> {
    let h = block.header();
    if h.height != parent.height().next() || h.parent_hash != parent.hash() {
        return Err(BlockError::NotNext { height: h.height, head: parent.height() });
    }
    let parent_ms = parent.block.header().timestamp_ms;
    if h.timestamp_ms <= parent_ms {
        return Err(BlockError::Timestamp { timestamp_ms: h.timestamp_ms, parent_ms });
    }
    if !sets.this.as_slice().iter().any(|v| v.address() == h.proposer) {
        return Err(BlockError::Proposer(h.proposer));
    }
    check_header_follows(spec, parent, sets.next.hash(spec.hash_fn), h)?;
    check_parent_certificate(genesis, parent, sets.parent, block)?;
    let bytes: u64 = block.block().transactions.iter().map(|t| t.len() as u64).sum();
    if bytes > spec.max_block_bytes {
        return Err(BlockError::TooLarge { bytes, limit: spec.max_block_bytes });
    }
    // Last, so that nothing else is wrong with a block that is only early.
    match wall.map(|wall| h.timestamp_ms.saturating_sub(wall + spec.bft().clock_tolerance_ms)) {
        Some(ahead_ms) if ahead_ms > 0 => Err(BlockError::Early { ahead_ms }),
        _ => Ok(()),
    }
}

/// Checks header and body of a block whose work the engine has checked, and its time with it, against its parent; without its
/// transactions' signatures.
pub fn check_sealed_block(
    spec: &ChainSpec,
    parent: &Head,
    next_set: B256,
    block: &SealedBlock,
) -> Result<(), BlockError> {
    let h = block.header();
    if h.height != parent.height().next() || h.parent_hash != parent.hash() {
        return Err(BlockError::NotNext { height: h.height, head: parent.height() });
    }
    if h.seal == Seal::None {
        return Err(BlockError::Field("seal"));
    }
    if h.first_round != Round::ZERO {
        return Err(BlockError::Field("first round"));
    }
    if block.block().last_certificate.is_some() || !h.last_certificate_hash.is_zero() {
        return Err(BlockError::CertificateMissing("there, but nobody votes"));
    }
    check_header_follows(spec, parent, next_set, &Header { seal: Seal::None, ..h.clone() })?;
    let bytes: u64 = block.block().transactions.iter().map(|t| t.len() as u64).sum();
    if bytes > spec.max_block_bytes {
        return Err(BlockError::TooLarge { bytes, limit: spec.max_block_bytes });
    }
    Ok(())
}

fn check_header_follows(spec: &ChainSpec, parent: &Head, next_set: B256, h: &Header) -> Result<(), BlockError> {
    let chosen = Chosen {
        timestamp_ms: h.timestamp_ms,
        proposer: h.proposer,
        first_round: h.first_round,
        transactions_root: h.transactions_root,
        last_certificate_hash: h.last_certificate_hash,
    };
    let want = next_header(spec, parent, next_set, chosen);
    let fields = [
        ("version", want.version == h.version),
        ("chain id", want.chain_id == h.chain_id),
        ("state root of the parent", want.parent_state_root == h.parent_state_root),
        ("receipts root of the parent", want.parent_receipts_root == h.parent_receipts_root),
        ("gas used of the parent", want.parent_gas_used == h.parent_gas_used),
        ("gas limit", want.gas_limit == h.gas_limit),
        ("base fee", want.base_fee == h.base_fee),
        ("next validator set", want.next_validators_hash == h.next_validators_hash),
        ("seal", want.seal == h.seal),
    ];
    match fields.into_iter().find(|(_, same)| !same) {
        Some((name, _)) => Err(BlockError::Field(name)),
        None => {
            debug_assert_eq!(want, *h, "every field is compared");
            Ok(())
        }
    }
}

fn check_parent_certificate(
    genesis: B256,
    parent: &Head,
    parent_set: &ValidatorSet,
    block: &SealedBlock,
) -> Result<(), BlockError> {
    match (&block.block().last_certificate, parent.height()) {
        (None, Height::GENESIS) => Ok(()),
        (Some(_), Height::GENESIS) => Err(BlockError::CertificateMissing("there, but genesis has none")),
        (None, _) => Err(BlockError::CertificateMissing("missing")),
        (Some(c), _) if c.block_hash != parent.hash() || c.height != parent.height() => {
            Err(BlockError::CertificateMissing("of another block"))
        }
        // The very certificate we hold was verified when it came.
        (Some(c), _) if parent.certificate.as_deref() == Some(c) => Ok(()),
        (Some(c), _) => Ok(parent_set.verify_certificate(genesis, c)?),
    }
}

/// Decodes a block's transactions and checks that they are what the header says, then their signatures; `known` gives
/// transactions already verified, by hash, so that each is verified once.
pub fn check_transactions(
    spec: &ChainSpec,
    block: &SealedBlock,
    known: impl Fn(&B256) -> Option<Arc<Transaction>>,
) -> Result<Vec<Arc<Transaction>>, BlockError> {
    let check = if spec.is_devnet() { basalt_proto::block::check_on_devnet } else { basalt_proto::block::check };
    let decoded = check(block.block(), spec.hash_fn)?;
    let mut verified: Vec<Option<Arc<Transaction>>> =
        decoded.iter().map(|t| known(&t.hash()).filter(|k| k.raw() == t.raw())).collect();
    let (missing, unknown): (Vec<usize>, Vec<_>) =
        decoded.into_iter().enumerate().filter(|(i, _)| verified[*i].is_none()).unzip();
    for (index, result) in missing.into_iter().zip(tx::verify_all(unknown)) {
        let tx = result.map_err(|error| BlockError::Transaction { index, error })?;
        verified[index] = Some(Arc::new(tx));
    }
    Ok(verified.into_iter().flatten().collect())
}
