//! What validators say to each other, and how it is signed.
//!
//! In: decoded messages of peers. Out: messages whose shape ([`SignedMessage::check`]) and signatures ([`SignedMessage::verify`])
//! hold, which is all the engine ever sees. Bodies of blocks are checked against their headers by the driver.

use crate::mutation::Mutation;
use basalt_primitives::{
    B256, CommitCertificate, CommitSignature, Height, PublicKey, Round, SealedBlock, Signature, ValidatorSet,
    crypto::ed25519,
    layout::Layout,
    validators::{VoteKind, vote_bytes},
};

/// A quorum of prepare votes for one block in one round: what a commit vote rests on, and what a round change must carry
/// over. The height is that of the message or record around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedCertificate {
    /// Round of the votes.
    pub round: Round,
    /// The block.
    pub block_hash: B256,
    /// Prepare signatures by rising validator index, each index at most once.
    pub signatures: Vec<CommitSignature>,
}

impl PreparedCertificate {
    /// Round and block, without the proof.
    #[must_use]
    pub const fn claim(&self) -> PreparedClaim {
        PreparedClaim { round: self.round, block_hash: self.block_hash }
    }
}

/// Rounds from here on are refused: no chain gets there, and so no liar can drive a validator to the end of the numbers.
pub const MAX_ROUND: Round = Round(1 << 31);

/// What a round change says was prepared. Signed; the certificate that proves it travels beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreparedClaim {
    /// Round in which it was prepared.
    pub round: Round,
    /// The block.
    pub block_hash: B256,
}

/// First phase (pre-prepare): the block of a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Height.
    pub height: Height,
    /// Round.
    pub round: Round,
    /// The block; when re-proposed, verbatim.
    pub block: SealedBlock,
    /// Round changes of a quorum to this round, by rising validator index. Empty in round 0.
    pub justification: Vec<SignedRoundChange>,
    /// Proof of the highest claim in the justification; `None` if nobody claims any.
    pub prepared: Option<PreparedCertificate>,
}

/// A vote of the second or third phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vote {
    /// Height.
    pub height: Height,
    /// Round.
    pub round: Round,
    /// The block voted for.
    pub block_hash: B256,
}

/// The wish to leave all rounds below `round`, and the promise never to vote in them again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoundChange {
    /// Height.
    pub height: Height,
    /// Round to go to.
    pub round: Round,
    /// The highest certificate the sender has recorded at this height. Its claim is signed, its signatures prove themselves.
    pub prepared: Option<PreparedCertificate>,
}

/// A round change as it stands in a justification: the signed part only. One certificate in the proposal proves the
/// highest claim, so a proposal grows with n, not with n².
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedRoundChange {
    /// Index of the signer.
    pub from: u16,
    /// What it claims was prepared.
    pub prepared: Option<PreparedClaim>,
    /// Signature over the round change of the proposal's height and round.
    pub signature: Signature,
}

/// A wiped validator asks what it may have signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignStateRequest {
    /// The height the asker is at (newest executed + 1).
    pub height: Height,
    /// The asker's key; the signer's.
    pub key: PublicKey,
    /// Random number of this start, so that old answers do not count.
    pub nonce: u64,
}

/// A validator that has its sign record answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignState {
    /// The height the answerer is at.
    pub height: Height,
    /// The asker's key.
    pub asker: PublicKey,
    /// The asker's number.
    pub nonce: u64,
    /// The answerer's round at that height.
    pub round: Round,
    /// Its recorded certificate at that height.
    pub prepared: Option<PreparedCertificate>,
}

/// What validators say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// First phase.
    Proposal(Proposal),
    /// Second phase: this block is valid, and the only one prepared in this round.
    Prepare(Vote),
    /// Third phase: a quorum has prepared this block in this round, and that is on this validator's disk.
    Commit(Vote),
    /// To a later round.
    RoundChange(RoundChange),
    /// Help for a validator that is behind: this height is decided.
    Decided(CommitCertificate),
    /// From a validator without sign record.
    SignStateRequest(SignStateRequest),
    /// To a validator without sign record.
    SignState(SignState),
}

