//! Crashes, what they leave on disk, restarts, and the end of all adversities.

use basalt_primitives::{Height, Millis};
use rand::{Rng, RngExt};

use super::{
    Lab, SyncCrash, Violation,
    mempool::{self, Mempool},
    node::Process,
    world::{Event, POLL_MS, World},
};
use crate::{Effect, Input, Restored};

impl<L: Lab> World<'_, L> {
    pub(super) fn plan_crash(&mut self, index: usize) -> Result<(), Violation> {
        let crash = self.plan.crashes[index].clone();
        let Some(process) = &mut self.nodes[crash.node].process else {
            self.nodes[crash.node].armed = Some(index).filter(|_| crash.fuse > 0 && !crash.lose_record);
            return Ok(());
        };
        if crash.fuse > 0 && !crash.lose_record {
            process.dies_syncing = crash.during_sync.then_some((crash.fuse, crash.down, crash.record));
            process.fuse = Some((crash.fuse, crash.down)).filter(|_| !crash.during_sync);
            return Ok(());
        }
        self.crash(crash.node, crash.down, crash.record)?;
        let disk = &mut self.nodes[crash.node].disk;
        if crash.lose_ledger {
            disk.lose_ledger();
        }
        if crash.lose_record {
            (disk.records, disk.torn) = (None, false);
            self.nodes[crash.node].wiped = true;
            self.oracles.forget_promises(self.nodes[crash.node].validator);
        }
        Ok(())
    }

    /// One effect has been carried out: perhaps the last.
    pub(super) fn burn_fuse(&mut self, node: usize) -> Result<(), Violation> {
        let Some(process) = &mut self.nodes[node].process else { return Ok(()) };
        let Some((left, down)) = &mut process.fuse else { return Ok(()) };
        *left -= 1;
        let (left, down) = (*left, *down);
        if left > 0 { Ok(()) } else { self.crash(node, down, None) }
    }

    /// The process dies. What was being written may or may not have reached the disk, in whole or in part.
    pub(super) fn crash(&mut self, node: usize, down: Millis, record: Option<SyncCrash>) -> Result<(), Violation> {
        let drawn = [SyncCrash::Kept, SyncCrash::Lost, SyncCrash::Torn][self.rng.random_range(0..3)];
        let (outcome, block_made_it) = (record.unwrap_or(drawn), self.rng.random_bool(0.5));
        let this = &mut self.nodes[node];
        let Some(mut process) = this.process.take() else { return Ok(()) };
        self.summary.crashes += 1;
        if let (true, Some((block, certificate))) = (block_made_it, process.executing.pop_front()) {
            this.disk.append(block, certificate, &self.sets);
        }
        this.pool = Mempool::default();
        self.schedule(down.max(1), Event::Restart(node));
        let writing = match process.queue.pop_front() {
            Some(Effect::Persist(record)) if process.syncing => Some(record),
            _ => None,
        };
        let left = writing.as_ref().map_or(String::new(), |_| format!(" while writing a record: {outcome:?}"));
        self.log(|_| format!("n{node} CRASH, down {down} ms{left}"));
        match (writing, outcome) {
            (Some(record), SyncCrash::Kept) => self.keep_record(node, record),
            (Some(_), SyncCrash::Torn) => {
                self.nodes[node].disk.torn = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn restart(&mut self, node: usize) -> Result<(), Violation> {
        let this = &mut self.nodes[node];
        if this.silent || this.process.is_some() {
            return Ok(());
        }
        this.starts += 1;
        let torn = std::mem::take(&mut this.disk.torn);
        let (epoch, head) = (this.starts, this.disk.head().clone());
        let next = |ahead: u64| Height(head.block.height().0 + ahead);
        let sets = (1..=2).filter_map(|d| Some((next(d), this.disk.set_at(next(d))?))).collect();
        let restored = Restored {
            had_transactions: mempool::transactions(&head.block).next().is_some(),
            certificate: head.certificate.clone(),
            records: this.disk.records.clone(),
            past: this.disk.past(),
            head: head.block.clone(),
            sets,
            nonce: self.rng.next_u64(),
        };
        this.process = Some(Process {
            engine: self.lab.engine(this.validator),
            epoch,
            booted: self.now,
            mono_base: self.rng.random_range(0..1_000),
            queue: Default::default(),
            syncing: false,
            executing: Default::default(),
            offered: Default::default(),
            believes: Height::GENESIS,
            tip: head.block,
            fuse: None,
            tick_at: None,
            dies_syncing: None,
            told_pending: false,
        });
        let records = restored.records.as_ref().map(Vec::len);
        self.log(|w| {
            let cut = if torn { ", a torn one cut off" } else { "" };
            let height = w.nodes[node].disk.ledger.len() - 1;
            let records = records.map_or("no sign record".to_owned(), |n| format!("{n} records{cut}"));
            format!("n{node} START {epoch} at height {height}, {records}")
        });
        if let Some(crash) = self.nodes[node].armed.take().filter(|_| self.now < self.plan.heal_at) {
            self.plan_crash(crash)?;
        }
        self.step(node, Input::Restored(restored))?;
        let clients = self.nodes[node].clients.clone();
        self.add_transactions(node, clients)?;
        let delay = self.rng.random_range(0..POLL_MS);
        self.schedule(delay, Event::Poll { node, epoch });
        Ok(())
    }

    pub(super) fn heal(&mut self) -> Result<(), Violation> {
        self.log(|_| "HEALED".to_owned());
        for node in 0..self.nodes.len() {
            if let Some(process) = &mut self.nodes[node].process {
                process.fuse = None;
                process.dies_syncing = None;
            }
            self.restart(node)?;
        }
        Ok(())
    }
}
