//! Transactions per second over a sliding window, from samples of a counter.

use std::collections::VecDeque;

use basalt_primitives::Millis;

/// Longest window.
pub const MAX_WINDOW_S: u64 = 3_600;
/// Most samples kept: one per second over the longest window, and some to spare. If they come faster, the history is shorter.
const MAX_SAMPLES: usize = 4_096;

/// The history of a counter of committed transactions.
#[derive(Debug, Default)]
pub struct TpsWindow {
    samples: VecDeque<(Millis, u64)>,
}

impl TpsWindow {
    /// Notes the counter at a moment. A moment before the last one is ignored.
    pub fn sample(&mut self, now: Millis, total: u64) {
        if self.samples.back().is_some_and(|(at, _)| *at >= now) {
            return;
        }
        self.samples.push_back((now, total));
        // The newest sample at or before the longest window's beginning stays.
        while self.samples.len() > MAX_SAMPLES
            || self.samples.get(1).is_some_and(|(at, _)| now.saturating_sub(*at) >= MAX_WINDOW_S * 1000)
        {
            self.samples.pop_front();
        }
    }

    /// The rate over the window that ends at the newest sample; `None` while the history is shorter.
    #[must_use]
    pub fn rate(&self, window_ms: Millis) -> Option<f64> {
        let (now, total) = *self.samples.back()?;
        let begin = now.checked_sub(window_ms)?;
        let after = self.samples.partition_point(|(at, _)| *at <= begin);
        let (at, before) = *self.samples.get(after.checked_sub(1)?)?;
        Some(per_second(total.saturating_sub(before), now - at))
    }

    /// The rate over the window, or over the history while that is shorter; zero without any.
    #[must_use]
    pub fn rate_so_far(&self, window_ms: Millis) -> f64 {
        let over_history = || {
            let ((first, before), (now, total)) = (*self.samples.front()?, *self.samples.back()?);
            // Less than a second of history would make a rate out of one block.
            Some(per_second(total.saturating_sub(before), (now - first).max(1_000)))
        };
        self.rate(window_ms).or_else(over_history).unwrap_or(0.0)
    }
}

fn per_second(transactions: u64, ms: Millis) -> f64 {
    transactions as f64 * 1000.0 / ms.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_slides_and_says_nothing_before_it_is_whole() {
        let mut w = TpsWindow::default();
        assert_eq!((w.rate(1_000), w.rate_so_far(1_000)), (None, 0.0));
        for second in 0..=10 {
            w.sample(second * 1_000, second * 50);
        }
        assert_eq!(w.rate(10_000), Some(50.0));
        assert_eq!(w.rate(10_001), None, "a window of which a part is not known");
        assert_eq!(w.rate_so_far(60_000), 50.0);
        for second in 11..=20 {
            w.sample(second * 1_000, 500);
        }
        assert_eq!(w.rate(10_000), Some(0.0));
        assert_eq!(w.rate(15_000), Some(500.0 * 1000.0 / 15_000.0 * 0.5), "half of the burst is in the window");
    }

    #[test]
    fn samples_between_ticks_are_divided_by_the_time_they_span() {
        let mut w = TpsWindow::default();
        [(0, 0), (1_300, 13), (2_600, 26), (3_900, 39)].into_iter().for_each(|(at, n)| w.sample(at, n));
        assert_eq!(w.rate(2_000), Some(10.0));
        w.sample(3_000, 99);
        assert_eq!(w.rate(2_000), Some(10.0), "a clock that goes back changes nothing");
    }

    #[test]
    fn history_is_bounded_and_as_long_as_the_longest_window() {
        let mut w = TpsWindow::default();
        (0..10_000).for_each(|s| w.sample(s * 1_000, s * 7));
        assert_eq!(w.rate(MAX_WINDOW_S * 1000), Some(7.0));
        assert!(w.samples.len() <= MAX_WINDOW_S as usize + 2);
        (0..20_000).for_each(|i| w.sample(10_000_000 + i, 0));
        assert_eq!(w.samples.len(), MAX_SAMPLES);
    }
}
