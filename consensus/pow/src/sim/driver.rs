//! The simulated driver of a node: carries out what its engine wants, in order, and feeds back what comes of it.

use basalt_consensus::{Effect, EffectOf, Engine, Input, Verdict, sim::Violation};
use basalt_primitives::{B256, Header, Millis, Seal, SealedBlock};
use rand::{Rng, RngExt};

use super::{
    oracle,
    plan::{DIFFICULTY, Role},
    store::{Job, draft, transactions},
    world::{Event, World},
};
use crate::{Message, Pow, Record};

type In = Input<Message, Record>;

/// The first nodes start so long after the time in genesis.
const LAUNCH_MS: Millis = 60_000;
/// No timer of the engine waits longer.
const LONGEST_TIMER_MS: Millis = 40_000;

impl World {
    /// Gives an input to a node's engine and carries out what follows.
    pub(super) fn step(&mut self, node: usize, input: In) -> Result<(), Violation> {
        let (now, wall) = (self.now, self.wall(node));
        let this = &mut self.nodes[node];
        this.latest_wall = this.latest_wall.max(wall);
        let Some(process) = &mut this.process else { return Ok(()) };
        let mono = process.mono(now);
        let effects = process.engine.step(mono, wall, input);
        oracle::timers_follow_mono(mono, process.engine.deadline(), LONGEST_TIMER_MS)?;
        if let Some(status) = process.engine.status() {
            oracle::bounded(&status, self.plan.capacity)?;
        }
        process.queue.extend(effects);
        self.carry_out(node)?;
        self.schedule_tick(node);
        Ok(())
    }

