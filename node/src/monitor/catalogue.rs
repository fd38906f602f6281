//! The catalogue of metrics, made from what is served: `docs/metrics.md` must be equal to it (`BASALT_BLESS=1` writes it).

use std::{collections::BTreeSet, fmt::Write as _, fs, time::Duration};

use super::{
    BlockStats, Metrics, View,
    alert::{AlertKind, AlertState},
    resources::{Resources, Transfer},
    settings::TpsThreshold,
};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");

const HEAD: &str = "# Metrics

Every node serves these at `/metrics` on its metrics port, in OpenMetrics text. Made from the code by
`BASALT_BLESS=1 cargo nextest run -p basalt catalogue`; a test holds this page to what is served.

Counters are served with the suffix `_total`, histograms with `_bucket`, `_sum` and `_count`, `basalt_node` with `_info`.

| name | type | unit | labels | what |
| --- | --- | --- | --- | --- |
";

/// Gives every family that has labels at least one sample: families without any are not served.
fn touch(m: &Metrics) {
    m.block(&BlockStats {
        commit_latency: Some(Duration::ZERO),
        execution: Some(Duration::ZERO),
        ..BlockStats::default()
    });
    m.transaction_rejected("reason");
    m.rpc_request("eth_chainId", None, Duration::ZERO);
    m.tps_threshold(&TpsThreshold { upper: Some(1.0), lower: None, window_seconds: 1 });
    m.alerts_active(std::iter::empty());
    m.alert(AlertKind::Disk, AlertState::Firing);
    m.webhook("delivered");
    m.tls_handshake("ok");
    m.tls_reload("renewed");
    m.auth_failed("missing");
    m.auth_refused("role");
    m.certificate("of rpc", 1);
    m.trace("begun");
    m.trace_spans("exported", 1);
    let moved = Some(Transfer { in_bytes: 1, out_bytes: 1, ..Transfer::default() });
    m.view(&View { resources: Resources { io: moved, network: moved, ..Resources::default() }, ..View::default() });
}

/// Whether a line is a sample of this family, and not of one whose name only begins so.
fn is_sample_of(line: &str, family: &str) -> bool {
    let suffix = line.strip_prefix(family).and_then(|rest| rest.split(['{', ' ']).next());
    suffix.is_some_and(|s| ["", "_total", "_bucket", "_sum", "_count", "_info"].contains(&s))
}

/// One row per family, in the order of their registration.
fn catalogue(text: &str) -> String {
    let line = |kind: &str, name: &str| {
        let prefix = format!("# {kind} {name} ");
        text.lines().find_map(|l| l.strip_prefix(prefix.as_str())).unwrap_or_default()
    };
    let mut out = String::from(HEAD);
    for family in text.lines().filter_map(|l| l.strip_prefix("# TYPE ")) {
        let (name, kind) = family.split_once(' ').expect("name and type");
        let samples = text.lines().filter(|l| is_sample_of(l, name));
        let labels: BTreeSet<&str> = samples
            .filter_map(|l| l.split_once('{')?.1.split_once('}'))
            .flat_map(|(labels, _)| labels.split(',').filter_map(|l| l.split_once('=')).map(|(k, _)| k))
            .filter(|l| *l != "le")
            .collect();
        let labels = labels.into_iter().collect::<Vec<_>>().join(", ");
        let help = line("HELP", name).trim_end_matches('.');
        writeln!(out, "| `{name}` | {kind} | {} | {labels} | {help} |", line("UNIT", name)).expect("a string grows");
    }
    out
}

#[test]
fn a_family_has_its_own_labels_only() {
    let text = "# TYPE a info\na_info{x=\"1\"} 1\n# TYPE as gauge\nas{y=\"1\"} 1\nas_old{z=\"1\"} 1\n";
    let rows: Vec<_> = catalogue(text).lines().filter(|l| l.starts_with("| `")).map(str::to_owned).collect();
    assert_eq!(rows, ["| `a` | info |  | x |  |", "| `as` | gauge |  | y |  |"]);
}

#[test]
fn the_catalogue_is_what_is_served() {
    let metrics = super::tests::metrics();
    touch(&metrics);
    let now = catalogue(&metrics.encode());
    if std::env::var_os("BASALT_BLESS").is_some_and(|v| v == "1") {
        fs::write(PATH, &now).expect("writable");
        return;
    }
    let committed = fs::read_to_string(PATH).unwrap_or_default();
    assert_eq!(now, committed, "docs/metrics.md is old; run with BASALT_BLESS=1");
    assert!(now.lines().count() > 50, "{now}");
}
