//! The network: who hears what, when, and how often; what the real driver checks on arrival; fetching and gossip.

use basalt_consensus::{Input, Target, Verified, sim::Violation};
use basalt_primitives::{B256, Header, Millis};
use rand::{RngExt, seq::IndexedRandom};

use super::{
    oracle,
    plan::Role,
    world::{Event, World},
};
use crate::{Message, message::MAX_HEADERS};

/// Nodes exchange transactions this often.
const GOSSIP_MS: Millis = 3_000;
/// The longest extraordinary delay.
const SPIKE_MS: Millis = 30_000;

/// What travels: headers as they come, unchecked.
#[derive(Clone, Debug)]
pub(super) enum Wire {
    Headers(Vec<Header>),
    Get(Vec<B256>),
}

impl World {
    pub(super) fn send(&mut self, node: usize, to: Target, message: Message) -> Result<(), Violation> {
        let wire = match message {
            Message::GetHeaders { locator } => Wire::Get(locator),
            Message::Headers(headers) => {
                for header in headers.iter().filter(|_| self.nodes[node].honest()) {
                    oracle::announced_is_written(&self.nodes[node], &header.hash())?;
                }
                let public = |hash: &B256| self.archive.0.get(hash).is_some_and(|made| made.public);
                let told: Vec<Header> =
                    headers.into_iter().filter(|h| public(&h.hash())).map(crate::SealedHeader::into_header).collect();
                Wire::Headers(told)
            }
        };
        self.tell(node, to, &wire);
        Ok(())
    }

    pub(super) fn tell(&mut self, node: usize, to: Target, wire: &Wire) {
        if matches!(wire, Wire::Headers(headers) if headers.is_empty()) {
            return;
        }
        for other in (0..self.nodes.len()).filter(|other| *other != node) {
            if to == Target::All || to == Target::One(other as u16) {
                self.transmit(node, other, wire);
            }
        }
    }

    fn transmit(&mut self, from: usize, to: usize, wire: &Wire) {
        self.summary.messages += 1;
        let healed = self.now >= self.plan.heal_at;
        let copies = if !healed && self.rng.random_bool(self.plan.duplicate) { 2 } else { 1 };
        for _ in 0..copies {
            let lost = !healed && self.rng.random_bool(self.plan.loss);
            let dead = !healed && !self.plan.connected(self.now, from, to);
            if lost || dead {
                continue;
            }
            let swift = [from, to].iter().any(|n| self.nodes[*n].role == Role::Selfish { swift: true });
            let late = !healed && self.rng.random_bool(self.plan.spike);
            let (least, most) = if late { (0, SPIKE_MS) } else { self.plan.delay };
            let delay = if swift { 0 } else { self.rng.random_range(least..=most) };
            self.schedule(delay, Event::Deliver { to, from, wire: wire.clone() });
        }
    }

    /// A message arrives: the driver's pool checks every seal, and answers questions itself.
    pub(super) fn deliver(&mut self, to: usize, from: usize, wire: Wire) -> Result<(), Violation> {
        if self.nodes[to].process.is_none() {
            return Ok(());
        }
        let headers = match wire {
            Wire::Get(locator) => {
                self.answer(to, from, &locator);
                return Ok(());
            }
            Wire::Headers(headers) => headers,
        };
        let sealing = self.sealing();
        let hashes: Vec<B256> = headers.iter().map(|h| h.hash(super::store::HASH)).collect();
        let checked: Result<Vec<_>, _> = headers.into_iter().map(|header| sealing.check(header)).collect();
        let Ok(checked) = checked else { return Ok(()) };
        let message = Verified::assume(Message::Headers(checked));
        if !matches!(self.nodes[to].role, Role::DoubleSpend { .. }) {
            self.step(to, Input::Message { from: from as u16, message })?;
        }
        self.after_heard(to, &hashes);
        Ok(())
    }

    /// The real driver answers from its ledger and the engine's chain; who keeps blocks to itself does not show them.
    fn answer(&mut self, node: usize, asker: usize, locator: &[B256]) {
        let Some(process) = &self.nodes[node].process else { return };
        let ledger = || {
            let known = |hash: &B256| process.chain.iter().position(|h| h == hash);
            let from = locator.iter().find_map(known).unwrap_or_default();
            process.chain.iter().skip(from + 1).take(MAX_HEADERS).copied().collect()
        };
        let after = process.engine.after(locator, MAX_HEADERS).unwrap_or_else(ledger);
        let public = |hash: &B256| Some(self.archive.0.get(hash)?).filter(|made| made.public);
        let headers = after.iter().map_while(public).map(|made| made.block.header().clone()).collect();
        self.tell(node, Target::One(asker as u16), &Wire::Headers(headers));
    }

    pub(super) fn fetch_done(&mut self, node: usize, block: B256, hint: usize) -> Result<(), Violation> {
        let healed = self.now >= self.plan.heal_at;
        let reachable = |other: usize| {
            let linked = self.plan.connected(self.now, node, other) && self.plan.connected(self.now, other, node);
            other != node && (linked || healed) && self.nodes[other].process.is_some()
        };
        let Some(made) = self.archive.0.get(&block) else {
            return self.step(node, Input::FetchFailed { block });
        };
        let made = made.clone();
        let by = super::store::maker(made.block.header());
        let holds = |other: &usize| {
            let own = by == *other && made.public;
            made.served && reachable(*other) && (own || self.nodes[*other].disk.has(&block) && made.public)
        };
        let holders: Vec<usize> = (0..self.nodes.len()).filter(holds).collect();
        let hinted = holders.iter().find(|h| **h == hint);
        let from = hinted.or_else(|| holders.choose(&mut self.rng));
        let input = match from {
            Some(_) => Input::Fetched { block: made.block },
            None => Input::FetchFailed { block },
        };
        self.step(node, input)
    }

    /// Takes over the transactions of one other node, and hands in again what its own clients wait for.
    pub(super) fn gossip(&mut self, node: usize, epoch: u64) -> Result<(), Violation> {
        self.schedule(GOSSIP_MS, Event::Gossip { node, epoch });
        let other = self.rng.random_range(0..self.nodes.len());
        let linked = self.now >= self.plan.heal_at || self.plan.connected(self.now, other, node);
        let theirs = self.nodes[other].process.as_ref().filter(|_| linked).map(|p| p.pool.clone()).unwrap_or_default();
        let own = self.nodes[node].clients.clone();
        let Some(process) = &mut self.nodes[node].process else { return Ok(()) };
        let Some(state) = process.states.get(&process.head()) else { return Ok(()) };
        let fresh: Vec<u64> = theirs.into_iter().chain(own).filter(|tx| !state.done.contains(tx)).collect();
        let was_empty = process.pool.is_empty();
        process.pool.extend(fresh);
        let pending = !process.pool.is_empty();
        if was_empty == pending { self.step(node, Input::Work { pending }) } else { Ok(()) }
    }
}
