//! Validator sets, quorums, and the bytes that validators sign.

use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};

use crate::{CommitCertificate, HashFn, Height, PublicKey, Round, crypto::ed25519, layout::Layout};

/// One validator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validator {
    /// Ed25519 key that signs consensus messages.
    pub public_key: PublicKey,
    /// Voting power; 1 under `pbft`, stake under `pos`.
    pub power: u64,
}

impl Validator {
    /// The account address of the validator's key.
    #[must_use]
    pub fn address(&self) -> Address {
        self.public_key.address()
    }
}

/// The validators of one height, in their agreed order.
///
/// At the two heights of a set override ([`crate::SetOverride`]) some members are declared lost. They keep their indexes, so
/// that older votes still verify, but have no power, and a quorum is all that remain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ValidatorSet {
    members: Vec<Validator>,
    /// Only in memory: who sends a set sends its members, and the override apart.
    #[serde(skip)]
    lost: Option<Lost>,
}

/// What a set override says of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Lost {
    /// Never empty, never all.
    indexes: std::collections::BTreeSet<u16>,
    /// Whether members may be locked on blocks by the set as it was before: at the first height of the override only.
    old_locks: bool,
}

/// The kinds of vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VoteKind {
    /// Second phase.
    Prepare,
    /// Third phase; a quorum of these is a [`CommitCertificate`].
    Commit,
}

impl VoteKind {
    /// Stable code in signed bytes.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Prepare => 2,
            Self::Commit => 3,
        }
    }
}

/// The bytes a validator signs for a vote. `genesis` is the genesis block's hash, so that no vote counts on two chains.
#[must_use]
pub fn vote_bytes(genesis: B256, kind: VoteKind, height: Height, round: Round, block_hash: B256) -> Layout {
    let mut l = Layout::new("basalt/vote/v1");
    l.fixed(&genesis.0).u8(kind.code()).u64(height.0).u32(round.0).fixed(&block_hash.0);
    l
}

/// Why a set of validators was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SetError {
    /// No validators.
    #[error("a validator set needs at least one validator")]
    Empty,
    /// More than [`ValidatorSet::MAX`].
    #[error("a validator set has at most {max} validators, not {0}", max = ValidatorSet::MAX)]
    TooMany(usize),
    /// The same key twice.
    #[error("validator key {0} appears twice")]
    Duplicate(PublicKey),
    /// A power of zero, or a sum beyond 2^60.
    #[error("voting power must be above zero and sum to less than 2^60")]
    Power,
}

/// Why a certificate was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CertificateError {
    /// Indexes not strictly rising, or beyond the set.
    #[error("certificate of height {0} lists validators out of order, twice, or unknown")]
    Indexes(Height),
    /// Too few signatures.
    #[error("certificate of height {height} carries power {power}, below the quorum of {quorum}")]
    BelowQuorum {
        /// Height of the certificate.
        height: Height,
        /// Power that signed.
        power: u64,
        /// Power needed.
        quorum: u64,
    },
    /// A signature that does not verify.
    #[error("certificate of height {0} carries a signature that does not verify")]
    Signature(Height),
}

impl ValidatorSet {
    /// Most validators a set can have: certificates, messages and memory are bounded by it.
    pub const MAX: usize = 256;

    /// The set of a chain on which nobody votes: proof of work.
    #[must_use]
    pub const fn none() -> Self {
        Self { members: Vec::new(), lost: None }
    }

    /// Checks and makes a set; the order is kept and agreed on.
    pub fn new(validators: Vec<Validator>) -> Result<Self, SetError> {
        if validators.is_empty() {
            return Err(SetError::Empty);
        }
        if validators.len() > Self::MAX {
            return Err(SetError::TooMany(validators.len()));
        }
        let mut seen = std::collections::BTreeSet::new();
        let mut total = 0u64;
        for v in &validators {
            if !seen.insert(v.public_key) {
                return Err(SetError::Duplicate(v.public_key));
            }
            total = total.checked_add(v.power).filter(|t| v.power > 0 && *t < 1 << 60).ok_or(SetError::Power)?;
        }
        Ok(Self { members: validators, lost: None })
    }

    /// The same members, with these keys declared lost; keys that are no members are passed over. With `old_locks`, prepared
    /// certificates by a quorum of all members, as they were before, still count.
    ///
    /// # Errors
    /// [`SetError::Empty`] if nobody remains.
    pub fn without(&self, lost: &[PublicKey], old_locks: bool) -> Result<Self, SetError> {
        let indexes: std::collections::BTreeSet<u16> = lost.iter().filter_map(|key| self.index_of(key)).collect();
        if indexes.len() == self.len() {
            return Err(SetError::Empty);
        }
        let lost = Some(Lost { indexes, old_locks }).filter(|l| !l.indexes.is_empty());
        Ok(Self { members: self.members.clone(), lost })
    }

    /// Whether some members are declared lost.
    #[must_use]
    pub const fn is_overridden(&self) -> bool {
        self.lost.is_some()
    }

    /// Whether the member at an index is declared lost.
    #[must_use]
    pub fn is_lost(&self, index: u16) -> bool {
        self.lost.as_ref().is_some_and(|lost| lost.indexes.contains(&index))
    }

    /// The members that are not declared lost, with their indexes.
    pub fn remaining(&self) -> impl Iterator<Item = (u16, &Validator)> {
        (0u16..).zip(&self.members).filter(|(index, _)| !self.is_lost(*index))
    }

