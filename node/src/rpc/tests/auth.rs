//! The guarded interfaces: each method without, with the wrong and with the right role, generated from the OpenRPC document;
//! HTTP, REST, WebSocket and metrics over real sockets.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest as _};

use super::Fake;
use crate::{
    auth::{
        Auth, AuthConfig, Principal, Role,
        keys::CertificateEntry,
        roles,
        tests::{Fixture, showing},
    },
    monitor::MetricsServer,
    rpc::{
        App, RpcConfig, RpcServer, dispatch,
        error::{LIMIT, UNAUTHORIZED},
        openrpc::Document,
        rest::RESOURCES,
    },
    tls::{
        TlsFiles, TlsServer,
        tests::authority::{Authority, DAY},
    },
};

/// A guarded node in memory, and a key for each role.
struct Guarded {
    fixture: Fixture,
    keys: BTreeMap<Role, String>,
    auth: Arc<Auth>,
    app: Arc<App>,
    fake: Arc<Fake>,
}

impl Guarded {
    fn new(change: impl FnOnce(&mut Fixture) -> AuthConfig) -> Self {
        let (mut fixture, fake) = (Fixture::new(), Fake::new());
        let keys = Role::ALL.map(|role| (role, fixture.key(role.name(), &[role], |_| ())));
        let config = change(&mut fixture);
        let auth = fixture.open(config);
        let app = fake.guarded(RpcConfig { admin: true, ..RpcConfig::default() }, Some(auth.clone()));
        Self { fixture, keys: keys.into(), auth, app, fake }
    }

    fn plain() -> Self {
        Self::new(|f| f.config())
    }

    fn principal(&self, role: Role) -> Principal {
        self.auth.authenticate(&showing(&self.keys[&role])).expect("known")
    }

    /// The code of the error that a call without parameters answers with, if it does.
    async fn code(&self, principal: Principal, method: &str) -> Option<i64> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": [] }).to_string();
        let caller = dispatch::Caller { principal, ..Default::default() };
        let answer = dispatch::handle(&self.app, &caller, body.as_bytes()).await.expect("an answer");
        serde_json::from_slice::<Value>(&answer).expect("JSON")["error"]["code"].as_i64()
    }

    async fn rpc(&self) -> SocketAddr {
        let server = RpcServer::bind(SocketAddr::from(([127, 0, 0, 1], 0)), self.app.clone()).await.expect("a port");
        let address = server.local_addr().expect("bound");
        tokio::spawn(server.run(std::future::pending()));
        address
    }
}

/// Names of all methods of a development network, from the document.
fn documented() -> Vec<&'static str> {
    let registry = crate::rpc::methods::registry(&RpcConfig::default(), true);
    let document = serde_json::to_value(Document::new(&registry, "0")).expect("JSON");
    let described: Vec<_> =
        document["methods"].as_array().expect("methods").iter().map(|m| m["name"].as_str().expect("a name")).collect();
    let names: Vec<_> = registry.iter().map(|(name, _)| name).collect();
    assert_eq!(described, names, "the document describes every method");
    names
}

#[tokio::test]
async fn every_method_is_refused_without_and_with_the_wrong_role_and_answered_with_the_right_one() {
    let node = Guarded::plain();
    let (mut refused, mut answered) = (0, 0);
    for method in documented() {
        let served = node.app.registry.find(method).is_ok();
        if served {
            assert_eq!(node.code(Principal::default(), method).await, Some(UNAUTHORIZED), "{method} by nobody");
        }
        assert!(node.auth.authorise(&Principal::default(), method).is_err(), "{method} by nobody");
        for role in Role::ALL {
            let (who, right) = (node.principal(role), roles::needs(method).contains(&role));
            assert_eq!(node.auth.authorise(&who, method).is_ok(), right, "{method} by {role:?}");
            if served {
                let code = node.code(who, method).await;
                assert_eq!(code == Some(UNAUTHORIZED), !right, "{method} by {role:?}: {code:?}");
            }
            if right { answered += 1 } else { refused += 1 }
        }
    }
    assert!(refused > 100 && answered > 300, "{refused} {answered}");
}

#[tokio::test]
async fn a_refused_call_does_nothing_and_neither_does_one_in_a_batch() {
    let node = Guarded::plain();
    let raw = json!(["0x02aa"]);
    let call = |id: u64, method: &str| json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": raw });
    let batch = json!([call(1, "eth_sendRawTransaction"), call(2, "eth_chainId"), call(3, "eth_sendRawTransaction")]);
    let caller = dispatch::Caller { principal: node.principal(Role::Reader), ..Default::default() };
    let answer = dispatch::handle(&node.app, &caller, batch.to_string().as_bytes()).await.expect("an answer");
    let answers: Vec<Value> = serde_json::from_slice(&answer).expect("JSON");
    let codes: Vec<_> = answers.iter().map(|a| a["error"]["code"].as_i64()).collect();
    assert_eq!((codes[0], codes[2]), (Some(UNAUTHORIZED), Some(UNAUTHORIZED)));
    assert_ne!(codes[1], Some(UNAUTHORIZED));
    assert!(node.fake.submitted.lock().is_empty());
}

