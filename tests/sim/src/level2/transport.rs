//! What passes between nodes: consensus messages, gossip, single blocks and ranges. All of it encoded, and checked by the
//! real code where it arrives.

use basalt_bft::message::SignedMessage;
use basalt_consensus::{
    Input, Target,
    sim::{Lab as _, Violation, oracle},
};
use basalt_node::{
    clock::Clock as _,
    driver::verify::{Checked, Incoming},
    network::BlockSource as _,
    sync,
};
use basalt_primitives::{B256, Bytes, Height, Millis, PublicKey};
use rand::{RngExt, seq::IndexedRandom};

use super::{
    oracle::violation,
    world::{Event, POLL_MS, World},
};

/// Blocks and bytes of one answer to a range.
const RANGE: (usize, usize) = (8, 1 << 20);

impl World {
    /// A signed message leaves: the oracles hear it first.
    pub(super) fn send(
        &mut self,
        node: usize,
        to: Target,
        signed: &SignedMessage,
        after: Millis,
    ) -> Result<(), Violation> {
        let message = &signed.message;
        let text = self.lab.describe(message);
        self.note(|| format!("n{node} says {text} to {to:?}"));
        let records = self.nodes[node].records.as_ref();
        let statement = self.lab.statement(message);
        if records.is_some() || statement.is_some() {
            oracle::spoken_is_recorded(&self.lab, records, message)?;
        }
        if let Some(statement) = statement {
            self.oracles.shared.no_equivocation(signed.from, statement)?;
        }
        let bytes = Bytes::from(basalt_proto::consensus::encode_message(signed));
        let sender = self.nodes[node].key.public_key();
        for other in (0..self.nodes.len()).filter(|other| *other != node) {
            if to == Target::All || to == Target::One(u16::try_from(other).expect("few nodes")) {
                self.messages += 1;
                for delay in self.passages(node, other) {
                    let bytes = bytes.clone();
                    self.schedule(after + delay, Event::Deliver { to: other, sender, bytes });
                }
            }
        }
        Ok(())
    }

    /// After how long what is sent over a link now arrives: never, once or twice.
    fn passages(&mut self, from: usize, to: usize) -> Vec<Millis> {
        let healed = self.now >= self.plan.heal_at;
        let copies = if !healed && self.rng.random_bool(self.plan.duplicate) { 2 } else { 1 };
        let mut delays = Vec::new();
        for _ in 0..copies {
            let lost = !healed && self.rng.random_bool(self.plan.loss);
            if lost || !self.plan.connected(self.now, from, to) {
                continue;
            }
            let late = !healed && self.rng.random_bool(self.plan.spike);
            let most = if late { self.plan.spike_ms } else { self.plan.delay };
            let delay = self.rng.random_range(self.plan.delay_min..=most.max(self.plan.delay_min));
            delays.push(delay + self.plan.lag(self.now));
        }
        delays
    }

    pub(super) fn delivered(&mut self, to: usize, sender: PublicKey, bytes: Bytes) -> Result<(), Violation> {
        let Some(epoch) = self.nodes[to].process.as_ref().map(|p| p.epoch) else { return Ok(()) };
        let delay = self.rng.random_range(0..=1);
        self.schedule(delay, Event::Verify { node: to, epoch, sender, bytes });
        Ok(())
    }

    /// The verification thread: what is honest must pass.
    pub(super) fn verify(&mut self, node: usize, sender: PublicKey, bytes: Bytes) -> Result<(), Violation> {
        let Some(process) = &self.nodes[node].process else { return Ok(()) };
        let executed = process.chain.ledger.head().height();
        match process.verifier.check(&Incoming { sender, bytes }, executed) {
            Some(Checked::Good { from, message, .. }) => self.drive(node, Input::Message { from, message: *message }),
            Some(Checked::Bad { reason, .. }) => {
                Err(violation("honest messages verify", format!("n{node} refuses one: {reason}")))
            }
            None => Ok(()),
        }
    }

    /// A client hands transactions to its node, which passes on what is new to it.
    pub(super) fn offer(&mut self, node: usize, raws: Vec<Bytes>) {
        let fresh = self.admit(node, raws);
        if !fresh.is_empty() {
            self.gossip(node, &fresh);
        }
    }

    pub(super) fn gossip(&mut self, node: usize, raws: &[Bytes]) {
        for other in (0..self.nodes.len()).filter(|other| *other != node) {
            for delay in self.passages(node, other) {
                let raws = raws.to_vec();
                self.schedule(delay, Event::Gossip { to: other, raws });
            }
        }
    }

    /// Admits transactions to a node's mempool; gives those that were new.
    pub(super) fn admit(&mut self, node: usize, raws: Vec<Bytes>) -> Vec<Bytes> {
        let Some(process) = &self.nodes[node].process else { return Vec::new() };
        process.clock.set_offset(self.plan.clock_offset(self.now, node));
        let admitted = process.admission.admit(vec![raws]);
        let fresh: Vec<Bytes> =
            admitted.into_iter().flatten().filter_map(|r| r.ok().map(|tx| tx.raw().clone())).collect();
        if !fresh.is_empty() {
            let epoch = process.epoch;
            self.note(|| format!("n{node} admits {}", fresh.len()));
            self.schedule(0, Event::Feed { node, epoch, input: Box::new(Input::Work { pending: true }) });
        }
        fresh
    }

    fn reachable(&self, node: usize, other: usize) -> bool {
        let both = self.plan.connected(self.now, node, other) && self.plan.connected(self.now, other, node);
        other != node && both && self.nodes[other].process.is_some()
    }

