//! What a node may choose for itself: [`NodeConfig`], from `node.toml`, then `BASALT_*` variables, then flags. It can only
//! change performance and exposure; what all must agree on is the chain specification.

mod layers;
mod p2p;
pub mod permission;
pub mod spec;

use std::{
    fs::File,
    io::Read as _,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use basalt_primitives::{SetOverride, set_override};
use serde::{Deserialize, Deserializer, Serialize};

pub use layers::{ConfigError, load};
pub use p2p::P2p;

use crate::{
    auth::AuthConfig,
    monitor::{config::MonitorConfig, logging::LogConfig, traces::TracingConfig},
    tls::TlsFiles,
};

/// Settings of one node. Paths are relative to the file they stand in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// Name of the node, for people.
    pub name: String,
    /// The chain specification.
    pub genesis: PathBuf,
    /// Ledger and sign record.
    pub data_dir: PathBuf,
    /// Key files.
    pub keys: Keys,
    /// Peer-to-peer side.
    #[serde(default)]
    pub p2p: P2p,
    /// JSON-RPC, WebSocket and health.
    #[serde(default)]
    pub rpc: Rpc,
    /// Prometheus metrics.
    #[serde(default)]
    pub metrics: Metrics,
    /// Who may call RPC, REST, WebSocket and metrics; without it nobody, but on development networks whoever is on this
    /// machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<AuthConfig>,
    /// Alerts.
    #[serde(default)]
    pub monitor: MonitorConfig,
    /// Traces of transactions.
    #[serde(default, skip_serializing_if = "TracingConfig::is_default")]
    pub tracing: TracingConfig,
    /// What the operators have agreed on outside the chain.
    #[serde(default, skip_serializing_if = "Consensus::is_empty")]
    pub consensus: Consensus,
    /// Mempool limits.
    #[serde(default)]
    pub mempool: Mempool,
    /// How blocks are executed.
    #[serde(default)]
    pub execution: Execution,
    /// Storage budget.
    #[serde(default)]
    pub storage: Storage,
    /// Logging.
    #[serde(default)]
    pub log: LogConfig,
}

/// Key files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// Identity of the node among its peers.
    pub node: PathBuf,
    /// Consensus key; a node without one follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validator: Option<PathBuf>,
    /// File whose first line is the passphrase of encrypted key files; else BASALT_PASSPHRASE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase_file: Option<PathBuf>,
}

/// What the operators have agreed on outside the chain: the same on every node, followers too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Consensus {
    /// Set overrides (`basalt validator override`), one file for each time this chain was restarted without its lost
    /// validators. To be kept for ever: old certificates are verified with them.
    #[serde(rename = "override", skip_serializing_if = "Vec::is_empty", deserialize_with = "one_or_more")]
    pub override_files: Vec<PathBuf>,
}

/// A path, or a list of paths.
fn one_or_more<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<PathBuf>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        One(PathBuf),
        More(Vec<PathBuf>),
    }
    Ok(match Either::deserialize(d)? {
        Either::One(path) => vec![path],
        Either::More(paths) => paths,
    })
}

impl Consensus {
    const fn is_empty(&self) -> bool {
        self.override_files.is_empty()
    }

    /// Reads the set overrides, strictly; they are verified against the chain when it is opened.
    pub fn overrides(&self) -> anyhow::Result<Vec<SetOverride>> {
        self.override_files.iter().map(|path| read_override(path)).collect()
    }
}

/// Reads one set override.
pub fn read_override(path: &Path) -> anyhow::Result<SetOverride> {
    let shown = path.display();
    let file = File::open(path).with_context(|| {
        format!("cannot open the set override {shown}; correct `consensus.override` or put the file there")
    })?;
    let mut text = Vec::new();
    let limit = set_override::MAX_BYTES as u64 + 1;
    file.take(limit).read_to_end(&mut text).with_context(|| format!("cannot read the set override {shown}"))?;
    SetOverride::from_json(&text).with_context(|| format!("the set override {shown} is refused"))
}