async fn get(url: &str, header: Option<(&str, &str)>) -> (u16, reqwest::header::HeaderMap, String) {
    let client = crate::tls::client::http().build().expect("a client");
    let request = header.into_iter().fold(client.get(url), |r, (name, value)| r.header(name, value));
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), answer.headers().clone(), answer.text().await.expect("text"))
}

#[tokio::test]
async fn http_rest_and_metrics_ask_who_calls_and_health_does_not() {
    let node = Guarded::plain();
    let (rpc, metrics) = (node.rpc().await, {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = MetricsServer::bind(any, node.app.metrics.clone(), Some(node.app.clone())).await.expect("a port");
        let address = server.local_addr().expect("bound");
        tokio::spawn(server.run(std::future::pending()));
        address
    });
    let paths = RESOURCES.iter().map(|r| format!("http://{rpc}/api/v1{}", r.path));
    let closed: Vec<_> = paths.chain([format!("http://{rpc}/"), format!("http://{metrics}/metrics")]).collect();
    let reader = node.keys[&Role::Reader].clone();
    let bearer = format!("Bearer {reader}");
    for url in closed.iter().take(4).chain(closed.iter().rev().take(2)) {
        let (status, headers, text) = get(url, None).await;
        assert_eq!((status, &headers["www-authenticate"]), (401, &"Bearer realm=\"basalt\"".parse().expect("a value")));
        assert!(text.contains("\"code\":-40100") && text.contains("basalt auth key create"), "{text}");
        for good in [("authorization", bearer.as_str()), ("x-api-key", &reader)] {
            assert_eq!(get(url, Some(good)).await.0, 200, "{url}");
        }
    }
    for health in [format!("http://{rpc}/health/live"), format!("http://{metrics}/health/live")] {
        assert_eq!(get(&health, None).await.0, 200);
        assert_eq!(get(&health, Some(("authorization", "Bearer nonsense"))).await.0, 200);
    }
    for bad in [format!("Basic {reader}"), "Bearer".into(), format!("Bearer {}x", reader), "Bearer a.b.c".into()] {
        let (status, _, text) = get(&closed[0], Some(("authorization", &bad))).await;
        let digits = reader.rsplit_once('_').expect("digits").1;
        assert!([401, 429].contains(&status) && !text.contains(digits), "{status} {text}");
    }
    // From now on this address has failed too often; what is right passes all the same.
    let (status, headers, text) = get(&closed[0], None).await;
    assert!(status == 429 && headers.contains_key("retry-after") && text.contains("retryAfterMs"), "{text}");
    assert_eq!(get(&closed[0], Some(("x-api-key", &reader))).await.0, 200);
    assert!(node.fixture.metrics.encode().contains("basalt_auth_failures_total{reason=\"missing\"}"));
}

#[tokio::test]
async fn two_credentials_are_one_too_many_and_a_preflight_needs_none() {
    let node = Guarded::plain();
    let url = format!("http://{}/", node.rpc().await);
    let client = crate::tls::client::http().build().expect("a client");
    let key = &node.keys[&Role::Reader];
    let both = client.get(&url).bearer_auth(key).header("x-api-key", key).send().await.expect("an answer");
    assert_eq!(both.status(), 401);
    let preflight = client
        .request(reqwest::Method::OPTIONS, &url)
        .header("origin", url.trim_end_matches('/'))
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization");
    let preflight = preflight.send().await.expect("an answer");
    assert_eq!(preflight.status(), 200);
    let allowed = preflight.headers()["access-control-allow-headers"].to_str().expect("text").to_owned();
    assert!(allowed.contains("authorization") && allowed.contains("x-api-key"), "{allowed}");
}

#[tokio::test]
async fn a_rate_holds_over_batches_and_rest() {
    let mut slow = String::new();
    let node = Guarded::new(|f| {
        slow = f.key("slow", &[Role::Reader], |k| (k.rate_per_second, k.burst) = (Some(1), Some(5)));
        f.config()
    });
    let address = node.rpc().await;
    let client = crate::tls::client::http().build().expect("a client");
    let call = |id: u64| json!({ "jsonrpc": "2.0", "id": id, "method": "eth_chainId", "params": [] });
    let batch: Vec<_> = (0..20).map(call).collect();
    let answer = client.post(format!("http://{address}/")).bearer_auth(&slow).json(&batch).send().await;
    let answers: Vec<Value> = answer.expect("an answer").json().await.expect("JSON");
    let limited: Vec<_> = answers.iter().filter(|a| a["error"]["code"] == LIMIT).collect();
    assert!(answers.len() == 20 && (14..=15).contains(&limited.len()), "{}", limited.len());
    let error = &limited[0]["error"];
    assert!(error["message"].as_str().is_some_and(|m| m.starts_with("limit exceeded")), "{error}");
    assert!(error["data"]["retryAfterMs"].as_u64().is_some_and(|ms| (1..=1_000).contains(&ms)), "{error}");
    let (status, headers, _) = get(&format!("http://{address}/api/v1/tps"), Some(("x-api-key", &slow))).await;
    assert_eq!((status, &headers["retry-after"]), (429, &"1".parse().expect("a value")));
}

