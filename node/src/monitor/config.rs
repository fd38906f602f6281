//! Settings of monitoring in `node.toml`: where alerts begin, and what this node says of itself.

use serde::{Deserialize, Serialize};

use super::{
    alert::Thresholds,
    settings::{SettingsError, TpsThreshold},
};

/// The section `[monitor]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MonitorConfig {
    /// Off: nothing is watched, no alert ever fires, other nodes hear nothing of this one, and `monitor_` is not served.
    pub enabled: bool,
    /// Name of the organisation that runs this node, for people; nobody verifies it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub organisation: String,
    /// Upper TPS threshold, until `monitor_setTpsThreshold` sets another; none: off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tps_upper: Option<f64>,
    /// Lower TPS threshold; none: off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tps_lower: Option<f64>,
    /// Window over which transactions per second are measured.
    pub tps_window_seconds: u64,
    /// A node not seen for this long is down.
    pub node_down_after_ms: u64,
    /// Most percent of the data directory's disk.
    pub disk_max_percent: u8,
    /// Most percent of the memory this process may use.
    pub memory_max_percent: u8,
    /// Memory this process may use, in MiB; 0: the limit of its control group, else the machine's memory.
    pub memory_limit_mib: u64,
    /// Largest difference between this clock and the peers'.
    pub clock_offset_max_ms: u64,
    /// Fewest connected peers; 0: any number will do.
    pub min_peers: usize,
    /// Whether webhooks may point to loopback and private addresses. Unset: only in development networks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook_private_targets: Option<bool>,
}

impl Default for MonitorConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            organisation: String::new(),
            tps_upper: None,
            tps_lower: None,
            tps_window_seconds: 10,
            node_down_after_ms: 30_000,
            disk_max_percent: 90,
            memory_max_percent: 90,
            memory_limit_mib: 0,
            clock_offset_max_ms: 500,
            min_peers: 1,
            webhook_private_targets: None,
        }
    }
}

impl MonitorConfig {
    /// The TPS threshold of the configuration.
    pub fn tps_threshold(&self) -> Result<TpsThreshold, SettingsError> {
        TpsThreshold { upper: self.tps_upper, lower: self.tps_lower, window_seconds: self.tps_window_seconds }.checked()
    }

    /// What is out of range, as key and problem.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        self.tps_threshold().map_err(|e| ("monitor", e.to_string()))?;
        if self.organisation.len() > 64 || self.organisation.chars().any(char::is_control) {
            return Err(("monitor.organisation", "must have at most 64 bytes and no control characters".into()));
        }
        let percent = |p: u8| (1..=100).contains(&p);
        if !percent(self.disk_max_percent) || !percent(self.memory_max_percent) {
            return Err(("monitor", "disk_max_percent and memory_max_percent must be between 1 and 100".into()));
        }
        if self.node_down_after_ms < 1_000 || self.clock_offset_max_ms == 0 {
            return Err(("monitor", "needs node_down_after_ms ≥ 1000 and clock_offset_max_ms ≥ 1".into()));
        }
        Ok(())
    }

    /// The thresholds that only the configuration sets. `stall_ms` is the one of readiness; a network of one node has no peers to miss.
    #[must_use]
    pub fn thresholds(&self, stall_ms: u64, alone: bool) -> Thresholds {
        Thresholds {
            node_down_ms: self.node_down_after_ms,
            stall_ms,
            disk_percent: self.disk_max_percent,
            memory_percent: self.memory_max_percent,
            clock_offset_ms: self.clock_offset_max_ms,
            min_peers: if alone { 0 } else { self.min_peers },
        }
    }
}
