//! What the RPC asks of the node beyond the chain: network and consensus.

use std::sync::Arc;

use basalt_primitives::{Height, Millis, PublicKey, Round, ValidatorSet};
use tokio::sync::watch;

use super::{
    explain::{explain, step_name},
    glue::NodeEvents,
};
use crate::{
    chain::Chain,
    clock,
    config::NodeConfig,
    ingress::Ingress,
    mempool::SharedPool,
    network::NetworkHandle,
    rpc::ports::{ConsensusInfo, ConsensusStatus, NetworkInfo, NodeInfo, PeerInfo, Ports, ValidatorInfo},
    sync::Progress,
};

/// The node behind the RPC.
#[derive(Clone)]
pub(super) struct Backend {
    name: String,
    chain: Chain,
    network: NetworkHandle,
    own: Option<PublicKey>,
    events: Arc<NodeEvents>,
    progress: watch::Receiver<Progress>,
    started_ms: Millis,
}

impl Backend {
    pub fn new(
        config: &NodeConfig,
        chain: Chain,
        network: NetworkHandle,
        own: Option<PublicKey>,
        events: Arc<NodeEvents>,
        progress: watch::Receiver<Progress>,
    ) -> Self {
        Self { name: config.name.clone(), chain, network, own, events, progress, started_ms: clock::mono_ms() }
    }

    /// All ports of the RPC.
    pub fn ports(self, ingress: Ingress, pool: SharedPool) -> Ports {
        let me = Arc::new(self);
        Ports {
            chain: Arc::new(me.chain.clone()),
            calls: Arc::new(me.chain.clone()),
            tracer: Arc::new(me.chain.clone()),
            submit: Arc::new(ingress),
            pool: Arc::new(pool),
            network: Arc::clone(&me) as _,
            consensus: me,
        }
    }

    fn validator_name(&self, set: &ValidatorSet, index: u16) -> String {
        let validator = set.get(index);
        let named = self.chain.spec.validators.iter().find(|g| Some(&g.validator) == validator);
        named.map_or_else(|| format!("validator {index}"), |g| g.name.clone())
    }

    fn is_online(&self, key: &PublicKey) -> bool {
        self.own.as_ref() == Some(key) || self.network.peer_of_validator(key).is_some()
    }
}

impl NetworkInfo for Backend {
    fn node(&self) -> NodeInfo {
        let id = self.network.local_peer_id();
        NodeInfo {
            id: id.to_string(),
            name: self.name.clone(),
            listen_addresses: self.network.listening().iter().map(|a| format!("{a}/p2p/{id}")).collect(),
        }
    }

    fn peers(&self) -> Vec<PeerInfo> {
        let peer = |p: crate::network::PeerInfo| PeerInfo {
            id: p.peer_id.to_string(),
            name: p.software,
            address: p.address.to_string(),
            inbound: p.inbound,
            height: Some(Height(p.head.0)),
            protocols: vec!["basalt/1".to_owned()],
            validator: p.validator.map(|k| k.address()),
        };
        self.network.peers().into_iter().map(peer).collect()
    }

    fn peer_count(&self) -> usize {
        self.network.peer_count()
    }

    fn syncing(&self) -> Option<(Height, Height)> {
        self.progress.borrow().syncing
    }
}

impl ConsensusInfo for Backend {
    fn status(&self) -> ConsensusStatus {
        let engine = self.events.engine_status();
        let executed = self.chain.ledger.head().height();
        let set = self.chain.sets.at(executed.next());
        let online: u64 = set.as_slice().iter().filter(|v| self.is_online(&v.public_key)).map(|v| v.power).sum();
        ConsensusStatus {
            engine: "pbft".into(),
            is_validator: self.own.is_some_and(|k| set.index_of(&k).is_some()),
            height: engine.as_ref().map_or(executed.next(), |e| e.height),
            round: engine.as_ref().map_or(Round::ZERO, |e| e.round),
            step: engine.as_ref().map_or("not_started", |e| step_name(e.step)).to_owned(),
            proposer: engine.as_ref().and_then(|e| set.get(e.proposer?)).map(basalt_primitives::Validator::address),
            finalized: executed,
            executed,
            last_commit_age_ms: self.events.last_commit_age_ms(),
            quorum: set.quorum(),
            total_power: set.total_power(),
            online_power: online,
            explanation: engine.map_or_else(String::new, |e| explain(&e, |i| self.validator_name(&set, i))),
        }
    }

    fn validators(&self, height: Option<Height>) -> Option<Vec<ValidatorInfo>> {
        let head = self.chain.ledger.head();
        let height = height.unwrap_or(head.height());
        let set = self.chain.sets.at(height);
        let info = |(index, v): (usize, &basalt_primitives::Validator)| ValidatorInfo {
            index: u16::try_from(index).unwrap_or(u16::MAX),
            address: v.address(),
            public_key: v.public_key,
            power: v.power,
            name: self.chain.spec.validators.iter().find(|g| g.validator == *v).map(|g| g.name.clone()),
            is_self: self.own == Some(v.public_key),
            online: self.is_online(&v.public_key),
            in_last_certificate: head
                .certificate
                .as_ref()
                .map(|c| c.signatures.iter().any(|s| usize::from(s.validator) == index)),
        };
        Some(set.as_slice().iter().enumerate().map(info).collect())
    }

    fn uptime_ms(&self) -> Millis {
        clock::mono_ms().saturating_sub(self.started_ms)
    }
}
