//! TLS of a real node: every interface, every kind of client, files that are renewed while it runs, a certificate that ends.

use std::{fs, path::PathBuf, sync::Arc, thread, time::Duration};

use axum::{Router, extract::State, routing::post};
use basalt_node::{
    monitor::{Metrics, NodeLabels},
    tls::{TlsFiles, TlsServer, client, listener::Bounded},
};
use futures::{SinkExt as _, StreamExt as _};
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::{client_async, tungstenite::Message};

use crate::{
    authority::{Authority, DAY, Issued},
    net::{Net, basalt_err, basalt_ok, eventually},
    process::Proc,
};

const SOON: Duration = Duration::from_secs(40);

/// A network of one node with TLS on its interfaces.
struct Guarded {
    net: Net,
    port: u16,
    runtime: tokio::runtime::Runtime,
}

impl Guarded {
    fn new(port: u16, authority: &Authority, issued: &Issued, client_ca: bool) -> Self {
        let net = Net::create(1, port, &[]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        let me = Self { net, port, runtime };
        me.write(issued);
        fs::write(me.path("ca.crt"), authority.pem()).expect("writes");
        let file = me.path("node.toml");
        let mut settings: toml::Table = fs::read_to_string(&file).expect("readable").parse().expect("TOML");
        for section in ["rpc", "metrics"] {
            let section = settings[section].as_table_mut().expect("a section");
            section.insert("tls_certificate".into(), "tls.crt".into());
            section.insert("tls_key".into(), "tls.key".into());
            if client_ca {
                section.insert("tls_client_ca".into(), "ca.crt".into());
            }
        }
        fs::write(&file, settings.to_string()).expect("writable");
        me
    }

    fn path(&self, name: &str) -> PathBuf {
        self.net.dir().join("nodes/node0").join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("UTF-8").to_owned()
    }

    fn write(&self, issued: &Issued) {
        fs::write(self.path("tls.crt"), &issued.certificate).expect("writes");
        fs::write(self.path("tls.key"), &issued.key).expect("writes");
    }

    fn rpc(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    fn http(&self) -> reqwest::Client {
        let config = client::config(Some(&self.path("ca.crt")), None).expect("good");
        let client = reqwest::Client::builder().tls_backend_preconfigured(config).no_proxy().pool_max_idle_per_host(0);
        client.timeout(Duration::from_secs(10)).build().expect("client")
    }

    fn get(&self, url: &str) -> Option<String> {
        let http = self.http();
        self.runtime.block_on(async { http.get(url).send().await.ok()?.text().await.ok() })
    }

    fn metrics(&self) -> String {
        self.get(&format!("https://127.0.0.1:{}/metrics", self.port + 20)).expect("metrics")
    }

    fn call(&self, method: &str, params: &Value) -> Option<Value> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let (http, url) = (self.http(), self.rpc());
        let answer: Value =
            self.runtime.block_on(async { http.post(url).json(&body).send().await.ok()?.json().await.ok() })?;
        Some(answer["result"].clone())
    }

    /// The alerts about certificates that are firing, by subject.
    fn expiring(&self) -> Vec<String> {
        let alerts = self.call("monitor_alerts", &json!([])).expect("alerts");
        let active = alerts["active"].as_array().expect("a list");
        let ours = active.iter().filter(|a| a["alert"] == "certificate_expiry");
        ours.map(|a| a["subject"].as_str().expect("a subject").to_owned()).collect()
    }
}

type Delivered = Arc<Mutex<Vec<Value>>>;

/// An endpoint behind TLS that notes what is delivered; its address.
fn endpoint(files: TlsFiles, delivered: Delivered) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    listener.set_nonblocking(true).expect("nonblocking");
    let take = |State(all): State<Delivered>, body: axum::Json<Value>| async move { all.lock().push(body.0) };
    let router = Router::new().route("/hook", post(take)).with_state(delivered);
    thread::spawn(move || {
        let labels = NodeLabels { version: "0".into(), name: "n".into(), chain: "c".into(), chain_id: "1".into() };
        let tls = Some(Arc::new(TlsServer::open("endpoint", files).expect("good files")));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(async {
            let tcp = tokio::net::TcpListener::from_std(listener).expect("listens");
            axum::serve(Bounded::new(tcp, 10, tls, &Arc::new(Metrics::new(labels))), router).await
        })
    });
    format!("https://{address}/hook")
}

