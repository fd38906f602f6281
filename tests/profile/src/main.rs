//! Reads what `perf script` prints of a machine under load, writes a flame graph, and prints where the processors' time went,
//! stage by stage, and what that is per transaction (`make profile`).

mod stages;

use std::{fs::File, io::stdout, path::PathBuf};

use anyhow::Context as _;
use clap::Parser;
use inferno::{collapse::Collapse as _, collapse::perf, flamegraph};

/// Draws a flame graph from what `perf script` prints, and says where the time went.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Output of `perf script` with call graphs.
    script: PathBuf,
    /// Where the flame graph goes (SVG).
    #[arg(long)]
    svg: PathBuf,
    /// Processors of the machine.
    #[arg(long)]
    processors: u32,
    /// Transactions committed per second meanwhile.
    #[arg(long)]
    tps: f64,
    /// Microseconds of processor time that checking one signature takes, from `basalt bench`.
    #[arg(long)]
    floor_us: f64,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut folded = Vec::new();
    perf::Folder::default()
        .collapse_file(Some(&args.script), &mut folded)
        .with_context(|| format!("{} is not what `perf script` prints", args.script.display()))?;
    let folded = String::from_utf8(folded).context("function names are not UTF-8")?;
    anyhow::ensure!(
        !folded.is_empty(),
        "{} has no samples: was the node running while perf recorded?",
        args.script.display()
    );

    let svg = File::create(&args.svg).with_context(|| format!("cannot write {}", args.svg.display()))?;
    let mut options = flamegraph::Options::default();
    options.title = "Basalt under load: processor time by stack".to_owned();
    flamegraph::from_lines(&mut options, folded.lines(), svg)?;

    let time = stages::Time { processors_us: f64::from(args.processors) * 1e6, tps: args.tps, floor_us: args.floor_us };
    stages::table(&folded, &time, &mut stdout().lock())?;
    Ok(())
}
