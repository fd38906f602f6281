//! Passing on again what no block takes.

use std::time::Duration;

use basalt_primitives::{Bytes, Height};

use crate::mempool::SharedPool;

/// How long a transaction waits without any block coming before it is passed on again; doubles up to [`REPEAT_CAP`].
const REPEAT_AFTER: Duration = Duration::from_secs(6);
/// The longest wait.
const REPEAT_CAP: Duration = Duration::from_secs(60);
/// Bytes passed on again at once: one batch.
const REPEAT_BYTES: usize = 64 << 10;

/// Passes transactions on again. Gossip may have lost them (a node that was cut off, a full queue); then only this node sees a
/// reason for a block, and one node's word moves nobody: without this, they would wait for ever in a network that has nothing
/// else to do.
#[derive(Clone, Copy, Debug)]
pub struct Repeater {
    head: Height,
    since: Duration,
    wait: Duration,
}

impl Default for Repeater {
    fn default() -> Self {
        Self { head: Height::GENESIS, since: Duration::ZERO, wait: REPEAT_AFTER }
    }
}

impl Repeater {
    /// What to pass on again at `now` (monotonic), with the chain at `head`; mostly nothing.
    pub fn due(&mut self, now: Duration, head: Height, pool: &SharedPool) -> Vec<Bytes> {
        if head != self.head || pool.lock().work_since_ms().is_none() {
            *self = Self { head, since: now, wait: REPEAT_AFTER };
            return Vec::new();
        }
        if now.saturating_sub(self.since) < self.wait {
            return Vec::new();
        }
        (self.since, self.wait) = (now, (self.wait * 2).min(REPEAT_CAP));
        pool.lock().waiting(REPEAT_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mempool::{AccountView, MempoolConfig, PoolContext, test_util};

    const fn at(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn what_no_block_takes_is_passed_on_again_ever_more_seldom() {
        assert!(REPEAT_AFTER > crate::network::DUPLICATES_FOR, "else gossip takes it for a duplicate");
        let pool = SharedPool::new(MempoolConfig::default());
        let mut repeater = Repeater::default();
        assert!(repeater.due(at(100), Height(1), &pool).is_empty(), "nothing waits");
        let tx = test_util::sign(1, test_util::transfer(0));
        let raw = tx.raw().clone();
        let context = PoolContext {
            next_height: Height(2),
            base_fee: 0,
            gas_limit: 30_000_000,
            fork: basalt_primitives::chainspec::EvmFork::Osaka,
            now_ms: 1,
        };
        let account = AccountView { nonce: 0, balance: alloy_primitives::U256::MAX };
        pool.lock().insert(tx, account, &context).expect("admitted");
        assert!(repeater.due(at(105), Height(1), &pool).is_empty(), "it may still come by itself");
        assert_eq!(repeater.due(at(106), Height(1), &pool), std::slice::from_ref(&raw));
        assert!(repeater.due(at(117), Height(1), &pool).is_empty());
        assert_eq!(repeater.due(at(118), Height(1), &pool), std::slice::from_ref(&raw));
        assert!(repeater.due(at(200), Height(2), &pool).is_empty(), "blocks come: its turn comes too");
        assert_eq!(repeater.due(at(206), Height(2), &pool), [raw], "and the wait begins anew");
    }
}
