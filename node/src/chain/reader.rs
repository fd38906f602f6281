//! The RPC's view of the chain, on the ledger.

use std::sync::Arc;

use basalt_execution::trie::AccountProof;
use basalt_primitives::{Address, B256, Bloom, Bytes, Height, Receipt, SealedBlock, Transaction, U256, state::Account};
use basalt_proto::Codec as _;
use basalt_storage::{Head, Reader as _, StorageError};

use super::{Chain, PastView, logs, proof};
use crate::rpc::ports::{BlockView, ChainReader, LogQuery, LogSearch, ReadError, SkippedTx, StateAt};

pub(super) fn read_error(e: StorageError) -> ReadError {
    if let StorageError::StateNotKept { height, first, head } = e {
        return ReadError::StateNotKept { height, first, head };
    }
    tracing::error!("the ledger could not be read: {e}");
    ReadError::Storage(Box::new(e))
}

pub(super) fn damaged(what: String) -> ReadError {
    tracing::error!("{what}");
    ReadError::Storage(what.into())
}

fn bloom_of(receipts: &[Receipt]) -> Bloom {
    receipts.iter().filter(|r| !r.logs.is_empty()).fold(Bloom::ZERO, |all, r| all | r.bloom())
}

impl Chain {
    /// The state asked for, as execution and everyone else reads it.
    pub fn state_at(&self, at: StateAt) -> Result<PastView, ReadError> {
        let snapshot = self.ledger.snapshot();
        match at {
            StateAt::Latest => Ok(PastView(snapshot.state())),
            StateAt::Height(height) => snapshot.state_at(height).map(PastView).map_err(read_error),
        }
    }

    /// The head as clients see it, from what its execution left in memory: nothing is read, decoded or hashed.
    #[must_use]
    pub fn view_of(&self, head: &Head, receipts: &[Receipt]) -> BlockView {
        let block = head.block.block();
        BlockView {
            hash: head.hash(),
            header: block.header.clone(),
            state_root: head.outcome.state_root,
            receipts_root: head.outcome.receipts_root,
            gas_used: head.outcome.gas_used,
            bloom: bloom_of(receipts),
            tx_hashes: receipts.iter().map(|r| r.tx_hash).collect(),
            size_bytes: block.encode().len(),
            fork: self.spec.fork_at(head.height()),
        }
    }

    /// A block that was taken back, as far as its logs go: its results are those of a branch that is no more.
    pub(crate) fn view_of_undone(&self, block: &SealedBlock, receipts: &[Receipt]) -> BlockView {
        BlockView {
            hash: block.hash(),
            header: block.header().clone(),
            state_root: B256::ZERO,
            receipts_root: B256::ZERO,
            gas_used: receipts.last().map_or(0, |r| r.cumulative_gas_used),
            bloom: bloom_of(receipts),
            tx_hashes: receipts.iter().map(|r| r.tx_hash).collect(),
            size_bytes: block.block().encode().len(),
            fork: self.spec.fork_at(block.height()),
        }
    }

    fn view(&self, height: Height) -> Result<Option<Arc<BlockView>>, StorageError> {
        let ledger = self.ledger.snapshot();
        let Some(summary) = ledger.summary(height)? else { return Ok(None) };
        if let Some(view) = self.newest.get(&summary.hash) {
            return Ok(Some(view));
        }
        let (Some(header), Some(receipts)) = (ledger.header(height)?, ledger.receipts(height)?) else {
            return Ok(None);
        };
        // None: no logs, or none that are indexed.
        let bloom = ledger.bloom(height)?.unwrap_or_else(|| bloom_of(&receipts));
        let size_bytes = ledger.block_size(height)?.unwrap_or_default();
        Ok(Some(Arc::new(BlockView {
            hash: summary.hash,
            header,
            state_root: summary.outcome.state_root,
            receipts_root: summary.outcome.receipts_root,
            gas_used: summary.outcome.gas_used,
            bloom,
            tx_hashes: receipts.iter().map(|r| r.tx_hash).collect(),
            size_bytes,
            fork: self.spec.fork_at(height),
        })))
    }

