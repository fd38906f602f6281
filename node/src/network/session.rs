//! The tasks of one peer: Hello on a new connection, then head announcements and consensus frames on streams of their
//! own, each way one.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use basalt_primitives::Bytes;
use basalt_proto::Codec as _;
use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::{PeerId, Stream};
use tokio::{
    sync::Semaphore,
    time::{sleep, timeout},
};

use super::{
    error::RequestError,
    frame::{self, FrameError},
    limit::Bucket,
    peers::Peer,
    shared::{ConsensusFrame, Context, Offence, PeerEvent},
    wire::{self, Hello, HelloRefused, MAX_CONTROL_FRAME},
};

/// How long the rest of a begun frame may take, and how long one write may.
const FRAME_DEADLINE: Duration = Duration::from_secs(10);
/// Pause before a broken stream is opened again.
const REOPEN: Duration = Duration::from_millis(200);
/// Pause when the peer does not speak the protocol.
const UNSUPPORTED: Duration = Duration::from_secs(30);
/// Heads are announced at most so often.
const HEAD_PAUSE: Duration = Duration::from_millis(50);
/// Head announcements taken from a peer per second, and at once.
const HEADS: (f64, f64) = (25.0, 100.0);
/// Consensus frames taken from a peer that need not be a validator, per second and at once.
const OPEN_FRAMES: (f64, f64) = (100.0, 400.0);
/// How long two peers that do not go together may take to part.
const PARTING: Duration = Duration::from_secs(1);
/// The unit of the memory budget of received consensus frames.
const BUDGET_UNIT: usize = 1024;

/// Why a Hello did not lead to a connection.
#[derive(Debug)]
pub(super) enum HelloFailure {
    /// The connection broke or was too slow.
    Broken(String),
    /// Not a Hello.
    Garbage(String),
    /// A Hello we do not go along with.
    Refused(HelloRefused),
}

impl From<FrameError> for HelloFailure {
    fn from(e: FrameError) -> Self {
        if e.is_offence() { Self::Garbage(e.to_string()) } else { Self::Broken(e.to_string()) }
    }
}

/// Exchanges Hellos: both speak at once, both judge.
pub(super) async fn hello(
    context: &Context,
    peer: PeerId,
    blank: bool,
    mut stream: Stream,
) -> Result<Hello, HelloFailure> {
    let deadline = context.shared.config.hello_timeout;
    let ours = context.hello(blank).encode();
    frame::write_frame(&mut stream, &ours, deadline).await?;
    frame::flush(&mut stream, deadline).await?;
    context.shared.stats.control.sent(ours.len());
    let bytes = frame::read_frame(&mut stream, MAX_CONTROL_FRAME, deadline).await?;
    context.shared.stats.control.received(bytes.len());
    let theirs = Hello::decode(bytes).map_err(|e| HelloFailure::Garbage(e.to_string()))?;
    let judgement = wire::judge_hello(&theirs, &context.genesis, &peer);
    // A clean end is a courtesy; the Hello counts without it.
    let _ = timeout(PARTING, stream.close()).await;
    if let Err(reason) = judgement {
        // Let the other side read our Hello before the connection goes, so that it can say why, too.
        let _ = timeout(PARTING, stream.read(&mut [0])).await;
        return Err(HelloFailure::Refused(reason));
    }
    Ok(theirs)
}

/// The dialler's side: opens the stream, then exchanges Hellos.
pub(super) async fn hello_out(
    context: &Context,
    peer: PeerId,
    blank: bool,
    stream: tokio::sync::oneshot::Receiver<Result<Stream, RequestError>>,
) -> Result<Hello, HelloFailure> {
    match stream.await {
        Ok(Ok(stream)) => hello(context, peer, blank, stream).await,
        Ok(Err(RequestError::Unsupported)) => Err(HelloFailure::Garbage("it is not a Basalt node".into())),
        Ok(Err(e)) => Err(HelloFailure::Broken(e.to_string())),
        Err(_) => Err(HelloFailure::Broken("the connection closed".into())),
    }
}

/// Opens a stream, again and again until it succeeds. Ends only with the connection (the task is then dropped).
async fn open(context: &Context, peer: &Peer, protocol: &libp2p::StreamProtocol) -> Stream {
    loop {
        match context.shared.open(peer.id, protocol.clone()).await {
            Ok(stream) => return stream,
            Err(RequestError::Unsupported) => sleep(UNSUPPORTED).await,
            Err(_) => sleep(REOPEN).await,
        }
    }
}

/// Announces our head to a peer, always only the newest.
pub(super) async fn announce_heads(context: Arc<Context>, peer: Arc<Peer>) {
    let mut head = context.shared.head.subscribe();
    loop {
        let mut stream = open(&context, &peer, &context.shared.protocols.head).await;
        loop {
            let (height, hash) = *head.borrow_and_update();
            let bytes = wire::encode_head(height, hash);
            let sent = async {
                frame::write_frame(&mut stream, &bytes, FRAME_DEADLINE).await?;
                frame::flush(&mut stream, FRAME_DEADLINE).await
            };
            if sent.await.is_err() {
                break;
            }
            context.shared.stats.control.sent(bytes.len());
            peer.sent(bytes.len());
            sleep(HEAD_PAUSE).await;
            if head.changed().await.is_err() {
                return;
            }
        }
        sleep(REOPEN).await;
    }
}

