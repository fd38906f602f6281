//! A token bucket: a rate with a burst.

use std::time::Instant;

#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    per_second: f64,
    burst: f64,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    pub(super) fn new(per_second: f64, burst: f64, now: Instant) -> Self {
        Self { per_second, burst, tokens: burst, at: now }
    }

    /// Takes `cost` if it is there.
    pub(super) fn take(&mut self, cost: f64, now: Instant) -> bool {
        self.tokens = self.burst.min(self.tokens + self.per_second * now.duration_since(self.at).as_secs_f64());
        self.at = now;
        let enough = self.tokens >= cost;
        if enough {
            self.tokens -= cost;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10.0, 5.0, start);
        assert_eq!((0..10).filter(|_| bucket.take(1.0, start)).count(), 5);
        let later = start + Duration::from_millis(300);
        assert_eq!((0..10).filter(|_| bucket.take(1.0, later)).count(), 3);
        let much_later = start + Duration::from_secs(60);
        assert_eq!((0..10).filter(|_| bucket.take(1.0, much_later)).count(), 5);
    }
}
