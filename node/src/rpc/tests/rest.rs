//! REST over a real socket: every resource answers, what is not there says so, and what is closed stays closed.

use std::net::SocketAddr;

use serde_json::Value;

use super::Fake;
use crate::{
    monitor::{View, nodes::NodeView},
    rpc::{RpcConfig, RpcServer, rest::RESOURCES},
};

/// A server whose monitor has seen one node, and its address.
async fn start(config: RpcConfig) -> SocketAddr {
    let app = Fake::new().app(config);
    let node = NodeView {
        id: Some("12D3KooWexample".into()),
        name: "n".into(),
        organisation: String::new(),
        role: "follower",
        validator: None,
        address: String::new(),
        version: "basalt/v0/test".into(),
        height: Some(2),
        on: true,
        last_seen_ms: Some(0),
        connected: false,
        is_self: true,
    };
    let unheard = NodeView { id: None, name: "v".into(), is_self: false, ..node.clone() };
    app.monitor.show(View { nodes: vec![node, unheard], ..View::default() });
    let server = RpcServer::bind(SocketAddr::from(([127, 0, 0, 1], 0)), app).await.expect("a free port");
    let address = server.local_addr().expect("bound");
    tokio::spawn(server.run(std::future::pending()));
    address
}

async fn get(address: SocketAddr, path: &str) -> (u16, Value) {
    let answer = crate::tls::client::get(format!("http://{address}/api/v1{path}")).await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

#[tokio::test]
async fn every_resource_answers_and_what_is_missing_says_so() {
    let address = start(RpcConfig::default()).await;
    for index in ["", "/"] {
        let (status, index) = get(address, index).await;
        assert_eq!((status, index["resources"].as_array().map(Vec::len)), (200, Some(RESOURCES.len())), "{index}");
    }
    for resource in &RESOURCES {
        assert_eq!(get(address, resource.path).await.0, 200, "{}", resource.path);
    }
    assert_eq!(get(address, "/status").await.1["node"]["name"], "n");
    assert_eq!(get(address, "/nodes/12D3KooWexample").await.1["height"], 2);
    for missing in ["/nodes/null", "/nodes/%00", "/nothing", "/nodes/a/b"] {
        let (status, answer) = get(address, missing).await;
        assert!(
            status == 404 && answer["error"].as_str().is_some_and(|e| e.contains("/api/v1/")),
            "{missing}: {answer}"
        );
    }
    let url = format!("http://{address}/api/v1/status");
    let written =
        crate::tls::client::http().build().expect("a client").post(url).body("x").send().await.expect("an answer");
    assert_eq!(written.status(), 405, "read-only");
}

#[tokio::test]
async fn a_node_that_does_not_serve_the_namespace_serves_no_resources() {
    let address = start(RpcConfig { namespaces: vec!["eth".into()], ..RpcConfig::default() }).await;
    for path in ["", "/", "/status", "/nodes"] {
        let (status, answer) = get(address, path).await;
        assert!(
            status == 404 && answer["error"].as_str().is_some_and(|e| e.contains("`monitor` is not served")),
            "{path}"
        );
    }
}
