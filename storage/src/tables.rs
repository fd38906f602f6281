//! The whole schema of the ledger: every table, its key, its value, its version (ADR-0005).
//!
//! A table is a RocksDB column family. Keys are plain, their integers big-endian, so that ranges are scans: blocks by
//! height, slots by account, trie nodes by path. Every value is stored as [`seal`] makes it: four bytes of checksum over
//! table, key and payload, then the payload, so that a flipped bit, or a value under the wrong key, is found by whoever
//! reads it. What a block hash, a root or a code hash binds is checked against that as well.
//!
//! | table | key | value |
//! | --- | --- | --- |
//! | `meta` | name, see [`meta`] | integers big-endian, hashes |
//! | `headers` | height, 8 | `basalt.v1.Header` |
//! | `bodies` | height, 8 | `basalt.v1.Block` without its header (field 1): last certificate, transactions |
//! | `certificates` | height, 8 | `basalt.v1.CommitCertificate` of the block: the node's own of the head, below it the one that the next block carries |
//! | `heights` | block hash, 32 | height, 8 |
//! | `outcomes` | height, 8 | block hash, state root, receipts root, gas used, transactions executed up to and with this block; then, where blocks have a seal, work of the chain 32 and its highest timestamp 8 |
//! | `transactions` | transaction hash, 32 | height 8, position in the block 4, position among its receipts 4; only executed ones |
//! | `receipts` | height, 8 | `basalt.v1.BlockReceipts`; no row when there are none |
//! | `skipped` | height, 8 | list of position 4, hash 32, length of reason 2, reason; no row when there are none |
//! | `accounts` | address, 20 | nonce 8, balance 32, then the code hash 32 if there is code |
//! | `slots` | address 20, slot 32 | value, big-endian without leading zeros; zero has no row |
//! | `code` | Keccak-256, 32 | the code |
//! | `trie_nodes` | 0, or 1 and the account's hash 32; then the path, a nibble a byte | the node's encoding |
//! | `changed` | height, 8 | what the block changed: number of accounts 4, their addresses; then, per account with storage changes, address 20, number of slots 4, slots 32 each; no row when nothing |
//! | `account_history` | address 20, height 8 | the account before that block changed it: see `codec::encode_past_account`; empty when there was none |
//! | `slot_history` | address 20, slot 32, height 8 | the value before that block changed it, as in `slots`; empty for zero |
//! | `blooms` | height, 8 | the bloom over the block's logs, 256; no row when there are none |
//! | `logs` | height 8, position among the block's logs 4 | position among the receipts 4, transaction hash 32, address 20, number of topics 1, topics 32 each, data |
//! | `log_index` | 0 and address 20, or 1 to 4 and that topic 32; then the height 8 | positions of the block's logs with it: differences as LEB128, rising |
//!
//! `changed` and the two histories are what older states are made of (ADR-0017); `logs` and `log_index` are made from the
//! receipts (ADR-0018).

use basalt_primitives::{Address, B256, Height, U256, state::TrieKey};

/// Version of the directory's format as a whole: raised when even [`Table::Meta`] could not be read by older software.
pub const LEDGER_FORMAT: u32 = 1;

/// The tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Facts about the ledger itself.
    Meta,
    /// Headers by height.
    Headers,
    /// What a block holds beside its header, by height.
    Bodies,
    /// Commit certificates by height of the block they finalize.
    Certificates,
    /// Heights by block hash.
    Heights,
    /// What each block led to, by height.
    Outcomes,
    /// Where a transaction is, by its hash.
    Transactions,
    /// Receipts by height.
    Receipts,
    /// Ordered transactions that could not run, by height.
    Skipped,
    /// Accounts by address: the newest finalized state.
    Accounts,
    /// Storage slots by address and slot: the newest finalized state.
    Slots,
    /// Contract code by hash; never deleted.
    Code,
    /// Nodes of the state trie and the storage tries by path: the newest finalized state.
    TrieNodes,
    /// Which accounts and slots a block changed, by height.
    Changed,
    /// Accounts before they changed, by address and height.
    AccountHistory,
    /// Slots before they changed, by address, slot and height.
    SlotHistory,
    /// Blooms of blocks with logs, by height.
    Blooms,
    /// Logs by height and position.
    Logs,
    /// Positions of logs by address or topic, and height.
    LogIndex,
}

