//! `basalt top`: a network at one glance, for those without a browser.
//!
//! [`targets`] says which nodes to ask, [`fetch`] asks them all at once, [`model`] makes one picture of their answers (pure).
//! Out: the picture as text or JSON (`--once`, [`plain`]), or on the terminal until the user leaves ([`live`], [`draw`]).

mod cells;
mod draw;
mod fetch;
mod live;
mod model;
mod plain;
mod targets;
#[cfg(test)]
mod tests;

use std::{io::IsTerminal as _, time::Duration};

use anyhow::{Context as _, bail};
use clap::Args;

use self::fetch::Fetcher;

/// Watch a network on the terminal: heights, rounds, rates, latency, resources and alerts of all its nodes.
///
/// Example: basalt top mynet
#[derive(Debug, Args)]
pub(super) struct TopArgs {
    /// A network's folder (all its nodes are asked), or RPC addresses of nodes.
    #[arg(required = true, value_name = "DIR|URL")]
    network: Vec<String>,
    /// Print one picture and end; needs no terminal.
    #[arg(long)]
    once: bool,
    /// With --once: print JSON.
    #[arg(long, requires = "once")]
    json: bool,
    /// Seconds between two looks.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
}

pub(super) fn run(args: &TopArgs) -> anyhow::Result<()> {
    let fetcher = Fetcher::new(targets::read(&args.network)?)?;
    if args.once {
        return once(&fetcher, args.json);
    }
    if !std::io::stdout().is_terminal() {
        bail!("standard output is no terminal; `basalt top --once` prints one picture as text, with --json as JSON");
    }
    live::run(fetcher, Duration::from_secs(args.interval))
}

fn once(fetcher: &Fetcher, as_json: bool) -> anyhow::Result<()> {
    let picture = super::block_on(fetcher.look())?;
    if as_json {
        println!("{}", serde_json::to_string_pretty(&picture)?);
    } else {
        print!("{}", plain::text(&picture));
    }
    picture.any_on().then_some(()).with_context(|| {
        format!("none of the {} nodes answers; start them, or check the addresses", picture.nodes.len())
    })
}
