//! The simulated driver of a node: carries out what its engine wants, in order, and feeds back what comes of it.

use std::{collections::BTreeSet, sync::Arc};

use basalt_primitives::{B256, CommitCertificate, Height, Millis, SealedBlock};
use rand::{RngExt, seq::IndexedRandom};

use super::{
    Lab, Violation,
    mempool::{self, Draft},
    oracle,
    world::{Event, World},
};
use crate::{BuildRequest, Effect, EffectOf, Engine, Input, InputOf, Target, Verdict, Verified};

/// The most that adversaries say of their own accord in one run.
const MAX_PROVOCATIONS: u32 = 400;

impl<L: Lab> World<'_, L> {
    /// Gives an input to a node's engine and carries out what follows.
    pub(super) fn step(&mut self, node: usize, input: InputOf<L::Engine>) -> Result<(), Violation> {
        let (now, wall) = (self.now, self.wall(node));
        let Some(process) = &mut self.nodes[node].process else { return Ok(()) };
        let mono = process.mono(now);
        let effects = process.engine.step(mono, wall, input);
        process.queue.extend(effects);
        self.carry_out(node)?;
        self.schedule_tick(node);
        Ok(())
    }

    fn wall(&self, node: usize) -> Millis {
        let truth = self.lab.genesis().header().timestamp_ms + self.now;
        truth.saturating_add_signed(self.plan.clock_offset(self.now, node))
    }

    pub(super) fn tick(&mut self, node: usize) -> Result<(), Violation> {
        let Some(process) = &mut self.nodes[node].process else { return Ok(()) };
        match process.tick_at.take_if(|at| *at == self.now) {
            Some(_) => self.step(node, Input::Tick),
            None => Ok(()),
        }
    }

    fn schedule_tick(&mut self, node: usize) {
        let now = self.now;
        let Some(process) = &mut self.nodes[node].process else { return };
        let (epoch, mono) = (process.epoch, process.mono(now));
        let Some(wait) = process.engine.deadline().map(|at| at.saturating_sub(mono).max(1)) else { return };
        if process.tick_at.is_none_or(|at| now + wait < at) {
            process.tick_at = Some(now + wait);
            self.schedule(wait, Event::Tick { node, epoch });
        }
    }

    /// First in, first out; a record being synced holds everything behind it.
    fn carry_out(&mut self, node: usize) -> Result<(), Violation> {
        loop {
            let Some(process) = &mut self.nodes[node].process else { return Ok(()) };
            if process.syncing {
                return Ok(());
            }
            let epoch = process.epoch;
            match process.queue.front() {
                None => return Ok(()),
                Some(Effect::Persist(_)) => {
                    process.syncing = true;
                    let dies = process.dies_syncing;
                    let delay = self.rng.random_range(0..=self.plan.sync_ms);
                    self.schedule(delay, Event::Synced { node, epoch });
                    if let Some(down) = dies {
                        self.crash(node, down)?;
                    }
                }
                Some(_) => {
                    let effect = process.queue.pop_front();
                    effect.map_or(Ok(()), |effect| self.effect(node, epoch, effect))?;
                    self.burn_fuse(node)?;
                }
            }
        }
    }

    pub(super) fn record_synced(&mut self, node: usize) -> Result<(), Violation> {
        let this = &mut self.nodes[node];
        let Some(process) = &mut this.process else { return Ok(()) };
        process.syncing = false;
        if let Some(Effect::Persist(record)) = process.queue.pop_front() {
            self.keep_record(node, record)?;
        }
        self.burn_fuse(node)?;
        self.carry_out(node)
    }

    /// A record has reached the disk.
    pub(super) fn keep_record(&mut self, node: usize, record: <L::Engine as Engine>::Record) -> Result<(), Violation> {
        let this = &mut self.nodes[node];
        if let Some((height, round)) = self.lab.promise(&record)
            && this.honest
        {
            self.oracles.promise(this.validator, height, round, this.wiped)?;
        }
        this.disk.records.get_or_insert_default().push(record);
        Ok(())
    }

    fn burn_fuse(&mut self, node: usize) -> Result<(), Violation> {
        let Some(process) = &mut self.nodes[node].process else { return Ok(()) };
        let Some((left, down)) = &mut process.fuse else { return Ok(()) };
        *left -= 1;
        let (left, down) = (*left, *down);
        if left > 0 { Ok(()) } else { self.crash(node, down) }
    }

    fn feed(&mut self, delay: Millis, node: usize, epoch: u64, input: InputOf<L::Engine>) {
        self.schedule(delay, Event::Feed { node, epoch, input: Box::new(input) });
    }

    fn effect(&mut self, node: usize, epoch: u64, effect: EffectOf<L::Engine>) -> Result<(), Violation> {
        match effect {
            Effect::Persist(_) => unreachable!("handled where it is synced"),
            Effect::Send { to, message } => self.send(node, epoch, to, message),
            Effect::Fetch { block, height, hint } => {
                let delay = self.rng.random_range(2..=2 * self.plan.delay.max(1) + 2);
                self.schedule(delay, Event::FetchDone { node, epoch, block, height, hint });
                Ok(())
            }
            Effect::Build(request) => self.build(node, epoch, &request),
            Effect::Validate { block } => {
                self.expect_parent_executed(node, block.height())?;
                let verdict = self.judge(node, &block);
                let delay = self.rng.random_range(0..=self.plan.build_ms / 2);
                self.feed(delay, node, epoch, Input::Validated { block: block.hash(), verdict });
                Ok(())
            }
            Effect::Execute { block, certificate } => self.decided(node, epoch, block, certificate),
            Effect::Report(evidence) => {
                let honest = self.nodes.iter().any(|n| n.validator == evidence.validator && n.honest);
                oracle::honest_stay_clean::<L>(&evidence, honest)
            }
            Effect::Forkchoice { .. } | Effect::Seal { .. } => Ok(()),
        }
    }

    fn send(
        &mut self,
        node: usize,
        epoch: u64,
        to: Target,
        message: <L::Engine as Engine>::Message,
    ) -> Result<(), Violation> {
        self.log(|w| format!("n{node} says {} to {to:?}", w.lab.describe(&message)));
        let validator = self.nodes[node].validator;
        if self.nodes[node].honest {
            let records = self.nodes[node].disk.records.as_ref();
            let question = records.is_none() && self.lab.statement(&message).is_none();
            if !question {
                oracle::spoken_is_recorded(self.lab, records, &message)?;
            }
            if let Some(statement) = self.lab.statement(&message) {
                self.oracles.no_equivocation(validator, statement)?;
            }
        }
        let signed = self.lab.sign(validator, message.clone());
        if to == Target::All {
            let own = Input::Message { from: validator, message: Verified::assume(signed.clone()) };
            self.feed(0, node, epoch, own);
        }
        for other in (0..self.nodes.len()).filter(|other| *other != node) {
            let index = self.nodes[other].validator;
            if to != Target::All && to != Target::One(index) {
                continue;
            }
            let (lab, rng) = (self.lab, &mut self.rng);
            match &mut self.nodes[node].adversary {
                None => self.transmit(node, other, &signed),
                Some(adversary) => {
                    let lies = lab.corrupt(adversary, rng, index, &message);
                    lies.into_iter().for_each(|lie| self.transmit(node, other, &lab.sign(validator, lie)));
                }
            }
        }
        Ok(())
    }

    /// An adversary has heard something, and may speak without being asked.
    pub(super) fn provoke(&mut self, node: usize, heard: &<L::Engine as Engine>::Signed) {
        let validator = self.nodes[node].validator;
        for other in (0..self.nodes.len()).filter(|other| *other != node) {
            let index = self.nodes[other].validator;
            let (lab, rng) = (self.lab, &mut self.rng);
            let Some(adversary) = &mut self.nodes[node].adversary else { return };
            if self.provocations >= MAX_PROVOCATIONS {
                return;
            }
            let lies = lab.provoke(adversary, rng, index, heard);
            self.provocations += lies.len() as u32;
            for lie in lies {
                self.log(|w| format!("n{node} provokes n{other} with {}", w.lab.describe(&lie)));
                self.transmit(node, other, &lab.sign(validator, lie));
            }
        }
    }

    fn build(&mut self, node: usize, epoch: u64, request: &BuildRequest) -> Result<(), Violation> {
        self.expect_parent_executed(node, request.height)?;
        let head = self.nodes[node].disk.head();
        assert_eq!(head.block.hash(), request.parent, "a block is built on the executed head");
        let proposer = self.lab.set().get(self.nodes[node].validator).map(|v| v.address()).unwrap_or_default();
        let block = self.nodes[node].pool.build(Draft {
            parent: &head.block,
            state: head.state,
            proposer,
            round: request.round,
            certificate: request.last_certificate.clone(),
            timestamp: self.wall(node).max(request.min_timestamp_ms),
        });
        let delay = self.rng.random_range(0..=self.plan.build_ms);
        let input = if self.rng.random_bool(if self.now < self.plan.heal_at { 0.01 } else { 0.0 }) {
            Input::BuildFailed { height: request.height, round: request.round }
        } else {
            Input::Built { height: request.height, round: request.round, block }
        };
        self.feed(delay, node, epoch, input);
        Ok(())
    }

    fn judge(&self, node: usize, block: &SealedBlock) -> Verdict {
        let head = self.nodes[node].disk.head();
        let certificate = block.block().last_certificate.as_ref();
        let certified = certificate.is_none_or(|c| self.lab.verify_certificate(c));
        let known = mempool::transactions(block).any(|tx| self.nodes[node].disk.done.contains(&tx));
        let linked = block.header().parent_hash == head.block.hash() && block.header().parent_state_root == head.state;
        if !certified || !linked || known || !mempool::body_matches(block) {
            Verdict::Invalid
        } else if block.header().timestamp_ms > self.wall(node) + self.lab.params().clock_tolerance_ms {
            Verdict::NotYet
        } else {
            Verdict::Valid
        }
    }

    /// The contract: nothing is built or judged before its parent is executed and durable.
    fn expect_parent_executed(&self, node: usize, height: Height) -> Result<(), Violation> {
        let executed = self.nodes[node].disk.head().block.height();
        if executed.next() == height {
            return Ok(());
        }
        Err(Violation::new(
            "order",
            format!("n{node} wants a block of height {height} judged, but has executed {executed}"),
        ))
    }

    fn decided(
        &mut self,
        node: usize,
        epoch: u64,
        block: SealedBlock,
        certificate: Arc<CommitCertificate>,
    ) -> Result<(), Violation> {
        let (height, hash, round) = (block.height(), block.hash(), certificate.round);
        self.log(|_| format!("n{node} DECIDES {height}/{round} {}", &hash.to_string()[..8]));
        let Some(process) = &mut self.nodes[node].process else { return Ok(()) };
        let parent = std::mem::replace(&mut process.tip, block.clone());
        process.executing.push_back((block.clone(), certificate.clone()));
        if process.executing.len() == 1 {
            let delay = self.rng.random_range(1..=self.plan.execute_ms.max(1));
            self.schedule(delay, Event::Executed { node, epoch });
        }
        if self.nodes[node].honest {
            oracle::validity(&parent, &block)?;
            oracle::certificate_soundness(self.lab, &block, &certificate)?;
            self.oracles.agreement(&block)?;
            if self.summary.decided_at.len() as u64 == height.0 - 1 {
                self.summary.decided_at.push(self.now);
            }
        }
        Ok(())
    }

    pub(super) fn block_executed(&mut self, node: usize) -> Result<(), Violation> {
        let this = &mut self.nodes[node];
        let Some(process) = &mut this.process else { return Ok(()) };
        let Some((block, certificate)) = process.executing.pop_front() else { return Ok(()) };
        let (epoch, more) = (process.epoch, !process.executing.is_empty());
        this.disk.append(block.clone(), certificate);
        let transactions: BTreeSet<u64> = mempool::transactions(&block).collect();
        this.pool.0.retain(|tx| !transactions.contains(tx));
        if more {
            let delay = self.rng.random_range(1..=self.plan.execute_ms.max(1));
            self.schedule(delay, Event::Executed { node, epoch });
        }
        let (height, timestamp_ms) = (block.height(), block.header().timestamp_ms);
        let set = Input::ValidatorSet { height: Height(height.0 + 2), set: self.lab.set().clone() };
        self.step(node, set)?;
        self.tell_work(node)?;
        let had_transactions = !transactions.is_empty();
        self.step(node, Input::Executed { height, block: block.hash(), had_transactions, timestamp_ms })?;
        self.feed_synced(node)
    }

    pub(super) fn fetch_done(&mut self, node: usize, hash: B256, height: Height, hint: u16) -> Result<(), Violation> {
        let reachable = |w: &Self, other: usize| {
            other != node && w.plan.connected(w.now, node, other) && w.plan.connected(w.now, other, node)
        };
        let holders: Vec<usize> = (0..self.nodes.len())
            .filter(|other| reachable(self, *other) && self.nodes[*other].adversary.is_none())
            .filter(|other| self.nodes[*other].block(&hash, height).is_some())
            .collect();
        let hinted = holders.iter().find(|other| self.nodes[**other].validator == hint);
        let Some(from) = hinted.or_else(|| holders.choose(&mut self.rng)) else {
            return self.step(node, Input::FetchFailed { block: hash });
        };
        let block = self.nodes[*from].block(&hash, height);
        block.map_or(Ok(()), |block| self.step(node, Input::Fetched { block }))
    }

    /// Transactions reach a node's mempool.
    pub(super) fn add_transactions(&mut self, node: usize, transactions: BTreeSet<u64>) -> Result<(), Violation> {
        let missing: Vec<u64> =
            transactions.into_iter().filter(|tx| !self.nodes[node].disk.done.contains(tx)).collect();
        self.nodes[node].pool.0.extend(missing);
        self.tell_work(node)
    }

    fn tell_work(&mut self, node: usize) -> Result<(), Violation> {
        let pending = !self.nodes[node].pool.0.is_empty();
        let Some(process) = &mut self.nodes[node].process else { return Ok(()) };
        if std::mem::replace(&mut process.told_pending, pending) == pending {
            return Ok(());
        }
        self.step(node, Input::Work { pending })
    }
}
