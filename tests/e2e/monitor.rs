//! Monitoring of real processes: alerts arrive at a real HTTP endpoint, signed and once, and are over when they are over.

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    path::Path,
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
    net::{Net, basalt_err, basalt_ok, eventually},
    process::Proc,
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
        let nodes = net.call(node, "monitor_nodes", json!([]));
        assert_eq!(node_named(&nodes, "node3").expect("known")["on"], false, "{nodes}");
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

#[test]
fn monitoring_that_is_switched_off_is_off_and_says_so() {
    let net = Net::create(1, 30_800, &[]);
    let off = [("BASALT_MONITOR_ENABLED", Path::new("false")), ("BASALT_METRICS_ENABLED", Path::new("false"))];
    let _node = Proc::node(&net, 0, &[], &off);
    eventually("it answers", SOON, || net.ask(0, "eth_chainId", json!([])));
    let refused = net.ask(0, "monitor_tps", json!([])).expect("an answer");
    assert!(
        refused["error"]["message"].as_str().is_some_and(|m| m.contains("`monitor` is not served here")),
        "{refused}"
    );
    assert_eq!(net.get(&format!("{}/api/v1/status", net.url(0))).expect("an answer").0, 404);
    assert!(net.get("http://127.0.0.1:30820/metrics").is_none(), "there is no metrics port");
    send(&net, &mut Wallet::dev(5), 1);
    net.wait_height(0, 1, SOON);
    let log = fs::read_to_string(net.dir().join("nodes/node0/node.log")).expect("a log");
    assert!(log.contains("monitoring is off: no alert will fire"), "{log}");
}

#[test]
fn the_log_is_json_line_by_line_where_that_is_wished() {
    let net = Net::create(1, 30_900, &[]);
    let _node = Proc::node(&net, 0, &[], &[("BASALT_LOG_FORMAT", Path::new("json"))]);
    eventually("it answers", SOON, || net.ask(0, "eth_chainId", json!([])));
    assert_eq!(net.call(0, "admin_setLogLevel", json!(["info,basalt_node::rpc=debug"])), "info,basalt_node::rpc=debug");
    let log = || fs::read_to_string(net.dir().join("nodes/node0/node.log")).expect("a log");
    eventually("the change is told", SOON, || log().contains("log level changed").then_some(()));
    for line in log().lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        let texts = [&line["timestamp"], &line["level"], &line["target"]];
        assert!(texts.iter().all(|t| t.is_string()) && line["fields"].is_object(), "{line}");
    }
    assert!(log().contains("\"level\":\"WARN\"") && log().contains("a development network"), "{}", log());
}

/// Changes a node's settings.
fn edit(net: &Net, node: usize, change: impl FnOnce(&mut toml::Table)) {
    let path = net.dir().join(format!("nodes/node{node}/node.toml"));
    let mut settings: toml::Table = fs::read_to_string(&path).expect("readable").parse().expect("TOML");
    change(&mut settings);
    fs::write(&path, settings.to_string()).expect("writable");
}

/// The peers of a node's settings.
fn peers(settings: &mut toml::Table) -> &mut Vec<toml::Value> {
    settings["p2p"]["peers"].as_array_mut().expect("a list")
}

fn node_named(nodes: &Value, name: &str) -> Option<Value> {
    nodes.as_array()?.iter().find(|n| n["name"] == name).cloned()
}

