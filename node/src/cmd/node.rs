//! `basalt node`.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::bail;
use clap::Args;

use crate::{config, service};

/// Settings come from the file, then from BASALT_* variables, then from flags.
///
/// Example: basalt node --config net/nodes/node0/node.toml --set log.level=debug
#[derive(Debug, Args)]
pub(super) struct NodeArgs {
    /// The node's config file.
    #[arg(long)]
    config: PathBuf,
    /// Ledger and sign record.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// JSON-RPC address.
    #[arg(long)]
    rpc_listen: Option<SocketAddr>,
    /// Metrics address.
    #[arg(long)]
    metrics_listen: Option<SocketAddr>,
    /// Peer-to-peer address.
    #[arg(long)]
    p2p_listen: Option<SocketAddr>,
    /// Log level or directives.
    #[arg(long)]
    log_level: Option<String>,
    /// Any other setting, as section.key=value; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

pub(super) fn run(args: NodeArgs) -> anyhow::Result<()> {
    let mut flags = Vec::new();
    for pair in args.set {
        let Some((key, value)) = pair.split_once('=') else {
            bail!("--set {pair} is not KEY=VALUE, as in --set log.level=debug");
        };
        flags.push((key.to_owned(), value.to_owned()));
    }
    let named = [
        ("data_dir", args.data_dir.map(|p| p.display().to_string())),
        ("rpc.listen", args.rpc_listen.map(|a| a.to_string())),
        ("metrics.listen", args.metrics_listen.map(|a| a.to_string())),
        ("p2p.listen", args.p2p_listen.map(|a| a.to_string())),
        ("log.level", args.log_level),
    ];
    flags.extend(named.into_iter().filter_map(|(k, v)| Some((k.to_owned(), v?))));
    let config = config::load(&args.config, std::env::vars(), &flags)?;
    service::run(config)
}
