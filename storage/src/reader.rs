//! Reading the ledger. Every read checks what it returns: the checksum of the value, and whatever hash binds it.

use basalt_primitives::{
    Address, B256, Block, Bloom, Bytes, CommitCertificate, HashFn, Header, Height, Receipt, SealedBlock, U256,
    keccak256,
    receipt::receipts_root,
    state::{Account, TrieKey},
};
use basalt_proto::{BlockReceipts, Codec, DecodeError};

use crate::{
    StorageError, codec,
    tables::{self, Table, height_key},
    types::{Outcome, Skipped, Summary, TxLocation},
};

/// The readers of a ledger, for [`crate::Ledger`] (always the newest) and [`crate::Snapshot`] (one moment).
///
/// `None` means that there is no such thing in the ledger; damage is always [`StorageError::Corrupt`].
pub trait Reader {
    /// The checked payload of a value.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StorageError>;

    /// The chain's hash function.
    fn hash_fn(&self) -> HashFn;

    /// Whether blocks of this chain may have transactions that only development networks know.
    fn is_devnet(&self) -> bool;

    /// Hash, outcome and transaction count of a block.
    fn summary(&self, height: Height) -> Result<Option<Summary>, StorageError> {
        decoded(self, Table::Outcomes, &height_key(height), codec::decode_summary)
    }

    /// Hash of the block at a height.
    fn block_hash(&self, height: Height) -> Result<Option<B256>, StorageError> {
        Ok(self.summary(height)?.map(|s| s.hash))
    }

    /// What executing a block led to.
    fn outcome(&self, height: Height) -> Result<Option<Outcome>, StorageError> {
        Ok(self.summary(height)?.map(|s| s.outcome))
    }

    /// Height of the block with a hash.
    fn height_of(&self, hash: &B256) -> Result<Option<Height>, StorageError> {
        let key = tables::hash_key(hash);
        Ok(decoded(self, Table::Heights, key, codec::decode_u64)?.map(Height))
    }

    /// A block's header.
    fn header(&self, height: Height) -> Result<Option<Header>, StorageError> {
        let key = height_key(height);
        let Some(header) = message::<Header>(self, Table::Headers, &key)? else { return Ok(None) };
        check_hash(self, height, header.hash(self.hash_fn()))?;
        Ok(Some(header))
    }

    /// A block. That its transactions are those its header binds is only checked by checksum here;
    /// [`check_block`](Self::check_block) checks it by hash.
    fn block(&self, height: Height) -> Result<Option<SealedBlock>, StorageError> {
        let Some((header, body)) = parts(self, height)? else { return Ok(None) };
        let bytes = codec::join_block(&header, &body);
        let block = Block::decode(bytes).map_err(|e| undecodable(Table::Bodies, &height_key(height), &e))?;
        let block = SealedBlock::new(block, self.hash_fn());
        check_hash(self, height, block.hash())?;
        Ok(Some(block))
    }

    /// A block by its hash.
    fn block_by_hash(&self, hash: &B256) -> Result<Option<SealedBlock>, StorageError> {
        let Some(height) = self.height_of(hash)? else { return Ok(None) };
        let block = self.block(height)?;
        match block {
            Some(b) if b.hash() == *hash => Ok(Some(b)),
            _ => Err(corrupt(Table::Heights, hash.as_slice(), "points at another block")),
        }
    }

    /// The certificate that finalizes the block at a height: the one the next block carries, if there is a next block.
    fn certificate(&self, height: Height) -> Result<Option<CommitCertificate>, StorageError> {
        let key = height_key(height);
        let Some(certificate) = message::<CommitCertificate>(self, Table::Certificates, &key)? else { return Ok(None) };
        if Some(certificate.block_hash) != self.block_hash(height)? || certificate.height != height {
            return Err(corrupt(Table::Certificates, &key, "certifies another block"));
        }
        if let Some(next) = self.header(height.next())?
            && next.last_certificate_hash != B256::ZERO
            && next.last_certificate_hash != certificate.hash(self.hash_fn())
        {
            return Err(corrupt(Table::Certificates, &key, "is not the one the next block carries"));
        }
        Ok(Some(certificate))
    }

    /// A block and its certificate as they travel: the encoding of a `basalt_proto::CertifiedBlock`, joined from the
    /// stored bytes without decoding them. Checked by checksum only; whoever receives it checks the rest.
    fn certified_bytes(&self, height: Height) -> Result<Option<Bytes>, StorageError> {
        let Some((header, body)) = parts(self, height)? else { return Ok(None) };
        let certificate = self.get(Table::Certificates, &height_key(height))?;
        Ok(Some(codec::owned(codec::join_certified(&header, &body, certificate.as_ref().map(|c| &c[..])))))
    }

    /// How many bytes a block's encoding has, without the certificate that finalizes it: nodes may know different ones.
    fn block_size(&self, height: Height) -> Result<Option<usize>, StorageError> {
        Ok(parts(self, height)?.map(|(header, body)| codec::join_block(&header, &body).len()))
    }

    /// Where an executed transaction is.
    fn tx_location(&self, hash: &B256) -> Result<Option<TxLocation>, StorageError> {
        decoded(self, Table::Transactions, tables::hash_key(hash), codec::decode_location)
    }

    /// Receipts of a block's executed transactions, in order.
    fn receipts(&self, height: Height) -> Result<Option<Vec<Receipt>>, StorageError> {
        let Some(outcome) = self.outcome(height)? else { return Ok(None) };
        let key = height_key(height);
        let BlockReceipts(receipts) = message(self, Table::Receipts, &key)?.unwrap_or_default();
        if receipts_root(self.hash_fn(), &receipts) != outcome.receipts_root {
            return Err(corrupt(Table::Receipts, &key, "the receipts do not lead to the block's receipts root"));
        }
        Ok(Some(receipts))
    }

