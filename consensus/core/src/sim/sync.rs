//! The sync side of a node, and fetching of single blocks. It mirrors the real one's rules: a claim is a hint, a certificate
//! counts only for its own height and block, checked against the validators of that height.

use std::sync::Arc;

use basalt_primitives::{B256, Height, SealedBlock, ValidatorSet};
use rand::{RngExt, seq::IndexedRandom};

use super::{
    Certified, Lab, Violation,
    node::Entry,
    world::{Event, POLL_MS, World},
};
use crate::Input;

/// Blocks asked for at once.
const BLOCKS: usize = 64;

impl<L: Lab> World<'_, L> {
    /// Asks one other node for the next blocks and for transactions.
    pub(super) fn poll(&mut self, node: usize, epoch: u64) -> Result<(), Violation> {
        self.schedule(POLL_MS, Event::Poll { node, epoch });
        let clients = self.nodes[node].clients.clone();
        self.add_transactions(node, clients)?;
        let other = self.rng.random_range(0..self.nodes.len());
        let reachable = self.plan.connected(self.now, node, other) && self.plan.connected(self.now, other, node);
        if other == node || !reachable || self.nodes[other].process.is_none() {
            return Ok(());
        }
        let theirs = self.nodes[other].pool.0.clone();
        self.add_transactions(node, theirs)?;
        let next = self.nodes[node].process.as_ref().map_or(0, |p| p.tip.height().0 + 1) as usize;
        let (blocks, claimed) = self.ask(other, next);
        if let Some(process) = &mut self.nodes[node].process {
            process.offered = blocks.into();
            if self.lab.believes_claims() {
                process.believes = process.believes.max(claimed);
            }
        }
        self.take_offered(node)
    }

    /// What a node answers: its blocks from `next` on and its height, unless it lies.
    fn ask(&mut self, other: usize, next: usize) -> (Vec<Certified>, Height) {
        let ledger = &self.nodes[other].disk.ledger;
        let certified = |entry: &Entry| Some((entry.block.clone(), entry.certificate.clone()?));
        let from = ledger.get(next..).unwrap_or_default();
        let blocks: Vec<Certified> = from.iter().take(BLOCKS).filter_map(certified).collect();
        let height = ledger.last().map(|e| e.block.height()).unwrap_or_default();
        let (lab, rng) = (self.lab, &mut self.rng);
        match &mut self.nodes[other].adversary {
            None => (blocks, height),
            Some(adversary) => lab.serve(adversary, rng, blocks, height),
        }
    }

    /// Hands in what was offered, as far as the validators that must have certified it are known.
    pub(super) fn take_offered(&mut self, node: usize) -> Result<(), Violation> {
        loop {
            let this = &mut self.nodes[node];
            let Some(process) = &mut this.process else { return Ok(()) };
            let Some((block, _)) = process.offered.front() else { return Ok(()) };
            let Some(set) = this.disk.set_at(block.height()) else { return Ok(()) };
            let Some((block, certificate)) = process.offered.pop_front() else { return Ok(()) };
            if certified(self.lab, &set, &(block.clone(), certificate.clone())) {
                self.step(node, Input::Synced { block, certificate: Arc::clone(&certificate) })?;
            } else if let Some(process) = &mut self.nodes[node].process {
                process.offered.clear();
            }
        }
    }

    pub(super) fn fetch_done(&mut self, node: usize, hash: B256, height: Height, hint: u16) -> Result<(), Violation> {
        let reachable = |w: &Self, other: usize| {
            other != node && w.plan.connected(w.now, node, other) && w.plan.connected(w.now, other, node)
        };
        let holders: Vec<usize> = (0..self.nodes.len())
            .filter(|other| reachable(self, *other) && self.nodes[*other].adversary.is_none())
            .filter(|other| self.nodes[*other].block(&hash, height).is_some())
            .collect();
        let set = self.nodes[node].disk.set_at(height);
        let hinted = set.and_then(|set| set.get(hint).map(|v| v.public_key));
        let is_hinted = |other: &&usize| Some(self.lab.keys()[usize::from(self.nodes[**other].validator)]) == hinted;
        let Some(from) = holders.iter().find(is_hinted).or_else(|| holders.choose(&mut self.rng)) else {
            return self.step(node, Input::FetchFailed { block: hash });
        };
        let block: Option<SealedBlock> = self.nodes[*from].block(&hash, height);
        block.map_or(Ok(()), |block| self.step(node, Input::Fetched { block }))
    }
}

/// The real sync side's rule for a block it is given.
fn certified<L: Lab>(lab: &L, set: &ValidatorSet, (block, certificate): &Certified) -> bool {
    let about = certificate.height == block.height() && certificate.block_hash == block.hash();
    (about || !lab.checks_certified_height())
        && super::mempool::body_matches(block)
        && lab.verify_certificate(set, certificate)
}
