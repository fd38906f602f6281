//! Where transactions come in, from RPC and from peers: decode, verify in batches, admit to the mempool, pass on.
//!
//! Signatures are checked before anything else costs memory: what waits here are bounded queues of encoded bytes. One thread
//! decides, so that what came first is judged first; the signatures of a batch are checked on all processors. All of it gives
//! way to consensus and to the answers of reads ([`NICE`]).

use std::{collections::HashMap, sync::Arc, thread, time::Duration};

use basalt_primitives::{
    Address, B256, Bytes, Height, Transaction, ValidatorSet,
    tx::{self, TxError, Unverified},
};
use basalt_storage::Reader as _;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use futures::{FutureExt as _, channel::oneshot, future::BoxFuture};

use crate::{
    chain::Chain,
    clock::SharedClock,
    driver::runtime::DriverHandle,
    mempool::{AccountView, Journal, Lane, Origin, PoolContext, PoolError, SharedPool, is_system_contract},
    monitor::traces::{Arrival, Source, Steps, Taken, Tracer},
    network::{BatchId, BatchVerdict, NetworkHandle},
    proposer,
    rpc::ports::{SubmitError, TxSubmitter},
};

/// Batches waiting from RPC: beyond this the caller is told to try again.
const RPC_QUEUE: usize = 512;
/// Batches waiting from peers: beyond this they are dropped; their senders keep them.
const PEER_QUEUE: usize = 512;
/// Transactions verified together at most.
const BATCH: usize = 1024;

/// How far these threads stand back (nice value): beside work at 0 they get about a third of a processor. New transactions can
/// wait; votes and clients that read cannot.
const NICE: i32 = 5;

/// Told of what came in.
pub trait IngressEvents: Send + Sync {
    /// These transactions are new in the mempool.
    fn admitted(&self, txs: &[Arc<Transaction>]);
}

type Answer = Vec<Result<B256, SubmitError>>;

struct Batch {
    raws: Vec<Bytes>,
    from: From,
    /// When it came; only while transactions are traced.
    arrival: Option<Arrival>,
}

enum From {
    Rpc(oneshot::Sender<Answer>),
    Peer(BatchId),
    /// They came by RPC before the node was restarted.
    Journal {
        /// Whether nothing of the journal comes after these.
        last: bool,
    },
}

impl From {
    fn origin(&self) -> Origin {
        match self {
            Self::Rpc(_) | Self::Journal { .. } => Origin::Local,
            Self::Peer(id) => Origin::Peer(id.peer_number()),
        }
    }
}

/// The way in.
#[derive(Clone)]
pub struct Ingress {
    rpc: Sender<Batch>,
    peers: Sender<Batch>,
    traced: bool,
}

/// Decides what enters the mempool.
#[derive(Clone)]
pub struct Admission {
    /// The chain.
    pub chain: Chain,
    /// The mempool.
    pub pool: SharedPool,
    /// When transactions came.
    pub clock: SharedClock,
}

/// What the ingress thread works with.
pub struct Parts {
    /// Decodes, verifies, admits.
    pub admission: Admission,
    /// To pass on what came by RPC, and to judge what came from peers.
    pub network: NetworkHandle,
    /// To say that there is work.
    pub driver: DriverHandle,
    /// Told of what came in.
    pub events: Arc<dyn IngressEvents>,
    /// Where what came by RPC is written down; `None`: nowhere.
    pub journal: Option<Journal>,
    /// Follows some of the transactions; `None`: none.
    pub tracer: Option<Arc<Tracer>>,
}

impl Ingress {
    /// Starts the thread; it ends when every clone of the ingress is gone.
    pub fn start(parts: Parts) -> std::io::Result<Self> {
        let (rpc, rpc_in) = bounded(RPC_QUEUE);
        let (peers, peers_in) = bounded(PEER_QUEUE);
        let traced = parts.tracer.is_some();
        let helpers = rayon::ThreadPoolBuilder::new()
            .thread_name(|n| format!("ingress-{n}"))
            .start_handler(|_| stand_back())
            .build()
            .map_err(std::io::Error::other)?;
        let take = move || {
            stand_back();
            run(parts, &helpers, &rpc_in, &peers_in);
        };
        thread::Builder::new().name("ingress".into()).spawn(take)?;
        Ok(Self { rpc, peers, traced })
    }

    /// Takes in what the journal kept, and then writes the journal anew with what still waits: what has found its way into a
    /// block meanwhile is refused as usual. Blocks while the queue is full.
    pub fn replay(&self, raws: &[Bytes]) {
        let mut chunks = raws.chunks(BATCH).peekable();
        while let Some(chunk) = chunks.next() {
            let from = From::Journal { last: chunks.peek().is_none() };
            if self.rpc.send(Batch { raws: chunk.to_vec(), from, arrival: self.arrival() }).is_err() {
                // The node is stopping; the journal stays as it is.
                return;
            }
        }
    }

