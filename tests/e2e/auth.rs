//! A real node that asks who calls: keys made, used and revoked by the command line while it runs; what is told of refusals.

use std::{fs, path::PathBuf, time::Duration};

use serde_json::{Value, json};

use crate::{
    net::{Net, basalt_err, basalt_ok, eventually},
    process::Proc,
};

const SOON: Duration = Duration::from_secs(40);

/// A network of one node with keys.
struct Guarded {
    net: Net,
    port: u16,
}

impl Guarded {
    fn new(port: u16) -> Self {
        let me = Self { net: Net::create(1, port, &[]), port };
        me.create("ops", &["--role", "administrator"]);
        me.create("desk", &["--role", "reader", "--rate", "1000"]);
        let file = me.path("node.toml");
        let text = fs::read_to_string(&file).expect("readable");
        fs::write(&file, format!("{text}\n[auth]\nkeys_file = \"auth.toml\"\n")).expect("writable");
        me
    }

    fn path(&self, name: &str) -> PathBuf {
        self.net.dir().join("nodes/node0").join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("UTF-8").to_owned()
    }

    fn create(&self, id: &str, more: &[&str]) {
        let (keys, out) = (self.text("auth.toml"), self.text(&format!("{id}.key")));
        let args = ["auth", "key", "create", id, "--keys", &keys, "--out", &out];
        basalt_ok(&[&args[..], more].concat());
    }

    fn rpc(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn secret(&self, id: &str) -> String {
        fs::read_to_string(self.path(&format!("{id}.key"))).expect("readable").trim().to_owned()
    }
}

#[test]
fn keys_open_a_node_until_they_are_revoked_and_refusals_are_on_record() {
    let node = Guarded::new(30_400);
    let check = basalt_ok(&["config", "check", &node.text("node.toml")]);
    assert!(check.starts_with("ok"), "{check}");
    let _process = Proc::node(&node.net, 0, &[], &[]);
    basalt_ok(&["health", "--url", &format!("{}/health/live", eventually_up(&node))]);

    let (rpc, desk, ops) = (node.rpc(), node.text("desk.key"), node.text("ops.key"));
    let refused = basalt_err(&["monitor", "status", "--rpc", &rpc]);
    assert!(refused.contains("basalt auth key create"), "{refused}");
    basalt_ok(&["monitor", "status", "--rpc", &rpc, "--api-key-file", &desk]);
    let threshold = ["monitor", "tps", "--upper", "10", "--rpc", &rpc, "--api-key-file"];
    let refused = basalt_err(&[&threshold[..], &[&desk]].concat());
    assert!(refused.contains("may not call monitor_setTpsThreshold: it needs the role operator"), "{refused}");
    basalt_ok(&[&threshold[..], &[&ops]].concat());

    let listed: Value =
        serde_json::from_str(&basalt_ok(&["auth", "key", "list", "--keys", &node.text("auth.toml"), "--json"]))
            .expect("JSON");
    assert_eq!(listed["keys"][1]["id"], "desk");
    basalt_ok(&["auth", "key", "revoke", "desk", "--keys", &node.text("auth.toml")]);
    eventually("the revoked key is refused", SOON, || {
        let out = crate::net::basalt(&["monitor", "status", "--rpc", &rpc, "--api-key-file", &desk]);
        (!out.status.success()).then_some(())
    });
    basalt_ok(&["monitor", "status", "--rpc", &rpc, "--api-key-file", &ops]);

    let audit = eventually("the audit log has them", SOON, || {
        let text = fs::read_to_string(node.path("data/audit/00000001.jsonl")).ok()?;
        text.contains("is not valid on this node").then_some(text)
    });
    let acts: Vec<Value> = audit.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    assert!(acts.iter().any(|a| a["act"] == json!("authentication-failed") && a["address"] == json!("127.0.0.1")));
    assert!(
        acts.iter()
            .any(|a| a["act"] == json!("authorisation-refused") && a["method"] == json!("monitor_setTpsThreshold"))
    );
    let told = audit + &fs::read_to_string(node.path("node.log")).expect("a log");
    for id in ["desk", "ops"] {
        assert!(!told.contains(node.secret(id).rsplit_once('_').expect("digits").1), "no secret is told");
    }
}

/// Waits until the node answers; where.
fn eventually_up(node: &Guarded) -> String {
    let url = node.rpc();
    let health = format!("{url}/health/live");
    eventually("it answers", SOON, || crate::net::basalt(&["health", "--url", &health]).status.success().then_some(()));
    url
}

#[test]
fn settings_of_auth_with_a_mistake_stop_the_node_before_it_starts() {
    let node = Guarded::new(30_410);
    fs::write(node.path("auth.toml"), "[[key]]\nid = \"x\"\n").expect("writable");
    let refused = basalt_err(&["config", "check", &node.text("node.toml")]);
    assert!(refused.contains("auth.toml is refused") && refused.contains("secret_sha256"), "{refused}");
    let refused = basalt_err(&["node", "--config", &node.text("node.toml")]);
    assert!(refused.contains("auth.toml is refused"), "{refused}");
    let refused = basalt_err(&["auth", "key", "create", "A", "--keys", &node.text("other.toml"), "--role", "reader"]);
    assert!(refused.contains("1 to 32 of a-z"), "{refused}");
    assert!(!node.path("other.toml").exists());
}

/// A network that is not for development, of one node, with ports from `port` on.
fn own_network(folder: &std::path::Path, port: u16) -> String {
    let dir = folder.join("net").to_str().expect("UTF-8").to_owned();
    let ports = [port, port + 1, port + 2].map(|p| p.to_string());
    let args = ["network", "create", "--nodes", "1", "--out", &dir, "--rpc-port", &ports[0]];
    let told = basalt_ok(&[&args[..], &["--metrics-port", &ports[1], "--p2p-port", &ports[2]]].concat());
    assert!(told.contains("admin.key"), "{told}");
    dir
}

/// Stops a network's nodes, whatever becomes of the test.
struct Stopped(String);

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = crate::net::basalt(&["network", "down", &self.0]);
    }
}

