//! Consensus, and what this platform is made of.

use serde_json::{Value, json};

use super::super::{
    RpcError,
    ports::SkippedTx,
    registry::{Call, Registry},
    types::BlockId,
};

pub(super) fn add(r: &mut Registry) {
    r.quick("consensus_status", &[], |c: &Call, ()| Ok(c.app.ports.consensus.status()));
    r.quick("consensus_explain", &[], |c: &Call, ()| Ok(c.app.ports.consensus.explain()));
    r.quick("consensus_skipped", &["block"], |c: &Call, (id,): (BlockId,)| skipped(c, id));
    r.quick("platform_status", &[], |c: &Call, ()| Ok(platform(c)));
}

fn skipped(c: &Call, id: BlockId) -> Result<Vec<SkippedTx>, RpcError> {
    let missing = || RpcError::server("this node has no such block yet");
    let height = c.app.chain.resolve(id)?.ok_or_else(missing)?;
    Ok(c.app.chain.reader().skipped(height)?)
}

fn platform(c: &Call) -> Value {
    let spec = &c.app.spec;
    let head = c.app.chain.reader().head();
    json!({
        "client": c.app.client_version,
        "network": spec.name,
        "chainId": spec.chain_id,
        "development": spec.development,
        "headerVersion": basalt_primitives::header::HEADER_VERSION,
        "consensus": c.app.ports.consensus.status().engine,
        "evmFork": spec.fork_at(head.next()),
        "hash": spec.hash_fn.name(),
        "evmHash": "keccak256",
        "transactionSignatures": ["ed25519 (ZIP-215)", "secp256k1"],
        "consensusSignatures": "ed25519 (ZIP-215)",
        "transport": "libp2p: TCP, Noise (X25519, ChaCha20-Poly1305), Yamux",
        "fees": spec.fees,
        "uptimeMs": c.app.ports.consensus.uptime_ms(),
    })
}
