//! `basalt validator init`: key and first sign record of a new validator.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::json;

use crate::{
    config,
    keys::{self, Passphrase},
    service,
};

/// Example: basalt validator init --config nodes/node4/node.toml
#[derive(Debug, Args)]
pub(in crate::cmd) struct InitArgs {
    /// Config file of the node that becomes a validator; its `[keys]` get the new key. Stop the node first.
    #[arg(long)]
    config: PathBuf,
    /// Name of the key file, beside the config file; an existing file is never overwritten.
    #[arg(long, default_value = "validator.key")]
    out: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &InitArgs) -> anyhow::Result<()> {
    let config = config::load(&args.config, std::env::vars(), &[])?;
    if let Some(key) = &config.keys.validator {
        bail!("this node has a validator key already, {}; to change it, propose its replacement", key.display());
    }
    let spec = service::read_genesis(&config.genesis)?;
    let dir = args.config.parent().unwrap_or(Path::new("."));
    let path = dir.join(&args.out);
    let text = fs::read_to_string(&args.config).with_context(|| format!("cannot read {}", args.config.display()))?;
    let text = with_key(&text, &args.out)?;
    let passphrase = Passphrase::find(config.keys.passphrase_file.as_deref())?;
    if passphrase.is_none() && !spec.development {
        bail!(
            "a validator's key needs a passphrase: name `keys.passphrase_file` in the config or set BASALT_PASSPHRASE"
        );
    }
    let key = keys::generate()?;
    fs::create_dir_all(&config.data_dir).with_context(|| format!("cannot make {}", config.data_dir.display()))?;
    keys::save(&path, &key, passphrase.as_ref())?;
    // A key that has never signed may begin a record. Only here, and in `network create`: never by a running node.
    service::restore::init_sign_record(&config.data_dir, &spec)?;
    fs::write(&args.config, text).with_context(|| format!("cannot write {}", args.config.display()))?;
    let (public, address) = (key.public_key(), key.public_key().address());
    if args.json {
        println!("{}", json!({ "publicKey": public.to_string(), "address": address.to_string(), "key": path }));
        return Ok(());
    }
    println!("public key  {public}\naddress     {address}\nkey file    {}", path.display());
    println!("start the node, wait until it has synced, then let a validator propose it:");
    println!("  basalt validator propose-add {public} --name {} --key VALIDATOR.key", config.name);
    Ok(())
}

/// The config with the key in its `[keys]` section; everything else, comments too, stays as it is.
fn with_key(text: &str, file: &str) -> anyhow::Result<String> {
    let line = format!("validator = {}", toml::Value::from(file));
    let mut out = Vec::new();
    let mut done = false;
    for l in text.lines() {
        out.push(l.to_owned());
        if l.trim() == "[keys]" && !done {
            out.push(line.clone());
            done = true;
        }
    }
    if !done {
        bail!(
            "the config has no [keys] section; add `validator = \"{file}\"` where its keys are named, or write that section"
        );
    }
    Ok(out.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_config_keeps_everything_else() {
        let text = "name = \"n\" # mine\n\n[keys]\nnode = \"node.key\"\n\n[rpc]\nenabled = false\n";
        let out = with_key(text, "validator.key").expect("has keys");
        let want = "name = \"n\" # mine\n\n[keys]\nvalidator = \"validator.key\"\nnode = \"node.key\"\n\n[rpc]\nenabled = false\n";
        assert_eq!(out, want);
        assert!(with_key("name = \"n\"\n", "validator.key").is_err());
    }
}