#[tokio::test]
async fn a_websocket_has_the_principal_of_its_upgrade_until_the_key_is_revoked() {
    let mut node = Guarded::plain();
    let address = node.rpc().await;
    let connect = async |key: Option<&str>| {
        let mut request = format!("ws://{address}/").into_client_request().expect("a request");
        if let Some(key) = key {
            request.headers_mut().insert("authorization", format!("Bearer {key}").parse().expect("a value"));
        }
        let tcp = tokio::net::TcpStream::connect(address).await.expect("listening");
        tokio_tungstenite::client_async(request, tcp).await
    };
    assert!(connect(None).await.is_err(), "401");
    let (mut socket, _) = connect(Some(&node.keys[&Role::Submitter])).await.expect("an upgrade");
    let mut ask = async |method: &str, params: Value| -> Value {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        socket.send(Message::text(body.to_string())).await.expect("sent");
        let message = socket.next().await.expect("open").expect("a message");
        serde_json::from_str(message.to_text().expect("text")).expect("JSON")
    };
    assert_eq!(ask("eth_chainId", json!([])).await["result"], "0x7a69");
    assert!(ask("eth_subscribe", json!(["newHeads"])).await["result"].is_string());
    assert_eq!(ask("admin_addPeer", json!(["/ip4/1.2.3.4/tcp/1"])).await["error"]["code"], UNAUTHORIZED);
    node.fixture.file.keys.retain(|k| k.id != "submitter");
    node.fixture.write();
    node.auth.refresh();
    // The connection may be closed before this arrives, or after; until then nothing is answered but the refusal.
    let _ = socket.send(Message::text(r#"{"jsonrpc":"2.0","id":2,"method":"eth_chainId","params":[]}"#)).await;
    let end = tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            match socket.next().await.expect("a close with a reason before the end") {
                Ok(Message::Close(Some(frame))) => return frame.reason.to_string(),
                Ok(Message::Text(text)) if text.contains("\"id\":2") => {
                    let answer: Value = serde_json::from_str(&text).expect("JSON");
                    assert_eq!(answer["error"]["code"], UNAUTHORIZED);
                }
                _ => {}
            }
        }
    });
    assert!(end.await.expect("in time").contains("revoked"));
}

#[tokio::test]
async fn a_client_certificate_has_the_roles_of_its_subject() {
    let authority = Authority::new();
    let node = Guarded::new(|f| {
        f.file.certificates.push(CertificateEntry {
            // What the library calls those whom nobody named.
            name: "rcgen self signed cert".into(),
            roles: vec![Role::Reader],
            allow: Vec::new(),
            rate_per_second: None,
            burst: None,
        });
        f.write();
        f.config()
    });
    let path = |name: &str| node.fixture.path(name);
    let (server, client) = (authority.issue(DAY), authority.issue(DAY));
    for (name, pem) in [
        ("ca", &authority.pem()),
        ("crt", &server.certificate),
        ("key", &server.key),
        ("client.crt", &client.certificate),
        ("client.key", &client.key),
    ] {
        std::fs::write(path(name), pem).expect("written");
    }
    let files = TlsFiles { certificate: path("crt"), key: path("key"), client_ca: Some(path("ca")) };
    let tls = Arc::new(TlsServer::open("rpc", files).expect("good files"));
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = RpcServer::bind(any, node.app.clone()).await.expect("a port").with_tls(Some(tls));
    let url = format!("https://{}/", server.local_addr().expect("bound"));
    tokio::spawn(server.run(std::future::pending()));
    let (crt, key) = (path("client.crt"), path("client.key"));
    let config = crate::tls::client::config(Some(&path("ca")), Some((&crt, &key))).expect("good files");
    let http = reqwest::Client::builder().tls_backend_preconfigured(config).build().expect("a client");
    let ask = async |method: &str, secret: Option<&String>| -> Value {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": [] });
        let request = secret.into_iter().fold(http.post(&url).json(&body), reqwest::RequestBuilder::bearer_auth);
        request.send().await.expect("an answer").json().await.expect("JSON")
    };
    assert_eq!(ask("eth_chainId", None).await["result"], "0x7a69");
    let refused = ask("admin_addPeer", None).await;
    assert_eq!(refused["error"]["code"], UNAUTHORIZED);
    assert!(
        refused["error"]["message"].as_str().is_some_and(|m| m.contains("the certificate of \"rcgen")),
        "{refused}"
    );
    let administrator = ask("admin_addPeer", Some(&node.keys[&Role::Administrator])).await;
    assert_eq!(administrator["error"]["code"], crate::rpc::error::INVALID_PARAMS, "a key goes before the certificate");
}
