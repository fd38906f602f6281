//! What a TLS server shows and accepts, and how renewed files come into force.

use std::{path::Path, sync::Arc, time::Duration};

use basalt_primitives::HashFn;
use parking_lot::{Mutex, RwLock};
use rustls::{ServerConfig, server::WebPkiClientVerifier};
use tokio::{sync::watch, time::MissedTickBehavior};

use super::{TlsError, TlsFiles, Validity, material, provider, read};
use crate::{clock, monitor::Metrics};

/// How often the files are looked at.
pub const RELOAD_EVERY: Duration = Duration::from_secs(5);

/// What is in force.
#[derive(Debug)]
struct Loaded {
    config: Arc<ServerConfig>,
    certificate: Validity,
    client_ca: Option<Validity>,
}

/// The TLS side of one listening port.
#[derive(Debug)]
pub struct TlsServer {
    /// What the port is for: `rpc`, `metrics`.
    name: &'static str,
    files: TlsFiles,
    loaded: RwLock<Loaded>,
    /// The content that is in force, and one that was tried and refused.
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    in_force: Digest,
    refused: Option<Digest>,
    told: bool,
}

/// Digest of the content of all files; a file that cannot be read counts as empty.
type Digest = [u8; 32];

/// What looking at the files came to.
#[derive(Debug)]
pub enum Refresh {
    /// They are those in force, or those that were refused already.
    Same,
    /// New ones are in force.
    Renewed,
    /// They are new and cannot be used; the old ones stay in force.
    Refused(TlsError),
}

impl TlsServer {
    /// Reads the files. A certificate that has ended is shown all the same, with an alert: a node must not stay down for it.
    pub fn open(name: &'static str, files: TlsFiles) -> Result<Self, TlsError> {
        let in_force = digest(&files);
        let loaded = RwLock::new(load(&files)?);
        Ok(Self { name, files, loaded, seen: Mutex::new(Seen { in_force, refused: None, told: false }) })
    }

    /// What connections are accepted with from now on.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.loaded.read().config)
    }

    /// The certificates in force, with names and when they hold.
    #[must_use]
    pub fn certificates(&self) -> Vec<(String, Validity)> {
        let loaded = self.loaded.read();
        let own = (format!("of {}", self.name), loaded.certificate);
        let ca = loaded.client_ca.map(|v| (format!("of the client CA of {}", self.name), v));
        std::iter::once(own).chain(ca).collect()
    }

    /// Whether the certificate holds at this moment, in seconds since the Unix epoch.
    pub fn check(&self, now: i64) -> Result<(), TlsError> {
        let left = self.loaded.read().certificate.left(now);
        if left >= 0 { Ok(()) } else { Err(expired(&self.files.certificate, left)) }
    }

    /// Looks at the files, and takes them into force if they are new and good. Reads the disk. Files are written one after
    /// the other: what does not fit together is an error only when it is still so at the next look.
    pub fn refresh(&self, now: i64) -> Refresh {
        let now_there = digest(&self.files);
        let mut seen = self.seen.lock();
        if now_there == seen.in_force {
            (seen.refused, seen.told) = (None, false);
            return Refresh::Same;
        }
        if seen.refused == Some(now_there) && seen.told {
            return Refresh::Same;
        }
        let again = seen.refused == Some(now_there);
        let result = load(&self.files).and_then(|new| {
            let left = new.certificate.left(now);
            if left < 0 { Err(expired(&self.files.certificate, left)) } else { Ok(new) }
        });
        match result {
            Ok(new) => {
                *self.loaded.write() = new;
                *seen = Seen { in_force: now_there, refused: None, told: false };
                Refresh::Renewed
            }
            Err(e) => {
                (seen.refused, seen.told) = (Some(now_there), again);
                if again { Refresh::Refused(e) } else { Refresh::Same }
            }
        }
    }

    fn look(&self, metrics: &Metrics) {
        match self.refresh(now_s()) {
            Refresh::Same => {}
            Refresh::Renewed => {
                metrics.tls_reload("renewed");
                tracing::info!(server = self.name, "the renewed TLS files are in force");
            }
            Refresh::Refused(e) => {
                metrics.tls_reload("refused");
                tracing::error!(server = self.name, "the new TLS files are not used, the old ones stay in force: {e}");
            }
        }
    }
}

/// Looks at the files of all servers now and then, until `stop` turns true.
pub async fn watch(servers: Vec<Arc<TlsServer>>, metrics: Arc<Metrics>, mut stop: watch::Receiver<bool>) {
    if servers.is_empty() {
        return;
    }
    let mut ticks = tokio::time::interval(RELOAD_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stop.wait_for(|s| *s) => return,
        }
        let (servers, metrics) = (servers.clone(), Arc::clone(&metrics));
        let look = tokio::task::spawn_blocking(move || servers.iter().for_each(|s| s.look(&metrics)));
        if let Err(e) = look.await {
            tracing::error!("the TLS files could not be looked at: {e}");
        }
    }
}

/// Now, in seconds since the Unix epoch.
#[must_use]
pub fn now_s() -> i64 {
    i64::try_from(clock::wall_ms() / 1000).unwrap_or(i64::MAX)
}

fn expired(path: &Path, left: i64) -> TlsError {
    let s = left.unsigned_abs();
    let ago =
        if s < 172_800 { format!("{:.1} hours ago", s as f64 / 3_600.0) } else { format!("{} days ago", s / 86_400) };
    TlsError::Expired { path: path.to_owned(), ago }
}

fn digest(files: &TlsFiles) -> Digest {
    let paths = [Some(&files.certificate), Some(&files.key), files.client_ca.as_ref()];
    let each = paths.into_iter().flatten().map(|p| HashFn::Sha256.hash(&read("file", p).unwrap_or_default()).0);
    HashFn::Sha256.hash(&each.collect::<Vec<_>>().concat()).0
}

fn load(files: &TlsFiles) -> Result<Loaded, TlsError> {
    let chain = material::certificates("certificate", &files.certificate)?;
    let certificate = material::validity(&files.certificate, &chain)?;
    let key = material::key(&files.key)?;
    let unusable = |why: String| TlsError::Unusable { path: files.certificate.clone(), why };
    let builder = ServerConfig::builder_with_provider(provider());
    let builder = builder.with_safe_default_protocol_versions().map_err(|e| unusable(e.to_string()))?;
    let authorities = files.client_ca.as_deref().map(material::authorities).transpose()?;
    let builder = match &authorities {
        None => builder.with_no_client_auth(),
        Some((roots, _)) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots.clone()), provider()).build();
            builder.with_client_cert_verifier(verifier.map_err(|e| unusable(e.to_string()))?)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|e| match e {
        rustls::Error::InconsistentKeys(_) => {
            TlsError::Mismatch { certificate: files.certificate.clone(), key: files.key.clone() }
        }
        other => unusable(other.to_string()),
    })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Loaded { config: Arc::new(config), certificate, client_ca: authorities.map(|(_, holds)| holds) })
}
