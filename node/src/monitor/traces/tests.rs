//! Traces to real endpoints on loopback that behave in the ways collectors do.

use std::{collections::BTreeMap, net::SocketAddr, time::Instant};

use axum::{
    body::Bytes,
    http::{HeaderMap, StatusCode},
    response::IntoResponse as _,
};
use basalt_primitives::HashFn;
use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse},
    trace::v1::{Span, span::SpanKind},
};
use prost::Message as _;

use super::*;
use crate::{
    clock,
    mempool::PoolError,
    monitor::endpoint::{Received, endpoint},
};

const CALLER: SpanContext = SpanContext { trace_id: [7; 16], span_id: [8; 8], sampled: true };

fn config(address: SocketAddr) -> TracingConfig {
    TracingConfig {
        endpoint: Some(format!("http://{address}/v1/traces")),
        sample_rate: 1.0,
        max_in_flight: 10,
        max_queued: 4,
        flush_ms: 10,
        timeout_ms: 100,
        ..TracingConfig::default()
    }
}

fn start(config: &TracingConfig) -> (Arc<Tracer>, Arc<Metrics>) {
    let metrics = Arc::new(crate::monitor::tests::metrics());
    let service = Service { node: "node0".into(), network: "net".into(), chain_id: 7, version: "1" };
    let tracer = Tracer::start(config, service, Arc::clone(&metrics), &Handle::current()).expect("good settings");
    (tracer.expect("tracing is on"), metrics)
}

fn tx(n: u8) -> B256 {
    HashFn::Sha256.hash(&[n])
}

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A transaction came by RPC.
fn take(tracer: &Tracer, tx: B256, parent: Option<SpanContext>) {
    let steps =
        Steps { taken: ms(1_001), decoded: ms(1_002), verified: ms(1_003), turn: ms(1_003), admitted: ms(1_004) };
    let arrival = Some(Arrival { at: ms(1_000), parent, method: "eth_sendRawTransaction" });
    tracer.taken(steps, [Taken { source: Source::Rpc, arrival, result: Ok(tx) }].into_iter());
}

fn receipt(tx_hash: B256) -> Receipt {
    Receipt {
        tx_hash,
        tx_type: 2,
        success: true,
        gas_used: 21_000,
        cumulative_gas_used: 21_000,
        effective_gas_price: 1,
        contract_address: None,
        logs: Vec::new(),
        revert_data: Default::default(),
    }
}

/// A block with these transactions is durable.
fn commit(tracer: &Tracer, txs: &[B256]) {
    let receipts: Vec<Receipt> = txs.iter().copied().map(receipt).collect();
    let block = Block {
        height: Height(5),
        round: Round(1),
        proposer: Address::repeat_byte(9),
        known_for: Some(ms(500)),
        age: ms(700),
        took: ms(100),
        receipts: &receipts,
    };
    tracer.committed(ms(2_000), &block);
}

/// Waits until the metrics have a line.
async fn counted(metrics: &Metrics, line: &str) {
    let begun = Instant::now();
    while !metrics.encode().lines().any(|l| l == line) {
        assert!(begun.elapsed() < Duration::from_secs(20), "no {line} in {}", metrics.encode());
        tokio::time::sleep(ms(10)).await;
    }
}

fn spans(received: &Received) -> Vec<Span> {
    let decode = |(_, body): &(HeaderMap, Bytes)| ExportTraceServiceRequest::decode(body.clone()).expect("OTLP");
    let requests: Vec<_> = received.lock().iter().map(decode).collect();
    let resources = requests.into_iter().flat_map(|r| r.resource_spans);
    resources.flat_map(|r| r.scope_spans).flat_map(|s| s.spans).collect()
}

