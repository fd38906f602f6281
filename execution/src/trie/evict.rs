//! Keeps the trie within its memory budget: what was longest unused goes; it is in the store.

use super::{
    arena::Arena,
    node::{Kid, Node},
};

/// How many ages are told apart: age is counted in powers of two of blocks.
const AGES: usize = 33;

fn age_class(now: u32, stamp: u32) -> usize {
    (u32::BITS - now.saturating_sub(stamp).leading_zeros()) as usize
}

/// Bytes in memory by age.
pub(super) struct Ages([usize; AGES]);

impl Ages {
    pub(super) const fn new() -> Self {
        Self([0; AGES])
    }

    pub(super) fn count(&mut self, arena: &Arena, kid: &Kid) {
        if kid.is_cold() {
            return;
        }
        let node = arena.get(kid.id);
        self.0[age_class(arena.session, node.stamp())] += size_of::<Node>() + node.heap_bytes();
        match node {
            Node::Branch { kids, .. } => kids.iter().for_each(|k| self.count(arena, k)),
            Node::Extension { kid, .. } => self.count(arena, kid),
            _ => {}
        }
    }

    /// The age class from which on nodes must go so that no more than `keep` bytes stay.
    pub(super) fn cutoff(&self, keep: usize) -> usize {
        let mut kept = 0;
        for (class, bytes) in self.0.iter().enumerate() {
            kept += bytes;
            if kept > keep {
                return class;
            }
        }
        AGES
    }
}

/// Drops nodes of an age class or older, with everything below them.
pub(super) fn evict(arena: &mut Arena, kid: &mut Kid, cutoff: usize) {
    if kid.is_cold() {
        return;
    }
    if age_class(arena.session, arena.get(kid.id).stamp()) >= cutoff {
        forget(arena, kid);
        return;
    }
    // Taken out and put back rather than changed: eviction is no part of any session.
    let mut node = std::mem::replace(arena.patch(kid.id), Node::Vacant);
    match &mut node {
        Node::Branch { kids, .. } => kids.iter_mut().for_each(|k| evict(arena, k, cutoff)),
        Node::Extension { kid, .. } => evict(arena, kid, cutoff),
        _ => {}
    }
    *arena.patch(kid.id) = node;
}

/// Drops a whole subtree from memory.
pub(super) fn forget(arena: &mut Arena, kid: &mut Kid) {
    if kid.is_cold() {
        return;
    }
    match arena.evict(kid.id) {
        Node::Branch { mut kids, .. } => kids.iter_mut().for_each(|k| forget(arena, k)),
        Node::Extension { mut kid, .. } => forget(arena, &mut kid),
        _ => {}
    }
    kid.forget();
}
