//! A network's folder: `genesis.json`, `network.toml` (what is below) and `nodes/NAME/{node.toml, *.key, data/, node.log}`.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

pub(in crate::cmd) const MANIFEST: &str = "network.toml";
pub(super) const GENESIS: &str = "genesis.json";

/// What `network create` noted of the network.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::cmd) struct Manifest {
    pub name: String,
    pub chain_id: u64,
    pub dev: bool,
    #[serde(rename = "node")]
    pub nodes: Vec<NodeEntry>,
}

/// One node of the network.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::cmd) struct NodeEntry {
    pub name: String,
    /// `validator`, `miner` or `follower`.
    pub role: String,
    pub rpc: SocketAddr,
    pub metrics: SocketAddr,
    pub p2p: SocketAddr,
    pub peer_id: String,
}

impl Manifest {
    pub fn read(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join(MANIFEST);
        if !path.exists() {
            bail!(
                "{} is not a network's folder (no {MANIFEST}); make one with `basalt network create --out {0}`",
                dir.display()
            );
        }
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is damaged", path.display()))
    }

    pub fn write(&self, dir: &Path) -> anyhow::Result<()> {
        let path = dir.join(MANIFEST);
        fs::write(&path, toml::to_string(self)?).with_context(|| format!("cannot write {}", path.display()))
    }
}

impl NodeEntry {
    pub fn dir(&self, network: &Path) -> PathBuf {
        network.join("nodes").join(&self.name)
    }

    pub fn config(&self, network: &Path) -> PathBuf {
        self.dir(network).join("node.toml")
    }

    pub fn log(&self, network: &Path) -> PathBuf {
        self.dir(network).join("node.log")
    }

    pub fn pid_file(&self, network: &Path) -> PathBuf {
        self.dir(network).join("node.pid")
    }

    /// Where this machine reaches the node's RPC: an unspecified listen address is reached on loopback.
    pub fn rpc_url(&self, network: &Path) -> String {
        self.url(network, "rpc", self.rpc)
    }

    pub fn metrics_url(&self, network: &Path) -> String {
        format!("{}/metrics", self.url(network, "metrics", self.metrics))
    }

    /// The address of an interface; with TLS where the node's settings say so.
    fn url(&self, network: &Path, section: &str, address: SocketAddr) -> String {
        let settings = fs::read_to_string(self.config(network)).ok().and_then(|t| t.parse::<toml::Table>().ok());
        let tls = settings.is_some_and(|s| s.get(section).is_some_and(|s| s.get("tls_certificate").is_some()));
        let mut a = address;
        if a.ip().is_unspecified() {
            a.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        format!("{}://{a}", if tls { "https" } else { "http" })
    }
}
