//! What is measured against which threshold: from an observation and the thresholds in force to readings. Pure.

use basalt_primitives::Millis;
use serde::Serialize;

use super::{AlertKind, Reading, Rule, Severity, Side};
use crate::monitor::settings::TpsThreshold;

/// An alert that began at a threshold ends this far on its good side.
const HYSTERESIS: f64 = 0.1;
/// Conditions of the machine must hold for this long.
const HOLD_MS: Millis = 5_000;
/// Days before its end at which a certificate is told of; the last is critical.
const CERTIFICATE_DAYS: [u32; 3] = [30, 7, 1];
/// Days before a fork at which an unready quorum is told of.
const FORK_DAYS: f64 = 7.0;
const DAY_S: f64 = 86_400.0;

/// A node of the network as this one sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSeen {
    /// What to call it.
    pub name: String,
    /// For how long it has not been seen; zero while it is.
    pub unseen_ms: Millis,
}

/// A certificate in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// What to call it.
    pub name: String,
    /// Seconds until it ends; negative once it has.
    pub seconds_left: i64,
}

/// A scheduled fork.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fork {
    /// Its name.
    pub name: String,
    /// Expected time until it, in seconds.
    pub seconds_left: u64,
    /// Whether a quorum of validators is known to have software that knows it.
    pub quorum_ready: bool,
}

/// What a node knows of itself and the others at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observation {
    /// Monotonic time.
    pub mono_ms: Millis,
    /// Transactions committed since the start, without those of blocks that were old when they came (while syncing).
    pub transactions: u64,
    /// For how long a block has been due.
    pub block_overdue_ms: Millis,
    /// Connected peers.
    pub peers: usize,
    /// The other nodes.
    pub nodes: Vec<NodeSeen>,
    /// Part of the data directory's disk in use, 0 to 1.
    pub disk_used: Option<f64>,
    /// Part of the memory this process may have in use, 0 to 1.
    pub memory_used: Option<f64>,
    /// This clock minus the median of the peers'.
    pub clock_offset_ms: Option<i64>,
    /// Certificates in use.
    pub certificates: Vec<Certificate>,
    /// Scheduled forks.
    pub forks: Vec<Fork>,
    /// Whether the audit log could not be written.
    pub audit_failing: bool,
}

/// Thresholds of all but TPS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Thresholds {
    /// A node not seen for this long is down.
    pub node_down_ms: Millis,
    /// A block due for this long is a stall.
    pub stall_ms: Millis,
    /// Most percent of the disk.
    pub disk_percent: u8,
    /// Most percent of the memory.
    pub memory_percent: u8,
    /// Largest clock offset.
    pub clock_offset_ms: u64,
    /// Fewest peers.
    pub min_peers: usize,
}

/// All readings of a moment. `tps` is the rate over the window, once there is a whole window.
#[must_use]
pub fn readings(o: &Observation, tps: Option<f64>, threshold: &TpsThreshold, t: &Thresholds) -> Vec<Reading> {
    let mut out = Vec::new();
    tps_readings(tps, threshold, &mut out);
    for node in &o.nodes {
        let (value, limit) = (seconds(node.unseen_ms), seconds(t.node_down_ms));
        out.push(reading(AlertKind::NodeDown, &node.name, value, above(limit, 0, Severity::Warning).clearing_below()));
    }
    let (overdue, limit) = (seconds(o.block_overdue_ms), seconds(t.stall_ms));
    out.push(reading(AlertKind::ConsensusStalled, "", overdue, above(limit, 0, Severity::Critical)));
    let percent = |part: f64| part * 100.0;
    out.extend(o.disk_used.map(|used| {
        reading(
            AlertKind::Disk,
            "",
            percent(used),
            above(t.disk_percent.into(), HOLD_MS, Severity::Critical).within(2.0),
        )
    }));
    out.extend(o.memory_used.map(|used| {
        let rule = above(t.memory_percent.into(), HOLD_MS, Severity::Warning).within(5.0);
        reading(AlertKind::Memory, "", percent(used), rule)
    }));
    out.extend(o.clock_offset_ms.map(|offset| {
        let rule = above(t.clock_offset_ms as f64, HOLD_MS, Severity::Warning).within(0.2 * t.clock_offset_ms as f64);
        reading(AlertKind::Clock, "", offset.unsigned_abs() as f64, rule)
    }));
    if t.min_peers > 0 {
        let least = t.min_peers as f64;
        let rule =
            Rule { side: Side::Below, threshold: least, clear: least, hold_ms: HOLD_MS, severity: Severity::Warning };
        out.push(reading(AlertKind::Peers, "", o.peers as f64, rule));
    }
    out.push(reading(AlertKind::AuditLog, "", f64::from(u8::from(o.audit_failing)), above(0.5, 0, Severity::Critical)));
    o.certificates.iter().for_each(|c| certificate_readings(c, &mut out));
    for fork in o.forks.iter().filter(|f| !f.quorum_ready) {
        // A node that has just started has heard nothing of the others yet.
        let rule = Rule { hold_ms: t.node_down_ms, ..below(FORK_DAYS, Severity::Critical) };
        out.push(reading(AlertKind::ForkApproaching, &fork.name, fork.seconds_left as f64 / DAY_S, rule));
    }
    out
}

/// The window smooths already, so the threshold counts at once.
fn tps_readings(tps: Option<f64>, threshold: &TpsThreshold, out: &mut Vec<Reading>) {
    let Some(tps) = tps else { return };
    out.extend(threshold.upper.map(|upper| {
        let rule = Rule { clear: upper * (1.0 - HYSTERESIS), ..above(upper, 0, Severity::Warning) };
        reading(AlertKind::TpsAbove, "", tps, rule)
    }));
    out.extend(threshold.lower.map(|lower| {
        let rule = Rule { clear: lower * (1.0 + HYSTERESIS), ..below(lower, Severity::Warning) };
        reading(AlertKind::TpsBelow, "", tps, rule)
    }));
}

fn certificate_readings(c: &Certificate, out: &mut Vec<Reading>) {
    for days in CERTIFICATE_DAYS {
        let severity = if days == 1 { Severity::Critical } else { Severity::Warning };
        let subject = format!("{} ({days} d)", c.name);
        out.push(reading(
            AlertKind::CertificateExpiry,
            &subject,
            c.seconds_left as f64 / DAY_S,
            below(days.into(), severity),
        ));
    }
}

fn seconds(ms: Millis) -> f64 {
    ms as f64 / 1000.0
}

fn reading(kind: AlertKind, subject: &str, value: f64, rule: Rule) -> Reading {
    Reading { kind, subject: subject.to_owned(), value, rule }
}

const fn above(threshold: f64, hold_ms: Millis, severity: Severity) -> Rule {
    Rule { side: Side::Above, threshold, clear: threshold, hold_ms, severity }
}

const fn below(threshold: f64, severity: Severity) -> Rule {
    Rule { side: Side::Below, threshold, clear: threshold, hold_ms: 0, severity }
}

impl Rule {
    /// It ends this far below the threshold.
    fn within(self, distance: f64) -> Self {
        Self { clear: (self.threshold - distance).max(0.0), ..self }
    }

    /// It ends only at zero: a node is back when it is seen.
    const fn clearing_below(self) -> Self {
        Self { clear: 0.0, ..self }
    }
}
