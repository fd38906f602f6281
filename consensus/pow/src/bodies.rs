//! Bodies: which are fetched, which is judged next. The engine follows the heaviest chain of headers that is heavier than its
//! head and whose bodies can be had; it fetches a few ahead and judges one at a time, parents first.

use std::collections::{BTreeMap, VecDeque};

use basalt_consensus::{Effect, Verdict};
use basalt_primitives::{B256, Millis, SealedBlock};

use crate::{
    Pow, Record, SealedHeader,
    mutation::Mutation,
    tree::{Body, Slot, Standing},
};

/// Bodies fetched at once, and most that wait to be judged.
pub(crate) const FETCH_AHEAD: usize = 16;
/// A body that has not come is asked for again after this.
const FETCH_MS: Millis = 4_000;
/// A body that nobody had is asked for again after this.
const RETRY_MS: Millis = 1_000;
/// A chain whose next body could not be had so often in a row is left aside…
const TRIES: u32 = 4;
/// …for so long, if there is another.
const PARK_MS: Millis = 30_000;
/// Most chains left aside, and most leaves looked at for another.
const MAX_PARKED: usize = 16;

/// A body that is wanted.
#[derive(Clone, Copy, Debug, Default)]
struct Want {
    again_at: Millis,
    tries: u32,
}

/// What is fetched and judged.
#[derive(Debug, Default)]
pub(crate) struct Bodies {
    /// Blocks to be judged, lowest first, up to the leaf that is followed. The parent of the first is valid.
    track: VecDeque<Slot>,
    wants: BTreeMap<B256, Want>,
    /// Blocks that nobody gives, and until when chains through them are left aside.
    parked: BTreeMap<B256, Millis>,
    /// The block that is being judged.
    pub judging: Option<B256>,
    judge_at: Millis,
}

impl Bodies {
    /// The leaf that is followed.
    pub fn tip(&self) -> Option<Slot> {
        self.track.back().copied()
    }

    /// Forgets which leaf is followed: it is looked for again.
    pub fn forget_track(&mut self) {
        self.track.clear();
        self.wants.clear();
    }

    /// How many blocks are missing to the heaviest chain.
    pub fn ahead(&self) -> usize {
        self.track.len()
    }

    /// How many bodies are asked for.
    pub fn wanted(&self) -> usize {
        self.wants.len()
    }

    /// Chains left aside because nobody gives their bodies.
    pub fn parked(&self) -> usize {
        self.parked.len()
    }

    pub fn deadline(&self, now: Millis) -> Option<Millis> {
        let wants = self.wants.values().map(|want| want.again_at).min();
        let parked = self.parked.values().min().copied();
        let judge = Some(self.judge_at).filter(|at| *at > now && !self.track.is_empty());
        [wants, parked, judge].into_iter().flatten().min()
    }
}

impl Pow {
    /// B1: the heaviest leaf above the head's work, of equals the first seen; those aside whose bodies nobody gives.
    pub(crate) fn follow_heaviest(&mut self) {
        let now = self.now;
        self.bodies.parked.retain(|_, until| *until > now);
        let Some(leaf) = self.heaviest_to_be_had() else { return self.bodies.forget_track() };
        let tip = self.bodies.tip();
        if tip == Some(leaf) {
            return;
        }
        let tree = self.tree();
        let unjudged = |slot: &Slot| !matches!(tree.get(*slot).body, Body::Valid) && Some(*slot) != tip;
        let path: Vec<Slot> = tree.below(leaf).take_while(unjudged).collect();
        let Some(lowest) = path.last() else {
            // Judged before a checkpoint made it the one to follow.
            self.bodies.forget_track();
            return self.move_head(leaf, None);
        };
        if tip.is_none() || tree.get(*lowest).parent != tip {
            self.bodies.track.clear();
        }
        self.bodies.track.extend(path.into_iter().rev());
        let ahead = self.bodies.track.iter().take(FETCH_AHEAD);
        let wanted: Vec<B256> = ahead.map(|slot| self.tree().get(*slot).hash).collect();
        self.bodies.wants.retain(|hash, _| wanted.contains(hash));
    }

    fn heaviest_to_be_had(&self) -> Option<Slot> {
        let leaves = self.tree().leaves(Standing::Open).take(MAX_PARKED);
        leaves.take_while(|leaf| self.is_better(*leaf)).find(|leaf| !self.is_parked(*leaf))
    }

    /// Whether a block's chain is to be preferred to the head's: it has more work. (Equal work is not enough: the first seen
    /// stays.)
    pub(crate) fn is_better(&self, slot: Slot) -> bool {
        let chain = self.chain();
        let (own, head) = (chain.tree.get(slot), chain.tree.get(chain.head));
        if let Some(base) = chain.redirect {
            return chain.tree.descends(slot, base);
        }
        match () {
            () if Mutation::LongestChain.on() => own.height > head.height,
            () if Mutation::LastSeen.on() => own.work >= head.work && slot != chain.head,
            () => own.work > head.work,
        }
    }