    /// Takes a batch of a peer; false when the queue is full and it was dropped.
    #[must_use]
    pub fn from_peer(&self, id: BatchId, raws: Vec<Bytes>) -> bool {
        self.peers.try_send(Batch { raws, from: From::Peer(id), arrival: self.arrival() }).is_ok()
    }
}

impl Ingress {
    /// That a batch comes now, if anybody wants to know.
    fn arrival(&self) -> Option<Arrival> {
        self.traced.then(|| Arrival::now(None))
    }
}

impl TxSubmitter for Ingress {
    fn submit(&self, raw: Vec<Bytes>, arrival: Option<Arrival>) -> BoxFuture<'static, Answer> {
        let count = raw.len();
        let unavailable = move |why: &str| (0..count).map(|_| Err(SubmitError::Unavailable(why.to_owned()))).collect();
        let (answer, result) = oneshot::channel();
        let arrival = arrival.or_else(|| self.arrival());
        match self.rpc.try_send(Batch { raws: raw, from: From::Rpc(answer), arrival }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                let answer = unavailable("the node is busy with transactions; send them again in a moment");
                return futures::future::ready(answer).boxed();
            }
            Err(TrySendError::Disconnected(_)) => {
                return futures::future::ready(unavailable("the node is stopping")).boxed();
            }
        }
        async move { result.await.unwrap_or_else(|_| unavailable("the node is stopping")) }.boxed()
    }
}

/// Lowers the priority of this thread. Where that is not allowed it stays as it is: only the order of work changes.
fn stand_back() {
    if let Err(e) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!("the priority of a thread could not be lowered: {e}");
    }
}

fn run(mut parts: Parts, helpers: &rayon::ThreadPool, rpc: &Receiver<Batch>, peers: &Receiver<Batch>) {
    let mut batches = Vec::new();
    loop {
        // Both queues in turn; whoever floods one does not starve the other.
        let first = crossbeam_channel::select! {
            recv(rpc) -> b => b,
            recv(peers) -> b => b,
        };
        let Ok(first) = first else { return };
        batches.push(first);
        let mut count = batches[0].raws.len();
        while count < BATCH {
            let Some(more) = rpc.try_recv().ok().or_else(|| peers.try_recv().ok()) else { break };
            count += more.raws.len();
            batches.push(more);
        }
        let batches = std::mem::take(&mut batches);
        helpers.install(|| parts.take(batches));
    }
}

impl Parts {
    fn take(&mut self, batches: Vec<Batch>) {
        let arrivals: Vec<_> = batches.iter().map(|b| b.arrival).collect();
        let (raws, origins): (Vec<_>, Vec<_>) =
            batches.into_iter().map(|b| ((b.raws, b.from.origin()), b.from)).unzip();
        let (admitted, steps) = self.admission.admit_from(raws);
        if let Some(tracer) = &self.tracer {
            trace(tracer, steps, &admitted, &origins, &arrivals);
        }
        let taken = |keep: fn(&From) -> bool| -> Vec<Arc<Transaction>> {
            let batches = admitted.iter().zip(&origins).filter(|(_, from)| keep(from));
            batches.flat_map(|(results, _)| results.iter().flatten()).cloned().collect()
        };
        // Written down before anyone is told that they were taken.
        self.write_down(&taken(|f| matches!(f, From::Rpc(_))));
        if origins.iter().any(|f| matches!(f, From::Journal { last: true })) {
            self.rewrite_journal();
        }
        let (fresh, own) = (taken(|_| true), taken(|f| !matches!(f, From::Peer(_))));
        for (results, from) in admitted.into_iter().zip(origins) {
            match from {
                From::Journal { .. } => {}
                // The caller may have gone; its transactions stay.
                From::Rpc(answer) => drop(answer.send(results.into_iter().map(|r| r.map(|tx| tx.hash())).collect())),
                From::Peer(id) => self.network.report_batch(id, verdict(&results)),
            }
        }
        if !own.is_empty() {
            self.network.broadcast_transactions(own.iter().map(|tx| tx.raw().clone()).collect());
        }
        if !fresh.is_empty() {
            self.events.admitted(&fresh);
            self.driver.work();
        }
    }

    fn write_down(&mut self, own: &[Arc<Transaction>]) {
        if own.is_empty() {
            return;
        }
        self.with_journal(|journal| journal.append(own.iter().map(|tx| tx.raw())));
        if self.journal.as_ref().is_some_and(Journal::is_long) {
            self.rewrite_journal();
        }
    }