impl Message {
    /// The height it is about; its signer is an index in the validator set of this height.
    #[must_use]
    pub const fn height(&self) -> Height {
        match self {
            Self::Proposal(m) => m.height,
            Self::Prepare(m) | Self::Commit(m) => m.height,
            Self::RoundChange(m) => m.height,
            Self::Decided(m) => m.height,
            Self::SignStateRequest(m) => m.height,
            Self::SignState(m) => m.height,
        }
    }

    /// The round it is about; 0 for a question for sign states.
    #[must_use]
    pub const fn round(&self) -> Round {
        match self {
            Self::Proposal(m) => m.round,
            Self::Prepare(m) | Self::Commit(m) => m.round,
            Self::RoundChange(m) => m.round,
            Self::Decided(m) => m.round,
            Self::SignStateRequest(_) => Round::ZERO,
            Self::SignState(m) => m.round,
        }
    }

    /// The proposal, if it is one.
    #[must_use]
    pub const fn proposal(&self) -> Option<&Proposal> {
        match self {
            Self::Proposal(m) => Some(m),
            _ => None,
        }
    }

    /// Stable name, for logs and metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Proposal(_) => "proposal",
            Self::Prepare(_) => "prepare",
            Self::Commit(_) => "commit",
            Self::RoundChange(_) => "round_change",
            Self::Decided(_) => "decided",
            Self::SignStateRequest(_) => "sign_state_request",
            Self::SignState(_) => "sign_state",
        }
    }

    /// The bytes a validator signs. `genesis` is the genesis block's hash. What proves itself (blocks by their hash,
    /// certificates and justifications by their signatures) is signed by reference only.
    #[must_use]
    pub fn signing_layout(&self, genesis: B256) -> Layout {
        let domain = |name: &str, height: Height| {
            let mut l = Layout::new(name);
            l.fixed(&genesis.0).u64(height.0);
            l
        };
        match self {
            Self::Proposal(m) => {
                let mut l = domain("basalt/proposal/v1", m.height);
                l.u32(m.round.0).fixed(&m.block.hash().0);
                l
            }
            Self::Prepare(m) => vote_bytes(genesis, VoteKind::Prepare, m.height, m.round, m.block_hash),
            Self::Commit(m) => vote_bytes(genesis, VoteKind::Commit, m.height, m.round, m.block_hash),
            Self::RoundChange(m) => {
                round_change_layout(genesis, m.height, m.round, m.prepared.as_ref().map(PreparedCertificate::claim))
            }
            Self::Decided(m) => {
                let mut l = domain("basalt/decided/v1", m.height);
                l.u32(m.round.0).fixed(&m.block_hash.0);
                l
            }
            Self::SignStateRequest(m) => {
                let mut l = domain("basalt/sign-state-request/v1", m.height);
                l.fixed(&m.key.0).u64(m.nonce);
                l
            }
            Self::SignState(m) => {
                let mut l = domain("basalt/sign-state/v1", m.height);
                l.fixed(&m.asker.0).u64(m.nonce).u32(m.round.0);
                claim_layout(&mut l, m.prepared.as_ref().map(PreparedCertificate::claim));
                l
            }
        }
    }
}

fn round_change_layout(genesis: B256, height: Height, round: Round, prepared: Option<PreparedClaim>) -> Layout {
    let mut l = Layout::new("basalt/round-change/v1");
    l.fixed(&genesis.0).u64(height.0).u32(round.0);
    claim_layout(&mut l, prepared);
    l
}

fn claim_layout(l: &mut Layout, prepared: Option<PreparedClaim>) {
    l.option(prepared, |l, p| {
        l.u32(p.round.0).fixed(&p.block_hash.0);
    });
}

/// A message with its signer and signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedMessage {
    /// Index of the signer in the validator set of the message's height.
    pub from: u16,
    /// What it says.
    pub message: Message,
    /// Signature over [`Message::signing_layout`].
    pub signature: Signature,
}

