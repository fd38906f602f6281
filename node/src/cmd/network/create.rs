//! `basalt network create`.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, bail};
use basalt_primitives::{
    Address, ChainSpec, Height, SecretKey, Validator,
    chainspec::{Fees, GenesisAccount, GenesisValidator},
    system::permission::{Node, Role, Until},
};
use clap::Args;

use super::{
    callers::Callers,
    layout::{GENESIS, Manifest, NodeEntry},
};
use crate::{
    client::ADMIN_KEY,
    config::{self, NodeConfig, spec::NetworkSpec},
    keys::{self, Passphrase, dev},
    network::Identity,
    service,
};

/// Example: basalt network create spec.toml --out mynet
#[derive(Debug, Args)]
pub(in crate::cmd) struct CreateArgs {
    /// Network spec (TOML); without one, defaults and the flags below.
    spec: Option<PathBuf>,
    /// Folder to make; must be empty or absent.
    #[arg(long)]
    out: PathBuf,
    /// Number of validators; of miners under proof of work.
    #[arg(long)]
    nodes: Option<u16>,
    /// Further nodes that follow without voting.
    #[arg(long)]
    followers: Option<u16>,
    /// Consensus engine: pbft, pow, or dev for one node with the methods of test nodes.
    #[arg(long)]
    consensus: Option<String>,
    /// Proof of work: hashes that the first block takes on average.
    #[arg(long)]
    difficulty: Option<u64>,
    /// Proof of work: account that is given the rewards of the blocks these nodes find.
    #[arg(long)]
    beneficiary: Option<Address>,
    /// Development network: known funded accounts, chain id 31337, plain keys, RPC open on loopback.
    #[arg(long)]
    dev: bool,
    /// Block interval in milliseconds; 0: propose at once.
    #[arg(long)]
    block_interval_ms: Option<u64>,
    /// Host names of the nodes, when each runs on a host or container of its own (comma-separated).
    #[arg(long, value_delimiter = ',')]
    hosts: Vec<String>,
    /// Let a development network answer whoever reaches it, also where it does not listen on loopback.
    #[arg(long)]
    pub(super) open: bool,
    /// Address that nodes listen on; with --hosts 0.0.0.0, else 127.0.0.1.
    #[arg(long)]
    listen: Option<IpAddr>,
    /// First RPC port.
    #[arg(long)]
    rpc_port: Option<u16>,
    /// First metrics port.
    #[arg(long)]
    metrics_port: Option<u16>,
    /// First P2P port.
    #[arg(long)]
    p2p_port: Option<u16>,
    /// File whose first line is the passphrase of the keys; else BASALT_PASSPHRASE; else one is made.
    #[arg(long)]
    passphrase_file: Option<PathBuf>,
    /// Permissioned network: only nodes on the list may connect, and what accounts may do is decided by vote.
    #[arg(long)]
    permissioned: bool,
    /// How accounts of a permissioned network are judged: open, deny or allow.
    #[arg(long, requires = "permissioned")]
    accounts: Option<String>,
    /// Accounts that decide about permissions, instead of the validators (comma-separated).
    #[arg(long, value_delimiter = ',', requires = "permissioned")]
    administrators: Vec<Address>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) struct NewNode {
    pub(super) entry: NodeEntry,
    host: String,
    node_key: SecretKey,
    validator_key: Option<SecretKey>,
    /// Who is given the rewards of a miner.
    beneficiary: Option<Address>,
}

pub(super) fn run(args: CreateArgs) -> anyhow::Result<()> {
    let spec = read_spec(&args)?;
    refuse_non_empty(&args.out)?;
    let nodes = plan_nodes(&spec)?;
    let chain = chain_spec(&spec, &nodes)?;
    let callers = Callers::choose(&spec, &nodes, &args)?;
    // Everything is checked; from here on files are written.
    fs::create_dir_all(&args.out).with_context(|| format!("cannot make {}", args.out.display()))?;
    let (passphrase, passphrase_file) = passphrase(&args.out, args.passphrase_file.as_deref(), spec.dev)?;
    let secret = (passphrase.as_ref(), passphrase_file.as_deref());
    let manifest = write_network(&spec, &args.out, &nodes, &chain, secret, &callers)?;
    report(&args, &chain, &manifest, passphrase_file.as_deref(), &callers);
    Ok(())
}

