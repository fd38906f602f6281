//! `basalt validator reset-record`: the operator's word for a validator whose sign record is lost, where so many others lost
//! theirs that it cannot recover by itself (ADR-0012).

use std::{fs, path::PathBuf};

use anyhow::{Context as _, bail};
use basalt_bft::record::Record;
use basalt_primitives::{PublicKey, SetOverride, ValidatorSet};
use basalt_proto::consensus::{decode_record, encode_record};
use basalt_storage::{OpenOptions, SignRecord, StorageError, sign_record};
use clap::Args;
use serde_json::json;

use crate::{
    audit::{Act, AuditLog},
    chain::Chain,
    config::{self, NodeConfig},
    keys::{self, Passphrase},
    service::{read_genesis, restore},
};

/// Up to f lost records heal by themselves, and need no command: start the nodes. Where more are lost, too few others can
/// tell a validator what it may have signed, and it waits for ever. This command lets it vote again when as many have
/// answered as you say.
///
/// You vouch for this: the validators whose records survive are all running and among those that answer, and they are
/// honest. If a block was committed by votes of lost records alone and no running node has it, the network may decide
/// another block in its place. First bring up every node whose disk survives.
///
/// Example: basalt validator reset-record --config node.toml --answers 2 --reason "disks of node2 and node3 burnt"
#[derive(Debug, Args)]
pub(in crate::cmd) struct ResetRecordArgs {
    /// The node's config file. The node must be stopped.
    #[arg(long)]
    config: PathBuf,
    /// Voting power (with equal votes: how many) of the other validators that still have their sign record.
    #[arg(long)]
    answers: u64,
    /// What happened, for the audit log.
    #[arg(long)]
    reason: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: ResetRecordArgs) -> anyhow::Result<()> {
    let config = config::load(&args.config, std::env::vars(), &[])?;
    let key = config.keys.validator.as_deref().context(
        "this node has no validator key (`keys.validator`), so it has no sign record to reset; it follows without one",
    )?;
    let key = keys::public_key(key)?;
    let chain = locked_chain(&config, config.consensus.overrides()?)?;
    let set = chain.sets.at_known(chain.ledger.head().height().next());
    let risk = check_answers(&set, &key, args.answers)?;
    let old = old_record(&config, &chain)?;
    let details =
        json!({ "validator": key.to_string(), "answers": args.answers, "genesis": chain.genesis.to_string() });
    let act = Act::of_operator("reset-record", &args.reason)?.with_all(details);
    audit_log(&config)?.append(act)?;
    release(&config, &Record::Released { genesis: chain.genesis, answers: args.answers }, old)?;
    let next = "start the node; `basalt network status` shows who has answered";
    if args.json {
        let out = json!({ "validator": key.to_string(), "answers": args.answers, "warning": risk, "next": next });
        println!("{out}");
    } else {
        println!("released: {key} votes again when voting power {} has answered", args.answers);
        if let Some(risk) = risk {
            println!("warning: {risk}");
        }
        println!("next: {next}");
    }
    Ok(())
}

/// The audit log of a node that is stopped, signed by the node's key as always.
pub(super) fn audit_log(config: &NodeConfig) -> anyhow::Result<AuditLog> {
    let passphrase = Passphrase::find(config.keys.passphrase_file.as_deref())?;
    let key = keys::load(&config.keys.node, passphrase.as_ref());
    let key =
        key.context("the audit log is signed with the node's key, which cannot be opened; nothing was changed")?;
    Ok(AuditLog::open(&config.data_dir, key, &config.audit)?)
}

/// Opens the ledger only for its lock and its validators: no node runs on this directory while it is held.
pub(super) fn locked_chain(config: &NodeConfig, overrides: Vec<SetOverride>) -> anyhow::Result<Chain> {
    let spec = read_genesis(&config.genesis)?;
    match restore::open_chain(&config.data_dir, spec, &OpenOptions::default(), 1 << 20, overrides) {
        Ok((chain, _)) => Ok(chain),
        Err(e) if matches!(e.downcast_ref(), Some(StorageError::Locked { .. })) => {
            bail!("the node of {} is running; stop it first, then run this command again", config.data_dir.display())
        }
        Err(e) => Err(e),
    }
}

/// Refuses where no release is needed; says what is risked where nothing is proven any more.
fn check_answers(set: &ValidatorSet, key: &PublicKey, answers: u64) -> anyhow::Result<Option<String>> {
    let Some(own) = set.index_of(key).and_then(|i| set.get(i)) else { return Ok(None) };
    let others = set.total_power() - set.power_of(set.index_of(&own.public_key));
    if answers > others {
        bail!("the other validators have voting power {others} in all, so {answers} can never answer; give fewer");
    }
    let usual = set.total_power() - set.quorum() + set.max_faulty() + 1;
    let safe = if set.is_overridden() { others } else { usual };
    if answers >= safe {
        bail!(
            "with answers of power {safe} this validator recovers by itself; start it and the others, no release is needed"
        );
    }
    // Every quorum with this validator in it has others among those that answer.
    let proven = set.total_power() - set.quorum() + 1;
    Ok((answers < proven).then(|| {
        format!(
            "fewer than {proven} may not know of every block this validator helped to commit; if any node, even a follower, \
             has a newer block, start that one first"
        )
    }))
}

/// What is in the place of the record.
enum Old {
    Nothing,
    /// An empty record, or an earlier release that was not used.
    Replaceable(SignRecord),
    Damaged,
}

/// Refuses where the record is intact: nobody may forget what they know.
fn old_record(config: &NodeConfig, chain: &Chain) -> anyhow::Result<Old> {
    let (file, entries) = match SignRecord::open(&config.data_dir) {
        Ok(None) => return Ok(Old::Nothing),
        Ok(Some(opened)) => opened,
        Err(StorageError::CorruptSignRecord { .. }) => return Ok(Old::Damaged),
        Err(e) => return Err(e.into()),
    };
    let decoded: Result<Vec<Record>, _> = entries.into_iter().map(|e| decode_record(e.0, chain.spec.hash_fn)).collect();
    match decoded.as_deref() {
        Err(_) => Ok(Old::Damaged),
        Ok([] | [Record::Released { .. }]) => Ok(Old::Replaceable(file)),
        Ok(_) => bail!(
            "the sign record of this validator is intact, so nothing needs resetting and nothing was changed; start the node"
        ),
    }
}

fn release(config: &NodeConfig, record: &Record, old: Old) -> anyhow::Result<()> {
    let bytes = encode_record(record);
    match old {
        Old::Replaceable(mut file) => return Ok(file.rewrite(&[bytes.into()])?),
        Old::Damaged => {
            let path = config.data_dir.join(sign_record::FILE_NAME);
            let aside = path.with_extension(format!("damaged-{}", crate::clock::wall_ms()));
            fs::rename(&path, &aside)
                .with_context(|| format!("cannot move the damaged record to {}", aside.display()))?;
        }
        Old::Nothing => {}
    }
    SignRecord::create(&config.data_dir, &bytes)?;
    Ok(())
}
