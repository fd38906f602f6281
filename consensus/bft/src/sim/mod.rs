//! The BFT engine's side of the level-1 simulator: keys, signatures that cost nothing, and adversaries.
//!
//! `cargo test -p basalt-bft --test simulation` runs fixed seeds; `BASALT_SIM_SEEDS=20000 BASALT_SIM_FROM=1000` other ones. A failure
//! prints seed, plan and last events (`BASALT_SIM_LOG` many). `cargo test -p basalt-bft --features mutations --test mutations` switches
//! deliberate bugs on, one at a time, and expects each to be found.

mod adversary;
pub mod scenario;

use std::{collections::BTreeMap, sync::Arc};

use basalt_consensus::{
    Verified,
    sim::{Certified, Failure, Lab, Statement, Summary, World},
};
use basalt_primitives::{
    Address, B256, Block, CommitCertificate, HashFn, Header, Height, Millis, PublicKey, Round, Seal, SealedBlock,
    Signature, Validator, ValidatorSet,
    chainspec::BftParams,
    header::HEADER_VERSION,
    layout::Layout,
    validators::{VoteKind, vote_bytes},
};
use rand_chacha::ChaCha8Rng;

pub use adversary::{Adversary, Kind};

use crate::{Bft, Config, Message, Record, SignedMessage, mutation::Mutation};

/// A network of BFT engines.
#[derive(Clone, Debug)]
pub struct BftLab {
    keys: Vec<PublicKey>,
    set: Arc<ValidatorSet>,
    params: BftParams,
    genesis: SealedBlock,
}

impl BftLab {
    /// Validators with these powers.
    #[must_use]
    pub fn new(powers: &[u64], params: BftParams) -> Self {
        Self::with_spare(powers, 0, params)
    }

    /// Validators with these powers, and so many nodes more that are none yet.
    #[must_use]
    pub fn with_spare(powers: &[u64], spare: usize, params: BftParams) -> Self {
        let keys: Vec<PublicKey> = (0..powers.len() + spare).map(key).collect();
        let validator = |(key, power): (&PublicKey, &u64)| Validator { public_key: *key, power: *power };
        let set = ValidatorSet::new(keys.iter().zip(powers).map(validator).collect()).expect("a sound set");
        let header = Header {
            version: HEADER_VERSION,
            chain_id: 7,
            height: Height::GENESIS,
            timestamp_ms: 1_000_000,
            parent_hash: B256::ZERO,
            transactions_root: B256::ZERO,
            parent_state_root: B256::ZERO,
            parent_receipts_root: B256::ZERO,
            parent_gas_used: 0,
            gas_limit: 30_000_000,
            base_fee: 0,
            proposer: Address::ZERO,
            first_round: Round::ZERO,
            next_validators_hash: set.hash(HashFn::Sha256),
            last_certificate_hash: B256::ZERO,
            seal: Seal::None,
        };
        let block = Block { header, last_certificate: None, transactions: Vec::new() };
        Self { keys, set: Arc::new(set), params, genesis: SealedBlock::new(block, HashFn::Sha256) }
    }

    /// Equal validators with parameters for tests.
    #[must_use]
    pub fn equal(validators: usize) -> Self {
        Self::new(&vec![1; validators], test_params())
    }

    /// The parameters of a seed, and its validators unless their number is given.
    #[must_use]
    pub fn of_seed(seed: u64, nodes: Option<usize>) -> Self {
        let n = nodes.unwrap_or([4, 1, 4, 2, 4, 3, 7, 4, 5, 4][(seed % 10) as usize]);
        let mut params = test_params();
        let mixed = seed / 10;
        params.empty_block_ms = [None, Some(1_500), Some(0)][(mixed % 3) as usize];
        params.block_interval_ms = [50, 0, 200][(mixed / 3 % 3) as usize];
        if params.block_interval_ms == 0 && params.empty_block_ms == Some(0) {
            params.block_interval_ms = 30;
        }
        let weighted = mixed / 9 % 4 == 3;
        let powers: Vec<u64> = (0..n as u64).map(|i| if weighted { 1 + (seed / 7 + i) % 3 } else { 1 }).collect();
        let spare = if mixed / 36 % 5 == 4 { 1 + (seed / 11 % 3) as usize } else { 0 };
        Self::with_spare(&powers, spare, params)
    }

    /// Runs the chaos of one seed.
    pub fn run_seed(seed: u64) -> Result<Summary, Failure> {
        let (lab, plan) = scenario::CHAOS.case(seed, None);
        World::check(&lab, &plan)
    }

