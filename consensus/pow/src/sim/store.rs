//! What a simulated node keeps, what everybody has ever made, and the model of state.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use basalt_consensus::EffectOf;
use basalt_primitives::{
    Address, B256, Block, Bytes, HashFn, Header, Height, Millis, Round, Seal, SealedBlock, header::HEADER_VERSION,
    merkle,
};

use super::plan::Role;
use crate::{Pow, Work};

/// The hash function of simulated chains.
pub(super) const HASH: HashFn = HashFn::Sha256;
/// Most transactions of a block.
const BLOCK_LIMIT: usize = 4;

/// The state after a block: a commitment to all history, and the transactions that ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub root: B256,
    pub done: Arc<BTreeSet<u64>>,
}

impl State {
    pub fn genesis() -> Self {
        Self { root: B256::ZERO, done: Arc::default() }
    }

    /// The state after a block, or `None` where it is invalid: it says another state for its parent, or a transaction ran before.
    pub fn after(&self, block: &SealedBlock) -> Option<Self> {
        let header = block.header();
        let body = &block.block().transactions;
        if header.parent_state_root != self.root || header.transactions_root != transactions_root(body) {
            return None;
        }
        let mut done = Arc::clone(&self.done);
        let mut bytes = self.root.to_vec();
        for tx in transactions(block) {
            if !Arc::make_mut(&mut done).insert(tx) {
                return None;
            }
            bytes.extend(tx.to_be_bytes());
        }
        bytes.extend(block.header().height.0.to_be_bytes());
        Some(Self { root: HASH.hash(&bytes), done })
    }
}

/// The transactions of a block: numbers.
pub(super) fn transactions(block: &SealedBlock) -> impl Iterator<Item = u64> + '_ {
    let bytes = block.block().transactions.iter();
    bytes.map(|tx| tx.as_ref().try_into().map_or(u64::MAX, u64::from_be_bytes))
}

fn transactions_root(transactions: &[Bytes]) -> B256 {
    let hashes: Vec<B256> = transactions.iter().map(|tx| HASH.hash(tx)).collect();
    merkle::root(HASH, &hashes)
}

/// The address of a miner.
pub(super) fn address(node: usize) -> Address {
    Address::with_last_byte(node as u8 + 1)
}

/// Which miner made a block.
pub(super) fn maker(header: &Header) -> usize {
    usize::from(header.proposer.0[19]).saturating_sub(1)
}

/// A block without seal on a parent.
pub(super) fn draft(
    parent: &Header,
    hash: B256,
    state: &State,
    pool: &BTreeSet<u64>,
    miner: usize,
    time: Millis,
) -> SealedBlock {
    let chosen = pool.iter().filter(|tx| !state.done.contains(tx)).take(BLOCK_LIMIT);
    let transactions: Vec<Bytes> = chosen.map(|tx| Bytes::from(tx.to_be_bytes().to_vec())).collect();
    let header = Header {
        height: parent.height.next(),
        timestamp_ms: time,
        parent_hash: hash,
        transactions_root: transactions_root(&transactions),
        parent_state_root: state.root,
        proposer: address(miner),
        ..parent.clone()
    };
    SealedBlock::new(Block { header, last_certificate: None, transactions }, HASH)
}

/// The first block.
pub(super) fn genesis() -> SealedBlock {
    let header = Header {
        version: HEADER_VERSION,
        chain_id: 7,
        height: Height::GENESIS,
        timestamp_ms: 1_000_000_000,
        parent_hash: B256::ZERO,
        transactions_root: B256::ZERO,
        parent_state_root: B256::ZERO,
        parent_receipts_root: B256::ZERO,
        parent_gas_used: 0,
        gas_limit: 30_000_000,
        base_fee: 0,
        proposer: Address::ZERO,
        first_round: Round::ZERO,
        next_validators_hash: B256::ZERO,
        last_certificate_hash: B256::ZERO,
        seal: Seal::None,
    };
    SealedBlock::new(Block { header, last_certificate: None, transactions: Vec::new() }, HASH)
}

