//! The threads of a simulated node: judging and executing, each a queue that is worked off at moments the world draws.

use basalt_consensus::{Input, Verdict, sim::Violation};
use basalt_node::driver::{
    executor::{Done, Job},
    judge::verdict,
};
use basalt_primitives::SealedBlock;
use rand::RngExt;

use super::{
    Sabotage,
    oracle::violation,
    world::{Event, World},
};

impl World {
    pub(super) fn queue_judgement(&mut self, node: usize, block: SealedBlock) {
        let delay = self.rng.random_range(0..=self.plan.build_ms / 2);
        let Some(process) = &mut self.nodes[node].process else { return };
        process.judging.push_back(block);
        if process.judging.len() == 1 {
            let epoch = process.epoch;
            self.schedule(delay, Event::Judged { node, epoch });
        }
    }

    /// The validation thread has come to the end of a block; a good one is executed ahead if the executor has nothing better.
    pub(super) fn judged(&mut self, node: usize) -> Result<(), Violation> {
        let (delay, offset) =
            (self.rng.random_range(0..=self.plan.build_ms / 2), self.plan.clock_offset(self.now, node));
        let ahead = self.rng.random_bool(0.7);
        let Some(process) = &mut self.nodes[node].process else { return Ok(()) };
        let Some(block) = process.judging.pop_front() else { return Ok(()) };
        process.clock.set_offset(offset);
        let verdict = verdict(&process.judge.check(&block));
        let (epoch, more) = (process.epoch, !process.judging.is_empty());
        if verdict == Verdict::Valid && ahead && process.jobs.is_empty() {
            process.worker.execute_ahead(&block);
        }
        if more {
            self.schedule(delay, Event::Judged { node, epoch });
        }
        let (height, hash) = (block.height(), block.hash());
        self.note(|| format!("n{node} judges {height} {}: {verdict:?}", &hash.to_string()[..8]));
        if verdict == Verdict::Invalid {
            return Err(violation("honest blocks verify", format!("n{node} finds block {height} invalid")));
        }
        self.drive(node, Input::Validated { block: hash, verdict })
    }

    pub(super) fn queue_job(&mut self, node: usize, job: Job) {
        let delay = self.job_delay(&job);
        let Some(process) = &mut self.nodes[node].process else { return };
        process.jobs.push_back(job);
        if process.jobs.len() == 1 {
            let epoch = process.epoch;
            self.schedule(delay, Event::Worked { node, epoch });
        }
    }

    fn job_delay(&mut self, job: &Job) -> u64 {
        let most = match job {
            Job::Build(_) | Job::Validate(_) | Job::Forkchoice(_) => self.plan.build_ms,
            Job::Execute { .. } => self.plan.execute_ms,
        };
        self.rng.random_range(1..=most.max(1))
    }

    /// The execution thread has done its first job: what it says goes to the engine, and the oracles look at the disk.
    pub(super) fn worked(&mut self, node: usize) -> Result<(), Violation> {
        let offset = self.plan.clock_offset(self.now, node);
        let sabotage = self.nodes[node].sabotage;
        let Some(process) = &mut self.nodes[node].process else { return Ok(()) };
        let Some(job) = process.jobs.pop_front() else { return Ok(()) };
        process.clock.set_offset(offset);
        let executes = matches!(job, Job::Execute { .. });
        let before = process.chain.ledger.head().height();
        if executes && sabotage != Sabotage::None {
            sabotage.spoil(process, &job);
        }
        let mut inputs: Vec<Done> = Vec::new();
        let result = process.worker.work(job, &mut |input| inputs.push(input));
        result.map_err(|fatal| violation("no node stops by itself", format!("n{node}: {fatal}")))?;
        let head = process.chain.ledger.head();
        if head.height() > before {
            let chain = process.chain.clone();
            let (height, hash, count) = (head.height(), head.hash(), head.block.block().transactions.len());
            self.note(|| format!("n{node} EXECUTES {height} {} with {count}", &hash.to_string()[..8]));
            self.oracles.executed(&chain, &self.setup)?;
        }
        if let Some(process) = &self.nodes[node].process
            && let Some(next) = process.jobs.front()
        {
            let (epoch, next) = (process.epoch, matches!(next, Job::Build(_)));
            let most = if next { self.plan.build_ms } else { self.plan.execute_ms };
            let delay = self.rng.random_range(1..=most.max(1));
            self.schedule(delay, Event::Worked { node, epoch });
        }
        let epoch = self.nodes[node].starts;
        for input in inputs {
            // A crash on the way makes the rest void.
            if self.nodes[node].process.as_ref().is_some_and(|p| p.epoch == epoch) {
                self.drive(node, input)?;
            }
        }
        if executes { self.feed_synced(node) } else { Ok(()) }
    }
}
