//! The inside of mining: which block to look for. The search itself is the driver's.

use basalt_consensus::{BuildRequest, Effect};
use basalt_primitives::{Block, Header, Height, Millis, Round, Seal, SealedBlock};

use crate::{
    Pow,
    tree::{Body, Standing},
};

/// A node with more blocks than this still to judge does not mine: it would mine on the past.
const MAX_BEHIND: usize = 8;
/// A block that could not be built is asked for again after this.
const RETRY_MS: Millis = 1_000;

/// What has been asked for.
#[derive(Debug)]
pub(crate) struct Miner {
    pub on: bool,
    /// Whether transactions wait.
    pub pending: bool,
    /// Whether they did when the last template was asked for.
    pending_then: bool,
    /// Height and parent of the last template.
    job: Option<(Height, basalt_primitives::B256)>,
    /// When the next is due if nothing changes.
    again_at: Millis,
}

impl Miner {
    pub const fn new(on: bool) -> Self {
        Self { on, pending: false, pending_then: false, job: None, again_at: 0 }
    }
}

impl Pow {
    /// A template is made anew this often: transactions come, and time goes on.
    fn template_ms(&self) -> Millis {
        (self.config.params.block_interval_ms / 4).clamp(250, 5_000)
    }

    /// Why this node does not look for a block although it should; `None` where it does, or should not.
    pub(crate) fn not_mining(&self) -> Option<&'static str> {
        let chain = self.chain();
        let latest = self.wall.saturating_add(self.config.params.future_drift_ms);
        match () {
            () if !self.miner.on => None,
            () if chain.redirect.is_some() => Some("the checkpoint names another chain than the one this node is on"),
            () if self.bodies.ahead() > MAX_BEHIND => Some("it is still catching up"),
            () if chain.tree.median_time(chain.head) >= latest => {
                Some("the chain's time is ahead of this node's clock by more than a block may be: check the clock")
            }
            () => None,
        }
    }

    /// M1: on every new head, when transactions come, and every so often.
    pub(crate) fn build_if_due(&mut self) {
        let chain = self.chain();
        let head = chain.tree.get(chain.head);
        let due = self.miner.job.is_none_or(|(_, parent)| parent != head.hash)
            || self.now >= self.miner.again_at
            || (self.miner.pending && !self.miner.pending_then);
        if !self.miner.on || !due {
            return;
        }
        if self.not_mining().is_some() {
            self.miner.again_at = self.now + self.template_ms();
            return;
        }
        let (height, parent) = (head.height.next(), head.hash);
        let min_timestamp_ms = chain.tree.median_time(chain.head) + 1;
        self.miner.job = Some((height, parent));
        self.miner.pending_then = self.miner.pending;
        self.miner.again_at = self.now + self.template_ms();
        let request = BuildRequest { height, round: Round::ZERO, parent, last_certificate: None, min_timestamp_ms };
        self.out.push(Effect::Build(request));
    }

    pub(crate) fn build_at(&self) -> Option<Millis> {
        Some(self.miner.again_at.max(self.now + 1)).filter(|_| self.miner.on)
    }

    /// M2: the target is the engine's to set.
    pub(crate) fn on_built(&mut self, height: Height, block: &SealedBlock) {
        let chain = self.chain();
        let asked = (height, block.header().parent_hash);
        if self.miner.job != Some(asked) || asked.1 != chain.tree.get(chain.head).hash || !self.miner.on {
            return;
        }
        let Some(target) = self.next_target() else { return };
        let block = block.block();
        let header = Header { seal: Seal::Work { target, nonce: 0 }, ..block.header.clone() };
        let sealed = Block { header, last_certificate: None, transactions: block.transactions.clone() };
        self.out.push(Effect::Seal { block: SealedBlock::new(sealed, self.config.sealing.hash_fn) });
    }

    pub(crate) fn on_build_failed(&mut self, height: Height) {
        if self.miner.job.is_some_and(|(asked, _)| asked == height) {
            self.miner.again_at = self.now + RETRY_MS;
        }
    }

    /// M3: a block found here is judged like any other; what rests on no known block, or does not keep the rules, is dropped.
    pub(crate) fn on_sealed(&mut self, block: SealedBlock) {
        let Ok(header) = self.config.sealing.check(block.header().clone()) else { return };
        if header.hash() != block.hash() || self.is_early(&header) {
            return;
        }
        let Ok(slot) = self.place(None, &header) else { return };
        let node = self.tree_mut().get_mut(slot);
        if matches!(node.body, Body::Missing) && node.standing != Standing::Barred {
            node.body = Body::Here(block);
        }
    }
}
