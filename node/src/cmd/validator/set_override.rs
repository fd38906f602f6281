//! `basalt validator override`: the remaining validators declare the others lost for good and restart the chain (ADR-0015).
//!
//! In: a stopped node's ledger, which says who votes, and the operators' word. Out: a file that all remaining validators sign
//! and every node is given as `consensus.override`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use basalt_primitives::{Height, PublicKey, SecretKey, SetOverride, ValidatorSet};
use clap::Subcommand;
use serde_json::{Value, json};

use super::reset_record::{audit_log, locked_chain};
use crate::{
    audit::{Act, AuditConfig, AuditLog},
    chain::Chain,
    config::{self, NodeConfig, read_override},
    keys::{self, Passphrase},
    validators::SetsError,
};

#[derive(Debug, Subcommand)]
pub(in crate::cmd) enum OverrideCommand {
    /// Write the file, for the height above this node's head. Run it at the remaining node with the highest head, stopped.
    ///
    /// You vouch for this: the lost validators are gone for good, and no node that is left, not even a follower, has a block
    /// above this node's. Where as many are lost as a quorum, they may have decided a block that nobody else has seen.
    ///
    /// Example: basalt validator override create --config node.toml --lost node2 --lost node3 --reason "site burnt" --out
    /// override.json
    Create {
        /// Config file of a remaining validator's node. The node must be stopped.
        #[arg(long)]
        config: PathBuf,
        /// A validator that is gone for good: its name or public key. Once for each.
        #[arg(long, required = true)]
        lost: Vec<String>,
        /// The file to write; an existing one is never overwritten.
        #[arg(long)]
        out: PathBuf,
        /// What happened, for the audit log.
        #[arg(long)]
        reason: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Sign the file as a remaining validator. All of them must, one after the other, in the same file.
    ///
    /// With this signature you agree that the lost validators have no say from that height on. Check the names first:
    /// `basalt validator override check`.
    ///
    /// Example: basalt validator override sign override.json --key validator.key --reason "agreed by phone"
    Sign {
        /// The file.
        file: PathBuf,
        /// Key file of the remaining validator.
        #[arg(long)]
        key: PathBuf,
        /// File whose first line is the key's passphrase; else BASALT_PASSPHRASE.
        #[arg(long)]
        passphrase_file: Option<PathBuf>,
        /// Why, for the audit log beside the file.
        #[arg(long, default_value = "signed a set override")]
        reason: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Say what the file does, who has still to sign, and whether this node can take it. Fails if it cannot be used.
    ///
    /// Example: basalt validator override check override.json --config node.toml
    Check {
        /// The file.
        file: PathBuf,
        /// Config file of the node that is to take it. The node must be stopped.
        #[arg(long)]
        config: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(command: OverrideCommand) -> anyhow::Result<()> {
    match command {
        OverrideCommand::Create { config, lost, out, reason, json } => create(&config, &lost, &out, &reason, json),
        OverrideCommand::Sign { file, key, passphrase_file, reason, json } => {
            let passphrase = Passphrase::find(passphrase_file.as_deref())?;
            sign(&file, &keys::load(&key, passphrase.as_ref())?, &reason, json)
        }
        OverrideCommand::Check { file, config, json } => check(&file, &config, json),
    }
}

fn create(config: &Path, lost: &[String], out: &Path, reason: &str, json: bool) -> anyhow::Result<()> {
    let config = config::load(config, std::env::vars(), &[])?;
    let chain = locked_chain(&config, config.consensus.overrides()?)?;
    let height = chain.ledger.head().height().next();
    if chain.sets.at_known(height).is_overridden() {
        bail!(
            "an override covers height {height} already; start the node and wait until the chain is two heights on. If one that \
             was to remain is gone too and its first height is decided nowhere, take it out of `consensus.override` of every node \
             and make this one in its place"
        );
    }
    let lost = lost.iter().map(|who| find(&chain, height, who)).collect::<anyhow::Result<Vec<_>>>()?;
    let made = SetOverride::new(chain.genesis, height, lost)?;
    let set = chain.sets.at_known(height);
    let missing = made.check_signed_so_far(chain.genesis, &set).context("no override was made")?;
    let warning = unseen_warning(&made, &set);
    if out.exists() {
        bail!("{} exists already; move it away, or choose another name with --out", out.display());
    }
    audit_log(&config)?.append(entry("override-create", reason, &made)?)?;
    write(out, &made)?;
    report(json, &describe(&made, &chain, &missing, warning))
}

/// A quorum of the old set may have decided without anyone who remains.
fn unseen_warning(o: &SetOverride, set: &ValidatorSet) -> Option<String> {
    let lost = o.lost.iter().filter_map(|key| set.index_of(key));
    set.is_quorum(lost).then(|| {
        "the lost validators were a quorum by themselves: they may have decided blocks that no remaining validator has seen. If \
         any node, even a follower, has a newer block, sync the remaining ones from it first"
            .to_owned()
    })
}

fn sign(file: &Path, key: &SecretKey, reason: &str, json: bool) -> anyhow::Result<()> {
    let mut o = read_override(file)?;
    let own = key.public_key();
    if o.lost.contains(&own) {
        bail!("this key, {own}, is declared lost in {}; only the remaining validators sign", file.display());
    }
    o.sign(key);
    // Beside the file, because whoever signs need not have a node here.
    AuditLog::open(&folder(file), key.clone(), &AuditConfig::default())?.append(entry("override-sign", reason, &o)?)?;
    write(file, &o)?;
    let next = "hand the file to the next remaining validator; when all have signed, name it in `consensus.override` of every node";
    report(json, &json!({ "signedBy": own, "height": o.height, "lost": o.lost, "next": next }))
}

fn check(file: &Path, config: &Path, json: bool) -> anyhow::Result<()> {
    let config = config::load(config, std::env::vars(), &[])?;
    let o = read_override(file)?;
    let chain = open_beside(&config, &o)?;
    let head = chain.ledger.head().height();
    let in_force = chain.sets.overrides().contains(&o.height) && head >= o.height;
    if head >= o.height && !in_force {
        return Err(SetsError::TooLate { height: o.height, head }.into());
    }
    let Some(set) = chain.sets.announced(o.height) else {
        bail!(
            "this node is at height {head} and cannot tell yet who votes at height {}; let it sync from the others up to height \
             {} first",
            o.height,
            o.height.0 - 1
        );
    };
    let missing = o.check_signed_so_far(chain.genesis, &set)?;
    let mut said = describe(&o, &chain, &missing, unseen_warning(&o, &set));
    said["inForce"] = json!(in_force);
    said["head"] = json!(head);
    report(json, &said)?;
    Ok(o.check(chain.genesis, &set)?)
}

/// The chain with the node's other overrides; with this one too if the ledger has passed it.
fn open_beside(config: &NodeConfig, o: &SetOverride) -> anyhow::Result<Chain> {
    let mut overrides = config.consensus.overrides()?;
    overrides.retain(|other| other.height != o.height);
    match locked_chain(config, overrides.clone()) {
        Err(e) if matches!(e.downcast_ref(), Some(SetsError::OverrideMissing(h)) if *h == o.height) => {
            overrides.push(o.clone());
            locked_chain(config, overrides)
        }
        other => other,
    }
}

/// A validator of a height by name or public key.
fn find(chain: &Chain, height: Height, who: &str) -> anyhow::Result<PublicKey> {
    let members = chain.sets.members(height).context("the validators of the next height are not known")?;
    let key: Option<PublicKey> = who.parse().ok();
    let mut found = members.iter().filter(|(k, name)| Some(*k) == key || name == who);
    match (found.next(), found.next()) {
        (Some((key, _)), None) => Ok(*key),
        (Some(_), Some(_)) => bail!("several validators are called {who}; give the public key"),
        (None, _) => {
            let names: Vec<&str> = members.iter().map(|(_, name)| name.as_str()).collect();
            bail!("no validator of height {height} has the name or public key {who}; there are {}", names.join(", "))
        }
    }
}

fn describe(o: &SetOverride, chain: &Chain, missing: &[PublicKey], warning: Option<String>) -> Value {
    let named = |key: &PublicKey| json!({ "publicKey": key, "name": chain.sets.name_of(key) });
    let next = if missing.is_empty() {
        "name the file in `consensus.override` of every node, followers too, and start them"
    } else {
        "every remaining validator runs `basalt validator override sign`"
    };
    json!({
        "height": o.height,
        "genesis": o.genesis,
        "lost": o.lost.iter().map(named).collect::<Vec<_>>(),
        "signed": o.signatures.iter().map(|s| named(&s.validator)).collect::<Vec<_>>(),
        "missing": missing.iter().map(named).collect::<Vec<_>>(),
        "warning": warning,
        "next": next,
    })
}

fn report(json: bool, said: &Value) -> anyhow::Result<()> {
    if json {
        println!("{said}");
        return Ok(());
    }
    let shown = |v: &Value| match v {
        Value::String(text) => text.clone(),
        Value::Object(one) => {
            one.get("name").and_then(Value::as_str).map_or_else(|| one["publicKey"].to_string(), str::to_owned)
        }
        other => other.to_string(),
    };
    for (name, value) in said.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        let text = value.as_array().map_or_else(
            || shown(value),
            |list| if list.is_empty() { "-".to_owned() } else { list.iter().map(shown).collect::<Vec<_>>().join(", ") },
        );
        println!("{name}: {text}");
    }
    Ok(())
}

fn entry(act: &'static str, reason: &str, o: &SetOverride) -> anyhow::Result<Act> {
    let details = json!({ "height": o.height, "lost": o.lost, "genesis": o.genesis });
    Ok(Act::of_operator(act, reason)?.with_all(details))
}

fn folder(file: &Path) -> PathBuf {
    file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}

/// Whole or not at all.
fn write(path: &Path, o: &SetOverride) -> anyhow::Result<()> {
    let beside = path.with_extension("json.new");
    fs::write(&beside, o.to_json())
        .and_then(|()| fs::rename(&beside, path))
        .with_context(|| format!("cannot write {}", path.display()))
}
