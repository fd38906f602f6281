//! The simulated driver of a node: carries out what its engine wants, in order, and feeds back what comes of it.

use std::{collections::BTreeSet, sync::Arc};

use basalt_primitives::{CommitCertificate, Height, Millis, SealedBlock};
use rand::RngExt;

use super::{
    Lab, Violation,
    mempool::{self, Draft},
    oracle,
    world::{Event, World},
};
use crate::{BuildRequest, Effect, EffectOf, Engine, Input, InputOf, Verdict};

impl<L: Lab> World<'_, L> {
    /// Gives an input to a node's engine and carries out what follows.
    pub(super) fn step(&mut self, node: usize, input: InputOf<L::Engine>) -> Result<(), Violation> {
        let (now, wall) = (self.now, self.wall(node));
        let Some(process) = &mut self.nodes[node].process else { return Ok(()) };
        let mono = process.mono(now);
        let effects = process.engine.step(mono, wall, input);
        oracle::timers_follow_mono(mono, process.engine.deadline(), self.lab.longest_timer())?;
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
                    if let Some((left, ..)) = &mut process.dies_syncing {
                        *left -= 1;
                    }
                    let dies = process.dies_syncing;
                    let delay = self.duration(node, 0, self.plan.sync_ms);
                    self.schedule(delay, Event::Synced { node, epoch });
                    if let Some((0, down, record)) = dies {
                        self.crash(node, down, record)?;
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

    pub(super) fn feed(&mut self, delay: Millis, node: usize, epoch: u64, input: InputOf<L::Engine>) {
        self.schedule(delay, Event::Feed { node, epoch, input: Box::new(input) });
    }

    fn effect(&mut self, node: usize, epoch: u64, effect: EffectOf<L::Engine>) -> Result<(), Violation> {
        match effect {
            Effect::Persist(_) => unreachable!("handled where it is synced"),
            Effect::Send { to, message } => self.send(node, epoch, to, message),
            Effect::Fetch { block, height, hint } => {
                let delay = self.duration(node, 2, 2 * self.plan.delay.max(1) + 2);
                self.schedule(delay, Event::FetchDone { node, epoch, block, height, hint });
                Ok(())
            }
            Effect::Build(request) => self.build(node, epoch, &request),
            Effect::Validate { block } => {
                self.expect_parent_executed(node, block.height())?;
                let verdict = self.judge(node, &block);
                let delay = self.duration(node, 0, self.plan.build_ms / 2);
                self.feed(delay, node, epoch, Input::Validated { block: block.hash(), verdict });
                Ok(())
            }
            Effect::Execute { block, certificate } => self.decided(node, epoch, block, certificate),
            Effect::Report(evidence) => {
                let set = self.nodes[node].disk.set_at(evidence.height);
                let accused = set.and_then(|set| set.get(evidence.validator).map(|v| v.public_key));
                let key = |validator: u16| Some(self.lab.keys()[usize::from(validator)]);
                let honest = self.nodes.iter().any(|n| key(n.validator) == accused && n.honest);
                oracle::honest_stay_clean::<L>(&evidence, honest)
            }
            Effect::Forkchoice { .. } | Effect::Seal { .. } | Effect::Alarm(_) => Ok(()),
        }
    }

    fn build(&mut self, node: usize, epoch: u64, request: &BuildRequest) -> Result<(), Violation> {
        self.expect_parent_executed(node, request.height)?;
        let head = self.nodes[node].disk.head();
        assert_eq!(head.block.hash(), request.parent, "a block is built on the executed head");
        let proposer = self.lab.keys()[usize::from(self.nodes[node].validator)].address();
        let block = self.nodes[node].pool.build(Draft {
            parent: &head.block,
            state: &head.state,
            proposer,
            round: request.round,
            certificate: request.last_certificate.clone(),
            timestamp: self.wall(node).max(request.min_timestamp_ms),
        });
        let delay = self.duration(node, 0, self.plan.build_ms);
        let fails = if self.now < self.plan.heal_at && !self.plan.steady { 0.01 } else { 0.0 };
        let input = if self.rng.random_bool(fails) {
            Input::BuildFailed { height: request.height, round: request.round }
        } else {
            Input::Built { height: request.height, round: request.round, block }
        };
        self.feed(delay, node, epoch, input);
        Ok(())
    }

    fn judge(&self, node: usize, block: &SealedBlock) -> Verdict {
        let disk = &self.nodes[node].disk;
        let (head, header) = (disk.head(), block.header());
        let certificate = block.block().last_certificate.as_ref();
        let set = disk.set_at(head.block.height()).unwrap_or_else(|| self.lab.set().clone());
        let certified = certificate.is_none_or(|c| self.lab.verify_certificate(&set, c));
        let known = mempool::transactions(block).any(|tx| disk.done.contains(&tx));
        let linked = header.parent_hash == head.block.hash()
            && header.parent_state_root == head.state.root
            && header.next_validators_hash == head.state.set.hash(mempool::HASH);
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
            let delay = self.duration(node, 1, self.plan.execute_ms);
            self.schedule(delay, Event::Executed { node, epoch });
        }
        if self.nodes[node].honest {
            oracle::validity(&parent, &block)?;
            let set = self.nodes[node].disk.set_at(height);
            oracle::certificate_soundness(self.lab, set.as_deref(), &block, &certificate)?;
            self.oracles.agreement(&block)?;
            self.oracles.committed_once(height, mempool::transactions(&block))?;
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
        this.disk.append(block.clone(), certificate, &self.sets);
        let transactions: BTreeSet<u64> = mempool::transactions(&block).collect();
        this.pool.0.retain(|tx| !transactions.contains(tx));
        let (height, timestamp_ms) = (block.height(), block.header().timestamp_ms);
        let state = this.disk.head().state.clone();
        if this.honest {
            oracle::certified_result(&block, this.disk.ledger.iter().rev().nth(1).map(|e| e.state.root))?;
            self.oracles.same_state_root(height, state.root)?;
        }
        if self.summary.executed_at.len() as u64 == height.0 - 1 {
            self.summary.executed_at.push(self.now);
        }
        if more {
            let delay = self.duration(node, 1, self.plan.execute_ms);
            self.schedule(delay, Event::Executed { node, epoch });
        }
        let set = Input::ValidatorSet { height: Height(height.0 + 2), set: state.set };
        self.step(node, set)?;
        self.tell_work(node)?;
        let had_transactions = !transactions.is_empty();
        self.step(node, Input::Executed { height, block: block.hash(), had_transactions, timestamp_ms })?;
        self.take_offered(node)
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
