//! `basalt bench`.

use std::path::PathBuf;

use anyhow::bail;
use basalt_primitives::HashFn;
use clap::{Args, Subcommand};

use super::network::Manifest;
use crate::{
    bench::{self, Plan, Target},
    keys::{self, Passphrase, dev},
};

#[derive(Debug, Subcommand)]
pub(super) enum BenchCommand {
    /// Drive a running network with pre-signed native transfers and report what it did.
    ///
    /// Example: basalt bench run --network basalt-net --seconds 20 --json
    Run(RunArgs),
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// Folder of a running network, for its nodes' addresses.
    #[arg(long, required_unless_present = "rpc")]
    network: Option<PathBuf>,
    /// RPC addresses of nodes, comma-separated, instead of --network.
    #[arg(long, value_delimiter = ',', conflicts_with = "network")]
    rpc: Vec<String>,
    /// Transactions per second to offer; as many as are taken if not given.
    #[arg(long)]
    rate: Option<u64>,
    /// How long to offer load.
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// Accounts that send.
    #[arg(long, default_value_t = 1000)]
    senders: usize,
    /// Transactions in one request.
    #[arg(long, default_value_t = 200)]
    batch: usize,
    /// Most transactions signed beforehand, without --rate.
    #[arg(long, default_value_t = 200_000)]
    max_transactions: usize,
    /// Key file of a funded account; without one, a development network's native account 0.
    #[arg(long)]
    key: Option<PathBuf>,
    /// File whose first line is the key's passphrase; else BASALT_PASSPHRASE.
    #[arg(long)]
    passphrase_file: Option<PathBuf>,
    /// The chain's hash function, for transaction hashes.
    #[arg(long, default_value = "sha256", value_parser = hash_fn)]
    hash: HashFn,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn hash_fn(name: &str) -> Result<HashFn, String> {
    let all = [HashFn::Sha256, HashFn::Keccak256, HashFn::Blake3];
    all.into_iter().find(|h| h.name() == name).ok_or_else(|| "use sha256, keccak256 or blake3".to_owned())
}

pub(super) fn run(command: BenchCommand) -> anyhow::Result<()> {
    let BenchCommand::Run(args) = command;
    let nodes = match &args.network {
        Some(dir) => Manifest::read(dir)?
            .nodes
            .iter()
            .map(|n| Target { rpc: n.rpc_url(), metrics: Some(n.metrics_url()) })
            .collect(),
        None => args.rpc.iter().map(|rpc| Target { rpc: rpc.clone(), metrics: None }).collect(),
    };
    let funder = match &args.key {
        Some(path) => keys::load(path, Passphrase::find(args.passphrase_file.as_deref())?.as_ref())?,
        None => dev::native_key(0),
    };
    let plan = Plan {
        nodes,
        funder,
        rate: args.rate,
        seconds: args.seconds,
        max_transactions: args.max_transactions,
        senders: args.senders,
        batch: args.batch,
        hash_fn: args.hash,
    };
    let report = super::block_on(bench::run(&plan))??;
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print!("{}", report.table());
    }
    if report.lost > 0 {
        bail!("{} accepted transactions were not committed", report.lost);
    }
    Ok(())
}
