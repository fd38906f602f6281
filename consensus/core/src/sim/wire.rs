//! The network: who hears what, when, and how often.

use basalt_primitives::Millis;
use rand::RngExt;

use super::{
    Lab, Violation, mempool,
    world::{Event, World},
};
use crate::{Engine, Input, Target, Verified};

use super::oracle;

/// The most that adversaries say of their own accord in one run.
const MAX_PROVOCATIONS: u32 = 400;

impl<L: Lab> World<'_, L> {
    /// A duration: drawn, or the longest where everything is steady; longer on a slow node.
    pub(super) fn duration(&mut self, node: usize, shortest: Millis, longest: Millis) -> Millis {
        let longest = longest.max(shortest);
        let drawn = if self.plan.steady { longest } else { self.rng.random_range(shortest..=longest) };
        drawn * self.plan.slowness(self.now, node)
    }

    /// Carries out a Send of a node's engine.
    pub(super) fn send(
        &mut self,
        node: usize,
        epoch: u64,
        to: Target,
        message: <L::Engine as Engine>::Message,
    ) -> Result<(), Violation> {
        self.log(|w| format!("n{node} says {} to {to:?}", w.lab.describe(&message)));
        self.judge_speech(node, &message)?;
        let validator = self.nodes[node].validator;
        let set = self.nodes[node].disk.set_at(self.lab.height(&message));
        let index = set.as_ref().and_then(|set| set.index_of(&self.lab.keys()[usize::from(validator)]));
        let (Some(set), Some(index)) = (set, index) else {
            return Err(Violation::new("order", format!("n{node} speaks at a height where it is no validator")));
        };
        let signed = self.lab.sign(validator, index, message.clone());
        if to == Target::All {
            let own = Input::Message { from: index, message: Verified::assume(signed.clone()) };
            self.feed(0, node, epoch, own);
        }
        for other in (0..self.nodes.len()).filter(|other| *other != node) {
            let key = self.nodes[other].validator;
            let Some(theirs) = set.index_of(&self.lab.keys()[usize::from(key)]) else { continue };
            if to != Target::All && to != Target::One(theirs) {
                continue;
            }
            let (lab, rng) = (self.lab, &mut self.rng);
            match &mut self.nodes[node].adversary {
                None => self.transmit(node, other, index, &signed),
                Some(adversary) => {
                    let lies = lab.corrupt(adversary, rng, key, &message);
                    lies.into_iter().for_each(|lie| self.lie(node, other, lie));
                }
            }
        }
        Ok(())
    }

    /// The oracles' look at what an honest node says.
    fn judge_speech(&mut self, node: usize, message: &<L::Engine as Engine>::Message) -> Result<(), Violation> {
        let this = &self.nodes[node];
        if !this.honest {
            return Ok(());
        }
        let records = this.disk.records.as_ref();
        let statement = self.lab.statement(message);
        let question = records.is_none() && statement.is_none();
        if !question {
            oracle::spoken_is_recorded(self.lab, records, message)?;
        }
        let Some(statement) = statement else { return Ok(()) };
        if statement.kind == "proposal" {
            self.summary.proposed_at.entry(statement.height).or_insert(self.now);
        }
        self.oracles.no_equivocation(this.validator, statement)
    }

    /// What an adversary says is signed with its own key, for the height it speaks of.
    fn lie(&mut self, node: usize, other: usize, lie: <L::Engine as Engine>::Message) {
        let validator = self.nodes[node].validator;
        let set = self.nodes[node].disk.set_at(self.lab.height(&lie));
        let index = set.and_then(|set| set.index_of(&self.lab.keys()[usize::from(validator)]));
        if let Some(index) = index {
            let signed = self.lab.sign(validator, index, lie);
            self.transmit(node, other, index, &signed);
        }
    }

    /// An adversary has heard something, and may speak without being asked.
    fn provoke(&mut self, node: usize, heard: &<L::Engine as Engine>::Signed) {
        let height = self.lab.height(self.lab.message(heard));
        let Some(set) = self.nodes[node].disk.set_at(height) else { return };
        for other in (0..self.nodes.len()).filter(|other| *other != node) {
            let key = self.nodes[other].validator;
            let (lab, rng) = (self.lab, &mut self.rng);
            let Some(adversary) = &mut self.nodes[node].adversary else { return };
            if self.provocations >= MAX_PROVOCATIONS {
                return;
            }
            let lies = lab.provoke(adversary, rng, &set, key, heard);
            self.provocations += lies.len() as u32;
            for lie in lies {
                self.log(|w| format!("n{node} provokes n{other} with {}", w.lab.describe(&lie)));
                self.lie(node, other, lie);
            }
        }
    }

    /// A message arrives: the driver checks signatures against the set of its height, and bodies against headers.
    pub(super) fn deliver(
        &mut self,
        to: usize,
        from: u16,
        signed: <L::Engine as Engine>::Signed,
    ) -> Result<(), Violation> {
        let Some(process) = &self.nodes[to].process else { return Ok(()) };
        if process.believes > process.tip.height() {
            return Ok(());
        }
        let message = self.lab.message(&signed);
        let Some(set) = self.nodes[to].disk.set_at(self.lab.height(message)) else { return Ok(()) };
        let sound = self.lab.block_in(message).is_none_or(mempool::body_matches) && self.lab.verify(&set, &signed);
        if !sound {
            return Ok(());
        }
        if self.nodes[to].adversary.is_some() {
            self.provoke(to, &signed);
        }
        self.step(to, Input::Message { from, message: Verified::assume(signed) })
    }

    /// Sends one message over one link.
    fn transmit(&mut self, from: usize, to: usize, index: u16, signed: &<L::Engine as Engine>::Signed) {
        self.summary.messages += 1;
        let healed = self.now >= self.plan.heal_at;
        let copies = if !healed && self.rng.random_bool(self.plan.duplicate) { 2 } else { 1 };
        for _ in 0..copies {
            let lost = !healed && self.rng.random_bool(self.plan.loss);
            if lost || !self.plan.connected(self.now, from, to) {
                continue;
            }
            let late = !healed && self.rng.random_bool(self.plan.spike);
            let most = if late { self.plan.spike_ms } else { self.plan.delay };
            let delay = self.duration(from, self.plan.delay_min, most) + self.plan.lag(self.now);
            self.schedule(delay, Event::Deliver { to, from: index, signed: signed.clone() });
        }
    }
}
