//! Latencies: HdrHistograms in microseconds, three digits, up to an hour.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// A histogram that can be merged with others.
#[derive(Clone, Debug)]
pub(super) struct Latencies(Histogram<u64>);

/// Its percentiles, in milliseconds; all 0 when nothing was recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// How many.
    pub count: u64,
    /// Median.
    pub p50_ms: f64,
    /// 95th percentile.
    pub p95_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// The slowest.
    pub max_ms: f64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("bounds in order"))
    }
}

impl Latencies {
    /// Beyond an hour counts as an hour.
    pub fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
    }

    /// Takes in what another has.
    pub fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("the same bounds");
    }

    pub fn percentiles(&self) -> Percentiles {
        let ms = |q: f64| self.0.value_at_quantile(q) as f64 / 1000.0;
        Percentiles {
            count: self.0.len(),
            p50_ms: ms(0.5),
            p95_ms: ms(0.95),
            p99_ms: ms(0.99),
            max_ms: self.0.max() as f64 / 1000.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_histograms_say_what_one_of_all_would() {
        let (mut all, mut even, mut odd) = (Latencies::default(), Latencies::default(), Latencies::default());
        for ms in 1..=1000u64 {
            let d = Duration::from_millis(ms);
            all.record(d);
            if ms % 2 == 0 { even.record(d) } else { odd.record(d) }
        }
        even.merge(&odd);
        assert_eq!(even.percentiles(), all.percentiles());
        let p = all.percentiles();
        assert!((p.p50_ms - 500.0).abs() < 2.0 && (p.p99_ms - 990.0).abs() < 2.0 && p.count == 1000, "{p:?}");
    }

    #[test]
    fn nothing_and_far_too_much_are_no_panic() {
        assert_eq!(Latencies::default().percentiles(), Percentiles::default());
        let mut l = Latencies::default();
        l.record(Duration::MAX);
        assert!(l.percentiles().max_ms > 3_500_000.0);
    }
}
