//! Puts a node together from its configuration, and takes it apart again.
//!
//! Order matters: the ledger is locked and checked before anything speaks; the sign record is read before the engine
//! starts; the network listens before the RPC says that the node lives. Stopping goes the other way.

mod backend;
mod duties;
mod glue;
mod observe;
pub mod restore;
mod serve;

use std::{fs, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use basalt_bft::Bft;
use basalt_primitives::{Bytes, ChainSpec, SecretKey, chainspec::SpecError};
use basalt_proto::wire::ValidatorProof;
use basalt_storage::{Closed, OpenOptions};
use tokio::sync::watch;

use crate::{
    auth,
    chain::Chain,
    clock::{SharedClock, SystemClock},
    config::NodeConfig,
    dev,
    driver::{bodies::Bodies, executor::Worker, runtime, verify::Verifier},
    evidence::{self, EvidenceBook},
    ingress::{self, Admission, Ingress},
    keys::{self, Passphrase},
    mempool::{Journal, MempoolConfig, SharedPool},
    monitor::{
        self, Metrics, Monitor, MonitorParts, NodeLabels,
        alert::Origin,
        nodes::{Directory, Myself},
        traces::{Service, Tracer},
    },
    network::{ChainInfo, Identity, Network, NetworkConfig, NetworkHandle, PeerAddr},
    permission::{self, Membership},
    proposer::Proposer,
    rpc::{App, EventHub, Ports, RpcConfig, namespaces_without},
    sync::{Blocks, Fetcher, Progress, Syncer},
    tls::{self, TlsServer},
};

pub use serve::{TlsServers, tls_servers};

/// File of the mempool's journal in the data directory.
const JOURNAL: &str = "mempool.journal";
/// Folder of block dumps below the data directory.
const DUMPS: &str = "dumps";
/// How long the parts may take to end after a stop was asked for.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// Reads and checks a chain specification.
pub fn read_genesis(path: &Path) -> anyhow::Result<ChainSpec> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read the genesis file {}", path.display()))?;
    let read = || {
        let spec = ChainSpec::from_json(&text)?;
        spec.check_system_contracts()?;
        Ok::<_, SpecError>(spec)
    };
    read().with_context(|| format!("{}", path.display()))
}

/// Runs a node until it is asked to stop or something fatal happens.
pub fn run(config: NodeConfig) -> anyhow::Result<()> {
    run_and_tell(config, || ())
}

/// As [`run`]; calls `up` once the node answers.
pub fn run_and_tell(config: NodeConfig, up: impl FnOnce()) -> anyhow::Result<()> {
    monitor::logging::init(&config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(worker_threads())
        .max_blocking_threads(32)
        .thread_name("io")
        .enable_all()
        .build()?;
    let mut ledger = None;
    let result = runtime.block_on(run_in(config, &mut ledger, up));
    runtime.shutdown_timeout(Duration::from_secs(2));
    if ledger.is_some_and(|closed| !closed.wait(STOP_WITHIN)) {
        tracing::warn!("some work did not end within {STOP_WITHIN:?}; every block that was final is on the disk");
    }
    result
}

/// As many threads for I/O as there are processors, but no more than four: the work is on other threads.
fn worker_threads() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from).min(4)
}

/// What a node is told by its files, checked.
struct Identities {
    node: SecretKey,
    validator: Option<SecretKey>,
}

fn identities(config: &NodeConfig) -> anyhow::Result<Identities> {
    let passphrase = Passphrase::find(config.keys.passphrase_file.as_deref())?;
    let node = keys::load(&config.keys.node, passphrase.as_ref())?;
    let validator = config.keys.validator.as_deref().map(|p| keys::load(p, passphrase.as_ref())).transpose()?;
    Ok(Identities { node, validator })
}