    fn is_parked(&self, leaf: Slot) -> bool {
        let tree = self.tree();
        let unjudged = |slot: &Slot| !matches!(tree.get(*slot).body, Body::Valid);
        !self.bodies.parked.is_empty()
            && tree.below(leaf).take_while(unjudged).any(|slot| self.bodies.parked.contains_key(&tree.get(slot).hash))
    }

    /// B2: the lowest bodies that are missing.
    pub(crate) fn fetch_missing(&mut self) {
        let now = self.now;
        let next: Vec<Slot> = self.bodies.track.iter().take(FETCH_AHEAD).copied().collect();
        for slot in next {
            let node = self.tree().get(slot);
            if !matches!(node.body, Body::Missing) {
                continue;
            }
            let (block, height, hint) = (node.hash, node.height, node.from.unwrap_or_default());
            let want = self.bodies.wants.entry(block).or_default();
            if now < want.again_at {
                continue;
            }
            want.again_at = if Mutation::FetchedOnce.on() { Millis::MAX } else { now + FETCH_MS };
            want.tries += 1;
            let given_up = want.tries > TRIES;
            if given_up && self.bodies.parked.len() < MAX_PARKED {
                self.bodies.wants.remove(&block);
                self.bodies.parked.insert(block, now + PARK_MS);
                self.follow_heaviest();
                return;
            }
            self.out.push(Effect::Fetch { block, height, hint });
        }
    }

    pub(crate) fn on_fetched(&mut self, block: SealedBlock) {
        let wanted = self.bodies.wants.remove(&block.hash()).is_some();
        let Some(slot) = self.tree().find(&block.hash()).filter(|_| wanted) else { return };
        let node = self.tree_mut().get_mut(slot);
        if matches!(node.body, Body::Missing) {
            node.body = Body::Here(block);
        }
    }

    pub(crate) fn on_fetch_failed(&mut self, block: &B256) {
        let again = if Mutation::FetchedOnce.on() { Millis::MAX } else { self.now + RETRY_MS };
        if let Some(want) = self.bodies.wants.get_mut(block) {
            want.again_at = again;
        }
    }

    /// B3: one at a time, so that its parent has been executed.
    pub(crate) fn judge_next(&mut self) {
        let Some(first) = self.bodies.track.front().copied() else { return };
        if self.bodies.judging.is_some() || self.now < self.bodies.judge_at {
            return;
        }
        let node = self.tree_mut().get_mut(first);
        let Body::Here(block) = &node.body else { return };
        let block = block.clone();
        node.body = Body::Judging(block.clone());
        self.bodies.judging = Some(block.hash());
        if Mutation::UnjudgedHead.on() {
            return self.accept(first, block);
        }
        self.out.push(Effect::Validate { block });
    }

    /// B4: a valid block is written, and then may be the head. An invalid one bars everything above it.
    pub(crate) fn on_validated(&mut self, hash: B256, verdict: Verdict) {
        if self.bodies.judging == Some(hash) {
            self.bodies.judging = None;
        }
        let Some(slot) = self.tree().find(&hash) else { return };
        let Body::Judging(block) = self.tree().get(slot).body.clone() else { return };
        match verdict {
            Verdict::Valid => self.accept(slot, block),
            Verdict::NotYet => {
                self.tree_mut().get_mut(slot).body = Body::Here(block);
                self.bodies.judge_at = self.now + RETRY_MS;
            }
            Verdict::Invalid => {
                for above in self.tree().subtree(slot) {
                    self.tree_mut().get_mut(above).body = Body::Missing;
                    if !Mutation::InvalidFollowed.on() {
                        self.tree_mut().set_standing(above, Standing::Barred);
                    }
                }
                if Mutation::InvalidFollowed.on() {
                    self.tree_mut().get_mut(slot).body = Body::Valid;
                }
                self.bodies.forget_track();
            }
        }
    }

    fn accept(&mut self, slot: Slot, block: SealedBlock) {
        self.bodies.judging = None;
        if self.bodies.track.front() == Some(&slot) {
            self.bodies.track.pop_front();
        }
        let node = self.tree_mut().get_mut(slot);
        node.body = Body::Valid;
        let (written, target) = (std::mem::replace(&mut node.written, true), node.target);
        let better = node.standing == Standing::Open && self.is_better(slot);
        let header = SealedHeader::of_judged(&block, target);
        let early = Mutation::AnnouncedUnwritten.on() && better;
        if early {
            self.move_head(slot, Some(header.clone()));
        }
        if !written {
            self.out.push(Effect::Persist(Record::Block(block)));
        }
        if better && !early {
            self.move_head(slot, Some(header));
        }
    }
}
