//! Hashes a second, over the last ten.

use std::{collections::VecDeque, time::Duration};

/// How far back it looks.
const SPAN: Duration = Duration::from_secs(10);
/// Looks that are remembered: asked more often, it looks less far back.
const LOOKS: usize = 64;

/// Counts at moments.
#[derive(Clone, Debug, Default)]
pub struct Rate(VecDeque<(Duration, u64)>);

impl Rate {
    /// Hashes a second up to `now`, when `count` have been counted in all. Asked for the first time it knows nothing.
    pub fn at(&mut self, now: Duration, count: u64) -> u64 {
        while self.0.len() > 1 && self.0.get(1).is_some_and(|(at, _)| now.saturating_sub(*at) >= SPAN) {
            self.0.pop_front();
        }
        if self.0.back().is_none_or(|(at, _)| now.saturating_sub(*at) >= SPAN / LOOKS as u32) {
            self.0.push_back((now, count));
        }
        if self.0.len() > LOOKS + 1 {
            self.0.pop_front();
        }
        let Some((then, before)) = self.0.front().copied() else { return 0 };
        let passed = now.saturating_sub(then).as_millis();
        if passed == 0 {
            return 0;
        }
        u64::try_from(u128::from(count.saturating_sub(before)) * 1000 / passed).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_seconds_count() {
        let mut rate = Rate::default();
        let s = Duration::from_secs;
        assert_eq!(rate.at(s(100), 5_000), 0, "nothing is known yet");
        assert_eq!(rate.at(s(101), 6_000), 1_000);
        for i in 2..=20 {
            rate.at(s(100 + i), 6_000);
        }
        assert_eq!(rate.at(s(121), 6_000), 0, "it has stood still for more than ten seconds");
        for i in 0..10_000 {
            rate.at(s(121) + Duration::from_millis(i), 6_000);
        }
        assert!(rate.0.len() <= LOOKS + 1);
    }
}