#[test]
fn a_certificate_near_its_end_is_told_of_and_over_when_the_files_are_renewed() {
    let authority = Authority::new();
    let node = Guarded::new(30_300, &authority, &authority.issue(DAY / 2), false);
    let ca = node.path("ca.crt");
    let _process = Proc::node(&node.net, 0, &[], &[("BASALT_TLS_CA", &ca)]);
    eventually("it answers", SOON, || node.call("eth_chainId", &json!([])).filter(|v| !v.is_null()));
    let delivered = Delivered::default();
    let (certificate, key) = (node.path("tls.crt"), node.path("tls.key"));
    let hook = endpoint(TlsFiles { certificate, key, client_ca: None }, Arc::clone(&delivered));

    // Half a day is below all of 30, 7 and 1 days.
    let all = |name: &str| [format!("of {name} (1 d)"), format!("of {name} (30 d)"), format!("of {name} (7 d)")];
    let both = [all("metrics"), all("rpc")].concat();
    eventually("the alerts fire", SOON, || (node.expiring() == both).then_some(()));
    let text = node.metrics();
    assert!(text.contains("basalt_alerts_active{alert=\"certificate_expiry\"} 6"), "{text}");
    let left =
        text.lines().find_map(|l| l.strip_prefix("basalt_certificate_remaining_seconds{certificate=\"of rpc\"} "));
    let left: i64 = left.expect("a metric").parse().expect("a number");
    assert!((DAY / 2 - 120..=DAY / 2).contains(&left), "{left}");

    // Twenty days: only the first of the three is left. Told by a webhook behind TLS.
    assert!(node.call("monitor_addWebhook", &json!({ "url": hook })).is_some_and(|v| v["id"].is_string()));
    node.write(&authority.issue(20 * DAY));
    eventually("7 and 1 are over", SOON, || (node.expiring() == ["of metrics (30 d)", "of rpc (30 d)"]).then_some(()));
    node.write(&authority.issue(90 * DAY));
    eventually("all are over", SOON, || node.expiring().is_empty().then_some(()));
    let told = |subject: &str| {
        let of = |d: &&Value| d["alert"] == "certificate_expiry" && d["subject"] == subject && d["state"] == "resolved";
        delivered.lock().iter().any(|d| of(&d))
    };
    eventually("it is delivered", SOON, || both.iter().all(|s| told(s)).then_some(()));

    // A key that does not belong to the certificate changes nothing, and is told of.
    fs::write(node.path("tls.key"), authority.issue(90 * DAY).key).expect("writes");
    let refused = "basalt_tls_reloads_total{result=\"refused\"} 2";
    eventually("it is refused", SOON, || node.metrics().contains(refused).then_some(()));
    assert!(node.call("eth_chainId", &json!([])).is_some(), "the old pair is still in force");
    let log = fs::read_to_string(node.path("node.log")).expect("the log");
    assert!(log.contains("name the pair that was issued together"), "{log}");
}

#[test]
fn every_interface_and_every_command_speaks_tls() {
    let authority = Authority::new();
    let node = Guarded::new(30_400, &authority, &authority.issue(90 * DAY), false);
    let (ca, dir) = (node.text("ca.crt"), node.net.dir());
    let (dir, rpc) = (dir.to_str().expect("UTF-8"), node.rpc());
    let trusting = |args: &[&str]| basalt_ok(&[args, &["--tls-ca", &ca]].concat());
    trusting(&["network", "up", dir, "--detach"]);

    // HTTP, REST, metrics, health, WebSocket.
    assert_eq!(node.call("eth_chainId", &json!([])), Some(json!("0x7a69")));
    assert!(node.get(&format!("{rpc}/api/v1/status")).is_some_and(|t| t.contains("platform")));
    assert!(node.metrics().contains("basalt_tls_handshakes_total{result=\"ok\"}"));
    assert!(node.get(&format!("https://localhost:{}/health/live", node.port + 20)).is_some_and(|t| t.contains("live")));
    let head = node.runtime.block_on(subscribe(&node));
    assert!(head["params"]["result"]["hash"].is_string(), "{head}");

    // The commands.
    trusting(&["health", "--url", &format!("{rpc}/health/ready")]);
    assert!(trusting(&["monitor", "status", "--rpc", &rpc]).contains("pbft"));
    let status: Value = serde_json::from_str(&trusting(&["network", "status", dir, "--json"])).expect("JSON");
    assert!(status["nodes"][0]["height"].is_u64(), "{status}");
    assert_eq!(status["nodes"][0]["rpc"], json!(rpc));
    let top: Value = serde_json::from_str(&trusting(&["top", &rpc, "--once", "--json"])).expect("JSON");
    assert!(top["nodes"][0].to_string().contains("node0"), "{top}");
    assert!(trusting(&["network", "explain", dir]).contains("node0"));
    assert!(trusting(&["validator", "list", "--rpc", &rpc]).contains("node0"));
    let bench = [
        "bench",
        "run",
        "--rpc",
        &rpc,
        "--seconds",
        "2",
        "--rate",
        "50",
        "--senders",
        "20",
        "--subscriptions",
        "4",
        "--json",
    ];
    let report: Value = serde_json::from_str(&trusting(&bench)).expect("JSON");
    assert!(report["committed_tps"].as_f64().is_some_and(|t| t > 1.0), "{report}");

    // Whoever does not trust its authority, or speaks no TLS, is told.
    let error = basalt_err(&["monitor", "status", "--rpc", &rpc]);
    assert!(error.contains("no answer from https://"), "{error}");
    basalt_err(&["monitor", "status", "--rpc", &rpc.replace("https", "http")]);
    let error = basalt_err(&["monitor", "status", "--rpc", &rpc, "--tls-ca", "/nowhere"]);
    assert!(error.contains("/nowhere") && error.contains("check the path"), "{error}");
}

