//! A network of the benchmark's own: made, run, and removed by the same command line that users have.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};

use crate::{bench::Target, cmd::network::Manifest, keys};

/// Most validators of a local network.
pub(super) const MAX_NODES: u16 = 64;
/// Below the ports that the system hands out by itself.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Its folder and processes; both are gone when this is dropped.
pub(super) struct LocalNetwork {
    folder: PathBuf,
}

/// What it is like.
#[derive(Clone, Debug)]
pub(super) struct LocalSpec {
    pub nodes: u16,
    pub block_interval_ms: u64,
    pub hash: &'static str,
}

impl LocalNetwork {
    /// Makes a network in a new folder below `dir` and starts it.
    pub fn start(dir: &Path, spec: &LocalSpec) -> anyhow::Result<Self> {
        if spec.nodes == 0 || spec.nodes > MAX_NODES {
            bail!("--nodes must be between 1 and {MAX_NODES}");
        }
        let folder = dir.join(format!("basalt-bench-{}", hex::encode(keys::random::<6>()?)));
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        // From here on it is removed, whatever happens.
        let network = Self { folder };
        let path = network.folder.join("spec.toml");
        fs::write(&path, spec.toml(free_ports(spec.nodes)?))?;
        basalt(&["network", "create"], &[&path, Path::new("--out"), &network.dir()])?;
        basalt(&["network", "up", "--detach"], &[&network.dir()])?;
        Ok(network)
    }

    fn dir(&self) -> PathBuf {
        self.folder.join("net")
    }

    /// Its nodes.
    pub fn targets(&self) -> anyhow::Result<Vec<Target>> {
        targets(&self.dir())
    }
}

impl Drop for LocalNetwork {
    fn drop(&mut self) {
        if self.dir().join("network.toml").exists()
            && let Err(e) = basalt(&["network", "down"], &[&self.dir()])
        {
            eprintln!("the benchmark's network could not be stopped: {e:#}");
        }
        if let Err(e) = fs::remove_dir_all(&self.folder) {
            eprintln!("{} could not be removed: {e}", self.folder.display());
        }
    }
}

impl LocalSpec {
    /// Without fees, as consortium networks are by default, so that no run ends because the base fee rose.
    fn toml(&self, first_port: u16) -> String {
        let Self { nodes, block_interval_ms, hash } = self;
        let [rpc, metrics, p2p] = [0, 1, 2].map(|i| first_port + i * MAX_NODES);
        format!(
            "name = \"bench\"\ndev = true\nhash = \"{hash}\"\n[nodes]\nvalidators = {nodes}\nrpc_port = {rpc}\n\
             metrics_port = {metrics}\np2p_port = {p2p}\n[consensus]\nblock_interval_ms = {block_interval_ms}\n\
             [fees]\nzero = true\n"
        )
    }
}

/// The nodes of a network's folder, with their processes and data where they run on this machine.
pub(super) fn targets(dir: &Path) -> anyhow::Result<Vec<Target>> {
    let target = |n: &crate::cmd::network::NodeEntry| Target {
        rpc: n.rpc_url(dir),
        metrics: Some(n.metrics_url(dir)),
        pid: fs::read_to_string(n.pid_file(dir)).ok().and_then(|t| t.split_whitespace().next()?.parse().ok()),
        data: Some(n.dir(dir).join("data")).filter(|d| d.is_dir()),
    };
    Ok(Manifest::read(dir)?.nodes.iter().map(target).collect())
}

/// The first of three stretches of ports that nobody listens on. Two benchmarks that look at the same moment may still meet:
/// the second then fails to start and says so.
fn free_ports(nodes: u16) -> anyhow::Result<u16> {
    let stretch = MAX_NODES * 3;
    let slots = (PORTS.end - PORTS.start) / stretch;
    let first = u16::from_be_bytes(keys::random::<2>()?) % slots;
    let free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    (0..slots)
        .map(|i| PORTS.start + (first + i) % slots * stretch)
        .find(|base| (0..3).all(|i| (0..nodes).all(|n| free(base + i * MAX_NODES + n))))
        .context("no free ports between 20000 and 32000; stop what listens there")
}

/// Runs this very program.
fn basalt(command: &[&str], paths: &[&Path]) -> anyhow::Result<()> {
    let out = Command::new(std::env::current_exe()?)
        .args(command)
        .args(paths)
        .env_remove("BASALT_PASSPHRASE")
        .output()
        .context("this program could not be started again")?;
    if !out.status.success() {
        bail!("basalt {}: {}", command.join(" "), String::from_utf8_lossy(&out.stderr).trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::spec::NetworkSpec;

    #[test]
    fn the_spec_of_a_local_network_is_one() {
        let text = LocalSpec { nodes: 7, block_interval_ms: 0, hash: "blake3" }.toml(20_000);
        let spec: NetworkSpec = toml::from_str(&text).expect("parses");
        spec.check().expect("good");
        assert_eq!((spec.nodes.validators, spec.consensus.block_interval_ms, spec.fees.zero), (7, 0, Some(true)));
        assert_eq!((spec.nodes.rpc_port, spec.nodes.metrics_port, spec.nodes.p2p_port), (20_000, 20_064, 20_128));
    }

    #[test]
    fn free_ports_are_free_and_in_bounds() {
        let base = free_ports(4).expect("some are");
        assert!(PORTS.contains(&base) && base + 3 * MAX_NODES <= PORTS.end);
        assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, base)).is_ok());
    }

    #[test]
    fn too_many_nodes_are_refused_before_anything_is_made() {
        let dir = tempfile::tempdir().expect("tempdir");
        for nodes in [0, MAX_NODES + 1] {
            let spec = LocalSpec { nodes, block_interval_ms: 0, hash: "sha256" };
            assert!(LocalNetwork::start(dir.path(), &spec).is_err());
        }
        assert!(fs::read_dir(dir.path()).expect("dir").next().is_none());
    }
}
