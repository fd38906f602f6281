//! Miners that do not keep to the protocol. Each runs an honest engine, which it feeds with what it hides; what it says in public
//! is decided here.

use basalt_consensus::Target;
use basalt_primitives::{B256, Block, Height, Seal, SealedBlock, U256};
use rand::{Rng, RngExt};

use super::{
    oracle,
    plan::Role,
    store::{HASH, maker},
    wire::Wire,
    world::World,
};

impl World {
    /// How many blocks a miner's chain and the public one have above where they part.
    fn race(&self, node: usize, public: B256) -> Option<(u64, u64)> {
        let own = self.nodes[node].process.as_ref()?.head();
        let theirs: std::collections::BTreeSet<B256> = self.archive.below(public).take(400).collect();
        let fork = self.archive.below(own).take(400).find(|h| theirs.contains(h))?;
        let above = |hash: B256| self.archive.height(&hash).0 - self.archive.height(&fork).0;
        Some((above(own), above(public)))
    }

    /// The miner itself has found a block.
    pub(super) fn after_found(&mut self, node: usize) {
        match self.nodes[node].role {
            Role::Selfish { .. } if self.nodes[node].racing => {
                self.nodes[node].racing = false;
                self.show(node, usize::MAX);
            }
            Role::Private { depth } if self.nodes[node].secret.len() as u64 >= depth => self.show(node, usize::MAX),
            Role::DoubleSpend { .. } => self.try_double_spend(node),
            _ => {}
        }
    }

    /// Shows its chain when the victim has waited long enough and there is more work in it than in any other.
    fn try_double_spend(&mut self, node: usize) {
        let Role::DoubleSpend { z } = self.nodes[node].role else { return };
        let Some(own) = self.nodes[node].process.as_ref().map(super::store::Process::head) else { return };
        let public = self.archive.0.iter().filter(|(_, made)| made.public);
        let Some((best, made)) = public.max_by_key(|(_, made)| made.work) else { return };
        if self.archive.height(best).0 >= z && self.archive.work(&own) > made.work {
            self.show(node, usize::MAX);
        }
    }

    /// It has heard of blocks of others.
    pub(super) fn after_heard(&mut self, node: usize, hashes: &[B256]) {
        let Some(newest) = hashes.last().copied().filter(|_| self.is_secretive(node)) else { return };
        self.try_double_spend(node);
        let own = self.nodes[node].process.as_ref().map(super::store::Process::head);
        let Some(own) = own.filter(|_| self.archive.0.contains_key(&newest)) else { return };
        let stubborn = matches!(self.nodes[node].role, Role::DoubleSpend { .. });
        let lost = self.archive.work(&newest) > self.archive.work(&own) && !stubborn;
        if lost {
            self.nodes[node].secret.clear();
            self.nodes[node].racing = false;
            return;
        }
        let Some((a, h)) = self.race(node, newest) else { return };
        if self.nodes[node].secret.is_empty() || !matches!(self.nodes[node].role, Role::Selfish { .. }) || h == 0 {
            return;
        }
        if a <= h + 1 {
            self.nodes[node].racing = a == h;
            self.show(node, usize::MAX);
        } else {
            let fork = self.archive.height(&own).0 - a;
            let level = Height(fork + h);
            let count = self.nodes[node].secret.iter().filter(|b| self.archive.height(b) <= level).count();
            self.show(node, count);
        }
    }

    /// Shows its oldest hidden blocks.
    fn show(&mut self, node: usize, count: usize) {
        let secret = &mut self.nodes[node].secret;
        let shown: Vec<B256> = secret.drain(..count.min(secret.len())).collect();
        let mut headers = Vec::new();
        for hash in &shown {
            if let Some(made) = self.archive.0.get_mut(hash) {
                made.public = true;
                headers.push(made.block.header().clone());
            }
        }
        if !headers.is_empty() {
            self.log(|_| format!("n{node} SHOWS {} blocks", headers.len()));
            self.tell(node, Target::All, &Wire::Headers(headers));
        }
    }

    /// The world heals: who hid blocks shows them and keeps to the protocol from now on.
    pub(super) fn give_up_secrets(&mut self, node: usize) {
        self.show(node, usize::MAX);
        let role = &mut self.nodes[node].role;
        if !matches!(role, Role::Backdater | Role::Postdater | Role::Hopper { .. }) {
            *role = Role::Honest;
        }
        for made in self.archive.0.values_mut().filter(|made| maker(made.block.header()) == node) {
            made.served = true;
        }
    }

