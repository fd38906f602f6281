//! `basalt-statetest`: Ethereum's own tests on the command line. `basalt-statetest --help` has examples.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, bail};
use basalt_statetest::{Report, folder, run};
use clap::Parser;

/// Runs Ethereum's own tests (GeneralStateTests, TrieTests, RLPTests, TransactionTests) through Basalt's executor, state,
/// trie and decoders, and compares roots and log hashes.
#[derive(Debug, Parser)]
#[command(
    name = "basalt-statetest",
    version,
    after_help = "Examples:
  basalt-statetest ethereum-tests.tar.xz
  basalt-statetest tests/GeneralStateTests/stCreate2 --json
  basalt-statetest tests/GeneralStateTests --every 10

The tests are at github.com/ethereum/tests. Exit code: 0 all passed, 1 a case failed, 2 a request that makes no sense."
)]
struct Cli {
    /// Folder (or one JSON file, or the packed .tar.xz) with the tests
    dir: PathBuf,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// Run every N-th file only
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    every: u32,
    /// Threads; one for each processor by default
    #[arg(long)]
    jobs: Option<usize>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match tests(&cli) {
        Ok(report) => {
            let json = || serde_json::to_string_pretty(&report).expect("a report is JSON");
            let text = if cli.json { json() } else { report.to_string() };
            println!("{}", text.trim_end());
            ExitCode::from(u8::from(!report.sound()))
        }
        Err(e) => {
            eprintln!("{e:#}");
            ExitCode::from(2)
        }
    }
}

fn tests(cli: &Cli) -> anyhow::Result<Report> {
    if !cli.dir.exists() {
        bail!("there is nothing at {}; get the tests from github.com/ethereum/tests", cli.dir.display());
    }
    let packed = cli.dir.is_file() && cli.dir.extension().is_some_and(|e| e == "xz");
    let unpacked = if packed { Some(folder::unpack(&cli.dir)?) } else { None };
    let files = folder::files(unpacked.as_ref().map_or(&cli.dir, |d| d.path()))?;
    let every = usize::try_from(cli.every).context("--every is too large")?;
    let files: Vec<PathBuf> = files.into_iter().step_by(every).collect();
    if files.is_empty() {
        bail!("there are no JSON files below {}", cli.dir.display());
    }
    let processors = || std::thread::available_parallelism().map_or(1, usize::from);
    run(&files, cli.jobs.unwrap_or_else(processors))
}
