//! Headers, certificates, blocks and validator sets.

use std::sync::Arc;

use basalt_primitives::{
    B256, Block, Bytes, CommitCertificate, CommitSignature, HashFn, Header, Height, PublicKey, Round, Seal,
    SealedBlock, Signature, Validator, ValidatorSet,
    block::{BodyError, MAX_TRANSACTION_BYTES, MAX_TRANSACTIONS, check_body},
    header::{HEADER_VERSION, MAX_TIMESTAMP_MS},
    tx::{MAX_TX_BYTES, TxError, Unverified},
    validators::CertificateError,
};
use prost::Message as _;

use crate::{
    DecodeError, codec,
    codec::{Convert, copy, minimal, required},
    pb,
    scan::Field,
    tx,
};

/// Longest header: every field at its longest is below this.
pub const MAX_HEADER_BYTES: usize = 1024;
/// Longest certificate: 64-byte signatures with index and framing.
pub const MAX_CERTIFICATE_BYTES: usize = 256 + ValidatorSet::MAX * 80;
/// Longest block: its transactions with their framing, header and parent's certificate.
pub const MAX_BLOCK_BYTES: usize =
    MAX_TRANSACTION_BYTES + 4 * MAX_TRANSACTIONS + MAX_HEADER_BYTES + MAX_CERTIFICATE_BYTES;
/// Longest block with its own certificate.
pub const MAX_CERTIFIED_BYTES: usize = MAX_BLOCK_BYTES + MAX_CERTIFICATE_BYTES + 64;

pub(crate) const CERTIFICATE_FIELDS: &[Field] = &[Field::bytes(4, "certificate signatures", ValidatorSet::MAX, 80)];
pub(crate) const BLOCK_FIELDS: &[Field] = &[
    Field::bytes(1, "header", 1, MAX_HEADER_BYTES),
    Field::message(2, "parent's certificate", 1, CERTIFICATE_FIELDS),
    Field::bytes(3, "transactions", MAX_TRANSACTIONS, MAX_TX_BYTES),
];
const CERTIFIED_FIELDS: &[Field] =
    &[Field::message(1, "block", 1, BLOCK_FIELDS), Field::message(2, "certificate", 1, CERTIFICATE_FIELDS)];

/// A block beside the certificate that makes it final: how blocks are stored and how they are synced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertifiedBlock {
    /// The block.
    pub block: Block,
    /// Its certificate; `None` for the genesis block and under proof of work.
    pub certificate: Option<CommitCertificate>,
}

/// Why a decoded block is not what it claims to be.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BlockError {
    /// One of its transactions.
    #[error("transaction {index} of block {height}: {source}")]
    Transaction {
        /// Height of the block.
        height: Height,
        /// Position of the transaction.
        index: usize,
        /// What is wrong with it.
        source: TxError,
    },
    /// The body does not belong to the header.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// There is no certificate where there must be one.
    #[error("block {0} comes without the certificate that makes it final; fetch it again from another peer")]
    Uncertified(Height),
    /// The certificate is of another block.
    #[error("the certificate of block {0} belongs to another block; fetch it again from another peer")]
    CertificateOfAnother(Height),
    /// The certificate does not prove a quorum.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// Decodes the transactions of a block and checks that the body is the one its header binds. Signatures (of
/// transactions, and of the parent's certificate) are left to the caller.
pub fn check(block: &Block, hash_fn: HashFn) -> Result<Vec<Unverified>, BlockError> {
    check_with(block, hash_fn, tx::decode)
}

/// As [`check`], for a block of a development network: it may also have the transactions that only those have.
pub fn check_on_devnet(block: &Block, hash_fn: HashFn) -> Result<Vec<Unverified>, BlockError> {
    check_with(block, hash_fn, tx::decode_on_devnet)
}

fn check_with(
    block: &Block,
    hash_fn: HashFn,
    decode: impl Fn(Bytes, u64, HashFn) -> Result<Unverified, TxError>,
) -> Result<Vec<Unverified>, BlockError> {
    let header = &block.header;
    let decode = |(index, raw): (usize, &Bytes)| {
        decode(raw.clone(), header.chain_id, hash_fn).map_err(|source| BlockError::Transaction {
            height: header.height,
            index,
            source,
        })
    };
    let txs = block.transactions.iter().enumerate().map(decode).collect::<Result<Vec<_>, _>>()?;
    let hashes: Vec<B256> = txs.iter().map(Unverified::hash).collect();
    check_body(block, hash_fn, &hashes)?;
    Ok(txs)
}