    fn rewrite_journal(&mut self) {
        let waiting = self.admission.pool.lock().local();
        self.with_journal(|journal| journal.rewrite(waiting.iter().map(|tx| tx.raw())));
    }

    /// A journal that cannot be written costs only itself: transactions go on as without it.
    fn with_journal(&mut self, act: impl FnOnce(&mut Journal) -> std::io::Result<()>) {
        if let Some(Err(e)) = self.journal.as_mut().map(act) {
            tracing::error!(
                "the mempool's journal cannot be written and is given up until the node is restarted: {e}; see to the disk and its \
                 permissions"
            );
            self.journal = None;
        }
    }
}

/// Tells of the transactions of some batches, each with how it came.
fn trace(tracer: &Tracer, steps: Steps, admitted: &[Vec<Admitted>], origins: &[From], arrivals: &[Option<Arrival>]) {
    for ((results, from), arrival) in admitted.iter().zip(origins).zip(arrivals) {
        let source = match from {
            From::Rpc(_) => Source::Rpc,
            From::Peer(_) => Source::Peer,
            From::Journal { .. } => Source::Journal,
        };
        let taken = results.iter().map(|r| Taken { source, arrival: *arrival, result: r.as_ref().map(|tx| tx.hash()) });
        tracer.taken(steps, taken);
    }
}

/// What became of one transaction.
pub type Admitted = Result<Arc<Transaction>, SubmitError>;

impl Admission {
    /// Decodes, verifies and admits batches of encoded transactions, all signatures together; answers in the same places.
    pub fn admit(&self, batches: Vec<Vec<Bytes>>) -> Vec<Vec<Admitted>> {
        self.admit_from(batches.into_iter().map(|raws| (raws, Origin::Local)).collect()).0
    }

    /// As [`Self::admit`], each batch with who brought it; and when each step was done.
    pub fn admit_from(&self, batches: Vec<(Vec<Bytes>, Origin)>) -> (Vec<Vec<Admitted>>, Steps) {
        let taken = self.clock.mono();
        let (mut unverified, mut origins) = (Vec::new(), Vec::new());
        // Per batch and transaction: refused at once, or the place in `unverified`.
        let places: Vec<Vec<Result<usize, SubmitError>>> = batches
            .into_iter()
            .map(|(raws, origin)| {
                let places = raws.into_iter().map(|raw| self.decode(raw, &mut unverified)).collect();
                origins.resize(unverified.len(), origin);
                places
            })
            .collect();
        let decoded = self.clock.mono();
        let verified = tx::verify_all(unverified);
        let checked = self.clock.mono();
        let admitted = self.insert_verified(verified, &origins);
        let steps = Steps { taken, decoded, verified: checked, admitted: self.clock.mono() };
        let look_up = |place: Result<usize, SubmitError>| place.and_then(|i| admitted[i].clone());
        (places.into_iter().map(|batch| batch.into_iter().map(look_up).collect()).collect(), steps)
    }

    fn decode(&self, raw: Bytes, into: &mut Vec<Unverified>) -> Result<usize, SubmitError> {
        let spec = &self.chain.spec;
        let tx = basalt_proto::tx::decode(raw, spec.chain_id, spec.hash_fn)?;
        if self.pool.lock().contains(&tx.hash()) {
            return Err(PoolError::AlreadyKnown.into());
        }
        into.push(tx);
        Ok(into.len() - 1)
    }

    /// A validator's call of a system contract has a lane of its own.
    fn lane(tx: &Transaction, validators: Option<&ValidatorSet>) -> Lane {
        let to_system = tx.payload().to().is_some_and(|to| is_system_contract(&to));
        // Deriving addresses costs hashes, and hardly anything goes to system contracts.
        let by_validator = || validators.is_some_and(|set| set.as_slice().iter().any(|v| v.address() == tx.sender()));
        if to_system && by_validator() { Lane::System } else { Lane::Normal }
    }

    /// Admits transactions of this node itself whose signatures are checked, or that need none; answers in the same places.
    pub fn insert_own(&self, txs: Vec<Transaction>) -> Vec<Admitted> {
        let origins = vec![Origin::Local; txs.len()];
        self.insert_verified(txs.into_iter().map(Ok).collect(), &origins)
    }

