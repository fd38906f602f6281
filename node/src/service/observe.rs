//! Watches the node for its monitor: once a second an observation of everything that alerts are about, and every few
//! seconds a word with each peer about clocks and the nodes of the network.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use basalt_primitives::{ChainSpec, Millis, PublicKey, SecretKey};
use basalt_proto::wire::ValidatorProof;
use parking_lot::Mutex;
use tokio::{sync::watch, time::MissedTickBehavior};

use crate::{
    clock,
    monitor::{
        Metrics, Monitor, View,
        alert::{NodeSeen, Observation},
        nodes::{Directory, Myself, NodeView, clock_offset},
        presence::Presence,
        resources::ResourceMeter,
    },
    network::{NetworkHandle, Offence, PeerId},
    rpc::{Ports, health, ports::ValidatorInfo},
};

/// How often the node is looked at.
const EVERY: Duration = Duration::from_secs(1);
/// How often, in looks, resources are read: they move slowly, and reading them costs system calls.
const RESOURCES_EVERY: u64 = 5;
/// How often peers are asked.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// A clock compared over a slower way says too little.
const MAX_ROUND_TRIP: Duration = Duration::from_secs(2);

/// Clocks of the connected peers, minus ours.
pub(super) type Offsets = Arc<Mutex<BTreeMap<PeerId, i64>>>;

/// Where observations come from.
pub(super) struct Watcher {
    pub monitor: Arc<Monitor>,
    pub ports: Ports,
    pub spec: Arc<ChainSpec>,
    pub metrics: Arc<Metrics>,
    pub network: NetworkHandle,
    pub directory: Arc<Directory>,
    pub offsets: Offsets,
    pub data_dir: PathBuf,
    /// Bytes; 0: none configured.
    pub memory_limit: u64,
    pub node_down_ms: Millis,
}

impl Watcher {
    /// Looks once a second until `stop` turns true.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut meter, mut presence, mut view) = (ResourceMeter::default(), Presence::default(), View::default());
        for tick in 0u64.. {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = stop.wait_for(|s| *s) => return,
            }
            let now = clock::mono_ms();
            if tick.is_multiple_of(RESOURCES_EVERY) {
                view.resources = meter.read(now, &self.data_dir, self.memory_limit);
            }
            let observation = self.look(now, &mut view, &mut presence);
            self.metrics.view(&view);
            self.monitor.observe(&observation);
            self.monitor.show(view.clone());
        }
    }

    fn look(&self, now: Millis, view: &mut View, presence: &mut Presence) -> Observation {
        let validators = self.ports.consensus.validators(None).unwrap_or_default();
        let connected: Vec<PeerId> = self.network.peers().iter().map(|p| p.peer_id).collect();
        self.directory.connected(&connected, now);
        let named = |key: &PublicKey| {
            let found = validators.iter().find(|v| v.public_key == *key)?;
            Some((found.name.clone(), found.address.to_string()))
        };
        view.nodes = self.directory.list(now, self.node_down_ms, &connected, named);
        let offsets = {
            let mut offsets = self.offsets.lock();
            offsets.retain(|peer, _| connected.contains(peer));
            offsets.values().copied().collect::<Vec<_>>()
        };
        view.clock_peers = offsets.len();
        view.clock_offset_ms = clock_offset(offsets);
        let (memory, disk) = (view.resources.memory, view.resources.disk);
        Observation {
            mono_ms: now,
            transactions: self.metrics.live_transactions(),
            block_overdue_ms: health::overdue_ms(health::inputs(&self.ports, &self.spec)),
            peers: connected.len(),
            nodes: nodes_seen(now, &validators, &view.nodes, presence),
            disk_used: disk.map(|d| d.used()),
            memory_used: (memory.limit_bytes > 0).then(|| memory.resident_bytes as f64 / memory.limit_bytes as f64),
            clock_offset_ms: view.clock_offset_ms,
            // Come with organisation certificates and the fork schedule.
            certificates: Vec::new(),
            forks: Vec::new(),
        }
    }
}

/// Validators are expected whether or not they were ever heard of; other nodes once they were seen.
fn nodes_seen(now: Millis, validators: &[ValidatorInfo], views: &[NodeView], presence: &mut Presence) -> Vec<NodeSeen> {
    let name = |v: &ValidatorInfo| v.name.clone().unwrap_or_else(|| v.address.to_string());
    let others = || validators.iter().filter(|v| !v.is_self);
    let heard: BTreeMap<&str, Millis> = views
        .iter()
        .filter(|v| v.role == "validator")
        .filter_map(|v| Some((v.name.as_str(), v.last_seen_ms?)))
        .collect();
    let unseen = presence.update(now, others().map(|v| (name(v), v.online)));
    let mut out: Vec<NodeSeen> = unseen
        .into_iter()
        .map(|(name, ms)| NodeSeen { unseen_ms: heard.get(name.as_str()).map_or(ms, |h| ms.min(*h)), name })
        .collect();
    let followers = views.iter().filter(|v| v.role != "validator" && !v.is_self);
    // A stranger may call itself anything: its id tells it from a validator of that name.
    let tail = |id: &str| id.get(id.len().saturating_sub(8)..).unwrap_or(id).to_owned();
    out.extend(followers.filter_map(|v| {
        Some(NodeSeen { name: format!("{} (…{})", v.name, tail(&v.id)), unseen_ms: v.last_seen_ms? })
    }));
    out
}

/// Tells peers of this node, and asks them about the others and about their clocks.
pub(super) struct Asker {
    pub network: NetworkHandle,
    pub directory: Arc<Directory>,
    pub offsets: Offsets,
    pub ports: Ports,
    pub key: SecretKey,
    pub proof: Option<ValidatorProof>,
    pub me: Myself,
}

impl Asker {
    /// Asks every few seconds until `stop` turns true.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        self.network.serve_status(Arc::clone(&self.directory) as _);
        let mut ticks = tokio::time::interval(ASK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = stop.wait_for(|s| *s) => return,
            }
            let times = (clock::mono_ms(), clock::wall_ms());
            let address = || self.ports.network.node().listen_addresses.into_iter().next().unwrap_or_default();
            let me = Myself { address: address(), ..self.me.clone() };
            self.directory.announce(&self.key, self.proof, &me, self.ports.chain.head().0, times);
            let peers = self.network.peers();
            futures::future::join_all(peers.iter().map(|p| self.ask(p.peer_id))).await;
        }
    }

    async fn ask(&self, peer: PeerId) {
        let exchange = match self.network.exchange_status(peer, self.directory.request()).await {
            Ok(exchange) => exchange,
            Err(e) => return tracing::debug!(%peer, "status not exchanged: {e}"),
        };
        if exchange.round_trip <= MAX_ROUND_TRIP {
            self.offsets.lock().insert(peer, exchange.clock_offset_ms);
        }
        let keys: Vec<_> =
            self.ports.consensus.validators(None).unwrap_or_default().into_iter().map(|v| v.public_key).collect();
        let times = (clock::mono_ms(), clock::wall_ms());
        for record in exchange.records {
            if !self.directory.learn(record, |k| keys.contains(k), times) {
                return self.network.report_peer(peer, Offence::Invalid, "a node record with a bad signature");
            }
        }
    }
}