#[tokio::test]
async fn a_transaction_is_told_from_its_arrival_to_its_execution() {
    let (address, received) = endpoint("/v1/traces", |_| StatusCode::OK.into_response()).await;
    let (tracer, metrics) = start(&config(address));
    take(&tracer, tx(1), None);
    commit(&tracer, &[tx(0), tx(1)]);
    counted(&metrics, "basalt_trace_spans_total{result=\"exported\"} 7").await;
    assert_eq!(received.lock()[0].0["content-type"], "application/x-protobuf");
    let spans: BTreeMap<String, Span> = spans(&received).into_iter().map(|s| (s.name.clone(), s)).collect();
    let root = &spans["transaction"];
    assert_eq!((root.kind, root.parent_span_id.len()), (SpanKind::Server as i32, 0));
    let since = |at: u64| (at - root.start_time_unix_nano) / 1_000_000;
    let times = |name: &str| (since(spans[name].start_time_unix_nano), since(spans[name].end_time_unix_nano));
    assert_eq!([times("transaction"), times("receive"), times("verify")], [(0, 1_000), (0, 1), (2, 3)]);
    assert_eq!([times("admit"), times("wait")], [(3, 4), (4, 500)]);
    assert_eq!([times("consensus"), times("execute")], [(500, 900), (900, 1_000)]);
    for span in spans.values() {
        assert_eq!(span.trace_id, tx(1)[..16], "the transaction's own trace");
        assert!(span.name == "transaction" || span.parent_span_id == root.span_id, "{span:?}");
    }
    let now = clock::wall().as_nanos() as u64;
    let begun = clock::mono().as_nanos() as u64;
    // Times are those of the process's clock: one second after its start.
    assert!(root.start_time_unix_nano.abs_diff(now - begun + 1_000_000_000) < 1_000_000_000, "{root:?}");
    assert!(
        root.attributes.iter().any(|a| a.key == "basalt.tx.index" && format!("{:?}", a.value).contains("IntValue(1)"))
    );
}

#[tokio::test]
async fn a_caller_decides_for_its_own_transactions() {
    let (address, received) = endpoint("/v1/traces", |_| StatusCode::OK.into_response()).await;
    let (tracer, metrics) = start(&TracingConfig { sample_rate: 0.0, ..config(address) });
    take(&tracer, tx(1), None);
    take(&tracer, tx(2), Some(SpanContext { sampled: false, ..CALLER }));
    take(&tracer, tx(3), Some(CALLER));
    commit(&tracer, &[tx(1), tx(2), tx(3)]);
    let full = SubmitError::Pool(PoolError::AlreadyKnown);
    let arrival = Some(Arrival { at: ms(1), parent: Some(CALLER), method: "eth_sendRawTransaction" });
    let refused = [None, arrival].map(|arrival| Taken { source: Source::Rpc, arrival, result: Err(&full) });
    tracer.taken(Steps::default(), refused.into_iter());
    counted(&metrics, "basalt_trace_spans_total{result=\"exported\"} 11").await;
    let roots: Vec<Span> = spans(&received).into_iter().filter(|s| s.name == "transaction").collect();
    assert!(roots.iter().all(|r| r.trace_id == CALLER.trace_id && r.parent_span_id == CALLER.span_id), "{roots:?}");
    let status: Vec<String> = roots.iter().map(|r| r.status.clone().expect("set").message).collect();
    assert_eq!(status, [String::new(), full.to_string()], "one in a block, one refused with its reason");
}

#[tokio::test]
async fn what_is_followed_and_what_waits_is_bounded() {
    // Accepts connections (in the kernel's queue) and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let (tracer, metrics) = start(&config(silent.local_addr().expect("bound")));
    for n in 0..25 {
        take(&tracer, tx(n), None);
    }
    counted(&metrics, "basalt_transaction_traces_total{result=\"left_out\"} 15").await;
    for _ in 0..200 {
        (0..10).for_each(|n| take(&tracer, tx(n), None));
        let begun = Instant::now();
        commit(&tracer, &(0..25).map(tx).collect::<Vec<_>>());
        assert!(begun.elapsed() < Duration::from_secs(1), "nobody waits for the collector");
    }
    let text = metrics.encode();
    let value = |label: &str| {
        let line = format!("basalt_transaction_traces_total{{result=\"{label}\"}} ");
        text.lines().find_map(|l| l.strip_prefix(&line)?.parse::<u64>().ok()).unwrap_or(0)
    };
    assert_eq!((value("executed"), value("begun")), (2_000, 2_010), "{text}");
    assert!(value("dropped") >= 1_000, "most find no room: {text}");
    assert!(tracer.book.lock().is_empty());
}