    fn insert_verified(&self, verified: Vec<Result<Transaction, TxError>>, origins: &[Origin]) -> Vec<Admitted> {
        let state = self.chain.ledger.snapshot();
        let head = state.head();
        let header = head.block.header();
        let context = PoolContext {
            next_height: header.height.next(),
            base_fee: proposer::next_base_fee(&self.chain.spec, &head),
            gas_limit: self.chain.next_gas_limit(&head),
            fork: self.chain.spec.fork_at(header.height.next()),
            now_ms: self.clock.wall_ms(),
        };
        // Many of a batch have the same sender.
        let mut accounts: HashMap<Address, AccountView> = HashMap::new();
        let mut account = |address: Address| -> Result<AccountView, SubmitError> {
            if let Some(known) = accounts.get(&address) {
                return Ok(*known);
            }
            let a = state.account(&address).map_err(|e| {
                tracing::error!("the ledger could not be read: {e}");
                SubmitError::Unavailable("the ledger could not be read; see the node's log".into())
            })?;
            let a = a.unwrap_or_default();
            Ok(*accounts.entry(address).or_insert(AccountView { nonce: a.nonce, balance: a.balance }))
        };
        let with_accounts: Vec<_> = verified
            .into_iter()
            .map(|tx| {
                let tx = tx?;
                let account = account(tx.sender())?;
                Ok((tx, account))
            })
            .collect();
        let validators = self.chain.sets.at(context.next_height);
        let mut pool = self.pool.lock();
        with_accounts
            .into_iter()
            .zip(origins)
            .map(|(r, origin): (Result<_, SubmitError>, _)| {
                let (tx, account) = r?;
                let lane = Self::lane(&tx, validators.as_deref());
                Ok(pool.insert_from(tx, account, &context, lane, *origin)?.tx)
            })
            .collect()
    }
}

/// How long a transaction waits without any block coming before it is passed on again; doubles up to [`REPEAT_CAP`].
const REPEAT_AFTER: Duration = Duration::from_secs(6);
/// The longest wait.
const REPEAT_CAP: Duration = Duration::from_secs(60);
/// Bytes passed on again at once: one batch.
const REPEAT_BYTES: usize = 64 << 10;

/// Passes transactions on again. Gossip may have lost them (a node that was cut off, a full queue); then only this node sees a
/// reason for a block, and one node's word moves nobody: without this, they would wait for ever in a network that has nothing
/// else to do.
#[derive(Clone, Copy, Debug)]
pub struct Repeater {
    head: Height,
    since: Duration,
    wait: Duration,
}

impl Default for Repeater {
    fn default() -> Self {
        Self { head: Height::GENESIS, since: Duration::ZERO, wait: REPEAT_AFTER }
    }
}

impl Repeater {
    /// What to pass on again at `now` (monotonic), with the chain at `head`; mostly nothing.
    pub fn due(&mut self, now: Duration, head: Height, pool: &SharedPool) -> Vec<Bytes> {
        if head != self.head || pool.lock().work_since_ms().is_none() {
            *self = Self { head, since: now, wait: REPEAT_AFTER };
            return Vec::new();
        }
        if now.saturating_sub(self.since) < self.wait {
            return Vec::new();
        }
        (self.since, self.wait) = (now, (self.wait * 2).min(REPEAT_CAP));
        pool.lock().waiting(REPEAT_BYTES)
    }
}

/// What a peer's batch was worth. What no honest node passes on counts against the peer; what only the state refuses does
/// not.
fn verdict(results: &[Admitted]) -> BatchVerdict {
    if results.iter().any(|r| matches!(r, Err(SubmitError::Tx(_)))) {
        BatchVerdict::Invalid
    } else if results.iter().any(Result::is_ok) {
        BatchVerdict::Relay
    } else {
        BatchVerdict::Ignore
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mempool::{MempoolConfig, test_util};

    const fn at(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn what_no_block_takes_is_passed_on_again_ever_more_seldom() {
        assert!(REPEAT_AFTER > crate::network::DUPLICATES_FOR, "else gossip takes it for a duplicate");
        let pool = SharedPool::new(MempoolConfig::default());
        let mut repeater = Repeater::default();
        assert!(repeater.due(at(100), Height(1), &pool).is_empty(), "nothing waits");
        let tx = test_util::sign(1, test_util::transfer(0));
        let raw = tx.raw().clone();
        let context = PoolContext {
            next_height: Height(2),
            base_fee: 0,
            gas_limit: 30_000_000,
            fork: basalt_primitives::chainspec::EvmFork::Osaka,
            now_ms: 1,
        };
        let account = AccountView { nonce: 0, balance: alloy_primitives::U256::MAX };
        pool.lock().insert(tx, account, &context).expect("admitted");
        assert!(repeater.due(at(105), Height(1), &pool).is_empty(), "it may still come by itself");
        assert_eq!(repeater.due(at(106), Height(1), &pool), std::slice::from_ref(&raw));
        assert!(repeater.due(at(117), Height(1), &pool).is_empty());
        assert_eq!(repeater.due(at(118), Height(1), &pool), std::slice::from_ref(&raw));
        assert!(repeater.due(at(200), Height(2), &pool).is_empty(), "blocks come: its turn comes too");
        assert_eq!(repeater.due(at(206), Height(2), &pool), [raw], "and the wait begins anew");
    }
}