/// Why a message was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Signer not in the set.
    #[error("message is signed by validator {0}, which the set of its height does not have")]
    UnknownSigner(u16),
    /// Signer declared lost by a set override: whoever has that key now has no say.
    #[error("message is signed by validator {0}, which was declared lost")]
    LostSigner(u16),
    /// A list of signatures not strictly rising by index, or naming unknown validators.
    #[error("{0} of the message lists validators out of order, twice, or unknown")]
    Indexes(&'static str),
    /// A list of signatures below the quorum.
    #[error("{0} of the message carries less power than a quorum")]
    BelowQuorum(&'static str),
    /// Parts that contradict each other.
    #[error("{0}")]
    Inconsistent(&'static str),
    /// A signature that does not verify.
    #[error("message of validator {0} carries a signature that does not verify")]
    Signature(u16),
}

impl SignedMessage {
    /// Checks everything but signatures: bounds first, then shape, quorums and consistency. Cheap; no message that fails
    /// may cost a signature check. The engine repeats it for what it relies on.
    pub fn check(&self, set: &ValidatorSet) -> Result<(), MessageError> {
        if set.get(self.from).is_none() {
            return Err(MessageError::UnknownSigner(self.from));
        }
        if set.is_lost(self.from) {
            return Err(MessageError::LostSigner(self.from));
        }
        require(self.message.round() < MAX_ROUND, "a message's round must be below 2^31")?;
        match &self.message {
            Message::Prepare(_) | Message::Commit(_) => Ok(()),
            Message::Proposal(m) => m.check(set, self.from),
            Message::RoundChange(m) => {
                check_prepared(set, m.prepared.as_ref())?;
                let later = m.prepared.as_ref().is_none_or(|p| p.round < m.round);
                require(
                    later && m.round > Round::ZERO,
                    "a round change must go above round 0 and above what it carries",
                )
            }
            Message::Decided(_) if Mutation::CertificateUnchecked.on() => Ok(()),
            Message::Decided(m) => check_quorum(set, "certificate", m.signatures.iter().map(|s| s.validator)),
            Message::SignStateRequest(m) => {
                let own = set.get(self.from).is_some_and(|v| v.public_key == m.key);
                require(own, "a sign state request must name its signer's key")
            }
            Message::SignState(m) => {
                check_prepared(set, m.prepared.as_ref())?;
                let reached = m.prepared.as_ref().is_none_or(|p| p.round <= m.round);
                require(reached, "a sign state must not carry a certificate above its round")
            }
        }
    }

    /// Checks the message against the validator set of its height: shape, the signer's signature and every inner one, all
    /// signatures in one batch. Block bodies are the caller's to check against their headers.
    pub fn verify(&self, set: &ValidatorSet, genesis: B256) -> Result<(), MessageError> {
        self.verify_with(set, genesis, |items| {
            ed25519::verify_batch(items.iter().map(|(key, bytes, signature)| (*key, bytes.as_slice(), *signature)))
        })
    }

    /// As [`Self::verify`], with another way to check signatures (the simulator's).
    pub fn verify_with(
        &self,
        set: &ValidatorSet,
        genesis: B256,
        check: impl FnOnce(&[(PublicKey, Layout, Signature)]) -> bool,
    ) -> Result<(), MessageError> {
        self.check(set)?;
        if check(&self.signatures(set, genesis)) { Ok(()) } else { Err(MessageError::Signature(self.from)) }
    }

    /// Every signature in the message with its key and bytes. The indexes are checked.
    fn signatures(&self, set: &ValidatorSet, genesis: B256) -> Vec<(PublicKey, Layout, Signature)> {
        let key = |index: u16| set.get(index).expect("indexes are checked").public_key;
        let mut items = vec![(key(self.from), self.message.signing_layout(genesis), self.signature)];
        let height = self.message.height();
        let mut votes = |kind, round, hash, signatures: &[CommitSignature]| {
            let bytes = vote_bytes(genesis, kind, height, round, hash);
            items.extend(signatures.iter().map(|s| (key(s.validator), bytes.clone(), s.signature)));
        };
        let prepared = match &self.message {
            Message::Proposal(m) => m.prepared.as_ref(),
            Message::RoundChange(m) => m.prepared.as_ref(),
            Message::SignState(m) => m.prepared.as_ref(),
            Message::Decided(_) if Mutation::CertificateSignaturesUnchecked.on() => None,
            Message::Decided(m) => {
                votes(VoteKind::Commit, m.round, m.block_hash, &m.signatures);
                None
            }
            Message::Prepare(_) | Message::Commit(_) | Message::SignStateRequest(_) => None,
        };
        if let Some(p) = prepared {
            votes(VoteKind::Prepare, p.round, p.block_hash, &p.signatures);
        }
        if let Message::Proposal(m) = &self.message {
            items.extend(
                m.justification.iter().map(|rc| {
                    (key(rc.from), round_change_layout(genesis, m.height, m.round, rc.prepared), rc.signature)
                }),
            );
        }
        items
    }
}

impl Proposal {
    /// The justification rule: round 0 needs none; above, a quorum of round changes to exactly this round, and the block of
    /// the highest claim among them, proven by the certificate; with no claim the block is new in this round and its
    /// sender's. So a prepared block tells the truth about who first proposed it and when: some honest validator has
    /// prepared it as new, and that only in the round, and from the proposer, that its header names.
    fn check(&self, set: &ValidatorSet, from: u16) -> Result<(), MessageError> {
        require(self.block.height() == self.height, "a proposal's block must have its height")?;
        if Mutation::JustificationUnchecked.on() {
            return Ok(());
        }
        if self.round == Round::ZERO {
            let bare = self.justification.is_empty() && self.prepared.is_none();
            require(bare, "a proposal in round 0 must carry no justification")?;
        } else {
            check_quorum(set, "justification", self.justification.iter().map(|rc| rc.from))?;
            // Whoever holds a key that was declared lost may not claim anything either.
            let lost = self.justification.iter().find(|rc| set.is_lost(rc.from));
            lost.map_or(Ok(()), |rc| Err(MessageError::LostSigner(rc.from)))?;
        }
        let highest = self.justification.iter().filter_map(|rc| rc.prepared).max_by_key(|p| p.round);
        let first_round = self.block.header().first_round;
        let Some(claim) = highest else {
            require(self.prepared.is_none(), "a proposal's certificate must be claimed by its justification")?;
            let own = set.get(from).is_some_and(|v| v.address() == self.block.header().proposer);
            require(own, "a new block must name its sender as its proposer")?;
            return require(first_round == self.round, "a new block must carry the round it is first proposed in");
        };
        let proven = self.prepared.as_ref().is_some_and(|p| p.claim() == claim);
        require(proven, "a proposal must prove the highest claim of its justification")?;
        require(claim.block_hash == self.block.hash(), "a proposal must repeat the prepared block verbatim")?;
        require(claim.round < self.round, "a proposal must be above the round its block was prepared in")?;
        require(first_round <= claim.round, "a prepared block was first proposed no later than it was prepared")?;
        check_prepared(set, self.prepared.as_ref())
    }
}

fn require(holds: bool, otherwise: &'static str) -> Result<(), MessageError> {
    if holds { Ok(()) } else { Err(MessageError::Inconsistent(otherwise)) }
}

fn check_prepared(set: &ValidatorSet, prepared: Option<&PreparedCertificate>) -> Result<(), MessageError> {
    let Some(prepared) = prepared else { return Ok(()) };
    let (what, signers) = ("prepared certificate", || prepared.signatures.iter().map(|s| s.validator));
    check_indexes(set, what, signers())?;
    // In a set override also by those that had a say before it.
    let enough = if set.is_overridden() { set.may_prepare(signers()) } else { is_quorum(set, signers()) };
    if enough { Ok(()) } else { Err(MessageError::BelowQuorum(what)) }
}

fn check_quorum(
    set: &ValidatorSet,
    what: &'static str,
    signers: impl ExactSizeIterator<Item = u16> + Clone,
) -> Result<(), MessageError> {
    check_indexes(set, what, signers.clone())?;
    if is_quorum(set, signers) { Ok(()) } else { Err(MessageError::BelowQuorum(what)) }
}

fn is_quorum(set: &ValidatorSet, signers: impl Iterator<Item = u16>) -> bool {
    signers.map(|signer| set.power_at(signer)).sum::<u64>() >= crate::votes::quorum(set)
}

/// Known and strictly rising, so that nobody counts twice.
fn check_indexes(
    set: &ValidatorSet,
    what: &'static str,
    mut signers: impl ExactSizeIterator<Item = u16>,
) -> Result<(), MessageError> {
    let mut last = None;
    let few = signers.len() <= set.len();
    let rising = few && signers.all(|signer| set.get(signer).is_some() && last.replace(signer) < Some(signer));
    if rising { Ok(()) } else { Err(MessageError::Indexes(what)) }
}
