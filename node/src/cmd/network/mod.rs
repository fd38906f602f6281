//! `basalt network`: make a network, run its nodes as local processes, look at them.

mod callers;
mod create;
mod explain;
mod invitation;
mod join;
mod layout;
mod processes;
mod status;
mod up;

use std::path::PathBuf;

use clap::Subcommand;

pub(super) use create::make_network;
pub(super) use invitation::{Checkpoint, Invitation};
pub(super) use layout::{MANIFEST, Manifest, NodeEntry};
pub(super) use processes::Run;

#[derive(Debug, Subcommand)]
pub(super) enum NetworkCommand {
    /// Make genesis, keys and configuration of a network.
    ///
    /// Example: basalt network create --nodes 4 --consensus pbft --out mynet
    Create(create::CreateArgs),
    Join(join::JoinArgs),
    /// Run the nodes of a network as processes on this machine; those already running are left alone.
    ///
    /// Example: basalt network up mynet --detach
    Up {
        /// The network's folder.
        dir: PathBuf,
        /// Return once the nodes are up; they go on in the background.
        #[arg(long)]
        detach: bool,
    },
    /// Stop the nodes of a network.
    ///
    /// Example: basalt network down mynet
    Down {
        /// The network's folder.
        dir: PathBuf,
    },
    /// Show the nodes of a network.
    ///
    /// Example: basalt network status mynet --json
    Status {
        /// The network's folder.
        dir: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Say why there is no block, or why the last one took as long as it did, and what can safely be done.
    ///
    /// Example: basalt network explain mynet
    Explain {
        /// The network's folder: all its nodes are asked.
        #[arg(required_unless_present = "rpc", conflicts_with = "rpc")]
        dir: Option<PathBuf>,
        /// One node's RPC address instead.
        #[arg(long, value_name = "URL")]
        rpc: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(command: NetworkCommand) -> anyhow::Result<()> {
    match command {
        NetworkCommand::Create(args) => create::run(args),
        NetworkCommand::Join(args) => join::run(&args),
        NetworkCommand::Up { dir, detach } => up::run(&dir, detach),
        NetworkCommand::Down { dir } => up::down(&dir),
        NetworkCommand::Status { dir, json } => status::run(&dir, json),
        NetworkCommand::Explain { dir, rpc, json } => explain::run(dir.as_deref(), rpc.as_deref(), json),
    }
}