#[test]
fn every_node_knows_all_nodes_and_tells_how_it_is_by_rpc_rest_and_command() {
    let net = Net::create(4, 26_200, &["--followers", "1"]);
    configure(&net, "node_down_after_ms = 30000", "node_down_after_ms = 15000");
    // The follower and node0 are each other's only way: the others hear of it from node0.
    let follower_port = "/tcp/26244/";
    for node in 1..4 {
        edit(&net, node, |s| peers(s).retain(|p| !p.to_string().contains(follower_port)));
    }
    edit(&net, 4, |s| {
        peers(s).retain(|p| p.to_string().contains("/tcp/26240/"));
        let monitor = s["monitor"].as_table_mut().expect("a section");
        monitor.insert("organisation".into(), "Example Org".into());
        monitor.insert("node_down_after_ms".into(), 15_000.into());
    });
    net.up();
    let nodes = |node: usize| net.call(node, "monitor_nodes", json!([]));
    for node in 0..4 {
        let follower = eventually("every node knows the follower", SOON, || node_named(&nodes(node), "node4"));
        assert_eq!((&follower["role"], &follower["on"]), (&json!("follower"), &json!(true)), "{follower}");
        assert_eq!((&follower["organisation"], &follower["connected"]), (&json!("Example Org"), &json!(node == 0)));
        assert!(follower["version"].as_str().is_some_and(|v| v.starts_with("basalt/")), "{follower}");
        let others = eventually("and all validators", SOON, || {
            let all = nodes(node);
            (all.as_array().is_some_and(|a| a.len() == 5)).then_some(all)
        });
        for validator in ["node0", "node1", "node2", "node3"] {
            let seen = node_named(&others, validator).expect("listed");
            assert_eq!((&seen["role"], &seen["on"]), (&json!("validator"), &json!(true)), "{seen}");
        }
    }

    // What it says of itself.
    let status = eventually("clocks are compared", SOON, || {
        let status = net.call(0, "monitor_status", json!([]));
        status["clock"]["offsetMs"].is_i64().then_some(status)
    });
    assert!(status["clock"]["offsetMs"].as_i64().is_some_and(|ms| ms.abs() < 500), "one machine, one clock: {status}");
    assert_eq!((&status["node"]["name"], &status["platform"]["hash"]), (&json!("node0"), &json!("sha256")));
    assert!(status["block"]["sizeBytes"].is_u64() && status["block"]["account"].is_string(), "{status}");
    let resources = net.call(0, "monitor_resources", json!([]));
    assert!(resources["memory"]["residentBytes"].as_u64() > Some(1 << 20), "{resources}");
    assert!(resources["disk"]["availableBytes"].as_u64() > Some(0), "{resources}");
    assert_eq!(resources["thresholds"]["nodeDownMs"], 15_000);

    // The same by REST and by the command line, from any node.
    let rest = |path: &str| {
        let (code, body) = net.get(&format!("{}/api/v1{path}", net.url(1))).expect("an answer");
        (code, serde_json::from_str::<Value>(&body).expect("JSON"))
    };
    let index = rest("/").1;
    for resource in index["resources"].as_array().expect("a list") {
        let path = resource["path"].as_str().expect("a path").strip_prefix("/api/v1").expect("the prefix");
        assert_eq!(rest(path).0, 200, "{path}");
    }
    let follower = node_named(&rest("/nodes").1, "node4").expect("listed");
    let id = follower["id"].as_str().expect("an id");
    assert_eq!(rest(&format!("/nodes/{id}")).1["name"], "node4");
    assert!(rest("/nodes/nobody").1["error"].as_str().is_some_and(|e| e.contains("/api/v1/nodes")));
    assert_eq!(rest("/nothing").0, 404);
    let run = |args: &[&str]| basalt_ok(&[&["monitor"][..], args, &["--rpc", net.url(2)][..]].concat());
    for command in ["status", "nodes", "resources", "tps", "alerts"] {
        assert!(run(&[command]).lines().count() > 1, "{command}");
        assert!(serde_json::from_str::<Value>(&run(&[command, "--json"])).is_ok(), "{command}");
    }
    assert!(run(&["nodes"]).contains("Example Org"));
    assert!(run(&["tps", "--upper", "7", "--window", "3"]).contains("upper 7.0, lower - (runtime)"));
    let refused = basalt_err(&["monitor", "tps", "--upper", "many", "--rpc", net.url(2)]);
    assert!(refused.contains("upper must be a number"), "{refused}");

    // The log can be changed while the node runs.
    let level = "info,basalt_node::rpc=debug";
    assert_eq!(net.call(3, "admin_setLogLevel", json!([level])), level);
    assert_eq!(net.call(3, "admin_logLevel", json!([])), level);
    let refused = net.ask(3, "admin_setLogLevel", json!(["rpc=loud"])).expect("an answer");
    assert!(refused["error"]["message"].as_str().is_some_and(|m| m.contains("use error, warn, info")), "{refused}");
    assert!(fs::read_to_string(net.dir().join("nodes/node3/node.log")).expect("a log").contains("log level changed"));

    // Every metric served is in the catalogue.
    let (_, served) = net.get("http://127.0.0.1:26220/metrics").expect("metrics");
    let catalogue =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md")).expect("the catalogue");
    for line in served.lines().filter_map(|l| l.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').expect("name and type");
        let row = catalogue.lines().find(|l| l.starts_with(&format!("| `{name}` |")));
        assert!(row.is_some_and(|r| r.contains(&format!("| {kind} |"))), "{name} {kind} is not in docs/metrics.md");
    }

    // The follower goes; even those that never met it see that.
    net.kill(4);
    for node in [0, 2] {
        eventually("the follower is seen to be off", SOON, || {
            node_named(&nodes(node), "node4").filter(|n| n["on"] == json!(false))
        });
    }
}
