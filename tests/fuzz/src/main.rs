//! `basalt-fuzz`: the decoders under mutated bytes. `basalt-fuzz --help` has examples.

use std::{process::ExitCode, time::Instant};

use anyhow::bail;
use basalt_fuzz::{home, keep, run, seeds, targets};
use clap::Parser;

/// Throws mutated bytes at every decoder: none may panic, and what one accepts must be the only encoding of its value.
#[derive(Debug, Parser)]
#[command(
    name = "basalt-fuzz",
    version,
    after_help = "Examples:
  basalt-fuzz --executions 10000000
  basalt-fuzz transaction block --seed 7

Inputs that break a decoder are kept in tests/fuzz/crashes and tried by every run from then on.
Exit code: 0 nothing found, 1 an input broke a decoder, 2 a request that makes no sense."
)]
struct Cli {
    /// Decoders, by name; all by default
    targets: Vec<String>,
    /// Inputs for each
    #[arg(long, default_value_t = 1_000_000)]
    executions: u64,
    /// Which inputs: equal seeds make equal runs
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    // Panics are what is looked for; each is told once, with its input.
    std::panic::set_hook(Box::new(|_| {}));
    match fuzz(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(e) => {
            eprintln!("{e:#}");
            ExitCode::from(2)
        }
    }
}

fn fuzz(cli: &Cli) -> anyhow::Result<bool> {
    if let Some(unknown) = cli.targets.iter().find(|name| targets::ALL.iter().all(|t| t.name != **name)) {
        let known: Vec<&str> = targets::ALL.iter().map(|t| t.name).collect();
        bail!("there is no decoder `{unknown}`; known are {}", known.join(", "));
    }
    let mut sound = true;
    for target in targets::ALL.iter().filter(|t| cli.targets.is_empty() || cli.targets.iter().any(|n| n == t.name)) {
        let start = Instant::now();
        match run(target, &seeds(target)?, cli.seed, cli.executions) {
            Ok(ran) => println!(
                "{}: {} executions, {} accepted, {:.1} s",
                target.name,
                ran.executions,
                ran.accepted,
                start.elapsed().as_secs_f64()
            ),
            Err(broken) => {
                sound = false;
                let path = keep(target.name, &broken, &home().join("crashes"))?;
                println!("{}: BROKEN: {}; input kept at {}", target.name, broken.what, path.display());
            }
        }
    }
    Ok(sound)
}
