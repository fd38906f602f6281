//! The RPC: JSON-RPC 2.0 over HTTP and WebSocket, and health, on one port.
//!
//! In: bytes of strangers, and [`EventHub`], where the node announces executed blocks and new transactions. Out: answers,
//! notifications, and submitted transactions. The node is reached only through the small traits of [`ports`].
//!
//! A request flows: [`http`] (origin, host, who, size) → [`dispatch`] (bounds, parse, batch) → [`registry`] (method,
//! parameters) → `methods` → [`format`]. WebSocket connections ([`session`]) use the same dispatcher and add
//! subscriptions.

mod audited;
pub mod bounds;
pub mod chain;
pub mod config;
pub mod dispatch;
pub mod error;
pub mod events;
pub mod filters;
pub mod format;
pub mod health;
pub mod http;
pub mod logs;
mod methods;
pub mod openrpc;
pub mod overrides;
pub mod params;
pub mod ports;
pub mod registry;
pub mod reports;
pub mod rest;
pub mod session;
#[cfg(test)]
mod tests;
pub mod types;

use std::sync::{Arc, OnceLock};

use basalt_primitives::ChainSpec;
use tokio::sync::Semaphore;

pub use audited::Audit;
pub use config::RpcConfig;
pub use error::RpcError;
pub use events::{BlockEvent, EventHub};
pub use health::Readiness;
pub use http::{RpcServer, ServeError};
pub use ports::Ports;

use crate::{
    auth::Auth,
    dev::Rewound,
    monitor::{Metrics, Monitor},
};

/// Everything a request is answered from.
pub struct App {
    /// The node.
    pub ports: Ports,
    /// Rules of the chain.
    pub spec: Arc<ChainSpec>,
    /// Limits.
    pub config: RpcConfig,
    /// Name and version of this software, such as `basalt/v0.1.0/linux-x86_64`.
    pub client_version: String,
    /// Where executed blocks and new transactions are announced.
    pub events: EventHub,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Alerts, and what they are measured by.
    pub monitor: Arc<Monitor>,
    /// Who may call what; `None`: whoever reaches the port may call what it serves.
    pub auth: Option<Arc<Auth>>,
    /// Where acts and sensitive reads are written down; `None`: nowhere.
    pub audit: Option<Arc<Audit>>,
    pub(crate) chain: chain::Chain,
    pub(crate) filters: filters::Filters,
    pub(crate) registry: registry::Registry,
    /// Made when it is first asked for.
    openrpc: OnceLock<openrpc::Document>,
    pub(crate) blocking: Arc<Semaphore>,
    pub(crate) tracing: Arc<Semaphore>,
    pub(crate) websockets: Arc<Semaphore>,
}

/// All namespaces but one, as [`RpcConfig::namespaces`] has them.
#[must_use]
pub fn namespaces_without(one: &str, devnet: bool) -> Vec<String> {
    let all = methods::registry(&RpcConfig::default(), devnet);
    all.namespaces().into_iter().filter(|n| *n != one).map(str::to_owned).collect()
}

/// Names of all methods, those of development networks as well.
#[cfg(test)]
pub(crate) fn all_methods(config: &RpcConfig) -> Vec<&'static str> {
    methods::registry(config, true).iter().map(|(name, _)| name).collect()
}

impl App {
    /// Puts the parts together.
    #[must_use]
    #[allow(clippy::too_many_arguments, reason = "called once, from where the parts of a node are put together")]
    pub fn new(
        ports: Ports,
        spec: Arc<ChainSpec>,
        config: RpcConfig,
        client_version: String,
        events: EventHub,
        metrics: Arc<Metrics>,
        monitor: Arc<Monitor>,
        auth: Option<Arc<Auth>>,
        audit: Option<Arc<Audit>>,
    ) -> Arc<Self> {
        let app = Arc::new(Self {
            chain: chain::Chain::new(ports.chain.clone()),
            filters: filters::Filters::new(config.max_filters, config.filter_lifetime_ms),
            openrpc: OnceLock::new(),
            registry: methods::registry(&config, ports.dev.is_some()),
            blocking: Arc::new(Semaphore::new(config.max_blocking.max(1))),
            tracing: Arc::new(Semaphore::new(config.max_traces.max(1))),
            websockets: Arc::new(Semaphore::new(config.max_websockets)),
            ports,
            spec,
            config,
            client_version,
            events,
            metrics,
            monitor,
            auth,
            audit,
        });
        app.hear_rewinds();
        app
    }

    /// What is kept here of blocks follows when a development network takes some back.
    fn hear_rewinds(self: &Arc<Self>) {
        let Some(devnet) = &self.ports.dev else { return };
        let me = Arc::downgrade(self);
        devnet.on_rewind(Box::new(move |rewound| {
            if let Some(app) = me.upgrade() {
                app.rewound(rewound);
            }
        }));
    }

    /// Takes in that blocks were taken back.
    pub(crate) fn rewound(&self, rewound: &Rewound) {
        self.chain.rewound();
        self.filters.rewound(rewound, self.config.max_logs);
    }

    /// The OpenRPC document of what is served here.
    pub(crate) fn openrpc(&self) -> openrpc::Document {
        self.openrpc.get_or_init(|| openrpc::Document::new(&self.registry, env!("CARGO_PKG_VERSION"))).clone()
    }
}
