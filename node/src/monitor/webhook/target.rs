//! Where webhooks may point to. A node that posts to any address it is told can be used to reach what only its machine
//! reaches (server-side request forgery): loopback, the private network, the metadata service of a cloud.

use std::net::IpAddr;

use reqwest::Url;

use crate::ip::is_public;

/// Longest address.
const MAX_URL: usize = 2_048;
/// What to do about a private target.
pub(super) const MEND: &str =
    "set monitor.webhook_private_targets = true in this node's configuration if that is meant";

/// Why an address cannot be a webhook's.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TargetError {
    /// Not an address.
    #[error("url is not an address: {0}; write it as http://host:port/path")]
    Malformed(String),
    /// Another scheme.
    #[error("url begins with {0}, but only http:// and https:// are spoken")]
    Scheme(String),
    /// It carries a password, which would be shown in lists.
    #[error("url carries a user name or password; leave them out and check the signature instead")]
    Credentials,
    /// Loopback, private, or otherwise not for everyone.
    #[error("url points to the private address {0}; {MEND}")]
    Private(IpAddr),
}

/// Which addresses are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Targets {
    /// Loopback and private ones too.
    pub private: bool,
}

impl Targets {
    /// Checks an address as far as it can be without resolving its name; names are checked when they are resolved.
    pub fn check(self, text: &str) -> Result<Url, TargetError> {
        if text.len() > MAX_URL {
            return Err(TargetError::Malformed(format!("it is longer than {MAX_URL} bytes")));
        }
        let url = Url::parse(text).map_err(|e| TargetError::Malformed(e.to_string()))?;
        if !["http", "https"].contains(&url.scheme()) {
            return Err(TargetError::Scheme(format!("{}:", url.scheme())));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(TargetError::Credentials);
        }
        let host = url.host_str().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        match host.parse::<IpAddr>() {
            Ok(ip) if !self.allows(ip) => Err(TargetError::Private(ip)),
            _ => Ok(url),
        }
    }

    /// Whether this address may be connected to.
    #[must_use]
    pub fn allows(self, ip: IpAddr) -> bool {
        self.private || is_public(ip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC: Targets = Targets { private: false };
    const ANY: Targets = Targets { private: true };

    #[test]
    fn private_targets_are_refused_in_every_disguise_unless_they_are_meant() {
        let private = [
            "127.0.0.1",
            "127.1",
            "0x7f000001",
            "2130706433",
            "10.0.0.1",
            "172.16.3.4",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "[::1]",
            "[::]",
            "[fe80::1]",
            "[fd00::1]",
            "[::ffff:127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "[2001:db8::1]",
        ];
        for host in private {
            let url = format!("http://{host}:9/x");
            assert!(matches!(PUBLIC.check(&url), Err(TargetError::Private(_))), "{url}");
            assert!(ANY.check(&url).is_ok(), "{url}");
        }
        for host in ["1.1.1.1", "[2606:4700::1111]", "hooks.example.org", "[64:ff9b::101:101]"] {
            assert!(PUBLIC.check(&format!("http://{host}/x")).is_ok(), "{host}");
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused_with_a_mend() {
        let refused = |url: &str| ANY.check(url).expect_err("refused").to_string();
        assert!(refused("").contains("http://host:port/path"));
        assert!(refused("ftp://x/").contains("only http://"));
        assert!(ANY.check("https://x/").is_ok());
        assert!(refused("file:///etc/passwd").contains("only http://"));
        assert!(refused("http://me:secret@x/").contains("leave them out"));
        assert!(refused(&format!("http://x/{}", "a".repeat(3_000))).contains("2048"));
    }
}