    /// Hash of the genesis block.
    #[must_use]
    pub fn genesis_hash(&self) -> B256 {
        self.genesis.hash()
    }

    /// A validator's message, signed.
    #[must_use]
    pub fn signed(&self, from: u16, message: Message) -> SignedMessage {
        let bytes = message.signing_layout(self.genesis_hash());
        let key = self.set.get(from).expect("a validator").public_key;
        SignedMessage { from, message, signature: fake_signature(key, &bytes) }
    }

    /// A validator's message, signed and verified.
    #[must_use]
    pub fn verified(&self, from: u16, message: Message) -> Verified<SignedMessage> {
        Verified::assume(self.signed(from, message))
    }
}

/// Parameters for tests: fast, and with a low cap.
#[must_use]
pub const fn test_params() -> BftParams {
    BftParams {
        block_interval_ms: 0,
        round_timeout_ms: 300,
        round_timeout_cap_ms: 2_400,
        empty_block_ms: None,
        clock_tolerance_ms: 500,
    }
}

/// A key that is not one: its number, and nothing else.
fn key(number: usize) -> PublicKey {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&(number as u64 + 1).to_be_bytes());
    PublicKey(bytes)
}

/// Stands for an Ed25519 signature: nobody in the simulator makes one for a key that is not its own.
fn fake_signature(key: PublicKey, bytes: &Layout) -> Signature {
    let mut input = key.0.to_vec();
    input.extend_from_slice(bytes.as_slice());
    let hash = HashFn::Sha256.hash(&input);
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&hash.0);
    signature[32..].copy_from_slice(&key.0);
    Signature(signature)
}

impl Lab for BftLab {
    type Engine = Bft;
    type Adversary = Adversary;

    fn keys(&self) -> &[PublicKey] {
        &self.keys
    }

    fn set(&self) -> &Arc<ValidatorSet> {
        &self.set
    }

    fn params(&self) -> &BftParams {
        &self.params
    }

    fn genesis(&self) -> &SealedBlock {
        &self.genesis
    }

    fn engine(&self, validator: u16) -> Bft {
        let key = self.keys.get(usize::from(validator)).copied();
        Bft::new(Config { key, genesis: self.genesis_hash(), params: self.params.clone() })
    }

    fn first_records(&self) -> Vec<Record> {
        vec![Record::Initial { genesis: self.genesis_hash() }]
    }

    fn height(&self, message: &Message) -> Height {
        message.height()
    }

