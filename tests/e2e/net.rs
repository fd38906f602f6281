//! A network of real processes, driven by the command line as a user drives it, and its RPC.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// A network in a folder of its own, on ports of its own; stopped and removed when dropped.
pub struct Net {
    folder: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    http: reqwest::Client,
    nodes: Vec<String>,
}

/// Runs the binary under test.
pub fn basalt(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_basalt"))
        .args(args)
        .env_remove("BASALT_PASSPHRASE")
        .output()
        .expect("the binary under test runs")
}

/// Runs it and expects success; its standard output.
pub fn basalt_ok(args: &[&str]) -> String {
    let out = basalt(args);
    let err = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "basalt {args:?} failed: {err}\n{}", String::from_utf8_lossy(&out.stdout));
    String::from_utf8(out.stdout).expect("UTF-8")
}

/// Runs it and expects failure; its standard error.
pub fn basalt_err(args: &[&str]) -> String {
    let out = basalt(args);
    assert!(!out.status.success(), "basalt {args:?} should fail, but printed {}", String::from_utf8_lossy(&out.stdout));
    String::from_utf8(out.stderr).expect("UTF-8")
}

/// Asks `what` every 50 ms until it answers, at most `within`.
pub fn eventually<T>(what: &str, within: Duration, mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {within:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Reads a JSON-RPC quantity.
pub fn quantity(v: &Value) -> Option<u64> {
    u64::from_str_radix(v.as_str()?.strip_prefix("0x")?, 16).ok()
}

impl Net {
    /// Creates a development network with this many validators, ports counted up from `port`, without starting it.
    pub fn create(validators: u16, port: u16, more: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("tempdir");
        let dir = folder.path().join("net");
        let (n, rpc, metrics, p2p) = (validators.to_string(), port, port + 20, port + 40);
        let (rpc, metrics, p2p) = (rpc.to_string(), metrics.to_string(), p2p.to_string());
        let dir = dir.to_str().expect("UTF-8 path");
        let mut args = vec!["network", "create", "--dev", "--nodes", &n, "--out", dir];
        args.extend(["--rpc-port", &rpc, "--metrics-port", &metrics, "--p2p-port", &p2p]);
        args.extend(more);
        basalt_ok(&args);
        let at = more.iter().position(|a| *a == "--followers");
        let followers: u16 = at.and_then(|i| more.get(i + 1)?.parse().ok()).unwrap_or(0);
        let nodes = (0..validators + followers).map(|i| format!("http://127.0.0.1:{}", port + i)).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        let http = basalt_node::tls::client::http()
            .timeout(Duration::from_secs(10))
            .pool_max_idle_per_host(0)
            .no_proxy()
            .build()
            .expect("client");
        Self { folder, runtime, http, nodes }
    }

    /// Moves the nodes, not started yet, to other addresses; ports stay.
    pub fn relocate(&mut self, addresses: &[String]) {
        let port = |url: &String| url.rsplit(':').next().expect("a port").parse::<u16>().expect("a number");
        let first = port(&self.nodes[0]);
        let files = (0..self.len()).map(|n| self.dir().join(format!("nodes/node{n}/node.toml")));
        for file in files.chain([self.dir().join("network.toml")]) {
            let mut text = std::fs::read_to_string(&file).expect("reads");
            for (n, address) in addresses.iter().enumerate() {
                for base in [first, first + 20, first + 40] {
                    let port = base + u16::try_from(n).expect("few nodes");
                    text = text.replace(&format!("127.0.0.1:{port}\""), &format!("{address}:{port}\""));
                    text = text.replace(&format!("/ip4/127.0.0.1/tcp/{port}/"), &format!("/ip4/{address}/tcp/{port}/"));
                }
            }
            assert!(!text.contains("127.0.0.1"), "every address is moved: {text}");
            if file.ends_with("node.toml") {
                // Elsewhere than on loopback a node answers nobody unless it is told to.
                text.push_str("\n[auth]\nanonymous = [\"administrator\"]\n");
            }
            std::fs::write(&file, text).expect("writes");
        }
        self.nodes = self.nodes.iter().zip(addresses).map(|(url, a)| format!("http://{a}:{}", port(url))).collect();
    }

    /// The network's folder.
    pub fn dir(&self) -> PathBuf {
        self.folder.path().join("net")
    }

    fn dir_arg(&self) -> String {
        self.dir().to_str().expect("UTF-8 path").to_owned()
    }

    pub fn up(&self) {
        basalt_ok(&["network", "up", &self.dir_arg(), "--detach"]);
    }

    pub fn down(&self) {
        basalt_ok(&["network", "down", &self.dir_arg()]);
    }

    pub fn status(&self) -> Vec<Value> {
        let text = basalt_ok(&["network", "status", &self.dir_arg(), "--json"]);
        let status: Value = serde_json::from_str(&text).expect("JSON");
        status["nodes"].as_array().expect("nodes").clone()
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn url(&self, node: usize) -> &str {
        &self.nodes[node]
    }

    /// The data folder of a node.
    pub fn data(&self, node: usize) -> PathBuf {
        self.dir().join(format!("nodes/node{node}/data"))
    }

    /// One JSON-RPC call, whole answer; `None` when nobody answers.
    pub fn ask(&self, node: usize, method: &str, params: Value) -> Option<Value> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        self.runtime.block_on(async { self.http.post(self.url(node)).json(&body).send().await.ok()?.json().await.ok() })
    }

    /// One JSON-RPC call to any address, whole answer.
    pub fn post(&self, url: &str, method: &str, params: Value) -> Option<Value> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        self.runtime.block_on(async { self.http.post(url).json(&body).send().await.ok()?.json().await.ok() })
    }

    /// One JSON-RPC call that must succeed.
    pub fn call(&self, node: usize, method: &str, params: Value) -> Value {
        let answer = self.ask(node, method, params.clone()).unwrap_or_else(|| panic!("node{node} does not answer"));
        assert!(answer.get("error").is_none(), "{method} {params}: {answer}");
        answer["result"].clone()
    }

    /// GET of an HTTP path: status and body.
    pub fn get(&self, url: &str) -> Option<(u16, String)> {
        self.runtime.block_on(async {
            let answer = self.http.get(url).send().await.ok()?;
            Some((answer.status().as_u16(), answer.text().await.ok()?))
        })
    }

    pub fn height(&self, node: usize) -> Option<u64> {
        quantity(&self.ask(node, "eth_blockNumber", json!([]))?["result"])
    }

    /// Waits until a node is at least this high.
    pub fn wait_height(&self, node: usize, height: u64, within: Duration) {
        eventually(&format!("node{node} reaches height {height} (is at {:?})", self.height(node)), within, || {
            self.height(node).filter(|h| *h >= height)
        });
    }

    /// Waits for a transaction's receipt on a node.
    pub fn receipt(&self, node: usize, hash: &str, within: Duration) -> Value {
        eventually(&format!("receipt of {hash} on node{node}"), within, || {
            let answer = self.ask(node, "eth_getTransactionReceipt", json!([hash]))?;
            Some(answer["result"].clone()).filter(|r| !r.is_null())
        })
    }

    /// Kills a node's process as a power cut would.
    pub fn kill(&self, node: usize) {
        let pid = self.status()[node]["pid"].as_u64().expect("the node runs");
        let killed = Command::new("kill").args(["-9", &pid.to_string()]).status().expect("kill runs");
        assert!(killed.success());
        eventually("the process is gone", Duration::from_secs(5), || {
            (self.status()[node]["on"] == json!(false)).then_some(())
        });
    }

    /// Loses a node's disk: ledger and sign record; its keys are elsewhere.
    pub fn wipe(&self, node: usize) {
        remove_content(&self.data(node));
    }

    /// Waits until all nodes are at the same height or above, then compares hash and state root of every block up to it.
    pub fn assert_same_chain(&self, within: Duration) -> u64 {
        let top = (0..self.len()).filter_map(|n| self.height(n)).max().expect("some node answers");
        (0..self.len()).for_each(|n| self.wait_height(n, top, within));
        for height in 0..=top {
            let block = |n| self.call(n, "eth_getBlockByNumber", json!([format!("{height:#x}"), false]));
            let first = block(0);
            for n in 1..self.len() {
                let other = block(n);
                assert_eq!(first["hash"], other["hash"], "block {height} of node{n}");
                assert_eq!(first["stateRoot"], other["stateRoot"], "state root of block {height} of node{n}");
                assert_eq!(first["transactions"], other["transactions"], "transactions of block {height} of node{n}");
            }
        }
        top
    }
}

fn remove_content(dir: &Path) {
    std::fs::remove_dir_all(dir).expect("removes");
    std::fs::create_dir(dir).expect("makes");
}

impl Drop for Net {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for node in 0..self.len() {
                let log = self.dir().join(format!("nodes/node{node}/node.log"));
                let text = std::fs::read_to_string(log).unwrap_or_default();
                let lines: Vec<&str> = text.lines().collect();
                eprintln!("--- node{node}\n{}", lines[lines.len().saturating_sub(25)..].join("\n"));
            }
        }
        let _ = basalt(&["network", "down", &self.dir_arg()]);
    }
}
