//! `basalt network join`: from an invitation to a node that follows its network.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use basalt_primitives::{B256, Bytes, ChainSpec, SecretKey};
use clap::Args;
use serde_json::json;
use tokio::runtime::Handle;

use super::{
    callers::Callers,
    create::{self, Surroundings},
    invitation::Invitation,
    layout::{GENESIS, MANIFEST, Manifest, NodeEntry},
    processes,
};
use crate::{
    client::{ADMIN_KEY, Client, quantity, use_folder},
    clock,
    keys::{self, Passphrase},
    network::{BlockSource, ChainInfo, Identity, Network, NetworkConfig, NetworkHandle},
};

/// How often a waiting node says that it waits.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// Join a network by an invitation: make a node key, wait until it is admitted, fetch the genesis file and check it by its hash,
/// start a node and follow it until it has caught up.
///
/// Example: basalt network join invitation.json --out mynode --name acme-1
#[derive(Debug, Args)]
pub(in crate::cmd) struct JoinArgs {
    /// The invitation: its file, or its text.
    invitation: String,
    /// Folder to make. One in which joining was interrupted is gone on with.
    #[arg(long)]
    out: PathBuf,
    /// Name of the node.
    #[arg(long, default_value = "node")]
    name: String,
    /// Key file of the node to use, instead of making one.
    #[arg(long)]
    node_key: Option<PathBuf>,
    /// File whose first line is the passphrase of the keys; else BASALT_PASSPHRASE; else one is made.
    #[arg(long)]
    passphrase_file: Option<PathBuf>,
    /// Address on which the node hears peers; its other interfaces stay on loopback.
    #[arg(long, default_value = "0.0.0.0")]
    listen: IpAddr,
    /// RPC port.
    #[arg(long, default_value_t = 8545)]
    rpc_port: u16,
    /// Metrics port.
    #[arg(long, default_value_t = 9545)]
    metrics_port: u16,
    /// P2P port.
    #[arg(long, default_value_t = 30303)]
    p2p_port: u16,
    /// Seconds to wait to be admitted, and then to catch up.
    #[arg(long, default_value_t = 3600)]
    wait: u64,
}

pub(super) fn run(args: &JoinArgs) -> anyhow::Result<()> {
    let invitation = Invitation::read(&args.invitation)?;
    if args.out.join(MANIFEST).exists() {
        bail!("{0} has joined a network already; run it: basalt network up {0}", args.out.display());
    }
    if args.name.is_empty() || !args.name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')) {
        bail!("a node's name has letters, digits, - and _ only");
    }
    let dir = args.out.join("nodes").join(&args.name);
    fs::create_dir_all(dir.join("data")).with_context(|| format!("cannot make {}", dir.display()))?;
    let given = args.passphrase_file.as_deref();
    let (passphrase, passphrase_file) = create::passphrase(&args.out, given, invitation.development)?;
    let key = node_key(args, &dir, passphrase.as_ref())?;
    invitation.check(clock::wall_ms() / 1000, &key.public_key())?;
    let entry = entry(args, &key);
    processes::check_ports(&entry)?;
    let chain = super::super::block_on(fetch_genesis(args, &invitation, &key, &entry))??;
    fs::write(args.out.join(GENESIS), chain.to_json())?;
    let callers = Callers::for_node(&chain)?;
    let surroundings = Surroundings {
        peers: invitation.bootnodes.clone(),
        hosts: Vec::new(),
        validator: false,
        beneficiary: None,
        passphrase_file: passphrase_file.as_deref(),
        callers: &callers,
    };
    create::write_config(&args.out, &entry, &chain, surroundings)?;
    callers.write(&args.out, &[&entry])?;
    let manifest =
        Manifest { name: chain.name.clone(), chain_id: chain.chain_id, dev: false, nodes: vec![entry.clone()] };
    manifest.write(&args.out)?;
    let child = processes::start(&args.out, &entry)?;
    if !chain.development {
        println!("the administrator's API key of this node is in {}", args.out.join(ADMIN_KEY).display());
    }
    use_folder(&args.out)?;
    let followed = super::super::block_on(follow(args, &invitation, &entry))?;
    // The process goes on without this one.
    drop(child);
    if let Err(e) = followed {
        processes::stop_all(&args.out, &manifest.nodes)?;
        return Err(e.context("the node was stopped again"));
    }
    println!("the node goes on in the background; stop it: basalt network down {}", args.out.display());
    Ok(())
}

fn entry(args: &JoinArgs, key: &SecretKey) -> NodeEntry {
    let local = |port| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
    NodeEntry {
        name: args.name.clone(),
        role: "follower".into(),
        rpc: local(args.rpc_port),
        metrics: local(args.metrics_port),
        p2p: SocketAddr::new(args.listen, args.p2p_port),
        peer_id: Identity::new(key).peer_id().to_string(),
    }
}

/// The key of an earlier attempt, the one given, or a new one.
fn node_key(args: &JoinArgs, dir: &Path, passphrase: Option<&Passphrase>) -> anyhow::Result<SecretKey> {
    let path = dir.join("node.key");
    if path.exists() {
        return Ok(keys::load(&path, passphrase)?);
    }
    let key = match &args.node_key {
        Some(given) => keys::load(given, passphrase)?,
        None => keys::generate()?,
    };
    keys::save(&path, &key, passphrase)?;
    Ok(key)
}

/// Of a chain this node knows nothing of but its hash.
struct Nothing(B256);