    fn message<'a>(&self, signed: &'a SignedMessage) -> &'a Message {
        &signed.message
    }

    fn sign(&self, validator: u16, index: u16, message: Message) -> SignedMessage {
        let bytes = message.signing_layout(self.genesis_hash());
        let signature = fake_signature(self.keys[usize::from(validator)], &bytes);
        SignedMessage { from: index, message, signature }
    }

    fn verify(&self, set: &ValidatorSet, signed: &SignedMessage) -> bool {
        let check = |items: &[(PublicKey, Layout, Signature)]| {
            items.iter().all(|(key, bytes, signature)| fake_signature(*key, bytes) == *signature)
        };
        signed.verify_with(set, self.genesis_hash(), check).is_ok()
    }

    fn verify_certificate(&self, set: &ValidatorSet, certificate: &CommitCertificate) -> bool {
        Mutation::CertificateSignaturesUnchecked.on() || self.certificate_holds(set, certificate)
    }

    fn certificate_holds(&self, set: &ValidatorSet, certificate: &CommitCertificate) -> bool {
        let CommitCertificate { height, round, block_hash, signatures } = certificate;
        let bytes = vote_bytes(self.genesis_hash(), VoteKind::Commit, *height, *round, *block_hash);
        let signed = signatures.iter().filter(|s| {
            let key = set.get(s.validator).map(|v| v.public_key);
            key.is_some_and(|key| fake_signature(key, &bytes) == s.signature)
        });
        set.power_of(signed.map(|s| s.validator)) >= set.quorum()
    }

    fn checks_certified_height(&self) -> bool {
        !Mutation::CertificateOfOtherHeight.on()
    }

    fn believes_claims(&self) -> bool {
        Mutation::SyncTrustsClaim.on()
    }

    fn describe(&self, message: &Message) -> String {
        let at = format!("{}/{}", message.height(), message.round());
        match message {
            Message::Proposal(m) => {
                format!("Proposal {at} {} first {}", short(m.block.hash()), m.block.header().first_round)
            }
            Message::Prepare(m) | Message::Commit(m) => format!("{} {at} {}", message.name(), short(m.block_hash)),
            Message::RoundChange(m) => {
                let prepared = m.prepared.as_ref().map(|p| format!("{} {}", p.round, short(p.block_hash)));
                format!("RoundChange {at} prepared {prepared:?}")
            }
            other => format!("{} {at}", other.name()),
        }
    }

    fn block_in<'a>(&self, message: &'a Message) -> Option<&'a SealedBlock> {
        message.proposal().map(|p| &p.block)
    }

    fn statement(&self, message: &Message) -> Option<Statement> {
        let (height, round) = (message.height(), message.round());
        let block = match message {
            Message::Proposal(m) => m.block.hash(),
            Message::Prepare(m) | Message::Commit(m) => m.block_hash,
            _ => return None,
        };
        Some(Statement { kind: message.name(), height, round, block })
    }

    fn promise(&self, record: &Record) -> Option<(Height, Round)> {
        match record {
            Record::Round { height, round } => Some((*height, *round)),
            _ => None,
        }
    }

    fn recorded(&self, records: &[Record], message: &Message) -> bool {
        let (height, round) = (message.height(), message.round());
        let in_round = |record: &Record| match record {
            Record::Round { height: h, round: r } | Record::Recovered { height: h, round: r, .. } => {
                *h == height && *r >= round
            }
            Record::Vote { height: h, prepared } => *h == height && prepared.certificate.round >= round,
            Record::Initial { .. } | Record::Released { .. } => false,
        };
        let voted = |vote: &crate::Vote, record: &Record| match record {
            Record::Vote { height: h, prepared } => {
                let claim = prepared.certificate.claim();
                *h == height && (claim.round, claim.block_hash) == (round, vote.block_hash)
            }
            _ => false,
        };
        match message {
            Message::Commit(vote) => records.iter().any(|record| voted(vote, record)),
            Message::Proposal(_) | Message::Prepare(_) if round == Round::ZERO => !records.is_empty(),
            Message::Proposal(_) | Message::Prepare(_) | Message::RoundChange(_) => records.iter().any(in_round),
            _ => true,
        }
    }

    fn ready(&self, engine: &Bft) -> bool {
        engine.recovery.is_none() || engine.own_index().is_none()
    }

    fn longest_timer(&self) -> Millis {
        let p = &self.params;
        2 * (p.round_timeout_cap_ms + p.block_interval_ms + p.empty_block_ms.unwrap_or_default()) + 1_000
    }

    fn explain(&self, engine: &Bft) -> String {
        format!("{:?}", engine.status())
    }

    fn adversary(&self, validator: u16, kind: u8) -> Adversary {
        Adversary::new(self.keys[usize::from(validator)], validator, kind)
    }

    fn corrupt(&self, adversary: &mut Adversary, rng: &mut ChaCha8Rng, to: u16, message: &Message) -> Vec<Message> {
        adversary.corrupt(rng, to, message)
    }

    fn provoke(
        &self,
        adversary: &mut Adversary,
        rng: &mut ChaCha8Rng,
        set: &ValidatorSet,
        to: u16,
        heard: &SignedMessage,
    ) -> Vec<Message> {
        adversary.provoke(rng, set, to, heard)
    }

    fn serve(
        &self,
        adversary: &mut Adversary,
        rng: &mut ChaCha8Rng,
        blocks: Vec<Certified>,
        height: Height,
    ) -> (Vec<Certified>, Height) {
        adversary.serve(rng, blocks, height)
    }
}

fn short(hash: B256) -> String {
    hash.to_string().chars().take(8).collect()
}

/// Votes of these validators for a block, as a list of signatures.
#[must_use]
pub fn votes_of(
    lab: &BftLab,
    kind: VoteKind,
    vote: crate::Vote,
    validators: &[u16],
) -> Vec<basalt_primitives::CommitSignature> {
    let message = match kind {
        VoteKind::Prepare => Message::Prepare(vote),
        VoteKind::Commit => Message::Commit(vote),
    };
    let signatures: BTreeMap<u16, Signature> =
        validators.iter().map(|v| (*v, lab.signed(*v, message.clone()).signature)).collect();
    let entry = |(validator, signature)| basalt_primitives::CommitSignature { validator, signature };
    signatures.into_iter().map(entry).collect()
}
