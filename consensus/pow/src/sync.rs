//! Headers first: what comes in, what waits, and whom to ask.
//!
//! In: headers of peers, whose seals are checked. Out: headers in the tree, questions. Everything that waits is bounded, in all
//! and by peer: orphans (their parent is unknown) and early ones (their time is ahead of this clock).

use std::collections::{BTreeMap, VecDeque, btree_map::Entry};

use basalt_consensus::Target;
use basalt_primitives::{B256, Height, Millis, PowParams};

use crate::{
    Message, Pow, Refusal, SealedHeader,
    message::{MAX_HEADERS, MAX_LOCATOR},
    mutation::Mutation,
    rules,
    tree::{Slot, Standing},
};

/// Most orphans, and most early headers.
pub(crate) const MAX_WAITING: usize = 64;
/// Most of them from one peer.
const MAX_WAITING_OF_PEER: usize = 16;
/// A peer that has not answered is not asked again for so long.
const ASK_MS: Millis = 2_000;
/// Steps back that a locator looks, before it names the root.
const LOCATOR_REACH: usize = 1 << 13;

/// A header that waits, and the peer that sent it.
type Waiting = VecDeque<(u16, SealedHeader)>;

/// What is under way.
#[derive(Debug, Default)]
pub(crate) struct Sync {
    /// When each peer may be asked again.
    asked: BTreeMap<u16, Millis>,
    pub orphans: Waiting,
    pub early: Waiting,
    /// Headers refused for good, since the start.
    pub refused: u64,
    /// Why the last one was.
    pub last_refusal: Option<Refusal>,
    /// Those of peers that the driver has not asked for yet.
    pub refusals: Vec<(u16, Refusal)>,
    /// Answers whose first header leads nowhere this node knows.
    pub foreign: u64,
}

/// What became of a header.
enum Taken {
    /// It is in the tree, and was not before.
    New,
    /// It was.
    Known,
    /// It waits, or is refused: what follows it cannot be taken either.
    Not,
}

/// Adds to what waits. The oldest gives way, of this peer if it has many.
fn wait(waiting: &mut Waiting, from: u16, header: SealedHeader, bounded: bool) {
    if waiting.iter().any(|(_, h)| h.hash() == header.hash()) {
        return;
    }
    let of_peer = waiting.iter().filter(|(peer, _)| *peer == from).count();
    if bounded && of_peer >= MAX_WAITING_OF_PEER {
        let oldest = waiting.iter().position(|(peer, _)| *peer == from);
        oldest.map(|at| waiting.remove(at));
    } else if bounded && waiting.len() >= MAX_WAITING {
        waiting.pop_front();
    }
    waiting.push_back((from, header));
}

impl Sync {
    /// When (mono) the first early header may be looked at again.
    pub fn next_early(&self, now: Millis, wall: Millis, params: &PowParams) -> Option<Millis> {
        let first = self.early.iter().map(|(_, h)| h.time()).min()?;
        // A clock that is set must not make anyone wait for ever, so it is looked at every interval.
        let wait = first.saturating_sub(params.future_drift_ms).saturating_sub(wall);
        Some(now + wait.clamp(1, params.block_interval_ms))
    }
}

impl Pow {
    /// H1: headers in a row. H2: a full answer is followed by the next question.
    pub(crate) fn on_headers(&mut self, from: u16, headers: Vec<SealedHeader>) {
        let in_a_row = headers.windows(2).all(|pair| pair[1].parent() == pair[0].hash());
        if !in_a_row {
            return;
        }
        let (full, last) = (headers.len() == MAX_HEADERS, headers.last().map(SealedHeader::hash));
        let mut news = 0;
        for header in headers {
            match self.take(from, header) {
                Taken::New => news += 1,
                Taken::Known => {}
                Taken::Not => break,
            }
        }
        if news > 0 {
            self.sync.asked.remove(&from);
        }
        if let Some(last) = last.filter(|last| full && news > 0 && self.tree().find(last).is_some()) {
            let root = self.tree().get(self.tree().root()).hash;
            self.ask(from, vec![last, root]);
        }
    }

    fn take(&mut self, from: u16, header: SealedHeader) -> Taken {
        if self.tree().find(&header.hash()).is_some() {
            return Taken::Known;
        }
        if self.tree().find(&header.parent()).is_none() {
            self.take_orphan(from, header);
            return Taken::Not;
        }
        if self.is_early(&header) {
            wait(&mut self.sync.early, from, header, true);
            return Taken::Not;
        }
        match self.place(Some(from), &header) {
            Ok(_) => {
                self.take_children(header.hash());
                Taken::New
            }
            Err(refusal) => {
                self.sync.refused += 1;
                self.sync.last_refusal = Some(refusal);
                if self.sync.refusals.len() < MAX_WAITING {
                    self.sync.refusals.push((from, refusal));
                }
                Taken::Not
            }
        }
    }

    /// H3: a time ahead of the clock by more than the drift is not wrong, it is early.
    pub(crate) fn is_early(&self, header: &SealedHeader) -> bool {
        let latest = self.wall.saturating_add(self.config.params.future_drift_ms);
        header.time() > latest && !Mutation::DriftUnchecked.on()
    }

