//! `[p2p]`: where peers connect, and which are sought.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::network::{DiscoveryConfig, PeerMultiaddr};

/// Peer-to-peer settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct P2p {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Peers to keep connected to: `/dns4/HOST/tcp/PORT/p2p/PEERID`, `/ip4/…` likewise. On a public network, its bootnodes.
    pub peers: Vec<String>,
    /// Most connected peers.
    pub max_peers: u32,
    /// Whether to seek further peers: ask those that are connected, and remember who answered. Unset: on public networks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discovery: Option<bool>,
    /// Connections to make to peers found so; at most `max_peers`.
    pub outbound: u32,
    /// How many of them may lead to one subnet (/16 of IPv4, /32 of IPv6).
    pub outbound_per_subnet: u32,
    /// Whether loopback and private addresses count as reachable: for a public network inside a private one.
    pub private_addresses: bool,
    /// Addresses under which others reach this node, when it listens on all or behind a router: `/ip4/IP/tcp/PORT`.
    pub external: Vec<String>,
}

impl Default for P2p {
    fn default() -> Self {
        let DiscoveryConfig { outbound, per_subnet, private_addresses } = DiscoveryConfig::default();
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 30303)),
            peers: Vec::new(),
            max_peers: 64,
            discovery: None,
            outbound: u32::try_from(outbound).unwrap_or(u32::MAX),
            outbound_per_subnet: u32::try_from(per_subnet).unwrap_or(u32::MAX),
            private_addresses,
            external: Vec::new(),
        }
    }
}

impl P2p {
    /// The key of a value that cannot be, and why.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        if self.max_peers == 0 || self.max_peers > 4096 {
            return Err(("p2p.max_peers", "must be between 1 and 4096".into()));
        }
        if self.outbound == 0 || self.outbound > 4096 {
            return Err(("p2p.outbound", "must be between 1 and 4096".into()));
        }
        if self.outbound_per_subnet == 0 {
            return Err(("p2p.outbound_per_subnet", "must be at least 1".into()));
        }
        self.external_addresses().map(|_| ())
    }

    /// [`Self::external`], parsed.
    pub fn external_addresses(&self) -> Result<Vec<PeerMultiaddr>, (&'static str, String)> {
        let parse = |text: &String| {
            let malformed =
                |_| ("p2p.external", format!("{text:?} is not a multiaddress such as /ip4/1.2.3.4/tcp/30303"));
            text.parse::<PeerMultiaddr>().map_err(malformed)
        };
        self.external.iter().map(parse).collect()
    }

    /// How peers are sought, if they are.
    #[must_use]
    pub fn discovery(&self, is_public: bool) -> Option<DiscoveryConfig> {
        self.discovery.unwrap_or(is_public).then(|| DiscoveryConfig {
            outbound: self.outbound.min(self.max_peers) as usize,
            per_subnet: self.outbound_per_subnet as usize,
            private_addresses: self.private_addresses,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_named() {
        let key = |p: P2p| p.check().expect_err("refused").0;
        assert_eq!(key(P2p { max_peers: 0, ..P2p::default() }), "p2p.max_peers");
        assert_eq!(key(P2p { outbound: 0, ..P2p::default() }), "p2p.outbound");
        assert_eq!(key(P2p { outbound_per_subnet: 0, ..P2p::default() }), "p2p.outbound_per_subnet");
        assert_eq!(key(P2p { external: vec!["1.2.3.4:5".into()], ..P2p::default() }), "p2p.external");
        assert!(P2p { external: vec!["/dns4/a.example/tcp/5".into()], ..P2p::default() }.check().is_ok());
        let few = P2p { max_peers: 3, ..P2p::default() };
        assert!(few.check().is_ok() && few.discovery(true).is_some_and(|d| d.outbound == 3));
        let seeks = |discovery| P2p { discovery, ..P2p::default() };
        assert!(seeks(None).discovery(true).is_some() && seeks(None).discovery(false).is_none());
        assert!(seeks(Some(false)).discovery(true).is_none() && seeks(Some(true)).discovery(false).is_some());
    }
}