    /// The power of the validator at an index: 0 for one that is unknown or declared lost.
    #[must_use]
    pub fn power_at(&self, index: u16) -> u64 {
        self.get(index).filter(|_| !self.is_lost(index)).map_or(0, |v| v.power)
    }

    /// The validators in order, lost ones too.
    #[must_use]
    pub fn as_slice(&self) -> &[Validator] {
        &self.members
    }

    /// How many validators, lost ones too.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a set is never empty")]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// The validator at an index.
    #[must_use]
    pub fn get(&self, index: u16) -> Option<&Validator> {
        self.members.get(usize::from(index))
    }

    /// The index of a key.
    #[must_use]
    pub fn index_of(&self, key: &PublicKey) -> Option<u16> {
        self.members.iter().position(|v| v.public_key == *key).map(|i| u16::try_from(i).expect("at most MAX"))
    }

    /// Sum of voting power; lost members have none.
    #[must_use]
    pub fn total_power(&self) -> u64 {
        self.remaining().map(|(_, v)| v.power).sum()
    }

    /// Most power that may be Byzantine: f = ⌊(P−1)/3⌋. None among those that remain in an override: all must agree.
    #[must_use]
    pub fn max_faulty(&self) -> u64 {
        if self.is_overridden() { 0 } else { tolerated(self.total_power()) }
    }

    /// Power of a quorum: ⌊(P+f)/2⌋+1. Any two quorums share more than f. (2f+1 is wrong for 5 equal votes.) In an override
    /// it is all that remain.
    #[must_use]
    pub fn quorum(&self) -> u64 {
        if self.is_overridden() { self.total_power() } else { quorum_of(self.total_power()) }
    }

    /// Power of the validators at these indexes, each counted once; unknown and lost ones count nothing.
    pub fn power_of(&self, indexes: impl IntoIterator<Item = u16>) -> u64 {
        let distinct: std::collections::BTreeSet<u16> = indexes.into_iter().collect();
        distinct.into_iter().map(|i| self.power_at(i)).sum()
    }

    /// Whether the validators at these indexes are enough to decide.
    pub fn is_quorum(&self, indexes: impl IntoIterator<Item = u16>) -> bool {
        self.power_of(indexes) >= self.quorum()
    }

    /// Whether votes of the validators at these indexes make a prepared certificate: a quorum; at the first height of an
    /// override also a quorum of all members by the power they had before, because who was locked then still is.
    pub fn may_prepare(&self, indexes: impl IntoIterator<Item = u16>) -> bool {
        let indexes: std::collections::BTreeSet<u16> = indexes.into_iter().collect();
        let before = |indexes: &std::collections::BTreeSet<u16>| {
            let power: u64 = indexes.iter().filter_map(|i| self.get(*i)).map(|v| v.power).sum();
            power >= quorum_of(self.members.iter().map(|v| v.power).sum())
        };
        let old_locks = self.lost.as_ref().is_some_and(|lost| lost.old_locks);
        self.is_quorum(indexes.iter().copied()) || (old_locks && before(&indexes))
    }

    /// The set's hash, carried by the header before it takes effect. Lost members are covered under a domain of its own.
    #[must_use]
    pub fn hash(&self, hash_fn: HashFn) -> B256 {
        let domain = if self.is_overridden() { "basalt/validator-set-override/v1" } else { "basalt/validator-set/v1" };
        let mut l = Layout::new(domain);
        l.len(self.members.len());
        for v in &self.members {
            l.fixed(&v.public_key.0).u64(v.power);
        }
        if let Some(lost) = &self.lost {
            l.len(lost.indexes.len());
            for index in &lost.indexes {
                l.u16(*index);
            }
        }
        hash_fn.of(&l)
    }

    /// Checks order, quorum and every signature of a certificate against this set (the set of the certificate's height).
    pub fn verify_certificate(&self, genesis: B256, cert: &CommitCertificate) -> Result<(), CertificateError> {
        self.verify_votes(genesis, VoteKind::Commit, cert)
    }

    /// As [`Self::verify_certificate`], for either kind of vote: a prepared certificate has the same shape.
    pub fn verify_votes(
        &self,
        genesis: B256,
        kind: VoteKind,
        cert: &CommitCertificate,
    ) -> Result<(), CertificateError> {
        let rising = cert.signatures.windows(2).all(|w| w[0].validator < w[1].validator);
        let known = cert.signatures.last().is_none_or(|s| usize::from(s.validator) < self.len());
        if !rising || !known {
            return Err(CertificateError::Indexes(cert.height));
        }
        let signers = || cert.signatures.iter().map(|s| s.validator);
        let enough = match kind {
            VoteKind::Commit => self.is_quorum(signers()),
            VoteKind::Prepare => self.may_prepare(signers()),
        };
        if !enough {
            let power = self.power_of(signers());
            return Err(CertificateError::BelowQuorum { height: cert.height, power, quorum: self.quorum() });
        }
        let bytes = vote_bytes(genesis, kind, cert.height, cert.round, cert.block_hash);
        let items = cert.signatures.iter().map(|s| {
            let key = self.get(s.validator).expect("checked above").public_key;
            (key, bytes.as_slice(), s.signature)
        });
        if ed25519::verify_batch(items) { Ok(()) } else { Err(CertificateError::Signature(cert.height)) }
    }
}

/// f = ⌊(P−1)/3⌋.
const fn tolerated(total: u64) -> u64 {
    total.saturating_sub(1) / 3
}

/// q = ⌊(P+f)/2⌋+1.
const fn quorum_of(total: u64) -> u64 {
    (total + tolerated(total)) / 2 + 1
}
