//! The fork choice: which block is the head, which are safe and final, which branches are refused.

use std::sync::Arc;

use basalt_consensus::{Alarm, Branch, Effect, Target};
use basalt_primitives::{B256, Height};

use crate::{
    Message, Pow, Record, SealedHeader, Work,
    mutation::Mutation,
    tree::{Slot, Standing},
};

/// Deep branches remembered as reported.
const MAX_ALARMED: usize = 64;

impl Pow {
    /// C1: the head moves to a valid block with more work, and says what that takes back and adds. C2: finality follows.
    pub(crate) fn move_head(&mut self, to: Slot, header: Option<SealedHeader>) {
        let chain = self.chain();
        let tree = &chain.tree;
        let ancestor = tree.common(chain.head, to);
        let down_to = |slot| tree.below(slot).take_while(move |s| *s != ancestor).map(|s| tree.get(s).hash);
        let mut abandoned: Vec<B256> = down_to(chain.head).collect();
        let mut adopted: Vec<B256> = down_to(to).collect();
        adopted.reverse();
        if Mutation::AbandonedForgotten.on() && abandoned.len() > 1 {
            abandoned.pop();
        }
        let branch = Branch { ancestor: tree.get(ancestor).hash, abandoned, adopted };
        let interval = self.config.params.block_interval_ms;
        let announce_at = self.now + interval;
        let chain = self.chain_mut();
        chain.head = to;
        chain.head_header.clone_from(&header);
        chain.announce_at = announce_at;
        self.advance_finality();
        self.announce_forkchoice(Some(Arc::new(branch)));
        if let Some(header) = header.filter(|_| self.bodies.ahead() == 0) {
            self.send(Target::All, Message::Headers(vec![header]));
        }
        self.raise_root();
    }

    pub(crate) fn announce_forkchoice(&mut self, branch: Option<Arc<Branch>>) {
        let chain = self.chain();
        let tree = &chain.tree;
        let head = tree.get(chain.head);
        let finalized = tree.get(chain.finalized);
        let safe_height = head.height.0.saturating_sub(self.config.params.safe_depth).max(finalized.height.0);
        let safe = tree.at_height(chain.head, Height(safe_height)).unwrap_or(chain.finalized);
        let (head, safe, finalized) = (head.hash, tree.get(safe).hash, finalized.hash);
        self.out.push(Effect::Forkchoice { head, safe, finalized, proof: None, branch });
    }

    /// C2: what is deep enough below the head is final, and so is a checkpoint on the head's chain. What leaves the chain below
    /// is deep from now on.
    fn advance_finality(&mut self) {
        let chain = self.chain();
        let tree = &chain.tree;
        let (head, old) = (chain.head, chain.finalized);
        let by_depth = self.buried(head).map_or(0, |slot| tree.get(slot).height.0);
        let on_chain = |(height, block): &(Height, B256)| {
            tree.find(block).is_some_and(|s| tree.get(s).height == *height && tree.descends(head, s))
        };
        let by_word = chain.checkpoint.filter(on_chain).map_or(0, |(height, _)| height.0);
        let redirected = chain.redirect.filter(|base| tree.descends(head, *base));
        let height = by_depth.max(by_word).max(if redirected.is_some() { 0 } else { tree.get(old).height.0 });
        let Some(new) = tree.at_height(head, Height(height)) else { return };
        if redirected.is_some() {
            let chain = self.chain_mut();
            (chain.redirect, chain.finalized) = (None, new);
            self.classify(new);
        } else if new != old {
            let passed: Vec<Slot> = tree.below(new).take_while(|slot| *slot != old).collect();
            for slot in passed {
                self.deepen_siblings(slot);
            }
            self.chain_mut().finalized = new;
        }
    }

    /// The newest block with at least the finality depth of blocks on it, and at least as much work as so many blocks of its own
    /// difficulty: blocks made easy by low difficulty, or by a wrong clock, finalize nothing.
    fn buried(&self, head: Slot) -> Option<Slot> {
        let (tree, depth) = (self.tree(), self.config.params.finality_depth);
        let above = |slot: Slot| tree.get(head).work.beyond(tree.get(slot).work);
        let enough = |slot: &Slot| {
            let own = Work::of(tree.get(*slot).target);
            own.is_some_and(|own| above(*slot) >= own.times(depth)) || Mutation::FinalityByBlocks.on()
        };
        tree.below(head).skip(usize::try_from(depth).unwrap_or(usize::MAX)).find(enough)
    }

    /// What else rests on a final block's parent, with all above it, is deep.
    fn deepen_siblings(&mut self, slot: Slot) {
        let tree = self.tree();
        let Some(parent) = tree.get(slot).parent else { return };
        let others: Vec<Slot> = tree.children(parent).filter(|s| *s != slot).collect();
        for other in others {
            for above in self.tree().subtree(other) {
                if self.tree().get(above).standing == Standing::Open && !Mutation::FinalityIgnored.on() {
                    self.tree_mut().set_standing(above, Standing::Deep);
                }
            }
        }
    }

