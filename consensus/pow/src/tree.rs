//! The header tree: every header this node knows above its root, with the work of the chain it ends.
//!
//! In: headers that passed the rules of [`crate::rules`], and what is found out about their bodies. Out: who is whose parent, the
//! heaviest leaves of each standing, common ancestors. It holds no headers and no bodies, only what later rules rest on: about
//! 250 bytes a header.
//!
//! It is bounded: the root rises with finality (whatever does not descend from it is dropped), and where the tree is full, the
//! leaf with the least work gives way.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use basalt_primitives::{B256, Height, Millis, SealedBlock, U256};

use crate::{Root, SealedHeader, Work};

/// Timestamps whose median the next must exceed.
pub(crate) const MEDIAN_SPAN: usize = 11;

/// A place in the tree. Places of dropped headers are used again: nobody keeps one across a drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot(u32);

/// What is known of a block's body.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// Not here.
    Missing,
    /// Here, not judged.
    Here(SealedBlock),
    /// Being judged.
    Judging(SealedBlock),
    /// Judged valid, as all below it: it can be the head.
    Valid,
}

/// Whether a block may become the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It may.
    Open,
    /// It leaves the chain below what is final, or not through the operator's checkpoint.
    Deep,
    /// It or one below it was judged invalid.
    Barred,
}

/// A header.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub hash: B256,
    pub height: Height,
    pub time: Millis,
    pub target: U256,
    /// Work of the chain up to and with it.
    pub work: Work,
    /// Timestamp of block 1 of its chain.
    pub first_ms: Millis,
    /// Order of arrival.
    pub seq: u64,
    /// The peer that sent it.
    pub from: Option<u16>,
    pub body: Body,
    pub standing: Standing,
    /// Whether its body is in a record.
    pub written: bool,
    pub parent: Option<Slot>,
    first_child: Option<Slot>,
    next_sibling: Option<Slot>,
}

/// Leaves in order of preference: most work last, and among equals the first seen.
type Leaves = BTreeSet<(Work, Reverse<u64>, Slot)>;

/// The tree.
#[derive(Debug)]
pub(crate) struct Tree {
    slots: Vec<Option<Node>>,
    free: Vec<Slot>,
    index: BTreeMap<B256, Slot>,
    root: Slot,
    times_below_root: Vec<Millis>,
    leaves: [Leaves; 3],
    next_seq: u64,
}

impl Tree {
    /// A tree that is a root.
    pub fn new(root: Root) -> Self {
        let Root { hash, height, time_ms, target, work, first_ms, times_below } = root;
        let node = Node {
            hash,
            height,
            time: time_ms,
            target,
            work,
            first_ms,
            seq: 0,
            from: None,
            body: Body::Valid,
            standing: Standing::Open,
            written: true,
            parent: None,
            first_child: None,
            next_sibling: None,
        };
        let mut tree = Self {
            slots: Vec::new(),
            free: Vec::new(),
            index: BTreeMap::new(),
            root: Slot(0),
            times_below_root: times_below,
            leaves: Default::default(),
            next_seq: 1,
        };
        tree.root = tree.place(node);
        tree.set_leaf(tree.root, true);
        tree
    }

    /// Where a header is.
    pub fn find(&self, hash: &B256) -> Option<Slot> {
        self.index.get(hash).copied()
    }

    /// A header that is there.
    pub fn get(&self, slot: Slot) -> &Node {
        self.slots[slot.0 as usize].as_ref().expect("slots in use are never kept across a drop")
    }

    pub fn get_mut(&mut self, slot: Slot) -> &mut Node {
        self.slots[slot.0 as usize].as_mut().expect("slots in use are never kept across a drop")
    }

