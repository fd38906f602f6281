//! `basalt bench`.

mod args;
mod local;

use std::{fs, path::PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde::Serialize;

use self::{
    args::{LoadArgs, ModeArgs, NetworkArgs, OutputArgs, ReadsArgs},
    local::LocalNetwork,
};
use crate::bench::{self, Machine, Report, Target, compare, machine};

#[derive(Debug, Subcommand)]
pub(super) enum BenchCommand {
    /// Drive a network with a load signed beforehand and report what it did, in figures and as ratios to what this machine can
    /// do.
    ///
    /// Example: basalt bench run --local --nodes 4 --workload native --seconds 20 --json
    Run(RunArgs),
    /// Find the peak, then offer rates around it: how latency rises with throughput, and where the knee is.
    ///
    /// Example: basalt bench sweep --local --workload erc20 --seconds 10 --html report.html
    Sweep(SweepArgs),
    /// Ask one node as fast as it answers, or at a rate, and report how long its answers take. Any Ethereum node will do.
    ///
    /// Example: basalt bench reads --rpc http://127.0.0.1:8545 --read eth_call --seconds 10
    Reads(ReadsArgs),
    /// Measure what this machine allows: signature checks, hashing, synced writes.
    ///
    /// Example: basalt bench machine --json
    Machine(MachineArgs),
    /// Compare two reports: B by A, figure by figure.
    ///
    /// Example: basalt bench compare before.json after.json --fail-above 10
    Compare(CompareArgs),
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    mode: ModeArgs,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
pub(super) struct SweepArgs {
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
pub(super) struct MachineArgs {
    /// Whose disk is measured; the system's folder for temporary files if not given.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct CompareArgs {
    /// JSON of an earlier `bench run` or `bench sweep`.
    a: PathBuf,
    /// JSON of a later one.
    b: PathBuf,
    /// Fail when a figure of B is worse than in A by more than so many percent.
    #[arg(long, value_name = "PERCENT")]
    fail_above: Option<f64>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: BenchCommand) -> anyhow::Result<()> {
    match command {
        BenchCommand::Run(args) => run_bench(&args),
        BenchCommand::Sweep(args) => sweep(&args),
        BenchCommand::Reads(args) => reads(&args),
        BenchCommand::Machine(args) => show_machine(&args),
        BenchCommand::Compare(args) => compare_files(&args),
    }
}

/// The run of median throughput, and the throughput of all.
#[derive(Serialize)]
struct Repeated {
    #[serde(flatten)]
    median: Report,
    repeats_tps: Vec<f64>,
}

fn run_bench(args: &RunArgs) -> anyhow::Result<()> {
    args.mode.check()?;
    args.load.workload()?;
    let machine = machine::measure(&args.network.dir())?;
    let mut reports = Vec::new();
    for _ in 0..args.mode.repeat {
        reports.push(with_network(&args.network, &args.load, async |targets| {
            bench::run(&args.load.plan(targets, args.mode.rate)?, &machine).await
        })?);
    }
    let problem = reports.iter().find_map(Report::problem);
    reports.sort_by(|a, b| a.committed_tps.total_cmp(&b.committed_tps));
    let repeats_tps = reports.iter().map(|r| r.committed_tps).collect();
    let median = reports.swap_remove(reports.len() / 2);
    let (table, html) = (median.table(), bench::page(&median, &[], None));
    write(&args.output, &Repeated { median, repeats_tps }, &table, &html)?;
    problem.map_or(Ok(()), |p| bail!(p))
}

fn sweep(args: &SweepArgs) -> anyhow::Result<()> {
    args.load.workload()?;
    let machine = machine::measure(&args.network.dir())?;
    let result = with_network(&args.network, &args.load, async |targets| {
        bench::sweep(&args.load.plan(targets, None)?, &machine).await
    })?;
    let html = bench::page(&result.peak, &result.points, result.knee_tps);
    write(&args.output, &result, &result.table(), &html)?;
    result.problem().map_or(Ok(()), |p| bail!(p))
}

/// Does the work on the network asked for. One made for it is stopped and removed afterwards, also when the work fails or is
/// interrupted.
fn with_network<T>(
    network: &NetworkArgs,
    load: &LoadArgs,
    work: impl AsyncFnOnce(Vec<Target>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    super::block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        // Listened to before anything is started, so that no signal ends us before what was started is stopped.
        let (mut int, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let own = match network.local {
            true => {
                let (dir, spec) = (network.dir(), network.local_spec(load));
                Some(tokio::task::spawn_blocking(move || LocalNetwork::start(&dir, &spec)).await??)
            }
            false => None,
        };
        let targets = match (&own, &network.network) {
            (Some(own), _) => own.targets()?,
            (None, Some(dir)) => local::targets(dir)?,
            (None, None) => network.rpc.iter().map(|rpc| Target { rpc: rpc.clone(), ..Target::default() }).collect(),
        };
        tokio::select! {
            // A signal that came meanwhile goes first.
            biased;
            _ = int.recv() => bail!("interrupted"),
            _ = term.recv() => bail!("asked to stop"),
            result = work(targets) => result,
        }
    })?
}

fn write(output: &OutputArgs, result: &impl Serialize, table: &str, html: &str) -> anyhow::Result<()> {
    let json = serde_json::to_string(result)?;
    for (path, text) in [(&output.out, &json), (&output.html, &html.to_owned())] {
        if let Some(path) = path {
            fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    if output.json {
        println!("{json}");
    } else {
        print!("{table}");
    }
    Ok(())
}

fn reads(args: &ReadsArgs) -> anyhow::Result<()> {
    let plan = args.plan()?;
    let report = super::block_on(async { bench::reads(&plan).await })??;
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print!("{}", report.table());
    }
    if report.latency.count == 0 {
        bail!("the node answered nothing; is it running at that address?");
    }
    Ok(())
}

fn show_machine(args: &MachineArgs) -> anyhow::Result<()> {
    let m: Machine = machine::measure(&args.dir.clone().unwrap_or_else(std::env::temp_dir))?;
    if args.json {
        println!("{}", serde_json::to_string(&m)?);
    } else {
        print!("{}", m.table());
    }
    Ok(())
}

fn compare_files(args: &CompareArgs) -> anyhow::Result<()> {
    let read = |path: &PathBuf| fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
    let comparison = compare::compare(&read(&args.a)?, &read(&args.b)?)?;
    if args.json {
        println!("{}", serde_json::to_string(&comparison)?);
    } else {
        print!("{}", comparison.table());
    }
    let worse = args.fail_above.map_or_else(Vec::new, |p| comparison.worse_than(p));
    if let [first, ..] = &worse[..] {
        let all: Vec<_> = worse.iter().map(|r| r.figure).collect();
        bail!("B is worse in {} (by {:.1} % in {})", all.join(", "), first.worse_percent.unwrap_or(0.0), first.figure);
    }
    Ok(())
}
