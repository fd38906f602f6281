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
const EXCHANGE: Duration = Duration::from_secs(10);

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
    /// The peer's wall clock minus ours, in milliseconds.
    pub clock_offset_ms: i64,
    /// Time on the way, both ways together.
    pub round_trip: Duration,
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
            // Our end by the monotonic clock, so that a jump meanwhile is no offset.
            let answered_ms = asked_ms + u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX >> 1);
            let clock_offset_ms = offset(asked_ms, response.received_at_ms, response.sent_at_ms, answered_ms);
            Ok(StatusExchange { records: response.records, clock_offset_ms, round_trip: elapsed })
        }
        Err(e) => {
            shared.report(id, Offence::Garbage, e.to_string()).await;
            Err(RequestError::Malformed(e.to_string()))
        }
    }
}

/// RFC 5905: the mean of both ways' differences. What a peer says of its clock may be anything.
fn offset(asked: Millis, received: Millis, sent: Millis, answered: Millis) -> i64 {
    let difference = |theirs: Millis, ours: Millis| i128::from(theirs) - i128::from(ours);
    let mean = (difference(received, asked) + difference(sent, answered)) / 2;
    i64::try_from(mean).unwrap_or(if mean < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_is_free_of_the_way_when_both_ways_take_as_long() {
        assert_eq!(offset(1_000, 6_020, 6_030, 1_050), 5_000);
        assert_eq!(offset(6_000, 1_020, 1_030, 6_050), -5_000);
        assert_eq!(offset(0, u64::MAX, u64::MAX, 0), i64::MAX);
        assert_eq!(offset(u64::MAX, 0, 0, u64::MAX), i64::MIN);
    }
}
