//! Work: how many hashes a seal is worth, and how many a chain is.

use std::fmt;

use basalt_primitives::U256;

/// Expected number of hashes. The work of a block is ⌊2²⁵⁶ / (target + 1)⌋; that of a chain the sum over its blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Work(U256);

impl Work {
    /// None: the genesis block needs no seal.
    pub const ZERO: Self = Self(U256::ZERO);

    /// Work of a seal at this target. `None` at 0, which no hash but one in 2²⁵⁶ meets, and whose work does not fit.
    #[must_use]
    pub fn of(target: U256) -> Option<Self> {
        if target.is_zero() {
            return None;
        }
        // 2²⁵⁶ / (t + 1) = (2²⁵⁶ − t − 1) / (t + 1) + 1, and 2²⁵⁶ − t − 1 is the complement of t.
        let divisor = target.checked_add(U256::ONE);
        Some(Self(divisor.map_or(U256::ONE, |d| !target / d + U256::ONE)))
    }

    /// The sum; `None` where it does not fit, which no machine's chain comes near.
    #[must_use]
    pub fn plus(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// So many times this; saturating.
    #[must_use]
    pub fn times(self, n: u64) -> Self {
        Self(self.0.saturating_mul(U256::from(n)))
    }

    /// How much more this is; 0 where it is not.
    #[must_use]
    pub fn beyond(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The number of hashes.
    #[must_use]
    pub const fn get(self) -> U256 {
        self.0
    }

    /// A total that was stored.
    #[must_use]
    pub const fn from_stored(total: U256) -> Self {
        Self(total)
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::U512;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_extremes() {
        assert_eq!(Work::of(U256::ZERO), None);
        assert_eq!(Work::of(U256::ONE), Some(Work(U256::ONE << 255)));
        assert_eq!(Work::of(U256::MAX), Some(Work(U256::ONE)), "any hash meets it");
        assert_eq!(Work::of(U256::MAX - U256::ONE), Some(Work(U256::ONE)));
        assert_eq!(Work::of(U256::MAX >> 1), Some(Work(U256::from(2))));
        assert_eq!(Work::of(U256::MAX >> 20), Some(Work(U256::from(1u64 << 20))));
        let half = Work(U256::ONE << 255);
        assert_eq!(half.plus(half), None, "2²⁵⁶ hashes do not fit");
        assert_eq!(half.plus(Work(U256::MAX >> 1)), Some(Work(U256::MAX)));
        assert_eq!(Work::ZERO.beyond(half), Work::ZERO);
    }

    proptest! {
        #[test]
        fn it_is_the_quotient_that_is_stated(limbs: [u64; 4], shift in 0usize..256) {
            let target = U256::from_limbs(limbs) >> shift;
            prop_assume!(!target.is_zero());
            let quotient = (U512::ONE << 256) / (U512::from(target) + U512::ONE);
            prop_assert_eq!(U512::from(Work::of(target).expect("not 0").0), quotient);
        }

        #[test]
        fn a_harder_target_is_never_worth_less(a: [u64; 4], b: [u64; 4]) {
            let (a, b) = (U256::from_limbs(a).max(U256::ONE), U256::from_limbs(b).max(U256::ONE));
            prop_assert!(a < b || Work::of(a) <= Work::of(b));
            prop_assert!(a > b || Work::of(a) >= Work::of(b));
        }
    }
}
