//! The two clocks of a node. What decides anything is handed a [`Clock`], so that a simulator can bring its own; metrics
//! and displays may ask the system's.

use std::{
    fmt::Debug,
    sync::{Arc, LazyLock},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use basalt_primitives::Millis;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Time as one node sees it.
pub trait Clock: Debug + Send + Sync {
    /// Since some moment of this process: never jumps, drives timeouts.
    fn mono(&self) -> Duration;

    /// Milliseconds since the Unix epoch: block time and display only.
    fn wall_ms(&self) -> Millis;

    /// [`Clock::mono`] in milliseconds.
    fn mono_ms(&self) -> Millis {
        millis(self.mono())
    }
}

/// A clock that the parts of a node share.
pub type SharedClock = Arc<dyn Clock>;

/// The system's clocks. A wall clock before 1970 counts as 1970.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn mono(&self) -> Duration {
        START.elapsed()
    }

    fn wall_ms(&self) -> Millis {
        millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
    }
}

/// Monotonic time of the system.
pub fn mono_ms() -> Millis {
    SystemClock.mono_ms()
}

/// Monotonic time of the system, as fine as it is.
pub fn mono() -> Duration {
    SystemClock.mono()
}

/// Time since the Unix epoch, as fine as the system has it.
pub fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Wall time of the system.
pub fn wall_ms() -> Millis {
    SystemClock.wall_ms()
}

fn millis(d: Duration) -> Millis {
    Millis::try_from(d.as_millis()).unwrap_or(Millis::MAX)
}