/// The mempool's journal and what it kept, if it is wanted. Without it the node runs as well: it only says so.
fn open_journal(config: &NodeConfig) -> (Option<Journal>, Vec<Bytes>) {
    if !config.mempool.journal {
        return (None, Vec::new());
    }
    let path = config.data_dir.join(JOURNAL);
    match Journal::open(&path) {
        Ok((journal, waiting)) => (Some(journal), waiting),
        Err(e) => {
            tracing::error!(
                "cannot open the mempool's journal {}: {e}; the node runs without, so transactions that wait are lost when it \
                 stops. Mend its permissions and restart, or set mempool.journal to false",
                path.display()
            );
            (None, Vec::new())
        }
    }
}

fn mempool_config(config: &NodeConfig, spec: &ChainSpec) -> MempoolConfig {
    MempoolConfig {
        max_transactions: config.mempool.max_transactions,
        max_bytes: config.mempool.max_mib << 20,
        max_per_sender: config.mempool.max_per_sender,
        max_peer_percent: config.mempool.max_peer_percent,
        essential: spec.essential.clone(),
        block_gas: spec.gas_limit,
        block_bytes: spec.max_block_bytes,
        ..MempoolConfig::default()
    }
}

fn ledger_options(config: &NodeConfig) -> OpenOptions {
    OpenOptions {
        cache_bytes: config.storage.cache_mib << 20,
        memtable_bytes: config.storage.write_buffer_mib << 20,
        max_open_files: config.storage.max_open_files,
        ..OpenOptions::default()
    }
}

