//! Monitoring of real processes: alerts arrive at a real HTTP endpoint, signed and once, and are over when they are over.

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use alloy_primitives::{Address, Bytes};
use axum::{Router, extract::State, http::HeaderMap, http::StatusCode, routing::post};
use basalt_node::monitor::webhook::{DELIVERY_HEADER, SIGNATURE_HEADER, signature};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::{
    net::{Net, eventually},
    wallet::Wallet,
};

const SECRET: &str = "a secret of the test";
const SOON: Duration = Duration::from_secs(30);

/// One request to the endpoint.
#[derive(Clone, Debug)]
struct Delivery {
    id: String,
    signed: bool,
    accepted: bool,
    event: Value,
    at: Instant,
}

type Deliveries = Arc<Mutex<Vec<Delivery>>>;

/// An HTTP endpoint on a thread of its own, that answers 503 to the first request.
struct Endpoint {
    address: SocketAddr,
    deliveries: Deliveries,
}

impl Endpoint {
    fn start() -> Self {
        let deliveries = Deliveries::default();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        listener.set_nonblocking(true).expect("nonblocking");
        let router = Router::new().route("/hook", post(take)).with_state(Arc::clone(&deliveries));
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("listens");
                axum::serve(listener, router).await
            })
        });
        Self { address, deliveries }
    }

    fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Deliveries that were accepted, of one alert.
    fn accepted(&self, alert: &str, state: &str) -> Vec<Delivery> {
        let of = |d: &&Delivery| d.accepted && d.event["alert"] == alert && d.event["state"] == state;
        self.deliveries.lock().iter().filter(of).cloned().collect()
    }

    fn wait(&self, alert: &str, state: &str) -> Delivery {
        let what = format!("{alert} {state} arrives (came: {:?})", self.deliveries.lock());
        eventually(&what, SOON, || self.accepted(alert, state).pop())
    }
}