#[test]
fn a_network_of_ones_own_answers_its_administrator_and_nobody_else() {
    let folder = tempfile::tempdir().expect("tempdir");
    let dir = own_network(folder.path(), 30_420);
    let (rpc, metrics) = ("http://127.0.0.1:30420", "http://127.0.0.1:30421/metrics");
    let key = format!("{dir}/admin.key");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&key).expect("there").permissions());
    assert_eq!(mode & 0o777, 0o600);
    let stopped = Stopped(dir.clone());
    let probe = Net::create(1, 30_430, &[]);
    let status = |url: &str| probe.get(url).map(|(status, _)| status);

    basalt_ok(&["network", "up", &dir, "--detach"]);
    for open in ["/health/live", "/health/ready"] {
        assert!(status(&format!("{rpc}{open}")).is_some_and(|s| s == 200 || s == 503), "{open}");
    }
    for closed in [rpc, metrics, &format!("{rpc}/api/v1/status")] {
        assert_eq!(status(closed), Some(401), "{closed}");
    }
    assert!(basalt_err(&["monitor", "status", "--rpc", rpc]).contains("basalt auth key create"));
    basalt_ok(&["monitor", "status", "--rpc", rpc, "--api-key-file", &key]);
    let nodes: Value = serde_json::from_str(&basalt_ok(&["network", "status", &dir, "--json"])).expect("JSON");
    assert!(nodes["nodes"][0]["height"].is_u64(), "{nodes}");
    assert!(basalt_ok(&["top", &dir, "--once"]).contains("node0"));
    basalt_ok(&["network", "explain", &dir]);
    basalt_ok(&["network", "down", &dir]);

    // Without the section it is not open, but closed.
    let file = format!("{dir}/nodes/node0/node.toml");
    let mut settings: toml::Table = fs::read_to_string(&file).expect("readable").parse().expect("TOML");
    assert!(settings.remove("auth").is_some());
    fs::write(&file, settings.to_string()).expect("writable");
    let log = fs::File::create(format!("{dir}/nodes/node0/alone.log")).expect("a log");
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_basalt"))
        .args(["node", "--config", &file])
        .stdout(log.try_clone().expect("twice"))
        .stderr(log)
        .spawn()
        .expect("it starts");
    eventually("it lives", SOON, || (status(&format!("{rpc}/health/live")) == Some(200)).then_some(()));
    assert_eq!((status(rpc), status(metrics)), (Some(401), Some(401)));
    child.kill().and_then(|()| child.wait()).expect("it ends");
    let log = fs::read_to_string(format!("{dir}/nodes/node0/alone.log")).expect("readable");
    assert!(log.contains("answers nobody but health checks"), "{log}");
    drop(stopped);
}

#[test]
fn a_development_network_is_open_on_loopback_and_elsewhere_only_if_that_is_said() {
    let folder = tempfile::tempdir().expect("tempdir");
    let dir = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let config =
        |name: &str| fs::read_to_string(folder.path().join(name).join("nodes/node0/node.toml")).expect("a file");
    let create = |name: &str, more: &[&str]| {
        basalt_ok(&[&["network", "create", "--nodes", "1", "--out", &dir(name)][..], more].concat());
        config(name)
    };
    assert!(!create("loopback", &["--dev"]).contains("[auth]"));
    assert!(create("elsewhere", &["--dev", "--listen", "0.0.0.0"]).contains("keys_file = \"auth.toml\""));
    assert!(create("open", &["--dev", "--open", "--listen", "0.0.0.0"]).contains("anonymous = [\"administrator\"]"));
    let refused = basalt_err(&["network", "create", "--open", "--out", &dir("own")]);
    assert!(refused.contains("--open is for development networks"), "{refused}");
    assert!(!folder.path().join("own").exists(), "nothing is left of it");
    let refused = basalt_err(&["dev", "--host", "0.0.0.0", "--port", "30440"]);
    assert!(refused.contains("add --open"), "{refused}");
}
