//! What an operator sees: metrics (typed, in [`Metrics`]), the port that serves them, and the log.
//!
//! In: the parts of the node set gauges and count. Out: `/metrics` in OpenMetrics text, for Prometheus.

pub mod logging;
mod metrics;
mod process;
mod server;
#[cfg(test)]
mod tests;
mod tps;

pub use metrics::{BlockStats, Direction, Metrics, NodeLabels};
pub use server::MetricsServer;
pub use tps::TpsWindow;
