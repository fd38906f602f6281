//! Traces of transactions of a real network, sent to a real HTTP endpoint and read as a collector reads them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use alloy_primitives::{Address, Bytes};
use axum::{Router, body::Bytes as Body, extract::State, http::StatusCode, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value as Any},
    trace::v1::Span,
};
use parking_lot::Mutex;
use prost::Message as _;
use serde_json::{Value, json};

use crate::{
    net::{Net, basalt_err, eventually, quantity},
    wallet::Wallet,
};

const SOON: Duration = Duration::from_secs(30);
const CALLER: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER_SPAN: &str = "b7ad6b7169203331";

/// A collector on a thread of its own, that can be told to fail.
#[derive(Clone, Default)]
struct Collector {
    /// Spans by the node that sent them.
    spans: Arc<Mutex<Vec<(String, Span)>>>,
    fails: Arc<AtomicBool>,
}

impl Collector {
    fn start(&self) -> SocketAddr {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        listener.set_nonblocking(true).expect("nonblocking");
        let router = Router::new().route("/v1/traces", post(take)).with_state(self.clone());
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("listens");
                axum::serve(listener, router).await
            })
        });
        address
    }

    /// The spans of one trace at one node, by name.
    fn trace(&self, node: &str, trace_id: &str) -> BTreeMap<String, Span> {
        let of = |(n, s): &&(String, Span)| n == node && hex::encode(&s.trace_id) == trace_id;
        self.spans.lock().iter().filter(of).map(|(_, s)| (s.name.clone(), s.clone())).collect()
    }

    fn wait(&self, node: &str, trace_id: &str) -> BTreeMap<String, Span> {
        let what = format!("the trace {trace_id} of {node}");
        eventually(&what, SOON, || Some(self.trace(node, trace_id)).filter(|t| t.contains_key("execute")))
    }
}

async fn take(State(collector): State<Collector>, body: Body) -> StatusCode {
    if collector.fails.load(Ordering::Relaxed) {
        return StatusCode::INTERNAL_SERVER_ERROR;
    }
    let Ok(request) = ExportTraceServiceRequest::decode(body) else { return StatusCode::BAD_REQUEST };
    for resource in request.resource_spans {
        let node = text(&resource.resource.expect("a resource").attributes, "service.instance.id");
        let spans = resource.scope_spans.into_iter().flat_map(|s| s.spans).map(|s| (node.clone(), s));
        collector.spans.lock().extend(spans);
    }
    StatusCode::OK
}

fn attribute(attributes: &[KeyValue], key: &str) -> Option<Any> {
    attributes.iter().find(|a| a.key == key)?.value.clone()?.value
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    match attribute(attributes, key) {
        Some(Any::StringValue(text)) => text,
        other => panic!("{key} is {other:?}"),
    }
}

fn number(attributes: &[KeyValue], key: &str) -> u64 {
    match attribute(attributes, key) {
        Some(Any::IntValue(n)) => u64::try_from(n).expect("positive"),
        other => panic!("{key} is {other:?}"),
    }
}

/// A running network of four whose nodes send traces there.
fn network(port: u16, collector: SocketAddr) -> Net {
    let net = Net::create(4, port, &[]);
    for node in 0..4 {
        let path = net.dir().join(format!("nodes/node{node}/node.toml"));
        let mut file = fs::File::options().append(true).open(path).expect("opens");
        let endpoint = format!("http://{collector}/v1/traces");
        write!(file, "\n[tracing]\nendpoint = \"{endpoint}\"\nsample_rate = 1.0\nflush_ms = 50\n").expect("writes");
    }
    net.up();
    net
}

/// Sends a transaction to a node, with a `traceparent` header; its hash.
fn send(port: u16, wallet: &mut Wallet, traceparent: &str) -> String {
    let (raw, hash) = wallet.sign(Some(Address::repeat_byte(0x55)), 1, Bytes::new());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "eth_sendRawTransaction", "params": [raw] });
    let answer: Value = runtime.block_on(async {
        let client = basalt_node::tls::client::http().no_proxy().build().expect("client");
        let request = client.post(format!("http://127.0.0.1:{port}")).header("traceparent", traceparent).json(&body);
        request.send().await.expect("an answer").json().await.expect("JSON")
    });
    assert_eq!(answer["result"], json!(hash), "{answer}");
    hash
}

