//! What the RPC asks of the node beyond the chain: network and consensus.

use std::{collections::BTreeMap, sync::Arc};

use basalt_primitives::{
    Address, Height, Millis, PublicKey,
    system::{evidence::Equivocation, validators::CERTIFICATES},
};
use basalt_storage::Reader as _;
use futures::future::BoxFuture;
use libp2p::PeerId;
use tokio::sync::watch;

use super::{glue::NodeEvents, pow::PowState};
use crate::{
    chain::Chain,
    clock,
    config::NodeConfig,
    dev::{Devnet, Settling},
    explain::{Action, Advice, Explanation, Situation, View, explain},
    ingress::Ingress,
    mempool::SharedPool,
    network::{MAX_STATIC_PEERS, NetworkHandle, PeerAddr},
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
    pool: SharedPool,
    started_ms: Millis,
    /// Where work makes the blocks.
    pow: Option<Arc<PowState>>,
}

impl Backend {
    pub fn new(
        config: &NodeConfig,
        chain: Chain,
        network: NetworkHandle,
        own: Option<PublicKey>,
        events: Arc<NodeEvents>,
        progress: watch::Receiver<Progress>,
        pool: SharedPool,
    ) -> Self {
        Self {
            name: config.name.clone(),
            chain,
            network,
            own,
            events,
            progress,
            pool,
            started_ms: clock::mono_ms(),
            pow: None,
        }
    }

    /// All ports of the RPC.
    pub fn ports(mut self, ingress: Ingress, dev: Option<Arc<Devnet>>, pow: Option<Arc<PowState>>) -> Ports {
        self.pow.clone_from(&pow);
        let pool = self.pool.clone();
        let me = Arc::new(self);
        Ports {
            chain: Arc::new(me.chain.clone()),
            calls: Arc::new(me.chain.clone()),
            tracer: Arc::new(me.chain.clone()),
            submit: match &dev {
                Some(devnet) => Arc::new(Settling { ingress, devnet: Arc::clone(devnet) }),
                None => Arc::new(ingress),
            },
            pool: Arc::new(pool),
            network: Arc::clone(&me) as _,
            consensus: me,
            dev,
            miner: pow.map(|pow| Arc::clone(&pow.miner)),
        }
    }

    /// The name a validator has or had, else the start of its key.
    fn validator_name(&self, key: &PublicKey) -> String {
        self.chain.sets.name_of(key).unwrap_or_else(|| format!("validator {}", short(key)))
    }

    fn account_name(&self, account: &Address) -> String {
        self.chain.sets.name_of_account(*account).unwrap_or_else(|| format!("validator {account}"))
    }

    fn signed_by(&self, height: Height, index: u16) -> Option<PublicKey> {
        Some(self.chain.sets.at(height)?.get(index)?.public_key)
    }

    /// The newest of the last certificates that carries each validator's signature.
    fn last_signed(&self) -> BTreeMap<PublicKey, Height> {
        let ledger = self.chain.ledger.snapshot();
        let head = ledger.head().height().0;
        let mut signed = BTreeMap::new();
        for height in (head.saturating_sub(CERTIFICATES - 1).max(1)..=head).map(Height) {
            let Ok(Some(certificate)) = ledger.certificate(height) else { continue };
            let keys = certificate.signatures.iter().filter_map(|s| self.signed_by(height, s.validator));
            signed.extend(keys.map(|key| (key, height)));
        }
        signed
    }

    /// Since when transactions that a block could take have been waiting.
    fn work_ms(&self) -> Option<Millis> {
        let since = self.pool.lock().work_since_ms()?;
        Some(clock::wall_ms().saturating_sub(since))
    }

    fn is_online(&self, key: &PublicKey) -> bool {
        self.own.as_ref() == Some(key) || self.network.peer_of_validator(key).is_some()
    }

    /// What the engine says where work makes the blocks.
    fn explain_work(&self, pow: &PowState, said: Explanation) -> Explanation {
        let Some(picture) = pow.picture() else { return said };
        let status = &picture.status;
        let deep = status.alarm.is_some();
        let (action, text) = match status.alarm {
            Some(_) => (
                Action::Checkpoint,
                "Ask other operators which chain is right; if it is the other one, sync this node anew.",
            ),
            None => (Action::Nothing, "Nothing needs to be done."),
        };
        Explanation {
            situation: match () {
                () if deep => Situation::DeepBranch,
                () if status.behind > 2 => Situation::CatchingUp,
                () if status.mining => Situation::Mining,
                () => Situation::Following,
            },
            summary: picture.words.first().cloned().unwrap_or_default(),
            details: picture.words.get(1..).unwrap_or_default().to_vec(),
            advice: vec![Advice { action, validators: Vec::new(), text: text.to_owned() }],
            height: status.head.next(),
            step: if status.mining { "mine" } else { "follow" }.to_owned(),
            is_validator: false,
            ..said
        }
    }