async fn subscribe(node: &Guarded) -> Value {
    let config = client::config(Some(&node.path("ca.crt")), None).expect("good");
    let tcp = tokio::net::TcpStream::connect(("127.0.0.1", node.port)).await.expect("connects");
    let name = ServerName::try_from("localhost").expect("a name");
    let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.expect("shakes hands");
    let (mut socket, _) = client_async(format!("ws://localhost:{}/", node.port), stream).await.expect("a WebSocket");
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"] });
    socket.send(Message::text(request.to_string())).await.expect("sent");
    loop {
        let message = tokio::time::timeout(SOON, socket.next()).await.expect("in time").expect("open").expect("good");
        let Message::Text(text) = message else { continue };
        let value: Value = serde_json::from_str(&text).expect("JSON");
        if value["method"] == "eth_subscription" {
            return value;
        }
    }
}

#[test]
fn who_has_no_certificate_is_not_served_where_one_is_asked_for() {
    let authority = Authority::new();
    let node = Guarded::new(30_500, &authority, &authority.issue(90 * DAY), true);
    for (name, issued) in [("client", authority.issue(DAY)), ("stranger", Authority::new().issue(DAY))] {
        fs::write(node.path(&format!("{name}.crt")), &issued.certificate).expect("writes");
        fs::write(node.path(&format!("{name}.key")), &issued.key).expect("writes");
    }
    let _process = Proc::node(&node.net, 0, &[], &[]);
    let (rpc, ca) = (node.rpc(), node.text("ca.crt"));
    let metrics = format!("https://127.0.0.1:{}/health/live", node.port + 20);
    let as_who =
        |name: &str| ["--tls-cert", "--tls-key"].into_iter().zip([format!("{name}.crt"), format!("{name}.key")]);
    let options =
        |name: &str| as_who(name).flat_map(|(flag, file)| [flag.to_owned(), node.text(&file)]).collect::<Vec<_>>();
    let with = |args: &[&str], options: &[String]| -> Vec<String> {
        let trust = ["--tls-ca", ca.as_str()];
        let fixed = args.iter().chain(&trust).map(|a| (*a).to_owned());
        fixed.chain(options.iter().cloned()).collect()
    };
    let words = |args: &[String]| -> (bool, String) {
        let out = crate::net::basalt(&args.iter().map(String::as_str).collect::<Vec<_>>());
        (out.status.success(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
    };
    let status = ["monitor", "status", "--rpc", &rpc];
    eventually("the client is served", SOON, || words(&with(&status, &options("client"))).0.then_some(()));
    assert!(words(&with(&["health", "--url", &metrics], &options("client"))).0);
    for refused in [Vec::new(), options("stranger")] {
        for command in [&status[..], &["health", "--url", &metrics]] {
            let (served, said) = words(&with(command, &refused));
            assert!(!served && said.contains("no answer from https://"), "{command:?} {refused:?}: {said}");
        }
    }
    // Half of a pair is refused at once.
    let error = basalt_err(&["monitor", "status", "--rpc", &rpc, "--tls-cert", &node.text("client.crt")]);
    assert!(error.contains("--tls-key"), "{error}");
}

#[test]
fn files_that_do_not_fit_are_refused_before_anything_runs() {
    let authority = Authority::new();
    let node = Guarded::new(30_600, &authority, &authority.issue(90 * DAY), false);
    let config = node.text("node.toml");
    assert!(basalt_ok(&["config", "check", &config]).starts_with("ok"));
    let refused = || [basalt_err(&["config", "check", &config]), basalt_err(&["node", "--config", &config])];
    fs::write(node.path("tls.key"), authority.issue(DAY).key).expect("writes");
    for error in refused() {
        assert!(error.contains("`rpc.tls_…`") && error.contains("name the pair that was issued together"), "{error}");
    }
    fs::remove_file(node.path("tls.key")).expect("removed");
    for error in refused() {
        assert!(error.contains("tls.key") && error.contains("check the path"), "{error}");
    }
    // What has ended is refused by the check alone: a validator must not stay down for it.
    node.write(&authority.issue(-2 * DAY));
    let error = basalt_err(&["config", "check", &config]);
    assert!(error.contains("ended 2 days ago; renew it"), "{error}");
    let error = basalt_err(&["node", "--config", &config, "--set", "rpc.tls_key=''"]);
    assert!(error.contains("rpc.tls") && !error.contains("panicked"), "{error}");
}
