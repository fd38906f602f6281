//! What a node may choose about its ledger, and the RocksDB options that follow.

use std::path::PathBuf;

use rocksdb::{
    BlockBasedOptions, Cache, ChecksumType, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode, Env, LogLevel,
    LruCacheOptions, Options, SliceTransform, WriteOptions,
};

use crate::{
    StorageError,
    tables::{Shape, Table},
};

const MIB: usize = 1 << 20;

/// Local settings of the ledger: they change memory, speed and open files, never what is stored.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// Bytes of decompressed blocks, indexes and filters kept in memory.
    pub cache_bytes: usize,
    /// Bytes of unflushed writes kept in memory, over all tables.
    pub memtable_bytes: usize,
    /// Most files RocksDB keeps open.
    pub max_open_files: i32,
    /// Threads for flushing and compaction.
    pub background_threads: i32,
    /// Keeps the files in memory instead of the file system.
    pub memory: Option<MemoryDisk>,
}

/// A disk in memory, for simulations: it outlives every ledger opened on it, so that a node can be dropped and started
/// again, and ends with its last clone.
#[derive(Clone)]
pub struct MemoryDisk(Env);

impl MemoryDisk {
    /// An empty disk.
    pub fn new() -> Result<Self, StorageError> {
        let path = PathBuf::from("a disk in memory");
        Env::mem_env().map(Self).map_err(|cause| StorageError::Open { path, cause })
    }
}

impl std::fmt::Debug for MemoryDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MemoryDisk")
    }
}

impl Default for OpenOptions {
    /// For a validator that stays below 150 MB in all.
    fn default() -> Self {
        Self {
            cache_bytes: 32 * MIB,
            memtable_bytes: 16 * MIB,
            max_open_files: 256,
            background_threads: 2,
            memory: None,
        }
    }
}

impl OpenOptions {
    /// Options of the database as a whole.
    pub(crate) fn database(&self, create: bool) -> Options {
        let mut o = Options::default();
        o.create_if_missing(create);
        if let Some(MemoryDisk(env)) = &self.memory {
            o.set_env(env);
        }
        // Also when the ledger exists: its creation may have been cut short, or this version may add a table.
        o.create_missing_column_families(true);
        o.set_max_open_files(self.max_open_files.max(32));
        o.set_max_background_jobs(self.background_threads.max(1));
        o.set_db_write_buffer_size(self.memtable_bytes.max(4 * MIB));
        // A crash may tear the end of the log; everything synced before it is there, and nothing after it is kept.
        o.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
        o.set_track_and_verify_wals_in_manifest(true);
        // Tables that are seldom written would otherwise keep old logs alive.
        o.set_max_total_wal_size((4 * self.memtable_bytes.max(4 * MIB)) as u64);
        o.set_bytes_per_sync(MIB as u64);
        o.set_log_level(LogLevel::Warn);
        o.set_keep_log_file_num(3);
        o.set_max_log_file_size(MIB);
        o.set_stats_dump_period_sec(0);
        o.set_stats_persist_period_sec(0);
        o
    }

    /// Every table with its options, sharing one cache.
    pub(crate) fn tables(&self) -> Vec<ColumnFamilyDescriptor> {
        let cache = self.cache();
        let families = Table::ALL.map(|t| ColumnFamilyDescriptor::new(t.name(), self.table(t, &cache)));
        // RocksDB insists on this one; it stays empty.
        let default = ColumnFamilyDescriptor::new(rocksdb::DEFAULT_COLUMN_FAMILY_NAME, Options::default());
        families.into_iter().chain([default]).collect()
    }

    fn cache(&self) -> Cache {
        let mut o = LruCacheOptions::default();
        o.set_capacity(self.cache_bytes.max(MIB));
        // Few shards: with RocksDB's default each would be smaller than one full block body.
        o.set_num_shard_bits(2);
        Cache::new_lru_cache_opts(&o)
    }

    fn table(&self, table: Table, cache: &Cache) -> Options {
        let mut b = BlockBasedOptions::default();
        b.set_block_cache(cache);
        b.set_cache_index_and_filter_blocks(true);
        b.set_pin_l0_filter_and_index_blocks_in_cache(true);
        b.set_checksum_type(ChecksumType::XXH3);
        b.set_format_version(6);
        match table.shape() {
            Shape::Point => {
                b.set_block_size(4 * 1024);
                b.set_bloom_filter(10.0, false);
                b.set_optimize_filters_for_memory(true);
            }
            Shape::Log => b.set_block_size(16 * 1024),
            Shape::Series(_) => {
                b.set_block_size(8 * 1024);
                b.set_bloom_filter(10.0, false);
                b.set_whole_key_filtering(false);
                b.set_optimize_filters_for_memory(true);
            }
        }
        let mut o = Options::default();
        if let Shape::Series(prefix) = table.shape() {
            // Filters are over prefixes, so that what never changed is found out without reading a file.
            o.set_prefix_extractor(SliceTransform::create_fixed_prefix(prefix));
        }
        // A file half of whose entries are deletions, as pruning leaves them, is compacted soon: that frees its space.
        o.add_compact_on_deletion_collector_factory(16 * 1024, 8 * 1024, 0.5);
        o.set_block_based_table_factory(&b);
        o.set_write_buffer_size(self.memtable_bytes.max(4 * MIB) / 2);
        // Nineteen tables share the memtable budget; RocksDB's default would hand each a mebibyte at its first write.
        o.set_arena_block_size(64 * 1024);
        o.set_target_file_size_base(32 * MIB as u64);
        o.set_max_bytes_for_level_base(128 * MIB as u64);
        o.set_level_compaction_dynamic_level_bytes(true);
        o.set_compression_type(DBCompressionType::Lz4);
        o.set_bottommost_compression_type(DBCompressionType::Zstd);
        o
    }
}

/// Writes that are on the disk when the call returns.
pub(crate) fn synced() -> WriteOptions {
    let mut o = WriteOptions::default();
    o.set_sync(true);
    o
}
