//! Blocks that are not final: the rows that their commit will write, held in memory by block hash (ADR-0027).
//!
//! In: the commit of a block on a [`Snapshot`] of its parent. Out: a layer, which a snapshot puts over the disk so that every
//! reader sees the block as if it were stored. A layer is written when its block becomes final, and dropped when another
//! does in its place. Nothing here touches the disk.

use std::{
    collections::{BTreeMap, HashSet},
    hash::{BuildHasherDefault, DefaultHasher, Hash as _, Hasher},
    sync::Arc,
};

use basalt_primitives::B256;

use crate::{tables::Table, types::Head};

/// A table's key.
pub(crate) type RowKey = (Table, Vec<u8>);

/// Rows by key: sealed values as they are stored, `None` for those that are deleted.
pub(crate) type LayerRows = BTreeMap<RowKey, Option<Vec<u8>>>;

/// One block's rows.
pub(crate) struct Layer {
    /// The head that the block makes.
    pub head: Arc<Head>,
    /// By rising key.
    rows: Vec<(RowKey, Option<Vec<u8>>)>,
    /// Hashes of the keys: most reads find nothing in most layers, and must find that out fast.
    keys: HashSet<u64, BuildHasherDefault<Identity>>,
}

/// For numbers that are hashes already.
#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|b| self.0 = self.0.rotate_left(8) ^ u64::from(*b));
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = n;
    }
}

/// The hash of a key, for [`Layer::find`].
pub(crate) fn key_hash(table: Table, key: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (table as u8, key).hash(&mut hasher);
    hasher.finish()
}

impl Layer {
    pub fn new(head: Arc<Head>, rows: LayerRows) -> Self {
        let rows: Vec<_> = rows.into_iter().collect();
        let keys = rows.iter().map(|((table, key), _)| key_hash(*table, key)).collect();
        Self { head, rows, keys }
    }

    /// Hash of the block below.
    pub fn parent(&self) -> B256 {
        self.head.block.header().parent_hash
    }

    /// The sealed value of a key, if the block wrote or deleted it. `hash` is that of [`key_hash`].
    pub fn find(&self, hash: u64, table: Table, key: &[u8]) -> Option<Option<&[u8]>> {
        if !self.keys.contains(&hash) {
            return None;
        }
        let at = self.rows.binary_search_by(|((t, k), _)| (*t, k.as_slice()).cmp(&(table, key))).ok()?;
        Some(self.rows[at].1.as_deref())
    }

    /// The first key at or after `from`, or only after it, that begins with a prefix.
    pub fn first_key(&self, table: Table, from: &[u8], inclusive: bool, prefix: &[u8]) -> Option<&[u8]> {
        let at = self.rows.partition_point(|((t, k), _)| {
            let key = (*t, k.as_slice());
            if inclusive { key < (table, from) } else { key <= (table, from) }
        });
        let ((found, key), _) = self.rows.get(at)?;
        (*found == table && key.starts_with(prefix)).then_some(key)
    }

    /// Everything, by rising key.
    pub fn rows(&self) -> impl Iterator<Item = (Table, &[u8], Option<&[u8]>)> {
        self.rows.iter().map(|((table, key), value)| (*table, key.as_slice(), value.as_deref()))
    }
}

/// The layers of all branches above the newest final block, by block hash.
#[derive(Default)]
pub(crate) struct Layers(BTreeMap<B256, Arc<Layer>>);

impl Layers {
    pub fn insert(&mut self, layer: Layer) {
        self.0.insert(layer.head.hash(), Arc::new(layer));
    }

    pub fn get(&self, block: &B256) -> Option<&Arc<Layer>> {
        self.0.get(block)
    }

    /// The layers from the block after `base` up to `block`, lowest first; `None` where they do not lead there.
    pub fn path(&self, base: &B256, block: B256) -> Option<Vec<Arc<Layer>>> {
        let (mut path, mut at) = (Vec::new(), block);
        while at != *base {
            let layer = self.0.get(&at)?;
            at = layer.parent();
            path.push(Arc::clone(layer));
        }
        path.reverse();
        Some(path)
    }

    /// Drops what does not rest on a block that has become final.
    pub fn keep_above(&mut self, base: &Head) {
        let mut by_height: Vec<_> = self.0.values().filter(|l| l.head.height() > base.height()).cloned().collect();
        by_height.sort_by_key(|l| l.head.height());
        let mut kept: BTreeMap<B256, Arc<Layer>> = BTreeMap::new();
        for layer in by_height {
            if layer.parent() == base.hash() || kept.contains_key(&layer.parent()) {
                kept.insert(layer.head.hash(), layer);
            }
        }
        self.0 = kept;
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}
