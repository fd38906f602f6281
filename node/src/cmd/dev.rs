//! `basalt dev`: a development network in one process, gone when it ends.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use basalt_primitives::{ChainSpec, chainspec::Consensus};
use clap::Args;

use super::network::{Manifest, make_network};
use crate::{
    config::{self, spec::NetworkSpec},
    keys::dev,
    service,
};

/// One node with funded accounts and the methods of test nodes (mine, snapshot, impersonate …), for tests of contracts.
///
/// Blocks are made as soon as a transaction comes. Ctrl-C ends it and removes its files, unless --dir names their place.
///
/// Example: basalt dev --port 8545
#[derive(Debug, Args)]
pub(super) struct DevArgs {
    /// JSON-RPC and WebSocket port.
    #[arg(long, default_value_t = 8545)]
    port: u16,
    /// Address to listen on.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// Answer whoever reaches the address, where it is no loopback address: the accounts' keys are known to everyone.
    #[arg(long)]
    open: bool,
    /// Make a block every so many seconds (0.5 is half a second) instead of one for each transaction.
    #[arg(long, value_name = "SECONDS")]
    interval: Option<f64>,
    /// Keep the chain in this folder, and go on with the one that is there; else it is in a temporary folder.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Chain id of a new chain.
    #[arg(long, default_value_t = 31337)]
    chain_id: u64,
    /// Most gas of a block of a new chain.
    #[arg(long, default_value_t = 30_000_000)]
    gas_limit: u64,
    /// Log level or directives.
    #[arg(long, default_value = "warn")]
    log_level: String,
    /// Do not print the accounts.
    #[arg(long)]
    quiet: bool,
}

pub(super) fn run(args: &DevArgs) -> anyhow::Result<()> {
    let rpc = SocketAddr::new(args.host, args.port);
    if !args.host.is_loopback() && !args.open {
        bail!(
            "{} can be reached from elsewhere, and a development network asks nobody who it is: add --open if that is meant",
            args.host
        );
    }
    free(rpc)?;
    // Removed when dropped: after the node has ended.
    let (temporary, dir) = match &args.dir {
        Some(dir) => (None, dir.clone()),
        None => {
            let made = tempfile::Builder::new().prefix("basalt-dev-").tempdir().context("no temporary folder")?;
            let path = made.path().to_owned();
            (Some(made), path)
        }
    };
    if !dir.join(super::network::MANIFEST).exists() {
        make_network(&spec(args)?, &dir)?;
    }
    let manifest = Manifest::read(&dir)?;
    let [node] = &manifest.nodes[..] else { bail!("{} holds a network of several nodes", dir.display()) };
    let flags = [
        ("rpc.listen", rpc.to_string()),
        ("metrics.listen", SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0).to_string()),
        ("log.level", args.log_level.clone()),
    ];
    let everybody = ("auth.anonymous", "[\"administrator\"]".to_owned());
    let flags = flags.into_iter().chain((!args.host.is_loopback()).then_some(everybody));
    let flags: Vec<_> = flags.map(|(k, v)| (k.to_owned(), v)).collect();
    let config = config::load(&node.config(&dir), std::env::vars(), &flags)?;
    let chain = service::read_genesis(&config.genesis)?;
    if !chain.is_devnet() {
        bail!(
            "{} holds a network that is no development network; choose another --dir, or run it with `basalt network up`",
            dir.display()
        );
    }
    let (quiet, kept) = (args.quiet, temporary.is_none().then(|| dir.clone()));
    let ended = service::run_and_tell(config, move || announce(&chain, rpc, quiet, kept.as_deref()));
    drop(temporary);
    ended
}

fn spec(args: &DevArgs) -> anyhow::Result<NetworkSpec> {
    let mut spec = NetworkSpec::devnet();
    spec.chain_id = Some(args.chain_id);
    spec.block.gas_limit = args.gas_limit;
    if let Some(seconds) = args.interval {
        if !(0.001..=86_400.0).contains(&seconds) {
            bail!("--interval {seconds}: give seconds between 0.001 and 86400");
        }
        spec.consensus.block_interval_ms = (seconds * 1000.0).round() as u64;
    }
    Ok(spec)
}

/// A busy port is said at once, not after everything has been made.
fn free(address: SocketAddr) -> anyhow::Result<()> {
    std::net::TcpListener::bind(address)
        .map(drop)
        .with_context(|| format!("cannot listen on {address}; choose another --port, or end what uses it"))
}

fn announce(chain: &ChainSpec, rpc: SocketAddr, quiet: bool, kept: Option<&Path>) {
    if !quiet {
        println!(
            "Accounts (10000 ether each at genesis; their keys are known to everyone: never use them for value)\n"
        );
        for (i, a) in dev::accounts().iter().filter(|a| !a.native).enumerate() {
            println!("({i}) {}  {}", a.address, a.private_key);
        }
        println!("\nMnemonic: test test test test test test test test test test test junk");
        println!("Derivation path: m/44'/60'/0'/0/");
        let blocks = match &chain.consensus {
            Consensus::Dev(p) => p.block_interval_ms,
            Consensus::Pbft(_) | Consensus::Pow(_) => None,
        };
        match blocks {
            Some(ms) => println!("Blocks: every {ms} ms"),
            None => println!("Blocks: one as soon as a transaction comes"),
        }
        println!("Chain id: {}", chain.chain_id);
        if let Some(dir) = kept {
            let dir = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
            println!("The chain is kept in {}", dir.display());
        }
        println!();
    }
    println!("Listening on {rpc}");
}
