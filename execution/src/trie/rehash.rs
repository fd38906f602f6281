//! Names what changed: encodes and hashes dirty nodes, children before parents, and collects what is to be written.

use alloy_primitives::{B256, Bytes, keccak256};
use basalt_primitives::state::{TrieKey, TrieUpdates};

use super::{
    arena::Arena,
    codec::encode,
    node::{Kid, Node, NodeRef},
};

/// Encodings of one block's nodes, in one buffer.
#[derive(Default)]
pub(super) struct Writes {
    buffer: Vec<u8>,
    nodes: Vec<(TrieKey, usize)>,
    /// Nodes now held by their parents: no record of their own.
    absorbed: Vec<TrieKey>,
}

impl Writes {
    /// Everything to write: what is gone is deleted, unless something new hangs there.
    pub(super) fn into_updates(self, gone: Vec<TrieKey>) -> TrieUpdates {
        let buffer = Bytes::from(self.buffer);
        let mut start = 0;
        let mut nodes: Vec<(TrieKey, Option<Bytes>)> =
            gone.into_iter().chain(self.absorbed).map(|k| (k, None)).collect();
        nodes.reserve(self.nodes.len());
        for (key, end) in self.nodes {
            nodes.push((key, Some(buffer.slice(start..end))));
            start = end;
        }
        // Of equal keys the last one stays: collecting sorts stably.
        TrieUpdates { nodes: nodes.into_iter().collect() }
    }
}

/// Names one trie's dirty nodes.
pub(super) struct Rehash<'a> {
    pub(super) arena: &'a mut Arena,
    pub(super) writes: &'a mut Writes,
    pub(super) account: Option<B256>,
    path: [u8; 64],
}

impl<'a> Rehash<'a> {
    pub(super) const fn new(arena: &'a mut Arena, writes: &'a mut Writes, account: Option<B256>) -> Self {
        Self { arena, writes, account, path: [0; 64] }
    }

    /// Names the root; it always goes by its hash.
    pub(super) fn root(&mut self, kid: &mut Kid) -> B256 {
        if let Some(hash) = kid.node.as_hash() {
            return hash;
        }
        let start = self.encode(kid.id, 0);
        let hash = keccak256(&self.writes.buffer[start..]);
        self.write(0);
        kid.node = NodeRef::hash(hash);
        hash
    }

    fn name(&mut self, kid: &mut Kid, depth: usize) {
        if !kid.node.is_dirty() {
            return;
        }
        let start = self.encode(kid.id, depth);
        let encoding = &self.writes.buffer[start..];
        if encoding.len() < 32 {
            kid.node = NodeRef::inline(encoding);
            self.writes.buffer.truncate(start);
            let path = self.path[..depth].to_vec();
            self.writes.absorbed.push(TrieKey { account: self.account, path });
        } else {
            kid.node = NodeRef::hash(keccak256(encoding));
            self.write(depth);
        }
    }

    /// Names the node's children, encodes it at the end of the buffer and says where it begins.
    fn encode(&mut self, id: u32, depth: usize) -> usize {
        // Taken out while its children are named; nothing else looks at it meanwhile.
        let mut node = self.arena.take(id);
        match &mut node {
            Node::Branch { mask, kids, .. } => {
                let mut rest = *mask;
                for kid in kids {
                    self.path[depth] = rest.trailing_zeros() as u8;
                    rest &= rest - 1;
                    self.name(kid, depth + 1);
                }
            }
            Node::Extension { key, end, kid, .. } => {
                let end = usize::from(*end);
                for i in depth..end {
                    self.path[i] = super::node::nibble(key, i);
                }
                self.name(kid, end);
            }
            _ => {}
        }
        let start = self.writes.buffer.len();
        encode(&node, depth, &mut self.writes.buffer);
        self.arena.put(id, node);
        start
    }

    fn write(&mut self, depth: usize) {
        let key = TrieKey { account: self.account, path: self.path[..depth].to_vec() };
        self.writes.nodes.push((key, self.writes.buffer.len()));
    }
}
