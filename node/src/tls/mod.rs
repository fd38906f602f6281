//! TLS of the interfaces (RPC with REST and WebSocket, metrics), and of the clients that speak to them.
//!
//! In: PEM files that the configuration names. [`material`] reads and checks them; [`server`] keeps what is in force and takes
//! renewed files in without a restart; [`listener`] accepts connections, with TLS or without. [`client`] says whom the
//! node's and the command line's own HTTP clients trust. All of it is rustls with ring; no cryptography is ours.

pub mod client;
pub mod listener;
mod material;
pub mod server;
#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::crypto::CryptoProvider;

pub use material::Validity;
pub use server::TlsServer;

/// Files of one TLS server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, with those between it and its authority after it.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Authorities of clients: with it, only clients that have a certificate of theirs are served.
    pub client_ca: Option<PathBuf>,
}

/// Why a TLS server cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file is not there, or not for us.
    #[error("cannot read the TLS {what} {}: {why}; check the path, and that this user may read it", path.display())]
    Read {
        /// What it should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        why: std::io::Error,
    },
    /// No such thing in it.
    #[error("{} holds no {what} in PEM form (it begins with -----BEGIN …-----): {why}; see whether the files are swapped, or convert it with openssl", path.display())]
    NotPem {
        /// What it should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Not a certificate.
    #[error("the certificate in {} is damaged: {why}; write it anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The key is another's.
    #[error("the key {} does not belong to the certificate {}; name the pair that was issued together", key.display(), certificate.display())]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// Too old.
    #[error("the certificate in {} ended {ago}; renew it: the files are read again within {} s, without a restart", path.display(), server::RELOAD_EVERY.as_secs())]
    Expired {
        /// The file.
        path: PathBuf,
        /// How long ago.
        ago: String,
    },
    /// Not usable.
    #[error("TLS cannot be set up with the certificate {}: {why}", path.display())]
    Unusable {
        /// The certificate's file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// The cryptography of all TLS here.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|why| TlsError::Read { what, path: path.to_owned(), why })
}
