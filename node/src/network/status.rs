//! What peers tell each other about themselves and the other nodes: one question and one answer per stream, both bounded
//! and under a deadline. The four times of an exchange give the difference of two clocks (as NTP, RFC 5905, has it).

use std::{
    fmt::Debug,
    sync::Arc,
    time::{Duration, Instant},
};

use basalt_primitives::Millis;
use basalt_proto::{
    Codec as _,
    status::{MAX_STATUS_BYTES, NodeRecord, StatusRequest, StatusResponse},
};
use futures::AsyncWriteExt as _;
use libp2p::{PeerId, Stream};
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

use super::{
    error::RequestError,
    frame::{self, FrameError},
    peers::Peer,
    shared::{Context, Offence, Shared},
};
use crate::clock;

/// How long each step may take.
const STEP: Duration = Duration::from_secs(5);
/// How long a whole exchange may take.
const EXCHANGE: Duration = Duration::from_secs(5);
/// A clock compared over a slower way says too little.
const MAX_ROUND_TRIP: Duration = Duration::from_secs(2);
/// A century: what is further off is as wrong, and must not overflow anybody's arithmetic.
const MAX_OFFSET_MS: i64 = 100 * 365 * 24 * 3_600_000;

/// Who knows the nodes of the network.
pub trait StatusSource: Debug + Send + Sync + 'static {
    /// Records newer than those named, the asker's own left out; what does not fit an answer is left out.
    fn newer(&self, request: &StatusRequest) -> Vec<NodeRecord>;
}

/// What an exchange gave.
#[derive(Clone, Debug)]
pub struct StatusExchange {
    /// Records, unverified.
    pub records: Vec<NodeRecord>,
    /// The peer's wall clock minus ours, in milliseconds, a century at most; none if the way was too slow to tell, or the
    /// peer's two times contradict each other or ours.
    pub clock_offset_ms: Option<i64>,
}

/// Answers one request.
pub(super) async fn serve(context: Arc<Context>, peer: Arc<Peer>, mut stream: Stream, _permit: OwnedSemaphorePermit) {
    let request = match frame::read_frame(&mut stream, StatusRequest::MAX_BYTES, STEP).await {
        Ok(request) => request,
        Err(e) if e.is_offence() => {
            return context.shared.report(peer.id, Offence::Garbage, format!("status request: {e}")).await;
        }
        Err(_) => return,
    };
    let received_at_ms = clock::wall_ms();
    context.shared.stats.control.received(request.len());
    peer.received(request.len());
    let request = match StatusRequest::decode(request) {
        Ok(request) => request,
        Err(e) => return context.shared.report(peer.id, Offence::Garbage, e.to_string()).await,
    };
    let records = context.shared.status.get().map_or_else(Vec::new, |source| source.newer(&request));
    let answer = StatusResponse { received_at_ms, sent_at_ms: clock::wall_ms(), records }.encode();
    let sent = async {
        frame::write_frame(&mut stream, &answer, STEP).await?;
        frame::flush(&mut stream, STEP).await
    };
    if sent.await.is_ok() {
        context.shared.stats.control.sent(answer.len());
        peer.sent(answer.len());
        let _ = timeout(STEP, stream.close()).await;
    }
}

/// Asks a peer.
pub(super) async fn exchange(
    shared: Arc<Shared>,
    id: PeerId,
    request: StatusRequest,
) -> Result<StatusExchange, RequestError> {
    let peer = shared.table.get(&id).ok_or(RequestError::NotConnected)?;
    let body = request.encode();
    let exchange = async {
        let mut stream = shared.open(id, shared.protocols.status.clone()).await?;
        let (asked, asked_ms) = (Instant::now(), clock::wall_ms());
        let answer = async {
            frame::write_frame(&mut stream, &body, STEP).await?;
            frame::flush(&mut stream, STEP).await?;
            frame::read_frame(&mut stream, MAX_STATUS_BYTES, STEP).await
        };
        match answer.await {
            Ok(answer) => Ok((answer, asked, asked_ms)),
            Err(e) if e.is_offence() => {
                shared.report(id, Offence::Garbage, format!("answer to a status request: {e}")).await;
                Err(RequestError::Malformed(e.to_string()))
            }
            Err(FrameError::Timeout) => Err(RequestError::Timeout(STEP.as_millis())),
            Err(e) => Err(RequestError::Io(e.to_string())),
        }
    };
    let late = |_| RequestError::Timeout(EXCHANGE.as_millis());
    let (answer, asked, asked_ms) = timeout(EXCHANGE, exchange).await.map_err(late)??;
    let elapsed = asked.elapsed();
    peer.received(answer.len());
    peer.sent(body.len());
    match StatusResponse::decode(answer) {
        Ok(response) => {
            let clock_offset_ms = offset(asked_ms, response.received_at_ms, response.sent_at_ms, elapsed);
            Ok(StatusExchange { records: response.records, clock_offset_ms })
        }
        Err(e) => {
            shared.report(id, Offence::Garbage, e.to_string()).await;
            Err(RequestError::Malformed(e.to_string()))
        }
    }
}

/// RFC 5905: the mean of both ways' differences. What a peer says of its clock may be anything. Our own end is by the
/// monotonic clock, so that a jump meanwhile is no offset.
fn offset(asked: Millis, received: Millis, sent: Millis, elapsed: Duration) -> Option<i64> {
    let elapsed_ms = Millis::try_from(elapsed.as_millis()).ok()?;
    // It cannot have worked for longer than we waited; one millisecond is what rounding makes of it.
    let worked_ms = sent.checked_sub(received)?;
    if elapsed > MAX_ROUND_TRIP || worked_ms > elapsed_ms + 1 {
        return None;
    }
    let difference = |theirs: Millis, ours: Millis| i128::from(theirs) - i128::from(ours);
    let mean = (difference(received, asked) + difference(sent, asked) - i128::from(elapsed_ms)) / 2;
    let limit = i128::from(MAX_OFFSET_MS);
    i64::try_from(mean.clamp(-limit, limit)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_offset_is_free_of_the_way_when_both_ways_take_as_long() {
        assert_eq!(offset(1_000, 6_020, 6_030, ms(50)), Some(5_000));
        assert_eq!(offset(6_000, 1_020, 1_030, ms(50)), Some(-5_000));
        assert_eq!(offset(6_000, 6_000, 6_000, ms(0)), Some(0));
    }

    #[test]
    fn nonsense_of_a_peer_is_bounded_or_no_measurement() {
        assert_eq!(offset(0, u64::MAX, u64::MAX, ms(0)), Some(MAX_OFFSET_MS));
        assert_eq!(offset(u64::MAX, 0, 0, ms(0)), Some(-MAX_OFFSET_MS));
        assert_eq!(offset(1_000, 6_030, 6_020, ms(50)), None, "answered before it was asked");
        assert_eq!(offset(1_000, 1_000, 1_100, ms(50)), None, "worked longer than we waited");
        assert_eq!(offset(1_000, 0, u64::MAX, ms(50)), None);
        assert_eq!(offset(1_000, 1_500, 1_500, ms(2_001)), None, "too slow a way");
    }
}
