//! Watches the node for its monitor: once a second an observation of everything that alerts are about, and every few
//! seconds a word with each peer about clocks and the nodes of the network.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use basalt_primitives::{ChainSpec, Height, Millis, SecretKey};
use basalt_proto::wire::ValidatorProof;
use parking_lot::Mutex;
use tokio::{sync::watch, time::MissedTickBehavior};

use crate::{
    audit::AuditLog,
    clock,
    monitor::{
        Metrics, Monitor, View,
        alert::{Certificate, Fork, NodeSeen, Observation},
        forks::{self, ForkView},
        nodes::{Directory, Myself, NodeView, Voter, clock_offset},
        presence::Presence,
        resources::ResourceMeter,
    },
    network::{NetworkHandle, Offence, PeerId},
    rpc::{Ports, health, ports::ValidatorInfo},
    tls::{self, TlsServer},
};

/// How often the node is looked at.
const EVERY: Duration = Duration::from_secs(1);
/// How often, in looks, resources are read: they move slowly, and reading them costs system calls.
const RESOURCES_EVERY: u64 = 5;
/// How often peers are asked.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// Blocks over which the pace of the chain is measured.
const PACE_OVER: [u64; 2] = [16, 1024];
/// A clock compared longer ago says nothing of now.
const OFFSET_AGE_MS: Millis = 60_000;

/// Clocks of the connected peers, minus ours, and when they were compared.
pub(super) type Offsets = Arc<Mutex<BTreeMap<PeerId, (i64, Millis)>>>;

/// Where observations come from.
pub(super) struct Watcher {
    pub monitor: Arc<Monitor>,
    pub ports: Ports,
    pub spec: Arc<ChainSpec>,
    pub metrics: Arc<Metrics>,
    pub network: NetworkHandle,
    pub directory: Arc<Directory>,
    pub offsets: Offsets,
    /// Whose certificates end one day.
    pub tls: Vec<Arc<TlsServer>>,
    /// Whether it can be written.
    pub audit: Arc<AuditLog>,
    pub data_dir: PathBuf,
    /// Bytes; 0: none configured.
    pub memory_limit: u64,
    pub node_down_ms: Millis,
    /// The nodes that the configuration names.
    pub expected: BTreeSet<PeerId>,
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
        let voters: Vec<Voter> = validators.iter().map(voter).collect();
        view.nodes = self.directory.list(now, self.node_down_ms, &connected, &voters);
        let offsets = {
            let mut offsets = self.offsets.lock();
            offsets.retain(|peer, (_, at)| connected.contains(peer) && now.saturating_sub(*at) < OFFSET_AGE_MS);
            offsets.values().map(|(offset, _)| *offset).collect::<Vec<_>>()
        };
        view.forks = self.forks(&validators, &view.nodes);
        view.clock_peers = offsets.len();
        view.clock_offset_ms = clock_offset(offsets);
        let (memory, disk) = (view.resources.memory, view.resources.disk);
        Observation {
            mono_ms: now,
            transactions: self.metrics.live_transactions(),
            block_overdue_ms: health::overdue_ms(health::inputs(&self.ports, &self.spec)),
            peers: connected.len(),
            nodes: nodes_seen(now, &validators, &view.nodes, &self.expected, presence),
            disk_used: disk.map(|d| d.used()),
            memory_used: (memory.limit_bytes > 0).then(|| memory.resident_bytes as f64 / memory.limit_bytes as f64),
            clock_offset_ms: view.clock_offset_ms,
            certificates: self.certificates(),
            forks: view.forks.iter().map(Fork::from).collect(),
            audit_failing: self.audit.is_failing(),
        }
    }
}

impl Watcher {
    /// The certificates in use.
    fn certificates(&self) -> Vec<Certificate> {
        let now = tls::server::now_s();
        let all = self.tls.iter().flat_map(|s| s.certificates());
        let out = all.map(|(name, holds)| Certificate { name, seconds_left: holds.left(now) }).collect::<Vec<_>>();
        out.iter().for_each(|c| self.metrics.certificate(&c.name, c.seconds_left));
        out
    }

    /// The forks that come. Without any this costs nothing.
    fn forks(&self, validators: &[ValidatorInfo], nodes: &[NodeView]) -> Vec<ForkView> {
        let head = self.ports.chain.head();
        if self.spec.forks.range(head.next()..).next().is_none() {
            return Vec::new();
        }
        let schedule = self.spec.forks.iter().map(|(height, fork)| (*height, *fork));
        forks::ahead(schedule, head, self.pace(head), validators, self.ports.consensus.status().quorum, nodes)
    }

    /// Milliseconds that a block takes: as the newest blocks took, over a short and a long time, whichever is less, so that
    /// a load after a long rest is noticed; as the chain's interval says where there are too few.
    fn pace(&self, head: Height) -> Millis {
        let time = |height: Height| Some(self.ports.chain.block(height).ok()??.header.timestamp_ms);
        let over = |blocks: u64| {
            // Genesis may be much older than the first block.
            let first = Height(head.0.checked_sub(blocks).filter(|first| *first > 0)?);
            Some(time(head)?.saturating_sub(time(first)?) / blocks)
        };
        let least = self.spec.bft().block_interval_ms;
        PACE_OVER.into_iter().filter_map(over).min().unwrap_or(least).max(least)
    }
}

