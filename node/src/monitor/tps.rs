//! Transactions per second over a sliding window.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Committed transactions of the last seconds.
#[derive(Debug)]
pub struct TpsWindow {
    window: Duration,
    since: Instant,
    commits: VecDeque<(Instant, u64)>,
    sum: u64,
}

/// Most commits remembered; if blocks come faster, the oldest are put together.
const MAX_COMMITS: usize = 4_096;

impl TpsWindow {
    /// An empty window that begins now.
    #[must_use]
    pub const fn new(window: Duration, now: Instant) -> Self {
        Self { window, since: now, commits: VecDeque::new(), sum: 0 }
    }

    /// Counts a block's transactions.
    pub fn add(&mut self, now: Instant, transactions: u64) {
        self.forget(now);
        if self.commits.len() >= MAX_COMMITS
            && let Some(last) = self.commits.back_mut()
        {
            *last = (now, last.1 + transactions);
        } else {
            self.commits.push_back((now, transactions));
        }
        self.sum += transactions;
    }

    /// The rate at this moment.
    pub fn rate(&mut self, now: Instant) -> f64 {
        self.forget(now);
        let age = now.saturating_duration_since(self.since).min(self.window);
        // Less than a second of history would make a rate out of one block.
        self.sum as f64 / age.as_secs_f64().max(1.0)
    }

    fn forget(&mut self, now: Instant) {
        while let Some((at, n)) = self.commits.front()
            && now.saturating_duration_since(*at) > self.window
        {
            self.sum -= n;
            self.commits.pop_front();
        }
    }
}
