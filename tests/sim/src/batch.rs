//! Many seeds, on several threads. What comes out does not depend on how many.

use std::{
    ops::Range,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{
    Case, Failed, Outcome, Runner,
    twins::{self, Conflict, Schedule, Tally},
};

/// What to run.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Name of the scenario.
    pub scenario: String,
    /// Number of nodes; without it the scenario chooses.
    pub nodes: Option<usize>,
    /// The seeds, in order.
    pub seeds: Range<u64>,
    /// Threads.
    pub jobs: usize,
    /// No further seed is begun after this long.
    pub limit: Option<Duration>,
}

/// What a batch came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Seeds run.
    pub runs: u64,
    /// Blocks decided in all of them.
    pub blocks: u64,
    /// Messages sent in all of them.
    pub messages: u64,
    /// Events handled in all of them.
    pub events: u64,
    /// The longest time to settle after healing (simulated ms), and the seed.
    pub slowest: (u64, u64),
    /// The violation of the lowest seed that had one, if any.
    pub violation: Option<(Case, Failed)>,
}

impl Report {
    fn add(&mut self, seed: u64, outcome: &Outcome) {
        self.runs += 1;
        self.blocks += outcome.height;
        self.messages += outcome.messages;
        self.events += outcome.events;
        self.slowest = self.slowest.max((outcome.settled_after_ms, seed));
    }

    fn fail(&mut self, case: Case, failed: Failed) {
        self.runs += 1;
        if self.violation.as_ref().is_none_or(|(first, _)| case.seed < first.seed) {
            self.violation = Some((case, failed));
        }
    }
}

/// Runs seeds in order until all are done, one fails, or the time is up.
#[must_use]
pub fn run(runner: &dyn Runner, batch: &Batch) -> Report {
    let next = AtomicU64::new(batch.seeds.start);
    let report = Mutex::new(Report::default());
    let start = Instant::now();
    let expired = || batch.limit.is_some_and(|limit| start.elapsed() >= limit);
    let worker = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= batch.seeds.end || expired() {
                return;
            }
            let case = Case { scenario: batch.scenario.clone(), seed, nodes: batch.nodes };
            let result = runner.run(&case);
            let mut report = report.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            match result {
                Ok(outcome) => report.add(seed, &outcome),
                Err(failed) => {
                    // Seeds below this one are running or done: nothing further is begun.
                    next.store(batch.seeds.end, Ordering::Relaxed);
                    report.fail(case, failed);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..batch.jobs.max(1) {
            scope.spawn(worker);
        }
    });
    report.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// What many schedules of twins came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TwinsReport {
    /// All of them together.
    pub tally: Tally,
    /// The lowest schedule that led to two blocks at one height, if any.
    pub conflict: Option<(u64, Conflict)>,
}

/// Runs schedules in order until all are done, one has a conflict, or the time is up.
#[must_use]
pub fn run_twins(n: usize, twinned: usize, numbers: Range<u64>, jobs: usize, limit: Option<Duration>) -> TwinsReport {
    let next = AtomicU64::new(numbers.start);
    let report = Mutex::new(TwinsReport::default());
    let start = Instant::now();
    let worker = || {
        let mut own = Tally::default();
        while limit.is_none_or(|limit| start.elapsed() < limit) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= numbers.end {
                break;
            }
            match twins::run(&Schedule::numbered(n, twinned, number)) {
                Ok(tally) => own.add(&tally),
                Err(conflict) => {
                    next.store(numbers.end, Ordering::Relaxed);
                    let mut report = report.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    if report.conflict.as_ref().is_none_or(|(first, _)| number < *first) {
                        report.conflict = Some((number, conflict));
                    }
                }
            }
        }
        report.lock().unwrap_or_else(std::sync::PoisonError::into_inner).tally.add(&own);
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(worker);
        }
    });
    report.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}