/// Makes a network with plain keys in a folder that is empty or absent.
pub(in crate::cmd) fn make_network(spec: &NetworkSpec, out: &Path) -> anyhow::Result<()> {
    spec.check()?;
    refuse_non_empty(out)?;
    let nodes = plan_nodes(spec)?;
    let chain = chain_spec(spec, &nodes)?;
    write_network(spec, out, &nodes, &chain, (None, None), &Callers::Loopback).map(drop)
}

fn write_network(
    spec: &NetworkSpec,
    out: &Path,
    nodes: &[NewNode],
    chain: &ChainSpec,
    (passphrase, passphrase_file): (Option<&Passphrase>, Option<&Path>),
    callers: &Callers,
) -> anyhow::Result<Manifest> {
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    fs::write(out.join(GENESIS), chain.to_json())?;
    for node in nodes {
        write_node(out, node, nodes, chain, passphrase, passphrase_file, callers)?;
    }
    callers.write(out, &nodes.iter().map(|n| &n.entry).collect::<Vec<_>>())?;
    let manifest = Manifest {
        name: chain.name.clone(),
        chain_id: chain.chain_id,
        dev: spec.dev,
        nodes: nodes.iter().map(|n| n.entry.clone()).collect(),
    };
    manifest.write(out)?;
    Ok(manifest)
}

fn read_spec(args: &CreateArgs) -> anyhow::Result<NetworkSpec> {
    let mut spec = match &args.spec {
        None => NetworkSpec::default(),
        Some(path) => {
            let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            toml::from_str(&text).with_context(|| format!("{} is not a network spec", path.display()))?
        }
    };
    if let Some(engine) = &args.consensus {
        spec.consensus.engine.clone_from(engine);
    }
    if spec.is_devnet() && args.spec.is_none() {
        spec = NetworkSpec::devnet();
    }
    spec.dev |= args.dev || spec.is_devnet();
    if spec.dev && !spec.is_devnet() && args.spec.is_none() {
        // Blocks as soon as there is something to put in them, as developers expect of a local network.
        spec.consensus.block_interval_ms = 200;
    }
    if spec.is_pow() && args.spec.is_none() {
        spec.consensus.block_interval_ms = 10_000;
    }
    spec.consensus.pow.difficulty = args.difficulty.unwrap_or(spec.consensus.pow.difficulty);
    let n = &mut spec.nodes;
    n.beneficiary = args.beneficiary.or(n.beneficiary);
    if !args.hosts.is_empty() {
        n.hosts.clone_from(&args.hosts);
        n.validators = u16::try_from(args.hosts.len()).context("too many hosts")?;
    }
    n.validators = args.nodes.unwrap_or(n.validators);
    n.followers = args.followers.unwrap_or(n.followers);
    n.listen = args.listen.or(n.listen);
    n.rpc_port = args.rpc_port.unwrap_or(n.rpc_port);
    n.metrics_port = args.metrics_port.unwrap_or(n.metrics_port);
    n.p2p_port = args.p2p_port.unwrap_or(n.p2p_port);
    spec.consensus.block_interval_ms = args.block_interval_ms.unwrap_or(spec.consensus.block_interval_ms);
    let p = &mut spec.permission;
    p.enabled |= args.permissioned;
    if let Some(mode) = &args.accounts {
        p.accounts.clone_from(mode);
    }
    if !args.administrators.is_empty() {
        p.authority = "administrators".into();
        p.administrators.extend(&args.administrators);
    }
    spec.check()?;
    Ok(spec)
}

fn refuse_non_empty(out: &Path) -> anyhow::Result<()> {
    match fs::read_dir(out) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => bail!(
                "{} is not empty; choose another --out, or remove it if its network is no longer needed",
                out.display()
            ),
        },
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e).with_context(|| format!("cannot read {}", out.display())),
    }
}

fn plan_nodes(spec: &NetworkSpec) -> anyhow::Result<Vec<NewNode>> {
    let n = &spec.nodes;
    let many_hosts = !n.hosts.is_empty();
    let default_listen: IpAddr = if many_hosts { Ipv4Addr::UNSPECIFIED.into() } else { Ipv4Addr::LOCALHOST.into() };
    let listen = n.listen.unwrap_or(default_listen);
    (0..n.validators + n.followers)
        .map(|i| {
            let node_key = keys::generate()?;
            let first = i < n.validators;
            let validator_key = (first && !spec.is_pow()).then(keys::generate).transpose()?;
            let role = match (first, spec.is_pow()) {
                (false, _) => "follower",
                (true, false) => "validator",
                (true, true) => "miner",
            };
            let offset = if many_hosts { 0 } else { i };
            let entry = NodeEntry {
                name: format!("node{i}"),
                role: role.into(),
                rpc: SocketAddr::new(listen, n.rpc_port + offset),
                metrics: SocketAddr::new(listen, n.metrics_port + offset),
                p2p: SocketAddr::new(listen, n.p2p_port + offset),
                peer_id: Identity::new(&node_key).peer_id().to_string(),
            };
            let host = n.hosts.get(usize::from(i)).cloned().unwrap_or_else(|| Ipv4Addr::LOCALHOST.to_string());
            let beneficiary = (role == "miner").then(|| n.beneficiary.unwrap_or_else(|| dev::accounts()[0].address));
            Ok(NewNode { entry, host, node_key, validator_key, beneficiary })
        })
        .collect()
}