    /// The engine misses a block: the likely holder is asked, or anybody.
    pub(super) fn fetch(&mut self, node: usize, block: B256, _height: Height, hint: u16) {
        let Some(epoch) = self.nodes[node].process.as_ref().map(|p| p.epoch) else { return };
        let peers: Vec<usize> = (0..self.nodes.len()).filter(|o| self.reachable(node, *o)).collect();
        let hinted = peers.iter().find(|o| **o == usize::from(hint)).filter(|_| !self.now.is_multiple_of(3));
        let delay = self.rng.random_range(1..=self.plan.delay.max(1));
        match hinted.or_else(|| peers.choose(&mut self.rng)).copied() {
            Some(peer) => self.schedule(delay, Event::FetchAsked { node, epoch, peer, block }),
            None => self.schedule(delay, Event::FetchAnswered { node, epoch, block, bytes: None }),
        }
    }

    pub(super) fn fetch_asked(&mut self, node: usize, epoch: u64, peer: usize, block: B256) -> Result<(), Violation> {
        let bytes = self.nodes[peer].process.as_ref().and_then(|p| p.blocks.block_by_hash(&block));
        let delay = self.rng.random_range(1..=self.plan.delay.max(1));
        self.schedule(delay, Event::FetchAnswered { node, epoch, block, bytes });
        Ok(())
    }

    pub(super) fn fetch_answered(&mut self, node: usize, hash: B256, bytes: Option<Bytes>) -> Result<(), Violation> {
        let Some(process) = &self.nodes[node].process else { return Ok(()) };
        let found = match bytes.map(|bytes| sync::check_fetched(&process.verifier, hash, bytes)) {
            Some(Ok(block)) => Some(block),
            Some(Err(reason)) => return Err(violation("honest blocks verify", format!("n{node}: {reason}"))),
            None => None,
        };
        self.note(|| format!("n{node} fetched {}: {}", &hash.to_string()[..8], found.is_some()));
        let input = found.map_or(Input::FetchFailed { block: hash }, |block| Input::Fetched { block });
        self.drive(node, input)
    }

    /// Sync side and client look round.
    pub(super) fn poll(&mut self, node: usize, epoch: u64) -> Result<(), Violation> {
        self.schedule(POLL_MS, Event::Poll { node, epoch });
        let own = self.nodes[node].height().unwrap_or_default();
        self.client_looks(node);
        self.repeat_transactions(node);
        let heads = (0..self.nodes.len()).filter(|o| self.reachable(node, *o));
        let ahead: Vec<usize> = heads.filter(|o| self.nodes[*o].height().is_some_and(|h| h > own)).collect();
        let claimed = ahead.iter().filter_map(|o| self.nodes[*o].height()).max();
        let Some(process) = &mut self.nodes[node].process else { return Ok(()) };
        let asks =
            process.patience.over(process.clock.mono(), own, claimed, true).is_some() && process.fetched.is_empty();
        if let Some(peer) = ahead.choose(&mut self.rng).copied().filter(|_| asks) {
            let delay = self.rng.random_range(1..=self.plan.delay.max(1));
            self.schedule(delay, Event::SyncAsked { node, epoch, peer, from: own.next() });
        }
        Ok(())
    }

    /// What the node passes on again of its own accord.
    fn repeat_transactions(&mut self, node: usize) {
        let Some(process) = &mut self.nodes[node].process else { return };
        let head = process.chain.ledger.head().height();
        let again = process.repeater.due(process.clock.mono(), head, &process.admission.pool);
        if !again.is_empty() {
            self.note(|| format!("n{node} passes on {} again", again.len()));
            self.gossip(node, &again);
        }
    }

    /// A client hands in again, now and then, what is not in a block yet: its node may have been restarted.
    fn client_looks(&mut self, node: usize) {
        if self.now / POLL_MS % 10 != node as u64 % 10 {
            return;
        }
        let committed = self.oracles.committed();
        let missing = self.clients[node].iter().filter(|(hash, _)| !committed.contains(hash));
        let missing: Vec<Bytes> = missing.map(|(_, raw)| raw.clone()).collect();
        if !missing.is_empty() {
            self.offer(node, missing);
        }
    }

    pub(super) fn sync_asked(&mut self, node: usize, epoch: u64, peer: usize, from: Height) -> Result<(), Violation> {
        let answer = self.nodes[peer].process.as_ref().map(|p| p.blocks.block_range(from.0, RANGE.0, RANGE.1));
        let delay = self.rng.random_range(1..=self.plan.delay.max(1));
        let blocks = answer.unwrap_or_default();
        self.schedule(delay, Event::SyncAnswered { node, epoch, blocks });
        Ok(())
    }

    pub(super) fn sync_answered(&mut self, node: usize, blocks: Vec<Bytes>) -> Result<(), Violation> {
        if let Some(process) = &mut self.nodes[node].process {
            process.fetched = blocks.into();
        }
        self.feed_synced(node)
    }

    /// Hands the next fetched block to the driver once its parent is executed.
    pub(super) fn feed_synced(&mut self, node: usize) -> Result<(), Violation> {
        while let Some(process) = &mut self.nodes[node].process {
            let Some(bytes) = process.fetched.pop_front() else { return Ok(()) };
            let executed = process.chain.ledger.head().height();
            match sync::check_synced(&process.chain, &process.verifier, executed, bytes) {
                Ok(Some((block, certificate))) => {
                    self.note(|| format!("n{node} synced {}", block.height()));
                    return self.drive(node, Input::Synced { block, certificate });
                }
                Ok(None) => {}
                Err(reason) => return Err(violation("honest blocks verify", format!("n{node}: {reason}"))),
            }
        }
        Ok(())
    }
}
