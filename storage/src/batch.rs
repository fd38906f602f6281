//! What a commit writes: one batch over all tables.

use basalt_primitives::{
    Address, Height, Seal, SealedBlock, U256, keccak256,
    state::{StateChanges, TrieKey, TrieUpdates},
};
use basalt_proto::Codec as _;
use rocksdb::{Direction, IteratorMode, WriteBatch};

use crate::{
    StorageError, codec,
    database::{Database, Snapshot, read_error},
    history::{HistoryRange, MAX_WIPED_SLOTS},
    layer::{Layer, LayerRows},
    reader::{Reader, corrupt},
    tables::{self, LEDGER_FORMAT, Table, height_key, meta, seal, slot_key, trie_key, unseal},
    types::{BlockCommit, Head, Summary, TxLocation},
};

/// Up to so many rows of a wiped account are deleted one by one; above, by one range deletion, which is cheap to write
/// but slows down later reads of the range.
const DELETED_SINGLY: usize = 1024;

/// Checks that a block is the one after the head, and that its parts belong together.
pub fn check_follows(c: &BlockCommit<'_>, head: &Head) -> Result<(), StorageError> {
    let header = c.block.header();
    let parent = (header.parent_state_root, header.parent_receipts_root, header.parent_gas_used);
    let led_to = (head.outcome.state_root, head.outcome.receipts_root, head.outcome.gas_used);
    let transactions = c.block.block().transactions.len();
    let problem = if header.height != head.height().next() {
        "its height is not the next one"
    } else if header.parent_hash != head.hash() {
        "its parent is another block"
    } else if parent != led_to {
        "it carries other results of its parent than the ledger holds"
    } else if c.certificate.is_some() != (header.seal == Seal::None) || c.work.is_none() != (header.seal == Seal::None)
    {
        "it has a certificate and a seal, or neither"
    } else if c.certificate.is_some_and(|c2| (c2.height, c2.block_hash) != (header.height, c.block.hash())) {
        "the certificate is for another block"
    } else if c.tx_hashes.len() != transactions || c.receipts.len() + c.skipped.len() != transactions {
        "transaction hashes, receipts and skipped transactions do not add up to its transactions"
    } else {
        return Ok(());
    };
    Err(StorageError::NotNext { head: head.height(), height: header.height, problem })
}

/// Everything a block's commit writes.
pub fn block(database: &Database, c: &BlockCommit<'_>, next: &Head) -> Result<WriteBatch, StorageError> {
    let mut w = Writer::new(database);
    w.commit(c, next)?;
    Ok(w.finish())
}

/// The same as rows in memory, on the ledger as a snapshot shows it.
pub fn layer(on: &Snapshot, c: &BlockCommit<'_>, next: &Head) -> Result<LayerRows, StorageError> {
    let mut w = Writer { from: From::Snapshot(on), to: To::Rows(LayerRows::new()) };
    w.commit(c, next)?;
    match w.to {
        To::Rows(rows) => Ok(rows),
        To::Batch(..) => unreachable!("made with rows four lines above"),
    }
}

/// A layer's rows as a batch for the disk.
pub fn of_layer(database: &Database, layer: &Layer) -> WriteBatch {
    let mut batch = WriteBatch::default();
    for (table, key, value) in layer.rows() {
        match value {
            Some(value) => batch.put_cf(database.table(table), key, value),
            None => batch.delete_cf(database.table(table), key),
        }
    }
    batch
}

/// What a writer reads from.
#[derive(Clone, Copy)]
pub(crate) enum From<'a> {
    Database(&'a Database),
    Snapshot(&'a Snapshot),
}

/// Where it writes to.
enum To<'a> {
    Batch(&'a Database, WriteBatch),
    Rows(LayerRows),
}

/// Collects rows of one atomic write.
pub struct Writer<'a> {
    pub(crate) from: From<'a>,
    to: To<'a>,
}

