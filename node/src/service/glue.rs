//! The wires between the node's parts.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use basalt_bft::{Status, message::SignedMessage};
use basalt_consensus::Evidence;
use basalt_primitives::{B256, ChainSpec, Height, Millis, PublicKey, SealedBlock, Transaction, Validator};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{
    chain::Chain,
    clock::{self, Clock as _, SystemClock},
    driver::{
        executor::{Committed, Observer},
        ports::Events,
        rules::BlockError,
        runtime::DriverHandle,
    },
    evidence::{EvidenceBook, equivocation},
    explain::{Recorder, Refused},
    ingress::{Ingress, IngressEvents, Repeater},
    mempool::SharedPool,
    monitor::{
        BlockStats, Metrics,
        traces::{self, Tracer},
    },
    network::{BatchVerdict, NetworkEvents, NetworkHandle, Offence},
    permission::Membership,
    rpc::{BlockEvent, EventHub},
};

/// Name, version and platform of this software, as clients and peers see it.
pub(super) fn client_version() -> String {
    format!("basalt/v{}/{}-{}", env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH)
}

/// As RPC clients see it. Hardhat's network helpers serve only nodes whose name begins as those of test nodes do.
pub(super) fn rpc_version(spec: &ChainSpec) -> String {
    if spec.is_devnet() { format!("anvil-compatible/{}", client_version()) } else { client_version() }
}

/// Takes in what the parts report, and passes it on to metrics, subscribers, peers and the log.
pub(super) struct NodeEvents {
    chain: Chain,
    network: NetworkHandle,
    hub: EventHub,
    metrics: Arc<Metrics>,
    executed: watch::Sender<Height>,
    /// What explains the chain's course. The engine's thread only tries the lock: a picture that it could not leave is
    /// followed by the next within half a second.
    recorder: Mutex<Recorder>,
    /// Monotonic time of the last commit plus one; 0: none yet.
    last_commit: AtomicU64,
    evidence: EvidenceBook,
    tracer: Option<Arc<Tracer>>,
    /// On a permissioned network.
    membership: Option<Membership>,
}

impl NodeEvents {
    pub fn new(
        chain: Chain,
        network: NetworkHandle,
        hub: EventHub,
        metrics: Arc<Metrics>,
        executed: watch::Sender<Height>,
        evidence: EvidenceBook,
        tracer: Option<Arc<Tracer>>,
    ) -> Self {
        Self {
            chain,
            network,
            hub,
            metrics,
            executed,
            recorder: Mutex::default(),
            last_commit: AtomicU64::new(0),
            evidence,
            tracer,
            membership: None,
        }
    }

    /// Lets every block tell the network who may connect.
    pub fn with_membership(mut self, membership: Option<Membership>) -> Self {
        self.membership = membership;
        self
    }

    /// Proof of misbehaviour that this node has seen.
    pub const fn evidence(&self) -> &EvidenceBook {
        &self.evidence
    }

    /// Tells the newest executed height.
    pub fn executed(&self) -> watch::Receiver<Height> {
        self.executed.subscribe()
    }

    /// Where the engine stood after its last step.
    pub fn engine_status(&self) -> Option<Status> {
        self.recorder.lock().status().cloned()
    }

    /// What has been recorded, to explain it.
    pub fn recorded(&self) -> Recorder {
        self.recorder.lock().clone()
    }

    /// Milliseconds since the last commit of this process.
    pub fn last_commit_age_ms(&self) -> Option<Millis> {
        match self.last_commit.load(Ordering::Relaxed) {
            0 => None,
            at => Some((clock::mono_ms() + 1).saturating_sub(at)),
        }
    }

