//! The HTTP port over real sockets: WebSocket subscriptions, health, guards.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

use super::{
    Fake,
    backend::{TOPIC, native, one_of_each},
};
use crate::rpc::{RpcConfig, RpcServer, ServeError};

async fn start(fake: &Arc<Fake>, config: RpcConfig) -> SocketAddr {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = RpcServer::bind(any, fake.app(config)).await.expect("a free port");
    let address = server.local_addr().expect("bound");
    tokio::spawn(server.run(std::future::pending()));
    address
}

struct Client(WebSocketStream<TcpStream>);

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        let tcp = TcpStream::connect(address).await.expect("listening");
        let (ws, _) = client_async(format!("ws://{address}/"), tcp).await.expect("an upgrade");
        Self(ws)
    }

    async fn send(&mut self, method: &str, params: Value) {
        let body = json!({ "jsonrpc": "2.0", "id": method, "method": method, "params": params });
        self.0.send(Message::text(body.to_string())).await.expect("sent");
    }

    /// The next message; a close frame as its reason.
    async fn next(&mut self) -> Value {
        loop {
            let message = tokio::time::timeout(Duration::from_secs(20), self.0.next()).await.expect("in time");
            match message.expect("open").expect("a message") {
                Message::Text(text) => return serde_json::from_str(&text).expect("JSON"),
                Message::Close(Some(frame)) => return json!({ "closed": frame.reason.as_str() }),
                _ => {}
            }
        }
    }

    async fn call(&mut self, method: &str, params: Value) -> Value {
        self.send(method, params).await;
        let answer = self.next().await;
        assert_eq!(answer["id"], method, "{answer}");
        answer
    }

    async fn subscribe(&mut self, params: Value) -> Value {
        let id = self.call("eth_subscribe", params).await["result"].clone();
        assert!(id.is_string());
        id
    }

    /// The next message, which must be a notification; its subscription and what it says.
    async fn notified(&mut self) -> (Value, Value) {
        let message = self.next().await;
        assert_eq!(message["method"], "eth_subscription", "{message}");
        (message["params"]["subscription"].clone(), message["params"]["result"].clone())
    }
}

#[tokio::test]
async fn subscriptions_tell_of_heads_logs_and_pending_transactions() {
    let fake = Fake::new();
    let address = start(&fake, RpcConfig::default()).await;
    let mut client = Client::connect(address).await;
    assert_eq!(client.call("eth_chainId", json!([])).await["result"], "0x7a69");
    let heads = client.subscribe(json!(["newHeads"])).await;
    let view = fake.add_block(Vec::new());
    let (id, head) = client.notified().await;
    assert_eq!((&id, &head["hash"], &head["number"]), (&heads, &json!(view.hash), &json!("0x3")));
    assert!(head.get("transactions").is_none() && head["stateRoot"] == json!(view.state_root));
    assert_eq!(client.call("eth_unsubscribe", json!([heads])).await["result"], true);
    assert_eq!(client.call("eth_unsubscribe", json!([heads])).await["result"], false);
    let logs = client.subscribe(json!(["logs", { "topics": [TOPIC] }])).await;
    let other = client.subscribe(json!(["logs", { "address": crate::mempool::test_util::address(3) }])).await;
    assert_ne!(logs, other);
    fake.add_block(one_of_each().into_iter().take(3).collect());
    for index in ["0x0", "0x1", "0x2"] {
        let (id, log) = client.notified().await;
        assert_eq!((&id, &log["logIndex"], &log["blockNumber"]), (&logs, &json!(index), &json!("0x4")));
    }
    let hashes = client.subscribe(json!(["newPendingTransactions"])).await;
    fake.admit(vec![native(4, 0), native(4, 1)]);
    for nonce in 0..2 {
        assert_eq!(client.notified().await, (hashes.clone(), json!(native(4, nonce).hash())));
    }
    client.call("eth_unsubscribe", json!([hashes])).await;
    client.subscribe(json!(["newPendingTransactions", true])).await;
    fake.admit(vec![native(6, 0)]);
    assert_eq!(client.notified().await.1["type"], "0x42");
}