impl From<'_> {
    pub fn reader(&self) -> &dyn Reader {
        match self {
            Self::Database(database) => *database,
            Self::Snapshot(snapshot) => *snapshot,
        }
    }

    /// Rows whose keys begin with a prefix, in order, checked, until `each` says that it has enough.
    pub fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        mut each: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StorageError> {
        let database = match self {
            Self::Database(database) => database,
            Self::Snapshot(snapshot) => {
                for row in snapshot.rows(table, prefix, prefix) {
                    let (key, payload) = row?;
                    if !each(&key, &payload) {
                        break;
                    }
                }
                return Ok(());
            }
        };
        let cf = database.table(table);
        for row in database.db.iterator_cf(cf, IteratorMode::From(prefix, Direction::Forward)) {
            let (key, stored) = row.map_err(|e| read_error(table, e))?;
            if !key.starts_with(prefix) {
                break;
            }
            let payload = unseal(table, &key, &stored);
            let payload = payload.ok_or_else(|| corrupt(table, &key, "the checksum does not match"))?;
            if !each(&key, payload) {
                break;
            }
        }
        Ok(())
    }
}

impl<'a> Writer<'a> {
    pub fn new(database: &'a Database) -> Self {
        Self { from: From::Database(database), to: To::Batch(database, WriteBatch::default()) }
    }

    /// The batch.
    ///
    /// # Panics
    /// If it was made for rows in memory.
    pub fn finish(self) -> WriteBatch {
        match self.to {
            To::Batch(_, batch) => batch,
            To::Rows(_) => panic!("rows in memory are taken by `layer`"),
        }
    }

    pub(crate) fn put(&mut self, table: Table, key: &[u8], payload: &[u8]) {
        let value = seal(table, key, payload);
        match &mut self.to {
            To::Batch(database, batch) => batch.put_cf(database.table(table), key, value),
            To::Rows(rows) => drop(rows.insert((table, key.to_vec()), Some(value))),
        }
    }

    pub(crate) fn delete(&mut self, table: Table, key: &[u8]) {
        match &mut self.to {
            To::Batch(database, batch) => batch.delete_cf(database.table(table), key),
            To::Rows(rows) => drop(rows.insert((table, key.to_vec()), None)),
        }
    }

    /// All rows of a block's commit.
    fn commit(&mut self, c: &BlockCommit<'_>, next: &Head) -> Result<(), StorageError> {
        let summary = Summary {
            hash: next.hash(),
            outcome: c.outcome,
            total_transactions: next.total_transactions,
            work: next.work,
        };
        self.block(c.block, &summary);
        self.certificates(c);
        self.transactions(c);
        self.logs(c.block.height(), c.receipts);
        self.history(c.block.height(), c.changes, MAX_WIPED_SLOTS)?;
        self.state(c.changes, c.trie)
    }

    /// Format, chain and schema versions.
    pub fn identity(&mut self, genesis: &SealedBlock, chain_id: u64) {
        self.put(Table::Meta, meta::FORMAT, &LEDGER_FORMAT.to_be_bytes());
        self.put(Table::Meta, meta::GENESIS, genesis.hash().as_slice());
        self.put(Table::Meta, meta::CHAIN_ID, &chain_id.to_be_bytes());
        Table::ALL.into_iter().for_each(|table| self.schema(table));
    }

    /// Older states begin at a height, that of the newest block.
    pub fn first_history(&mut self, height: Height) {
        let range = HistoryRange { first: height, cleaned: height };
        self.put(Table::Meta, meta::HISTORY, &codec::encode_history(&range));
    }

    /// Logs are indexed from a height on.
    pub fn first_logs(&mut self, height: Height) {
        self.put(Table::Meta, meta::LOG_INDEX, &height.0.to_be_bytes());
    }

    /// The schema version of a table.
    pub fn schema(&mut self, table: Table) {
        self.put(Table::Meta, &meta::schema(table), &table.schema().to_be_bytes());
    }

    /// Header, body, hash index, outcome, and the head that they make.
    pub fn block(&mut self, block: &SealedBlock, summary: &Summary) {
        let key = height_key(block.height());
        let (header, body) = codec::split_block(block.block());
        self.put(Table::Headers, &key, &header);
        self.put(Table::Bodies, &key, &body);
        self.put(Table::Heights, tables::hash_key(&summary.hash), &key);
        self.put(Table::Outcomes, &key, &codec::encode_summary(summary));
        self.put(Table::Meta, meta::HEAD, &codec::encode_head(block.height(), summary.hash));
    }