async fn run_in(config: NodeConfig, closed: &mut Option<Closed>, up: impl FnOnce()) -> anyhow::Result<()> {
    let spec = read_genesis(&config.genesis)?;
    let tls = tls_servers(&config)?;
    for server in tls.all() {
        server.check(tls::server::now_s()).unwrap_or_else(|e| tracing::error!("{e}"));
    }
    let identities = identities(&config)?;
    let options = ledger_options(&config);
    let overrides = config.consensus.overrides()?;
    let (chain, trie) =
        restore::open_chain(&config.data_dir, spec, &options, config.storage.trie_mib << 20, overrides)?;
    *closed = Some(chain.ledger.closed());
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    chain.executor.use_threads(config.execution.threads_on(processors));
    for height in chain.sets.overrides() {
        tracing::warn!(%height, "a set override is in force or was: the validators it declares lost have no say from this height on");
    }
    let own = identities.validator.as_ref().map(SecretKey::public_key);
    // Whether the key votes is asked anew at every height: it may come into the set, and leave it, while the node runs.
    let record = restore::open_record(&config.data_dir, &chain, own)?;
    let restored = restore::restored(&chain, &record, u64::from_be_bytes(keys::random::<8>()?))?;
    let pool = SharedPool::new(mempool_config(&config, &chain.spec));
    let clock: SharedClock = Arc::new(SystemClock);
    let bodies = Bodies::new(Arc::clone(&clock));
    let verifier = Verifier {
        spec: Arc::clone(&chain.spec),
        genesis: chain.genesis,
        sets: chain.sets.clone(),
        pool: pool.clone(),
        bodies: bodies.clone(),
    };
    let metrics = Arc::new(Metrics::new(NodeLabels {
        version: env!("CARGO_PKG_VERSION").into(),
        name: config.name.clone(),
        chain: chain.spec.name.clone(),
        chain_id: chain.spec.chain_id.to_string(),
    }));
    let head = chain.ledger.head();
    metrics.restored(head.height().0, head.block.header().timestamp_ms);
    let identity = Identity::new(&identities.node);
    let source = Arc::new(Blocks { chain: chain.clone(), bodies });
    let membership = Membership::of(&chain);
    let members = membership.as_ref().map(Membership::now).transpose()?;
    permission::log_own_standing(members.as_ref(), &identity.peer_id());
    let (network, events) = Network::start(
        network_config(&config, &chain)?,
        &identity,
        identities.validator.as_ref(),
        ChainInfo { genesis: chain.genesis, software: glue::client_version(), members },
        source,
        &tokio::runtime::Handle::current(),
    )?;
    metrics.watch_network(network.stats());
    let peer_id = identity.peer_id().to_bytes();
    let proof = identities.validator.as_ref().map(|k| ValidatorProof::sign(k, chain.genesis, &peer_id));
    let (driver, mailbox) = runtime::mailbox();
    let (executed_tx, executed) = watch::channel(chain.ledger.head().height());
    let (progress_tx, progress) = watch::channel(Progress::default());
    let hub = EventHub::new(1024);
    let fetcher = Fetcher {
        chain: chain.clone(),
        network: network.clone(),
        verifier: verifier.clone(),
        runtime: tokio::runtime::Handle::current(),
    };
    let evidence = EvidenceBook::open(&config.data_dir, chain.genesis)
        .with_context(|| format!("cannot read {} in {}", evidence::FILE, config.data_dir.display()))?;
    let tracer = tracer(&config, &chain, &metrics)?;
    let node_events = glue::NodeEvents::new(
        chain.clone(),
        network.clone(),
        hub.clone(),
        Arc::clone(&metrics),
        executed_tx,
        evidence.clone(),
        tracer.clone(),
    );
    let node_events = Arc::new(node_events.with_membership(membership.clone()));
    if let Some(membership) = membership {
        tokio::spawn(glue::watch_members(membership, network.clone()));
    }
    let worker = Worker {
        chain: chain.clone(),
        clock: Arc::clone(&clock),
        trie,
        verifier: verifier.clone(),
        pool: pool.clone(),
        proposer: own.map(|k| Proposer { address: k.address() }),
        dump_dir: config.data_dir.join(DUMPS),
        observer: glue::observer(Arc::clone(&node_events)),
        ahead: Vec::new(),
    };
    let admission = Admission { chain: chain.clone(), pool: pool.clone(), clock: Arc::clone(&clock) };
    let (engine_thread, devnet) = if chain.spec.is_devnet() {
        let key = identities.validator.clone();
        let key = key.context("a development network's node needs its validator key: set keys.validator")?;
        let (hub, events) = (hub.clone(), node_events.clone());
        let parts = dev::Parts { worker, key, admission: admission.clone(), hub, events };
        let (thread, devnet) = dev::start(parts, mailbox)?;
        (thread, Some(devnet))
    } else {
        let params = chain.spec.bft().clone();
        let parts = runtime::Parts {
            chain: chain.clone(),
            clock: Arc::clone(&clock),
            engine: Bft::new(basalt_bft::Config { key: own, genesis: chain.genesis, params }),
            key: identities.validator.clone(),
            record,
            network: network.clone(),
            fetcher,
            worker,
            verifier: verifier.clone(),
            verify_threads: 1,
            events: node_events.clone(),
        };
        (runtime::start(parts, mailbox, restored)?, None)
    };
    // On a development network it would bring back, at the next start, what was taken back with its block.
    let (journal, waiting) = if devnet.is_some() { (None, Vec::new()) } else { open_journal(&config) };
    let ingress = Ingress::start(ingress::Parts {
        admission,
        network: network.clone(),
        driver: driver.clone(),
        events: node_events.clone(),
        journal,
        tracer,
    })?;
    let way_in = ingress.clone();
    let replayed = ingress.clone();
    tokio::task::spawn_blocking(move || replayed.replay(&waiting));
    glue::pump(events, driver.clone(), ingress.clone(), network.clone());
    let syncer = Syncer {
        chain: chain.clone(),
        network: network.clone(),
        driver: driver.clone(),
        verifier,
        own,
        executed,
        progress: progress_tx,
    };
    // A development network has no peers to sync from, and nothing to vote on.
    if devnet.is_none() {
        tokio::spawn(syncer.run());
    }
    if let Some(key) = identities.validator.filter(|_| devnet.is_none()) {
        let duties = duties::Duties {
            chain: chain.clone(),
            pool: pool.clone(),
            network: network.clone(),
            ingress: ingress.clone(),
            key,
            evidence,
            executed: node_events.executed(),
        };
        tokio::spawn(duties.run());
    }
    let backend = backend::Backend::new(
        &config,
        chain.clone(),
        network.clone(),
        own,
        node_events.clone(),
        progress,
        pool.clone(),
    );
    let stop = watch::Sender::new(false);
    let ports = backend.ports(ingress, devnet);
    let monitor = monitor(&config, &chain, &hub, &metrics)?;
    watch_over(&config, &monitor, &chain, &ports, &network, &metrics, (identities.node, proof), tls.all(), &stop);
    let auth = serve::auth(&config, chain.spec.development, &metrics)?;
    let app = App::new(
        ports,
        Arc::clone(&chain.spec),
        rpc_config(&config, &chain.spec),
        glue::rpc_version(&chain.spec),
        hub,
        Arc::clone(&metrics),
        monitor,
        auth.clone(),
    );
    let servers = serve::start(&config, &app, &metrics, &tls, &stop).await?;
    if let Some(auth) = auth {
        tokio::spawn(auth::watch(auth, stop.subscribe()));
    }
    tokio::spawn(tls::server::watch(tls.all(), Arc::clone(&metrics), stop.subscribe()));
    if let Some(keep) = config.storage.kept_states() {
        tokio::spawn(crate::chain::prune_states(Arc::clone(&chain.ledger), keep));
    }
    if !chain.spec.is_devnet() {
        tokio::spawn(glue::repeat_transactions(chain.clone(), pool.clone(), network.clone(), driver.clone()));
    }
    if config.metrics.enabled {
        tokio::spawn(glue::sample(metrics, chain.clone(), pool, network.clone(), own));
    }
    let head = chain.ledger.head();
    tracing::info!(
        name = config.name, chain = chain.spec.name, chain_id = chain.spec.chain_id, genesis = %chain.genesis,
        height = %head.height(), validator_key = own.is_some(), "node is up"
    );
    up();
    let result = wait(engine_thread, &driver).await;
    tracing::info!("stopping");
    stop.send_replace(true);
    way_in.stop();
    network.shutdown();
    let end = async {
        network.wait_stopped().await;
        futures::future::join_all(servers).await;
    };
    if tokio::time::timeout(STOP_WITHIN, end).await.is_err() {
        tracing::warn!("some connections did not end within {STOP_WITHIN:?} and are cut");
    }
    result
}