    pub(crate) fn take_early(&mut self) {
        let early = std::mem::take(&mut self.sync.early);
        let (due, later) = early.into_iter().partition(|(_, header)| !self.is_early(header));
        self.sync.early = later;
        for (from, header) in Waiting::into_iter(due) {
            self.take(from, header);
        }
    }

    /// H2: where it belongs is asked of whoever sent it.
    fn take_orphan(&mut self, from: u16, header: SealedHeader) {
        let root = self.tree().get(self.tree().root()).height;
        if header.height() <= root.next() {
            self.sync.foreign += 1;
            return;
        }
        wait(&mut self.sync.orphans, from, header, !Mutation::OrphansUnbounded.on());
        let locator = self.locator();
        self.ask(from, locator);
    }

    /// Orphans that have found their parent.
    fn take_children(&mut self, parent: B256) {
        let mut parents = vec![parent];
        while let Some(parent) = parents.pop() {
            let orphans = std::mem::take(&mut self.sync.orphans);
            let (found, others) = orphans.into_iter().partition(|(_, h)| h.parent() == parent);
            self.sync.orphans = others;
            for (from, header) in Waiting::into_iter(found) {
                if self.is_early(&header) {
                    wait(&mut self.sync.early, from, header, true);
                } else if self.place(Some(from), &header).is_ok() {
                    parents.push(header.hash());
                }
            }
        }
    }

    /// Checks a header against its parent, which is in the tree, and puts it there. The clock has been asked.
    pub(crate) fn place(&mut self, from: Option<u16>, header: &SealedHeader) -> Result<Slot, Refusal> {
        let chain = self.chain();
        let tree = &chain.tree;
        if let Some(known) = tree.find(&header.hash()) {
            return Ok(known);
        }
        let parent = tree.find(&header.parent()).ok_or(Refusal::Height(header.height()))?;
        let work = rules::check(&self.config.params, tree, parent, header)?;
        let elsewhere = |(height, block): (Height, B256)| height == header.height() && block != header.hash();
        if chain.checkpoint.is_some_and(elsewhere) {
            return Err(Refusal::Checkpoint(header.height()));
        }
        let standing = self.standing_under(parent)?;
        if tree.len() >= self.config.capacity {
            let tip = self.bodies.tip();
            let (head, finalized, redirect) = (chain.head, chain.finalized, chain.redirect);
            let keep = |slot| [Some(parent), Some(head), Some(finalized), redirect, tip].contains(&Some(slot));
            if !self.tree_mut().make_room(work, keep) {
                return Err(Refusal::Full);
            }
        }
        let slot = self.tree_mut().insert(header, work, parent, from, standing);
        if self.chain().checkpoint == Some((header.height(), header.hash())) {
            self.apply_checkpoint();
        }
        Ok(slot)
    }

    /// How a block stands that rests on this one.
    fn standing_under(&self, parent: Slot) -> Result<Standing, Refusal> {
        let chain = self.chain();
        let pivot = chain.tree.get(chain.redirect.unwrap_or(chain.finalized)).height;
        let above = chain.tree.get(parent);
        match above.standing {
            Standing::Barred if !Mutation::InvalidFollowed.on() => Err(Refusal::OnInvalid),
            _ if Mutation::FinalityIgnored.on() => Ok(Standing::Open),
            Standing::Deep => Ok(Standing::Deep),
            _ if above.height < pivot => Ok(Standing::Deep),
            _ => Ok(Standing::Open),
        }
    }

    fn ask(&mut self, peer: u16, locator: Vec<B256>) {
        let now = self.now;
        self.sync.asked.retain(|_, until| *until > now);
        if let Entry::Vacant(free) = self.sync.asked.entry(peer) {
            free.insert(now + ASK_MS);
            self.send(Target::One(peer), Message::GetHeaders { locator });
        }
    }

    pub(crate) fn ask_all(&mut self) {
        let locator = self.locator();
        self.send(Target::All, Message::GetHeaders { locator });
    }

    /// Hashes down the heaviest chain of headers, ever sparser, and the root's: wherever a peer's chain leaves it, one of them is
    /// not far below.
    pub(crate) fn locator(&self) -> Vec<B256> {
        let chain = self.chain();
        let tree = &chain.tree;
        let tip = tree.leaves(Standing::Open).next().unwrap_or(chain.head);
        let mut locator = Vec::with_capacity(MAX_LOCATOR);
        let (mut next, mut stride) = (0, 1);
        for (steps, slot) in tree.below(tip).take(LOCATOR_REACH).enumerate() {
            if steps == next && locator.len() < MAX_LOCATOR - 1 {
                locator.push(tree.get(slot).hash);
                stride = if locator.len() > 8 { stride * 2 } else { 1 };
                next += stride;
            }
        }
        let root = tree.get(tree.root()).hash;
        if locator.last() != Some(&root) {
            locator.push(root);
        }
        locator
    }
}