/// Checks that the certificate makes this block final: it names the block, and a quorum of `set` (the set of the block's
/// height) signed it. Cheaper than [`check`], so it comes first for blocks that strangers send. `hash` is the hash of the
/// block's header, and `genesis` that of the genesis block.
pub fn check_certificate(
    header: &Header,
    hash: B256,
    certificate: Option<&CommitCertificate>,
    set: &ValidatorSet,
    genesis: B256,
) -> Result<(), BlockError> {
    let certificate = certificate.ok_or(BlockError::Uncertified(header.height))?;
    if certificate.height != header.height || certificate.block_hash != hash {
        return Err(BlockError::CertificateOfAnother(header.height));
    }
    Ok(set.verify_certificate(genesis, certificate)?)
}

/// The encoding of a [`CertifiedBlock`] from its parts, without owning them.
#[must_use]
pub fn encode_certified(block: &Block, certificate: Option<&CommitCertificate>) -> Vec<u8> {
    pb::CertifiedBlock { block: Some(block.to_pb()), certificate: certificate.map(Convert::to_pb) }.encode_to_vec()
}

impl CertifiedBlock {
    /// Hashes the header once and shares both parts.
    #[must_use]
    pub fn seal(self, hash_fn: HashFn) -> (SealedBlock, Option<Arc<CommitCertificate>>) {
        (SealedBlock::new(self.block, hash_fn), self.certificate.map(Arc::new))
    }
}

impl Convert for Header {
    type Pb = pb::Header;
    const NAME: &'static str = "block header";
    const MAX: usize = MAX_HEADER_BYTES;
    const FIELDS: &'static [Field] = &[];

    fn to_pb(&self) -> pb::Header {
        pb::Header {
            version: self.version.into(),
            chain_id: self.chain_id,
            height: self.height.0,
            timestamp_ms: self.timestamp_ms,
            parent_hash: copy(self.parent_hash.as_slice()),
            transactions_root: copy(self.transactions_root.as_slice()),
            parent_state_root: copy(self.parent_state_root.as_slice()),
            parent_receipts_root: copy(self.parent_receipts_root.as_slice()),
            parent_gas_used: self.parent_gas_used,
            gas_limit: self.gas_limit,
            base_fee: self.base_fee,
            proposer: copy(self.proposer.as_slice()),
            first_round: self.first_round.0,
            next_validators_hash: copy(self.next_validators_hash.as_slice()),
            last_certificate_hash: copy(self.last_certificate_hash.as_slice()),
            work: match self.seal {
                Seal::None => None,
                Seal::Work { target, nonce } => Some(pb::WorkSeal { target: minimal(target), nonce }),
            },
        }
    }

    fn from_pb(h: pb::Header) -> Result<Self, DecodeError> {
        if h.version != u32::from(HEADER_VERSION) {
            return Err(DecodeError::Value {
                what: "header version",
                problem: "is not one this software reads; update it",
            });
        }
        if h.timestamp_ms > MAX_TIMESTAMP_MS {
            return Err(DecodeError::Value { what: "timestamp", problem: "is beyond the year 10889" });
        }
        let seal = match h.work {
            None => Seal::None,
            Some(w) => Seal::Work { target: codec::u256("target", &w.target)?, nonce: w.nonce },
        };
        Ok(Self {
            version: HEADER_VERSION,
            chain_id: h.chain_id,
            height: codec::height("block height", h.height)?,
            timestamp_ms: h.timestamp_ms,
            parent_hash: codec::hash("parent hash", &h.parent_hash)?,
            transactions_root: codec::hash("transactions root", &h.transactions_root)?,
            parent_state_root: codec::hash("parent's state root", &h.parent_state_root)?,
            parent_receipts_root: codec::hash("parent's receipts root", &h.parent_receipts_root)?,
            parent_gas_used: h.parent_gas_used,
            gas_limit: h.gas_limit,
            base_fee: h.base_fee,
            proposer: codec::address("proposer", &h.proposer)?,
            first_round: Round(h.first_round),
            next_validators_hash: codec::hash("next validators hash", &h.next_validators_hash)?,
            last_certificate_hash: codec::hash("last certificate hash", &h.last_certificate_hash)?,
            seal,
        })
    }
}