/// Reads a peer's head announcements.
pub(super) async fn read_heads(context: Arc<Context>, peer: Arc<Peer>, mut stream: Stream) {
    let mut rate = Bucket::new(HEADS.0, HEADS.1, Instant::now());
    loop {
        let bytes = match next_frame(&mut stream, MAX_CONTROL_FRAME).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return,
            Err(e) => return blame(&context, &peer, e, "head announcement").await,
        };
        context.shared.stats.control.received(bytes.len());
        peer.received(bytes.len());
        if !rate.take(1.0, Instant::now()) {
            context.shared.report(peer.id, Offence::Flood, "too many head announcements".into()).await;
            continue;
        }
        match wire::decode_head(bytes.0) {
            Ok((height, hash)) => {
                *peer.head.lock() = (height, hash);
                context.tell(PeerEvent::Head { peer: peer.id, height, hash });
            }
            Err(e) => return context.shared.report(peer.id, Offence::Garbage, e.to_string()).await,
        }
    }
}

async fn next_frame(stream: &mut Stream, max: usize) -> Result<Option<Bytes>, FrameError> {
    match frame::read_length(stream, max, None, FRAME_DEADLINE).await? {
        Some(length) => Ok(Some(Bytes(frame::read_body(stream, length, FRAME_DEADLINE).await?))),
        None => Ok(None),
    }
}

async fn blame(context: &Context, peer: &Peer, error: FrameError, what: &str) {
    let offence = match error {
        FrameError::TooLarge { .. } => Offence::Garbage,
        FrameError::Timeout => Offence::Slow,
        FrameError::Io(_) => return,
    };
    context.shared.report(peer.id, offence, format!("{what}: {error}")).await;
}

/// Sends consensus frames from the peer's queue. A frame that was being written when the stream broke is sent again on
/// the next stream, once: the engine sends again what matters.
pub(super) async fn send_consensus(context: Arc<Context>, peer: Arc<Peer>) {
    let mut again = None;
    loop {
        let mut stream = open(&context, &peer, &context.shared.protocols.consensus).await;
        loop {
            let (frame, second) = match again.take() {
                Some(frame) => (frame, true),
                None => (peer.consensus.pop().await, false),
            };
            if let Err((broken, first)) = write_burst(&context, &peer, &mut stream, frame).await {
                again = (!(first && second)).then_some(broken);
                break;
            }
        }
        sleep(REOPEN).await;
    }
}

/// Writes a frame and everything else that waits, then flushes. Gives back the frame it broke at, and whether that was the
/// first one.
async fn write_burst(context: &Context, peer: &Peer, stream: &mut Stream, first: Bytes) -> Result<(), (Bytes, bool)> {
    let (mut frame, mut is_first) = (first, true);
    loop {
        if frame::write_frame(stream, &frame, FRAME_DEADLINE).await.is_err() {
            return Err((frame, is_first));
        }
        context.shared.stats.consensus.sent(frame.len());
        peer.sent(frame.len());
        let Some(next) = peer.consensus.try_pop() else {
            return frame::flush(stream, FRAME_DEADLINE).await.map_err(|_| (frame, is_first));
        };
        (frame, is_first) = (next, false);
    }
}

/// The memory that unread consensus frames of one peer may take.
pub(super) fn consensus_budget(max_frame: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(2 * max_frame.div_ceil(BUDGET_UNIT)))
}

/// Reads a validator's consensus frames, or under proof of work any peer's, and hands them to the driver. When the driver is behind, or the peer's memory
/// budget is used up, nothing is read, and the peer's own queue is where frames are dropped.
pub(super) async fn read_consensus(context: Arc<Context>, peer: Arc<Peer>, budget: Arc<Semaphore>, mut stream: Stream) {
    let max = context.shared.config.max_frame();
    let open = context.shared.config.open_consensus;
    if peer.validator.is_none() && !open {
        return;
    }
    let mut rate = Bucket::new(OPEN_FRAMES.0, OPEN_FRAMES.1, Instant::now());
    loop {
        let length = match frame::read_length(&mut stream, max, None, FRAME_DEADLINE).await {
            Ok(Some(0)) => {
                return context.shared.report(peer.id, Offence::Garbage, "empty consensus frame".into()).await;
            }
            Ok(Some(length)) => length,
            Ok(None) => return,
            Err(e) => return blame(&context, &peer, e, "consensus frame").await,
        };
        let units = u32::try_from(length.div_ceil(BUDGET_UNIT)).unwrap_or(u32::MAX);
        let Ok(permit) = Arc::clone(&budget).acquire_many_owned(units).await else { return };
        let bytes = match frame::read_body(&mut stream, length, FRAME_DEADLINE).await {
            Ok(bytes) => Bytes(bytes),
            Err(e) => return blame(&context, &peer, e, "consensus frame").await,
        };
        context.shared.stats.consensus.received(length);
        peer.bytes_in.fetch_add(length as u64, Relaxed);
        if open && !rate.take(1.0, Instant::now()) {
            context.shared.report(peer.id, Offence::Flood, "too many consensus frames".into()).await;
            continue;
        }
        if !open && peer.validator.is_some_and(|key| !context.shared.table.is_validator(&key)) {
            context.shared.stats.dropped_consensus_unproven.inc();
            context.shared.report(peer.id, Offence::Flood, "consensus frames from a key outside the set".into()).await;
            continue;
        }
        let frame = ConsensusFrame { peer: peer.id, validator: peer.validator, bytes, _budget: permit };
        if context.consensus.send(frame).await.is_err() {
            return;
        }
    }
}