    /// What the votes say.
    fn explain_votes(&self) -> Explanation {
        let recorder = self.events.recorded();
        let next = self.chain.ledger.head().height().next();
        let height = recorder.status().map_or(next, |s| s.height).min(next.next());
        let peers = self.network.peers();
        let set = self.chain.sets.at_known(height);
        let validators = peers.iter().filter(|p| p.validator.is_some_and(|k| set.index_of(&k).is_some()));
        let round_trip = validators.filter_map(|p| p.round_trip).max();
        explain(&View {
            node: &self.name,
            now: clock::mono_ms(),
            recorder: &recorder,
            set: &set,
            name: &|key| self.validator_name(key),
            name_of_account: &|account| self.account_name(account),
            own: self.own,
            connected: &|key| peers.iter().any(|p| p.validator == Some(*key)),
            round_trip_ms: round_trip.map(|d| Millis::try_from(d.as_millis()).unwrap_or(Millis::MAX)),
            params: self.chain.spec.bft(),
            work_ms: self.work_ms(),
            syncing: self.progress.borrow().syncing,
        })
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

    fn add_peer(&self, address: &str) -> BoxFuture<'static, Result<(), String>> {
        let parsed = address.parse::<PeerAddr>().map_err(|e| e.to_string());
        let network = self.network.clone();
        Box::pin(async move {
            match network.add_peer(parsed?).await {
                Ok(true) => Ok(()),
                Ok(false) => Err(format!(
                    "this node has {MAX_STATIC_PEERS} static peers already, which is the limit; remove one with admin_removePeer"
                )),
                Err(e) => Err(e.to_string()),
            }
        })
    }

    fn remove_peer(&self, peer: &str) -> BoxFuture<'static, Result<bool, String>> {
        let id = peer.rsplit('/').next().unwrap_or(peer).parse::<PeerId>();
        let network = self.network.clone();
        Box::pin(async move {
            let id = id.map_err(|_| "expected the identity of a peer, such as admin_peers shows it (12D3Koo…)")?;
            network.remove_peer(id).await.map_err(|e| e.to_string())
        })
    }

    fn syncing(&self) -> Option<(Height, Height)> {
        self.progress.borrow().syncing
    }
}

impl ConsensusInfo for Backend {
    fn status(&self) -> ConsensusStatus {
        let engine = self.events.engine_status();
        let said = self.explain();
        let executed = self.chain.ledger.head().height();
        let set = self.chain.sets.at_known(executed.next());
        ConsensusStatus {
            engine: self.chain.spec.engine().into(),
            is_validator: self.own.is_some_and(|k| set.index_of(&k).is_some()),
            height: engine.as_ref().map_or(executed.next(), |e| e.height),
            round: said.round,
            proposer: engine.as_ref().and_then(|e| set.get(e.proposer?)).map(basalt_primitives::Validator::address),
            finalized: self.chain.ledger.finalized().height(),
            executed,
            last_commit_age_ms: self.events.last_commit_age_ms(),
            quorum: set.quorum(),
            total_power: set.total_power(),
            online_power: said.quorum.power,
            quorum_reachable: said.quorum.reachable,
            highest_seen: engine.as_ref().map_or(executed, |e| e.seen.max(executed)),
            locked_round: engine.as_ref().and_then(|e| e.locked),
            round_timer_ms: said.timer.map(|t| (t.running_ms, t.timeout_ms)),
            missing: said.votes.missing.into_iter().map(|m| m.name).collect(),
            step: said.step,
            explanation: said.summary,
        }
    }

    fn explain(&self) -> Explanation {
        let said = self.explain_votes();
        if let Some(pow) = &self.pow {
            return self.explain_work(pow, said);
        }
        if !self.chain.spec.is_devnet() {
            return said;
        }
        let summary = "This is a development network: one node makes a block when a transaction comes, at the interval \
                       that was set, or when evm_mine is called; nothing is voted on.";
        let text = "If transactions wait, call evm_mine, or evm_setAutomine with true.";
        let advice = vec![Advice { action: Action::Nothing, validators: Vec::new(), text: text.to_owned() }];
        Explanation {
            situation: Situation::Idle,
            summary: summary.to_owned(),
            advice,
            height: self.chain.ledger.head().height().next(),
            step: "idle".to_owned(),
            is_validator: self.own.is_some(),
            ..said
        }
    }

    fn validators(&self, height: Option<Height>) -> Option<Vec<ValidatorInfo>> {
        let head = self.chain.ledger.head();
        let height = height.unwrap_or(head.height());
        let (set, members) = (self.chain.sets.at(height)?, self.chain.sets.members(height)?);
        let signed = self.last_signed();
        let info = |(index, v): (usize, &basalt_primitives::Validator)| ValidatorInfo {
            index: u16::try_from(index).unwrap_or(u16::MAX),
            address: v.address(),
            public_key: v.public_key,
            power: u16::try_from(index).map_or(0, |index| set.power_at(index)),
            name: members.get(index).map(|(_, name)| name.clone()).filter(|name| !name.is_empty()),
            is_self: self.own == Some(v.public_key),
            online: self.is_online(&v.public_key),
            in_last_certificate: head
                .certificate
                .as_ref()
                .map(|c| c.signatures.iter().any(|s| self.signed_by(c.height, s.validator) == Some(v.public_key))),
            last_signed: signed.get(&v.public_key).copied(),
        };
        Some(set.as_slice().iter().enumerate().map(info).collect())
    }

    fn validator_name(&self, key: &PublicKey) -> Option<String> {
        self.chain.sets.name_of(key)
    }

    fn evidence(&self) -> Vec<Equivocation> {
        self.events.evidence().all()
    }

    fn uptime_ms(&self) -> Millis {
        clock::mono_ms().saturating_sub(self.started_ms)
    }
}

fn short(key: &PublicKey) -> String {
    key.to_string().chars().take(12).collect()
}
