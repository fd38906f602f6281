//! Alerts about a node's own machine, provoked for real: a clock that is wrong, a disk that fills, memory that runs out.

use std::{fs, path::Path, process::Command, time::Duration};

use serde_json::{Value, json};

use crate::{
    net::{Net, eventually},
    process::{Proc, clock_shim},
};

const SOON: Duration = Duration::from_secs(60);

fn active(net: &Net, node: usize, alert: &str) -> Option<Value> {
    let alerts = net.call(node, "monitor_alerts", json!([]));
    alerts["active"].as_array().expect("a list").iter().find(|a| a["alert"] == alert).cloned()
}

fn fires(net: &Net, node: usize, alert: &str) -> Value {
    eventually(&format!("{alert} fires on node{node}"), SOON, || active(net, node, alert))
}

fn ends(net: &Net, node: usize, alert: &str) {
    eventually(&format!("{alert} is over on node{node}"), SOON, || active(net, node, alert).is_none().then_some(()));
    let alerts = net.call(node, "monitor_alerts", json!([]));
    let newest = alerts["recent"].as_array().expect("a list").iter().find(|a| a["alert"] == alert).expect("told of");
    assert_eq!(newest["state"], "resolved", "{newest}");
}

#[test]
fn a_clock_that_is_wrong_is_told_by_its_own_node_alone() {
    let net = Net::create(4, 26_300, &[]);
    let shims = tempfile::tempdir().expect("tempdir");
    let shim = clock_shim(shims.path(), 7);
    net.up();
    net.kill(1);
    let wrong = Proc::node(&net, 1, &[], &[("LD_PRELOAD", &shim)]);
    eventually("node1 answers", SOON, || net.ask(1, "monitor_alerts", json!([])));
    let alert = fires(&net, 1, "clock");
    let off = alert["value"].as_f64().expect("a number");
    assert!((6_000.0..8_000.0).contains(&off), "{alert}");
    // The first peer that is heard is enough for the alert.
    let status = eventually("node1 has heard all the others", SOON, || {
        let status = net.ask(1, "monitor_status", json!([]))?["result"].clone();
        (status["clock"]["peersCompared"] == 3).then_some(status)
    });
    assert!(status["clock"]["offsetMs"].as_i64().is_some_and(|ms| ms > 0), "it is ahead: {status}");
    let (_, metrics) = net.get("http://127.0.0.1:26321/metrics").expect("metrics");
    assert!(metrics.contains("basalt_alerts_active{alert=\"clock\"} 1"), "{metrics}");
    // One liar of three moves nobody's median.
    for node in [0, 2, 3] {
        assert!(active(&net, node, "clock").is_none(), "node{node}'s clock is right");
        let status = net.call(node, "monitor_status", json!([]));
        assert!(status["clock"]["offsetMs"].as_i64().is_some_and(|ms| ms.abs() < 500), "{status}");
    }
    // Set right, it is heard again at once: what it said while it was ahead does not drown what it says now.
    drop(wrong);
    net.up();
    let heights = |node: usize| {
        let nodes = net.call(node, "monitor_nodes", json!([]));
        nodes.as_array().expect("a list").iter().find(|n| n["name"] == "node1").cloned().expect("listed")
    };
    eventually("node1's clock is right", SOON, || {
        let status = net.ask(1, "monitor_status", json!([]))?;
        (status["result"]["clock"]["offsetMs"].as_i64()?.abs() < 500).then_some(())
    });
    assert!(active(&net, 1, "clock").is_none());
    eventually("it is on for the others", SOON, || (heights(0)["on"] == json!(true)).then_some(()));
}

/// A file system of its own for a node's data, seen by that process only and gone with it.
const SMALL_DISK: &str = r#"
set -e
data=$1; shift
mkdir "$data.before"
cp -a "$data/." "$data.before/"
mount -t tmpfs -o size=192m tmpfs "$data"
cp -a "$data.before/." "$data/"
exec "$@"
"#;