    fn committed(&self, committed: &Committed<'_>) {
        self.last_commit.store(clock::mono_ms() + 1, Ordering::Relaxed);
        let head = committed.head;
        self.record(committed);
        self.trace(committed);
        if let Some(membership) = &self.membership {
            membership.refresh(&self.network);
        }
        self.network.announce_head(head.height().0, head.hash());
        let block = head.block.block();
        self.metrics.block(&BlockStats {
            height: head.height().0,
            finalized: head.height().0,
            timestamp_ms: block.header.timestamp_ms,
            transactions: committed.receipts.len() as u64,
            skipped: (block.transactions.len() - committed.receipts.len()) as u64,
            gas_used: head.outcome.gas_used,
            size_bytes: block.transactions.iter().map(|t| t.len() as u64).sum(),
            round: head.certificate.as_ref().map_or(0, |c| c.round.0),
            commit_latency: committed.latency,
            execution: Some(committed.took),
            ran_ahead: self.chain.executor.ran_ahead(),
        });
        let view = Arc::new(self.chain.view_of(head, &committed.receipts));
        self.chain.newest.push(Arc::clone(&view));
        self.hub.block(BlockEvent::new(view, Arc::clone(&committed.receipts)));
        self.executed.send_replace(head.height());
    }
}

impl NodeEvents {
    fn trace(&self, committed: &Committed<'_>) {
        let Some(tracer) = &self.tracer else { return };
        let header = committed.head.block.header();
        let block = traces::Block {
            height: header.height,
            round: committed.head.certificate.as_ref().map(|c| c.round).unwrap_or_default(),
            proposer: header.proposer,
            known_for: committed.latency,
            age: clock::wall().saturating_sub(Duration::from_millis(header.timestamp_ms)),
            took: committed.took,
            receipts: &committed.receipts,
        };
        tracer.committed(clock::mono(), &block);
    }

    fn record(&self, committed: &Committed<'_>) {
        let header = committed.head.block.header();
        let round = committed.head.certificate.as_ref().map(|c| c.round).unwrap_or_default();
        // Of a block that was voted on here and did not have to be proposed again, the time tells something of the clocks.
        let fresh = committed.latency.is_some() && round == header.first_round;
        let lag = || i64::try_from(clock::wall_ms()).ok()?.checked_sub(i64::try_from(header.timestamp_ms).ok()?);
        let lag = if fresh { lag() } else { None };
        self.recorder.lock().executed(clock::mono_ms(), header.height, round, header.proposer, lag);
    }
}

/// The execution thread's way to [`NodeEvents`].
pub(super) fn observer(events: Arc<NodeEvents>) -> Observer {
    Box::new(move |committed| events.committed(committed))
}

impl Events for NodeEvents {
    fn forkchoice(&self, head: B256, _finalized: B256) {
        tracing::debug!(%head, "final");
    }

    fn evidence(&self, evidence: &Evidence<SignedMessage>) {
        let set = self.chain.sets.at(evidence.height);
        let Some(proof) = set.and_then(|set| equivocation(evidence, &set)) else { return };
        let (validator, height, round) = (proof.key, evidence.height, evidence.round);
        match self.evidence.add(proof) {
            Ok(true) => tracing::error!(
                %validator, %height, %round,
                "a validator has contradicted itself; the two signed messages are kept as evidence"
            ),
            Ok(false) => {
                tracing::debug!(%validator, %height, %round, "evidence that is known, or that there is no room for")
            }
            Err(e) => tracing::error!(
                %validator, %height, %round, "a validator has contradicted itself; the evidence could not be kept on disk: {e}"
            ),
        }
    }

    fn bad_message(&self, sender: &PublicKey, reason: &str) {
        tracing::warn!(%sender, "consensus message refused: {reason}");
        if let Some(peer) = self.network.peer_of_validator(sender) {
            self.network.report_peer(peer, Offence::Invalid, reason);
        }
    }

    fn stepped(&self, status: Status) {
        self.metrics.round(status.round.0);
        let left_round = self.recorder.try_lock().is_some_and(|mut r| r.stepped(clock::mono_ms(), status));
        if left_round {
            self.metrics.round_changed();
        }
    }

    fn heard(&self, sender: &PublicKey) {
        if let Some(mut recorder) = self.recorder.try_lock() {
            recorder.heard(clock::mono_ms(), sender);
        }
    }

