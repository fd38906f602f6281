//! HTTP clients of this program: the command line's, webhooks', the exporter's. One place says whom they trust: the
//! authorities of this system, read when the first `https://` address is spoken to, or those of a file.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, OnceLock},
};

use anyhow::Context as _;
use clap::Args;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::{TlsError, material, provider};

/// What the command line says of TLS, for every command.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "TLS (of https:// addresses)")]
pub struct TlsArgs {
    /// Trust the authorities of this PEM file, and no others.
    #[arg(long, global = true, value_name = "FILE", env = "BASALT_TLS_CA")]
    tls_ca: Option<PathBuf>,
    /// Certificate to show to a server that wants one (PEM).
    #[arg(long, global = true, value_name = "FILE", env = "BASALT_TLS_CERT", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key (PEM).
    #[arg(long, global = true, value_name = "FILE", env = "BASALT_TLS_KEY", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

static CONFIG: OnceLock<ClientConfig> = OnceLock::new();

impl TlsArgs {
    /// Lets every client of this process be so from now on; before any is made.
    pub fn apply(&self) -> anyhow::Result<()> {
        let pair = self.tls_cert.as_deref().zip(self.tls_key.as_deref());
        if self.tls_ca.is_some() || pair.is_some() {
            let config = config(self.tls_ca.as_deref(), pair).context("the options for TLS are not usable")?;
            // Only the first counts; the command line is read once.
            let _ = CONFIG.set(config);
        }
        Ok(())
    }
}

/// A client's configuration: with the authorities of a file or the system's, and a certificate of its own or none.
pub fn config(ca: Option<&Path>, own: Option<(&Path, &Path)>) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider());
    let unusable = |path: &Path, e: Error| TlsError::Unusable { path: path.to_owned(), why: e.to_string() };
    let any = ca.unwrap_or(Path::new("of this system"));
    let builder = builder.with_safe_default_protocol_versions().map_err(|e| unusable(any, e))?;
    let builder = match ca {
        Some(path) => builder.with_root_certificates(material::authorities(path)?.0),
        None => builder.dangerous().with_custom_certificate_verifier(Arc::new(SystemRoots)),
    };
    let Some((certificate, key)) = own else { return Ok(builder.with_no_client_auth()) };
    let chain = material::certificates("certificate", certificate)?;
    builder.with_client_auth_cert(chain, material::key(key)?).map_err(|e| match e {
        Error::InconsistentKeys(_) => TlsError::Mismatch { certificate: certificate.to_owned(), key: key.to_owned() },
        other => unusable(certificate, other),
    })
}

/// What clients of this process speak TLS with.
#[must_use]
pub fn current() -> ClientConfig {
    CONFIG.get_or_init(|| config(None, None).expect("the system's authorities are read later")).clone()
}

/// The beginning of every HTTP client here.
pub fn http() -> reqwest::ClientBuilder {
    reqwest::Client::builder().tls_backend_preconfigured(current())
}

/// One GET, in tests.
#[cfg(test)]
pub async fn get(url: String) -> reqwest::Result<reqwest::Response> {
    http().build()?.get(url).send().await
}

/// Verifies servers by the authorities of this system. They are read when they are needed first: most addresses are `http://`,
/// and a small container has none.
#[derive(Debug)]
struct SystemRoots;

static SYSTEM: LazyLock<Result<Arc<WebPkiServerVerifier>, String>> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map_or_else(String::new, |e| format!(" ({e})"));
        return Err(format!(
            "this system has no certificate authorities{why}; install ca-certificates, or name a file with --tls-ca"
        ));
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build().map_err(|e| e.to_string())
});

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct NoRoots(&'static str);

impl ServerCertVerifier for SystemRoots {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &*SYSTEM {
            Ok(roots) => roots.verify_server_cert(end_entity, intermediates, server_name, ocsp, now),
            Err(why) => {
                Err(Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(NoRoots(why.as_str()))))))
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
