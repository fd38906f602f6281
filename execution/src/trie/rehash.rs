//! Names what changed: encodes and hashes dirty nodes, children before parents, and collects what is to be written.
//!
//! Dirty nodes are listed from the root down, in the order of their paths, then named level by level from the deepest up:
//! nodes of one level do not depend on each other, so many are hashed at once ([`super::keccak`]).

use std::ops::Range;

use alloy_primitives::{B256, Bytes};
use basalt_primitives::state::{TrieKey, TrieUpdates};

use super::{
    arena::Arena,
    codec::{encode, max_encoded_len},
    keccak::keccak_each,
    node::{Kid, Node, NodeId, NodeRef, nibble},
};

/// Encodings of a block's nodes, in one buffer, by the order of their places.
#[derive(Default)]
pub(super) struct Writes {
    buffer: Vec<u8>,
    /// An empty range: the node lives in its parent and has no record of its own.
    nodes: Vec<(TrieKey, Range<usize>)>,
}

impl Writes {
    /// Everything to write: what is gone is deleted, unless something new hangs there.
    pub(super) fn into_updates(parts: [Self; 2], gone: Vec<TrieKey>) -> TrieUpdates {
        let mut nodes: Vec<(TrieKey, Option<Bytes>)> = gone.into_iter().map(|key| (key, None)).collect();
        nodes.reserve(parts.iter().map(|p| p.nodes.len()).sum());
        for part in parts {
            let buffer = Bytes::from(part.buffer);
            let record = |range: Range<usize>| (!range.is_empty()).then(|| buffer.slice(range));
            nodes.extend(part.nodes.into_iter().map(|(key, range)| (key, record(range))));
        }
        // Of equal keys the last one stays: collecting sorts stably.
        TrieUpdates { nodes: nodes.into_iter().collect() }
    }
}

/// Who names a dirty node.
enum Parent {
    /// The root of the trie with this index.
    Root(usize),
    Node(NodeId, usize),
}

struct Dirty {
    id: NodeId,
    parent: Parent,
    place: TrieKey,
}

/// Names the dirty nodes of tries, given by whose they are and their root; sorted by whose they are.
pub(super) fn rehash(arena: &mut Arena, roots: &mut [(Option<B256>, Kid)]) -> Writes {
    let mut list = List { arena, path: [0; 64], dirty: Vec::new(), levels: Vec::new(), bytes: 0 };
    for (i, (account, kid)) in roots.iter().enumerate() {
        list.add(*account, kid, Parent::Root(i), 0);
    }
    let List { dirty, levels, bytes, .. } = list;
    let mut buffer = Vec::with_capacity(bytes);
    let mut ranges = vec![0..0; dirty.len()];
    for level in levels.iter().rev() {
        for i in level {
            let Dirty { id, parent, place } = &dirty[*i];
            let start = buffer.len();
            encode(arena.get(*id), place.path.len(), &mut buffer);
            // Short nodes live in their parents; a root has none.
            if buffer.len() - start < 32 && matches!(parent, Parent::Node(..)) {
                name(arena, roots, parent, NodeRef::inline(&buffer[start..]));
                buffer.truncate(start);
            }
            ranges[*i] = start..buffer.len();
        }
        let hashed: Vec<usize> = level.iter().copied().filter(|i| !ranges[*i].is_empty()).collect();
        let inputs: Vec<&[u8]> = hashed.iter().map(|i| &buffer[ranges[*i].clone()]).collect();
        for (i, hash) in hashed.iter().zip(keccak_each(&inputs)) {
            name(arena, roots, &dirty[*i].parent, NodeRef::hash(hash));
        }
    }
    debug_assert!(roots.iter().all(|(_, kid)| kid.node.as_hash().is_some()), "every root has a hash");
    Writes { buffer, nodes: dirty.into_iter().map(|d| d.place).zip(ranges).collect() }
}

fn name(arena: &mut Arena, roots: &mut [(Option<B256>, Kid)], parent: &Parent, name: NodeRef) {
    match parent {
        Parent::Root(i) => roots[*i].1.node = name,
        Parent::Node(id, index) => match arena.patch(*id) {
            Node::Branch { kids, .. } => kids[*index].node = name,
            Node::Extension { kid, .. } => kid.node = name,
            _ => unreachable!("only these have children"),
        },
    }
}

/// Lists dirty nodes.
struct List<'a> {
    arena: &'a Arena,
    path: [u8; 64],
    dirty: Vec<Dirty>,
    /// Indexes into `dirty` by depth.
    levels: Vec<Vec<usize>>,
    /// What their encodings take at most.
    bytes: usize,
}

impl List<'_> {
    fn add(&mut self, account: Option<B256>, kid: &Kid, parent: Parent, depth: usize) {
        if !kid.node.is_dirty() {
            return;
        }
        if self.levels.len() <= depth {
            self.levels.resize_with(depth + 1, Vec::new);
        }
        self.levels[depth].push(self.dirty.len());
        let place = TrieKey { account, path: self.path[..depth].to_vec() };
        self.dirty.push(Dirty { id: kid.id, parent, place });
        let arena = self.arena;
        let node = arena.get(kid.id);
        self.bytes += max_encoded_len(node);
        match node {
            Node::Branch { mask, kids, .. } => {
                let mut rest = *mask;
                for (i, below) in kids.iter().enumerate() {
                    self.path[depth] = rest.trailing_zeros() as u8;
                    rest &= rest - 1;
                    self.add(account, below, Parent::Node(kid.id, i), depth + 1);
                }
            }
            Node::Extension { key, end, kid: below, .. } => {
                let end = usize::from(*end);
                for i in depth..end {
                    self.path[i] = nibble(key, i);
                }
                self.add(account, below, Parent::Node(kid.id, 0), end);
            }
            _ => {}
        }
    }
}