#[test]
fn a_disk_that_fills_is_told_and_over_when_there_is_room_again() {
    let own_mounts = Command::new("unshare").args(["--mount", "true"]).status().is_ok_and(|s| s.success());
    if !own_mounts {
        assert!(std::env::var_os("CI").is_none_or(|v| v != "true"), "CI=true, but no mount namespace is to be had");
        return println!("skipped: a small disk needs root and util-linux");
    }
    let net = Net::create(4, 26_400, &[]);
    net.up();
    net.kill(2);
    let data = net.data(2);
    let data_text = data.to_str().expect("UTF-8");
    let node = Proc::node(&net, 2, &["unshare", "--mount", "sh", "-c", SMALL_DISK, "sh", data_text], &[]);
    eventually("node2 answers", SOON, || net.ask(2, "monitor_alerts", json!([])));
    let disk = || net.call(2, "monitor_resources", json!([]))["disk"].clone();
    let small = eventually("its disk is measured", SOON, || disk()["totalBytes"].as_u64());
    assert_eq!(small, 192 << 20, "its own disk, not the machine's");
    assert!(active(&net, 2, "disk").is_none());

    // Nearly full: the default threshold is 90 %.
    let free = disk()["availableBytes"].as_u64().expect("measured");
    let filler = Path::new("/proc").join(node.id().to_string()).join("root").join(format!(".{data_text}/filler"));
    let size = usize::try_from(free - small * 4 / 100).expect("fits");
    fs::write(&filler, vec![1; size]).expect("there is room");
    let alert = fires(&net, 2, "disk");
    assert!(alert["value"].as_f64().is_some_and(|v| (90.0..=100.0).contains(&v)), "{alert}");
    assert_eq!((&alert["severity"], &alert["threshold"]), (&json!("critical"), &json!(90.0)));
    assert!(active(&net, 0, "disk").is_none(), "the others have room");

    fs::remove_file(&filler).expect("removed");
    ends(&net, 2, "disk");
}

#[test]
fn a_node_that_loses_its_peers_is_told_until_they_are_back() {
    let net = Net::create(2, 30_700, &[]);
    net.up();
    eventually("they are connected", SOON, || {
        let status = net.ask(0, "monitor_status", json!([]))?["result"].clone();
        (status["peers"] == json!(1)).then_some(())
    });
    assert!(active(&net, 0, "peers").is_none());
    net.kill(1);
    let alert = fires(&net, 0, "peers");
    assert_eq!((&alert["value"], &alert["threshold"]), (&json!(0.0), &json!(1.0)), "{alert}");
    let message = net.call(0, "monitor_alerts", json!([]))["recent"][0]["message"].clone();
    assert!(message.as_str().is_some_and(|m| m.contains("check that the P2P port is reachable")), "{message}");
    net.up();
    ends(&net, 0, "peers");
}

#[test]
fn memory_that_runs_out_is_told() {
    let net = Net::create(1, 26_500, &[]);
    let path = net.dir().join("nodes/node0/node.toml");
    let mut settings: toml::Table = fs::read_to_string(&path).expect("readable").parse().expect("TOML");
    let monitor = settings["monitor"].as_table_mut().expect("a section");
    // No node fits into this.
    monitor.insert("memory_limit_mib".into(), 16.into());
    fs::write(&path, settings.to_string()).expect("writable");
    net.up();
    let alert = fires(&net, 0, "memory");
    assert!(alert["value"].as_f64().is_some_and(|v| v > 90.0), "{alert}");
    let memory = net.call(0, "monitor_resources", json!([]))["memory"].clone();
    assert_eq!(memory["limitBytes"], 16 << 20);
    let message = net.call(0, "monitor_alerts", json!([]))["recent"][0]["message"].clone();
    assert!(message.as_str().is_some_and(|m| m.contains("lower the budgets")), "{message}");
}

#[test]
fn a_fork_for_which_no_quorum_is_known_to_be_ready_is_told_until_one_is() {
    let folder = tempfile::tempdir().expect("tempdir");
    let spec = folder.path().join("spec.toml");
    // At a block a second in less than six days.
    fs::write(&spec, "evm = \"prague\"\n[forks]\n500000 = \"osaka\"\n").expect("writes");
    let net = Net::create(4, 26_700, &[spec.to_str().expect("UTF-8")]);
    for node in 0..4 {
        let path = net.dir().join(format!("nodes/node{node}/node.toml"));
        let text = fs::read_to_string(&path).expect("readable");
        fs::write(&path, text.replace("node_down_after_ms = 30000", "node_down_after_ms = 8000")).expect("writable");
    }
    // Nobody has ever heard of the other two.
    let _two = [0, 1].map(|node| Proc::node(&net, node, &[], &[]));
    for node in [0, 1] {
        eventually("it answers", SOON, || net.ask(node, "monitor_alerts", json!([])));
        let alert = fires(&net, node, "fork_approaching");
        assert_eq!((&alert["subject"], &alert["severity"]), (&json!("osaka at height 500000"), &json!("critical")));
        assert!(alert["value"].as_f64().is_some_and(|days| (5.0..6.0).contains(&days)), "{alert}");
    }
    let fork = || net.call(0, "monitor_status", json!([]))["forks"][0].clone();
    assert_eq!((&fork()["height"], &fork()["quorumReady"]), (&json!(500_000), &json!(false)));
    assert_eq!(fork()["unready"], json!(["node2", "node3"]));

    // Three of four are a quorum.
    let _third = Proc::node(&net, 2, &[], &[]);
    ends(&net, 0, "fork_approaching");
    ends(&net, 1, "fork_approaching");
    assert_eq!((&fork()["quorumReady"], &fork()["unready"]), (&json!(true), &json!(["node3"])));
}
