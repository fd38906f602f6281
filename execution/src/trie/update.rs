//! The sorted pass: all changes of a block go down the trie together, each node on their way is visited once.
//!
//! Sorted keys that share a prefix lie side by side, so what belongs below a child is a sub-slice of the operations. On
//! the way up, shapes are mended: a branch with one child left gives way to that child, extensions join. Nodes whose place
//! changed are marked dirty; [`super::rehash`] names and writes them afterwards.

use alloy_primitives::{B256, U256, keccak256};
use alloy_trie::EMPTY_ROOT_HASH;
use basalt_primitives::state::{Account, TrieKey};

use super::{
    arena::Arena,
    codec::{Leaves, decode},
    error::{Place, TrieError},
    node::{Kid, Node, NodeId, Value, common, kid_index, nibble, prefix, with_nibble},
};
use crate::ports::TrieReader;

/// What a key is to hold.
#[derive(Clone, Debug)]
pub(super) enum NewValue {
    /// An account; `None`: its storage stays what it is.
    Account(Account, Option<B256>),
    Slot(U256),
    Raw(Box<[u8]>),
}

impl NewValue {
    fn over(self, old: Option<&Value>) -> Value {
        match self {
            Self::Account(account, root) => {
                Value::account(account, root.unwrap_or_else(|| old.map_or(EMPTY_ROOT_HASH, Value::storage_root)))
            }
            Self::Slot(v) => Value::Slot(v),
            Self::Raw(b) => Value::Raw(b),
        }
    }
}

/// One change: a new value, or `None` to delete.
#[derive(Clone, Debug)]
pub(super) struct Op {
    pub(super) key: B256,
    pub(super) value: Option<NewValue>,
}

/// A branch that was taken out to be changed.
struct OpenBranch {
    id: NodeId,
    mask: u16,
    kids: Vec<Kid>,
    /// Its old form needs no putting aside: it is a node of this session, or its old form was put aside.
    fresh: bool,
    changed: bool,
}

impl OpenBranch {
    fn get(&self, n: u8) -> Option<Kid> {
        (self.mask & 1 << n != 0).then(|| self.kids[kid_index(self.mask, n)])
    }

    /// Another child in the place of one.
    fn replace(&mut self, arena: &mut Arena, n: u8, new: Kid) {
        let i = kid_index(self.mask, n);
        if !self.fresh {
            arena.remember_kid(self.id, i, self.kids[i]);
        }
        self.kids[i] = new;
        self.changed = true;
    }

    /// A child more or less.
    fn restructure(&mut self, arena: &mut Arena, n: u8, new: Option<Kid>) {
        if !self.fresh {
            arena.remember(self.id, &Node::Branch { mask: self.mask, kids: self.kids.clone(), stamp: 0 });
            self.fresh = true;
        }
        let i = kid_index(self.mask, n);
        self.mask ^= 1 << n;
        match new {
            Some(kid) => {
                self.kids.reserve_exact(1);
                self.kids.insert(i, kid);
            }
            None => {
                self.kids.remove(i);
            }
        }
        self.changed = true;
    }
}

/// One pass over one trie.
pub(super) struct Pass<'a> {
    pub(super) arena: &'a mut Arena,
    pub(super) reader: &'a dyn TrieReader,
    /// Whose storage this trie is; `None`: the account trie.
    pub(super) account: Option<B256>,
    pub(super) leaves: Leaves,
    /// Places that no longer hold what they held. Some get a new node, which is written over them.
    pub(super) gone: &'a mut Vec<TrieKey>,
    /// Accounts that were deleted although they had storage: their hash and storage root.
    pub(super) orphans: &'a mut Vec<(B256, B256)>,
}