/// What follows transactions, if the configuration says where to send that.
fn tracer(config: &NodeConfig, chain: &Chain, metrics: &Arc<Metrics>) -> anyhow::Result<Option<Arc<Tracer>>> {
    let service = Service {
        node: config.name.clone(),
        network: chain.spec.name.clone(),
        chain_id: chain.spec.chain_id,
        version: env!("CARGO_PKG_VERSION"),
    };
    Ok(Tracer::start(&config.tracing, service, Arc::clone(metrics), &tokio::runtime::Handle::current())?)
}

/// The monitor, before anything is told to it.
fn monitor(config: &NodeConfig, chain: &Chain, hub: &EventHub, metrics: &Arc<Metrics>) -> anyhow::Result<Arc<Monitor>> {
    let alone = chain.spec.validators.len() == 1 && config.p2p.peers.is_empty();
    Ok(Arc::new(Monitor::new(MonitorParts {
        config: &config.monitor,
        origin: Origin { network: chain.spec.name.clone(), node: config.name.clone() },
        thresholds: config.monitor.thresholds(config.rpc.stall_after_ms, alone),
        development: chain.spec.development,
        data_dir: &config.data_dir,
        hub: hub.clone(),
        metrics: Arc::clone(metrics),
        runtime: tokio::runtime::Handle::current(),
    })?))
}