    /// Everything that descends from `base`, or lies below it, is open, and everything else deep.
    fn classify(&mut self, base: Slot) {
        let tree = self.tree_mut();
        let all = tree.subtree(tree.root());
        let open: Vec<Slot> = tree.below(base).chain(tree.subtree(base)).collect();
        for (slots, standing) in [(all, Standing::Deep), (open, Standing::Open)] {
            for slot in slots {
                if tree.get(slot).standing != Standing::Barred {
                    tree.set_standing(slot, standing);
                }
            }
        }
    }

    /// C3: the operator's word. On the head's chain it makes the block final; elsewhere it turns the node to that branch.
    pub(crate) fn on_checkpoint(&mut self, height: Height, block: B256) {
        if Mutation::CheckpointIgnored.on() {
            return;
        }
        self.out.push(Effect::Persist(Record::Checkpoint { height, block }));
        self.chain_mut().checkpoint = Some((height, block));
        self.apply_checkpoint();
        self.ask_all();
    }

    /// Does what the checkpoint says, as far as its block is known.
    pub(crate) fn apply_checkpoint(&mut self) {
        let chain = self.chain();
        let Some((height, block)) = chain.checkpoint else { return };
        let known = chain.tree.find(&block).filter(|slot| chain.tree.get(*slot).height == height);
        let Some(slot) = known else { return };
        if chain.tree.descends(chain.head, slot) {
            let moved = chain.redirect.is_some() || height > chain.tree.get(chain.finalized).height;
            self.chain_mut().redirect = None;
            if moved {
                self.advance_finality();
                self.classify(self.chain().finalized);
                self.announce_forkchoice(None);
            }
            return;
        }
        if chain.tree.get(slot).standing != Standing::Barred {
            self.chain_mut().redirect = Some(slot);
            self.classify(slot);
        }
    }

    /// A1: a branch with more work than the head that leaves the chain too deep is reported, once.
    pub(crate) fn raise_alarm(&mut self) {
        let Some(alarm) = self.deep_branch() else { return };
        let Alarm::DeepBranch { ancestor_height, tip, .. } = &alarm;
        let tree = self.tree();
        let first = tree.find(tip).and_then(|slot| tree.at_height(slot, ancestor_height.next()));
        let Some(first) = first.map(|slot| tree.get(slot).hash) else { return };
        let alarmed = &mut self.chain_mut().alarmed;
        if Mutation::AlarmForgotten.on() || alarmed.contains(&first) {
            return;
        }
        if alarmed.len() >= MAX_ALARMED {
            alarmed.pop_first();
        }
        alarmed.insert(first);
        self.out.push(Effect::Alarm(alarm));
    }

    /// The heaviest branch that is refused although it has more work than the head, and on which the operator has not spoken: one that
    /// parts from this chain below the checkpoint on it is decided.
    pub(crate) fn deep_branch(&self) -> Option<Alarm> {
        let chain = self.chain();
        let tree = &chain.tree;
        let decided = chain.checkpoint.and_then(|(_, block)| tree.find(&block));
        let decided = decided.filter(|slot| tree.descends(chain.head, *slot)).map(|slot| tree.get(slot).height);
        let head = tree.get(chain.head).work;
        let deep = tree.leaves(Standing::Deep).take(MAX_ALARMED);
        let heavier = deep.take_while(|slot| chain.redirect.is_none() && tree.get(*slot).work > head);
        let mut parting = heavier.map(|tip| (tree.get(tip), tree.get(tree.common(chain.head, tip))));
        let (tip, ancestor) = parting.find(|(_, ancestor)| decided.is_none_or(|height| ancestor.height >= height))?;
        let (tip, height, ancestor_height) = (tip.hash, tip.height, ancestor.height);
        Some(Alarm::DeepBranch { tip, height, ancestor: ancestor.hash, ancestor_height })
    }

    /// Forgets what is more than the margin below finality.
    fn raise_root(&mut self) {
        let chain = self.chain();
        let tree = &chain.tree;
        let finalized = tree.get(chain.finalized).height.0;
        let Some(height) = finalized.checked_sub(self.config.margin) else { return };
        if height <= tree.get(tree.root()).height.0 {
            return;
        }
        let Some(root) = tree.at_height(chain.finalized, Height(height)) else { return };
        if self.bodies.tip().is_some_and(|tip| tree.get(tip).standing != Standing::Open) {
            self.bodies.forget_track();
        }
        let gone = self.tree_mut().raise_root(root);
        for hash in gone {
            self.chain_mut().alarmed.remove(&hash);
        }
    }
}
