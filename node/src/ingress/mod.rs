//! Where transactions come in, from RPC and from peers: decode, verify in batches, admit to the mempool, pass on.
//!
//! Signatures are checked before anything else costs memory: what waits here are bounded queues of encoded bytes. What came
//! first is admitted first; while one batch is admitted, the signatures of the next are checked, on all processors. All of it
//! gives way to consensus and to the answers of reads ([`NICE`]).

mod admission;
mod repeat;

use std::{sync::Arc, thread};

use basalt_primitives::{B256, Bytes, Transaction, system::permission::Role};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use futures::{FutureExt as _, channel::oneshot, future::BoxFuture};

pub use self::{
    admission::{Admission, Admitted, Checked},
    repeat::Repeater,
};
use crate::{
    driver::runtime::DriverHandle,
    mempool::{Journal, Origin},
    monitor::traces::{Arrival, Source, Steps, Taken, Tracer},
    network::{BatchId, BatchVerdict, NetworkHandle},
    rpc::ports::{SubmitError, TxSubmitter},
};

/// Batches waiting from RPC: beyond this the caller is told to try again.
const RPC_QUEUE: usize = 512;
/// Batches waiting from peers: beyond this they are dropped; their senders keep them.
const PEER_QUEUE: usize = 512;
/// Transactions verified together at most.
const BATCH: usize = 1024;
/// Batches that are being checked or wait to be admitted, ahead of the one that is: enough that no processor waits.
const AHEAD: usize = 2;

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
    stop: Sender<()>,
    traced: bool,
    network: NetworkHandle,
}

/// What the ingress threads work with.
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
    /// Starts the threads; they end at [`Self::stop`] or when every clone of the ingress is gone.
    pub fn start(parts: Parts) -> std::io::Result<Self> {
        let (rpc, rpc_in) = bounded(RPC_QUEUE);
        let (peers, peers_in) = bounded(PEER_QUEUE);
        let traced = parts.tracer.is_some();
        let network = parts.network.clone();
        let helpers = rayon::ThreadPoolBuilder::new()
            .thread_name(|n| format!("ingress-{n}"))
            .start_handler(|_| stand_back())
            // Our bug, but it must not cost the node its life, only the batch; the hook has printed the message.
            .panic_handler(|_| {
                tracing::error!("checking a batch of transactions panicked and the batch is dropped; report it")
            })
            .build()
            .map_err(std::io::Error::other)?;
        let (ahead, in_order) = bounded(AHEAD);
        let admission = parts.admission.clone();
        let (stop, stopped) = bounded(1);
        let gather = move || gather(&admission, &helpers, &Queues { rpc: rpc_in, peers: peers_in, stopped }, &ahead);
        thread::Builder::new().name("gather".into()).spawn(gather)?;
        let admit = move || {
            stand_back();
            admit(parts, &in_order);
        };
        thread::Builder::new().name("ingress".into()).spawn(admit)?;
        Ok(Self { rpc, peers, stop, traced, network })
    }

    /// Ends the threads. What waits in the queues is not taken; whoever handed it in by RPC hears that the node is stopping.
    pub fn stop(&self) {
        // Full: it has been said before.
        let _ = self.stop.try_send(());
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

    /// That a batch comes now, if anybody wants to know.
    fn arrival(&self) -> Option<Arrival> {
        self.traced.then(|| Arrival::now(None))
    }
}

impl TxSubmitter for Ingress {
    fn submit(&self, raw: Vec<Bytes>, arrival: Option<Arrival>) -> BoxFuture<'static, Answer> {
        let count = raw.len();
        let unavailable = move |why: &str| (0..count).map(|_| Err(SubmitError::Unavailable(why.to_owned()))).collect();
        if self.network.own_role() == Some(Role::Observer) {
            let why = "this node is an observer of its network and passes no transactions on; send them to a gateway, or to another \
                       full node";
            return futures::future::ready(unavailable(why)).boxed();
        }
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

/// How a batch came.
type Came = (From, Option<Arrival>);
/// Batches on their way: how they came, and where they come out when their signatures are checked.
type Underway = (Vec<Came>, Receiver<Checked>);

/// Where batches come from.
struct Queues {
    rpc: Receiver<Batch>,
    peers: Receiver<Batch>,
    stopped: Receiver<()>,
}

/// Takes batches from both queues and has them checked; hands them on in the order in which they came.
fn gather(admission: &Admission, helpers: &rayon::ThreadPool, queues: &Queues, ahead: &Sender<Underway>) {
    let Queues { rpc, peers, stopped } = queues;
    while stopped.is_empty() {
        // Both queues in turn; whoever floods one does not starve the other.
        let first = crossbeam_channel::select! {
            recv(rpc) -> b => b,
            recv(peers) -> b => b,
            recv(stopped) -> _ => return,
        };
        let Ok(first) = first else { return };
        let mut count = first.raws.len();
        let mut batches = vec![first];
        while count < BATCH {
            let Some(more) = rpc.try_recv().ok().or_else(|| peers.try_recv().ok()) else { break };
            count += more.raws.len();
            batches.push(more);
        }
        let (raws, origins): (Vec<_>, Vec<_>) =
            batches.into_iter().map(|b| ((b.raws, b.from.origin()), (b.from, b.arrival))).unzip();
        let (done, checked) = bounded(1);
        let admission = admission.clone();
        helpers.spawn(move || drop(done.send(admission.check(raws))));
        if ahead.send((origins, checked)).is_err() {
            return;
        }
    }
}

fn admit(mut parts: Parts, in_order: &Receiver<Underway>) {
    for (origins, checked) in in_order {
        // Nothing comes of a batch whose check panicked: its callers hear that it was not taken.
        if let Ok(checked) = checked.recv() {
            parts.take(checked, origins);
        }
    }
}

impl Parts {
    fn take(&mut self, checked: Checked, came: Vec<Came>) {
        let (admitted, steps) = self.admission.admit_checked(checked);
        if let Some(tracer) = &self.tracer {
            trace(tracer, steps, &admitted, &came);
        }
        let origins: Vec<From> = came.into_iter().map(|(from, _)| from).collect();
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
fn trace(tracer: &Tracer, steps: Steps, admitted: &[Vec<Admitted>], came: &[Came]) {
    for (results, (from, arrival)) in admitted.iter().zip(came) {
        let source = match from {
            From::Rpc(_) => Source::Rpc,
            From::Peer(_) => Source::Peer,
            From::Journal { .. } => Source::Journal,
        };
        let taken = results.iter().map(|r| Taken { source, arrival: *arrival, result: r.as_ref().map(|tx| tx.hash()) });
        tracer.taken(steps, taken);
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
