//! The monitor of a node: takes observations in, keeps the TPS window and the alerts, tells of what begins and ends, and
//! carries out what operators set at run time.

use std::{collections::VecDeque, path::Path, sync::Arc};

use basalt_primitives::Millis;
use parking_lot::{Mutex, RwLock};
use serde::Serialize;
use tokio::runtime::Handle;

use super::{
    Metrics,
    alert::{
        Active, AlertEngine, AlertEvent, AlertKind, AlertState, Observation, Origin, Severity, Thresholds, readings,
    },
    config::MonitorConfig,
    forks::ForkView,
    nodes::NodeView,
    resources::Resources,
    settings::{SettingsError, SettingsFile, StoredWebhook, TpsThreshold},
    tps::TpsWindow,
    webhook::{MAX_WEBHOOKS, Patience, TargetError, Targets, WebhookInfo, Webhooks},
};
use crate::{clock, keys, rpc::EventHub};

/// Events kept for `monitor_alerts`.
const RECENT: usize = 256;
/// Lengths of a webhook's secret.
const SECRET: std::ops::RangeInclusive<usize> = 16..=256;

/// Why a change of the webhooks was refused.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The address.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// Too short to protect, or too long.
    #[error("secret must have 16 to 256 bytes; leave it out, and one is made")]
    Secret,
    /// Too many.
    #[error("there are {MAX_WEBHOOKS} webhooks already; remove one first")]
    Full,
    /// No such webhook.
    #[error("there is no webhook {0}; monitor_listWebhooks names those there are")]
    Unknown(String),
    /// The file.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// No randomness.
    #[error("no random bytes for an id: {0}")]
    Random(String),
}

/// A webhook that was added. The only answer that ever holds a secret, and only when the node has made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AddedWebhook {
    /// Its id, for [`Monitor::remove_webhook`].
    pub id: String,
    /// Where to.
    pub url: String,
    /// The secret that was made because none was given: shown now and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// What `monitor_tps` answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TpsReport {
    /// Committed transactions per second over the window (over the time since the start while that is shorter).
    pub current: f64,
    /// Length of the window.
    pub window_seconds: u64,
    /// Whether a whole window has passed; before, no threshold is judged.
    pub measured: bool,
    /// Transactions committed since the node started, those of blocks it synced left out.
    pub total: u64,
    /// The thresholds in force.
    pub threshold: TpsThreshold,
    /// `off` without thresholds, else `normal`, `above` or `below`.
    pub state: &'static str,
    /// Where the thresholds come from: `configuration` or `runtime`.
    pub source: &'static str,
}

/// An alert that is firing, as `monitor_alerts` shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ActiveAlert {
    /// What it is about.
    pub alert: AlertKind,
    /// Which of several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// How urgent it is.
    pub severity: Severity,
    /// The newest value.
    pub value: f64,
    /// What it is measured against.
    pub threshold: f64,
    /// Since when, in milliseconds since the Unix epoch.
    pub since: Millis,
}

/// What `monitor_alerts` answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Alerts {
    /// What is firing.
    pub active: Vec<ActiveAlert>,
    /// What began and ended lately, the newest first.
    pub recent: Vec<AlertEvent>,
}

/// What was seen at the last look, beside alerts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    /// What the process and its machine use.
    pub resources: Resources,
    /// The nodes of the network, this one among them.
    pub nodes: Vec<NodeView>,
    /// Forks that come.
    pub forks: Vec<ForkView>,
    /// This clock minus the median of the peers'.
    pub clock_offset_ms: Option<i64>,
    /// Peers whose clocks were compared.
    pub clock_peers: usize,
}

/// What a monitor is made of.
pub struct MonitorParts<'a> {
    /// Settings of the node.
    pub config: &'a MonitorConfig,
    /// Who speaks.
    pub origin: Origin,
    /// Thresholds of all but TPS.
    pub thresholds: Thresholds,
    /// Whether this is a network for development.
    pub development: bool,
    /// Where run-time settings are kept.
    pub data_dir: &'a Path,
    /// Where subscriptions listen.
    pub hub: EventHub,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Where webhooks are delivered.
    pub runtime: Handle,
}

