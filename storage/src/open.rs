//! What is checked when a ledger is opened.

use std::sync::Arc;

use basalt_primitives::{B256, Bytes, ChainSpec, Height, Seal, keccak256, state::TrieKey};

use crate::{
    StorageError,
    batch::Writer,
    codec,
    database::Database,
    reader::{Reader, corrupt},
    tables::{LEDGER_FORMAT, Table, height_key, meta, trie_key},
    types::{Head, Outcome, Summary},
};

/// Whether the genesis batch was ever written; false in a directory whose creation was cut short.
pub fn is_initialised(database: &Database) -> Result<bool, StorageError> {
    let has = |key| database.get(Table::Meta, key).map(|v| v.is_some());
    match (has(meta::FORMAT)?, has(meta::HEAD)?) {
        (true, true) => Ok(true),
        (false, false) => Ok(false),
        _ => Err(corrupt(Table::Meta, meta::FORMAT, "the ledger's identity is incomplete")),
    }
}

/// Refuses newer schemas and other chains.
pub fn check_identity(database: &Database, spec: &ChainSpec) -> Result<(), StorageError> {
    check_schema(database, "ledger", meta::FORMAT, LEDGER_FORMAT)?;
    for table in Table::ALL {
        check_schema(database, table.name(), &meta::schema(table), table.schema())?;
    }
    let found = fact(database, meta::GENESIS, codec::decode_hash)?;
    let expected = spec.genesis_block().hash();
    if found != expected {
        return Err(StorageError::OtherChain { path: database.path.clone(), found, expected });
    }
    if fact(database, meta::CHAIN_ID, codec::decode_u64)? != spec.chain_id {
        return Err(corrupt(Table::Meta, meta::CHAIN_ID, "is not the chain id of the stored genesis block"));
    }
    Ok(())
}

/// Brings a ledger of older software up to date, in one batch. Tables that it lacks are empty: older states begin with the
/// newest block, and logs are indexed from the next one on.
pub fn migrate(database: &Database) -> Result<(), StorageError> {
    let lacks = |table: &Table| database.get(Table::Meta, &meta::schema(*table)).map(|v| v.is_none());
    if !lacks(&Table::Changed)? {
        return Ok(());
    }
    let (height, _) = fact(database, meta::HEAD, codec::decode_head)?;
    let mut writer = Writer::new(database);
    for table in ADDED {
        if lacks(&table)? {
            writer.schema(table);
        }
    }
    writer.first_history(height);
    writer.first_logs(height.next());
    tracing::info!(
        "the ledger keeps older states from block {height} on; blocks before it were stored by an older version"
    );
    database.write(writer.finish())
}

/// Tables that the first ledgers did not have.
const ADDED: [Table; 6] =
    [Table::Changed, Table::AccountHistory, Table::SlotHistory, Table::Blooms, Table::Logs, Table::LogIndex];

fn check_schema(database: &Database, table: &str, key: &[u8], supported: u32) -> Result<(), StorageError> {
    let found = fact(database, key, codec::decode_u32)?;
    if found > supported {
        let path = database.path.clone();
        return Err(StorageError::NewerSchema { path, table: table.to_owned(), found, supported });
    }
    // Version 1 is the first, so there is nothing to migrate from yet: an older one cannot have been written.
    if found < supported {
        return Err(corrupt(Table::Meta, key, "is a schema version that was never in use"));
    }
    Ok(())
}

/// A fact about the ledger that is always there.
fn fact<T>(database: &Database, key: &[u8], decode: impl FnOnce(&[u8]) -> Option<T>) -> Result<T, StorageError> {
    let bytes = database.get(Table::Meta, key)?.ok_or_else(|| corrupt(Table::Meta, key, "is missing"))?;
    decode(&bytes).ok_or_else(|| corrupt(Table::Meta, key, "cannot be decoded"))
}

/// Reads the head and checks by hash everything stored about it.
pub fn load_head(database: &Database) -> Result<Head, StorageError> {
    let (height, hash) = fact(database, meta::HEAD, codec::decode_head)?;
    let key = height_key(height);
    let missing = |table| corrupt(table, &key, "the head's row is missing");
    let block = database.block(height)?.ok_or_else(|| missing(Table::Headers))?;
    if block.hash() != hash {
        return Err(corrupt(Table::Meta, meta::HEAD, "is not the hash of the newest block"));
    }
    database.check_block(height)?;
    let summary = database.summary(height)?.ok_or_else(|| missing(Table::Outcomes))?;
    let certificate = database.certificate(height)?.map(Arc::new);
    if certificate.is_none() && height > Height::GENESIS && block.header().seal == Seal::None {
        return Err(missing(Table::Certificates));
    }
    check_state_root(database, &summary.outcome)?;
    let Summary { outcome, total_transactions, work, .. } = summary;
    Ok(Head { block, certificate, outcome, total_transactions, work })
}

/// Where the root of the account trie hangs.
pub const ROOT: TrieKey = TrieKey { account: None, path: Vec::new() };

/// The state root that a root node gives. The root of an empty trie is the hash of the RLP of nothing; no node has it.
pub fn state_root(node: Option<&Bytes>) -> B256 {
    node.map_or_else(|| keccak256([0x80]), keccak256)
}

/// Checks that the root of the stored state trie is the one the head led to.
fn check_state_root(database: &Database, outcome: &Outcome) -> Result<(), StorageError> {
    if state_root(database.trie_node(&ROOT)?.as_ref()) == outcome.state_root {
        return Ok(());
    }
    Err(corrupt(Table::TrieNodes, &trie_key(&ROOT), "the state trie's root is not the one of the newest block"))
}
