//! `basalt tx`: native transactions from the command line.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use basalt_primitives::{
    Address, Bytes, Height, SecretKey, U256,
    tx::{NativeTx, SecurityLevel},
};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::{
    client::{Client, quantity},
    keys::{self, Passphrase, dev},
};

#[derive(Debug, Subcommand)]
pub(super) enum TxCommand {
    /// Sign a native transaction and send it.
    ///
    /// Example: basalt tx send --dev-account 0 --to 0x70997970C51812dc3A010C7d01b50e0d17dc79C8 --value 1ether
    Send(SendArgs),
    /// Call a contract without a transaction.
    ///
    /// Example: basalt tx call --to 0x5FbDB2315678afecb367f032d93F642f64180aa3 --data 0x06661abd
    Call {
        /// The contract.
        #[arg(long)]
        to: Address,
        /// Call data, as hex.
        #[arg(long, default_value = "0x")]
        data: Bytes,
        /// The node.
        #[arg(long, default_value = "http://127.0.0.1:8545", env = "BASALT_RPC")]
        rpc: String,
    },
    /// Say why a transaction is in no block yet, or why it is gone, and what to do.
    ///
    /// Example: basalt tx explain 0x4d7c…   (or the sender's address: the transaction that holds up the others)
    Explain {
        /// The transaction's hash, or its sender's address.
        what: String,
        /// The node.
        #[arg(long, default_value = "http://127.0.0.1:8545", env = "BASALT_RPC")]
        rpc: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show what became of a transaction.
    ///
    /// Example: basalt tx status 0x4d7c…
    Status {
        /// The transaction's hash.
        hash: String,
        /// The node.
        #[arg(long, default_value = "http://127.0.0.1:8545", env = "BASALT_RPC")]
        rpc: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct SendArgs {
    /// Receiver; none to create a contract from --data.
    #[arg(long)]
    to: Option<Address>,
    /// Amount: wei, or with a unit as in 0.5ether or 3gwei.
    #[arg(long, default_value = "0")]
    value: String,
    /// Call data or init code, as hex.
    #[arg(long, default_value = "0x")]
    data: Bytes,
    /// The sender's key file.
    #[arg(long, required_unless_present = "dev_account")]
    key: Option<PathBuf>,
    /// A funded account of a development network, 0 to 9, instead of a key file.
    #[arg(long, conflicts_with = "key", value_parser = clap::value_parser!(u32).range(0..10))]
    dev_account: Option<u32>,
    /// File whose first line is the key's passphrase; else BASALT_PASSPHRASE.
    #[arg(long)]
    passphrase_file: Option<PathBuf>,
    /// Nonce; the account's next one if not given.
    #[arg(long)]
    nonce: Option<u64>,
    /// Most gas; estimated if not given.
    #[arg(long)]
    gas: Option<u64>,
    /// Last height at which it may be in a block.
    #[arg(long)]
    valid_until: Option<u64>,
    /// Return as soon as the node has taken it.
    #[arg(long)]
    no_wait: bool,
    /// The node.
    #[arg(long, default_value = "http://127.0.0.1:8545", env = "BASALT_RPC")]
    rpc: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// How long `send` waits for the receipt.
const RECEIPT_WITHIN: Duration = Duration::from_secs(60);

pub(super) fn run(command: TxCommand) -> anyhow::Result<()> {
    super::block_on(async {
        match command {
            TxCommand::Send(args) => send(args).await,
            TxCommand::Call { to, data, rpc } => {
                let result = Client::new(&rpc)?.call("eth_call", json!([{ "to": to, "data": data }, "latest"])).await?;
                println!("{}", result.as_str().unwrap_or("0x"));
                Ok(())
            }
            TxCommand::Explain { what, rpc, json } => explain(&Client::new(&rpc)?, &what, json).await,
            TxCommand::Status { hash, rpc, json } => status(&Client::new(&rpc)?, &hash, json).await,
        }
    })?
}

async fn send(args: SendArgs) -> anyhow::Result<()> {
    let key = sender_key(&args)?;
    let client = Client::new(&args.rpc)?;
    let tx = fill(&client, &args, &key).await?;
    let raw = basalt_proto::tx::encode_native(&tx.sign(&key));
    let hash = client.call("eth_sendRawTransaction", json!([raw])).await?;
    let hash = hash.as_str().context("the node answered no hash")?.to_owned();
    if args.no_wait {
        println!("{}", if args.json { json!({ "hash": hash }).to_string() } else { hash });
        return Ok(());
    }
    let deadline = Instant::now() + RECEIPT_WITHIN;
    while client.call("eth_getTransactionReceipt", json!([hash])).await?.is_null() {
        if Instant::now() > deadline {
            bail!("{hash} was taken but is in no block after {RECEIPT_WITHIN:?}; ask why: basalt tx explain {hash}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    status(&client, &hash, args.json).await
}

fn sender_key(args: &SendArgs) -> anyhow::Result<SecretKey> {
    match (&args.key, args.dev_account) {
        (Some(path), _) => Ok(keys::load(path, Passphrase::find(args.passphrase_file.as_deref())?.as_ref())?),
        (None, Some(number)) => Ok(dev::native_key(number)),
        (None, None) => bail!("give the sender's key: --key FILE (or --dev-account N on a development network)"),
    }
}

/// Fills in what the node knows: chain id, nonce, fees, gas.
async fn fill(client: &Client, args: &SendArgs, key: &SecretKey) -> anyhow::Result<NativeTx> {
    let from = key.public_key().address();
    let value = parse_value(&args.value)?;
    let chain_id = u64::try_from(client.quantity("eth_chainId", json!([])).await?)?;
    let nonce = match args.nonce {
        Some(nonce) => nonce,
        None => u64::try_from(client.quantity("eth_getTransactionCount", json!([from, "pending"])).await?)?,
    };
    let base_fee = quantity(&client.call("eth_getBlockByNumber", json!(["latest", false])).await?["baseFeePerGas"]);
    let tip = client.quantity("eth_maxPriorityFeePerGas", json!([])).await?;
    let max_fee_per_gas = base_fee.unwrap_or(0) * 2 + tip;
    let gas_limit = match args.gas {
        Some(gas) => gas,
        None => {
            let call = json!({ "from": from, "to": args.to, "value": value, "data": args.data });
            u64::try_from(client.quantity("eth_estimateGas", json!([call])).await?)?
        }
    };
    Ok(NativeTx {
        chain_id,
        nonce,
        valid_from: Height::GENESIS,
        valid_until: args.valid_until.map(Height),
        max_fee_per_gas,
        max_priority_fee_per_gas: tip,
        gas_limit,
        to: args.to,
        value,
        input: args.data.clone(),
        level: SecurityLevel::Public,
        payload: None,
    })
}

/// Wei as a number, or a decimal number with `wei`, `gwei` or `ether`.
fn parse_value(text: &str) -> anyhow::Result<U256> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    if text.starts_with("0x") {
        return text.parse().with_context(|| format!("`{text}` is no amount"));
    }
    let decimals = match text[digits.len()..].to_lowercase().as_str() {
        "" | "wei" => 0,
        "gwei" => 9,
        "ether" | "eth" => 18,
        unit => bail!("`{unit}` is no unit; use wei, gwei or ether"),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if fraction.len() > decimals || whole.is_empty() {
        bail!("`{text}` is no whole number of wei");
    }
    let all = format!("{whole}{fraction}{}", "0".repeat(decimals - fraction.len()));
    U256::from_str_radix(&all, 10).with_context(|| format!("`{text}` is no amount"))
}

async fn explain(client: &Client, what: &str, as_json: bool) -> anyhow::Result<()> {
    let told = client.call("txpool_explain", json!([what])).await?;
    if as_json {
        println!("{told}");
        return Ok(());
    }
    let rows = [
        ("hash", "hash"),
        ("sender", "sender"),
        ("nonce", "nonce"),
        ("lane", "lane"),
        ("state", "state"),
        ("why", "reason"),
        ("do", "mend"),
    ];
    for (name, key) in rows {
        match &told[key] {
            Value::Null => {}
            Value::String(text) => println!("{name:<7} {text}"),
            other => println!("{name:<7} {other}"),
        }
    }
    Ok(())
}

async fn status(client: &Client, hash: &str, as_json: bool) -> anyhow::Result<()> {
    let mut receipt = client.call("eth_getTransactionReceipt", json!([hash])).await?;
    if receipt.is_null() {
        let known = !client.call("eth_getTransactionByHash", json!([hash])).await?.is_null();
        if as_json {
            println!("{}", json!({ "hash": hash, "status": if known { "pending" } else { "unknown" } }));
        } else if known {
            println!("{hash} waits in the mempool; basalt tx explain {hash} says for what");
        } else {
            bail!(
                "{hash} is not known to this node; it may never have been sent, or was dropped; basalt tx explain {hash} says more"
            );
        }
        return Ok(());
    }
    if as_json {
        // Under the same name as in the other answers of this command.
        receipt["hash"] = json!(hash);
        println!("{receipt}");
        return Ok(());
    }
    let number = |v: &Value| quantity(v).map_or_else(|| "-".to_owned(), |n| n.to_string());
    let ok = quantity(&receipt["status"]) == Some(1);
    println!("hash      {hash}");
    println!("status    {}", if ok { "success" } else { "failed (reverted)" });
    println!("block     {}", number(&receipt["blockNumber"]));
    println!("gas used  {}", number(&receipt["gasUsed"]));
    if let Some(contract) = receipt["contractAddress"].as_str() {
        println!("contract  {contract}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_in_any_unit_and_refused_when_not_whole() {
        let wei = |s: &str| parse_value(s).expect("valid");
        assert_eq!(wei("5"), U256::from(5));
        assert_eq!(wei("1.5gwei"), U256::from(1_500_000_000u64));
        assert_eq!(wei("0.000000000000000001ether"), U256::from(1));
        assert_eq!(wei("0x10"), U256::from(16));
        for bad in ["", "1.5", "1x", "1.1wei", ".5ether", "-1", "1e18"] {
            assert!(parse_value(bad).is_err(), "{bad}");
        }
    }
}
