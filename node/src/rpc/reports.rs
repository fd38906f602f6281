//! What the node reports of itself and its network, as JSON: the same by RPC (`monitor_`, `platform_`) and by REST.

use serde_json::{Value, json};

use super::App;

/// Platform, consensus, newest block, rates and alerts of this node.
#[must_use]
pub fn status(app: &App) -> Value {
    let (view, consensus, monitor) = (app.monitor.view(), app.ports.consensus.status(), &app.monitor);
    let me = view.nodes.iter().find(|n| n.is_self);
    let tps = monitor.tps();
    json!({
        "node": me,
        "platform": platform(app),
        "consensus": consensus,
        "block": block(app),
        "peers": app.ports.network.peer_count(),
        "nodes": { "known": view.nodes.len(), "on": view.nodes.iter().filter(|n| n.on).count() },
        "tps": { "current": tps.current, "state": tps.state, "threshold": tps.threshold },
        "alerts": monitor.alerts().active,
        "forks": view.forks,
        "clock": { "offsetMs": view.clock_offset_ms, "peersCompared": view.clock_peers },
    })
}

/// What this platform is made of: the algorithms in force, and versions.
#[must_use]
pub fn platform(app: &App) -> Value {
    let spec = &app.spec;
    let head = app.chain.reader().head();
    json!({
        "client": app.client_version,
        "network": spec.name,
        "chainId": spec.chain_id,
        "development": spec.development,
        "headerVersion": basalt_primitives::header::HEADER_VERSION,
        "consensus": app.ports.consensus.status().engine,
        "evmFork": spec.fork_at(head.next()),
        "hash": spec.hash_fn.name(),
        "evmHash": "keccak256",
        "transactionSignatures": ["ed25519 (ZIP-215)", "secp256k1"],
        "consensusSignatures": "ed25519 (ZIP-215)",
        "transport": "libp2p: TCP, Noise (X25519, ChaCha20-Poly1305), Yamux",
        "fees": spec.fees,
        "uptimeMs": app.ports.consensus.uptime_ms(),
    })
}

/// The newest executed block; null when it cannot be read.
fn block(app: &App) -> Value {
    let Ok(Some(block)) = app.ports.chain.block(app.ports.chain.head()) else { return Value::Null };
    json!({
        "number": block.height(),
        "hash": block.hash,
        "sizeBytes": block.size_bytes,
        "transactions": block.tx_hashes.len(),
        "gasUsed": block.gas_used,
        "timestampMs": block.header.timestamp_ms,
        "account": block.header.proposer,
    })
}

/// All nodes known in the network.
#[must_use]
pub fn nodes(app: &App) -> Value {
    json!(app.monitor.view().nodes)
}

/// What this process and its machine use, against what they may use.
#[must_use]
pub fn resources(app: &App) -> Value {
    let mut report = json!(app.monitor.view().resources);
    report["thresholds"] = json!(app.monitor.thresholds());
    report
}
