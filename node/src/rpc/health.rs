//! Whether the node is ready, and if not, why, in words an operator can act on.

use basalt_primitives::{Height, Millis};
use serde::Serialize;

use super::App;

/// What readiness is judged by.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inputs {
    /// Milliseconds since the last commit, or since the start if there was none.
    pub commit_age_ms: Millis,
    /// For how long executable transactions have been waiting; `None` if none wait.
    pub work_age_ms: Option<Millis>,
    /// How often an empty block is due; `None`: never.
    pub heartbeat_ms: Option<Millis>,
    /// Blocks the node is behind the highest height that peers claim.
    pub behind: u64,
}

/// What is too long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest time without a commit that is due.
    pub max_commit_age_ms: Millis,
    /// Most blocks behind.
    pub max_behind: u64,
}

/// The answer of `/health/ready`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Whether requests should be sent here.
    pub ready: bool,
    /// Why not; empty when ready.
    pub reasons: Vec<String>,
    /// Newest executed block.
    pub height: Height,
    /// Connected peers.
    pub peers: usize,
}

/// The reasons why a node is not ready.
#[must_use]
pub fn reasons(inputs: Inputs, limits: Limits) -> Vec<String> {
    let mut out = Vec::new();
    if inputs.behind > limits.max_behind {
        out.push(format!(
            "syncing: {} blocks behind, at most {} are allowed; wait until it has caught up",
            inputs.behind, limits.max_behind
        ));
    }
    // A block is due once work waits, or the heartbeat has come.
    let waited_for_work = inputs.work_age_ms.map(|w| w.min(inputs.commit_age_ms));
    let waited_for_heartbeat = inputs.heartbeat_ms.map(|h| inputs.commit_age_ms.saturating_sub(h));
    let overdue = waited_for_work.max(waited_for_heartbeat).unwrap_or(0);
    if overdue > limits.max_commit_age_ms {
        out.push(format!(
            "consensus has not advanced for {} s although a block has been due for {} s (limit {} s); see consensus_status",
            inputs.commit_age_ms / 1000,
            overdue / 1000,
            limits.max_commit_age_ms / 1000
        ));
    }
    out
}

/// Judges a running node.
#[must_use]
pub fn readiness(app: &App) -> Readiness {
    let consensus = app.ports.consensus.status();
    let height = app.ports.chain.head();
    let highest = app.ports.network.syncing().map_or(height, |(_, highest)| highest);
    let inputs = Inputs {
        commit_age_ms: consensus.last_commit_age_ms.unwrap_or_else(|| app.ports.consensus.uptime_ms()),
        work_age_ms: app.ports.pool.work_since_ms().map(|since| now_ms().saturating_sub(since)),
        heartbeat_ms: app.spec.bft().empty_block_ms,
        behind: highest.0.saturating_sub(height.0),
    };
    let limits =
        Limits { max_commit_age_ms: app.config.ready_max_commit_age_ms, max_behind: app.config.ready_max_behind };
    let reasons = reasons(inputs, limits);
    Readiness { ready: reasons.is_empty(), reasons, height, peers: app.ports.network.peer_count() }
}

fn now_ms() -> Millis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
