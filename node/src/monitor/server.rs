//! The metrics port: `/metrics` for Prometheus, and health, which is also on the RPC port.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
    routing::get,
};
use parking_lot::Mutex;
use tokio::net::TcpListener;

use super::Metrics;
use crate::{
    rpc::{App, http::health_router},
    tls::{TlsServer, listener::Bounded},
};

/// A scrape within this of the last one gets the same text, so that a scraper gone wild costs nothing.
const CACHE_FOR: Duration = Duration::from_millis(250);

/// Connections at once: scrapers and health checks are few. Further ones wait.
const MAX_CONNECTIONS: usize = 256;

/// Why the metrics server could not start or stopped.
#[derive(Debug, thiserror::Error)]
pub enum MetricsServeError {
    /// The port cannot be taken.
    #[error("cannot listen on metrics address {0}: {1}; choose another address (config `metrics.listen`)")]
    Bind(SocketAddr, #[source] std::io::Error),
    /// It stopped.
    #[error("the metrics server stopped: {0}")]
    Stopped(#[source] std::io::Error),
}

/// The metrics server, listening.
pub struct MetricsServer {
    tcp: TcpListener,
    tls: Option<Arc<TlsServer>>,
    metrics: Arc<Metrics>,
    router: Router,
}

struct Source {
    metrics: Arc<Metrics>,
    last: Mutex<Option<(Instant, Arc<str>)>>,
}

impl MetricsServer {
    /// Takes the port. Health is served too when `app` is given.
    pub async fn bind(
        address: SocketAddr,
        metrics: Arc<Metrics>,
        app: Option<Arc<App>>,
    ) -> Result<Self, MetricsServeError> {
        let tcp = TcpListener::bind(address).await.map_err(|e| MetricsServeError::Bind(address, e))?;
        let source = Arc::new(Source { metrics: Arc::clone(&metrics), last: Mutex::new(None) });
        let mut router = Router::new().route("/metrics", get(scrape)).with_state(source);
        if let Some(app) = app {
            router = router.merge(health_router(app));
        }
        Ok(Self { tcp, tls: None, metrics, router })
    }

    /// Speaks TLS, if so.
    #[must_use]
    pub fn with_tls(self, tls: Option<Arc<TlsServer>>) -> Self {
        Self { tls, ..self }
    }

    /// The address it listens on.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Serves until `shutdown` is done.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), MetricsServeError> {
        let listener = Bounded::new(self.tcp, MAX_CONNECTIONS, self.tls, &self.metrics);
        let server = axum::serve(listener, self.router).with_graceful_shutdown(shutdown);
        server.await.map_err(MetricsServeError::Stopped)
    }
}

async fn scrape(State(source): State<Arc<Source>>) -> Response {
    let text = source.text(Instant::now());
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text.to_string()).into_response()
}

impl Source {
    fn text(&self, now: Instant) -> Arc<str> {
        let mut last = self.last.lock();
        if let Some((at, text)) = &*last
            && now.saturating_duration_since(*at) < CACHE_FOR
        {
            return text.clone();
        }
        let text: Arc<str> = self.metrics.encode().into();
        *last = Some((now, text.clone()));
        text
    }
}