/// RPC settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rpc {
    /// Off: no JSON-RPC at all; health stays on the metrics port.
    pub enabled: bool,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Origins that browsers may call from; `*` for any.
    pub cors: Vec<String>,
    /// Host names accepted in requests, beside loopback and IP addresses.
    pub hosts: Vec<String>,
    /// Ready answers 503 when consensus has not advanced for this long although a block was due.
    pub stall_after_ms: u64,
    /// Whether callers may change what this node does: peers, thresholds, webhooks, log level. Unset: only where `listen` is
    /// loopback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<bool>,
    /// Certificate chain (PEM) to speak TLS with; none: plain HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_certificate: Option<PathBuf>,
    /// Its private key (PEM).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<PathBuf>,
    /// Authorities (PEM) whose certificates clients must show.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_client_ca: Option<PathBuf>,
}

impl Default for Rpc {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: SocketAddr::from(([127, 0, 0, 1], 8545)),
            cors: Vec::new(),
            hosts: Vec::new(),
            stall_after_ms: 30_000,
            admin: None,
            tls_certificate: None,
            tls_key: None,
            tls_client_ca: None,
        }
    }
}

/// Metrics settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// Off: no metrics port.
    pub enabled: bool,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Certificate chain (PEM) to speak TLS with; none: plain HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_certificate: Option<PathBuf>,
    /// Its private key (PEM).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<PathBuf>,
    /// Authorities (PEM) whose certificates clients must show.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_client_ca: Option<PathBuf>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: SocketAddr::from(([127, 0, 0, 1], 9545)),
            tls_certificate: None,
            tls_key: None,
            tls_client_ca: None,
        }
    }
}

impl Rpc {
    /// The files of TLS, if it is spoken.
    #[must_use]
    pub fn tls(&self) -> Option<TlsFiles> {
        tls_files(&self.tls_certificate, &self.tls_key, &self.tls_client_ca)
    }
}

impl Metrics {
    /// The files of TLS, if it is spoken.
    #[must_use]
    pub fn tls(&self) -> Option<TlsFiles> {
        tls_files(&self.tls_certificate, &self.tls_key, &self.tls_client_ca)
    }
}

fn tls_files(certificate: &Option<PathBuf>, key: &Option<PathBuf>, client_ca: &Option<PathBuf>) -> Option<TlsFiles> {
    let (certificate, key) = certificate.clone().zip(key.clone())?;
    Some(TlsFiles { certificate, key, client_ca: client_ca.clone() })
}

/// Mempool limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mempool {
    /// Most transactions.
    pub max_transactions: usize,
    /// Most bytes of transactions, in MiB.
    pub max_mib: usize,
    /// Most transactions of one sender.
    pub max_per_sender: usize,
    /// Most of the pool that one peer's transactions may fill, in percent.
    pub max_peer_percent: usize,
    /// Whether transactions that came by RPC are kept over a restart.
    pub journal: bool,
}

impl Default for Mempool {
    fn default() -> Self {
        Self { max_transactions: 50_000, max_mib: 64, max_per_sender: 16_384, max_peer_percent: 75, journal: true }
    }
}

/// How blocks are executed. The results are the same whatever is chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Execution {
    /// Threads that execute a block; without it one, or on machines with more than two processors one for each, at most 8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
}

impl Execution {
    /// Most threads of a block.
    const MAX_THREADS: usize = 64;

    /// Threads that execute a block on a machine with so many processors.
    #[must_use]
    pub fn threads_on(&self, processors: usize) -> usize {
        let chosen = if processors > 2 { processors.min(8) } else { 1 };
        self.threads.unwrap_or(chosen)
    }
}

/// Storage budget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Storage {
    /// Read cache, in MiB.
    pub cache_mib: usize,
    /// Write buffers, in MiB.
    pub write_buffer_mib: usize,
    /// Upper levels of the state trie kept in memory, in MiB.
    pub trie_mib: usize,
    /// Most open files.
    pub max_open_files: i32,
    /// How many older states are kept.
    pub mode: StorageMode,
    /// In mode `full`: for how many blocks before the newest the state can be read.
    pub keep_states: u64,
}

