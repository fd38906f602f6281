//! `basalt network up` and `down`.

use std::{
    io::{IsTerminal as _, Write as _},
    path::Path,
    process::Child,
    time::{Duration, Instant},
};

use anyhow::bail;

use super::{
    layout::{Manifest, NodeEntry},
    processes,
    status::{self, NodeStatus},
};
use crate::keys::dev;

/// How long nodes may take to answer before `--detach` gives up waiting for them.
const UP_WITHIN: Duration = Duration::from_secs(30);

struct Running {
    entry: NodeEntry,
    child: Option<Child>,
}

pub(super) fn run(dir: &Path, detach: bool) -> anyhow::Result<()> {
    let manifest = Manifest::read(dir)?;
    let missing = |n: &&NodeEntry| processes::find(dir, n).is_none();
    manifest.nodes.iter().filter(missing).try_for_each(processes::check_ports)?;
    let mut running = Vec::new();
    for entry in &manifest.nodes {
        let child = match processes::find(dir, entry) {
            Some(p) => {
                println!("{} is already running (pid {})", entry.name, p.pid);
                None
            }
            None => Some(processes::start(dir, entry)?),
        };
        running.push(Running { entry: entry.clone(), child });
    }
    crate::cmd::block_on(async {
        wait_until_up(dir, &manifest, &mut running).await?;
        print_endpoints(dir, &manifest);
        if detach {
            println!("the nodes go on in the background; stop them: basalt network down {}", dir.display());
            return Ok(());
        }
        watch(dir, &manifest, &mut running).await
    })?
}

pub(super) fn down(dir: &Path) -> anyhow::Result<()> {
    let manifest = Manifest::read(dir)?;
    let killed = processes::stop_all(dir, &manifest.nodes)?;
    if !killed.is_empty() {
        println!("had to be killed because they did not stop in time: {}", killed.join(", "));
    }
    println!("network {} is down; its chain is kept in {}", manifest.name, dir.display());
    Ok(())
}

async fn wait_until_up(dir: &Path, manifest: &Manifest, running: &mut [Running]) -> anyhow::Result<()> {
    let deadline = Instant::now() + UP_WITHIN;
    loop {
        for node in running.iter_mut() {
            if let Some(ended) = ended(dir, node) {
                let _ = processes::stop_all(dir, &manifest.nodes);
                bail!("{ended}\nthe other nodes were stopped again");
            }
        }
        if status::gather(dir, manifest).await.iter().all(|n| n.height.is_some()) {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!(
                "the nodes run but do not answer within {UP_WITHIN:?}; see the logs in {}/nodes/*/node.log",
                dir.display()
            );
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// If the node's process has ended, says how.
fn ended(dir: &Path, node: &mut Running) -> Option<String> {
    let how = match node.child.as_mut()?.try_wait() {
        Ok(Some(status)) => status.to_string(),
        Ok(None) => return None,
        Err(e) => e.to_string(),
    };
    node.child = None;
    let (log, tail) = (node.entry.log(dir), processes::log_tail(dir, &node.entry, 5));
    Some(format!("{} has ended ({how}); the end of {}:\n{tail}", node.entry.name, log.display()))
}

fn print_endpoints(dir: &Path, manifest: &Manifest) {
    println!("\nnetwork {} (chain id {})", manifest.name, manifest.chain_id);
    for n in &manifest.nodes {
        println!("  {:<8} {:<10} RPC {:<24} metrics {}", n.name, n.role, n.rpc_url(dir), n.metrics_url(dir));
    }
    if manifest.dev {
        println!("\nfunded accounts, 10000 ether each (known to everyone, for development only):");
        for a in dev::accounts().iter().filter(|a| !a.native) {
            println!("  {}  {}", a.address, a.private_key);
        }
        println!("native (Ed25519) account: {}  `basalt tx send --dev-account 0 …`", dev::accounts()[10].address);
    }
    println!();
}

/// Shows the network until a signal asks to stop, then stops it. Crashed nodes are shown and stay down.
async fn watch(dir: &Path, manifest: &Manifest, running: &mut [Running]) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut int, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let terminal = std::io::stdout().is_terminal();
    let every = if terminal { Duration::from_secs(1) } else { Duration::from_secs(10) };
    let mut tick = tokio::time::interval(every);
    loop {
        tokio::select! {
            _ = int.recv() => break,
            _ = term.recv() => break,
            _ = tick.tick() => {
                for node in running.iter_mut() {
                    if let Some(text) = ended(dir, node) {
                        println!("\n{text}\nit stays down; start it again: basalt network up {}", dir.display());
                    }
                }
                show(&status::gather(dir, manifest).await, terminal)?;
            }
        }
    }
    println!("\nstopping the nodes …");
    // Reap our children, or they would look alive.
    let reaper = running.iter_mut().filter_map(|r| r.child.take()).map(|mut c| std::thread::spawn(move || c.wait()));
    let reapers: Vec<_> = reaper.collect();
    down(dir)?;
    reapers.into_iter().for_each(|r| drop(r.join()));
    Ok(())
}

fn show(nodes: &[NodeStatus], terminal: bool) -> anyhow::Result<()> {
    let one = |n: &NodeStatus| match (n.on, n.height) {
        (true, Some(h)) => format!("{} {h} ({} peers)", n.name, n.peers.unwrap_or(0)),
        (true, None) => format!("{} …", n.name),
        (false, _) if n.crashed => format!("{} CRASHED", n.name),
        (false, _) => format!("{} off", n.name),
    };
    let line = nodes.iter().map(one).collect::<Vec<_>>().join(" | ");
    let mut out = std::io::stdout();
    match terminal {
        true => write!(out, "\r\x1b[2K{line}")?,
        false => writeln!(out, "{line}")?,
    }
    out.flush()?;
    Ok(())
}
