//! Transactions of the simulated network: numbers, and the state they lead to. The lowest numbers change the validator set.

use std::{collections::BTreeSet, sync::Arc};

use basalt_primitives::{
    Address, B256, Block, Bytes, CommitCertificate, HashFn, Header, Millis, Round, Seal, SealedBlock, ValidatorSet,
    header::HEADER_VERSION, merkle,
};

/// The hash function of simulated chains.
pub(super) const HASH: HashFn = HashFn::Sha256;
/// Most transactions of a block.
const BLOCK_LIMIT: usize = 5;
/// Transactions below this number are changes of the validator set, by their place in the plan.
pub(super) const ORDINARY: u64 = 1_000;

/// Transactions a node knows of that its ledger does not have.
#[derive(Debug, Default)]
pub(super) struct Mempool(pub BTreeSet<u64>);

/// What execution leads to.
#[derive(Clone, Debug)]
pub(super) struct State {
    /// Commits to everything.
    pub root: B256,
    /// The validators of the height after the next.
    pub set: Arc<ValidatorSet>,
}

/// The transactions of a block.
pub(super) fn transactions(block: &SealedBlock) -> impl Iterator<Item = u64> + '_ {
    let bytes = block.block().transactions.iter();
    bytes.map(|tx| tx.as_ref().try_into().map_or(u64::MAX, u64::from_be_bytes))
}

/// The state after a block. `changes` are the sets that the lowest transaction numbers stand for.
pub(super) fn execute(state: &State, block: &SealedBlock, changes: &[Arc<ValidatorSet>]) -> State {
    let mut set = state.set.clone();
    let mut bytes = state.root.to_vec();
    for tx in transactions(block) {
        bytes.extend(tx.to_be_bytes());
        if let Some(changed) = usize::try_from(tx).ok().and_then(|index| changes.get(index)) {
            set = changed.clone();
        }
    }
    bytes.extend(set.hash(HASH).0);
    State { root: HASH.hash(&bytes), set }
}

/// What a block is made from.
pub(super) struct Draft<'a> {
    pub parent: &'a SealedBlock,
    pub state: &'a State,
    pub proposer: Address,
    pub round: Round,
    pub certificate: Option<CommitCertificate>,
    pub timestamp: Millis,
}

impl Mempool {
    pub fn build(&self, draft: Draft<'_>) -> SealedBlock {
        let chosen = self.0.iter().take(BLOCK_LIMIT);
        let transactions: Vec<Bytes> = chosen.map(|tx| Bytes::from(tx.to_be_bytes().to_vec())).collect();
        let parent = draft.parent.header();
        let header = Header {
            version: HEADER_VERSION,
            chain_id: parent.chain_id,
            height: parent.height.next(),
            timestamp_ms: draft.timestamp,
            parent_hash: draft.parent.hash(),
            transactions_root: transactions_root(&transactions),
            parent_state_root: draft.state.root,
            parent_receipts_root: B256::ZERO,
            parent_gas_used: 0,
            gas_limit: parent.gas_limit,
            base_fee: 0,
            proposer: draft.proposer,
            first_round: draft.round,
            next_validators_hash: draft.state.set.hash(HASH),
            last_certificate_hash: draft.certificate.as_ref().map(|c| c.hash(HASH)).unwrap_or_default(),
            seal: Seal::None,
        };
        SealedBlock::new(Block { header, last_certificate: draft.certificate, transactions }, HASH)
    }
}

/// Whether body and header belong together.
pub(super) fn body_matches(block: &SealedBlock) -> bool {
    let (header, body) = (block.header(), block.block());
    let certificate = body.last_certificate.as_ref().map(|c| c.hash(HASH)).unwrap_or_default();
    header.transactions_root == transactions_root(&body.transactions) && header.last_certificate_hash == certificate
}

fn transactions_root(transactions: &[Bytes]) -> B256 {
    let hashes: Vec<B256> = transactions.iter().map(|tx| HASH.hash(tx)).collect();
    merkle::root(HASH, &hashes)
}