impl Pass<'_> {
    /// Applies operations, sorted and without duplicates, that all belong below `kid` at `depth`.
    pub(super) fn update(&mut self, kid: Option<Kid>, depth: usize, ops: &mut [Op]) -> Result<Option<Kid>, TrieError> {
        let Some(kid) = kid else { return Ok(self.build(depth, ops)) };
        match self.arena.get(kid.id) {
            Node::Leaf { key, .. } => {
                let key = *key;
                Ok(self.update_leaf(kid, key, depth, ops))
            }
            Node::Extension { key, end, kid: child, .. } => {
                let (key, end, child) = (*key, usize::from(*end), *child);
                self.update_extension(kid, key, end, child, depth, ops)
            }
            Node::Branch { .. } => self.update_branch(kid, depth, ops),
            Node::Vacant => unreachable!("children in memory are nodes"),
        }
    }

    fn update_leaf(&mut self, kid: Kid, key: B256, depth: usize, ops: &mut [Op]) -> Option<Kid> {
        let own = ops.iter().position(|op| op.key == key);
        if let (Some(i), 1) = (own, ops.len())
            && let Some(new) = ops[i].value.take()
        {
            self.replace_value(kid, new);
            return Some(Kid::dirty(kid.id));
        }
        if own.is_none() && ops.iter().all(|op| op.value.is_none()) {
            return Some(kid);
        }
        self.lost(&key, depth);
        let Node::Leaf { value: old, .. } = self.arena.remove(kid.id) else { unreachable!("it is a leaf") };
        if let Some(i) = own {
            self.note_orphan(&ops[i], &old);
        }
        self.build_with(depth, ops, key, old)
    }

    fn replace_value(&mut self, kid: Kid, new: NewValue) {
        let mut node = self.arena.take(kid.id);
        if let Node::Leaf { value, .. } = &mut node {
            *value = new.over(Some(value));
        }
        self.arena.put(kid.id, node);
    }

    fn note_orphan(&mut self, op: &Op, old: &Value) {
        if op.value.is_none() && old.storage_root() != EMPTY_ROOT_HASH {
            self.orphans.push((op.key, old.storage_root()));
        }
    }

    /// Builds what replaces a leaf: the leaf's own key is kept, replaced or deleted by an operation.
    fn build_with(&mut self, depth: usize, ops: &mut [Op], key: B256, old: Value) -> Option<Kid> {
        let mut all: Vec<(B256, Value)> = Vec::with_capacity(ops.len() + 1);
        let mut old = Some(old);
        for op in ops {
            if op.key >= key && old.is_some() {
                let before = old.take();
                if op.key == key {
                    all.extend(op.value.take().map(|v| (key, v.over(before.as_ref()))));
                    continue;
                }
                all.extend(before.map(|v| (key, v)));
            }
            all.extend(op.value.take().map(|v| (op.key, v.over(None))));
        }
        all.extend(old.map(|v| (key, v)));
        self.build_values(depth, &mut all)
    }

    /// Builds a subtree from operations where there was nothing.
    fn build(&mut self, depth: usize, ops: &mut [Op]) -> Option<Kid> {
        let mut all: Vec<(B256, Value)> =
            ops.iter_mut().filter_map(|op| op.value.take().map(|v| (op.key, v.over(None)))).collect();
        self.build_values(depth, &mut all)
    }

    fn build_values(&mut self, depth: usize, values: &mut [(B256, Value)]) -> Option<Kid> {
        match values {
            [] => None,
            [(key, value)] => {
                let value = std::mem::replace(value, Value::Slot(U256::ZERO));
                Some(Kid::dirty(self.arena.create(Node::Leaf { key: *key, value, stamp: 0 })))
            }
            [(key, _), .., (last, _)] => {
                let (key, fork) = (*key, common(key, last));
                let branch = self.build_branch(fork, values);
                Some(self.raise(branch, &key, fork, depth))
            }
        }
    }

    fn build_branch(&mut self, depth: usize, values: &mut [(B256, Value)]) -> Kid {
        let (mut mask, mut kids) = (0, Vec::with_capacity(2));
        for group in values.chunk_by_mut(|a, b| nibble(&a.0, depth) == nibble(&b.0, depth)) {
            mask |= 1 << nibble(&group[0].0, depth);
            if kids.len() == kids.capacity() {
                kids.reserve_exact(14);
            }
            kids.extend(self.build_values(depth + 1, group));
        }
        kids.shrink_to_fit();
        Kid::dirty(self.arena.create(Node::Branch { mask, kids, stamp: 0 }))
    }

    fn update_extension(
        &mut self,
        kid: Kid,
        key: B256,
        end: usize,
        child: Kid,
        depth: usize,
        ops: &mut [Op],
    ) -> Result<Option<Kid>, TrieError> {
        let forks = ops.iter().filter(|op| op.value.is_some()).map(|op| common(&op.key, &key));
        let fork = forks.min().unwrap_or(end).min(end);
        let ops = sharing(ops, &key, fork);
        if ops.is_empty() {
            return Ok(Some(kid));
        }
        if fork < end {
            return self.split_extension(kid, key, end, child, fork, depth, ops).map(Some);
        }
        let child = self.resolve_under(kid, child, &key, end)?;
        let new = self.update(Some(child), end, ops)?;
        if new.is_some_and(|new| new.is_unchanged(&child)) {
            return Ok(Some(kid));
        }
        self.lost(&key, depth);
        self.arena.remove(kid.id);
        Ok(new.map(|new| self.raise(new, &key, end, depth)))
    }

    /// Makes a branch in the middle of an extension, for keys that leave it there.
    #[allow(clippy::too_many_arguments, reason = "the parts of one extension, taken apart")]
    fn split_extension(
        &mut self,
        kid: Kid,
        key: B256,
        end: usize,
        child: Kid,
        fork: usize,
        depth: usize,
        ops: &mut [Op],
    ) -> Result<Kid, TrieError> {
        self.lost(&key, depth);
        self.arena.remove(kid.id);
        let lower = if fork + 1 == end {
            child
        } else {
            Kid::dirty(self.arena.create(Node::Extension { key, end: end as u8, kid: child, stamp: 0 }))
        };
        let kids = vec![lower];
        let branch = Kid::dirty(self.arena.create(Node::Branch { mask: 1 << nibble(&key, fork), kids, stamp: 0 }));
        // At least one operation puts a key beside the extension, so something is left.
        let new = self.update_branch(branch, fork, ops)?.unwrap_or(branch);
        Ok(self.raise(new, &key, fork, depth))
    }

    fn update_branch(&mut self, kid: Kid, depth: usize, ops: &mut [Op]) -> Result<Option<Kid>, TrieError> {
        self.resolve_touched(kid, depth, ops)?;
        let Node::Branch { mask, kids, stamp } = self.arena.take_branch(kid.id) else { unreachable!("it is a branch") };
        let mut branch = OpenBranch { id: kid.id, mask, kids, fresh: stamp == self.arena.session, changed: false };
        if let Err(e) = self.update_kids(&mut branch, depth, ops) {
            let OpenBranch { mask, kids, .. } = branch;
            self.arena.put_back(kid.id, Node::Branch { mask, kids, stamp });
            return Err(e);
        }
        let OpenBranch { mask, kids, changed, .. } = branch;
        let at = ops[0].key;
        match kids.as_slice() {
            [] => {
                self.lost(&at, depth);
                self.arena.remove_taken(kid.id);
                Ok(None)
            }
            [only] => {
                self.lost(&at, depth);
                self.arena.remove_taken(kid.id);
                let key = with_nibble(&at, depth, mask.trailing_zeros() as u8);
                let only = self.resolve_changed(*only, &key, depth + 1)?;
                Ok(Some(self.raise(only, &key, depth + 1, depth)))
            }
            _ if changed => {
                self.arena.put(kid.id, Node::Branch { mask, kids, stamp });
                Ok(Some(Kid::dirty(kid.id)))
            }
            _ => {
                self.arena.put_back(kid.id, Node::Branch { mask, kids, stamp });
                Ok(Some(kid))
            }
        }
    }

    fn update_kids(&mut self, branch: &mut OpenBranch, depth: usize, ops: &mut [Op]) -> Result<(), TrieError> {
        for group in ops.chunk_by_mut(|a, b| nibble(&a.key, depth) == nibble(&b.key, depth)) {
            let n = nibble(&group[0].key, depth);
            let old = branch.get(n);
            let new = self.update(old, depth + 1, group)?;
            match (old, new) {
                (Some(old), Some(new)) if !new.is_unchanged(&old) => branch.replace(self.arena, n, new),
                (Some(_), None) | (None, Some(_)) => branch.restructure(self.arena, n, new),
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes a node that hangs at `from` hang at `to`, nearer to the root. `key` leads to it.
    fn raise(&mut self, kid: Kid, key: &B256, from: usize, to: usize) -> Kid {
        if from == to {
            return kid;
        }
        if matches!(self.arena.get(kid.id), Node::Branch { .. }) {
            let node = Node::Extension { key: *key, end: from as u8, kid, stamp: 0 };
            return Kid::dirty(self.arena.create(node));
        }
        self.lost(key, from);
        // Taken and put back unchanged: its own path is now longer, so it is a node of this session.
        let node = self.arena.take(kid.id);
        self.arena.put(kid.id, node);
        Kid::dirty(kid.id)
    }

    fn lost(&mut self, key: &B256, depth: usize) {
        self.gone.push(TrieKey { account: self.account, path: prefix(key, depth) });
    }

    /// Loads the children that operations go to. They are filled in before the branch is changed, so that they stay
    /// known to it when the change is discarded.
    fn resolve_touched(&mut self, kid: Kid, depth: usize, ops: &[Op]) -> Result<(), TrieError> {
        let under_change = self.arena.is_changed(kid.id);
        for group in ops.chunk_by(|a, b| nibble(&a.key, depth) == nibble(&b.key, depth)) {
            let n = nibble(&group[0].key, depth);
            let Node::Branch { mask, kids, .. } = self.arena.get(kid.id) else { unreachable!("it is a branch") };
            if mask & 1 << n == 0 {
                continue;
            }
            let (i, cold) = (kid_index(*mask, n), kids[kid_index(*mask, n)]);
            if cold.is_cold() {
                let warm = self.load(cold, &group[0].key, depth + 1, under_change)?;
                if let Node::Branch { kids, .. } = self.arena.patch(kid.id) {
                    kids[i] = warm;
                }
            }
        }
        Ok(())
    }

    /// As [`Self::resolve_touched`], for the child of an extension.
    fn resolve_under(&mut self, parent: Kid, child: Kid, key: &B256, depth: usize) -> Result<Kid, TrieError> {
        if !child.is_cold() {
            return Ok(child);
        }
        let warm = self.load(child, key, depth, self.arena.is_changed(parent.id))?;
        if let Node::Extension { kid, .. } = self.arena.patch(parent.id) {
            *kid = warm;
        }
        Ok(warm)
    }

    /// Loads a child whose parent was changed already.
    fn resolve_changed(&mut self, kid: Kid, key: &B256, depth: usize) -> Result<Kid, TrieError> {
        if kid.is_cold() { self.load(kid, key, depth, true) } else { Ok(kid) }
    }

    /// Brings a cold node to memory. `key` leads to it.
    pub(super) fn load(&mut self, kid: Kid, key: &B256, depth: usize, under_change: bool) -> Result<Kid, TrieError> {
        let node = read_node(self.reader, self.account, &kid, key, depth, self.leaves)?;
        Ok(Kid { id: self.arena.load(node, under_change), node: kid.node })
    }

    /// The value a key holds; loads what is on its way.
    pub(super) fn find(&mut self, root: Kid, key: &B256) -> Result<Option<Value>, TrieError> {
        let (mut at, mut depth) = (root, 0);
        loop {
            let child = match self.arena.get(at.id) {
                Node::Leaf { key: own, value, .. } => return Ok((own == key).then(|| value.clone())),
                Node::Extension { key: own, end, kid, .. } => {
                    if common(own, key) < usize::from(*end) {
                        return Ok(None);
                    }
                    depth = usize::from(*end);
                    *kid
                }
                Node::Branch { mask, kids, .. } => {
                    let n = nibble(key, depth);
                    if mask & 1 << n == 0 {
                        return Ok(None);
                    }
                    depth += 1;
                    kids[kid_index(*mask, n)]
                }
                Node::Vacant => unreachable!("children in memory are nodes"),
            };
            at = if child.is_cold() { self.warm(at, child, key, depth)? } else { child };
        }
    }

    /// Loads a child and tells its parent.
    fn warm(&mut self, parent: Kid, child: Kid, key: &B256, depth: usize) -> Result<Kid, TrieError> {
        let warm = self.load(child, key, depth, self.arena.is_changed(parent.id))?;
        match self.arena.patch(parent.id) {
            Node::Extension { kid, .. } => *kid = warm,
            Node::Branch { mask, kids, .. } => kids[kid_index(*mask, nibble(key, depth - 1))] = warm,
            _ => unreachable!("only these have children"),
        }
        Ok(warm)
    }
}

/// Reads a node from the store, or from its parent where it is short, and checks that it is the one its parent names.
pub(super) fn read_node(
    reader: &dyn TrieReader,
    account: Option<B256>,
    kid: &Kid,
    key: &B256,
    depth: usize,
    leaves: Leaves,
) -> Result<Node, TrieError> {
    let place = || Place::new(account, &prefix(key, depth));
    let malformed = |problem| TrieError::Malformed { place: place(), problem };
    let Some(expected) = kid.node.as_hash() else {
        return decode(kid.node.as_slice(), key, depth, leaves).map_err(malformed);
    };
    let stored = reader.node(&TrieKey { account, path: prefix(key, depth) })?;
    let bytes = stored.ok_or_else(|| TrieError::Missing { place: place(), expected })?;
    let actual = keccak256(&bytes);
    if actual != expected {
        return Err(TrieError::Mismatch { place: place(), expected, actual });
    }
    decode(&bytes, key, depth, leaves).map_err(malformed)
}

/// The operations that share the first `depth` nibbles with `key`.
fn sharing<'o>(ops: &'o mut [Op], key: &B256, depth: usize) -> &'o mut [Op] {
    let shares = |op: &Op| common(&op.key, key) >= depth;
    let start = ops.iter().position(shares).unwrap_or(ops.len());
    let len = ops[start..].iter().take_while(|op| shares(op)).count();
    &mut ops[start..start + len]
}