    pub(super) fn wall(&self, node: usize) -> Millis {
        let truth = self.genesis.header().timestamp_ms + LAUNCH_MS + self.now;
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
                    let delay = self.rng.random_range(0..=self.plan.sync_ms);
                    self.schedule(delay, Event::Synced { node, epoch });
                }
                Some(_) => {
                    let effect = process.queue.pop_front();
                    effect.map_or(Ok(()), |effect| self.effect(node, epoch, effect))?;
                }
            }
        }
    }

    pub(super) fn record_synced(&mut self, node: usize) -> Result<(), Violation> {
        let Some(process) = &mut self.nodes[node].process else { return Ok(()) };
        process.syncing = false;
        if let Some(Effect::Persist(record)) = process.queue.pop_front() {
            self.keep(node, record);
        }
        self.carry_out(node)
    }

    /// A record has reached the disk.
    pub(super) fn keep(&mut self, node: usize, record: Record) {
        let disk = &mut self.nodes[node].disk;
        match record {
            Record::Block(block) => disk.records.push(block),
            Record::Checkpoint { height, block } => disk.checkpoint = Some((height, block)),
            // Those the driver makes itself.
            Record::Root(_) | Record::Trunk(_) => {}
        }
    }

    fn feed(&mut self, delay: Millis, node: usize, epoch: u64, input: In) {
        self.schedule(delay, Event::Feed { node, epoch, input: Box::new(input) });
    }

    fn effect(&mut self, node: usize, epoch: u64, effect: EffectOf<Pow>) -> Result<(), Violation> {
        match effect {
            Effect::Send { to, message } => self.send(node, to, message),
            Effect::Fetch { block, hint, .. } => {
                let delay = 2 * self.rng.random_range(self.plan.delay.0..=self.plan.delay.1);
                self.schedule(delay, Event::FetchDone { node, epoch, block, hint: usize::from(hint) });
                Ok(())
            }
            Effect::Build(request) => {
                let block = self.build(node, request.parent, request.min_timestamp_ms);
                let (height, round) = (request.height, request.round);
                let input =
                    block.map_or(Input::BuildFailed { height, round }, |block| Input::Built { height, round, block });
                self.feed(1, node, epoch, input);
                Ok(())
            }
            Effect::Validate { block } => self.judge(node, epoch, &block),
            Effect::Seal { block } => {
                self.mine(node, epoch, block);
                Ok(())
            }
            Effect::Forkchoice { head, safe, finalized, branch, .. } => {
                self.switch(node, head, (safe, finalized), branch.as_deref())
            }
            Effect::Alarm(alarm) => {
                self.nodes[node].alarms += 1;
                self.log(|_| format!("n{node} ALARM {alarm:?}"));
                Ok(())
            }
            Effect::Persist(_) => Ok(()),
            Effect::Execute { .. } | Effect::Report(_) => Err(Violation::new("order", "an effect of another family")),
        }
    }

    fn build(&mut self, node: usize, parent: B256, least: Millis) -> Option<SealedBlock> {
        let (wall, drift) = (self.wall(node), self.plan.params.future_drift_ms);
        let time = match self.nodes[node].role {
            Role::Backdater => least,
            Role::Postdater => (wall + drift).max(least),
            _ => wall.max(least),
        };
        let process = self.nodes[node].process.as_ref()?;
        let (header, state) = (self.archive.header(&parent)?, process.states.get(&parent)?);
        Some(draft(header, parent, state, &process.pool, node, time))
    }

    /// Judges a block on the state of its parent, which must have been judged, and keeps its own.
    fn judge(&mut self, node: usize, epoch: u64, block: &SealedBlock) -> Result<(), Violation> {
        let Some(process) = &mut self.nodes[node].process else { return Ok(()) };
        let Some(parent) = process.states.get(&block.header().parent_hash) else {
            return Err(Violation::new("order", format!("{} is to be judged before its parent", block.hash())));
        };
        let verdict = match parent.after(block) {
            Some(state) => {
                process.states.insert(block.hash(), state);
                Verdict::Valid
            }
            None => Verdict::Invalid,
        };
        let delay = self.rng.random_range(0..=self.plan.judge_ms);
        self.feed(delay, node, epoch, Input::Validated { block: block.hash(), verdict });
        Ok(())
    }

    /// How many hashes a seal takes on average.
    pub(super) fn difficulty(header: &Header) -> f64 {
        let Seal::Work { target, .. } = header.seal else { return f64::MAX };
        let shift = target.bit_len().saturating_sub(60);
        let hashes = f64::powi(2.0, 256 - shift as i32) / (target >> shift).to::<u64>() as f64;
        hashes.max(1.0)
    }

    /// Starts a search: it ends after a time drawn from the exponential distribution.
    fn mine(&mut self, node: usize, epoch: u64, block: SealedBlock) {
        let hashes = Self::difficulty(block.header());
        let this = &mut self.nodes[node];
        let Some(process) = &mut this.process else { return };
        process.job = None;
        let idle = matches!(this.role, Role::Hopper { below } if hashes >= below as f64);
        if this.share <= 0.0 || idle {
            return;
        }
        self.next_job += 1;
        process.job = Some(Job { id: self.next_job, block });
        let per_ms = this.share * DIFFICULTY as f64 / self.plan.params.block_interval_ms as f64;
        let uniform = (self.rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let wait = -(1.0 - uniform).ln() * hashes / per_ms;
        if wait < 1e12 {
            self.schedule(wait as Millis + 1, Event::Found { node, epoch, job: self.next_job });
        }
        self.forge(node);
    }

    /// The search has ended: the nonce is looked for now.
    pub(super) fn found(&mut self, node: usize, id: u64) -> Result<(), Violation> {
        let Some(process) = &mut self.nodes[node].process else { return Ok(()) };
        let Some(job) = process.job.take_if(|job| job.id == id) else { return Ok(()) };
        let Some(block) = self.seal(&job.block) else { return Ok(()) };
        let hash = block.hash();
        let (secret, served) = (self.is_secretive(node), self.nodes[node].role != Role::Withholder);
        self.archive.add(&block, !secret, served);
        if secret {
            self.nodes[node].secret.push_back(hash);
        }
        self.log(|_| format!("n{node} finds {} {}", block.height(), short(hash)));
        self.step(node, Input::Sealed { block })?;
        self.after_found(node);
        Ok(())
    }

    /// A block with a nonce that seals it.
    pub(super) fn seal(&mut self, block: &SealedBlock) -> Option<SealedBlock> {
        let from = self.rng.next_u64();
        let nonce = self.sealing().search(block.header(), from, 1 << 20)?;
        let mut sealed = block.block().clone();
        if let Seal::Work { nonce: n, .. } = &mut sealed.header.seal {
            *n = nonce;
        }
        Some(SealedBlock::new(sealed, super::store::HASH))
    }

    /// Carries out a fork choice, and holds it to the rules.
    fn switch(
        &mut self,
        index: usize,
        head: B256,
        (safe, finalized): (B256, B256),
        branch: Option<&basalt_consensus::Branch>,
    ) -> Result<(), Violation> {
        let (archive, params) = (&self.archive, &self.plan.params);
        let node = &mut self.nodes[index];
        let ordered = node.ordered;
        let honest = node.honest();
        let Some(process) = &mut node.process else { return Ok(()) };
        let old = process.head();
        let mut adopted: &[B256] = &[];
        if let Some(branch) = branch {
            oracle::follow(&mut process.chain, branch, head, archive)?;
            let undone = branch.abandoned.iter().filter_map(|h| archive.0.get(h));
            process.pool.extend(undone.flat_map(|made| transactions(&made.block).collect::<Vec<_>>()));
            let done = branch.adopted.iter().filter_map(|h| archive.0.get(h));
            done.flat_map(|made| transactions(&made.block).collect::<Vec<_>>()).for_each(|tx| {
                process.pool.remove(&tx);
            });
            adopted = &branch.adopted;
        }
        oracle::judged(&process.states, &process.chain[process.chain.len() - adopted.len()..])?;
        oracle::more_work(archive, &old, &head, ordered)?;
        oracle::finality(params, archive, &process.chain, (&process.finalized, &finalized), ordered)?;
        if !process.chain.contains(&safe) {
            return Err(Violation::new("finality", "the safe block is not on the chain"));
        }
        process.finalized = finalized;
        let reorg = branch.is_some_and(|b| !b.abandoned.is_empty());
        if reorg || process.chain.len() % 16 == 0 {
            oracle::same_as_replay(archive, &process.states, &process.chain)?;
            oracle::heaviest(archive, &process.states, &process.chain, &finalized)?;
        }
        for hash in adopted {
            let Some(header) = archive.header(hash) else { continue };
            if self.lawful.insert(*hash) {
                oracle::lawful(params, archive, header)?;
            }
        }
        for header in adopted.iter().filter_map(|h| archive.header(h)) {
            oracle::not_ahead(params, &self.nodes[index], header)?;
        }
        if let Some(branch) = branch.filter(|_| reorg && honest) {
            self.summary.reorgs += 1;
            self.reorgs.insert((branch.ancestor, branch.abandoned.len() as u64));
            self.summary.deepest = self.summary.deepest.max(branch.abandoned.len() as u64);
        }
        self.finalize(index);
        let height = self.archive.height(&head);
        let depth = branch.map_or(0, |b| b.abandoned.len());
        self.log(|_| format!("n{index} HEAD {height} {} undoing {depth}, final {}", short(head), short(finalized)));
        Ok(())
    }

    /// Final blocks go to the ledger, and their records away.
    fn finalize(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        let Some(process) = &node.process else { return };
        let Some(last) = process.chain.iter().position(|h| *h == process.finalized) else { return };
        let kept =
            node.disk.ledger.iter().zip(&process.chain).take_while(|(block, hash)| block.hash() == **hash).count();
        if last < kept {
            return;
        }
        node.disk.ledger.truncate(kept);
        let block = |hash: &B256| self.archive.0.get(hash).map(|made| made.block.clone());
        node.disk.ledger.extend(process.chain[kept..=last].iter().filter_map(block));
        let height = node.disk.head().height();
        node.disk.records.retain(|b| b.height() > height);
    }
}

pub(super) fn short(hash: B256) -> String {
    hash.to_string().chars().skip(2).take(8).collect()
}