/// How a table is read and written, for tuning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Appended in key order, read by range or near the end.
    Log,
    /// Read and written at random by whole key.
    Point,
    /// Many keys share a prefix of so many bytes and differ in the height at their end; read by seeking within a prefix.
    Series(usize),
}

impl Table {
    /// Every table.
    pub const ALL: [Self; 19] = [
        Self::Meta,
        Self::Headers,
        Self::Bodies,
        Self::Certificates,
        Self::Heights,
        Self::Outcomes,
        Self::Transactions,
        Self::Receipts,
        Self::Skipped,
        Self::Accounts,
        Self::Slots,
        Self::Code,
        Self::TrieNodes,
        Self::Changed,
        Self::AccountHistory,
        Self::SlotHistory,
        Self::Blooms,
        Self::Logs,
        Self::LogIndex,
    ];

    /// Name of the column family.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Headers => "headers",
            Self::Bodies => "bodies",
            Self::Certificates => "certificates",
            Self::Heights => "heights",
            Self::Outcomes => "outcomes",
            Self::Transactions => "transactions",
            Self::Receipts => "receipts",
            Self::Skipped => "skipped",
            Self::Accounts => "accounts",
            Self::Slots => "slots",
            Self::Code => "code",
            Self::TrieNodes => "trie_nodes",
            Self::Changed => "changed",
            Self::AccountHistory => "account_history",
            Self::SlotHistory => "slot_history",
            Self::Blooms => "blooms",
            Self::Logs => "logs",
            Self::LogIndex => "log_index",
        }
    }

    /// Version of the table's keys and values. Raise it with every change, together with a migration from the one before.
    #[must_use]
    pub const fn schema(self) -> u32 {
        match self {
            Self::Meta
            | Self::Headers
            | Self::Bodies
            | Self::Certificates
            | Self::Heights
            | Self::Outcomes
            | Self::Transactions
            | Self::Receipts
            | Self::Skipped
            | Self::Accounts
            | Self::Slots
            | Self::Code
            | Self::TrieNodes
            | Self::Changed
            | Self::AccountHistory
            | Self::SlotHistory
            | Self::Blooms
            | Self::Logs
            | Self::LogIndex => 1,
        }
    }

    /// How the table is used.
    #[must_use]
    pub const fn shape(self) -> Shape {
        match self {
            Self::Meta
            | Self::Headers
            | Self::Bodies
            | Self::Certificates
            | Self::Outcomes
            | Self::Receipts
            | Self::Skipped
            | Self::Changed
            | Self::Blooms
            | Self::Logs => Shape::Log,
            Self::Heights | Self::Transactions | Self::Accounts | Self::Slots | Self::Code | Self::TrieNodes => {
                Shape::Point
            }
            Self::AccountHistory => Shape::Series(20),
            Self::SlotHistory => Shape::Series(52),
            // An address's keys are shorter than a topic's; both begin with more than this.
            Self::LogIndex => Shape::Series(21),
        }
    }

    /// The table of a column family's name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.name() == name)
    }
}

/// Keys of [`Table::Meta`].
pub mod meta {
    use super::Table;

    /// [`super::LEDGER_FORMAT`], 4 bytes.
    pub const FORMAT: &[u8] = b"format";
    /// Hash of the genesis block.
    pub const GENESIS: &[u8] = b"genesis";
    /// Chain id, 8 bytes.
    pub const CHAIN_ID: &[u8] = b"chain_id";
    /// Height 8 and hash 32 of the newest block.
    pub const HEAD: &[u8] = b"head";
    /// Which older states there are: the oldest height 8, and the height 8 up to which nothing is left of older ones.
    pub const HISTORY: &[u8] = b"history";
    /// The first height 8 whose logs are indexed.
    pub const LOG_INDEX: &[u8] = b"log_index";

    /// Schema version of a table, 4 bytes.
    #[must_use]
    pub fn schema(table: Table) -> Vec<u8> {
        [b"schema/", table.name().as_bytes()].concat()
    }
}

/// Key of the tables by height.
#[must_use]
pub const fn height_key(height: Height) -> [u8; 8] {
    height.0.to_be_bytes()
}

/// Key of [`Table::Slots`].
#[must_use]
pub fn slot_key(address: &Address, slot: &U256) -> [u8; 52] {
    let mut key = [0; 52];
    key[..20].copy_from_slice(address.as_slice());
    key[20..].copy_from_slice(&slot.to_be_bytes::<32>());
    key
}

