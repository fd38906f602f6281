//! What callers want the next block of a development network to be like. The chain's rules follow: a block's header carries
//! what came of it, so nothing here has to outlive the process.

use std::sync::Arc;

use basalt_primitives::{Address, ChainSpec, Millis, header::MAX_TIMESTAMP_MS};
use basalt_storage::Head;
use parking_lot::Mutex;

use super::DevError;
use crate::proposer;

/// Latest time that may be asked for, in seconds: far below the limit of headers, so that blocks can follow.
pub const LATEST_S: u64 = MAX_TIMESTAMP_MS / 1000 / 2;

/// What callers want.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// By how much the chain's clock is ahead of this machine's, in milliseconds.
    pub offset_ms: i64,
    /// Time of the next block.
    pub timestamp_s: Option<u64>,
    /// Every block's time is its parent's and this.
    pub interval_s: Option<u64>,
    /// Base fee of the next block, in wei per gas.
    pub base_fee: Option<u64>,
    /// Gas limit of all blocks to come.
    pub gas_limit: Option<u64>,
    /// Who is named as the proposer of all blocks to come.
    pub coinbase: Option<Address>,
}

/// The wishes, shared between those who set them and those who follow them.
#[derive(Clone, Debug, Default)]
pub struct NextBlock(Arc<Mutex<Wishes>>);

/// The next block as it would be made now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Its time: a whole second above the parent's second.
    pub timestamp_ms: Millis,
    /// Its base fee.
    pub base_fee: u64,
    /// Its gas limit.
    pub gas_limit: u64,
    /// Its proposer; `None`: the validator.
    pub coinbase: Option<Address>,
}

impl NextBlock {
    /// What callers want now.
    #[must_use]
    pub fn wishes(&self) -> Wishes {
        *self.0.lock()
    }

    /// Puts back what was wanted at another time.
    pub fn restore(&self, wishes: Wishes) {
        *self.0.lock() = wishes;
    }

    /// Changes what is wanted.
    pub fn wish(&self, change: impl FnOnce(&mut Wishes)) {
        change(&mut self.0.lock());
    }

    /// Moves the chain's clock forward; by how much it is ahead in all, in seconds. `parent_ms` is the newest block's time.
    pub fn advance(&self, seconds: u64, parent_ms: Millis, wall_ms: Millis) -> Result<i64, DevError> {
        let mut wishes = self.0.lock();
        let from = clock(&wishes, wall_ms).max(parent_ms);
        let to = seconds.checked_mul(1000).and_then(|ms| from.checked_add(ms)).filter(|to| to / 1000 <= LATEST_S);
        let to = to.ok_or_else(|| DevError(format!("cannot go {seconds} s ahead: {LATEST_S} is the latest time")))?;
        wishes.offset_ms = signed_difference(to, wall_ms);
        Ok(wishes.offset_ms / 1000)
    }

    /// Wants a time for the next block.
    pub fn at(&self, timestamp_s: u64, parent_ms: Millis) -> Result<(), DevError> {
        let parent_s = parent_ms / 1000;
        if timestamp_s <= parent_s {
            return Err(DevError(format!(
                "Timestamp {timestamp_s} is lower than or equal to previous block's timestamp {parent_s}"
            )));
        }
        if timestamp_s > LATEST_S {
            return Err(DevError(format!("Timestamp {timestamp_s} is too late: {LATEST_S} is the latest time")));
        }
        self.0.lock().timestamp_s = Some(timestamp_s);
        Ok(())
    }

    /// The block after `head`, were it made now.
    #[must_use]
    pub fn plan(&self, spec: &ChainSpec, head: &Head, wall_ms: Millis) -> Plan {
        let wishes = self.0.lock();
        let parent = head.block.header();
        let second = parent.timestamp_s();
        let wanted = wishes.timestamp_s.or_else(|| Some(second + wishes.interval_s?));
        let wanted = wanted.unwrap_or_else(|| clock(&wishes, wall_ms) / 1000);
        Plan {
            // Contracts expect that time passes from block to block.
            timestamp_ms: wanted.max(second + 1) * 1000,
            base_fee: wishes.base_fee.unwrap_or_else(|| proposer::next_base_fee(spec, head)),
            gas_limit: wishes.gas_limit.unwrap_or(parent.gas_limit),
            coinbase: wishes.coinbase,
        }
    }

    /// The plan was carried out: what was wanted for one block is used up, and the clock goes on from its time.
    pub fn carried_out(&self, plan: &Plan, wall_ms: Millis) {
        let mut wishes = self.0.lock();
        if wishes.timestamp_s.take().is_some() || plan.timestamp_ms > clock(&wishes, wall_ms) {
            wishes.offset_ms = signed_difference(plan.timestamp_ms, wall_ms);
        }
        wishes.base_fee = None;
    }
}

fn clock(wishes: &Wishes, wall_ms: Millis) -> Millis {
    wall_ms.saturating_add_signed(wishes.offset_ms).min(MAX_TIMESTAMP_MS)
}

/// Both are below 2^48.
fn signed_difference(to: Millis, from: Millis) -> i64 {
    i64::try_from(to).unwrap_or(i64::MAX) - i64::try_from(from).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: Millis = 1_700_000_000_500;

    #[test]
    fn the_clock_goes_on_from_the_later_of_block_and_machine() {
        let next = NextBlock::default();
        assert_eq!(next.advance(60, WALL - 5_000, WALL).expect("fits"), 60);
        assert_eq!(next.advance(40, WALL, WALL).expect("fits"), 100, "it adds up");
        let ahead = NextBlock::default();
        assert_eq!(ahead.advance(60, WALL + 3_600_000, WALL).expect("fits"), 3_660, "blocks may be ahead already");
    }

    #[test]
    fn times_that_no_block_could_have_are_refused() {
        let next = NextBlock::default();
        for seconds in [u64::MAX, u64::MAX / 1000, LATEST_S] {
            let refused = next.advance(seconds, WALL, WALL).expect_err("too far").to_string();
            assert!(refused.contains("latest time"), "{refused}");
        }
        assert!(next.at(WALL / 1000, WALL).expect_err("not later").to_string().contains("lower than or equal"));
        assert!(next.at(LATEST_S + 1, WALL).is_err());
        assert_eq!(next.wishes(), Wishes::default(), "nothing of it stays");
        next.at(LATEST_S, WALL).expect("the latest");
    }

    #[test]
    fn what_is_for_one_block_is_used_up_by_one() {
        let next = NextBlock::default();
        let coinbase = Some(Address::repeat_byte(1));
        next.wish(|w| *w = Wishes { base_fee: Some(7), gas_limit: Some(8), coinbase, ..Wishes::default() });
        next.at(WALL / 1000 + 90, WALL).expect("later");
        let plan = Plan { timestamp_ms: (WALL / 1000 + 90) * 1000, base_fee: 7, gas_limit: 8, coinbase };
        next.carried_out(&plan, WALL);
        let left = next.wishes();
        assert_eq!((left.timestamp_s, left.base_fee, left.gas_limit, left.coinbase), (None, None, Some(8), coinbase));
        assert_eq!(left.offset_ms, 89_500, "the clock goes on from the block's time");
        let behind = Plan { timestamp_ms: WALL / 1000 * 1000, ..plan };
        next.carried_out(&behind, WALL);
        assert_eq!(next.wishes(), left, "a block in time moves nothing");
    }
}
