//! `basalt audit`: reads and verifies audit logs.

mod anchors;
mod select;

use std::{
    fs,
    io::{BufWriter, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use basalt_primitives::PublicKey;
use clap::{Args, Subcommand};
use serde_json::json;

use select::{Filter, shown_time};

use crate::{
    audit::{self, Entry, verify},
    config, keys,
};

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Verify a node's audit log. Fails at the first entry that was changed, moved, left out or cut off, and names it.
    ///
    /// With --rpc also compare it with the heads that the node has anchored on chain: that finds entries cut off at the end. Ask
    /// a node of somebody else.
    ///
    /// Example: basalt audit verify --config node.toml --rpc https://other.example:8545
    Verify {
        #[command(flatten)]
        source: Source,
        /// Compare with the anchors on chain, by asking this node.
        #[arg(long, env = "BASALT_RPC")]
        rpc: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show entries.
    ///
    /// Example: basalt audit show --config node.toml --since 24h --act administration
    Show {
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        filter: Filter,
        /// Only the newest so many.
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// Print the entries as they are, one line of JSON each.
        #[arg(long)]
        json: bool,
    },
    /// Write entries as they are, one line of JSON each. The whole log can be verified again: `basalt audit verify --file`.
    ///
    /// Example: basalt audit export --config node.toml --since 2026-01-01 --out audit.jsonl
    Export {
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        filter: Filter,
        /// The file to write; an existing one is never overwritten. Without it they are printed.
        #[arg(long)]
        out: Option<PathBuf>,
    },
}

/// Whose log.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(super) struct Source {
    /// The node's config file: names its data directory, and the key that must have signed.
    #[arg(long, conflicts_with_all = ["data_dir", "file"])]
    config: Option<PathBuf>,
    /// A data directory, or a copy of one.
    #[arg(long, conflicts_with = "file")]
    data_dir: Option<PathBuf>,
    /// One file of entries, such as an export.
    #[arg(long)]
    file: Option<PathBuf>,
    /// A public key (hex, or its key file) that may have signed, beside that of --config. May be repeated.
    #[arg(long)]
    key: Vec<String>,
}

/// A source whose paths and keys are known.
struct Log {
    data_dir: Option<PathBuf>,
    files: Vec<PathBuf>,
    trusted: Vec<PublicKey>,
}

impl Source {
    fn open(&self) -> anyhow::Result<Log> {
        let mut trusted = self.key.iter().map(|k| public_key(k)).collect::<anyhow::Result<Vec<_>>>()?;
        let data_dir = match &self.config {
            Some(path) => {
                let config = config::load(path, std::env::vars(), &[])?;
                trusted.push(keys::public_key(&config.keys.node)?);
                Some(config.data_dir)
            }
            None => self.data_dir.clone(),
        };
        let files = match (&data_dir, &self.file) {
            (Some(dir), _) => {
                let all =
                    audit::listed(dir).with_context(|| format!("cannot read the audit log in {}", dir.display()))?;
                all.into_iter().map(|(_, path)| path).collect()
            }
            (None, Some(file)) => vec![file.clone()],
            (None, None) => bail!("say whose log: --config, --data-dir or --file"),
        };
        Ok(Log { data_dir, files, trusted })
    }
}

fn public_key(text: &str) -> anyhow::Result<PublicKey> {
    if let Ok(key) = text.parse() {
        return Ok(key);
    }
    keys::public_key(Path::new(text)).with_context(|| format!("{text:?} is neither a public key nor a key file"))
}

pub(super) fn run(command: AuditCommand) -> anyhow::Result<()> {
    match command {
        AuditCommand::Verify { source, rpc, json } => run_verify(&source.open()?, rpc.as_deref(), json),
        AuditCommand::Show { source, filter, limit, json } => show(&source.open()?, &filter, limit, json),
        AuditCommand::Export { source, filter, out } => export(&source.open()?, &filter, out.as_deref()),
    }
}

/// How often a log whose end is unfinished is looked at: a running node may just be writing.
const LOOKS: u32 = 4;
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

fn verified(log: &Log) -> anyhow::Result<verify::Report> {
    for look in 1.. {
        let report = match (&log.data_dir, &log.files[..]) {
            (Some(dir), _) => verify::directory(dir, &log.trusted),
            (None, [file, ..]) => verify::file(file, &log.trusted),
            (None, []) => bail!("there is no file to verify"),
        };
        match report {
            Err(broken) if broken.is_unfinished() && look < LOOKS => std::thread::sleep(BETWEEN_LOOKS),
            report => return Ok(report?),
        }
    }
    unreachable!("the last look returns")
}

fn run_verify(log: &Log, rpc: Option<&str>, as_json: bool) -> anyhow::Result<()> {
    let report = verified(log)?;
    let ask = |url| super::block_on(anchors::compare(url, &report, &log.trusted))?;
    let chain = rpc.map(ask).transpose()?;
    if as_json {
        println!("{}", json!({ "log": report, "chain": chain }));
        return Ok(());
    }
    println!("in order: entries {} to {} in {} files", report.first, report.last, report.files);
    println!("newest:   entry {} of {}, hash {}", report.last, shown_time(report.last_ms), report.head);
    for key in &report.keys {
        println!("signed:   {key}");
    }
    if !report.keys_known {
        println!(
            "warning:  nobody said whose signatures these must be; name the node's key with --key, or give --config"
        );
    }
    if report.removed > 0 {
        println!("removed:  {} files, because of their age, as the log says", report.removed);
    }
    match chain {
        Some(c) => println!(
            "on chain: {} anchors agree, the newest of entry {} in block {}; {} wait or were lost",
            c.agreed,
            c.newest.map_or_else(|| "-".into(), |n| n.to_string()),
            c.block.map_or_else(|| "-".into(), |b| b.to_string()),
            c.waiting
        ),
        None => println!("on chain: not asked (--rpc URL); entries cut off at the end are found only so"),
    }
    Ok(())
}

fn each_selected(
    log: &Log,
    filter: &Filter,
    mut take: impl FnMut(&str, &Entry) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut failure = None;
    for file in &log.files {
        let read = verify::each(file, |line, text| {
            let Ok(entry) = Entry::read(text) else {
                tracing::warn!(line, file = %file.display(), "an entry is damaged and left out; see `basalt audit verify`");
                return Ok(());
            };
            if failure.is_none() && filter.takes(&entry) {
                failure = take(text, &entry).err();
            }
            Ok(())
        });
        match read {
            Err(broken) if !broken.is_unfinished() => return Err(broken.into()),
            _ => {}
        }
    }
    failure.map_or(Ok(()), Err)
}

fn show(log: &Log, filter: &Filter, limit: usize, as_json: bool) -> anyhow::Result<()> {
    let mut newest = std::collections::VecDeque::new();
    each_selected(log, filter, |line, entry| {
        if newest.len() == limit {
            newest.pop_front();
        }
        if limit > 0 {
            newest.push_back(if as_json { line.to_owned() } else { in_words(entry) });
        }
        Ok(())
    })?;
    let mut out = std::io::stdout().lock();
    for line in newest {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// One line for people.
fn in_words(entry: &Entry) -> String {
    let ours = ["seq", "timeMs", "act", "key", "prev", "hash", "signature"];
    let details = entry.fields.iter().filter(|(name, value)| !ours.contains(&name.as_str()) && !value.is_null());
    let details: Vec<String> = details.map(|(name, value)| format!("{name}={value}")).collect();
    format!("{:>6}  {}  {:<24} {}", entry.seq, shown_time(entry.time_ms), entry.act, details.join(" "))
}

fn export(log: &Log, filter: &Filter, out: Option<&Path>) -> anyhow::Result<()> {
    let mut count = 0u64;
    let mut write_to = |target: &mut dyn std::io::Write| -> anyhow::Result<()> {
        each_selected(log, filter, |line, _| {
            count += 1;
            Ok(writeln!(target, "{line}")?)
        })?;
        Ok(target.flush()?)
    };
    let Some(path) = out else { return write_to(&mut std::io::stdout().lock()) };
    let file = fs::File::options().create_new(true).write(true).mode(0o600).open(path);
    let file =
        file.with_context(|| format!("cannot make {}; an existing file is never overwritten", path.display()))?;
    let mut target = BufWriter::new(file);
    write_to(&mut target)?;
    target.get_ref().sync_all()?;
    println!("{count} entries are in {}", path.display());
    Ok(())
}