fn chain_spec(spec: &NetworkSpec, nodes: &[NewNode]) -> anyhow::Result<ChainSpec> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock stands before 1970; set it")?;
    let chain_id = match (spec.chain_id, spec.dev) {
        (Some(id), _) => id,
        (None, true) => 31337,
        // Wallets keep chain ids below 2^53; above the small ones that are taken.
        (None, false) => u64::from(u32::from_be_bytes(keys::random::<4>()?)) + (1 << 20),
    };
    let validators = nodes.iter().filter_map(|n| {
        let public_key = n.validator_key.as_ref()?.public_key();
        Some(GenesisValidator { name: n.entry.name.clone(), validator: Validator { public_key, power: 1 } })
    });
    let chain = ChainSpec {
        name: spec.name.clone(),
        chain_id,
        genesis_time_ms: u64::try_from(now.as_millis())?,
        hash_fn: spec.hash,
        development: spec.dev,
        consensus: spec.consensus(),
        gas_limit: spec.block.gas_limit,
        max_block_bytes: spec.block.max_bytes,
        essential: spec.essential.clone(),
        fees: spec.fees(),
        forks: spec.forks(),
        validators: validators.collect(),
        alloc: spec.alloc(),
    };
    let mut chain = chain.with_system_contracts();
    if spec.permission.enabled {
        chain = spec.permission.genesis(nodes.iter().map(listed).collect()).put_into(chain);
    }
    if spec.dev && chain.fees != Fees::Zero {
        // They pay for their votes about validators; elsewhere whoever runs the network funds them.
        let accounts = chain.validators.iter().map(|v| v.validator.address());
        let funded = accounts.map(|a| (a, GenesisAccount { balance: dev::BALANCE, ..GenesisAccount::default() }));
        chain.alloc.extend(funded.collect::<Vec<_>>());
    }
    chain.check()?;
    Ok(chain)
}

/// A node of the new network on the list of those that may connect.
fn listed(node: &NewNode) -> Node {
    let validator = node.validator_key.as_ref().map(SecretKey::public_key);
    Node {
        key: node.node_key.public_key(),
        role: if validator.is_some() { Role::Validator } else { Role::Full },
        removed: false,
        since: Height::GENESIS,
        until: Until::default(),
        organisation: None,
        validator,
        name: node.entry.name.clone(),
    }
}

/// The passphrase for the new keys and the file the nodes read it from. Development keys are plain.
pub(super) fn passphrase(
    out: &Path,
    given: Option<&Path>,
    dev: bool,
) -> anyhow::Result<(Option<Passphrase>, Option<PathBuf>)> {
    if dev {
        return Ok((None, None));
    }
    if let Some(found) = Passphrase::find(given)? {
        let file = given.map(fs::canonicalize).transpose()?;
        return Ok((Some(found), file));
    }
    let path = out.join("passphrase");
    if path.exists() {
        return Ok((Passphrase::find(Some(&path))?, Some(fs::canonicalize(path)?)));
    }
    let text = hex::encode(keys::random::<24>()?);
    keys::write_private(&path, format!("{text}\n").as_bytes())?;
    Ok((Some(Passphrase::new(&text)), Some(fs::canonicalize(path)?)))
}

fn write_node(
    out: &Path,
    node: &NewNode,
    all: &[NewNode],
    chain: &ChainSpec,
    passphrase: Option<&Passphrase>,
    passphrase_file: Option<&Path>,
    callers: &Callers,
) -> anyhow::Result<()> {
    let dir = node.entry.dir(out);
    fs::create_dir_all(dir.join("data"))?;
    keys::save(&dir.join("node.key"), &node.node_key, passphrase)?;
    if let Some(key) = &node.validator_key {
        keys::save(&dir.join("validator.key"), key, passphrase)?;
        service::restore::init_sign_record(&dir.join("data"), chain)?;
    }
    let surroundings = Surroundings {
        peers: all.iter().filter(|p| p.entry.name != node.entry.name).map(peer_address).collect(),
        hosts: all.iter().filter(|n| n.host.parse::<IpAddr>().is_err()).map(|n| n.host.clone()).collect(),
        validator: node.validator_key.is_some(),
        beneficiary: node.beneficiary,
        passphrase_file,
        callers,
    };
    write_config(out, &node.entry, chain, surroundings)
}

