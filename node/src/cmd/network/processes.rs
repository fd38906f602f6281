//! Nodes as processes of this machine: start, find again, stop. A pid file holds the process id and its start time, so that
//! a process that later got the same id is never taken for the node.

use std::{
    fs::{self, OpenOptions},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::layout::NodeEntry;

/// How long a node may take to stop before it is killed.
const STOP_WITHIN: Duration = Duration::from_secs(15);

/// A running process, told apart from any other that ever has its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub pid: u32,
    started: u64,
}

impl Process {
    /// The live process with this id.
    fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold spaces; fields are counted after it. State is field 3, start time field 22.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?;
        let started = fields.nth(18)?.parse().ok()?;
        // While threads of a process are still ending, its first thread may be a zombie already; files and locks are
        // released only with the last one.
        let threads = || fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
        (state != "Z" || threads() > 1).then_some(Self { pid, started })
    }

    fn alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    fn signal(self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw)
            && self.alive()
        {
            // It may have ended in between, which is what we want anyway.
            let _ = kill_process(pid, signal);
        }
    }
}

/// The node's process, if it runs.
pub(super) fn find(network: &Path, node: &NodeEntry) -> Option<Process> {
    let text = fs::read_to_string(node.pid_file(network)).ok()?;
    let (pid, started) = text.trim().split_once(' ')?;
    let p = Process { pid: pid.parse().ok()?, started: started.parse().ok()? };
    p.alive().then_some(p)
}

/// Whether the node was started and neither stopped nor seen to end: it has crashed if it does not run.
pub(super) fn was_started(network: &Path, node: &NodeEntry) -> bool {
    node.pid_file(network).exists()
}

/// Whether a node's process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cmd) enum Run {
    On,
    /// Neither started nor running.
    Off,
    /// Ended without being asked to.
    Crashed,
}

impl NodeEntry {
    /// Whether its process runs on this machine.
    pub fn state(&self, network: &Path) -> Run {
        match find(network, self) {
            Some(_) => Run::On,
            None if was_started(network, self) => Run::Crashed,
            None => Run::Off,
        }
    }
}

/// Starts a node in a process group of its own, so that a Ctrl-C here reaches it only through [`stop_all`].
pub(super) fn start(network: &Path, node: &NodeEntry) -> anyhow::Result<Child> {
    let log_path = node.log(network);
    let log = OpenOptions::new().create(true).append(true).open(&log_path);
    let log = log.with_context(|| format!("cannot write {}", log_path.display()))?;
    let child = Command::new(std::env::current_exe()?)
        .args(["node", "--config"])
        .arg(node.config(network))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start {}", node.name))?;
    let process =
        Process::of(child.id()).with_context(|| format!("{} ended at once; see {}", node.name, log_path.display()))?;
    fs::write(node.pid_file(network), format!("{} {}\n", process.pid, process.started))?;
    Ok(child)
}

/// Asks the nodes to stop, waits, and kills what does not. The names of those that had to be killed.
pub(super) fn stop_all(network: &Path, nodes: &[NodeEntry]) -> anyhow::Result<Vec<String>> {
    let mut running: Vec<_> = nodes.iter().filter_map(|n| Some((n, find(network, n)?))).collect();
    for (_, p) in &running {
        p.signal(Signal::TERM);
    }
    let deadline = Instant::now() + STOP_WITHIN;
    while running.iter().any(|(_, p)| p.alive()) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(50));
    }
    running.retain(|(_, p)| p.alive());
    for (_, p) in &running {
        p.signal(Signal::KILL);
    }
    for node in nodes {
        match fs::remove_file(node.pid_file(network)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e.into()),
            _ => {}
        }
    }
    Ok(running.into_iter().map(|(n, _)| n.name.clone()).collect())
}

/// The last lines of a node's log, to show why it ended.
pub(super) fn log_tail(network: &Path, node: &NodeEntry, lines: usize) -> String {
    let text = fs::read(node.log(network)).unwrap_or_default();
    let tail = &text[text.len().saturating_sub(8192)..];
    let text = String::from_utf8_lossy(tail);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Fails if somebody else already listens where a node that is about to start will.
pub(super) fn check_ports(node: &NodeEntry) -> anyhow::Result<()> {
    for (what, address) in [("RPC", node.rpc), ("metrics", node.metrics), ("P2P", node.p2p)] {
        if let Err(e) = std::net::TcpListener::bind(address)
            && e.kind() == std::io::ErrorKind::AddrInUse
        {
            bail!(
                "{what} address {address} of {} is in use by another program; stop that program, or change the address in its node.toml",
                node.name
            );
        }
    }
    Ok(())
}
