//! ASERT: the target that the next block must meet (aserti3-2d).
//!
//! Source: the specification of Bitcoin Cash's difficulty rule of November 2020 (bitcoincashorg/bitcoincash.org,
//! `spec/2020-11-15-asert.md`, version 0.5.1; M. Lundeberg, "Static difficulty adjustments, with absolutely scheduled exponentially
//! rising targets", 2020). In any unit of time:
//!
//! > next = reference · 2^((time passed − spacing · (blocks + 1)) / half-life)
//!
//! in integers, with a cubic polynomial for the broken power (error below 0.013 %), truncating division, and the target as a full
//! 256-bit number (ADR-0026). `tests/asert.rs` runs the published vectors.

use alloy_primitives::U512;
use basalt_primitives::{Millis, PowParams, U256};

use crate::mutation::Mutation;

/// Targets above this number of doublings of any reference are at the limit, whatever that is.
const MOST_SHIFTS: i128 = 239;
/// Targets below this number of halvings are 1.
const LEAST_SHIFTS: i128 = -290;

/// What the schedule of targets hangs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Target of the anchor block.
    pub reference: U256,
    /// The easiest target there is.
    pub limit: U256,
    /// Time between blocks that is aimed at.
    pub spacing: u64,
    /// Time off the schedule that doubles or halves the target; the same unit, not 0.
    pub half_life: u64,
}

impl Schedule {
    /// The schedule of a chain, in milliseconds.
    #[must_use]
    pub const fn of(params: &PowParams) -> Self {
        Self {
            reference: params.initial_target,
            limit: params.max_target,
            spacing: params.block_interval_ms,
            half_life: params.half_life_ms,
        }
    }

    /// The target of the block after one that is `height_delta` blocks above the anchor and has a timestamp `time_delta` above that
    /// of the anchor's parent. Always from 1 to the limit.
    #[must_use]
    pub fn target(&self, time_delta: i128, height_delta: u64) -> U256 {
        let scheduled = i128::from(self.spacing) * (i128::from(height_delta) + 1);
        let behind = (time_delta - scheduled) * 65_536;
        let half_life = i128::from(self.half_life);
        let exponent = if Mutation::FloorDivision.on() { behind.div_euclid(half_life) } else { behind / half_life };
        let (shifts, fraction) = (exponent >> 16, (exponent & 0xffff) as u128);
        let product = U512::from(self.reference) * U512::from(power(fraction));
        let scaled = match shifts {
            LEAST_SHIFTS..0 => product >> (-shifts) as usize,
            0..=MOST_SHIFTS => product << shifts as usize,
            ..LEAST_SHIFTS => U512::ZERO,
            _ => return self.limit,
        };
        let target: U512 = scaled >> 16;
        if target > U512::from(self.limit) {
            return self.limit;
        }
        target.to::<U256>().max(U256::ONE)
    }

    /// The target of the block after one of this height and time, in a chain whose block 1, the anchor, has the time `first_ms`. It
    /// came, by definition, when it was due: its parent counts as one interval before it, whenever genesis was made.
    #[must_use]
    pub fn after(&self, height: u64, time_ms: Millis, first_ms: Millis) -> U256 {
        let Some(height_delta) = height.checked_sub(1) else { return self.reference };
        let time_delta = i128::from(time_ms) - i128::from(first_ms) + i128::from(self.spacing);
        self.target(time_delta, height_delta)
    }
}

/// 2^(x / 2¹⁶) · 2¹⁶ for x below 2¹⁶, approximately.
const fn power(x: u128) -> u128 {
    ((195_766_423_245_049 * x + 971_821_376 * x * x + 5_127 * x * x * x + (1 << 47)) >> 48) + 65_536
}
