//! What an operator sees: metrics (typed, in [`Metrics`]), the port that serves them, alerts with their webhooks, what the
//! machine gives and takes, and the log.
//!
//! In: the parts of the node set gauges and count; about once a second the node hands an [`alert::Observation`] to the
//! [`Monitor`]. Out: `/metrics` in OpenMetrics text, for Prometheus; alerts to log, metrics, subscriptions and webhooks.

pub mod alert;
#[cfg(test)]
mod catalogue;
pub mod config;
#[cfg(test)]
mod endpoint;
pub mod forks;
pub mod logging;
mod metrics;
#[allow(clippy::module_inception, reason = "the room is named after what it holds")]
mod monitor;
mod network;
pub mod nodes;
pub mod presence;
mod process;
pub mod resources;
mod server;
pub mod settings;
#[cfg(test)]
mod tests;
mod tps;
pub mod traces;
pub mod webhook;

pub use metrics::{BlockStats, Direction, Metrics, NodeLabels};
pub use monitor::{ActiveAlert, AddedWebhook, Alerts, Monitor, MonitorParts, TpsReport, View, WebhookError};
pub use server::MetricsServer;
pub use tps::TpsWindow;
