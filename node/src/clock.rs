//! The two clocks of a node.

use std::{
    sync::LazyLock,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use basalt_primitives::Millis;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Milliseconds since the process first asked: never jumps, drives timeouts.
pub fn mono_ms() -> Millis {
    millis(START.elapsed())
}

/// Milliseconds since the Unix epoch: block time and display only. A clock before 1970 counts as 1970.
pub fn wall_ms() -> Millis {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn millis(d: Duration) -> Millis {
    Millis::try_from(d.as_millis()).unwrap_or(Millis::MAX)
}