#[tokio::test]
async fn a_collector_that_fails_costs_its_spans_and_is_asked_again() {
    let (address, received) = endpoint("/v1/traces", |n| match n {
        1..=3 => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        4 => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        5 => StatusCode::TOO_MANY_REQUESTS.into_response(),
        _ => {
            let partial = ExportTracePartialSuccess { rejected_spans: 2, error_message: "no".into() };
            ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec().into_response()
        }
    })
    .await;
    let (tracer, metrics) = start(&config(address));
    let trace = |n| {
        take(&tracer, tx(n), None);
        commit(&tracer, &[tx(n)]);
    };
    trace(1);
    counted(&metrics, "basalt_trace_spans_total{result=\"failed\"} 7").await;
    assert_eq!(received.lock().len(), 3, "503 may be tried again");
    trace(2);
    counted(&metrics, "basalt_trace_spans_total{result=\"failed\"} 14").await;
    assert_eq!(received.lock().len(), 4, "500 may not");
    trace(3);
    counted(&metrics, "basalt_trace_spans_total{result=\"exported\"} 5").await;
    counted(&metrics, "basalt_trace_spans_total{result=\"refused\"} 2").await;
    let bodies: Vec<Bytes> = received.lock().iter().map(|(_, b)| b.clone()).collect();
    assert_eq!((bodies.len(), &bodies[4]), (6, &bodies[5]), "429 is tried again, with the same body");
}

#[tokio::test]
async fn an_absent_collector_costs_its_spans() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound");
    let (tracer, metrics) = start(&config(free));
    take(&tracer, tx(1), None);
    commit(&tracer, &[tx(1)]);
    counted(&metrics, "basalt_trace_spans_total{result=\"failed\"} 7").await;
}

#[test]
fn what_is_in_no_block_for_long_is_not_followed_further() {
    let mut book = Book::new(2);
    let entry = |came| Entry { source: Source::Peer, method: "", parent: None, came, steps: Steps::default() };
    assert!(book.open(tx(1), entry(ms(0))) && book.open(tx(2), entry(ms(5_000))));
    assert!(!book.open(tx(3), entry(ms(6_000))), "full");
    assert!(book.open(tx(1), entry(ms(9_000))), "followed already, since it came first");
    let now = book::PATIENCE + ms(1);
    let [old] = &book.expire(now)[..] else { panic!("one is old: {book:?}") };
    assert_eq!((old.tx, &old.ended), (Some(tx(1)), &Ended::Waiting(now)));
    assert_eq!(book.len(), 1);
}

#[test]
fn settings_that_make_no_sense_are_refused_with_a_mend() {
    let refused = |c: TracingConfig| c.check().expect_err("refused").to_string();
    let to = |endpoint: &str| TracingConfig { endpoint: Some(endpoint.into()), ..TracingConfig::default() };
    for endpoint in ["", "collector:4318", "grpc://x:4317", "http://me:secret@x/"] {
        let error = refused(to(endpoint));
        assert!(error.contains("tracing.endpoint") && error.contains("http://HOST:4318/v1/traces"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
    assert!(refused(TracingConfig { sample_rate: f64::NAN, ..TracingConfig::default() }).contains("between 0 and 1"));
    assert!(refused(TracingConfig { max_batch: 0, ..TracingConfig::default() }).contains("max_batch"));
    for endpoint in ["http://127.0.0.1:4318/v1/traces", "https://collector.example/v1/traces"] {
        assert!(to(endpoint).check().is_ok());
    }
    assert!(TracingConfig::default().check().is_ok());
}
