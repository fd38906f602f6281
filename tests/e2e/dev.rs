//! Development networks: `basalt dev` as a process, killed and restarted, and gone when it ends.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};

use crate::net::{basalt_err, basalt_ok, eventually, quantity};

const SOON: Duration = Duration::from_secs(60);
const WHO: &str = "0x00000000000000000000000000000000000000aa";

/// A node of a development network, and the process if it is `basalt dev`; that is killed when dropped.
struct Dev {
    process: Option<Child>,
    url: String,
    http: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

impl Dev {
    fn start(port: u16, more: &[&str], temporary: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_basalt"));
        command.args(["dev", "--port", &port.to_string()]).args(more).env("TMPDIR", temporary);
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("it starts");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let dev = Self { process: Some(process), url: format!("http://127.0.0.1:{port}"), http: client(), runtime };
        eventually("it answers", SOON, || dev.ask("eth_chainId", json!([])));
        dev
    }

    /// The whole answer; `None` when nobody answers.
    fn answer(&self, method: &str, params: Value) -> Option<Value> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let sent = self.http.post(&self.url).json(&body);
        self.runtime.block_on(async { sent.send().await.ok()?.json().await.ok() })
    }

    fn ask(&self, method: &str, params: Value) -> Option<Value> {
        self.answer(method, params)?.get_mut("result").map(Value::take)
    }

    fn call(&self, method: &str, params: Value) -> Value {
        self.ask(method, params).unwrap_or_else(|| panic!("{method} fails"))
    }

    fn number(&self, method: &str, params: Value) -> u64 {
        quantity(&self.call(method, params)).expect("a quantity")
    }

    fn pid(&self) -> String {
        self.process.as_ref().expect("a process").id().to_string()
    }

    /// Sends the signal and waits for the end; whether that was in order.
    fn end(mut self, signal: &str) -> bool {
        assert!(Command::new("kill").args([signal, &self.pid()]).status().expect("kill runs").success());
        self.process.take().expect("a process").wait().expect("it ends").success()
    }
}

/// Without connections kept: a node that was restarted does not know them.
fn client() -> reqwest::Client {
    let builder = basalt_node::tls::client::http().timeout(Duration::from_secs(20)).pool_max_idle_per_host(0);
    builder.build().expect("a client")
}

impl Drop for Dev {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            // Fails only when it has ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// What the edits in the blocks make of the account is what the state says, every block can be run again, and each is the
/// child of the one before.
fn assert_consistent(dev: &Dev) {
    let head = dev.number("eth_blockNumber", json!([]));
    let (mut parent, mut balance) = (Value::Null, 0);
    for n in 0..=head {
        let number = format!("{n:#x}");
        let block = dev.call("eth_getBlockByNumber", json!([number, true]));
        assert!(n == 0 || block["parentHash"] == parent, "block {n} has another parent");
        parent = block["hash"].clone();
        let edits = block["transactions"].as_array().expect("transactions").iter().filter(|t| t["type"] == "0x44");
        for input in edits.filter_map(|t| t["input"].as_str()) {
            balance = u64::from_str_radix(&input[input.len() - 16..], 16).expect("hex");
        }
        assert_eq!(dev.number("eth_getBalance", json!([WHO, number])), balance, "after block {n}");
        assert!(n == 0 || dev.call("debug_traceBlockByNumber", json!([number])).is_array());
    }
    assert!(dev.call("eth_getBlockByNumber", json!([format!("{:#x}", head + 1), false])).is_null());
    dev.call("eth_getProof", json!([WHO, [], "latest"]));
}

#[test]
fn killed_while_blocks_are_made_and_taken_back() {
    let (dir, mut rng) = (tempfile::tempdir().expect("a folder"), StdRng::seed_from_u64(7));
    let kept = dir.path().join("chain");
    let more = ["--dir", kept.to_str().expect("text"), "--quiet"];
    for round in 0..8u64 {
        let dev = Dev::start(28_900, &more, dir.path());
        assert_consistent(&dev);
        let pid = dev.pid();
        let after = Duration::from_millis(rng.random_range(20..400));
        let killer = std::thread::spawn(move || {
            std::thread::sleep(after);
            Command::new("kill").args(["-9", &pid]).status().expect("kill runs")
        });
        for step in 0u64.. {
            let snapshot = dev.ask("evm_snapshot", json!([]));
            let balance = format!("{:#x}", 1000 * (round + 1) + step);
            dev.ask("hardhat_setBalance", json!([WHO, balance]));
            dev.ask("hardhat_mine", json!(["0x3"]));
            if step.is_multiple_of(3) {
                continue;
            }
            if dev.ask("evm_revert", json!([snapshot])).is_none() {
                break;
            }
        }
        assert!(killer.join().expect("joins").success());
        assert!(!dev.end("-0"), "it was killed");
    }
    let dev = Dev::start(28_900, &more, dir.path());
    assert_consistent(&dev);
    assert!(dev.number("eth_blockNumber", json!([])) > 0, "what was made stays");
    assert!(dev.end("-INT"), "it ends by itself");
    assert!(kept.join("genesis.json").exists(), "a folder that was named stays");
}

#[test]
fn nothing_is_left_of_a_temporary_one() {
    let dir = tempfile::tempdir().expect("a folder");
    let dev = Dev::start(28_910, &["--interval", "0.2"], dir.path());
    eventually("blocks come by themselves", SOON, || (dev.number("eth_blockNumber", json!([])) > 2).then_some(()));
    let taken = basalt_err(&["dev", "--port", "28910"]);
    assert!(taken.contains("cannot listen on 127.0.0.1:28910"), "{taken}");
    assert!(dev.end("-INT"));
    assert_eq!(std::fs::read_dir(dir.path()).expect("reads").count(), 0, "its files are gone");
}

/// Takes a network down when dropped.
struct Up(String);

impl Drop for Up {
    fn drop(&mut self) {
        crate::net::basalt(&["network", "down", &self.0]);
    }
}

#[test]
fn a_network_of_its_own_kind() {
    let dir = tempfile::tempdir().expect("a folder");
    let out = dir.path().join("net").display().to_string();
    let ports = ["--rpc-port", "28920", "--metrics-port", "28930", "--p2p-port", "28940"];
    let create = ["network", "create", "--consensus", "dev", "--out", &out];
    let refused = basalt_err(&[&create[..], &["--nodes", "4"]].concat());
    assert!(refused.contains("must be one validator"), "{refused}");
    basalt_ok(&[&create[..], &ports].concat());
    let _down = Up(out.clone());
    basalt_ok(&["network", "up", &out, "--detach"]);
    let dev = Dev {
        process: None,
        url: "http://127.0.0.1:28920".into(),
        http: client(),
        runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime"),
    };
    assert_eq!(dev.call("anvil_setBalance", json!([WHO, "0x77"])), json!(true));
    let status = dev.call("consensus_explain", json!([]));
    assert!(status["summary"].as_str().is_some_and(|s| s.contains("development network")), "{status}");
    basalt_ok(&["network", "down", &out]);
    basalt_ok(&["network", "up", &out, "--detach"]);
    assert_eq!(dev.call("eth_getBalance", json!([WHO, "latest"])), json!("0x77"));
    assert_eq!(dev.call("evm_revert", json!(["0x1"])), json!(false), "no snapshot outlives the process");
    dev.call("hardhat_reset", json!([]));
    assert_eq!(dev.call("eth_getBalance", json!([WHO, "latest"])), json!("0x0"));
}
