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
    sim::{Failure, Lab, Statement, Summary, World},
};
use basalt_primitives::{
    Address, B256, Block, CommitCertificate, HashFn, Header, Height, PublicKey, Round, Seal, SealedBlock, Signature,
    Validator, ValidatorSet,
    chainspec::BftParams,
    header::HEADER_VERSION,
    layout::Layout,
    validators::{VoteKind, vote_bytes},
};
use rand_chacha::ChaCha8Rng;

pub use adversary::Adversary;

use crate::{Bft, Config, Message, Record, SignedMessage};

/// A network of BFT engines.
#[derive(Clone, Debug)]
pub struct BftLab {
    set: Arc<ValidatorSet>,
    params: BftParams,
    genesis: SealedBlock,
}

impl BftLab {
    /// Validators with these powers.
    #[must_use]
    pub fn new(powers: &[u64], params: BftParams) -> Self {
        let validator = |(i, power): (usize, &u64)| {
            let public_key = PublicKey([u8::try_from(i + 1).unwrap_or(u8::MAX); 32]);
            Validator { public_key, power: *power }
        };
        let set = ValidatorSet::new(powers.iter().enumerate().map(validator).collect()).expect("a sound set");
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
        Self { set: Arc::new(set), params, genesis: SealedBlock::new(block, HashFn::Sha256) }
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
        Self::new(&powers, params)
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
        let key = self.set.get(validator).map(|v| v.public_key);
        Bft::new(Config { key, genesis: self.genesis_hash(), params: self.params.clone() })
    }

    fn first_records(&self) -> Vec<Record> {
        vec![Record::Initial { genesis: self.genesis_hash() }]
    }

    fn sign(&self, validator: u16, message: Message) -> SignedMessage {
        self.signed(validator, message)
    }

    fn verify(&self, signed: &SignedMessage) -> bool {
        let check = |items: &[(PublicKey, Layout, Signature)]| {
            items.iter().all(|(key, bytes, signature)| fake_signature(*key, bytes) == *signature)
        };
        signed.verify_with(&self.set, self.genesis_hash(), check).is_ok()
    }

    fn verify_certificate(&self, certificate: &CommitCertificate) -> bool {
        let CommitCertificate { height, round, block_hash, signatures } = certificate;
        let bytes = vote_bytes(self.genesis_hash(), VoteKind::Commit, *height, *round, *block_hash);
        let signed = signatures.iter().filter(|s| {
            let key = self.set.get(s.validator).map(|v| v.public_key);
            key.is_some_and(|key| fake_signature(key, &bytes) == s.signature)
        });
        self.set.power_of(signed.map(|s| s.validator)) >= self.set.quorum()
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
            Record::Initial { .. } => false,
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
        engine.recovery.is_none()
    }

    fn explain(&self, engine: &Bft) -> String {
        format!("{:?}", engine.status())
    }

    fn adversary(&self, validator: u16, kind: u8) -> Adversary {
        Adversary::new(Arc::clone(&self.set), validator, kind)
    }

    fn corrupt(&self, adversary: &mut Adversary, rng: &mut ChaCha8Rng, to: u16, message: &Message) -> Vec<Message> {
        adversary.corrupt(rng, to, message)
    }

    fn provoke(&self, adversary: &mut Adversary, rng: &mut ChaCha8Rng, to: u16, heard: &SignedMessage) -> Vec<Message> {
        adversary.provoke(rng, to, heard)
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
