//! `basalt permission invite`.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use basalt_primitives::{B256, Height, system::permission::Role};
use clap::Args;
use serde_json::{Value, json};

use super::{
    super::{
        network::{Checkpoint, Invitation},
        validator::Node,
    },
    args::{public_key, seconds},
};
use crate::{
    client::{Client, quantity},
    clock,
};

/// Make an invitation: what another organisation's node needs to find this network and to know that it is the right one. It
/// admits nobody: the node's key must be admitted by `basalt permission node add`, before or after.
///
/// Example: basalt permission invite --role full --bootnode /dns4/node0.example.com/tcp/30303/p2p/12D3KooW… --out acme.json
#[derive(Debug, Args)]
pub(in crate::cmd) struct InviteArgs {
    /// What the node will be: validator, full, observer or gateway.
    #[arg(long)]
    role: String,
    /// Members to ask, as others reach them, each ending in /p2p/ID; without any, where the asked node listens.
    #[arg(long)]
    bootnode: Vec<String>,
    /// The node key that may use it (peer id, hex or key file); without one, whoever is admitted.
    #[arg(long)]
    node_key: Option<String>,
    /// How long it may be used, such as 7d or 12h.
    #[arg(long, default_value = "7d")]
    valid_for: String,
    /// Write it to this file; else it is printed as one string.
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    node: Node,
}

pub(super) async fn run(args: &InviteArgs) -> anyhow::Result<()> {
    let role: Role = args.role.parse().map_err(anyhow::Error::msg)?;
    let client = Client::new(&args.node.rpc)?;
    let block = |tag: &'static str| {
        let client = &client;
        async move { client.call("eth_getBlockByNumber", json!([tag, false])).await }
    };
    let newest = block("finalized").await?;
    let genesis = hash(&block("0x0").await?)?;
    let info = client.call("admin_nodeInfo", json!([])).await.ok();
    let chain = client.call("platform_status", json!([])).await?;
    let invitation = Invitation {
        format: 1,
        network: chain["network"].as_str().unwrap_or_default().to_owned(),
        development: chain["development"] == true,
        genesis,
        bootnodes: bootnodes(args, info.as_ref())?,
        checkpoint: Checkpoint {
            height: Height(
                quantity(&newest["number"]).and_then(|n| u64::try_from(n).ok()).context("a block without number")?,
            ),
            hash: hash(&newest)?,
        },
        role: role.to_string(),
        node: args.node_key.as_deref().map(public_key).transpose()?,
        expires: clock::wall_ms() / 1000 + seconds(&args.valid_for)?,
    };
    invitation.peers()?;
    match &args.out {
        None => println!("{}", invitation.to_text()?),
        Some(path) if path.exists() => bail!("{} exists already; choose another name", path.display()),
        Some(path) => {
            std::fs::write(path, serde_json::to_string_pretty(&invitation)? + "\n")
                .with_context(|| format!("cannot write {}", path.display()))?;
            println!(
                "the invitation is in {}; it says nothing secret, but send it so that nobody can change it",
                path.display()
            );
        }
    }
    Ok(())
}

fn hash(block: &Value) -> anyhow::Result<B256> {
    block["hash"].as_str().unwrap_or_default().parse().context("the node gives no hash of a block")
}

fn bootnodes(args: &InviteArgs, info: Option<&Value>) -> anyhow::Result<Vec<String>> {
    if !args.bootnode.is_empty() {
        return Ok(args.bootnode.clone());
    }
    let id = info.and_then(|i| i["id"].as_str());
    let listens = info.and_then(|i| i["listenAddresses"].as_array());
    let (Some(id), Some(listens)) = (id, listens) else {
        bail!("the node does not tell where it listens; name members with --bootnode");
    };
    let with_id =
        |a: &Value| a.as_str().map(|a| if a.contains("/p2p/") { a.to_owned() } else { format!("{a}/p2p/{id}") });
    Ok(listens.iter().filter_map(with_id).collect())
}
