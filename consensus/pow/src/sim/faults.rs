//! Crashes, what they leave on disk, restarts, what people do, and the end of all adversities.

use std::collections::{BTreeMap, VecDeque};

use basalt_consensus::{Effect, Input, Restored, sim::Violation};
use basalt_primitives::{B256, Millis, SealedBlock};
use rand::RngExt;

use super::{
    plan::Op,
    store::{Process, State},
    world::{Event, World},
};
use crate::{Config, Pow, Record, Root};

/// A restarted node is back where it was after this.
const RECOVERY_MS: Millis = 90_000;

impl World {
    /// The process dies. A record that was being written may or may not have reached the disk.
    pub(super) fn crash(&mut self, index: usize) -> Result<(), Violation> {
        let super::Crash { node, down, .. } = self.plan.crashes[index];
        let kept = self.rng.random_bool(0.5);
        let Some(mut process) = self.nodes[node].process.take() else { return Ok(()) };
        self.summary.crashes += 1;
        let writing = process.queue.pop_front().filter(|_| process.syncing && kept);
        if let Some(Effect::Persist(record)) = writing {
            self.keep(node, record);
        }
        let written = |hash: &&B256| self.nodes[node].disk.has(hash);
        let newest = process.chain.iter().rev().find(written).copied().unwrap_or_default();
        self.nodes[node].work_at_crash = self.archive.work(&newest);
        self.nodes[node].secret.clear();
        self.schedule(down.max(1), Event::Restart(node));
        self.log(|_| format!("n{node} CRASH, down {down} ms"));
        Ok(())
    }

    pub(super) fn restart(&mut self, index: usize) -> Result<(), Violation> {
        if self.nodes[index].process.is_some() {
            return Ok(());
        }
        let config = Config {
            params: self.plan.params.clone(),
            sealing: self.sealing(),
            genesis: self.genesis.clone(),
            capacity: self.plan.capacity,
            margin: self.plan.margin,
            mine: self.nodes[index].share > 0.0,
        };
        let (booted, mono_base) = (self.now, self.rng.random_range(0..1_000));
        let records = self.records(index);
        let node = &mut self.nodes[index];
        node.starts += 1;
        let (epoch, head) = (node.starts, node.disk.head().clone());
        let chain: Vec<B256> = node.disk.ledger.iter().map(SealedBlock::hash).collect();
        let mut states = BTreeMap::new();
        let mut state = State::genesis();
        states.insert(chain[0], state.clone());
        for block in &node.disk.ledger[1..] {
            state = state.after(block).ok_or_else(|| Violation::new("same as a replay", "an invalid ledger"))?;
            states.insert(block.hash(), state.clone());
        }
        node.process = Some(Process {
            engine: Pow::new(config),
            epoch,
            booted,
            mono_base,
            queue: VecDeque::new(),
            syncing: false,
            tick_at: None,
            job: None,
            states,
            chain,
            finalized: head.hash(),
            pool: node.clients.iter().filter(|tx| !state.done.contains(tx)).copied().collect(),
        });
        self.log(|w| {
            let disk = &w.nodes[index].disk;
            format!("n{index} START {epoch} at final height {}, {} records", disk.ledger.len() - 1, disk.records.len())
        });
        let restored = Restored {
            head,
            certificate: None,
            had_transactions: false,
            sets: Vec::new(),
            past: Vec::new(),
            records: Some(records),
            nonce: 0,
        };
        self.step(index, Input::Restored(restored))?;
        self.schedule(RECOVERY_MS, Event::Recovered { node: index, epoch });
        let delay = self.rng.random_range(0..1_000);
        self.schedule(delay, Event::Gossip { node: index, epoch });
        Ok(())
    }

    /// What a real driver puts together from its ledger and its records.
    fn records(&self, node: usize) -> Vec<Record> {
        let disk = &self.nodes[node].disk;
        let lowest = disk.ledger.len().saturating_sub(self.plan.margin as usize + 1);
        let root = &disk.ledger[lowest];
        let time = |block: &SealedBlock| block.header().timestamp_ms;
        let root = Root {
            hash: root.hash(),
            height: root.height(),
            time_ms: time(root),
            target: self.plan.params.initial_target,
            work: self.archive.work(&root.hash()),
            first_ms: disk.ledger.get(1).map_or(0, time),
            times_below: disk.ledger[..lowest].iter().rev().take(10).map(time).collect(),
        };
        let sealed = |block: &SealedBlock| self.sealing().check(block.header().clone()).ok().map(Record::Trunk);
        let trunk = disk.ledger[lowest + 1..].iter().filter_map(sealed);
        let above = disk.records.iter().cloned().map(Record::Block);
        let checkpoint = disk.checkpoint.map(|(height, block)| Record::Checkpoint { height, block });
        std::iter::once(Record::Root(root)).chain(trunk).chain(above).chain(checkpoint).collect()
    }

    /// Restarting loses nothing: what was on disk has been judged again by now, and the chain has no less work than before.
    pub(super) fn recovered(&self, node: usize) -> Result<(), Violation> {
        let Some(process) = &self.nodes[node].process else { return Ok(()) };
        let (now, before) = (self.archive.work(&process.head()), self.nodes[node].work_at_crash);
        if now >= before || self.nodes[node].ordered {
            return Ok(());
        }
        let what = format!("n{node} had {before} hashes of work on disk and has {now} after its restart");
        Err(Violation::new("a restart loses nothing", what))
    }

    pub(super) fn operate(&mut self, op: Op) -> Result<(), Violation> {
        match op {
            Op::Rate { node, share } => {
                self.nodes[node].share = share;
                if let Some(process) = &mut self.nodes[node].process {
                    process.job = None;
                }
                let on = share > 0.0;
                if self.nodes[node].process.is_some() { self.step(node, Input::Mine { on }) } else { Ok(()) }
            }
            Op::CheckpointOf(of) => {
                let (block, height) = (self.nodes[of].disk.head().hash(), self.nodes[of].disk.head().height());
                self.log(|_| format!("CHECKPOINT {block} of height {height}"));
                for node in 0..self.nodes.len() {
                    self.nodes[node].ordered = true;
                    self.nodes[node].disk.checkpoint = Some((height, block));
                    if self.nodes[node].process.is_some() {
                        self.step(node, Input::Checkpoint { height, block })?;
                    }
                }
                Ok(())
            }
        }
    }

    pub(super) fn heal(&mut self) -> Result<(), Violation> {
        self.log(|_| "HEALED".to_owned());
        for node in 0..self.nodes.len() {
            self.restart(node)?;
            self.give_up_secrets(node);
        }
        Ok(())
    }
}