impl Convert for CommitCertificate {
    type Pb = pb::CommitCertificate;
    const NAME: &'static str = "commit certificate";
    const MAX: usize = MAX_CERTIFICATE_BYTES;
    const FIELDS: &'static [Field] = CERTIFICATE_FIELDS;

    fn to_pb(&self) -> pb::CommitCertificate {
        pb::CommitCertificate {
            height: self.height.0,
            round: self.round.0,
            block_hash: copy(self.block_hash.as_slice()),
            signatures: self.signatures.iter().map(signature_to_pb).collect(),
        }
    }

    fn from_pb(c: pb::CommitCertificate) -> Result<Self, DecodeError> {
        Ok(Self {
            height: codec::height("certificate height", c.height)?,
            round: Round(c.round),
            block_hash: codec::hash("block hash", &c.block_hash)?,
            signatures: c.signatures.iter().map(signature_from_pb).collect::<Result<_, _>>()?,
        })
    }
}

pub(crate) fn signature_to_pb(s: &CommitSignature) -> pb::CommitSignature {
    pb::CommitSignature { validator: s.validator.into(), signature: copy(&s.signature.0) }
}

pub(crate) fn signature_from_pb(s: &pb::CommitSignature) -> Result<CommitSignature, DecodeError> {
    let signature = Signature(codec::array("signature", &s.signature)?);
    Ok(CommitSignature { validator: validator_index(s.validator)?, signature })
}

pub(crate) fn validator_index(i: u32) -> Result<u16, DecodeError> {
    u16::try_from(i).map_err(|_| DecodeError::Value { what: "validator index", problem: "is above 65535" })
}

impl Convert for Block {
    type Pb = pb::Block;
    const NAME: &'static str = "block";
    const MAX: usize = MAX_BLOCK_BYTES;
    const FIELDS: &'static [Field] = BLOCK_FIELDS;

    fn to_pb(&self) -> pb::Block {
        pb::Block {
            header: Some(self.header.to_pb()),
            last_certificate: self.last_certificate.as_ref().map(Convert::to_pb),
            transactions: self.transactions.iter().map(|t| t.0.clone()).collect(),
        }
    }

    fn from_pb(b: pb::Block) -> Result<Self, DecodeError> {
        Ok(Self {
            header: Header::from_pb(required("block header", b.header)?)?,
            last_certificate: b.last_certificate.map(CommitCertificate::from_pb).transpose()?,
            transactions: b.transactions.into_iter().map(basalt_primitives::Bytes).collect(),
        })
    }
}

impl Convert for CertifiedBlock {
    type Pb = pb::CertifiedBlock;
    const NAME: &'static str = "block with certificate";
    const MAX: usize = MAX_CERTIFIED_BYTES;
    const FIELDS: &'static [Field] = CERTIFIED_FIELDS;

    fn to_pb(&self) -> pb::CertifiedBlock {
        pb::CertifiedBlock {
            block: Some(self.block.to_pb()),
            certificate: self.certificate.as_ref().map(Convert::to_pb),
        }
    }

    fn from_pb(c: pb::CertifiedBlock) -> Result<Self, DecodeError> {
        Ok(Self {
            block: Block::from_pb(required("block", c.block)?)?,
            certificate: c.certificate.map(CommitCertificate::from_pb).transpose()?,
        })
    }
}

impl Convert for ValidatorSet {
    type Pb = pb::ValidatorSet;
    const NAME: &'static str = "validator set";
    const MAX: usize = ValidatorSet::MAX * 64;
    const FIELDS: &'static [Field] = &[Field::bytes(1, "validators", Self::MAX, 64)];

    fn to_pb(&self) -> pb::ValidatorSet {
        let one = |v: &Validator| pb::Validator { public_key: copy(&v.public_key.0), power: v.power };
        pb::ValidatorSet { validators: self.as_slice().iter().map(one).collect() }
    }

    fn from_pb(set: pb::ValidatorSet) -> Result<Self, DecodeError> {
        let one = |v: pb::Validator| {
            Ok(Validator { public_key: PublicKey(codec::array("validator key", &v.public_key)?), power: v.power })
        };
        let validators = set.validators.into_iter().map(one).collect::<Result<Vec<_>, DecodeError>>()?;
        Ok(Self::new(validators)?)
    }
}