    fn judged(&self, block: &SealedBlock, judged: &Result<(), BlockError>) {
        let Err(e) = judged else { return };
        let (height, proposer) = (block.height(), block.header().proposer);
        if matches!(e, BlockError::NotNext { head, .. } if height <= *head) {
            tracing::debug!(%height, "decided before it was judged here");
            return;
        }
        let ahead_ms = match e {
            BlockError::Early { ahead_ms } => {
                tracing::warn!(%height, "proposal not voted for yet: {e}");
                Some(*ahead_ms)
            }
            _ => {
                tracing::warn!(%height, hash = %block.hash(), "invalid proposal: {e}");
                None
            }
        };
        self.recorder.lock().refused(Refused { height, proposer, ahead_ms, reason: e.to_string() });
    }
}

impl IngressEvents for NodeEvents {
    fn admitted(&self, txs: &[Arc<Transaction>]) {
        if self.hub.is_pending_heard() {
            self.hub.pending(txs.to_vec());
        }
    }
}

/// Carries what the network receives to those it is for. Consensus and transactions have a task each, so that neither
/// waits for the other.
pub(super) fn pump(events: NetworkEvents, driver: DriverHandle, ingress: Ingress, network: NetworkHandle) {
    let NetworkEvents { mut consensus, mut transactions, mut peers } = events;
    let (stats, drops) = (network.stats(), network.stats());
    tokio::spawn(async move {
        while let Some(frame) = consensus.recv().await {
            if !driver.message(frame.validator, frame.bytes) {
                // It will be sent again.
                stats.dropped_consensus_in.inc();
            }
        }
    });
    tokio::spawn(async move {
        while let Some(batch) = transactions.recv().await {
            if !ingress.from_peer(batch.id.clone(), batch.transactions) {
                drops.dropped_batches_in.inc();
                network.report_batch(batch.id, BatchVerdict::Ignore);
            }
        }
    });
    tokio::spawn(async move {
        while let Some(event) = peers.recv().await {
            tracing::debug!(?event, "peer");
        }
    });
}

/// How often it is looked whether transactions are to be passed on again.
const REPEAT_LOOK: Duration = Duration::from_secs(1);

/// Passes on again what waits here while no block comes.
pub(super) async fn repeat_transactions(chain: Chain, pool: SharedPool, network: NetworkHandle, driver: DriverHandle) {
    let mut repeater = Repeater::default();
    let mut ticks = tokio::time::interval(REPEAT_LOOK);
    while !network.is_stopped() {
        ticks.tick().await;
        let again = repeater.due(SystemClock.mono(), chain.ledger.head().height(), &pool);
        if !again.is_empty() {
            tracing::info!(count = again.len(), "no block comes: passing waiting transactions on again");
            network.broadcast_transactions(again);
            // This node may be the one that must make the block.
            driver.work();
        }
    }
}

/// Looks once a second whether somebody's time has come, also while no block does.
pub(super) async fn watch_members(membership: Membership, network: NetworkHandle) {
    let mut ticks = tokio::time::interval(SAMPLE_EVERY);
    while !network.is_stopped() {
        ticks.tick().await;
        membership.refresh(&network);
    }
}

/// How often gauges that nobody pushes are read.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// Keeps the gauges up to date that follow from looking, not from events.
pub(super) async fn sample(
    metrics: Arc<Metrics>,
    chain: Chain,
    pool: SharedPool,
    network: NetworkHandle,
    own: Option<PublicKey>,
) {
    let mut ticks = tokio::time::interval(SAMPLE_EVERY);
    loop {
        ticks.tick().await;
        let peers = network.peers();
        metrics.peers(peers.len());
        let (ready, queued, bytes) = {
            let status = pool.lock().status();
            (status.pending, status.queued, status.bytes)
        };
        metrics.mempool(ready, queued, bytes);
        let head = chain.ledger.head().height();
        let claimed = peers.iter().map(|p| p.head.0).max().unwrap_or(0);
        metrics.sync_behind(claimed.saturating_sub(head.0));
        let set = chain.sets.at_known(head.next());
        let online =
            |v: &&Validator| own == Some(v.public_key) || peers.iter().any(|p| p.validator == Some(v.public_key));
        let power = set.remaining().map(|(_, v)| v).filter(online).map(|v| v.power).sum();
        metrics.validators(set.len(), power);
        if network.is_stopped() {
            return;
        }
    }
}
