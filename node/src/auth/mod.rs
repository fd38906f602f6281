//! Who may call what: API keys, tokens (JWT) and client certificates, the roles they carry, and how much they may ask.
//!
//! In: what a request shows ([`Shown`]) and the files that the configuration names. [`Auth::authenticate`] makes a
//! [`Principal`] of it, which goes with the request (or the WebSocket connection); [`Auth::authorise`] compares what the
//! principal has with what [`roles`] says a method needs; [`Auth::take`] counts. Out: an answer, or [`Denied`], which is
//! counted, logged and written to the audit log by [`report`], never with the secret. On a development network that listens on
//! loopback none of this is there, and everybody may call what the port serves.
//!
//! Hashes and signatures are ring's, tokens are read by `jsonwebtoken`; no cryptography is ours.

pub mod buckets;
pub mod config;
mod gate;
pub mod http;
mod jwt;
pub mod keys;
mod principal;
pub mod report;
pub mod roles;
#[cfg(test)]
pub(crate) mod tests;

use std::path::PathBuf;

pub use config::AuthConfig;
pub use gate::{Auth, watch};
pub use principal::{Grant, Principal, Who};
pub use roles::Role;

/// What a request shows of itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shown<'a> {
    /// What stands after `Bearer` in `Authorization`, or in `X-Api-Key`.
    pub secret: Option<&'a str>,
    /// Common name of the subject of the connection's verified client certificate.
    pub certificate: Option<&'a str>,
    /// Where the connection comes from.
    pub address: Option<std::net::IpAddr>,
}

/// Why a request was refused. No variant holds anything secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// It shows nothing, and nobody unknown may call.
    #[error(
        "this node asks who calls: show an API key or a token in the header `Authorization: Bearer …` (make a key with `basalt auth key create`)"
    )]
    Missing,
    /// What it shows cannot be read.
    #[error("the credential cannot be read: {0}")]
    Malformed(&'static str),
    /// It is not known here, or its signature is not by a key of ours. Which of the two is not said.
    #[error("the credential is not valid on this node; ask its operator for an API key or a token")]
    Wrong,
    /// It was good once.
    #[error("the credential has expired or was revoked; ask the node's operator for a new one")]
    Expired,
    /// The token is signed by a key of ours and says what we do not take.
    #[error("the token is not valid on this node: {0}")]
    Claims(&'static str),
    /// Too many wrong ones from this address.
    #[error(
        "too many failed authentications from this address; show a valid credential, or try again in {retry_ms} ms"
    )]
    TooMany {
        /// When one more failure will be looked at singly.
        retry_ms: u64,
    },
    /// It has no role that the method asks for.
    #[error("{who} may not call {method}: it needs the role {needs}; ask the node's operator for it")]
    Role {
        /// Who calls.
        who: String,
        /// What.
        method: String,
        /// Any one of these.
        needs: String,
    },
    /// Its roles would do, but it was made for other methods.
    #[error("{who} may not call {method}: it was made for certain methods only, and this is none of them")]
    NotAllowed {
        /// Who calls.
        who: String,
        /// What.
        method: String,
    },
    /// It asks too much.
    #[error(
        "limit exceeded: {who} may send {per_second} requests per second, {burst} at once; try again in {retry_ms} ms"
    )]
    Rate {
        /// Who calls.
        who: String,
        /// Its rate.
        per_second: u32,
        /// Its burst.
        burst: u32,
        /// When the next one will be answered.
        retry_ms: u64,
    },
}

impl Denied {
    /// The name in metrics and in the audit log.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed(_) => "malformed",
            Self::Wrong => "wrong",
            Self::Expired => "expired",
            Self::Claims(_) => "claims",
            Self::TooMany { .. } => "too_many",
            Self::Role { .. } => "role",
            Self::NotAllowed { .. } => "not_allowed",
            Self::Rate { .. } => "rate",
        }
    }

    /// When to try again, where that helps.
    #[must_use]
    pub const fn retry_ms(&self) -> Option<u64> {
        match self {
            Self::TooMany { retry_ms } | Self::Rate { retry_ms, .. } => Some(*retry_ms),
            _ => None,
        }
    }
}

/// Why the files of `[auth]` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The file is not there, or not for us.
    #[error("cannot read the {what} {}: {why}; check the path, and that this user may read it", path.display())]
    Read {
        /// What it should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        why: std::io::Error,
    },
    /// It says something else than it should.
    #[error("the {what} {} is refused: {problem}", path.display())]
    Content {
        /// What it should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong, without anything secret.
        problem: String,
    },
    /// It cannot be written.
    #[error("cannot write {}: {why}; nothing was changed", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        why: std::io::Error,
    },
}

/// Most bytes of a file of `[auth]`.
const MAX_FILE: u64 = 1 << 20;

/// Reads a file, but no more than is sensible.
fn read(what: &'static str, path: &std::path::Path) -> Result<zeroize::Zeroizing<Vec<u8>>, AuthError> {
    use std::io::Read as _;
    let failed = |why| AuthError::Read { what, path: path.to_owned(), why };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = zeroize::Zeroizing::new(Vec::new());
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE {
        let problem = format!("it is larger than {MAX_FILE} bytes");
        return Err(AuthError::Content { what, path: path.to_owned(), problem });
    }
    Ok(bytes)
}
