//! Where nodes live, and how a block's work on them is undone.
//!
//! A session is the work of one block. The first time a session changes a node, the node's old form is put aside; nodes the
//! session removes keep their place until it is decided. Committing forgets the old forms, discarding puts them back.

use super::node::{Node, NodeId};

const CHUNK: usize = 4096;

/// Nodes in chunks, so that growing never moves them.
pub(super) struct Arena {
    chunks: Vec<Vec<Node>>,
    free: Vec<NodeId>,
    used: usize,
    heap: usize,
    /// Number of the session under way or last decided; stamps nodes with when they were last changed.
    pub(super) session: u32,
    undo: Vec<(NodeId, Node)>,
    created: Vec<NodeId>,
    removed: Vec<NodeId>,
}

impl Arena {
    pub(super) const fn new() -> Self {
        Self {
            chunks: Vec::new(),
            free: Vec::new(),
            used: 0,
            heap: 0,
            session: 1,
            undo: Vec::new(),
            created: Vec::new(),
            removed: Vec::new(),
        }
    }

    pub(super) const fn begin(&mut self) {
        self.session += 1;
    }

    /// Memory held by nodes in use.
    pub(super) const fn bytes(&self) -> usize {
        self.used * size_of::<Node>() + self.heap
    }

    pub(super) fn get(&self, id: NodeId) -> &Node {
        &self.chunks[id as usize / CHUNK][id as usize % CHUNK]
    }

    fn slot(&mut self, id: NodeId) -> &mut Node {
        &mut self.chunks[id as usize / CHUNK][id as usize % CHUNK]
    }

    /// The node, to fill in children that were loaded. Does not count as a change.
    pub(super) fn patch(&mut self, id: NodeId) -> &mut Node {
        self.slot(id)
    }

    /// A new node of this session.
    pub(super) fn create(&mut self, mut node: Node) -> NodeId {
        node.set_stamp(self.session);
        let id = self.place(node);
        self.created.push(id);
        id
    }

    /// A node read from the store. `under_change`: its parent was changed or made in this session, so that discarding
    /// the session leaves nobody to know the node.
    pub(super) fn load(&mut self, mut node: Node, under_change: bool) -> NodeId {
        if under_change {
            return self.create(node);
        }
        node.set_stamp(self.session - 1);
        self.place(node)
    }

    fn place(&mut self, node: Node) -> NodeId {
        self.used += 1;
        self.heap += node.heap_bytes();
        if let Some(id) = self.free.pop() {
            *self.slot(id) = node;
            return id;
        }
        if self.chunks.last().is_none_or(|c| c.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let chunk = self.chunks.len() - 1;
        self.chunks[chunk].push(node);
        NodeId::try_from(chunk * CHUNK + self.chunks[chunk].len() - 1).expect("memory ends before 2^32 nodes do")
    }

    /// Whether this session has changed or made the node.
    pub(super) fn is_changed(&self, id: NodeId) -> bool {
        self.get(id).stamp() == self.session
    }

    /// Takes the node out to change it; [`Self::put`] brings it back.
    pub(super) fn take(&mut self, id: NodeId) -> Node {
        let session = self.session;
        let mut node = std::mem::replace(self.slot(id), Node::Vacant);
        self.heap -= node.heap_bytes();
        if node.stamp() != session {
            self.undo.push((id, node.clone()));
            node.set_stamp(session);
        }
        node
    }

    pub(super) fn put(&mut self, id: NodeId, node: Node) {
        self.heap += node.heap_bytes();
        *self.slot(id) = node;
    }

    /// Takes the node out for good.
    pub(super) fn remove(&mut self, id: NodeId) -> Node {
        let node = self.take(id);
        self.removed.push(id);
        node
    }

    /// Puts back a node that [`Self::take`] brought out and that is not wanted any more.
    pub(super) fn remove_taken(&mut self, id: NodeId) {
        self.removed.push(id);
    }

    /// Drops a node of a decided session from memory: it is in the store.
    pub(super) fn evict(&mut self, id: NodeId) -> Node {
        let node = std::mem::replace(self.slot(id), Node::Vacant);
        self.heap -= node.heap_bytes();
        self.used -= 1;
        self.free.push(id);
        node
    }

    pub(super) fn commit(&mut self) {
        self.undo.clear();
        self.created.clear();
        self.used -= self.removed.len();
        self.free.append(&mut self.removed);
    }

    pub(super) fn discard(&mut self) {
        let mut undo = std::mem::take(&mut self.undo);
        self.removed.clear();
        for (id, node) in undo.drain(..) {
            self.heap -= self.get(id).heap_bytes();
            self.put(id, node);
        }
        let created = std::mem::take(&mut self.created);
        for id in created {
            let node = std::mem::replace(self.slot(id), Node::Vacant);
            self.heap -= node.heap_bytes();
            self.used -= 1;
            self.free.push(id);
        }
        self.undo = undo;
    }
}
