//! The clocks of simulated nodes: true time is the world's, what a node reads is its own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use basalt_node::clock::Clock;
use basalt_primitives::Millis;

/// A node's clocks. `mono` starts anew with every process, at a number of its own; `wall` is true time and an offset.
#[derive(Debug)]
pub struct SimClock {
    now: Arc<AtomicU64>,
    genesis_ms: Millis,
    booted: Millis,
    mono_base: Millis,
    offset: AtomicI64,
}

impl SimClock {
    /// The clocks of a process that starts now.
    pub fn new(now: Arc<AtomicU64>, genesis_ms: Millis, mono_base: Millis) -> Self {
        let booted = now.load(Ordering::Relaxed);
        Self { now, genesis_ms, booted, mono_base, offset: AtomicI64::new(0) }
    }

    /// Sets what the wall clock adds to true time.
    pub fn set_offset(&self, offset: i64) {
        self.offset.store(offset, Ordering::Relaxed);
    }

    /// True time at which `mono` reads this.
    pub fn true_time(&self, mono: Millis) -> Millis {
        self.booted + mono.saturating_sub(self.mono_base)
    }
}

impl Clock for SimClock {
    fn mono(&self) -> Duration {
        Duration::from_millis(self.now.load(Ordering::Relaxed) - self.booted + self.mono_base)
    }

    fn wall_ms(&self) -> Millis {
        let truth = self.genesis_ms + self.now.load(Ordering::Relaxed);
        truth.saturating_add_signed(self.offset.load(Ordering::Relaxed))
    }
}
