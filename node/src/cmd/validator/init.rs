//! `basalt validator init`: key and first sign record of a new validator.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use basalt_storage::sign_record;
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
    /// Config file of the node that becomes a validator; its `[keys]` get the new key. Start the node anew afterwards.
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
    if config.data_dir.join(sign_record::FILE_NAME).exists() {
        bail!(
            "{} holds the sign record of an earlier key, which a new key must not go on with; give this node another data_dir \
             (it syncs again)",
            config.data_dir.display()
        );
    }
    let spec = service::read_genesis(&config.genesis)?;
    let dir = args.config.parent().unwrap_or(Path::new("."));
    let path = dir.join(&args.out);
    let text = fs::read_to_string(&args.config).with_context(|| format!("cannot read {}", args.config.display()))?;
    let text = with_key(&text, &args.out)?;
    if path.exists() {
        bail!("{} exists already; move it away, or choose another name with --out", path.display());
    }
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
    println!("start the node anew, wait until it has synced, then let a validator propose it:");
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

    /// A follower's files in a folder.
    fn follower(dir: &Path) -> PathBuf {
        let spec = serde_json::json!({
            "name": "test", "chainId": 1, "genesisTimeMs": 1, "hashFn": "sha256", "development": true,
            "consensus": { "engine": "pbft", "blockIntervalMs": 0, "roundTimeoutMs": 1000, "roundTimeoutCapMs": 1000,
                "emptyBlockMs": null, "clockToleranceMs": 1 },
            "gasLimit": 30_000_000, "maxBlockBytes": 1 << 20, "fees": { "kind": "zero" }, "forks": { "0": "osaka" },
            "validators": [{ "name": "one", "public_key": keys::generate().expect("random").public_key(), "power": 1 }],
            "alloc": {},
        });
        let spec = basalt_primitives::ChainSpec::from_json(&spec.to_string()).expect("sound").with_system_contracts();
        fs::write(dir.join("genesis.json"), spec.to_json()).expect("writes");
        let path = dir.join("node.toml");
        let text = "name = \"n\"\ngenesis = \"genesis.json\"\ndata_dir = \"data\"\n[keys]\nnode = \"node.key\"\n";
        fs::write(&path, text).expect("writes");
        path
    }

    #[test]
    fn a_new_key_never_goes_on_with_an_old_record() {
        let dir = tempfile::tempdir().expect("tempdir");
        let args = InitArgs { config: follower(dir.path()), out: "validator.key".into(), json: true };
        run(&args).expect("a key and a record");
        let key = keys::load(&dir.path().join("validator.key"), None).expect("plain on a development network");
        assert!(key.public_key().is_valid());
        assert!(dir.path().join("data").join(sign_record::FILE_NAME).exists());
        assert!(run(&args).expect_err("has a key").to_string().contains("has a validator key already"));
        // Without the key in the config, the record still stands in the way, and nothing is half done.
        let config = follower(dir.path());
        let other = InitArgs { config, out: "other.key".into(), json: true };
        assert!(run(&other).expect_err("has a record").to_string().contains("another data_dir"));
        assert!(!dir.path().join("other.key").exists());
    }

    #[test]
    fn the_config_keeps_everything_else() {
        let text = "name = \"n\" # mine\n\n[keys]\nnode = \"node.key\"\n\n[rpc]\nenabled = false\n";
        let out = with_key(text, "validator.key").expect("has keys");
        let want = "name = \"n\" # mine\n\n[keys]\nvalidator = \"validator.key\"\nnode = \"node.key\"\n\n[rpc]\nenabled = false\n";
        assert_eq!(out, want);
        assert!(with_key("name = \"n\"\n", "validator.key").is_err());
    }
}
