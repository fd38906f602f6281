//! Where nodes live, and how a block's work on them is undone.
//!
//! A session is the work of one block. What a session changes is put aside first: a whole node, or, where a branch only
//! gets another child, the one child. Nodes the session removes keep their place until it is decided. Committing forgets
//! what was put aside, discarding puts it back, last change first.

use super::node::{Kid, Node, NodeId};

const CHUNK: usize = 4096;

/// How something was before a session changed it.
enum Before {
    Node(NodeId, Node),
    /// Child `index` of a branch.
    Kid(NodeId, usize, Kid),
}

/// Nodes in chunks, so that growing never moves them.
pub(super) struct Arena {
    chunks: Vec<Vec<Node>>,
    free: Vec<NodeId>,
    used: usize,
    heap: usize,
    /// Number of the session under way or last decided; stamps nodes with when they were last changed.
    pub(super) session: u32,
    undo: Vec<Before>,
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

    /// Takes the node out to change it, after its old form was put aside; [`Self::put`] brings it back.
    pub(super) fn take(&mut self, id: NodeId) -> Node {
        let node = self.take_branch(id);
        self.remember(id, &node);
        node
    }

    /// Takes a branch out without putting anything aside: that is up to who changes it.
    pub(super) fn take_branch(&mut self, id: NodeId) -> Node {
        let node = std::mem::replace(self.slot(id), Node::Vacant);
        self.heap -= node.heap_bytes();
        node
    }

    /// Brings a node back unchanged.
    pub(super) fn put_back(&mut self, id: NodeId, node: Node) {
        self.heap += node.heap_bytes();
        *self.slot(id) = node;
    }

    /// Brings a node back changed.
    pub(super) fn put(&mut self, id: NodeId, mut node: Node) {
        node.set_stamp(self.session);
        self.put_back(id, node);
    }

    /// Puts the form of a node aside, unless it is of this session anyway.
    pub(super) fn remember(&mut self, id: NodeId, node: &Node) {
        if node.stamp() != self.session {
            self.undo.push(Before::Node(id, node.clone()));
        }
    }

    /// Puts a child of a branch aside.
    pub(super) fn remember_kid(&mut self, id: NodeId, index: usize, kid: Kid) {
        self.undo.push(Before::Kid(id, index, kid));
    }

    /// Takes the node out for good.
    pub(super) fn remove(&mut self, id: NodeId) -> Node {
        let node = self.take(id);
        self.removed.push(id);
        node
    }

    /// Gives up a branch that [`Self::take_branch`] brought out.
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
        self.removed.clear();
        for before in std::mem::take(&mut self.undo).into_iter().rev() {
            match before {
                Before::Node(id, node) => {
                    self.heap -= self.get(id).heap_bytes();
                    self.put_back(id, node);
                }
                Before::Kid(id, index, kid) => {
                    if let Node::Branch { kids, .. } = self.slot(id) {
                        kids[index] = kid;
                    }
                }
            }
        }
        for id in std::mem::take(&mut self.created) {
            self.evict(id);
        }
    }
}
