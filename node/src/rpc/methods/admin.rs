//! This node and its peers.

use serde_json::{Value, json};

use super::super::registry::{Call, Registry};

pub(super) fn add(r: &mut Registry) {
    r.quick("admin_nodeInfo", &[], |c: &Call, ()| Ok(node_info(c)));
    r.quick("admin_peers", &[], |c: &Call, ()| Ok(c.app.ports.network.peers()));
}

fn node_info(c: &Call) -> Value {
    let node = c.app.ports.network.node();
    let genesis = c.app.spec.genesis_block().hash();
    json!({
        "id": node.id,
        "name": node.name,
        "client": c.app.client_version,
        "listenAddresses": node.listen_addresses,
        "protocols": { "basalt": {
            "network": c.app.spec.name,
            "chainId": c.app.spec.chain_id,
            "genesis": genesis,
            "head": c.app.chain.reader().head(),
        }},
    })
}