    /// The bloom over a block's logs, kept since logs are indexed; `None` when it has no logs or is from before.
    fn bloom(&self, height: Height) -> Result<Option<Bloom>, StorageError> {
        decoded(self, Table::Blooms, &height_key(height), |b| Some(Bloom::new(b.try_into().ok()?)))
    }

    /// Ordered transactions of a block that could not run.
    fn skipped(&self, height: Height) -> Result<Vec<Skipped>, StorageError> {
        Ok(decoded(self, Table::Skipped, &height_key(height), codec::decode_skipped)?.unwrap_or_default())
    }

    /// An account, after the head.
    fn account(&self, address: &Address) -> Result<Option<Account>, StorageError> {
        decoded(self, Table::Accounts, address.as_slice(), codec::decode_account)
    }

    /// A storage slot, after the head; zero when it was never set.
    fn storage(&self, address: &Address, slot: &U256) -> Result<U256, StorageError> {
        let key = tables::slot_key(address, slot);
        Ok(decoded(self, Table::Slots, &key, codec::decode_slot)?.unwrap_or_default())
    }

    /// Contract code by its Keccak-256.
    fn code(&self, hash: &B256) -> Result<Option<Bytes>, StorageError> {
        let code = self.get(Table::Code, tables::hash_key(hash))?;
        match code {
            Some(c) if keccak256(&c) != *hash => Err(corrupt(Table::Code, hash.as_slice(), "hashes to something else")),
            other => Ok(other),
        }
    }

    /// A node of the state trie or of a storage trie, after the head.
    fn trie_node(&self, key: &TrieKey) -> Result<Option<Bytes>, StorageError> {
        self.get(Table::TrieNodes, &tables::trie_key(key))
    }

    /// Checks by hash everything stored about a block: header, every transaction, the parent's and its own certificate,
    /// receipts, indexes. False when there is no such block. Signatures were checked before the block came here.
    fn check_block(&self, height: Height) -> Result<bool, StorageError> {
        let Some(block) = self.block(height)? else { return Ok(false) };
        let key = height_key(height);
        let check = if self.is_devnet() { basalt_proto::block::check_on_devnet } else { basalt_proto::block::check };
        let txs = check(block.block(), self.hash_fn()).map_err(|e| corrupt(Table::Bodies, &key, &e.to_string()))?;
        self.certificate(height)?;
        let receipts = self.receipts(height)?.unwrap_or_default();
        if self.height_of(&block.hash())? != Some(height) {
            return Err(corrupt(Table::Heights, block.hash().as_slice(), "does not lead to its block"));
        }
        let skipped = self.skipped(height)?;
        if receipts.len() + skipped.len() != txs.len() {
            return Err(corrupt(Table::Skipped, &key, "receipts and skipped transactions do not add up to the block"));
        }
        let executed = txs.iter().enumerate().filter(|(i, _)| skipped.iter().all(|s| s.index as usize != *i));
        for (position, ((index, tx), receipt)) in executed.zip(&receipts).enumerate() {
            let location = TxLocation { height, index: index as u32, receipt: position as u32 };
            if receipt.tx_hash != tx.hash() || self.tx_location(&tx.hash())? != Some(location) {
                return Err(corrupt(
                    Table::Transactions,
                    tx.hash().as_slice(),
                    "does not lead to its block and receipt",
                ));
            }
        }
        Ok(true)
    }
}

/// The payload, decoded by a function that gives `None` for what it cannot read.
fn decoded<T>(
    reader: &(impl Reader + ?Sized),
    table: Table,
    key: &[u8],
    decode: impl FnOnce(&[u8]) -> Option<T>,
) -> Result<Option<T>, StorageError> {
    let Some(bytes) = reader.get(table, key)? else { return Ok(None) };
    decode(&bytes).map(Some).ok_or_else(|| corrupt(table, key, "cannot be decoded"))
}

/// The payload, decoded as a protobuf message.
fn message<T: Codec>(reader: &(impl Reader + ?Sized), table: Table, key: &[u8]) -> Result<Option<T>, StorageError> {
    let Some(bytes) = reader.get(table, key)? else { return Ok(None) };
    T::decode(bytes.0).map(Some).map_err(|e| undecodable(table, key, &e))
}

/// Header and body of a block, encoded.
fn parts(reader: &(impl Reader + ?Sized), height: Height) -> Result<Option<(Bytes, Bytes)>, StorageError> {
    let key = height_key(height);
    let Some(header) = reader.get(Table::Headers, &key)? else { return Ok(None) };
    let body = reader.get(Table::Bodies, &key)?.ok_or_else(|| corrupt(Table::Bodies, &key, "is missing"))?;
    Ok(Some((header, body)))
}

/// Compares a recomputed block hash with the stored one.
fn check_hash(reader: &(impl Reader + ?Sized), height: Height, hash: B256) -> Result<(), StorageError> {
    if reader.block_hash(height)? == Some(hash) {
        return Ok(());
    }
    Err(corrupt(Table::Headers, &height_key(height), "the header does not hash to the stored block hash"))
}

pub(crate) fn corrupt(table: Table, key: &[u8], problem: &str) -> StorageError {
    let key = Bytes::copy_from_slice(key).to_string();
    StorageError::Corrupt { table: table.name(), key, problem: problem.to_owned() }
}

fn undecodable(table: Table, key: &[u8], e: &DecodeError) -> StorageError {
    corrupt(table, key, &e.to_string())
}