#[derive(Default)]
struct State {
    engine: AlertEngine,
    window: TpsWindow,
    total: u64,
    recent: VecDeque<AlertEvent>,
}

/// The monitor.
pub struct Monitor {
    origin: Origin,
    thresholds: Thresholds,
    configured: TpsThreshold,
    tps: RwLock<TpsThreshold>,
    settings: Mutex<SettingsFile>,
    state: Mutex<State>,
    hub: EventHub,
    metrics: Arc<Metrics>,
    webhooks: Webhooks,
    view: RwLock<Arc<View>>,
}

impl Monitor {
    /// Reads what was set at run time before, and starts the webhooks.
    pub fn new(parts: MonitorParts<'_>) -> Result<Self, SettingsError> {
        let MonitorParts { config, origin, thresholds, development, data_dir, hub, metrics, runtime } = parts;
        let configured = config.tps_threshold()?;
        let settings = SettingsFile::open(data_dir);
        let private = config.webhook_private_targets.unwrap_or(development);
        let webhooks = Webhooks::new(Targets { private }, Patience::default(), Arc::clone(&metrics), runtime);
        settings.current().webhooks.iter().cloned().for_each(|hook| webhooks.start(hook));
        let tps = settings.current().tps.unwrap_or(configured);
        metrics.tps_threshold(&tps);
        Ok(Self {
            origin,
            thresholds,
            configured,
            tps: RwLock::new(tps),
            settings: Mutex::new(settings),
            state: Mutex::default(),
            hub,
            metrics,
            webhooks,
            view: RwLock::default(),
        })
    }

    /// Takes an observation in: about once a second.
    pub fn observe(&self, o: &Observation) {
        let threshold = *self.tps.read();
        let wall_ms = clock::wall_ms();
        let events = {
            let mut state = self.state.lock();
            state.window.sample(o.mono_ms, o.transactions);
            state.total = o.transactions;
            let rate = state.window.rate(threshold.window_seconds * 1000);
            self.metrics.tps(state.window.rate_so_far(threshold.window_seconds * 1000));
            let readings = readings(o, rate, &threshold, &self.thresholds);
            let transitions = state.engine.observe(o.mono_ms, &readings);
            let events: Vec<_> = transitions.iter().map(|t| AlertEvent::new(&self.origin, t, wall_ms)).collect();
            self.metrics.alerts_active(state.engine.active().iter().map(|a| a.kind));
            state.recent.extend(events.iter().cloned());
            let over = state.recent.len().saturating_sub(RECENT);
            state.recent.drain(..over);
            events
        };
        events.into_iter().for_each(|event| self.tell(event));
    }

    /// Keeps what was seen, for those who ask.
    pub fn show(&self, view: View) {
        *self.view.write() = Arc::new(view);
    }