/// Looks at the node each second, and speaks with peers about the network, until `stop` turns true.
#[allow(clippy::too_many_arguments, reason = "called once, from where the parts of a node are put together")]
fn watch_over(
    config: &NodeConfig,
    monitor: &Arc<Monitor>,
    chain: &Chain,
    ports: &Ports,
    network: &NetworkHandle,
    metrics: &Arc<Metrics>,
    (key, proof): (SecretKey, Option<ValidatorProof>),
    tls: Vec<Arc<TlsServer>>,
    stop: &watch::Sender<bool>,
) {
    if !config.monitor.enabled {
        return tracing::warn!("monitoring is off: no alert will fire; set monitor.enabled = true to have them");
    }
    let directory = Arc::new(Directory::new(chain.genesis, key.public_key()));
    let offsets = observe::Offsets::default();
    let watcher = observe::Watcher {
        monitor: Arc::clone(monitor),
        ports: ports.clone(),
        spec: Arc::clone(&chain.spec),
        metrics: Arc::clone(metrics),
        network: network.clone(),
        directory: Arc::clone(&directory),
        offsets: Arc::clone(&offsets),
        tls,
        data_dir: config.data_dir.clone(),
        memory_limit: config.monitor.memory_limit_mib << 20,
        node_down_ms: config.monitor.node_down_after_ms,
        expected: config.p2p.peers.iter().filter_map(|p| p.parse::<PeerAddr>().ok()?.peer_id).collect(),
    };
    let me = Myself {
        name: config.name.clone(),
        organisation: config.monitor.organisation.clone(),
        software: glue::client_version(),
        address: String::new(),
    };
    let asker = observe::Asker { network: network.clone(), directory, offsets, ports: ports.clone(), key, proof, me };
    tokio::spawn(watcher.run(stop.subscribe()));
    tokio::spawn(asker.run(stop.subscribe()));
}

/// Waits for a signal or for the engine's thread to end, and ends the engine's thread.
async fn wait(
    engine: std::thread::JoinHandle<Result<(), crate::driver::Fatal>>,
    driver: &runtime::DriverHandle,
) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut int, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut ended = tokio::task::spawn_blocking(move || engine.join());
    let joined = tokio::select! {
        joined = &mut ended => joined,
        _ = int.recv() => { driver.stop(); ended.await }
        _ = term.recv() => { driver.stop(); ended.await }
    };
    match joined? {
        Ok(Ok(())) => Ok(()),
        Ok(Err(fatal)) => {
            tracing::error!("{fatal}");
            Err(fatal.into())
        }
        Err(_) => bail!("the engine's thread panicked; the log has the message. Restart the node, and report it"),
    }
}

fn network_config(config: &NodeConfig, chain: &Chain) -> anyhow::Result<NetworkConfig> {
    if chain.spec.is_devnet() && !config.p2p.peers.is_empty() {
        bail!("config `p2p.peers`: a development network has one node and no peers; remove them");
    }
    let peers = config.p2p.peers.iter().map(|p| p.parse()).collect::<Result<Vec<_>, _>>();
    Ok(NetworkConfig {
        listen: config.p2p.listen,
        offline: chain.spec.is_devnet(),
        static_peers: peers.context("config `p2p.peers`")?,
        discovery: config.p2p.discovery(false),
        peers_file: Some(config.data_dir.join("peers.json")),
        external: config
            .p2p
            .external_addresses()
            .map_err(|(key, problem)| anyhow::anyhow!("config `{key}`: {problem}"))?,
        max_peers: usize::try_from(config.p2p.max_peers)?,
        max_block_bytes: usize::try_from(chain.spec.max_block_bytes)?,
        ..NetworkConfig::default()
    })
}

fn rpc_config(config: &NodeConfig, spec: &ChainSpec) -> RpcConfig {
    RpcConfig {
        admin: config.rpc.admin.unwrap_or(config.rpc.listen.ip().is_loopback()),
        traced: config.tracing.is_on(),
        namespaces: match config.monitor.enabled {
            true => Vec::new(),
            false => namespaces_without("monitor", spec.is_devnet()),
        },
        cors_origins: config.rpc.cors.clone(),
        allowed_hosts: config.rpc.hosts.clone(),
        ready_max_commit_age_ms: config.rpc.stall_after_ms,
        ..RpcConfig::default()
    }
}