#[test]
fn a_transaction_is_followed_from_rpc_to_commit_on_every_node() {
    const PORT: u16 = 30_100;
    let collector = Collector::default();
    let net = network(PORT, collector.start());
    let mut wallet = Wallet::dev(7);
    let hash = send(PORT, &mut wallet, &format!("00-{CALLER}-{CALLER_SPAN}-01"));
    let receipt = net.receipt(0, &hash, SOON);

    // Where the caller sent it: in the caller's trace, all the way.
    let spans = collector.wait("node0", CALLER);
    let names: BTreeSet<_> = spans.keys().map(String::as_str).collect();
    let all = ["transaction", "receive", "verify", "admit", "wait", "consensus", "execute"];
    assert_eq!(names, BTreeSet::from(all));
    let root = &spans["transaction"];
    assert_eq!(hex::encode(&root.parent_span_id), CALLER_SPAN);
    assert_eq!(text(&root.attributes, "rpc.method"), "eth_sendRawTransaction");
    assert_eq!(text(&root.attributes, "basalt.tx.hash"), hash);
    let mut before = root.start_time_unix_nano;
    for name in &all[1..] {
        let span = &spans[*name];
        assert_eq!(span.parent_span_id, root.span_id, "{name}");
        assert!(
            span.start_time_unix_nano >= before && span.end_time_unix_nano >= span.start_time_unix_nano,
            "{spans:?}"
        );
        before = span.end_time_unix_nano.min(root.end_time_unix_nano);
    }
    assert_eq!(spans["execute"].end_time_unix_nano, root.end_time_unix_nano);
    assert!(root.end_time_unix_nano - root.start_time_unix_nano < 30_000_000_000, "{root:?}");
    let block = &spans["consensus"].attributes;
    assert_eq!(Some(number(block, "basalt.block.height")), quantity(&receipt["blockNumber"]));
    let shown = net.call(0, "eth_getBlockByNumber", json!([receipt["blockNumber"], false]));
    let proposer = text(block, "basalt.block.proposer");
    assert_eq!(Some(proposer.to_lowercase().as_str()), shown["miner"].as_str(), "{shown}");

    // The others had it from their peers, and agree on the trace without having spoken of it.
    let own = &hash[2..34];
    for node in ["node1", "node2", "node3"] {
        let spans = collector.wait(node, own);
        assert_eq!(text(&spans["transaction"].attributes, "basalt.source"), "peer", "{node}");
        assert_eq!(spans["consensus"].attributes[..3], block[..3], "{node} tells of the same block");
    }
    assert!(collector.trace("node0", own).is_empty());

    // A caller that does not record its trace is not recorded here either.
    let quiet = send(PORT, &mut wallet, &format!("00-{}-{CALLER_SPAN}-00", "ab".repeat(16)));
    net.receipt(0, &quiet, SOON);
    collector.wait("node1", &quiet[2..34]);
    assert!(collector.trace("node0", &"ab".repeat(16)).is_empty());

    // A collector that fails costs its spans and nothing else.
    collector.fails.store(true, Ordering::Relaxed);
    let lost = send(PORT, &mut wallet, "");
    net.receipt(0, &lost, SOON);
    let counter = "basalt_trace_spans_total{result=\"failed\"}";
    let metrics = || net.get(&format!("http://127.0.0.1:{}/metrics", PORT + 20)).expect("metrics").1;
    eventually("it is counted", SOON, || metrics().contains(counter).then_some(()));
    collector.fails.store(false, Ordering::Relaxed);
    let kept = send(PORT, &mut wallet, "not a trace context");
    collector.wait("node0", &kept[2..34]);
    assert!(collector.trace("node0", &lost[2..34]).is_empty());
    let log = fs::read_to_string(net.dir().join("nodes/node0/node.log")).expect("the log");
    assert!(log.contains("traces are not taken") && log.contains("traces are taken again"), "{log}");
}

#[test]
fn an_endpoint_that_is_none_is_refused_before_anything_runs() {
    let net = Net::create(1, 30_200, &[]);
    let config = net.dir().join("nodes/node0/node.toml");
    let config = config.to_str().expect("UTF-8");
    let error = basalt_err(&["node", "--config", config, "--set", "tracing.endpoint=collector:4317"]);
    assert!(error.contains("tracing.endpoint") && error.contains("http://HOST:4318/v1/traces"), "{error}");
    let error = basalt_err(&["node", "--config", config, "--set", "tracing.sample_rate=2"]);
    assert!(error.contains("`tracing.sample_rate` must be between 0 and 1"), "{error}");
}
