//! Token buckets, one for each caller: requests per second with a burst. Bounded: who is not known when all places are taken
//! shares one bucket with others.

use std::{collections::HashMap, hash::Hash, time::Duration};

/// How fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In the long run.
    pub per_second: u32,
    /// At once.
    pub burst: u32,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Duration,
}

impl Bucket {
    fn refill(&mut self, per_second: f64, burst: f64, now: Duration) {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * per_second).min(burst);
        self.at = self.at.max(now);
    }
}

/// How much was taken, and when there is more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Of what was asked for.
    pub granted: usize,
    /// Until one more is there, in milliseconds; 0 when all were granted.
    pub retry_ms: u64,
}

/// The buckets of all callers.
#[derive(Debug)]
pub struct Buckets<K> {
    known: HashMap<K, Bucket>,
    others: Option<Bucket>,
    max: usize,
    swept: Duration,
}

/// Full buckets are thrown away no more often than this.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

impl<K: Eq + Hash> Buckets<K> {
    /// For at most this many callers at once.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { known: HashMap::new(), others: None, max, swept: Duration::ZERO }
    }

    /// Takes up to `count` at a rate of so many per second; `now` never goes back.
    pub fn take(&mut self, key: K, (per_second, burst): (f64, f64), count: usize, now: Duration) -> Taken {
        let full = Bucket { tokens: burst, at: now };
        if self.known.len() >= self.max && !self.known.contains_key(&key) && now >= self.swept + SWEEP_EVERY {
            self.swept = now;
            // One that would be full again says nothing.
            self.known.retain(|_, b| b.tokens + now.saturating_sub(b.at).as_secs_f64() * per_second < burst);
        }
        let bucket = if self.known.len() >= self.max && !self.known.contains_key(&key) {
            self.others.get_or_insert(full)
        } else {
            self.known.entry(key).or_insert(full)
        };
        bucket.refill(per_second, burst, now);
        // Counts are far below 2^52.
        let granted = (bucket.tokens.max(0.0) as usize).min(count);
        bucket.tokens -= granted as f64;
        let missing = if granted < count { (1.0 - bucket.tokens).max(0.0) } else { 0.0 };
        Taken { granted, retry_ms: (missing / per_second * 1000.0).ceil() as u64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: (f64, f64) = (10.0, 5.0);

    #[test]
    fn a_burst_is_granted_and_then_the_rate() {
        let (mut buckets, ms) = (Buckets::new(8), Duration::from_millis);
        assert_eq!(buckets.take("a", RATE, 7, ms(0)), Taken { granted: 5, retry_ms: 100 });
        assert_eq!(buckets.take("a", RATE, 1, ms(50)), Taken { granted: 0, retry_ms: 50 });
        assert_eq!(buckets.take("a", RATE, 1, ms(100)), Taken { granted: 1, retry_ms: 0 });
        assert_eq!(buckets.take("b", RATE, 5, ms(100)), Taken { granted: 5, retry_ms: 0 }, "each its own");
        assert_eq!(buckets.take("a", RATE, 9, ms(60_000)).granted, 5, "never more than the burst");
        assert_eq!(buckets.take("a", RATE, 1, ms(0)).granted, 0, "an older time gives nothing");
    }

    #[test]
    fn places_are_bounded_and_freed() {
        let (mut buckets, ms) = (Buckets::new(100), Duration::from_millis);
        for i in 0..10_000 {
            buckets.take(i, RATE, 5, ms(2_000));
        }
        assert_eq!(buckets.known.len(), 100);
        assert_eq!(buckets.take(77_777, RATE, 1, ms(2_000)).granted, 0, "the others' bucket is empty");
        assert_eq!(buckets.take(88_888, RATE, 1, ms(4_000)).granted, 1);
        assert!(buckets.known.len() <= 100);
    }
}
