//! The benchmark, as a user runs it: its own network, a user's script, a comparison, and nothing left behind.

use std::{path::Path, process::Command, time::Duration};

use serde_json::Value;

use super::net::{Net, basalt_err, basalt_ok};

const SMALL: [&str; 8] = ["--seconds", "2", "--warm-up", "0", "--senders", "40", "--max-transactions", "400"];

fn run(dir: &Path, more: &[&str]) -> Value {
    let dir = dir.to_str().expect("UTF-8 path");
    let mut args = vec!["bench", "run", "--local", "--dir", dir, "--json"];
    args.extend(SMALL);
    args.extend(more);
    serde_json::from_str(&basalt_ok(&args)).expect("JSON")
}

fn assert_sound(report: &Value, nodes: u64) {
    for key in
        ["committed_tps", "ceiling_tps", "ratio_to_ceiling", "p50_ms", "p99_ms", "cpu_us_per_tx", "disk_bytes_per_tx"]
    {
        assert!(report[key].as_f64().is_some_and(|v| v > 0.0), "{key}: {report}");
    }
    assert!(report["rss_bytes_max"].as_u64().is_some_and(|b| b > 1 << 20), "{report}");
    assert_eq!((report["lost"].as_u64(), report["nodes"].as_u64()), (Some(0), Some(nodes)), "{report}");
    assert_eq!(report["failed_in_sample"], 0, "{report}");
    assert_eq!(report["accepted"], report["committed"], "{report}");
    assert!(report["committed"].as_u64().is_some_and(|n| (1..=400).contains(&n)), "{report}");
}

#[test]
fn a_benchmark_makes_runs_and_removes_its_own_network() {
    let dir = tempfile::tempdir().expect("tempdir");
    let files = tempfile::tempdir().expect("tempdir");
    let path = |name: &str| files.path().join(name).to_str().expect("UTF-8 path").to_owned();
    let (a, b, html) = (path("a.json"), path("b.json"), path("report.html"));
    let native = run(dir.path(), &["--nodes", "2", "--workload", "native", "--saturate", "--out", &a, "--html", &html]);
    assert_sound(&native, 2);
    assert_eq!(native["workload"], "native");
    let mixed = run(dir.path(), &["--nodes", "1", "--workload", "mixed", "--rate", "100", "--out", &b]);
    assert_sound(&mixed, 1);
    assert_eq!(mixed["calls"].as_array().map(Vec::len), Some(5));
    assert!(std::fs::read_to_string(&html).expect("report").contains("<table>"));
    assert!(basalt_ok(&["bench", "compare", &a, &b]).contains("committed_tps"));
    assert!(basalt_err(&["bench", "compare", &a, &html]).contains("second report"));
    assert_eq!(std::fs::read_dir(dir.path()).expect("dir").count(), 0, "nothing is left");
}

#[test]
fn a_script_runs_on_a_network_that_is_there_and_a_failing_one_is_told() {
    let net = Net::create(1, 23410, &["--block-interval-ms", "50"]);
    net.up();
    let script = net.dir().join("load.toml");
    // Init code that deploys one byte, STOP: every call succeeds. The second deploys INVALID: every call fails.
    for (code, fails) in [("0x600060005360016000f3", false), ("0x60fe60005360016000f3", true)] {
        let text = format!(
            "name = \"own\"\n[[contract]]\nname = \"c\"\ncode = \"{code}\"\n[[call]]\nto = \"c\"\ndata = \"0x{{sender}}{{nonce}}\"\ngas = 50000\n"
        );
        std::fs::write(&script, text).expect("writes");
        let (network, script) = (net.dir(), script.to_str().expect("UTF-8 path"));
        let mut args = vec!["bench", "run", "--network", network.to_str().expect("UTF-8 path"), "--script", script];
        args.extend(SMALL);
        args.push("--json");
        if fails {
            assert!(basalt_err(&args).contains("fail when they run"));
        } else {
            let report: Value = serde_json::from_str(&basalt_ok(&args)).expect("JSON");
            assert_sound(&report, 1);
            assert_eq!(report["workload"], "own");
        }
    }
}