/// Key of [`Table::AccountHistory`].
#[must_use]
pub fn account_history_key(address: &Address, height: Height) -> [u8; 28] {
    let mut key = [0; 28];
    key[..20].copy_from_slice(address.as_slice());
    key[20..].copy_from_slice(&height_key(height));
    key
}

/// Key of [`Table::SlotHistory`].
#[must_use]
pub fn slot_history_key(address: &Address, slot: &U256, height: Height) -> [u8; 60] {
    let mut key = [0; 60];
    key[..52].copy_from_slice(&slot_key(address, slot));
    key[52..].copy_from_slice(&height_key(height));
    key
}

/// Key of [`Table::Logs`].
#[must_use]
pub fn log_key(height: Height, position: u32) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&height_key(height));
    key[8..].copy_from_slice(&position.to_be_bytes());
    key
}

/// Key of [`Table::TrieNodes`]: a node sorts before everything below it.
#[must_use]
pub fn trie_key(key: &TrieKey) -> Vec<u8> {
    let mut out = Vec::with_capacity(33 + key.path.len());
    match &key.account {
        None => out.push(0),
        Some(account) => {
            out.push(1);
            out.extend_from_slice(account.as_slice());
        }
    }
    out.extend_from_slice(&key.path);
    out
}

/// Key of the tables by hash.
#[must_use]
pub const fn hash_key(hash: &B256) -> &[u8; 32] {
    &hash.0
}

/// Bytes of checksum before every payload.
pub const CHECKSUM: usize = 4;

/// The stored form of a payload: checksum over table, key and payload, then the payload.
#[must_use]
pub fn seal(table: Table, key: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(CHECKSUM + payload.len());
    out.extend_from_slice(&checksum(table, key, payload).to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// The payload of a stored value, or `None` when it is not what was written under this key.
#[must_use]
pub fn unseal<'a>(table: Table, key: &[u8], stored: &'a [u8]) -> Option<&'a [u8]> {
    let (sum, payload) = stored.split_first_chunk::<CHECKSUM>()?;
    (u32::from_be_bytes(*sum) == checksum(table, key, payload)).then_some(payload)
}

fn checksum(table: Table, key: &[u8], payload: &[u8]) -> u32 {
    let mut h = crc32fast::Hasher::new();
    h.update(table.name().as_bytes());
    // The key's length keeps key and payload apart.
    h.update(&[u8::try_from(key.len()).expect("keys are at most 97 bytes")]);
    h.update(key);
    h.update(payload);
    h.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_found() {
        for table in Table::ALL {
            assert_eq!(Table::from_name(table.name()), Some(table));
        }
    }

    /// Keys and sealed values are a disk format: a change here makes ledgers unreadable and needs a migration.
    #[test]
    fn golden_keys() {
        let address = Address::repeat_byte(0xaa);
        assert_eq!(height_key(Height(258)), [0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(slot_key(&address, &U256::from(7))[..20], [0xaa; 20]);
        assert_eq!(slot_key(&address, &U256::from(7))[51], 7);
        assert_eq!(trie_key(&TrieKey { account: None, path: vec![1, 15] }), [0, 1, 15]);
        let storage = trie_key(&TrieKey { account: Some(B256::repeat_byte(0xbb)), path: vec![3] });
        assert_eq!((storage[0], storage.len(), storage[33]), (1, 34, 3));
        assert_eq!(meta::schema(Table::TrieNodes), b"schema/trie_nodes");
        // CRC-32 of "meta", 6, "format", 00000001.
        assert_eq!(seal(Table::Meta, b"format", &[0, 0, 0, 1]), [163, 88, 2, 150, 0, 0, 0, 1]);
    }

    #[test]
    fn every_flipped_bit_of_a_value_and_every_other_key_is_found() {
        let stored = seal(Table::Code, b"key", b"payload");
        assert_eq!(unseal(Table::Code, b"key", &stored), Some(&b"payload"[..]));
        for bit in 0..stored.len() * 8 {
            let mut flipped = stored.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unseal(Table::Code, b"key", &flipped), None, "bit {bit}");
        }
        assert_eq!(unseal(Table::Code, b"kez", &stored), None);
        assert_eq!(unseal(Table::Receipts, b"key", &stored), None);
        assert_eq!(unseal(Table::Code, b"key", &stored[..3]), None);
    }
}
