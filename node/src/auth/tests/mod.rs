//! Keys, tokens, limits and what is told of refusals. How they guard the interfaces is tested with the RPC.

mod keys;
mod tokens;

use std::{net::IpAddr, path::PathBuf, sync::Arc};

use super::{
    Auth, AuthConfig, Role, Shown,
    keys::{KeyEntry, KeysFile, NewSecret},
    report::Reporter,
};
use crate::{
    audit::{AuditConfig, AuditLog, Teller},
    monitor::{Metrics, NodeLabels},
};

/// A folder with a keys file, and what is guarded by it.
pub struct Fixture {
    pub dir: tempfile::TempDir,
    pub metrics: Arc<Metrics>,
    pub file: KeysFile,
}

pub const STRANGER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

impl Fixture {
    pub fn new() -> Self {
        let labels = NodeLabels { version: "0".into(), name: "n".into(), chain: "c".into(), chain_id: "1".into() };
        let dir = tempfile::tempdir().expect("a directory");
        let me = Self { dir, metrics: Arc::new(Metrics::new(labels)), file: KeysFile::default() };
        me.write();
        me
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn config(&self) -> AuthConfig {
        AuthConfig { keys_file: Some(self.path("keys.toml")), ..AuthConfig::default() }
    }

    pub fn write(&self) {
        self.file.write(&self.path("keys.toml")).expect("written");
    }

    /// A key with these roles, changed as wanted; its secret.
    pub fn key(&mut self, id: &str, roles: &[Role], change: impl FnOnce(&mut KeyEntry)) -> String {
        let secret = NewSecret::generate(id).expect("random");
        let mut entry = KeyEntry {
            id: id.into(),
            secret_sha256: secret.sha256.clone(),
            roles: roles.to_vec(),
            allow: Vec::new(),
            rate_per_second: None,
            burst: None,
            expires: None,
        };
        change(&mut entry);
        self.file.keys.push(entry);
        self.write();
        secret.text.to_string()
    }

    pub fn open(&self, config: AuthConfig) -> Arc<Auth> {
        let key = basalt_primitives::SecretKey::from_bytes(&[7; 32]);
        let log = AuditLog::open(self.dir.path(), key, &AuditConfig::default()).expect("a log");
        let teller = Teller::start(Arc::new(log)).expect("a thread");
        Auth::open(config, Reporter::new(self.metrics.clone(), Some(teller))).expect("good files")
    }
}

/// A request from a stranger's address that shows this.
pub fn showing(secret: &str) -> Shown<'_> {
    Shown { secret: Some(secret), certificate: None, address: Some(STRANGER) }
}
