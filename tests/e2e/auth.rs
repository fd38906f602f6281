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
        let text = fs::read_to_string(node.path("data/audit.log")).ok()?;
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
