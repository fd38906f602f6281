//! What an IP address says about who is behind it: whether everybody can reach it, and whose neighbour it is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

/// Whether the address is one that the whole Internet can reach.
#[must_use]
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

/// IANA's special-purpose registry (RFC 6890), as far as it could be reached.
fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    let carrier = a == 100 && (64..128).contains(&b);
    let benchmark = a == 198 && (b == 18 || b == 19);
    !(a == 0
        || a >= 240
        || carrier
        || benchmark
        || ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_documentation()
        || (a == 192 && b == 0))
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    if let Some(v4) = embedded_v4(ip) {
        return is_public_v4(v4);
    }
    // Global unicast is 2000::/3; 2001:db8::/32 is for documentation.
    let [first, second, ..] = ip.segments();
    first & 0xe000 == 0x2000 && !(first == 0x2001 && second == 0xdb8)
}

/// The IPv4 address inside an IPv6 one (mapped, NAT64, 6to4): it is the same host.
fn embedded_v4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let inner = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match ip.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(inner(high, low)),
        [0x2002, high, low, ..] => Some(inner(high, low)),
        _ => ip.to_ipv4_mapped(),
    }
}

/// Addresses of which one party probably has all if it has many: what it costs an attacker to have another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Subnet {
    /// A /16.
    V4([u8; 2]),
    /// A /32, which is what a provider gets.
    V6([u8; 4]),
    /// In a private network, where neighbourhood says nothing, each address is its own.
    Alone(SocketAddr),
}

impl Subnet {
    /// Of an address.
    #[must_use]
    pub fn of(address: SocketAddr) -> Self {
        let v4 = |ip: Ipv4Addr| {
            let [a, b, ..] = ip.octets();
            Self::V4([a, b])
        };
        match address.ip() {
            ip if !is_public(ip) => Self::Alone(address),
            IpAddr::V4(ip) => v4(ip),
            IpAddr::V6(ip) => embedded_v4(ip).map_or_else(
                || {
                    let [a, b, c, d, ..] = ip.octets();
                    Self::V6([a, b, c, d])
                },
                v4,
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_share_a_subnet_in_every_disguise() {
        let subnet = |a: &str| Subnet::of(a.parse().expect("an address"));
        assert_eq!(subnet("9.8.7.6:1"), subnet("9.8.1.1:2"));
        assert_ne!(subnet("9.8.7.6:1"), subnet("9.9.7.6:1"));
        assert_eq!(subnet("[2606:4700:1::1]:1"), subnet("[2606:4700:2::1]:9"));
        assert_ne!(subnet("[2606:4700::1]:1"), subnet("[2606:4701::1]:1"));
        for disguised in ["[::ffff:9.8.0.1]:1", "[64:ff9b::908:1]:1", "[2002:908:1::]:1"] {
            assert_eq!(subnet(disguised), Subnet::V4([9, 8]), "{disguised}");
        }
        assert_ne!(subnet("10.0.0.1:1"), subnet("10.0.0.2:1"));
        assert_ne!(subnet("127.0.0.1:1"), subnet("127.0.0.1:2"));
    }
}
