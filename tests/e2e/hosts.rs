//! Hosts of one machine: a network namespace for each node, wired to one bridge, whose links can be cut without a word.

use std::process::Command;

use crate::net::Net;

fn ip(args: &[&str]) -> Result<(), String> {
    let out = Command::new("ip").args(args).output().map_err(|e| format!("`ip` cannot be run: {e}"))?;
    let error = String::from_utf8_lossy(&out.stderr);
    if out.status.success() { Ok(()) } else { Err(format!("ip {}: {}", args.join(" "), error.trim())) }
}

/// The hosts. Removed when dropped.
pub struct Hosts {
    /// Makes names and addresses unlike those of other runs.
    id: u32,
    count: usize,
}

impl Hosts {
    /// Makes hosts; `None`, with a word about it, where that is not allowed. In CI it must be.
    pub fn new(count: usize) -> Option<Self> {
        let hosts = Self { id: std::process::id(), count };
        match hosts.make() {
            Ok(()) => Some(hosts),
            Err(reason) if std::env::var_os("CI").is_some_and(|v| v == "true") => panic!("CI=true, but {reason}"),
            Err(reason) => {
                println!("skipped: network namespaces need root and iproute2: {reason}");
                None
            }
        }
    }

    /// The namespace of a node.
    pub fn namespace(&self, node: usize) -> String {
        format!("bt{}n{node}", self.id)
    }

    fn bridge(&self) -> String {
        format!("bt{}", self.id)
    }

    /// The address of a node; that of the test itself ends in 254.
    pub fn address(&self, node: usize) -> String {
        format!("10.{}.{}.{}", 100 + self.id / 256 % 100, self.id % 256, node + 1)
    }

    fn make(&self) -> Result<(), String> {
        let bridge = self.bridge();
        ip(&["link", "add", &bridge, "type", "bridge"])?;
        ip(&["addr", "add", &format!("{}/24", self.address(253)), "dev", &bridge])?;
        ip(&["link", "set", &bridge, "up"])?;
        (0..self.count).try_for_each(|node| self.plug(node, &bridge))
    }

    fn plug(&self, node: usize, bridge: &str) -> Result<(), String> {
        let ns = self.namespace(node);
        let port = format!("bt{}p{node}", self.id);
        ip(&["netns", "add", &ns])?;
        ip(&["link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &ns])?;
        ip(&["link", "set", &port, "master", bridge, "up"])?;
        ip(&["-n", &ns, "addr", "add", &format!("{}/24", self.address(node)), "dev", "eth0"])?;
        ip(&["-n", &ns, "link", "set", "eth0", "up"])?;
        ip(&["-n", &ns, "link", "set", "lo", "up"])
    }

    /// From now on nothing that `from` sends reaches `to`: it goes to a hardware address that nobody has.
    pub fn cut(&self, from: usize, to: usize) {
        let (ns, to) = (self.namespace(from), self.address(to));
        let nobody = ["lladdr", "02:00:00:00:00:fe", "dev", "eth0", "nud", "permanent"];
        ip(&[&["-n", &ns, "neigh", "replace", &to][..], &nobody].concat()).expect("the link is cut");
    }

    /// Cuts both ways between two groups.
    pub fn split(&self, one: &[usize], other: &[usize]) {
        for (a, b) in one.iter().flat_map(|a| other.iter().map(move |b| (*a, *b))) {
            self.cut(a, b);
            self.cut(b, a);
        }
    }

    /// All links work again.
    pub fn heal(&self) {
        for from in 0..self.count {
            for to in (0..self.count).filter(|to| *to != from) {
                // Fails where nothing was cut.
                let _ = ip(&["-n", &self.namespace(from), "neigh", "del", &self.address(to), "dev", "eth0"]);
            }
        }
    }

    /// Moves the nodes of a network, not started yet, onto these hosts.
    pub fn settle(&self, net: &mut Net) {
        net.relocate(&(0..self.count).map(|node| self.address(node)).collect::<Vec<_>>());
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for node in 0..self.count {
            // What could not be made cannot be removed; with a namespace its cable goes.
            let _ = ip(&["netns", "del", &self.namespace(node)]);
        }
        let _ = ip(&["link", "del", &self.bridge()]);
    }
}