async fn take(State(deliveries): State<Deliveries>, headers: HeaderMap, body: axum::body::Bytes) -> StatusCode {
    let mut all = deliveries.lock();
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let accepted = !all.is_empty();
    all.push(Delivery {
        id: text(DELIVERY_HEADER),
        signed: text(SIGNATURE_HEADER) == signature(SECRET, &body),
        accepted,
        event: serde_json::from_slice(&body).unwrap_or_default(),
        at: Instant::now(),
    });
    if accepted { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

/// Changes a setting in every node's file.
fn configure(net: &Net, from: &str, to: &str) {
    for node in 0..net.len() {
        let path = net.dir().join(format!("nodes/node{node}/node.toml"));
        let text = fs::read_to_string(&path).expect("readable");
        assert!(text.contains(from), "{text}");
        fs::write(&path, text.replace(from, to)).expect("writable");
    }
}

fn send(net: &Net, wallet: &mut Wallet, n: usize) {
    for _ in 0..n {
        let (raw, _) = wallet.sign(Some(Address::repeat_byte(0x55)), 1, Bytes::new());
        net.call(0, "eth_sendRawTransaction", json!([raw]));
    }
}

#[test]
fn a_load_over_the_threshold_and_its_end_are_told_once_and_signed() {
    let net = Net::create(4, 26_000, &[]);
    net.up();
    let endpoint = Endpoint::start();
    let window = Duration::from_secs(4);
    let hook = net.call(0, "monitor_addWebhook", json!({ "url": endpoint.url(), "secret": SECRET }));
    net.call(0, "monitor_setTpsThreshold", json!({ "upper": 5, "windowSeconds": window.as_secs() }));
    let mut wallet = Wallet::dev(6);

    // Below the threshold: nothing is told.
    let end = Instant::now() + 2 * window;
    while Instant::now() < end {
        send(&net, &mut wallet, 1);
        thread::sleep(Duration::from_millis(500));
    }
    let tps = net.call(0, "monitor_tps", json!([]));
    assert_eq!((&tps["state"], &tps["measured"]), (&json!("normal"), &json!(true)), "{tps}");
    assert!(tps["current"].as_f64().is_some_and(|r| (1.0..5.0).contains(&r)), "{tps}");
    assert!(endpoint.deliveries.lock().is_empty(), "{:?}", endpoint.deliveries.lock());

    // Above: told within two windows of the excess, though the endpoint refuses the first attempt.
    let begun = Instant::now();
    while endpoint.deliveries.lock().is_empty() {
        send(&net, &mut wallet, 10);
        thread::sleep(Duration::from_millis(200));
        assert!(begun.elapsed() < SOON, "no alert: {}", net.call(0, "monitor_tps", json!([])));
    }
    let first = endpoint.deliveries.lock()[0].clone();
    assert!(first.at - begun <= 2 * window, "{:?}", first.at - begun);
    assert_eq!(net.call(0, "monitor_tps", json!([]))["state"], "above");
    let fired = endpoint.wait("tps_above", "firing");
    assert_eq!(fired.id, first.id, "a repetition has the id of the first attempt");
    let event = &fired.event;
    assert_eq!((&event["threshold"], &event["node"], &event["id"]), (&json!(5.0), &json!("node0"), &json!(fired.id)));
    assert!(event["value"].as_f64().is_some_and(|v| v > 5.0), "{event}");

    // Over: told as well.
    let ended = endpoint.wait("tps_above", "resolved");
    assert_ne!(ended.id, fired.id);
    let all = endpoint.deliveries.lock().clone();
    assert!(all.iter().all(|d| d.signed), "every signature is valid: {all:?}");
    let ids: BTreeSet<_> = all.iter().filter(|d| d.accepted).map(|d| &d.id).collect();
    assert_eq!((all.len(), ids.len()), (3, 2), "refused, repeated, over: {all:?}");

    // Threshold and webhook survive a restart; the lower threshold works as well.
    net.call(0, "monitor_setTpsThreshold", json!({ "upper": null, "lower": 1, "windowSeconds": window.as_secs() }));
    net.kill(0);
    net.up();
    let tps = net.call(0, "monitor_tps", json!([]));
    assert_eq!(tps["threshold"], json!({ "upper": null, "lower": 1.0, "windowSeconds": 4 }));
    assert_eq!(net.call(0, "monitor_listWebhooks", json!([]))[0]["id"], hook["id"]);
    endpoint.wait("tps_below", "firing");
    let alerts = net.call(0, "monitor_alerts", json!([]));
    assert_eq!(alerts["active"][0]["alert"], "tps_below", "{alerts}");
    let (_, metrics) = net.get("http://127.0.0.1:26020/metrics").expect("metrics");
    assert!(metrics.contains("basalt_alerts_active{alert=\"tps_below\"} 1"), "{metrics}");
    assert!(metrics.contains("basalt_webhook_deliveries_total{result=\"delivered\"}"), "{metrics}");
}

#[test]
fn a_killed_node_and_a_stalled_quorum_are_told_by_the_others_and_over_when_they_are_back() {
    let net = Net::create(4, 26_100, &[]);
    configure(&net, "node_down_after_ms = 30000", "node_down_after_ms = 3000");
    configure(&net, "stall_after_ms = 30000", "stall_after_ms = 4000");
    net.up();
    let endpoint = Endpoint::start();
    net.call(0, "monitor_addWebhook", json!({ "url": endpoint.url(), "secret": SECRET }));
    let active = |node: usize, alert: &str| {
        let alerts = net.call(node, "monitor_alerts", json!([]));
        alerts["active"].as_array().expect("a list").iter().find(|a| a["alert"] == alert).cloned()
    };
    net.kill(3);
    let down = endpoint.wait("node_down", "firing");
    assert_eq!(down.event["subject"], "node3", "{down:?}");
    for node in 0..3 {
        let seen = eventually("every other node sees it", SOON, || active(node, "node_down"));
        assert_eq!(seen["subject"], "node3");
        assert!(active(node, "consensus_stalled").is_none(), "three of four go on");
    }

    // A second one: no quorum, and a transaction that waits.
    net.kill(2);
    send(&net, &mut Wallet::dev(7), 1);
    let stalled = endpoint.wait("consensus_stalled", "firing");
    assert_eq!(stalled.event["severity"], "critical");
    assert!(active(1, "consensus_stalled").is_some() || active(1, "node_down").is_some());

    net.up();
    endpoint.wait("consensus_stalled", "resolved");
    eventually("nothing fires any longer", SOON, || {
        let quiet = |node| net.call(node, "monitor_alerts", json!([]))["active"] == json!([]);
        (0..4).all(quiet).then_some(())
    });
    let resolved = eventually("both nodes are back", SOON, || {
        let all = endpoint.accepted("node_down", "resolved");
        (all.len() == 2).then_some(all)
    });
    let names: BTreeSet<_> = resolved.iter().filter_map(|d| d.event["subject"].as_str()).collect();
    assert_eq!(names, BTreeSet::from(["node2", "node3"]));
}