    /// What was seen at the last look.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read())
    }

    /// The thresholds of all but TPS.
    #[must_use]
    pub const fn thresholds(&self) -> &Thresholds {
        &self.thresholds
    }

    fn tell(&self, event: AlertEvent) {
        let (alert, state, subject) = (event.alert.name(), event.state, event.subject.as_deref().unwrap_or_default());
        match state {
            AlertState::Firing => tracing::warn!(alert, %state, subject, "alert: {}", event.message),
            AlertState::Resolved => tracing::info!(alert, %state, subject, "alert {}", event.message),
        }
        self.metrics.alert(event.alert, event.state);
        let event = Arc::new(event);
        self.webhooks.send(&event);
        self.hub.alert(event);
    }

    /// The rate, the thresholds, and on which side the rate is.
    #[must_use]
    pub fn tps(&self) -> TpsReport {
        let threshold = *self.tps.read();
        let state = self.state.lock();
        let firing = |kind| state.engine.active().iter().any(|a| a.kind == kind);
        let side = if threshold.upper.is_none() && threshold.lower.is_none() {
            "off"
        } else if firing(AlertKind::TpsAbove) {
            "above"
        } else if firing(AlertKind::TpsBelow) {
            "below"
        } else {
            "normal"
        };
        let window_ms = threshold.window_seconds * 1000;
        TpsReport {
            current: (state.window.rate_so_far(window_ms) * 1000.0).round() / 1000.0,
            window_seconds: threshold.window_seconds,
            measured: state.window.rate(window_ms).is_some(),
            total: state.total,
            threshold,
            state: side,
            source: if self.settings.lock().current().tps.is_some() { "runtime" } else { "configuration" },
        }
    }

    /// The thresholds that hold until others are set, and those of the configuration.
    #[must_use]
    pub fn tps_threshold(&self) -> (TpsThreshold, TpsThreshold) {
        (*self.tps.read(), self.configured)
    }

    /// Sets the thresholds; they are kept over restarts. Blocks on the disk.
    pub fn set_tps_threshold(&self, threshold: TpsThreshold) -> Result<(), SettingsError> {
        let threshold = threshold.checked()?;
        self.settings.lock().change(|s| s.tps = Some(threshold))?;
        *self.tps.write() = threshold;
        self.metrics.tps_threshold(&threshold);
        tracing::info!(?threshold, "TPS threshold set");
        Ok(())
    }

    /// What is firing, and what began and ended lately.
    #[must_use]
    pub fn alerts(&self) -> Alerts {
        let (mono, wall) = (clock::mono_ms(), clock::wall_ms());
        let state = self.state.lock();
        let show = |a: Active| ActiveAlert {
            alert: a.kind,
            subject: (!a.subject.is_empty()).then_some(a.subject),
            severity: a.severity,
            value: a.value,
            threshold: a.threshold,
            since: wall.saturating_sub(mono.saturating_sub(a.since_ms)),
        };
        Alerts {
            active: state.engine.active().into_iter().map(show).collect(),
            recent: state.recent.iter().rev().cloned().collect(),
        }
    }

    /// Adds a webhook; it is kept over restarts. Without a secret one is made. Blocks on the disk.
    pub fn add_webhook(&self, url: &str, secret: Option<String>) -> Result<AddedWebhook, WebhookError> {
        let url = self.webhooks.check(url)?.to_string();
        let random = |n: usize| {
            let bytes = keys::random::<32>().map_err(|e| WebhookError::Random(e.to_string()))?;
            Ok::<_, WebhookError>(hex::encode(&bytes[..n]))
        };
        let made = if secret.is_none() { Some(random(32)?) } else { None };
        let secret =
            secret.or_else(|| made.clone()).filter(|s| SECRET.contains(&s.len())).ok_or(WebhookError::Secret)?;
        let hook = StoredWebhook { id: random(8)?, url, secret, added_at: clock::wall_ms() };
        let mut settings = self.settings.lock();
        if settings.current().webhooks.len() >= MAX_WEBHOOKS {
            return Err(WebhookError::Full);
        }
        settings.change(|s| s.webhooks.push(hook.clone()))?;
        tracing::info!(webhook = hook.id, url = hook.url, "webhook added");
        let added = AddedWebhook { id: hook.id.clone(), url: hook.url.clone(), secret: made };
        self.webhooks.start(hook);
        Ok(added)
    }

    /// The webhooks, without their secrets.
    #[must_use]
    pub fn webhooks(&self) -> Vec<WebhookInfo> {
        self.webhooks.list()
    }

    /// Removes a webhook with all that waits for it. Blocks on the disk.
    pub fn remove_webhook(&self, id: &str) -> Result<(), WebhookError> {
        let mut settings = self.settings.lock();
        if !settings.current().webhooks.iter().any(|h| h.id == id) {
            return Err(WebhookError::Unknown(id.chars().take(64).filter(|c| !c.is_control()).collect()));
        }
        settings.change(|s| s.webhooks.retain(|h| h.id != id))?;
        self.webhooks.stop(id);
        tracing::info!(webhook = id, "webhook removed");
        Ok(())
    }
}