#[tokio::test]
async fn the_beginning_and_the_end_of_synchronisation_are_announced() {
    let fake = Fake::new();
    let address = start(&fake, RpcConfig::default()).await;
    let mut client = Client::connect(address).await;
    let id = client.subscribe(json!(["syncing"])).await;
    fake.highest.store(9, std::sync::atomic::Ordering::Relaxed);
    let status = json!({ "startingBlock": "0x0", "currentBlock": "0x2", "highestBlock": "0x9" });
    assert_eq!(client.notified().await, (id.clone(), json!({ "syncing": true, "status": status })));
    fake.highest.store(0, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(client.notified().await, (id, json!(false)));
}

#[tokio::test]
async fn subscriptions_are_checked_and_bounded() {
    let fake = Fake::new();
    let address = start(&fake, RpcConfig { max_subscriptions: 1, ..RpcConfig::default() }).await;
    let mut client = Client::connect(address).await;
    let error = client.call("eth_subscribe", json!(["nothing"])).await["error"].clone();
    assert_eq!(error["code"], -32601);
    assert!(error["message"].as_str().is_some_and(|m| m.contains("newHeads")));
    assert_eq!(client.call("eth_subscribe", json!(["logs", { "topics": 5 }])).await["error"]["code"], -32602);
    client.subscribe(json!(["newHeads"])).await;
    assert_eq!(client.call("eth_subscribe", json!(["newHeads"])).await["error"]["code"], -32005);
    client.0.send(Message::text("garbage")).await.expect("sent");
    assert_eq!(client.next().await["error"]["code"], -32700);
}

#[tokio::test]
async fn who_does_not_read_is_closed_with_the_reason() {
    let fake = Fake::new();
    let address = start(&fake, RpcConfig::default()).await;
    let mut client = Client::connect(address).await;
    client.subscribe(json!(["newPendingTransactions", true])).await;
    // The hub of the fake keeps 16 events. On one thread, the connection cannot read any before all are sent.
    for nonce in 0..40 {
        fake.admit(vec![native(7, nonce)]);
    }
    let closed = client.next().await;
    let reason = closed["closed"].as_str().unwrap_or_else(|| panic!("{closed} is no close"));
    assert!(reason.starts_with("too slow: "), "{reason}");
}

#[tokio::test]
async fn connections_beyond_the_limit_are_refused_with_it() {
    let fake = Fake::new();
    let address = start(&fake, RpcConfig { max_websockets: 1, ..RpcConfig::default() }).await;
    let _first = Client::connect(address).await;
    let tcp = TcpStream::connect(address).await.expect("listening");
    let error = client_async(format!("ws://{address}/"), tcp).await.expect_err("one too many").to_string();
    assert!(error.contains("503"), "{error}");
}

async fn http(request: reqwest::RequestBuilder) -> (u16, String) {
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("a body"))
}