    /// The block's certificate, and the parent's as this block carries it: the same on every node from now on.
    fn certificates(&mut self, c: &BlockCommit<'_>) {
        if let Some(certificate) = c.certificate {
            self.put(Table::Certificates, &height_key(c.block.height()), &certificate.encode());
        }
        if let Some(last) = &c.block.block().last_certificate {
            self.put(Table::Certificates, &height_key(last.height), &last.encode());
        }
    }

    /// Receipts, skipped transactions and the index of those that ran.
    fn transactions(&mut self, c: &BlockCommit<'_>) {
        let height = c.block.height();
        let key = height_key(height);
        if !c.receipts.is_empty() {
            self.put(Table::Receipts, &key, &codec::encode_receipts(c.receipts));
        }
        if !c.skipped.is_empty() {
            self.put(Table::Skipped, &key, &codec::encode_skipped(c.skipped));
        }
        let mut skipped = c.skipped.iter().map(|s| s.index).peekable();
        let mut receipt = 0;
        for (index, hash) in (0u32..).zip(c.tx_hashes) {
            if skipped.next_if_eq(&index).is_some() {
                continue;
            }
            let location = TxLocation { height, index, receipt };
            self.put(Table::Transactions, tables::hash_key(hash), &codec::encode_location(&location));
            receipt += 1;
        }
    }

    /// Accounts, slots, code and trie nodes. Deletions of a wiped account come first, so that what is written after
    /// them in the same batch stays.
    pub fn state(&mut self, changes: &StateChanges, trie: &TrieUpdates) -> Result<(), StorageError> {
        let destroyed = changes.accounts.iter().filter(|(_, a)| a.is_none()).map(|(address, _)| address);
        let wiped = changes.storage.iter().filter(|(_, s)| s.wiped).map(|(address, _)| address);
        for address in destroyed.chain(wiped) {
            self.wipe(address)?;
        }
        for (address, account) in &changes.accounts {
            match account {
                Some(a) => self.put(Table::Accounts, address.as_slice(), &codec::encode_account(a)),
                None => self.delete(Table::Accounts, address.as_slice()),
            }
        }
        for (address, storage) in &changes.storage {
            for (slot, value) in &storage.slots {
                self.slot(address, slot, value);
            }
        }
        for (hash, code) in &changes.code {
            self.put(Table::Code, tables::hash_key(hash), code);
        }
        self.trie(trie);
        Ok(())
    }

    fn slot(&mut self, address: &Address, slot: &U256, value: &U256) {
        let key = slot_key(address, slot);
        if value.is_zero() {
            self.delete(Table::Slots, &key);
        } else {
            self.put(Table::Slots, &key, &codec::encode_slot(value));
        }
    }

    fn trie(&mut self, updates: &TrieUpdates) {
        for (place, node) in &updates.nodes {
            let key = trie_key(place);
            match node {
                Some(node) => self.put(Table::TrieNodes, &key, node),
                None => self.delete(Table::TrieNodes, &key),
            }
        }
    }

    /// Deletes all slots of an account and its storage trie.
    fn wipe(&mut self, address: &Address) -> Result<(), StorageError> {
        self.delete_prefix(Table::Slots, address.as_slice())?;
        let root = TrieKey { account: Some(keccak256(address)), path: Vec::new() };
        self.delete_prefix(Table::TrieNodes, &trie_key(&root))
    }

    fn delete_prefix(&mut self, table: Table, prefix: &[u8]) -> Result<(), StorageError> {
        let mut keys = Vec::new();
        let singly = if matches!(self.to, To::Rows(_)) { usize::MAX } else { DELETED_SINGLY };
        let mut more = false;
        self.from.scan(table, prefix, |key, _| {
            more = keys.len() == singly;
            keys.push(key.to_vec());
            !more
        })?;
        if let To::Batch(database, batch) = &mut self.to
            && more
        {
            // One byte past every key below the prefix: no table's keys are longer than 97 bytes.
            let end = [prefix, &[0xff; 98]].concat();
            batch.delete_range_cf(database.table(table), prefix, &end);
            return Ok(());
        }
        for key in keys {
            self.delete(table, &key);
        }
        Ok(())
    }
}
