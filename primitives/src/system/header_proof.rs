//! A header and the certificate that makes it final, as the precompile [`super::HEADER_VERIFY`] takes them: for bridges
//! and light clients in contracts.
//!
//! Whoever asks brings the validator set, and gets back the hash of it to compare with the one it trusts: the header of a
//! height carries the hash of the next height's set, so trust goes from header to header. Everything is read strictly:
//! one proof has one encoding.

use alloy_primitives::{Address, B256, U256};

use crate::{
    CommitCertificate, CommitSignature, HashFn, Header, Height, PublicKey, Round, Seal, Signature, Validator,
    ValidatorSet,
};

/// Format of the encoding.
const VERSION: u8 = 1;
/// Domain of a header's layout.
const HEADER_DOMAIN: &str = "basalt/header/v1";

/// A header with its certificate and the set that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderProof {
    /// The chain's hash function.
    pub hash_fn: HashFn,
    /// Hash of the chain's genesis block.
    pub genesis: B256,
    /// The header; without a seal, as BFT headers are.
    pub header: Header,
    /// Round in which it was committed.
    pub round: Round,
    /// The validators of its height, in their order. Not those of a set override: that is for operators to judge.
    pub set: ValidatorSet,
    /// Commit votes by rising index.
    pub signatures: Vec<CommitSignature>,
}

/// What a sound proof proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proven {
    /// Hash of the header.
    pub block_hash: B256,
    /// Hash of the set in the proof: the caller must know it from elsewhere.
    pub set_hash: B256,
}

impl HeaderProof {
    /// The proof of a block by its certificate.
    #[must_use]
    pub fn new(
        hash_fn: HashFn,
        genesis: B256,
        header: Header,
        set: ValidatorSet,
        certificate: &CommitCertificate,
    ) -> Self {
        let signatures = certificate.signatures.clone();
        Self { hash_fn, genesis, header, round: certificate.round, set, signatures }
    }

    /// The encoding: version 1, hash function 1, genesis 32, round 4, header length 2 and layout, number of validators 2
    /// and for each key 32 and power 8, number of signatures 2 and for each index 2 and signature 64. All big-endian.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let header = self.header.layout();
        let short = |n: usize| u16::try_from(n).expect("headers and sets are small").to_be_bytes();
        let mut out = vec![VERSION, self.hash_fn.code()];
        out.extend_from_slice(self.genesis.as_slice());
        out.extend_from_slice(&self.round.0.to_be_bytes());
        out.extend_from_slice(&short(header.as_slice().len()));
        out.extend_from_slice(header.as_slice());
        out.extend_from_slice(&short(self.set.len()));
        for v in self.set.as_slice() {
            out.extend_from_slice(&v.public_key.0);
            out.extend_from_slice(&v.power.to_be_bytes());
        }
        out.extend_from_slice(&short(self.signatures.len()));
        for s in &self.signatures {
            out.extend_from_slice(&s.validator.to_be_bytes());
            out.extend_from_slice(&s.signature.0);
        }
        out
    }

    /// Reads an encoding; `None` for anything that is not exactly one.
    #[must_use]
    pub fn decode(input: &[u8]) -> Option<Self> {
        let mut r = Reader(input);
        if r.u8()? != VERSION {
            return None;
        }
        let hash_fn = hash_fn(r.u8()?)?;
        let (genesis, round) = (r.hash()?, Round(r.u32()?));
        let length = usize::from(r.u16()?);
        let header = header(r.take(length)?)?;
        let set = r.set()?;
        let signatures = r.signatures(set.len())?;
        r.0.is_empty().then_some(Self { hash_fn, genesis, header, round, set, signatures })
    }

    /// Checks quorum and signatures.
    #[must_use]
    pub fn verify(&self) -> Option<Proven> {
        let block_hash = self.header.hash(self.hash_fn);
        let (height, signatures) = (self.header.height, self.signatures.clone());
        let certificate = CommitCertificate { height, round: self.round, block_hash, signatures };
        self.set.verify_certificate(self.genesis, &certificate).ok()?;
        Some(Proven { block_hash, set_hash: self.set.hash(self.hash_fn) })
    }
}

impl Proven {
    /// What the precompile answers: 14 words, as `abi.decode` reads them. Block hash, hash of the set in the proof, chain
    /// id, height, time in milliseconds, parent's hash, transactions root; state root, receipts root and gas used of the
    /// parent; gas limit, base fee, proposer, hash of the next height's set.
    #[must_use]
    pub fn words(&self, header: &Header) -> [B256; 14] {
        let number = |n: u64| B256::from(U256::from(n));
        [
            self.block_hash,
            self.set_hash,
            number(header.chain_id),
            number(header.height.0),
            number(header.timestamp_ms),
            header.parent_hash,
            header.transactions_root,
            header.parent_state_root,
            header.parent_receipts_root,
            number(header.parent_gas_used),
            number(header.gas_limit),
            number(header.base_fee),
            header.proposer.into_word(),
            header.next_validators_hash,
        ]
    }
}

fn hash_fn(code: u8) -> Option<HashFn> {
    [HashFn::Sha256, HashFn::Keccak256, HashFn::Blake3].into_iter().find(|f| f.code() == code)
}

/// A header from its layout. What does not lay out to the same bytes again is none.
fn header(layout: &[u8]) -> Option<Header> {
    let mut r = Reader(layout);
    let domain = r.u32()?;
    if usize::try_from(domain) != Ok(HEADER_DOMAIN.len()) || r.take(HEADER_DOMAIN.len())? != HEADER_DOMAIN.as_bytes() {
        return None;
    }
    let header = Header {
        version: r.u16()?,
        chain_id: r.u64()?,
        height: Height(r.u64()?),
        timestamp_ms: r.u64()?,
        parent_hash: r.hash()?,
        transactions_root: r.hash()?,
        parent_state_root: r.hash()?,
        parent_receipts_root: r.hash()?,
        parent_gas_used: r.u64()?,
        gas_limit: r.u64()?,
        base_fee: r.u64()?,
        proposer: Address::from(*r.array::<20>()?),
        first_round: Round(r.u32()?),
        next_validators_hash: r.hash()?,
        last_certificate_hash: r.hash()?,
        seal: Seal::None,
    };
    let known = header.version == crate::header::HEADER_VERSION;
    (known && r.u8()? == 0 && r.0.is_empty() && header.layout().as_slice() == layout).then_some(header)
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(head)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(|b| u8::from_be_bytes(*b))
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(|b| u16::from_be_bytes(*b))
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(|b| u32::from_be_bytes(*b))
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(|b| u64::from_be_bytes(*b))
    }

    fn hash(&mut self) -> Option<B256> {
        self.array::<32>().map(B256::from)
    }

    fn set(&mut self) -> Option<ValidatorSet> {
        let count = usize::from(self.u16()?);
        if count > ValidatorSet::MAX {
            return None;
        }
        let one = |r: &mut Self| Some(Validator { public_key: PublicKey(*r.array()?), power: r.u64()? });
        ValidatorSet::new((0..count).map(|_| one(self)).collect::<Option<_>>()?).ok()
    }

    fn signatures(&mut self, most: usize) -> Option<Vec<CommitSignature>> {
        let count = usize::from(self.u16()?);
        if count > most {
            return None;
        }
        let one = |r: &mut Self| Some(CommitSignature { validator: r.u16()?, signature: Signature(*r.array()?) });
        (0..count).map(|_| one(self)).collect()
    }
}