/// How many older states a node keeps. Blocks and receipts are kept in either mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StorageMode {
    /// All, from when the mode was chosen.
    Archive,
    /// The last [`Storage::keep_states`].
    Full,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            cache_mib: 32,
            write_buffer_mib: 16,
            trie_mib: 64,
            max_open_files: 256,
            mode: StorageMode::Full,
            keep_states: 10_000,
        }
    }
}

impl Storage {
    /// For how many blocks before the newest the state is kept; `None`: for all.
    #[must_use]
    pub fn kept_states(&self) -> Option<u64> {
        (self.mode == StorageMode::Full).then_some(self.keep_states)
    }
}

/// What is wrong with a part of the settings of TLS.
const TLS_HALF: &str =
    "and tls_key belong together, and tls_client_ca needs both: set the missing one, or none for plain HTTP";

impl NodeConfig {
    /// Makes every path absolute, against the folder of the file it was read from.
    pub(crate) fn resolve(&mut self, base: &Path) {
        let paths = [&mut self.genesis, &mut self.data_dir, &mut self.keys.node];
        let (rpc, metrics) = (&mut self.rpc, &mut self.metrics);
        let optional = [
            self.keys.validator.as_mut(),
            self.keys.passphrase_file.as_mut(),
            rpc.tls_certificate.as_mut(),
            rpc.tls_key.as_mut(),
            rpc.tls_client_ca.as_mut(),
            metrics.tls_certificate.as_mut(),
            metrics.tls_key.as_mut(),
            metrics.tls_client_ca.as_mut(),
        ];
        let optional = optional.into_iter().flatten().chain(&mut self.consensus.override_files);
        let optional = optional.chain(self.auth.iter_mut().flat_map(AuthConfig::paths));
        for p in paths.into_iter().chain(optional) {
            if p.is_relative() {
                *p = base.join(&*p);
            }
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        let field = |key, problem: &str| Err(ConfigError::Value { key, problem: problem.to_owned() });
        if self.name.is_empty() || self.name.len() > 64 {
            return field("name", "must have 1 to 64 characters");
        }
        self.p2p.check().map_err(|(key, problem)| ConfigError::Value { key, problem })?;
        if self.mempool.max_transactions == 0 || self.mempool.max_mib == 0 || self.mempool.max_per_sender == 0 {
            return field("mempool", "limits must be above 0");
        }
        if self.execution.threads.is_some_and(|n| !(1..=Execution::MAX_THREADS).contains(&n)) {
            return field("execution.threads", "must be between 1 and 64");
        }
        if !(1..=100).contains(&self.mempool.max_peer_percent) {
            return field("mempool.max_peer_percent", "must be between 1 and 100");
        }
        if self.storage.cache_mib == 0 || self.storage.write_buffer_mib < 4 || self.storage.max_open_files < 32 {
            return field("storage", "needs cache_mib ≥ 1, write_buffer_mib ≥ 4 and max_open_files ≥ 32");
        }
        self.monitor.check().map_err(|(key, problem)| ConfigError::Value { key, problem })?;
        self.tracing.check()?;
        if let Some(auth) = &self.auth {
            auth.check().map_err(|(key, problem)| ConfigError::Value { key, problem })?;
        }
        let half = |certificate: &Option<PathBuf>, key: &Option<PathBuf>, ca: &Option<PathBuf>| {
            certificate.is_some() != key.is_some() || (ca.is_some() && key.is_none())
        };
        if half(&self.rpc.tls_certificate, &self.rpc.tls_key, &self.rpc.tls_client_ca) {
            return field("rpc.tls_certificate", TLS_HALF);
        }
        if half(&self.metrics.tls_certificate, &self.metrics.tls_key, &self.metrics.tls_client_ca) {
            return field("metrics.tls_certificate", TLS_HALF);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Execution;

    #[test]
    fn blocks_are_executed_on_several_threads_where_there_are_more_than_two_processors() {
        let on = |threads, processors| Execution { threads }.threads_on(processors);
        assert_eq!([on(None, 1), on(None, 2), on(None, 3), on(None, 64)], [1, 1, 3, 8]);
        assert_eq!([on(Some(4), 2), on(Some(1), 64)], [4, 1]);
    }
}