#[tokio::test]
async fn http_answers_and_guards() {
    let fake = Fake::new();
    let config = RpcConfig {
        max_request_bytes: 1_000,
        allowed_hosts: vec!["node.example".into()],
        cors_origins: vec!["https://app.example".into()],
        ..RpcConfig::default()
    };
    let address = start(&fake, config).await;
    let client = crate::tls::client::http().build().expect("a client");
    let url = format!("http://{address}/");
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}"#;
    let post = || client.post(&url).body(body);
    let (status, text) = http(post()).await;
    assert_eq!((status, text.as_str()), (200, r#"{"jsonrpc":"2.0","id":1,"result":"0x7a69"}"#));
    let (status, text) = http(client.post(&url).body(vec![b' '; 1_001])).await;
    assert!(status == 413 && text.contains("limit of 1000 bytes"), "{text}");
    assert_eq!(http(client.post(&url).body(r#"{"jsonrpc":"2.0","method":"eth_chainId"}"#)).await.0, 204);
    assert_eq!(http(post().header("host", "node.example:1")).await.0, 200);
    let (status, text) = http(post().header("host", "evil.example")).await;
    assert!(status == 403 && text.contains("`rpc.hosts`"), "{text}");
    assert_eq!(http(post().header("origin", "https://app.example")).await.0, 200);
    assert_eq!(http(post().header("origin", format!("http://{address}"))).await.0, 200, "its own pages");
    for origin in ["https://evil.example", "null"] {
        let (status, text) = http(post().header("origin", origin)).await;
        assert!(status == 403 && text.contains("`rpc.cors`"), "{text}");
    }
    let preflight = client
        .request(reqwest::Method::OPTIONS, &url)
        .header("origin", "https://app.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type")
        .send()
        .await
        .expect("an answer");
    assert_eq!(preflight.headers()["access-control-allow-origin"], "https://app.example");
    assert_eq!(http(client.get(&url)).await.0, 200);
    assert_eq!(http(client.get(format!("{url}nothing"))).await.0, 404);
}

#[tokio::test]
async fn health_says_why_not() {
    let fake = Fake::new();
    let address = start(&fake, RpcConfig::default()).await;
    let client = crate::tls::client::http().build().expect("a client");
    let health = async |what: &str| http(client.get(format!("http://{address}/health/{what}"))).await;
    assert_eq!(health("live").await, (200, r#"{"status":"live"}"#.into()));
    let (status, text) = health("ready").await;
    let ready: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((status, &ready), (200, &json!({ "ready": true, "reasons": [], "height": 2, "peers": 0 })));
    fake.highest.store(100, std::sync::atomic::Ordering::Relaxed);
    let (status, text) = health("ready").await;
    assert!(status == 503 && text.contains("98 blocks behind"), "{text}");
}

#[tokio::test]
async fn a_port_in_use_is_said_in_words() {
    let fake = Fake::new();
    let address = start(&fake, RpcConfig::default()).await;
    let error = RpcServer::bind(address, fake.app(RpcConfig::default())).await.err().expect("in use");
    assert!(matches!(error, ServeError::InUse(_)));
    assert!(error.to_string().contains("rpc.listen"), "{error}");
}

#[tokio::test]
async fn alerts_are_told_to_those_who_subscribed() {
    use crate::monitor::alert::Observation;
    let fake = Fake::new();
    let app = fake.app(RpcConfig { admin: true, ..RpcConfig::default() });
    let server = RpcServer::bind(SocketAddr::from(([127, 0, 0, 1], 0)), app.clone()).await.expect("a free port");
    let address = server.local_addr().expect("bound");
    tokio::spawn(server.run(std::future::pending()));
    let mut client = Client::connect(address).await;
    let id = client.call("monitor_subscribe", json!(["alerts"])).await["result"].clone();
    let error = client.call("monitor_subscribe", json!(["everything"])).await["error"]["message"].clone();
    assert!(error.as_str().is_some_and(|e| e.contains("there is alerts")), "{error}");
    client.call("monitor_setTpsThreshold", json!([10, null, 1])).await;
    for second in 0..3 {
        app.monitor.observe(&Observation {
            mono_ms: second * 1000,
            transactions: second * 50,
            peers: 1,
            ..Default::default()
        });
    }
    let message = client.next().await;
    assert_eq!((&message["method"], &message["params"]["subscription"]), (&json!("monitor_subscription"), &id));
    let event = &message["params"]["result"];
    assert_eq!(
        (&event["alert"], &event["state"], &event["value"]),
        (&json!("tps_above"), &json!("firing"), &json!(50.0))
    );
    assert_eq!(client.call("monitor_unsubscribe", json!([id])).await["result"], true);
}