    /// How many headers there are.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    pub const fn root(&self) -> Slot {
        self.root
    }

    fn place(&mut self, node: Node) -> Slot {
        let hash = node.hash;
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot.0 as usize] = Some(node);
                slot
            }
            None => {
                self.slots.push(Some(node));
                Slot(u32::try_from(self.slots.len() - 1).expect("bounded far below 2^32"))
            }
        };
        self.index.insert(hash, slot);
        slot
    }

    /// Adds a header that passed the rules under its parent. It stands as its parent does, unless it leaves the chain deeper.
    pub fn insert(
        &mut self,
        header: &SealedHeader,
        work: Work,
        parent: Slot,
        from: Option<u16>,
        standing: Standing,
    ) -> Slot {
        let above = self.get(parent);
        let height = above.height.next();
        let first_ms = if height == Height(1) { header.time() } else { above.first_ms };
        let (next_sibling, seq) = (above.first_child, self.next_seq);
        self.next_seq += 1;
        let slot = self.place(Node {
            hash: header.hash(),
            height,
            time: header.time(),
            target: header.target(),
            work,
            first_ms,
            seq,
            from,
            body: Body::Missing,
            standing,
            written: false,
            parent: Some(parent),
            first_child: None,
            next_sibling,
        });
        self.set_leaf(parent, false);
        self.get_mut(parent).first_child = Some(slot);
        self.set_leaf(slot, true);
        slot
    }

    fn set_leaf(&mut self, slot: Slot, leaf: bool) {
        let node = self.get(slot);
        let entry = (node.work, Reverse(node.seq), slot);
        let leaves = &mut self.leaves[node.standing as usize];
        if leaf {
            leaves.insert(entry);
        } else {
            leaves.remove(&entry);
        }
    }

    /// Leaves of a standing, the preferred first.
    pub fn leaves(&self, standing: Standing) -> impl Iterator<Item = Slot> + '_ {
        self.leaves[standing as usize].iter().rev().map(|(.., slot)| *slot)
    }

    /// Changes how one header stands.
    pub fn set_standing(&mut self, slot: Slot, standing: Standing) {
        let leaf = self.get(slot).first_child.is_none();
        if leaf {
            self.set_leaf(slot, false);
        }
        self.get_mut(slot).standing = standing;
        if leaf {
            self.set_leaf(slot, true);
        }
    }

    pub fn children(&self, slot: Slot) -> impl Iterator<Item = Slot> + '_ {
        std::iter::successors(self.get(slot).first_child, |child| self.get(*child).next_sibling)
    }

    /// A header and everything above it.
    pub fn subtree(&self, slot: Slot) -> Vec<Slot> {
        let mut found = vec![slot];
        let mut next = 0;
        while next < found.len() {
            let here = found[next];
            found.extend(self.children(here));
            next += 1;
        }
        found
    }

    /// A header and those below it, down to the root.
    pub fn below(&self, slot: Slot) -> impl Iterator<Item = Slot> + '_ {
        std::iter::successors(Some(slot), |slot| self.get(*slot).parent)
    }

    /// The header of a height in the chain that ends here; `None` outside the tree.
    pub fn at_height(&self, slot: Slot, height: Height) -> Option<Slot> {
        if height > self.get(slot).height {
            return None;
        }
        self.below(slot).find(|s| self.get(*s).height == height)
    }

    /// The newest header that two chains have in common.
    pub fn common(&self, mut a: Slot, mut b: Slot) -> Slot {
        while a != b {
            let lower = if self.get(a).height >= self.get(b).height { &mut a } else { &mut b };
            *lower = self.get(*lower).parent.expect("all chains meet in the root");
        }
        a
    }

    /// Whether a chain goes through a header.
    pub fn descends(&self, slot: Slot, from: Slot) -> bool {
        self.at_height(slot, self.get(from).height) == Some(from)
    }

    /// Median of the timestamps of the last eleven blocks that end here, or of as many as there are.
    pub fn median_time(&self, slot: Slot) -> Millis {
        let inside = self.below(slot).take(MEDIAN_SPAN).map(|s| self.get(s).time);
        let mut times = [0; MEDIAN_SPAN];
        let mut count = 0;
        for time in inside.chain(self.times_below_root.iter().copied()).take(MEDIAN_SPAN) {
            times[count] = time;
            count += 1;
        }
        let times = &mut times[..count];
        times.sort_unstable();
        times[count / 2]
    }

    /// Takes a leaf away.
    fn remove_leaf(&mut self, slot: Slot) {
        self.set_leaf(slot, false);
        let node = self.slots[slot.0 as usize].take().expect("it is there");
        self.index.remove(&node.hash);
        self.free.push(slot);
        let Some(parent) = node.parent else { return };
        if self.get(parent).first_child == Some(slot) {
            self.get_mut(parent).first_child = node.next_sibling;
        } else {
            let before = self.children(parent).find(|s| self.get(*s).next_sibling == Some(slot));
            self.get_mut(before.expect("it is its parent's child")).next_sibling = node.next_sibling;
        }
        if self.get(parent).first_child.is_none() {
            self.set_leaf(parent, true);
        }
    }

    /// Makes room for a chain of this work: drops the least of the leaves that may go, invalid ones first, then those that leave the
    /// chain deep. Whether there was one.
    pub fn make_room(&mut self, work: Work, keep: impl Fn(Slot) -> bool) -> bool {
        let order = [Standing::Barred, Standing::Deep, Standing::Open];
        let least = |standing: Standing| {
            let weaker = |slot: &Slot| standing != Standing::Open || self.get(*slot).work < work;
            let may_go = |slot: &Slot| !keep(*slot) && *slot != self.root && weaker(slot);
            self.leaves[standing as usize].iter().map(|(.., slot)| *slot).find(may_go)
        };
        match order.into_iter().find_map(least) {
            Some(slot) => {
                self.remove_leaf(slot);
                true
            }
            None => false,
        }
    }

    /// Moves the root up its chain to `new`, and drops what does not descend from it. Gives back the hashes that are gone.
    pub fn raise_root(&mut self, new: Slot) -> Vec<B256> {
        let mut path: Vec<Slot> = self.below(new).take_while(|s| *s != self.root).collect();
        path.reverse();
        let mut gone = Vec::new();
        for next in path {
            let old = self.root;
            let others: Vec<Slot> = self.children(old).filter(|s| *s != next).collect();
            for other in others {
                for slot in self.subtree(other).into_iter().rev() {
                    gone.push(self.get(slot).hash);
                    self.remove_leaf(slot);
                }
            }
            let below = self.get(old).time;
            self.times_below_root.insert(0, below);
            self.times_below_root.truncate(MEDIAN_SPAN - 1);
            gone.push(self.get(old).hash);
            self.get_mut(next).parent = None;
            self.get_mut(next).next_sibling = None;
            self.get_mut(old).first_child = None;
            self.index.remove(&self.get(old).hash.clone());
            self.slots[old.0 as usize] = None;
            self.free.push(old);
            self.root = next;
        }
        gone
    }
}
