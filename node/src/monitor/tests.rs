//! Metrics as Prometheus reads them.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};

use super::*;
use crate::network::{NetworkStats, Offence};

pub(super) fn metrics() -> Metrics {
    let text = |s: &str| s.to_owned();
    Metrics::new(NodeLabels { version: text("1.2.3"), name: text("n0"), chain: text("test"), chain_id: text("7") })
}

/// The value of a sample, by its name with labels.
fn sample(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is not in:\n{text}")).parse().expect("a number")
}

#[test]
fn a_block_moves_what_it_should() {
    let m = metrics();
    m.restored(7, 500);
    assert_eq!(sample(&m.encode(), "basalt_height"), 7.0);
    let block = BlockStats {
        height: 8,
        finalized: 8,
        timestamp_ms: 1_500,
        transactions: 20,
        gas_used: 420_000,
        size_bytes: 4_096,
        round: 1,
        commit_latency: Some(Duration::from_millis(150)),
        execution: Some(Duration::from_millis(20)),
        ..BlockStats::default()
    };
    m.block(&block);
    m.block(&BlockStats { height: 9, transactions: 1, commit_latency: None, ..block });
    let text = m.encode();
    assert_eq!(sample(&text, "basalt_height"), 9.0);
    assert_eq!(sample(&text, "basalt_head_timestamp_seconds"), 1.5);
    assert_eq!(sample(&text, "basalt_transactions_total"), 21.0);
    assert_eq!(sample(&text, "basalt_gas_used_total"), 840_000.0);
    assert_eq!(sample(&text, "basalt_commit_latency_seconds_count"), 1.0);
    assert_eq!(sample(&text, "basalt_commit_latency_seconds_bucket{le=\"0.2\"}"), 1.0);
    assert_eq!(sample(&text, "basalt_commit_latency_seconds_bucket{le=\"0.1\"}"), 0.0);
    assert_eq!(sample(&text, "basalt_block_execution_seconds_count"), 2.0);
    assert_eq!(m.live_transactions(), 0, "blocks of 1970 are history, not load");
    m.block(&BlockStats { height: 10, timestamp_ms: crate::clock::wall_ms(), transactions: 3, ..block });
    assert_eq!(m.live_transactions(), 3);
    assert!(text.contains(r#"basalt_node_info{version="1.2.3",name="n0",chain="test",chain_id="7"} 1"#), "{text}");
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn labels_are_counted_apart() {
    let m = metrics();
    m.rpc_request("eth_call", None, Duration::from_millis(2));
    m.rpc_request("eth_call", Some(-32602), Duration::from_millis(2));
    m.rpc_request("unknown", Some(-32603), Duration::ZERO);
    let stats = Arc::new(NetworkStats::default());
    m.watch_network(Arc::clone(&stats));
    stats.consensus.bytes_in.add(100);
    stats.consensus.messages_out.inc();
    stats.dropped_consensus_out.inc();
    stats.offences.of(Offence::Flood).inc();
    m.transaction_rejected("nonce_too_low");
    let text = m.encode();
    assert_eq!(sample(&text, r#"basalt_rpc_requests_total{method="eth_call",result="ok"}"#), 1.0);
    assert_eq!(sample(&text, r#"basalt_rpc_requests_total{method="eth_call",result="error"}"#), 1.0);
    assert_eq!(sample(&text, r#"basalt_rpc_requests_total{method="unknown",result="internal_error"}"#), 1.0);
    assert_eq!(sample(&text, r#"basalt_rpc_request_duration_seconds_count{method="eth_call"}"#), 2.0);
    assert_eq!(sample(&text, r#"basalt_network_bytes_total{direction="in",protocol="consensus"}"#), 100.0);
    assert_eq!(sample(&text, r#"basalt_network_messages_total{direction="out",protocol="consensus"}"#), 1.0);
    assert_eq!(sample(&text, r#"basalt_network_drops_total{reason="consensus_out_queue_full"}"#), 1.0);
    assert_eq!(sample(&text, r#"basalt_network_offences_total{kind="flood"}"#), 1.0);
    assert_eq!(sample(&text, r#"basalt_network_offences_total{kind="slow"}"#), 0.0);
    assert_eq!(sample(&text, r#"basalt_mempool_rejected_total{reason="nonce_too_low"}"#), 1.0);
}

#[test]
fn the_process_is_measured() {
    let text = metrics().encode();
    assert!(sample(&text, "basalt_process_resident_memory_bytes") > 1_000_000.0);
    assert!(sample(&text, "basalt_process_open_fds") > 2.0);
    assert!(sample(&text, "basalt_process_cpu_seconds_total") >= 0.0);
}

#[test]
fn every_family_has_a_help_text_and_the_prefix_and_stands_once() {
    let text = metrics().encode();
    let families: Vec<&str> =
        text.lines().filter_map(|l| l.strip_prefix("# TYPE ")).filter_map(|l| l.split(' ').next()).collect();
    assert!(families.len() > 20);
    assert!(families.iter().all(|f| f.starts_with("basalt_")));
    assert_eq!(families.len(), families.iter().collect::<BTreeSet<_>>().len());
    for f in families {
        assert!(text.contains(&format!("# HELP {f} ")), "{f} has no help text");
    }
}

#[test]
fn thresholds_and_alerts_are_metrics() {
    use super::{
        alert::{AlertKind, AlertState},
        settings::TpsThreshold,
    };
    let m = metrics();
    m.tps(12.5);
    m.tps_threshold(&TpsThreshold { upper: Some(10.0), lower: None, window_seconds: 5 });
    m.alerts_active([AlertKind::TpsAbove].into_iter());
    m.alert(AlertKind::TpsAbove, AlertState::Firing);
    m.webhook("delivered");
    let text = m.encode();
    assert_eq!(sample(&text, "basalt_tps"), 12.5);
    assert_eq!(sample(&text, "basalt_tps_window_seconds"), 5.0);
    assert_eq!(sample(&text, r#"basalt_tps_threshold{bound="upper"}"#), 10.0);
    assert!(!text.contains(r#"bound="lower""#), "a bound that is off is absent");
    assert_eq!(sample(&text, r#"basalt_alerts_active{alert="tps_above"}"#), 1.0);
    assert_eq!(sample(&text, r#"basalt_alerts_active{alert="fork_approaching"}"#), 0.0);
    assert_eq!(sample(&text, r#"basalt_alerts_total{alert="tps_above",state="firing"}"#), 1.0);
    assert_eq!(sample(&text, r#"basalt_webhook_deliveries_total{result="delivered"}"#), 1.0);
    m.tps_threshold(&TpsThreshold { upper: None, lower: None, window_seconds: 5 });
    assert!(!m.encode().contains(r#"bound="upper""#));
}

#[tokio::test]
async fn prometheus_can_scrape() {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = MetricsServer::bind(any, Arc::new(metrics()), None).await.expect("a free port");
    let address = server.local_addr().expect("bound");
    tokio::spawn(server.run(std::future::pending()));
    let answer = crate::tls::client::get(format!("http://{address}/metrics")).await.expect("an answer");
    assert!(answer.headers()["content-type"].to_str().is_ok_and(|t| t.starts_with("application/openmetrics-text")));
    let text = answer.text().await.expect("a body");
    assert_eq!(sample(&text, "basalt_up"), 1.0);
    assert!(MetricsServer::bind(address, Arc::new(metrics()), None).await.is_err(), "the port is in use");
}

#[tokio::test]
async fn a_scraper_gone_wild_gets_the_same_text_again() {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let metrics = Arc::new(metrics());
    let server = MetricsServer::bind(any, Arc::clone(&metrics), None).await.expect("a free port");
    let url = format!("http://{}/metrics", server.local_addr().expect("bound"));
    tokio::spawn(server.run(std::future::pending()));
    let client = crate::tls::client::http().build().expect("a client");
    let begun = std::time::Instant::now();
    let mut texts = std::collections::BTreeSet::new();
    for n in 0..1_000 {
        // Each time there is something new to tell.
        metrics.round(n);
        let answer = client.get(&url).send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), 200);
        texts.insert(answer.text().await.expect("a body"));
    }
    // One text in each quarter of a second, however often it is asked for.
    let most = begun.elapsed().as_millis() / 250 + 2;
    assert!((texts.len() as u128) <= most, "{} texts in {:?}", texts.len(), begun.elapsed());
}

#[test]
fn log_levels_are_checked() {
    assert!(logging::check_level("info").is_ok());
    assert!(logging::check_level("info,basalt_node::rpc=debug").is_ok());
    let text = logging::check_level("rpc=loud").expect_err("no such level").to_string();
    assert!(text.contains("use error, warn, info, debug or trace"), "{text}");
}
