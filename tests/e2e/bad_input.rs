//! What goes wrong at the command line and in files: one clear error with a mend, and nothing is lost.

use std::{fs, process::Command};

use serde_json::json;

use crate::net::{Net, basalt, basalt_err, basalt_ok};

#[test]
fn create_refuses_a_folder_that_is_not_empty_and_specs_that_make_no_network() {
    let folder = tempfile::tempdir().expect("tempdir");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    fs::write(path("file"), "x").expect("writes");
    let error = basalt_err(&["network", "create", "--out", &path("")]);
    assert!(error.contains("not empty"), "{error}");
    fs::write(path("spec.toml"), "name = \"n\"\n[consensus]\nenginne = \"pbft\"\n").expect("writes");
    let error = basalt_err(&["network", "create", &path("spec.toml"), "--out", &path("net")]);
    assert!(error.contains("enginne") && error.contains("line 3"), "{error}");
    let error = basalt_err(&["network", "create", "--consensus", "raft", "--out", &path("net")]);
    assert!(error.contains("raft") && error.contains("pbft"), "{error}");
    let error = basalt_err(&["network", "create", "--nodes", "0", "--out", &path("net")]);
    assert!(error.contains("validators"), "{error}");
    assert!(!folder.path().join("net").exists(), "nothing is left of a refused network");
    let error = basalt_err(&["network", "up", &path("nowhere")]);
    assert!(error.contains("network create"), "{error}");
}

#[test]
fn a_network_that_is_not_for_development_has_encrypted_keys_and_no_funded_accounts() {
    let folder = tempfile::tempdir().expect("tempdir");
    let out = folder.path().join("net");
    let out = out.to_str().expect("UTF-8");
    basalt_ok(&["network", "create", "--nodes", "4", "--consensus", "pbft", "--out", out]);
    let key = fs::read_to_string(format!("{out}/nodes/node0/validator.key")).expect("key");
    assert!(key.contains("argon2id") && !key.contains("seed"), "{key}");
    let genesis: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(format!("{out}/genesis.json")).expect("genesis")).expect("JSON");
    let accounts = genesis["alloc"].as_object().expect("accounts");
    // The validator contract, which holds nothing.
    assert_eq!(accounts.keys().collect::<Vec<_>>(), ["0x000000000000000000000000000000000b450001"]);
    assert!(accounts.values().all(|account| account["balance"] == "0x0"), "{accounts:?}");
    assert_ne!(genesis["chainId"], json!(31337));
    assert_eq!(genesis["development"], json!(false));
    let config = fs::read_to_string(format!("{out}/nodes/node0/node.toml")).expect("config");
    assert!(config.contains("listen = \"127.0.0.1:8545\"") && config.contains("cors = []"), "{config}");
}

#[test]
fn a_port_in_use_is_named_and_nothing_is_left_running() {
    let net = Net::create(1, 23_000, &[]);
    let taken = std::net::TcpListener::bind("127.0.0.1:23000").expect("binds");
    let dir = net.dir();
    let error = basalt_err(&["network", "up", dir.to_str().expect("UTF-8"), "--detach"]);
    assert!(error.contains("23000") && error.contains("in use"), "{error}");
    drop(taken);
    let p2p = std::net::TcpListener::bind("127.0.0.1:23040").expect("binds");
    let config = dir.join("nodes/node0/node.toml");
    let error = basalt_err(&["node", "--config", config.to_str().expect("UTF-8")]);
    assert!(error.contains("23040"), "{error}");
    drop(p2p);
    assert!(net.status().iter().all(|n| n["on"] == json!(false)));
}

#[test]
fn a_locked_or_foreign_data_directory_is_refused_and_kept() {
    let (net, other) = (Net::create(1, 23_100, &[]), Net::create(1, 23_200, &[]));
    net.up();
    let run = |config: &str, data: &str| {
        basalt(&[
            "node",
            "--config",
            config,
            "--data-dir",
            data,
            "--rpc-listen",
            "127.0.0.1:23290",
            "--metrics-listen",
            "127.0.0.1:23291",
            "--p2p-listen",
            "127.0.0.1:23292",
        ])
    };
    let config = |n: &Net| n.dir().join("nodes/node0/node.toml").to_str().expect("UTF-8").to_owned();
    let data = net.data(0).to_str().expect("UTF-8").to_owned();
    let locked = run(&config(&net), &data);
    let error = String::from_utf8_lossy(&locked.stderr).into_owned();
    assert!(!locked.status.success() && error.contains("another process"), "{error}");
    net.down();
    let foreign = run(&config(&other), &data);
    let error = String::from_utf8_lossy(&foreign.stderr).into_owned();
    assert!(!foreign.status.success() && error.contains("holds the chain with genesis block"), "{error}");
    net.up();
    assert!(net.height(0).is_some(), "its own node still opens it");
}

#[test]
fn unknown_settings_and_damaged_files_are_named() {
    let net = Net::create(1, 23_300, &[]);
    let config = net.dir().join("nodes/node0/node.toml");
    let config = config.to_str().expect("UTF-8");
    let out = Command::new(env!("CARGO_BIN_EXE_basalt"))
        .args(["config", "check", config])
        .env("BASALT_RPC_LISSTEN", "1")
        .output()
        .expect("runs");
    assert!(!out.status.success() && String::from_utf8_lossy(&out.stderr).contains("BASALT_RPC_LISSTEN"));
    let error = basalt_err(&["node", "--config", config, "--set", "rpc.port=1"]);
    assert!(error.contains("rpc.port"), "{error}");
    assert!(basalt_ok(&["config", "check", config]).starts_with("ok:"));
    let genesis = net.dir().join("genesis.json");
    let text = fs::read_to_string(&genesis).expect("genesis");
    fs::write(&genesis, text.replace("\"chainId\"", "\"chainIdd\"")).expect("writes");
    let error = basalt_err(&["node", "--config", config]);
    assert!(error.contains("chainIdd") && error.contains("genesis.json"), "{error}");
    fs::write(&genesis, text).expect("writes");
    fs::write(net.dir().join("nodes/node0/validator.key"), "nonsense").expect("writes");
    let error = basalt_err(&["node", "--config", config]);
    assert!(error.contains("validator.key") && error.contains("not a Basalt key file"), "{error}");
}
