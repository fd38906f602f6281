//! `basalt config`.

use std::path::PathBuf;

use clap::Subcommand;

use crate::config;

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Check a node's config file with the variables in force, and the genesis file it names.
    ///
    /// Example: basalt config check node.toml
    Check {
        /// The config file.
        file: PathBuf,
        /// Print the effective settings as JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(command: &ConfigCommand) -> anyhow::Result<()> {
    let ConfigCommand::Check { file, json } = command;
    let config = config::load(file, std::env::vars(), &[])?;
    for server in crate::service::tls_servers(&config)?.all() {
        server.check(crate::tls::server::now_s())?;
    }
    let spec = crate::service::read_genesis(&config.genesis)?;
    if *json {
        println!("{}", serde_json::to_string_pretty(&config)?);
    } else {
        let genesis = spec.genesis_block().hash();
        println!("ok: {} on network {} (chain id {}, genesis {genesis})", config.name, spec.name, spec.chain_id);
    }
    Ok(())
}
