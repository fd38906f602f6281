//! REST at `/api/v1`: the node's reports as resources, for tools that do not speak JSON-RPC. Read-only.

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::get,
};
use serde_json::{Value, json};

use super::{App, RpcConfig, reports};
use crate::auth::{
    Principal,
    http::{admit, refusal},
};

const PREFIX: &str = "/api/v1";
const INDEX: &str = "/api/v1/";

/// A resource: its path below `/api/v1`, what it is, and where it comes from. One table for the router, the index and, when
/// there is one, the OpenAPI document.
pub struct Resource {
    /// Path below `/api/v1`.
    pub path: &'static str,
    /// The method that gives the same, and says who may have it.
    pub method: &'static str,
    /// What it is, in one sentence.
    pub about: &'static str,
    report: fn(&App) -> Value,
}

/// All resources.
pub static RESOURCES: [Resource; 5] = [
    Resource {
        path: "/status",
        method: "monitor_status",
        about: "Platform, consensus, newest block, rates and alerts of this node",
        report: reports::status,
    },
    Resource {
        path: "/nodes",
        method: "monitor_nodes",
        about: "All nodes known in the network; /nodes/ID for one",
        report: reports::nodes,
    },
    Resource {
        path: "/resources",
        method: "monitor_resources",
        about: "What this node uses of processor, memory, disk and network",
        report: reports::resources,
    },
    Resource {
        path: "/tps",
        method: "monitor_tps",
        about: "Transactions per second, and the threshold",
        report: |app| json!(app.monitor.tps()),
    },
    Resource {
        path: "/alerts",
        method: "monitor_alerts",
        about: "What fires, and what began and ended lately",
        report: |app| json!(app.monitor.alerts()),
    },
];

/// The routes; none where the namespace `monitor`, which gives the same by RPC, is not served.
pub fn router(config: &RpcConfig) -> Router<Arc<App>> {
    if !config.namespaces.is_empty() && !config.namespaces.iter().any(|n| n == "monitor") {
        return Router::new().nest(PREFIX, Router::new().fallback(closed)).route(INDEX, get(closed));
    }
    let mut router = Router::new().route("/", get(index)).route("/nodes/{id}", get(node));
    for resource in &RESOURCES {
        let answer = move |State(app): State<Arc<App>>, Extension(principal): Extension<Principal>| async move {
            match admit(app.auth.as_ref(), &principal, resource.method) {
                Ok(()) => Json((resource.report)(&app)).into_response(),
                Err(denied) => refusal(&denied),
            }
        };
        router = router.route(resource.path, get(answer));
    }
    // A nested router does not take its own prefix with a slash behind it.
    Router::new().nest(PREFIX, router.fallback(missing)).route(INDEX, get(index))
}

async fn index() -> Json<Value> {
    let about = |r: &Resource| json!({ "path": format!("{PREFIX}{}", r.path), "about": r.about });
    Json(json!({ "resources": RESOURCES.iter().map(about).collect::<Vec<_>>() }))
}

async fn node(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Response {
    if let Err(denied) = admit(app.auth.as_ref(), &principal, "monitor_nodes") {
        return refusal(&denied);
    }
    match app.monitor.view().nodes.iter().find(|n| n.id.as_ref() == Some(&id)) {
        Some(node) => Json(json!(node)).into_response(),
        None => error(StatusCode::NOT_FOUND, "no node of this id is known; /api/v1/nodes lists those that are"),
    }
}

async fn closed() -> Response {
    error(StatusCode::NOT_FOUND, "the namespace `monitor` is not served here, so its resources are not either")
}

async fn missing() -> Response {
    error(StatusCode::NOT_FOUND, "there is no such resource; /api/v1/ lists those there are")
}

fn error(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "error": message }))).into_response()
}