#[test]
fn reads_and_subscriptions_are_measured_and_bad_wishes_refused() {
    let net = Net::create(1, 23420, &["--block-interval-ms", "50"]);
    net.up();
    let url = net.url(0);
    let reads = |more: &[&str]| -> Value {
        let mut args = vec!["bench", "reads", "--rpc", &url, "--seconds", "1", "--warm-up", "0", "--json"];
        args.extend(more);
        serde_json::from_str(&basalt_ok(&args)).expect("JSON")
    };
    for (read, rate) in [("eth_call", None), ("eth_getBalance", None), ("eth_call", Some("50"))] {
        let mut more = vec!["--read", read, "--connections", "4"];
        more.extend(rate.iter().flat_map(|r| ["--rate", *r]));
        let report = reads(&more);
        assert_eq!((report["read"].as_str(), report["failed"].as_u64()), (Some(read), Some(0)), "{report}");
        let per_second = report["per_second"].as_f64().expect("a number");
        assert!(if rate.is_some() { (25.0..=51.0).contains(&per_second) } else { per_second > 10.0 }, "{report}");
        assert!(report["latency"]["p99_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{report}");
    }
    let mut args = vec!["bench", "run", "--rpc", &url, "--subscriptions", "30", "--workload", "erc20", "--json"];
    args.extend(SMALL);
    let report: Value = serde_json::from_str(&basalt_ok(&args)).expect("JSON");
    assert_eq!((report["lost"].as_u64(), report["subscriptions"].as_u64()), (Some(0), Some(30)), "{report}");
    // Each Transfer goes to the fifteen that asked for logs, and each block to the fifteen others.
    let committed = report["committed"].as_u64().expect("a number");
    assert!(report["notifications"].as_u64().is_some_and(|n| n > 15 * committed), "{report}");
    assert!(basalt_err(&["bench", "reads", "--rpc", url, "--read", "eth_nothing"]).contains("eth_getBalance"));
    assert!(basalt_err(&["bench", "reads", "--rpc", url, "--rate", "0"]).contains("--rate must be"));
    assert!(basalt_err(&["bench", "reads", "--rpc", "http://127.0.0.1:1"]).contains("is the node running there?"));
}

#[test]
fn an_interrupted_benchmark_leaves_no_process_and_no_folder() {
    let dir = tempfile::tempdir().expect("tempdir");
    let mut child = Command::new(env!("CARGO_BIN_EXE_basalt"))
        .args([
            "bench",
            "run",
            "--local",
            "--nodes",
            "1",
            "--rate",
            "20",
            "--senders",
            "20",
            "--seconds",
            "60",
            "--dir",
        ])
        .arg(dir.path())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("starts");
    let pid_file = super::net::eventually("the network is up", Duration::from_secs(60), || {
        let made = std::fs::read_dir(dir.path()).ok()?.flatten().find(|e| e.path().join("net").exists())?;
        Some(made.path().join("net/nodes/node0/node.pid")).filter(|p| p.exists())
    });
    let node = std::fs::read_to_string(pid_file).expect("pid").split(' ').next().expect("pid").to_owned();
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(killed.success());
    assert!(!child.wait().expect("ends").success());
    // Whoever adopted the process may not have reaped it yet.
    let stat = std::fs::read_to_string(format!("/proc/{node}/stat")).unwrap_or_default();
    assert!(stat.is_empty() || stat.contains(") Z "), "node process {node} is left: {stat}");
    assert_eq!(std::fs::read_dir(dir.path()).expect("dir").count(), 0, "nothing is left");
}

#[test]
fn what_cannot_be_run_is_refused_with_a_mend() {
    let error = basalt_err(&["bench", "run", "--local", "--workload", "nonsense"]);
    assert!(error.contains("no workload `nonsense`") && error.contains("erc20"), "{error}");
    let error = basalt_err(&["bench", "run", "--rpc", "http://127.0.0.1:1", "--seconds", "9999"]);
    assert!(error.contains("--seconds must be between 1 and 3600"), "{error}");
    let error = basalt_err(&["bench", "run", "--local", "--repeat", "10"]);
    assert!(error.contains("--repeat"), "{error}");
}
