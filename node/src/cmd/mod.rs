//! The command line. Each command says in `--help` what it does, with an example; prints JSON with `--json` where it prints
//! data; and fails with one plain sentence and a mend.

mod audit;
mod auth;
mod bench;
mod config;
mod dev;
mod health;
mod key;
mod monitor;
mod network;
mod node;
mod permission;
mod top;
mod tx;
mod validator;

use clap::{Parser, Subcommand};

/// Basalt: a blockchain node and what an organisation needs to run a network of them.
#[derive(Debug, Parser)]
#[command(name = "basalt", version, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    tls: crate::tls::client::TlsArgs,
    #[command(flatten)]
    key: crate::client::KeyArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create, run and watch a network of local nodes.
    #[command(subcommand)]
    Network(network::NetworkCommand),
    /// Run a development network for tests of contracts: one node, funded accounts, the methods of test nodes.
    Dev(dev::DevArgs),
    /// Run one node.
    Node(node::NodeArgs),
    /// Make and inspect keys.
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Say who may call a node: API keys and their roles.
    #[command(subcommand)]
    Auth(auth::AuthCommand),
    /// Verify, show and export what was done to a node: its audit log.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Send native transactions, call contracts, see what became of a transaction.
    #[command(subcommand)]
    Tx(tx::TxCommand),
    /// See the validators, and change them by vote.
    #[command(subcommand)]
    Validator(validator::ValidatorCommand),
    /// See who may join and act on a permissioned network, and change that by vote.
    #[command(subcommand)]
    Permission(permission::PermissionCommand),
    /// Measure a running network.
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// Watch a node and its network: status, nodes, resources, rates, alerts.
    #[command(subcommand)]
    Monitor(monitor::MonitorCommand),
    Top(top::TopArgs),
    /// Check configuration files.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Ask a node whether it is ready; exit code 0 if so. For container health checks.
    Health(health::HealthArgs),
}

/// Runs the command line; the exit code for the process.
pub fn main() -> std::process::ExitCode {
    let cli = Cli::parse();
    let result = cli.tls.apply().and_then(|()| cli.key.apply()).and_then(|()| run(cli.command));
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Network(c) => network::run(c),
        Command::Dev(a) => dev::run(&a),
        Command::Node(a) => node::run(a),
        Command::Key(c) => key::run(&c),
        Command::Auth(c) => auth::run(c),
        Command::Audit(c) => audit::run(c),
        Command::Tx(c) => tx::run(c),
        Command::Validator(c) => validator::run(c),
        Command::Permission(c) => permission::run(c),
        Command::Bench(c) => bench::run(c),
        Command::Monitor(c) => monitor::run(&c),
        Command::Top(a) => top::run(&a),
        Command::Config(c) => config::run(&c),
        Command::Health(a) => health::run(&a),
    }
}

/// A runtime for commands that talk to nodes.
fn block_on<T>(future: impl Future<Output = T>) -> anyhow::Result<T> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future))
}
