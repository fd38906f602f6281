//! Starts the side of a node that runs proof of work, and keeps what others ask of it.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use basalt_consensus::Alarm;
use basalt_pow::Pow;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{
    chain::Chain,
    clock::SharedClock,
    config::NodeConfig,
    driver::{Fatal, executor::Worker, runtime::Mailbox},
    ingress::Ingress,
    keys,
    miner::Miner,
    monitor::Metrics,
    network::{BatchVerdict, NetworkEvents, NetworkHandle, PeerEvent},
    pow::{
        check::Checker,
        peers::PeerNumbers,
        records::{self, Records},
        runtime::{self, Picture, PowHandle, Watches},
        sealing,
    },
    sync::{Fetcher, Progress},
};

/// What is known of the engine and its miner. Cheap to clone as an `Arc`.
pub(crate) struct PowState {
    picture: Mutex<Option<Picture>>,
    /// The miner.
    pub miner: Arc<Miner>,
    /// The engine's inputs.
    pub handle: PowHandle,
    progress: watch::Sender<Progress>,
    chain: Chain,
    metrics: Arc<Metrics>,
}

impl PowState {
    /// The engine as it stood a moment ago.
    pub fn picture(&self) -> Option<Picture> {
        self.picture.lock().clone()
    }
}

impl Watches for PowState {
    fn stepped(&self, picture: Picture) {
        let head = self.chain.ledger.head().height();
        let target = picture.status.best_header.max(head);
        // A block or two are on their way at any time.
        let behind = target.0.saturating_sub(head.0) > 2;
        self.progress.send_if_modified(|p| {
            let syncing = behind.then(|| (p.syncing.map_or(head, |(start, _)| start), target));
            std::mem::replace(&mut p.syncing, syncing) != syncing
        });
        self.metrics.work(self.miner.hashrate(), picture.status.next_target);
        *self.picture.lock() = Some(picture);
    }

    fn alarm(&self, alarm: &Alarm) {
        let Alarm::DeepBranch { tip, height, ancestor, ancestor_height } = alarm;
        tracing::error!(
            %tip, %height, %ancestor, %ancestor_height,
            "ALARM: a branch with more work leaves this node's chain below what is final and is refused; ask other operators which \
             chain is right (consensus_explain)"
        );
    }
}

/// What the side is started with.
pub(super) struct Start<'a> {
    pub config: &'a NodeConfig,
    pub chain: &'a Chain,
    pub clock: &'a SharedClock,
    pub network: &'a NetworkHandle,
    pub fetcher: Fetcher,
    pub worker: Worker,
    pub progress: watch::Sender<Progress>,
    pub metrics: &'a Arc<Metrics>,
    pub mailbox: Mailbox,
}

/// The engine's thread, what is known of it, and what looks at frames.
pub(super) struct Started {
    pub thread: std::thread::JoinHandle<Result<(), Fatal>>,
    pub state: Arc<PowState>,
    pub checker: Checker,
}

/// Final headers that the engine keeps.
const MARGIN: u64 = basalt_pow::Config::DEFAULT_MARGIN;

/// Starts the engine, its miner and what goes with them.
pub(super) fn start(start: Start<'_>) -> anyhow::Result<Started> {
    let Start { config, chain, clock, network, fetcher, worker, progress, metrics, mailbox } = start;
    let (Some(params), Some(sealing)) = (chain.spec.pow(), sealing(&chain.spec)) else {
        bail!("this chain has no proof of work");
    };
    let (records, found) = Records::open(&config.data_dir, chain)?;
    let nonce = u64::from_be_bytes(keys::random::<8>()?);
    let restored = records::restored(chain, sealing, MARGIN, found, nonce)?;
    let (handle, pow_mailbox) = runtime::mailbox();
    let miner = Miner::new(sealing, config.miner.beneficiary, Arc::clone(clock), nonce, Box::new(handle.clone()));
    let state = Arc::new(PowState {
        picture: Mutex::default(),
        miner: Arc::clone(&miner),
        handle,
        progress,
        chain: chain.clone(),
        metrics: Arc::clone(metrics),
    });
    let peers = PeerNumbers::default();
    let checker = Checker { chain: chain.clone(), sealing, network: network.clone(), peers: peers.clone() };
    let engine = Pow::new(basalt_pow::Config {
        params: params.clone(),
        sealing,
        genesis: chain.spec.genesis_block(),
        capacity: basalt_pow::Config::DEFAULT_CAPACITY,
        margin: MARGIN,
        mine: false,
    });
    let parts = runtime::Parts {
        chain: chain.clone(),
        clock: Arc::clone(clock),
        engine,
        records,
        network: network.clone(),
        fetcher,
        peers,
        checker: checker.clone(),
        worker,
        miner: Arc::clone(&miner),
        watches: Arc::clone(&state) as _,
    };
    let thread = runtime::start(parts, mailbox, pow_mailbox, restored)?;
    if config.miner.threads > 0 {
        miner.start(config.miner.threads).context("config `miner`")?;
    }
    Ok(Started { thread, state, checker })
}

/// Carries what the network receives to those it is for.
pub(super) fn pump(
    events: NetworkEvents,
    (state, checker): (&PowState, &Checker),
    ingress: Ingress,
    network: NetworkHandle,
) {
    let NetworkEvents { mut consensus, mut transactions, mut peers } = events;
    let (handle, checker) = (state.handle.clone(), checker.clone());
    let (stats, drops) = (network.stats(), network.stats());
    tokio::spawn(async move {
        while let Some(frame) = consensus.recv().await {
            if !handle.frame(frame.peer, frame.bytes) {
                // Heads are announced again.
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
            if let PeerEvent::Connected { peer, .. } = event {
                checker.greet(peer);
            }
        }
    });
}
