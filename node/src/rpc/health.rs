//! Whether the node is ready, and if not, why, in words an operator can act on.

use basalt_primitives::{ChainSpec, Height, Millis};
use serde::Serialize;

use super::{App, Ports};

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
    let overdue = overdue_ms(inputs);
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

/// For how long a block has been due: one is once work waits, or the heartbeat has come.
#[must_use]
pub fn overdue_ms(inputs: Inputs) -> Millis {
    let waited_for_work = inputs.work_age_ms.map(|w| w.min(inputs.commit_age_ms));
    let waited_for_heartbeat = inputs.heartbeat_ms.map(|h| inputs.commit_age_ms.saturating_sub(h));
    waited_for_work.max(waited_for_heartbeat).unwrap_or(0)
}

/// Judges a running node.
#[must_use]
pub fn readiness(app: &App) -> Readiness {
    let inputs = inputs(&app.ports, &app.spec);
    let limits =
        Limits { max_commit_age_ms: app.config.ready_max_commit_age_ms, max_behind: app.config.ready_max_behind };
    let reasons = reasons(inputs, limits);
    let height = app.ports.chain.head();
    Readiness { ready: reasons.is_empty(), reasons, height, peers: app.ports.network.peer_count() }
}

/// What a running node is judged by.
#[must_use]
pub fn inputs(ports: &Ports, spec: &ChainSpec) -> Inputs {
    let height = ports.chain.head();
    let highest = ports.network.syncing().map_or(height, |(_, highest)| highest);
    let commit_age = ports.consensus.status().last_commit_age_ms;
    Inputs {
        commit_age_ms: commit_age.unwrap_or_else(|| ports.consensus.uptime_ms()),
        // On a development network work waits for as long as whoever is testing likes.
        work_age_ms: ports
            .pool
            .work_since_ms()
            .filter(|_| !spec.is_devnet())
            .map(|since| now_ms().saturating_sub(since)),
        heartbeat_ms: spec.bft().empty_block_ms,
        behind: highest.0.saturating_sub(height.0),
    }
}

fn now_ms() -> Millis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
