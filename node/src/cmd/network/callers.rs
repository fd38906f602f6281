//! Who may call the nodes of a new network: an administrator by a key of its own, or, on development networks, anybody on this
//! machine.

use std::path::Path;

use anyhow::bail;
use basalt_primitives::ChainSpec;

use super::{
    create::{CreateArgs, NewNode},
    layout::NodeEntry,
};
use crate::{
    auth::{
        AuthConfig, Role,
        keys::{KeyEntry, KeysFile, NewSecret},
    },
    client::ADMIN_KEY,
    config::spec::NetworkSpec,
    keys::write_private,
};

/// Id of the administrator's key.
const ADMIN: &str = "admin";
/// Name of a node's keys file.
const KEYS: &str = "auth.toml";

/// Who may call.
pub(super) enum Callers {
    /// Whoever is on this machine: what nodes of development networks do by themselves.
    Loopback,
    /// Whoever reaches it.
    Everybody,
    /// Whoever has a key; this is the first.
    Keys(NewSecret),
}

impl Callers {
    /// As the network is for development or not, and where it listens.
    pub fn choose(spec: &NetworkSpec, nodes: &[NewNode], args: &CreateArgs) -> anyhow::Result<Self> {
        if args.open && !spec.dev {
            bail!(
                "--open is for development networks (--dev); elsewhere give each caller a key with `basalt auth key create`"
            );
        }
        let on_loopback = nodes.iter().all(|n| n.entry.rpc.ip().is_loopback() && n.entry.metrics.ip().is_loopback());
        Ok(match (spec.dev, on_loopback, args.open) {
            (true, true, _) => Self::Loopback,
            (true, false, true) => Self::Everybody,
            _ => Self::Keys(NewSecret::generate(ADMIN)?),
        })
    }

    /// Of one node that joins a network and listens on loopback only.
    pub fn for_node(chain: &ChainSpec) -> anyhow::Result<Self> {
        Ok(if chain.development { Self::Loopback } else { Self::Keys(NewSecret::generate(ADMIN)?) })
    }

    /// A node's `[auth]`.
    pub fn config(&self) -> Option<AuthConfig> {
        match self {
            Self::Loopback => None,
            Self::Everybody => Some(AuthConfig { anonymous: vec![Role::Administrator], ..AuthConfig::default() }),
            Self::Keys(_) => Some(AuthConfig { keys_file: Some(KEYS.into()), ..AuthConfig::default() }),
        }
    }

    /// Writes the administrator's key into the network's folder, and its hash into the folder of each node.
    pub fn write(&self, out: &Path, nodes: &[&NodeEntry]) -> anyhow::Result<()> {
        let Self::Keys(secret) = self else { return Ok(()) };
        let entry = KeyEntry {
            id: ADMIN.into(),
            secret_sha256: secret.sha256.clone(),
            roles: vec![Role::Administrator],
            allow: Vec::new(),
            rate_per_second: None,
            burst: None,
            expires: None,
        };
        let file = KeysFile { keys: vec![entry], certificates: Vec::new() };
        for node in nodes {
            file.write(&node.dir(out).join(KEYS))?;
        }
        Ok(write_private(&out.join(ADMIN_KEY), format!("{}\n", secret.text.as_str()).as_bytes())?)
    }
}
