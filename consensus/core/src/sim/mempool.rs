//! Transactions of the simulated network: numbers, and the state they lead to.

use std::collections::BTreeSet;

use basalt_primitives::{
    Address, B256, Block, Bytes, CommitCertificate, HashFn, Header, Millis, Round, Seal, SealedBlock,
    header::HEADER_VERSION, merkle,
};

/// The hash function of simulated chains.
pub(super) const HASH: HashFn = HashFn::Sha256;
/// Most transactions of a block.
const BLOCK_LIMIT: usize = 5;

/// Transactions a node knows of that its ledger does not have.
#[derive(Debug, Default)]
pub(super) struct Mempool(pub BTreeSet<u64>);

/// The transactions of a block.
pub(super) fn transactions(block: &SealedBlock) -> impl Iterator<Item = u64> + '_ {
    let bytes = block.block().transactions.iter();
    bytes.map(|tx| tx.as_ref().try_into().map_or(u64::MAX, u64::from_be_bytes))
}

/// The state after a block.
pub(super) fn execute(state: B256, block: &SealedBlock) -> B256 {
    let mut bytes = state.to_vec();
    transactions(block).for_each(|tx| bytes.extend(tx.to_be_bytes()));
    HASH.hash(&bytes)
}

/// What a block is made from.
pub(super) struct Draft<'a> {
    pub parent: &'a SealedBlock,
    pub state: B256,
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
            parent_state_root: draft.state,
            parent_receipts_root: B256::ZERO,
            parent_gas_used: 0,
            gas_limit: parent.gas_limit,
            base_fee: 0,
            proposer: draft.proposer,
            first_round: draft.round,
            next_validators_hash: parent.next_validators_hash,
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
