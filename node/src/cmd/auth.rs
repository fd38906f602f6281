//! `basalt auth`: the keys file of nodes.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use rustix::fs::{FlockOperation, flock};
use serde_json::json;

use crate::{
    auth::{
        Role,
        keys::{KeyEntry, KeysFile, NewSecret, check_id},
        roles,
    },
    clock,
    keys::write_private,
};

const DAY: u64 = 86_400;

#[derive(Debug, Subcommand)]
pub(super) enum AuthCommand {
    /// Make, list and revoke API keys. Running nodes read a changed file again within seconds.
    #[command(subcommand)]
    Key(KeyCommand),
}

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Make an API key; its secret is shown once, and the file keeps a hash of it.
    ///
    /// Example: basalt auth key create desk --keys auth.toml --role reader,submitter --rate 50 --expires-days 90
    Create(CreateArgs),
    /// List the keys of a file.
    List {
        /// The keys file (config `auth.keys_file`).
        #[arg(long)]
        keys: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Revoke an API key: it is taken out of the file. Connections that use it end within seconds.
    Revoke {
        /// Its id.
        id: String,
        /// The keys file (config `auth.keys_file`).
        #[arg(long)]
        keys: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// Its id: 1 to 32 of a-z, 0-9 and -.
    id: String,
    /// The keys file (config `auth.keys_file`); made if it is not there.
    #[arg(long)]
    keys: PathBuf,
    /// What it may do (comma-separated).
    #[arg(long = "role", value_enum, value_delimiter = ',', required = true)]
    roles: Vec<Role>,
    /// Namespaces and methods that it may call, such as eth,net_version; without it all that the roles reach.
    #[arg(long, value_delimiter = ',')]
    allow: Vec<String>,
    /// Requests per second; without it as the node's configuration says.
    #[arg(long)]
    rate: Option<u32>,
    /// Requests at once; without it twice the rate.
    #[arg(long, requires = "rate")]
    burst: Option<u32>,
    /// Days until it ends; without it never.
    #[arg(long)]
    expires_days: Option<u64>,
    /// Write the secret to this new file, readable by you alone, instead of showing it.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: AuthCommand) -> anyhow::Result<()> {
    match command {
        AuthCommand::Key(KeyCommand::Create(args)) => create(args),
        AuthCommand::Key(KeyCommand::List { keys, json }) => list(&KeysFile::read(&keys)?, json),
        AuthCommand::Key(KeyCommand::Revoke { id, keys }) => revoke(&id, &keys),
    }
}

fn create(args: CreateArgs) -> anyhow::Result<()> {
    check_id(&args.id).map_err(anyhow::Error::msg)?;
    let _lock = lock(&args.keys)?;
    let mut file = if args.keys.exists() { KeysFile::read(&args.keys)? } else { KeysFile::default() };
    if file.keys.iter().any(|k| k.id == args.id) {
        bail!("there is a key {:?} already; revoke it first, or choose another id", args.id);
    }
    let secret = NewSecret::generate(&args.id)?;
    file.keys.push(KeyEntry {
        id: args.id.clone(),
        secret_sha256: secret.sha256.clone(),
        roles: args.roles,
        allow: args.allow,
        rate_per_second: args.rate,
        burst: args.burst,
        expires: args.expires_days.map(|days| (clock::wall_ms() / 1000).saturating_add(days.saturating_mul(DAY))),
    });
    // What is wrong with it is found before the secret is anywhere.
    file.check().map_err(anyhow::Error::msg)?;
    if let Some(out) = &args.out {
        write_private(out, format!("{}\n", secret.text.as_str()).as_bytes())?;
    }
    file.write(&args.keys)?;
    match (&args.out, args.json) {
        (None, true) => println!("{}", json!({ "id": args.id, "secret": secret.text.as_str() })),
        (Some(out), true) => println!("{}", json!({ "id": args.id, "file": out })),
        (None, false) => println!("{}", secret.text.as_str()),
        (Some(out), false) => println!("the secret of {} is in {}", args.id, out.display()),
    }
    Ok(())
}

fn revoke(id: &str, path: &Path) -> anyhow::Result<()> {
    let _lock = lock(path)?;
    let mut file = KeysFile::read(path)?;
    let before = file.keys.len();
    file.keys.retain(|k| k.id != id);
    if file.keys.len() == before {
        bail!("there is no key {id:?} in {}; `basalt auth key list` shows those there are", path.display());
    }
    file.write(path)?;
    println!("revoked {id}; nodes that read {} know it within seconds", path.display());
    Ok(())
}

fn list(file: &KeysFile, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        let keys: Vec<_> = file
            .keys
            .iter()
            .map(|k| json!({ "id": k.id, "roles": k.roles, "allow": k.allow, "ratePerSecond": k.rate_per_second, "burst": k.burst, "expires": k.expires }))
            .collect();
        println!("{}", json!({ "keys": keys }));
        return Ok(());
    }
    let now = clock::wall_ms() / 1000;
    println!("{:<24} {:<36} {:<14} ONLY", "ID", "ROLES", "ENDS");
    for k in &file.keys {
        let ends = match k.expires {
            None => "never".into(),
            Some(at) if at <= now => "has ended".into(),
            Some(at) => format!("in {} days", (at - now).div_ceil(DAY)),
        };
        let roles = roles::names(&k.roles).replace(" or ", ",");
        println!("{:<24} {roles:<36} {ends:<14} {}", k.id, k.allow.join(","));
    }
    Ok(())
}

/// Lets two commands not change the file at once; released when it is dropped.
fn lock(path: &Path) -> anyhow::Result<File> {
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let held = File::open(dir).with_context(|| format!("cannot open the folder {}", dir.display()))?;
    flock(&held, FlockOperation::LockExclusive).with_context(|| format!("cannot lock {}", dir.display()))?;
    Ok(held)
}