/// A block that was made, by whomever.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub block: SealedBlock,
    /// Work of its chain, added up anew.
    pub work: Work,
    /// Whether it is public. What a miner keeps to itself is not given to others.
    pub public: bool,
    /// Whether its body is given to anyone.
    pub served: bool,
}

/// Everything ever made, for those who see everything.
#[derive(Debug, Default)]
pub(super) struct Archive(pub BTreeMap<B256, Made>);

impl Archive {
    pub fn header(&self, hash: &B256) -> Option<&Header> {
        self.0.get(hash).map(|made| made.block.header())
    }

    pub fn work(&self, hash: &B256) -> Work {
        self.0.get(hash).map(|made| made.work).unwrap_or_default()
    }

    pub fn add(&mut self, block: &SealedBlock, public: bool, served: bool) {
        let above = self.work(&block.header().parent_hash);
        let Seal::Work { target, .. } = block.header().seal else { return };
        let work = Work::of(target).and_then(|own| above.plus(own)).unwrap_or(above);
        self.0.entry(block.hash()).or_insert(Made { block: block.clone(), work, public, served });
    }

    /// Hashes from a block down to genesis, as far as they are known.
    pub fn below<'a>(&'a self, hash: B256) -> impl Iterator<Item = B256> + 'a {
        std::iter::successors(Some(hash), |h| Some(self.header(h)?.parent_hash).filter(|p| self.0.contains_key(p)))
    }

    pub fn height(&self, hash: &B256) -> Height {
        self.header(hash).map(|h| h.height).unwrap_or_default()
    }
}

/// What survives a crash.
#[derive(Debug)]
pub(super) struct Disk {
    /// Final blocks, genesis first.
    pub ledger: Vec<SealedBlock>,
    /// Judged blocks above them, in the order in which they were written.
    pub records: Vec<SealedBlock>,
    pub checkpoint: Option<(Height, B256)>,
}

impl Disk {
    pub fn head(&self) -> &SealedBlock {
        self.ledger.last().expect("genesis is always there")
    }

    pub fn has(&self, hash: &B256) -> bool {
        self.records.iter().any(|b| b.hash() == *hash) || self.ledger.iter().rev().any(|b| b.hash() == *hash)
    }
}

/// A search for a seal.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub id: u64,
    pub block: SealedBlock,
}

/// What does not survive a crash.
pub(super) struct Process {
    pub engine: Pow,
    /// Which start of the node this is: events for an earlier one are void.
    pub epoch: u64,
    pub booted: Millis,
    pub mono_base: Millis,
    pub queue: VecDeque<EffectOf<Pow>>,
    pub syncing: bool,
    pub tick_at: Option<Millis>,
    pub job: Option<Job>,
    /// States by block: of all that were judged valid.
    pub states: BTreeMap<B256, State>,
    /// This node's chain, genesis first, as its fork choices have built it.
    pub chain: Vec<B256>,
    /// Newest final block it has announced.
    pub finalized: B256,
    pub pool: BTreeSet<u64>,
}

impl Process {
    pub const fn mono(&self, now: Millis) -> Millis {
        now - self.booted + self.mono_base
    }

    pub fn head(&self) -> B256 {
        *self.chain.last().expect("genesis is always there")
    }
}

/// One node.
pub(super) struct Node {
    pub disk: Disk,
    pub process: Option<Process>,
    pub starts: u64,
    pub role: Role,
    /// Its part of the usual hash rate at present.
    pub share: f64,
    /// The latest its wall clock has ever shown.
    pub latest_wall: Millis,
    /// Whether an operator has set a checkpoint that its chain may have to turn to.
    pub ordered: bool,
    /// Alarms it has raised.
    pub alarms: u64,
    /// Transactions its own clients insist on.
    pub clients: BTreeSet<u64>,
    /// Work of its chain when it last crashed.
    pub work_at_crash: Work,
    /// Blocks a selfish or private miner has not shown, oldest first.
    pub secret: VecDeque<B256>,
    /// Whether a selfish miner's block races with another.
    pub racing: bool,
}

impl Node {
    pub fn honest(&self) -> bool {
        matches!(self.role, Role::Honest | Role::Backdater | Role::Postdater | Role::Hopper { .. })
    }
}
