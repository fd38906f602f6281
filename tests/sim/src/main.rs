//! `basalt-sim`: the simulators on the command line. `basalt-sim --help` has examples.

mod commands;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// Deterministic simulation of Basalt's consensus: every run is a function of its scenario and seed.
#[derive(Debug, Parser)]
#[command(
    name = "basalt-sim",
    version,
    after_help = "Examples:
  basalt-sim scenarios
  basalt-sim run --seeds 2000
  basalt-sim run --scenario one-wiped --seeds 200 --nodes 7 --jobs 2
  basalt-sim run --minutes 60 --from 1000000
  basalt-sim replay 17 --scenario all-down
  basalt-sim run --engine pow --scenario selfish --seeds 80 --jobs 2
  basalt-sim twins --nodes 7 --schedules 100000
  basalt-sim measure --nodes 4,100 --json

Exit code: 0 all sound, 1 an invariant broke, 2 a request that makes no sense."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run many seeds; stop at the first that breaks an invariant
    Run(RunArgs),
    /// Run one seed and tell what happens in it, line by line
    Replay(ReplayArgs),
    /// Search schedules of partitions in which some validators run twice
    Twins(TwinsArgs),
    /// Measure what a block costs: message delays, messages, the engine's processor time
    Measure(MeasureArgs),
    /// List the scenarios
    Scenarios(ScenariosArgs),
}

/// Which simulator.
#[derive(Debug, Args)]
struct Which {
    /// Consensus engine: pbft or pow
    #[arg(long, default_value = "pbft")]
    engine: String,
    /// 1: the pure engine; 2: the real driver, mempool and execution
    #[arg(long, default_value_t = 1)]
    level: u8,
}

#[derive(Debug, Args)]
struct RunArgs {
    #[command(flatten)]
    which: Which,
    /// How many seeds; without it 2000, or with --minutes as many as fit
    #[arg(long)]
    seeds: Option<u64>,
    /// The first seed
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    from: u64,
    /// Stop beginning seeds after this many minutes
    #[arg(long)]
    minutes: Option<u64>,
    /// Which scenario; `basalt-sim scenarios` lists them
    #[arg(long, value_name = "NAME")]
    scenario: Option<String>,
    /// Number of nodes, instead of what the scenario chooses
    #[arg(long)]
    nodes: Option<usize>,
    /// Threads
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ReplayArgs {
    /// The seed
    seed: u64,
    #[command(flatten)]
    which: Which,
    /// Which scenario
    #[arg(long, value_name = "NAME")]
    scenario: Option<String>,
    /// Number of nodes, instead of what the scenario chooses
    #[arg(long)]
    nodes: Option<usize>,
    /// With this deliberate bug in the engine (docs/consensus-mutations.md, docs/pow-mutations.md)
    #[cfg(feature = "mutations")]
    #[arg(long, value_name = "BUG")]
    mutation: Option<String>,
}

#[derive(Debug, Args)]
struct TwinsArgs {
    /// Number of validators
    #[arg(long, default_value_t = 4)]
    nodes: usize,
    /// How many of them run twice; without it f
    #[arg(long)]
    twinned: Option<usize>,
    /// How many schedules; without it 10000, or with --minutes as many as fit
    #[arg(long)]
    schedules: Option<u64>,
    /// The first schedule
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    from: u64,
    /// Stop beginning schedules after this many minutes
    #[arg(long)]
    minutes: Option<u64>,
    /// Threads
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct MeasureArgs {
    /// Consensus engine: pbft or pow
    #[arg(long, default_value = "pbft")]
    engine: String,
    /// Proof of work: headers of the chain that is synced
    #[arg(long, default_value_t = 1_000_000)]
    headers: u64,
    /// Numbers of validators; without it 4, 7, 16, 31, 64 and 100
    #[arg(long, value_delimiter = ',')]
    nodes: Vec<usize>,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ScenariosArgs {
    #[command(flatten)]
    which: Which,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(args) => commands::run(&args),
        Command::Replay(args) => commands::replay(&args),
        Command::Twins(args) => commands::twins(&args),
        Command::Measure(args) => commands::measure(&args),
        Command::Scenarios(args) => commands::scenarios(&args),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(problem) => {
            eprintln!("basalt-sim: {problem}");
            ExitCode::from(2)
        }
    }
}