    /// One false thing, made from the block the miner looks for.
    pub(super) fn forge(&mut self, node: usize) {
        let process = self.nodes[node].process.as_ref();
        let Some(job) = process.and_then(|p| p.job.clone()).filter(|_| self.nodes[node].role == Role::Forger) else {
            return;
        };
        if self.forgeries == 0 || self.rng.random_bool(0.5) {
            return;
        }
        self.forgeries -= 1;
        let block = job.block.block().clone();
        let kind = self.rng.random_range(0..8u32);
        match kind {
            0 => self.forge_unsealed(node, block),
            1 => self.forge_with(node, block, true, |w, b| {
                b.header.seal = Seal::Work { target: w.plan.params.max_target, nonce: 0 };
            }),
            2 => self.forge_with(node, block, true, |w, b| {
                b.header.timestamp_ms = oracle::median_time(&w.archive, &b.header.parent_hash);
            }),
            3 => self.forge_with(node, block, true, |w, b| {
                b.header.timestamp_ms = w.wall(node) + w.plan.params.future_drift_ms + 90_000;
            }),
            4 => self.forge_with(node, block, true, |_, b| b.header.parent_state_root = B256::repeat_byte(0xbd)),
            5 => self.forge_with(node, block, false, |_, _| {}),
            6 => self.forge_on_invalid(node, block),
            _ => self.forge_orphans(node, &block),
        }
    }

    /// A header whose nonce does not meet its target.
    fn forge_unsealed(&mut self, node: usize, mut block: Block) {
        let Seal::Work { target, .. } = block.header.seal else { return };
        let Some(sealing_hash) = block.header.sealing_hash(HASH) else { return };
        let work_hash = self.plan.params.work_hash;
        let Some(nonce) = (0..64u64).find(|n| work_hash.number(sealing_hash, *n) > target) else { return };
        block.header.seal = Seal::Work { target, nonce };
        self.pass_off(node, &SealedBlock::new(block, HASH), true);
    }

    /// A block that is sealed, and changed before; nobody gets its body unless it is `served`.
    fn forge_with(&mut self, node: usize, mut block: Block, served: bool, change: impl FnOnce(&Self, &mut Block)) {
        change(self, &mut block);
        if let Some(sealed) = self.seal(&SealedBlock::new(block, HASH)) {
            self.pass_off(node, &sealed, served);
        }
    }

    /// An invalid block, and three on it.
    fn forge_on_invalid(&mut self, node: usize, mut block: Block) {
        block.header.parent_state_root = B256::repeat_byte(0xbe);
        block.transactions.clear();
        block.header.transactions_root = basalt_primitives::merkle::root(HASH, &[]);
        for _ in 0..4 {
            let Some(sealed) = self.seal(&SealedBlock::new(block.clone(), HASH)) else { return };
            self.pass_off(node, &sealed, true);
            block.header.parent_hash = sealed.hash();
            block.header.height = sealed.height().next();
            block.header.timestamp_ms += 1_000;
            block.header.seal =
                Seal::Work { target: oracle::due(&self.plan.params, &self.archive, &sealed.hash()), nonce: 0 };
        }
    }

    /// Headers that rest on nothing, as easy as a seal can be.
    fn forge_orphans(&mut self, node: usize, block: &Block) {
        let headers: Vec<_> = (0..40)
            .map(|_| {
                let mut header = block.header.clone();
                header.parent_hash = B256::from(U256::from(self.rng.next_u64()));
                header.height = Height(header.height.0 + 300);
                header.seal = Seal::Work { target: U256::MAX, nonce: 0 };
                header
            })
            .collect();
        for header in headers {
            self.tell(node, Target::All, &Wire::Headers(vec![header]));
        }
    }

    fn pass_off(&mut self, node: usize, block: &SealedBlock, served: bool) {
        self.log(|_| format!("n{node} FORGES {} {}", block.height(), super::driver::short(block.hash())));
        self.archive.add(block, true, served);
        self.tell(node, Target::All, &Wire::Headers(vec![block.header().clone()]));
    }
}