/// What a node's configuration says of the world around it.
pub(super) struct Surroundings<'a> {
    pub(super) peers: Vec<String>,
    pub(super) hosts: Vec<String>,
    /// Whether it has a validator key.
    pub(super) validator: bool,
    /// Who is given its rewards; it mines if somebody is.
    pub(super) beneficiary: Option<Address>,
    pub(super) passphrase_file: Option<&'a Path>,
    pub(super) callers: &'a Callers,
}

/// Writes a node's configuration into its folder.
pub(super) fn write_config(
    out: &Path,
    entry: &NodeEntry,
    chain: &ChainSpec,
    s: Surroundings<'_>,
) -> anyhow::Result<()> {
    let config = NodeConfig {
        name: entry.name.clone(),
        genesis: Path::new("../..").join(GENESIS),
        data_dir: "data".into(),
        keys: config::Keys {
            node: "node.key".into(),
            validator: s.validator.then(|| "validator.key".into()),
            passphrase_file: s.passphrase_file.map(Path::to_owned),
        },
        p2p: config::P2p { listen: entry.p2p, peers: s.peers, ..config::P2p::default() },
        rpc: config::Rpc {
            listen: entry.rpc,
            cors: if chain.development { vec!["*".into()] } else { Vec::new() },
            hosts: s.hosts,
            ..config::Rpc::default()
        },
        metrics: config::Metrics { listen: entry.metrics, ..config::Metrics::default() },
        auth: s.callers.config(),
        audit: crate::audit::AuditConfig::default(),
        monitor: crate::monitor::config::MonitorConfig::default(),
        tracing: crate::monitor::traces::TracingConfig::default(),
        consensus: config::Consensus::default(),
        mempool: config::Mempool::default(),
        execution: config::Execution::default(),
        miner: config::MinerConfig { threads: usize::from(s.beneficiary.is_some()), beneficiary: s.beneficiary },
        storage: match chain.is_devnet() {
            // Whoever goes back to a snapshot needs the state of that time.
            true => config::Storage { mode: config::StorageMode::Archive, ..config::Storage::default() },
            false => config::Storage::default(),
        },
        log: crate::monitor::logging::LogConfig::default(),
    };
    fs::write(entry.config(out), toml::to_string(&config)?)?;
    Ok(())
}

fn peer_address(node: &NewNode) -> String {
    let kind = match node.host.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => "ip4",
        Ok(IpAddr::V6(_)) => "ip6",
        Err(_) => "dns4",
    };
    format!("/{kind}/{}/tcp/{}/p2p/{}", node.host, node.entry.p2p.port(), node.entry.peer_id)
}

fn report(
    args: &CreateArgs,
    chain: &ChainSpec,
    manifest: &Manifest,
    passphrase_file: Option<&Path>,
    callers: &Callers,
) {
    let genesis = chain.genesis_block().hash();
    if args.json {
        let nodes: Vec<_> = manifest
            .nodes
            .iter()
            .map(|n| serde_json::json!({ "name": n.name, "role": n.role, "rpc": n.rpc_url(&args.out), "metrics": n.metrics_url(&args.out), "peerId": n.peer_id }))
            .collect();
        let value = serde_json::json!({ "name": chain.name, "chainId": chain.chain_id, "genesis": genesis, "dir": args.out, "nodes": nodes });
        println!("{value}");
        return;
    }
    println!("network {} (chain id {}, genesis {genesis}) is in {}", chain.name, chain.chain_id, args.out.display());
    if chain.development {
        println!(
            "development network: its keys are plain and its accounts are known to everyone; never use it for value"
        );
    }
    if let (None, Some(file)) = (&args.passphrase_file, passphrase_file) {
        println!("the keys' passphrase was made and written to {}; keep it apart from the keys", file.display());
    }
    if let Callers::Keys(_) = callers {
        println!(
            "its nodes ask who calls: the administrator's API key is in {}; commands find it where they are given the folder, others \
             by --api-key-file. Make more with `basalt auth key create`",
            args.out.join(ADMIN_KEY).display()
        );
    }
    println!("run it: basalt network up {}", args.out.display());
}