impl BlockSource for Nothing {
    fn head(&self) -> (u64, B256) {
        (0, self.0)
    }

    fn block_range(&self, _: u64, _: usize, _: usize) -> Vec<Bytes> {
        Vec::new()
    }

    fn block_by_hash(&self, _: &B256) -> Option<Bytes> {
        None
    }
}

async fn fetch_genesis(
    args: &JoinArgs,
    invitation: &Invitation,
    key: &SecretKey,
    entry: &NodeEntry,
) -> anyhow::Result<ChainSpec> {
    let config = NetworkConfig {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        static_peers: invitation.peers()?,
        ..NetworkConfig::default()
    };
    let software = format!("basalt/v{} (joining)", env!("CARGO_PKG_VERSION"));
    let chain = ChainInfo { genesis: invitation.genesis, software, members: None };
    let source = Arc::new(Nothing(invitation.genesis));
    let (network, _events) = Network::start(config, &Identity::new(key), None, chain, source, &Handle::current())?;
    println!(
        "joining {} (genesis {}) as {}\nif it is not admitted yet, a member proposes it:\n  basalt permission node add {} --role {} \
         --name {} --key VALIDATOR.key",
        invitation.network, invitation.genesis, entry.peer_id, entry.peer_id, invitation.role, entry.name
    );
    let found = ask_for_genesis(&network, invitation, Duration::from_secs(args.wait)).await;
    network.shutdown();
    network.wait_stopped().await;
    found
}

async fn ask_for_genesis(
    network: &NetworkHandle,
    invitation: &Invitation,
    within: Duration,
) -> anyhow::Result<ChainSpec> {
    let (start, mut said) = (Instant::now(), Instant::now());
    loop {
        for peer in network.peers() {
            match network.request_genesis(peer.peer_id).await {
                Ok(text) => return checked_genesis(&text, invitation),
                Err(e) => println!("{} did not give the genesis file: {e}", peer.peer_id),
            }
        }
        if start.elapsed() > within {
            bail!(
                "none of the invitation's {} bootnodes has let this node in within {within:?}: it is not admitted yet, or none of \
                 them can be reached; run the command again to go on",
                invitation.bootnodes.len()
            );
        }
        if said.elapsed() > SAY_EVERY {
            said = Instant::now();
            println!("waiting to be admitted, {} s so far", start.elapsed().as_secs());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// What a peer gives is believed only if it is the genesis of the invitation's hash.
fn checked_genesis(text: &[u8], invitation: &Invitation) -> anyhow::Result<ChainSpec> {
    let text = std::str::from_utf8(text).context("a bootnode gave a genesis file that is no text")?;
    let chain = ChainSpec::from_json(text).context("a bootnode gave a genesis file")?;
    chain.check_system_contracts().context("a bootnode gave a genesis file")?;
    let hash = chain.genesis_block().hash();
    if hash != invitation.genesis {
        bail!("a bootnode gave the genesis file of another network: {hash}, not {}", invitation.genesis);
    }
    Ok(chain)
}

/// Shows how far the node has come until it has caught up and has the invitation's block.
async fn follow(args: &JoinArgs, invitation: &Invitation, entry: &NodeEntry) -> anyhow::Result<()> {
    let client = Client::new(&entry.rpc_url(&args.out))?;
    let (start, mut said, checkpoint) = (Instant::now(), Instant::now(), &invitation.checkpoint);
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        if let Some((height, peers, syncing)) = progress(&client).await {
            if height >= checkpoint.height.0 {
                check_block(&client, invitation).await?;
                if peers > 0 && !syncing {
                    println!(
                        "caught up at height {height}, with {peers} peers; it has the invitation's block {}",
                        checkpoint.height
                    );
                    return Ok(());
                }
            }
            if said.elapsed() > Duration::from_secs(2) {
                said = Instant::now();
                println!("height {height} of at least {}, {peers} peers", checkpoint.height);
            }
        } else if processes::find(&args.out, entry).is_none() {
            bail!("the node has ended; the end of its log:\n{}", processes::log_tail(&args.out, entry, 5));
        }
        if start.elapsed() > Duration::from_secs(args.wait) {
            bail!(
                "the node has not caught up within {} s; start it again: basalt network up {}",
                args.wait,
                args.out.display()
            );
        }
    }
}

/// Height, peers, and whether it is syncing; `None`: it does not answer yet.
async fn progress(client: &Client) -> Option<(u64, u64, bool)> {
    let number = |v: &serde_json::Value| quantity(v).and_then(|n| u64::try_from(n).ok());
    let height = number(&client.call("eth_blockNumber", json!([])).await.ok()?)?;
    let peers = number(&client.call("net_peerCount", json!([])).await.ok()?)?;
    let syncing = client.call("eth_syncing", json!([])).await.ok()?;
    Some((height, peers, syncing != false))
}

async fn check_block(client: &Client, invitation: &Invitation) -> anyhow::Result<()> {
    let c = &invitation.checkpoint;
    let block = client.call("eth_getBlockByNumber", json!([format!("{:#x}", c.height.0), false])).await?;
    let ours: B256 = block["hash"].as_str().unwrap_or_default().parse().context("the node gives no hash of a block")?;
    if ours != c.hash {
        bail!(
            "block {} of this chain is {ours}, and the invitation says {}: this is another branch; do not use it",
            c.height,
            c.hash
        );
    }
    Ok(())
}
