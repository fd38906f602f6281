//! `[auth]` of a node's configuration.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Role, buckets::Rate, keys};

/// Who may call this node's interfaces. Paths are relative to the file they stand in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthConfig {
    /// API keys and client certificates (`basalt auth key create`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys_file: Option<PathBuf>,
    /// Roles of those who show nothing; none: they are refused.
    pub anonymous: Vec<Role>,
    /// Roles of those who show a client certificate that the keys file does not name.
    pub certificate_roles: Vec<Role>,
    /// Requests per second of each caller without a rate of its own; unset: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_per_second: Option<u32>,
    /// Its requests at once; without it twice the rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// Failed authentications of one address that are answered singly, logged and audited; further ones get 429.
    pub failures_per_minute: u32,
    /// Secret that tokens are signed with by HS256: a file of at least 64 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt_secret_file: Option<PathBuf>,
    /// Public keys (PEM) of those who sign tokens by RS256 or EdDSA (Ed25519).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub jwt_public_keys: Vec<PathBuf>,
    /// Audiences; when any is named, a token must be for one of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub jwt_audience: Vec<String>,
    /// Issuers; when any is named, a token must be of one of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub jwt_issuer: Vec<String>,
    /// How far clocks may differ, for `exp`, `nbf` and `iat`.
    pub jwt_leeway_seconds: u64,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            keys_file: None,
            anonymous: Vec::new(),
            certificate_roles: Vec::new(),
            rate_per_second: None,
            burst: None,
            failures_per_minute: 10,
            jwt_secret_file: None,
            jwt_public_keys: Vec::new(),
            jwt_audience: Vec::new(),
            jwt_issuer: Vec::new(),
            jwt_leeway_seconds: 30,
        }
    }
}

/// Most public keys of token signers.
const MAX_PUBLIC_KEYS: usize = 16;

impl AuthConfig {
    /// The rate of those without one of their own.
    #[must_use]
    pub fn rate(&self) -> Option<Rate> {
        keys::rate(self.rate_per_second, self.burst)
    }

    /// Whether tokens are taken.
    #[must_use]
    pub fn takes_tokens(&self) -> bool {
        self.jwt_secret_file.is_some() || !self.jwt_public_keys.is_empty()
    }

    /// Whether its files can be used.
    pub fn check_files(&self) -> Result<(), super::AuthError> {
        super::gate::load(self).map(drop)
    }

    /// Its paths.
    pub(crate) fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.keys_file.iter_mut().chain(&mut self.jwt_secret_file).chain(&mut self.jwt_public_keys)
    }

    /// What is wrong with it: the key and what is allowed.
    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        let fail = |key, problem: &str| Err((key, problem.to_owned()));
        let somebody = self.keys_file.is_some() || self.takes_tokens();
        if !somebody && self.anonymous.is_empty() && self.certificate_roles.is_empty() {
            return fail(
                "auth",
                "lets nobody in: set auth.keys_file (basalt auth key create), auth.jwt_…, auth.certificate_roles or auth.anonymous, or leave the section out",
            );
        }
        if self.rate_per_second == Some(0) || self.burst == Some(0) {
            return fail("auth.rate_per_second", "and burst must be above 0; leave them out for no limit");
        }
        if self.burst.is_some() && self.rate_per_second.is_none() {
            return fail("auth.burst", "needs auth.rate_per_second");
        }
        if !(1..=10_000).contains(&self.failures_per_minute) {
            return fail("auth.failures_per_minute", "must be between 1 and 10000");
        }
        if self.jwt_public_keys.len() > MAX_PUBLIC_KEYS {
            return fail("auth.jwt_public_keys", "has more than 16 files");
        }
        if self.jwt_leeway_seconds > 600 {
            return fail("auth.jwt_leeway_seconds", "must be at most 600; set the clocks instead");
        }
        let claims = !self.jwt_audience.is_empty() || !self.jwt_issuer.is_empty();
        if claims && !self.takes_tokens() {
            return fail("auth.jwt_audience", "and jwt_issuer need jwt_secret_file or jwt_public_keys");
        }
        Ok(())
    }
}
