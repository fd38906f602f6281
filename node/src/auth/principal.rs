//! Who a request is from, and what that one may do.

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use super::{Role, buckets::Rate, roles};

/// Who.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Who {
    /// Nobody known.
    #[default]
    Nobody,
    /// The holder of an API key of this id.
    Key(Arc<str>),
    /// The subject of a token.
    Token(Arc<str>),
    /// The subject of a client certificate.
    Certificate(Arc<str>),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => f.write_str("a caller without credentials"),
            Self::Key(id) => write!(f, "the API key {id:?}"),
            Self::Token(subject) => write!(f, "the token of {subject:?}"),
            Self::Certificate(name) => write!(f, "the certificate of {name:?}"),
        }
    }
}

/// What one may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// Its roles.
    pub roles: BTreeSet<Role>,
    /// Namespaces and methods that it may call; empty: all that its roles reach.
    pub allow: Vec<String>,
    /// How fast; `None`: as fast as it can.
    pub rate: Option<Rate>,
    /// Until when, in seconds since the Unix epoch.
    pub expires: Option<u64>,
}

impl Grant {
    /// Whether it was made for this method, whatever its roles.
    #[must_use]
    pub fn allows(&self, method: &str) -> bool {
        let namespace = roles::namespace_of(method);
        self.allow.is_empty() || self.allow.iter().any(|a| a == method || a == namespace)
    }

    /// Whether one of its roles reaches the method.
    #[must_use]
    pub fn reaches(&self, method: &str) -> bool {
        roles::needs(method).iter().any(|r| self.roles.contains(r))
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_over(&self, now_s: u64) -> bool {
        self.expires.is_some_and(|until| now_s >= until)
    }
}

/// Who a request is from. Cheap to clone; the default is nobody, with no role.
#[derive(Clone, Debug, Default)]
pub struct Principal {
    /// Who.
    pub who: Who,
    /// Where the connection came from.
    pub address: Option<IpAddr>,
    /// What it may do; of a key and a certificate only as of the time when they were shown.
    pub(super) grant: Arc<Grant>,
    /// Hash of the secret that proved it, to see whether a key is still the same.
    pub(super) proof: Option<[u8; 32]>,
}

/// The address that limits are kept by: an IPv6 host has a whole /64.
#[must_use]
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}
