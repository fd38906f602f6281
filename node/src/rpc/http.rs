//! The HTTP port: JSON-RPC by POST, WebSocket by GET with an upgrade, both at `/`; health.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::{
        Request, State,
        ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection},
    },
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::{App, RpcConfig, dispatch, dispatch::Caller, health, rest, session};
use crate::{
    monitor::traces::{Arrival, SpanContext},
    tls::{TlsServer, listener::Bounded},
};

/// A request's body must arrive within this.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Why the server could not start or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Someone else has the port.
    #[error("RPC address {0} is in use; stop the other process or choose another address (config `rpc.listen`)")]
    InUse(SocketAddr),
    /// It cannot be listened on for another reason.
    #[error("cannot listen on RPC address {0}: {1}")]
    Bind(SocketAddr, #[source] std::io::Error),
    /// It stopped.
    #[error("the RPC server stopped: {0}")]
    Stopped(#[source] std::io::Error),
}

/// The RPC server, listening.
pub struct RpcServer {
    tcp: TcpListener,
    tls: Option<Arc<TlsServer>>,
    app: Arc<App>,
}

impl RpcServer {
    /// Takes the port.
    pub async fn bind(address: SocketAddr, app: Arc<App>) -> Result<Self, ServeError> {
        let tcp = TcpListener::bind(address).await.map_err(|e| match e.kind() {
            std::io::ErrorKind::AddrInUse => ServeError::InUse(address),
            _ => ServeError::Bind(address, e),
        })?;
        Ok(Self { tcp, tls: None, app })
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
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), ServeError> {
        let listener = Bounded::new(self.tcp, self.app.config.max_connections, self.tls, &self.app.metrics);
        let router = router(self.app);
        axum::serve(listener, router).with_graceful_shutdown(shutdown).await.map_err(ServeError::Stopped)
    }
}

/// All routes, with their guards.
pub fn router(app: Arc<App>) -> Router {
    let cors = cors(&app.config);
    Router::new()
        .route("/", post(rpc).get(websocket))
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .merge(rest::router(&app.config))
        .layer(cors)
        .layer(middleware::from_fn_with_state(app.clone(), guard))
        .with_state(app)
}

/// Health alone, for the metrics port.
pub fn health_router(app: Arc<App>) -> Router {
    Router::new().route("/health/live", get(live)).route("/health/ready", get(ready)).with_state(app)
}

async fn rpc(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Response {
    let arrival = app.config.traced.then(|| Arrival::now(parent_of(&headers)));
    let limit = app.config.max_request_bytes;
    let body = match tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, limit)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => {
            let error = dispatch::error_response(&Value::Null, &dispatch::too_large(limit));
            return json_response(StatusCode::PAYLOAD_TOO_LARGE, error);
        }
        Err(_) => return (StatusCode::REQUEST_TIMEOUT, "the request's body did not arrive in time").into_response(),
    };
    match dispatch::handle(&app, &Caller { session: None, arrival }, &body).await {
        Some(answer) => json_response(StatusCode::OK, answer),
        None => StatusCode::NO_CONTENT.into_response(),
    }
}

/// The trace that a request belongs to.
fn parent_of(headers: &HeaderMap) -> Option<SpanContext> {
    SpanContext::parse(headers.get("traceparent")?.to_str().ok()?)
}

fn json_response(status: StatusCode, body: Vec<u8>) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn websocket(
    State(app): State<Arc<App>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let Ok(upgrade) = upgrade else {
        let text = "This is a Basalt node. POST JSON-RPC requests here, or open a WebSocket.\n";
        return (StatusCode::OK, text).into_response();
    };
    let Ok(permit) = app.websockets.clone().try_acquire_owned() else {
        let text =
            format!("the limit of {} WebSocket connections is reached; try again later\n", app.config.max_websockets);
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    };
    let limit = app.config.max_request_bytes;
    let upgrade = upgrade.max_message_size(limit).max_frame_size(limit);
    upgrade.on_upgrade(move |socket| session::serve(app, socket, permit))
}

async fn live() -> Response {
    Json(json!({ "status": "live" })).into_response()
}

async fn ready(State(app): State<Arc<App>>) -> Response {
    let readiness = health::readiness(&app);
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

fn cors(config: &RpcConfig) -> CorsLayer {
    let layer = CorsLayer::new().allow_methods([Method::GET, Method::POST]).allow_headers([header::CONTENT_TYPE]);
    if config.cors_origins.iter().any(|o| o == "*") {
        return layer.allow_origin(tower_http::cors::Any);
    }
    let origins = config.cors_origins.iter().filter_map(|o| HeaderValue::from_str(o).ok());
    layer.allow_origin(AllowOrigin::list(origins))
}

/// Refuses names that are not ours and web pages that were not allowed: browsers do not apply CORS to WebSockets, nor to
/// requests they take for simple.
async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let host = host_of(&request).map(str::to_owned);
    if let Some(host) = &host
        && !host_allowed(host, &app.config.allowed_hosts)
    {
        let text = format!("host {host:?} is not served; add it to `rpc.hosts` in the node's configuration\n");
        return (StatusCode::FORBIDDEN, text).into_response();
    }
    if let Some(origin) = origin_of(request.headers())
        && !origin_allowed(origin, host.as_deref(), &app.config.cors_origins)
    {
        let text = format!("origin {origin:?} is not allowed; add it to `rpc.cors` in the node's configuration\n");
        return (StatusCode::FORBIDDEN, text).into_response();
    }
    next.run(request).await
}

fn host_of(request: &Request) -> Option<&str> {
    let header = request.headers().get(header::HOST).and_then(|h| h.to_str().ok());
    header.or_else(|| request.uri().authority().map(axum::http::uri::Authority::as_str))
}

fn origin_of(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::ORIGIN).map(|o| o.to_str().unwrap_or("?"))
}

/// IP addresses and `localhost` cannot be bound to a stranger's name; other names must be listed.
fn host_allowed(host: &str, allowed: &[String]) -> bool {
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or(v6),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || allowed.iter().any(|a| a == "*" || a.eq_ignore_ascii_case(name))
}

/// A page that this node served itself, or one that was listed.
fn origin_allowed(origin: &str, host: Option<&str>, allowed: &[String]) -> bool {
    let own = origin.split_once("://").is_some_and(|(_, authority)| Some(authority) == host);
    own || allowed.iter().any(|a| a == "*" || a.eq_ignore_ascii_case(origin))
}
