//! `net_`, `web3_`, `rpc_`, chain id and synchronisation.

use std::collections::BTreeMap;

use alloy_primitives::{B256, Bytes, keccak256};
use serde_json::{Value, json};

use super::super::{
    App,
    registry::{Call, Registry},
    types::Hex64,
};

pub(super) fn add(r: &mut Registry) {
    r.quick("web3_clientVersion", &[], |c: &Call, ()| Ok(c.app.client_version.clone()));
    r.quick("web3_sha3", &["data"], |_: &Call, (data,): (Bytes,)| Ok::<B256, _>(keccak256(&data)));
    r.quick("net_version", &[], |c: &Call, ()| Ok(c.app.spec.chain_id.to_string()));
    r.quick("net_listening", &[], |_: &Call, ()| Ok(true));
    r.quick("net_peerCount", &[], |c: &Call, ()| Ok(Hex64(c.app.ports.network.peer_count() as u64)));
    r.quick("eth_chainId", &[], |c: &Call, ()| Ok(Hex64(c.app.spec.chain_id)));
    r.quick("eth_syncing", &[], |c: &Call, ()| Ok(syncing(&c.app)));
    r.quick("rpc_discover", &[], |c: &Call, ()| Ok(c.app.openrpc()));
    r.quick("rpc_modules", &[], |c: &Call, ()| {
        let modules = c.app.registry.namespaces().into_iter();
        Ok(modules.map(|n| (n, "1.0")).collect::<BTreeMap<_, _>>())
    });
}

/// What is being fetched, or false.
pub(in crate::rpc) fn syncing(app: &App) -> Value {
    let current = app.chain.reader().head();
    match app.ports.network.syncing() {
        Some((start, highest)) if highest > current => json!({
            "startingBlock": Hex64(start.0),
            "currentBlock": Hex64(current.0),
            "highestBlock": Hex64(highest.0),
        }),
        _ => Value::Bool(false),
    }
}