    pub(crate) fn decode(&self, raw: &Bytes) -> Result<Transaction, ReadError> {
        // Checked before it was stored; storage has checked that these are the same bytes.
        let decode = if self.spec.is_devnet() { basalt_proto::tx::decode_on_devnet } else { basalt_proto::tx::decode };
        let decoded = decode(raw.clone(), self.spec.chain_id, self.spec.hash_fn);
        let tx = decoded.and_then(basalt_primitives::tx::Unverified::assume_verified);
        tx.map_err(|e| damaged(format!("a stored transaction cannot be decoded: {e}")))
    }
}

impl ChainReader for Chain {
    fn head(&self) -> Height {
        self.ledger.head().height()
    }

    fn finalized(&self) -> Height {
        self.ledger.finalized().height()
    }

    fn safe(&self) -> Height {
        self.ledger.snapshot().safe()
    }

    fn height_of(&self, block: &B256) -> Result<Option<Height>, ReadError> {
        self.ledger.height_of(block).map_err(read_error)
    }

    fn block(&self, height: Height) -> Result<Option<Arc<BlockView>>, ReadError> {
        self.view(height).map_err(read_error)
    }

    fn transactions(&self, height: Height) -> Result<Option<Vec<Transaction>>, ReadError> {
        let ledger = self.ledger.snapshot();
        let Some(block) = ledger.block(height).map_err(read_error)? else { return Ok(None) };
        let skipped = ledger.skipped(height).map_err(read_error)?;
        let ran = |i: usize| skipped.iter().all(|s| s.index as usize != i);
        let raws = block.block().transactions.iter().enumerate().filter(|(i, _)| ran(*i));
        raws.map(|(_, raw)| self.decode(raw)).collect::<Result<_, _>>().map(Some)
    }

    fn raw_block(&self, height: Height) -> Result<Option<Bytes>, ReadError> {
        self.ledger.snapshot().certified_bytes(height).map_err(read_error)
    }

    fn receipts(&self, height: Height) -> Result<Option<Vec<Receipt>>, ReadError> {
        self.ledger.receipts(height).map_err(read_error)
    }

    fn locate(&self, tx: &B256) -> Result<Option<(Height, u32)>, ReadError> {
        Ok(self.ledger.tx_location(tx).map_err(read_error)?.map(|l| (l.height, l.receipt)))
    }

    fn find_logs(&self, query: &LogQuery, from: Height, to: Height, limit: usize) -> Result<LogSearch, ReadError> {
        logs::find(self, query, from, to, limit)
    }

    fn skipped(&self, height: Height) -> Result<Vec<SkippedTx>, ReadError> {
        let skipped = self.ledger.skipped(height).map_err(read_error)?;
        Ok(skipped.into_iter().map(|s| SkippedTx { hash: s.tx_hash, index: s.index, reason: s.reason }).collect())
    }

    fn account(&self, at: StateAt, address: &Address) -> Result<Option<Account>, ReadError> {
        self.state_at(at)?.0.account(address).map_err(read_error)
    }

    fn storage(&self, at: StateAt, address: &Address, slot: U256) -> Result<U256, ReadError> {
        self.state_at(at)?.0.storage(address, &slot).map_err(read_error)
    }

    fn code(&self, at: StateAt, address: &Address) -> Result<Bytes, ReadError> {
        let state = self.state_at(at)?.0;
        let Some(account) = state.account(address).map_err(read_error)? else { return Ok(Bytes::new()) };
        if account.code_hash == Account::default().code_hash {
            return Ok(Bytes::new());
        }
        let code = state.code(&account.code_hash).map_err(read_error)?;
        code.ok_or_else(|| damaged(format!("the code of {address} is missing from the ledger")))
    }

    fn proof(&self, at: StateAt, address: &Address, slots: &[U256]) -> Result<AccountProof, ReadError> {
        proof::proof(&self.state_at(at)?.0, address, slots)
    }
}
