//! Alerts: what an operator is woken by.
//!
//! In: an [`Observation`] about once a second, with the clock in it. [`readings`] makes of it what is measured against
//! which threshold; [`AlertEngine`], a pure state machine, says what begins and what ends. Out: [`AlertEvent`]s, for the
//! log, metrics, subscriptions and webhooks. None of this needs Prometheus.

mod engine;
mod rules;
#[cfg(test)]
mod tests;

use std::fmt;

use basalt_primitives::{HashFn, Millis};
use serde::{Deserialize, Serialize};

pub use engine::{Active, AlertEngine, Reading, Rule, Side, Transition};
pub use rules::{Certificate, Fork, NodeSeen, Observation, Thresholds, readings};

/// What an alert is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    /// More transactions per second than the upper threshold.
    TpsAbove,
    /// Fewer transactions per second than the lower threshold.
    TpsBelow,
    /// A node of the network has not been seen for a while.
    NodeDown,
    /// No block although one is due.
    ConsensusStalled,
    /// The disk of the data directory fills up.
    Disk,
    /// The process uses too much memory.
    Memory,
    /// This machine's clock differs from its peers'.
    Clock,
    /// Too few connected peers.
    Peers,
    /// A certificate ends soon.
    CertificateExpiry,
    /// A fork comes for which too few validators are ready.
    ForkApproaching,
    /// The audit log cannot be written.
    AuditLog,
}

impl AlertKind {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::TpsAbove,
        Self::TpsBelow,
        Self::NodeDown,
        Self::ConsensusStalled,
        Self::Disk,
        Self::Memory,
        Self::Clock,
        Self::Peers,
        Self::CertificateExpiry,
        Self::ForkApproaching,
        Self::AuditLog,
    ];

    /// Stable name, as in JSON and metric labels.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TpsAbove => "tps_above",
            Self::TpsBelow => "tps_below",
            Self::NodeDown => "node_down",
            Self::ConsensusStalled => "consensus_stalled",
            Self::Disk => "disk",
            Self::Memory => "memory",
            Self::Clock => "clock",
            Self::Peers => "peers",
            Self::CertificateExpiry => "certificate_expiry",
            Self::ForkApproaching => "fork_approaching",
            Self::AuditLog => "audit_log",
        }
    }

    /// What it says while it fires, with a mend.
    fn sentence(self, subject: &str, value: f64, threshold: f64) -> String {
        match self {
            Self::TpsAbove => format!(
                "{value:.1} transactions per second are committed, more than the upper threshold of {threshold}; see who sends them, or raise the threshold"
            ),
            Self::TpsBelow => format!(
                "{value:.1} transactions per second are committed, fewer than the lower threshold of {threshold}; see consensus_status and the senders"
            ),
            Self::NodeDown => format!(
                "{subject} has not been seen for {value:.0} s (limit {threshold:.0} s); look at its machine and its log, start it again if it has ended"
            ),
            Self::ConsensusStalled => format!(
                "a block has been due for {value:.0} s (limit {threshold:.0} s); consensus_status says who is missing"
            ),
            Self::Disk => format!(
                "{value:.1} % of the disk of the data directory are used (limit {threshold:.0} %); free space or give the node a larger disk"
            ),
            Self::Memory => format!(
                "{value:.1} % of the memory this node may use are used (limit {threshold:.0} %); lower the budgets in [storage] and [mempool], or give it more"
            ),
            Self::Clock => format!(
                "this machine's clock differs from its peers' by {value:.0} ms (limit {threshold:.0} ms); check NTP on this machine"
            ),
            Self::Peers => format!(
                "{value:.0} peers are connected (at least {threshold:.0} expected); check that the P2P port is reachable and that p2p.peers is right"
            ),
            Self::CertificateExpiry => {
                format!("the certificate {subject} ends in {value:.1} days (limit {threshold:.0}); renew it")
            }
            Self::ForkApproaching => format!(
                "the fork {subject} comes in {value:.1} days and fewer validators than a quorum are known to be ready for it; monitor_status names the others: upgrade and start them"
            ),
            Self::AuditLog => "the audit log cannot be written, so administration by RPC is refused; the node's log says why: free space or mend the permissions of the folder audit in its data directory".to_owned(),
        }
    }
}

/// How urgent it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// To be looked at today.
    Warning,
    /// To be looked at now.
    Critical,
}

/// Whether it begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    /// It began.
    Firing,
    /// It ended.
    Resolved,
}

impl fmt::Display for AlertState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Firing { "firing" } else { "resolved" })
    }
}

/// Which network and node speaks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Name of the network.
    pub network: String,
    /// Name of the node.
    pub node: String,
}

/// An alert that began or ended: the body of a webhook, the message of a subscription.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AlertEvent {
    /// The same over all deliveries of this event, and of no other event: for receivers to tell repetitions.
    pub id: String,
    /// What it is about.
    pub alert: AlertKind,
    /// Whether it begins or ends.
    pub state: AlertState,
    /// How urgent it is.
    pub severity: Severity,
    /// The node, certificate or fork meant, where there are several.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub subject: Option<String>,
    /// What was measured: transactions per second, seconds, percent, milliseconds, peers or days, see `message`.
    pub value: f64,
    /// What it was measured against, in the same unit.
    pub threshold: f64,
    /// Name of the network.
    pub network: String,
    /// Name of the node that says so.
    pub node: String,
    /// When, in milliseconds since the Unix epoch, by this node's clock.
    pub at: Millis,
    /// In words, with what to do.
    pub message: String,
}

impl AlertEvent {
    /// What a transition says, by this node at this moment.
    #[must_use]
    pub fn new(origin: &Origin, t: &Transition, wall_ms: Millis) -> Self {
        let subject = (!t.subject.is_empty()).then(|| t.subject.clone());
        let rounded = |v: f64| if v.is_finite() { (v * 1000.0).round() / 1000.0 } else { 0.0 };
        let named =
            format!("{}\0{}\0{}\0{}\0{}\0{wall_ms}", origin.network, origin.node, t.kind.name(), t.subject, t.state);
        let message = match t.state {
            AlertState::Firing => t.kind.sentence(&t.subject, t.value, t.threshold),
            // A fork that a quorum is ready for, or that has come, is not measured any longer.
            AlertState::Resolved if t.watched || t.kind == AlertKind::ForkApproaching => {
                format!(
                    "over: {}{}",
                    t.kind.name(),
                    if t.subject.is_empty() { String::new() } else { format!(" of {}", t.subject) }
                )
            }
            AlertState::Resolved => format!("{} is no longer watched", t.kind.name()),
        };
        Self {
            id: hex::encode(&HashFn::Sha256.hash(named.as_bytes())[..16]),
            alert: t.kind,
            state: t.state,
            severity: t.severity,
            subject,
            value: rounded(t.value),
            threshold: rounded(t.threshold),
            network: origin.network.clone(),
            node: origin.node.clone(),
            at: wall_ms,
            message,
        }
    }
}
