//! This node and its peers.

use serde_json::{Value, json};

use super::{
    super::{
        RpcError,
        registry::{Call, Registry},
    },
    may_change,
};
use crate::monitor::logging::{self, LogError};

pub(super) fn add(r: &mut Registry) {
    r.quick("admin_nodeInfo", &[], |c: &Call, ()| Ok(node_info(c)));
    r.quick("admin_logLevel", &[], |_: &Call, ()| Ok(logging::level()));
    r.quick("admin_setLogLevel", &["level"], |c: &Call, (level,): (String,)| set_log_level(c, &level));
    r.quick("admin_peers", &[], |c: &Call, ()| Ok(c.app.ports.network.peers()));
    r.waiting("admin_addPeer", &["address"], |c: Call, (address,): (String,)| async move {
        may_change(&c)?;
        c.app.ports.network.add_peer(&address).await.map_err(RpcError::params)?;
        Ok(true)
    });
    r.waiting("admin_removePeer", &["peer"], |c: Call, (peer,): (String,)| async move {
        may_change(&c)?;
        c.app.ports.network.remove_peer(&peer).await.map_err(RpcError::params)
    });
}

/// Until the next start; `node.toml` is not changed.
fn set_log_level(c: &Call, level: &str) -> Result<String, RpcError> {
    may_change(c)?;
    match logging::set_level(level) {
        Ok(()) => Ok(level.to_owned()),
        Err(e @ LogError::Level(..)) => Err(RpcError::params(e.to_string())),
        Err(e) => Err(RpcError::server(e.to_string())),
    }
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