fn voter(v: &ValidatorInfo) -> Voter {
    Voter {
        key: v.public_key,
        name: v.name.clone(),
        address: v.address.to_string(),
        connected: v.online,
        is_self: v.is_self,
    }
}

/// Who is missed when it is not seen: validators, whether or not they were ever heard of, and the nodes that the
/// configuration names, once they were seen. Not strangers: they may come and go, and can make up nodes without end.
fn nodes_seen(
    now: Millis,
    validators: &[ValidatorInfo],
    views: &[NodeView],
    expected: &BTreeSet<PeerId>,
    presence: &mut Presence,
) -> Vec<NodeSeen> {
    let name = |v: &ValidatorInfo| v.name.clone().unwrap_or_else(|| v.address.to_string());
    let others = || validators.iter().filter(|v| !v.is_self);
    let unseen = presence.update(now, others().map(|v| (name(v), v.online)));
    // By address: a name of its own choice could be another's.
    let heard = |v: &ValidatorInfo| {
        let address = v.address.to_string();
        let views = views.iter().filter(|view| view.validator.as_ref() == Some(&address));
        views.filter_map(|view| view.last_seen_ms).min()
    };
    let heard: BTreeMap<String, Millis> = others().filter_map(|v| Some((name(v), heard(v)?))).collect();
    let mut out: Vec<NodeSeen> = unseen
        .into_iter()
        .map(|(name, ms)| NodeSeen { unseen_ms: heard.get(&name).map_or(ms, |h| ms.min(*h)), name })
        .collect();
    let expected: BTreeSet<String> = expected.iter().map(PeerId::to_string).collect();
    let followers = views.iter().filter(|v| v.validator.is_none() && !v.is_self);
    out.extend(followers.filter_map(|v| {
        let id = v.id.as_ref().filter(|id| expected.contains(*id))?;
        // Its name is its own choice: its id tells it from a validator of that name.
        let tail = id.get(id.len().saturating_sub(8)..).unwrap_or(id);
        Some(NodeSeen { name: format!("{} (…{tail})", v.name), unseen_ms: v.last_seen_ms? })
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
        let times = (clock::mono_ms(), clock::wall_ms());
        if let Some(offset) = exchange.clock_offset_ms {
            self.offsets.lock().insert(peer, (offset, times.0));
        }
        if exchange.records.is_empty() {
            return;
        }
        let keys: Vec<_> =
            self.ports.consensus.validators(None).unwrap_or_default().into_iter().map(|v| v.public_key).collect();
        let directory = Arc::clone(&self.directory);
        let learn = move || directory.learn(exchange.records, |k| keys.contains(k), times);
        match tokio::task::spawn_blocking(learn).await {
            Ok(true) => {}
            Ok(false) => self.network.report_peer(peer, Offence::Invalid, "a node record with a bad signature"),
            // A bug of ours, or the node is ending.
            Err(e) => tracing::error!(%peer, "node records not taken in: {e}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use basalt_primitives::{Address, PublicKey};

    use super::*;

    fn validator(index: u16, name: Option<&str>) -> ValidatorInfo {
        ValidatorInfo {
            index,
            address: Address::repeat_byte(u8::try_from(index).expect("small")),
            public_key: PublicKey([0; 32]),
            power: 1,
            name: name.map(str::to_owned),
            is_self: false,
            online: false,
            in_last_certificate: None,
            last_signed: None,
        }
    }

    fn follower(id: PeerId, name: &str, last_seen_ms: Option<Millis>) -> NodeView {
        NodeView { id: Some(id.to_string()), name: name.into(), last_seen_ms, ..NodeView::default() }
    }

    #[test]
    fn strangers_are_not_missed_and_cannot_stand_in_for_a_validator() {
        let (named, unnamed) = (validator(1, Some("node1")), validator(2, None));
        let (known, stranger) = (PeerId::random(), PeerId::random());
        let proven = |v: &ValidatorInfo, claims: &str, seen| NodeView {
            role: "validator",
            validator: Some(v.address.to_string()),
            ..follower(PeerId::random(), claims, Some(seen))
        };
        let views = [
            // A validator without a name of genesis claims another's, and has an old record beside a new one.
            proven(&unnamed, "node1", 5),
            proven(&unnamed, "node1", 90_000),
            follower(known, "archive", Some(40_000)),
            follower(stranger, "node1", Some(50_000)),
        ];
        let mut presence = Presence::default();
        let expected = BTreeSet::from([known, PeerId::random()]);
        let validators = [named, unnamed.clone()];
        nodes_seen(0, &validators, &[], &expected, &mut presence);
        let seen = nodes_seen(60_000, &validators, &views, &expected, &mut presence);
        let seen: BTreeMap<_, _> = seen.into_iter().map(|n| (n.name, n.unseen_ms)).collect();
        assert_eq!((seen.len(), seen["node1"], seen[&unnamed.address.to_string()]), (3, 60_000, 5), "{seen:?}");
        let archive = seen.iter().find(|(name, _)| name.starts_with("archive (…")).map(|(_, ms)| *ms);
        assert_eq!(archive, Some(40_000));
    }
}
