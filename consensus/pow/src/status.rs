//! What the engine can say about itself: in fields for programs, in sentences for people.

use basalt_consensus::Alarm;
use basalt_primitives::{B256, Height, Millis, U256};

use crate::{Pow, Refusal, Work, tree::Standing};

/// A picture of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Height of the head.
    pub head: Height,
    /// Its hash.
    pub head_hash: B256,
    /// Work of its chain.
    pub work: Work,
    /// Newest safe height.
    pub safe: Height,
    /// Newest final height.
    pub finalized: Height,
    /// Height of the heaviest chain of headers that may be adopted.
    pub best_header: Height,
    /// Blocks missing to the heaviest chain whose bodies can be had.
    pub behind: usize,
    /// Bodies asked for.
    pub fetching: usize,
    /// Whether a block is being judged.
    pub judging: bool,
    /// Chains left aside because nobody gives their bodies.
    pub withheld: usize,
    /// Headers in the tree.
    pub headers: usize,
    /// Headers whose parent is unknown.
    pub orphans: usize,
    /// Headers whose time is ahead of this clock.
    pub early: usize,
    /// By how much the nearest of them is.
    pub early_by: Option<Millis>,
    /// Headers refused for good.
    pub refused: u64,
    /// Why the last one was.
    pub last_refusal: Option<Refusal>,
    /// Answers of peers whose chains share no block with what this node remembers.
    pub foreign: u64,
    /// A branch that is refused although it has more work.
    pub alarm: Option<Alarm>,
    /// The operator's checkpoint.
    pub checkpoint: Option<(Height, B256)>,
    /// Whether the node is turning to the checkpoint's chain.
    pub redirected: bool,
    /// Target of the next block.
    pub next_target: U256,
    /// Whether it looks for blocks.
    pub mining: bool,
    /// Why it does not, although it should.
    pub not_mining: Option<&'static str>,
}

impl Pow {
    /// What the engine is doing; `None` before the first input.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        let chain = self.chain.as_ref()?;
        let tree = &chain.tree;
        let (head, finalized) = (tree.get(chain.head), tree.get(chain.finalized).height);
        let best = tree.leaves(Standing::Open).next().unwrap_or(chain.head);
        let latest = self.wall.saturating_add(self.config.params.future_drift_ms);
        let nearest = self.sync.early.iter().map(|(_, header)| header.time()).min();
        Some(Status {
            head: head.height,
            head_hash: head.hash,
            work: head.work,
            safe: Height(head.height.0.saturating_sub(self.config.params.safe_depth).max(finalized.0)),
            finalized,
            best_header: tree.get(best).height,
            behind: self.bodies.ahead(),
            fetching: self.bodies.wanted(),
            judging: self.bodies.judging.is_some(),
            withheld: self.bodies.parked(),
            headers: tree.len(),
            orphans: self.sync.orphans.len(),
            early: self.sync.early.len(),
            early_by: nearest.map(|time| time.saturating_sub(latest)),
            refused: self.sync.refused,
            last_refusal: self.sync.last_refusal,
            foreign: self.sync.foreign,
            alarm: self.deep_branch(),
            checkpoint: chain.checkpoint,
            redirected: chain.redirect.is_some(),
            next_target: self.next_target().unwrap_or_default(),
            mining: self.miner.on,
            not_mining: self.not_mining(),
        })
    }

    /// What the engine is doing and what an operator should know, in sentences; the most important first.
    #[must_use]
    pub fn explain(&self) -> Vec<String> {
        let Some(status) = self.status() else { return vec!["Consensus has not started.".to_owned()] };
        let mut words = status.troubles();
        words.push(status.position());
        words.extend(status.work_in_hand());
        words.extend(status.mining_words());
        words
    }
}

impl Status {
    fn troubles(&self) -> Vec<String> {
        let mut words = Vec::new();
        if let Some(Alarm::DeepBranch { tip, height, ancestor, ancestor_height }) = &self.alarm {
            let depth = self.head.0 - ancestor_height.0;
            words.push(format!(
                "ALARM: a chain with more work than this node's leaves it {depth} blocks below the head, at height {ancestor_height} \
                 ({ancestor}); its newest block is {tip} of height {height}. Blocks up to height {} are final here, so it is \
                 refused. Find out from other operators which chain is right: if it is that one, set a checkpoint on a block of \
                 it; if it is this one, nothing needs to be done.",
                self.finalized
            ));
        }
        match self.checkpoint {
            Some((height, block)) if self.redirected => words.push(format!(
                "The checkpoint {block} of height {height} is not on this node's chain. Its chain is being fetched and judged; \
                 until it is valid here, the node stays where it is and does not mine."
            )),
            Some((height, block)) if height > self.best_header => words.push(format!(
                "The checkpoint {block} of height {height} has not been seen yet: other blocks of that height are refused."
            )),
            _ => {}
        }
        if let Some(ms) = self.early_by {
            words.push(format!(
                "{} headers wait because their time is ahead of this node's clock; the nearest by {ms} ms more than a block may \
                 be. If that does not pass, check this node's clock.",
                self.early
            ));
        }
        if self.withheld > 0 {
            words.push(format!(
                "{} heavier chains are left aside because no peer gives their blocks: either they are withheld, or too few peers \
                 are connected.",
                self.withheld
            ));
        }
        if self.foreign > 0 {
            words.push(format!(
                "{} answers of peers began at blocks this node does not know: they may be on another chain altogether, or \
                 this node has been away for long. Compare genesis and a recent final block with theirs.",
                self.foreign
            ));
        }
        words
    }

    fn position(&self) -> String {
        let Self { head, head_hash, work, safe, finalized, .. } = self;
        format!(
            "The head is block {head} ({head_hash}) with {work} hashes of work; safe up to {safe}, final up to {finalized}."
        )
    }

    fn work_in_hand(&self) -> Option<String> {
        let Self { behind, fetching, best_header, .. } = self;
        let judging = if self.judging { ", one is being judged" } else { "" };
        (*behind > 0).then(|| {
            format!("A heavier chain goes up to height {best_header}: {behind} blocks to judge, {fetching} asked for{judging}.")
        })
    }

    fn mining_words(&self) -> Option<String> {
        let needed = Work::of(self.next_target)?;
        match self.not_mining {
            Some(why) => Some(format!("This node does not mine now: {why}.")),
            None if self.mining => {
                Some(format!("It looks for block {}, which takes {needed} hashes on average.", self.head.next()))
            }
            None => None,
        }
    }
}
