//! Requests for blocks and for addresses of nodes, both sides: one request and one answer per stream, both bounded, both under a deadline.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use basalt_primitives::{B256, Bytes};
use basalt_proto::DecodeError;
use futures::AsyncWriteExt as _;
use libp2p::{PeerId, Stream, StreamProtocol};
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

use super::{
    error::RequestError,
    frame::{self, FrameError},
    peers::Peer,
    shared::{Context, Offence, Shared},
    wire::{self, MAX_CONTROL_FRAME},
};

/// A request is small: it has to be there soon.
const REQUEST_DEADLINE: Duration = Duration::from_secs(5);
/// How long a peer may take to fetch an answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);

/// What a peer may ask for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Range,
    Hash,
    Peers,
    /// The genesis file, for a node that joins and knows its hash.
    Genesis,
}

/// Answers one request. The permit bounds how many are answered at once for one peer.
pub(super) async fn serve(
    context: Arc<Context>,
    peer: Arc<Peer>,
    kind: Kind,
    mut stream: Stream,
    _permit: OwnedSemaphorePermit,
) {
    let request = match frame::read_frame(&mut stream, MAX_CONTROL_FRAME, REQUEST_DEADLINE).await {
        Ok(request) => request,
        Err(e) if e.is_offence() => {
            return context.shared.report(peer.id, Offence::Garbage, format!("block request: {e}")).await;
        }
        Err(FrameError::Timeout) => {
            return context.shared.report(peer.id, Offence::Slow, "its block request did not come".into()).await;
        }
        Err(_) => return,
    };
    context.shared.stats.sync.received(request.len());
    peer.received(request.len());
    let answer = match answer(&context, kind, request).await {
        Ok(answer) => answer,
        Err(e) => return context.shared.report(peer.id, Offence::Garbage, e.to_string()).await,
    };
    // None: our own block source failed. The peer sees the stream end and asks somebody else.
    let Some(answer) = answer else { return };
    let sent = async {
        frame::write_frame(&mut stream, &answer, ANSWER_DEADLINE).await?;
        frame::flush(&mut stream, ANSWER_DEADLINE).await
    };
    if sent.await.is_ok() {
        context.shared.stats.sync.sent(answer.len());
        peer.sent(answer.len());
        let _ = timeout(REQUEST_DEADLINE, stream.close()).await;
    }
}

async fn answer(context: &Arc<Context>, kind: Kind, request: bytes::Bytes) -> Result<Option<Vec<u8>>, DecodeError> {
    let blocks = Arc::clone(&context.blocks);
    let max = context.shared.config.max_response();
    let read = match kind {
        Kind::Range => {
            let (from, count) = wire::decode_range_request(request)?;
            context.shared.runtime.spawn_blocking(move || {
                let found = blocks.block_range(from, count, max - PER_BLOCK);
                wire::encode_blocks(bounded(found, count, max))
            })
        }
        Kind::Hash => {
            let (hash, _height) = wire::decode_hash_request(request)?;
            context.shared.runtime.spawn_blocking(move || {
                wire::encode_block(blocks.block_by_hash(&hash).filter(|b| b.len() + PER_BLOCK <= max).as_ref())
            })
        }
        Kind::Peers => {
            let max = wire::decode_peers_request(request)?;
            let mut addresses = context.shared.addresses.lock().clone();
            addresses.truncate(max);
            return Ok(Some(wire::encode_peers(addresses)));
        }
        Kind::Genesis => {
            let fits = move |text: &Bytes| text.len() <= max;
            let read = context.shared.runtime.spawn_blocking(move || blocks.genesis().filter(fits).map(|t| t.to_vec()));
            return Ok(read.await.ok().flatten());
        }
    };
    Ok(read.await.ok())
}

/// Bytes that a block takes in an answer beside its own.
const PER_BLOCK: usize = 8;

/// Holds a block source to what it was asked, and the answer to its bound.
fn bounded(blocks: Vec<Bytes>, count: usize, max: usize) -> Vec<Bytes> {
    let mut bytes = 0;
    let fits = |b: &Bytes| {
        bytes += b.len() + PER_BLOCK;
        bytes <= max
    };
    blocks.into_iter().take(count).take_while(fits).collect()
}

/// Asks a peer for blocks from a height on. It may answer with fewer than asked for, or with none.
pub(super) async fn request_range(
    shared: Arc<Shared>,
    peer: PeerId,
    from: u64,
    count: usize,
) -> Result<Vec<Bytes>, RequestError> {
    let count = count.clamp(1, wire::MAX_BLOCKS);
    let protocol = shared.protocols.blocks_by_range.clone();
    let answer = request(&shared, peer, protocol, wire::encode_range_request(from, count)).await?;
    checked(&shared, peer, wire::decode_blocks(answer, count)).await
}

/// Asks a peer where other nodes are.
pub(super) async fn request_peers(shared: Arc<Shared>, peer: PeerId) -> Result<Vec<SocketAddr>, RequestError> {
    let protocol = shared.protocols.peers.clone();
    let answer = request(&shared, peer, protocol, wire::encode_peers_request()).await?;
    checked(&shared, peer, wire::decode_peers(answer)).await
}

/// Asks a peer for one block. `None`: it does not have it.
pub(super) async fn request_hash(
    shared: Arc<Shared>,
    peer: PeerId,
    hash: B256,
    height: u64,
) -> Result<Option<Bytes>, RequestError> {
    let protocol = shared.protocols.block_by_hash.clone();
    let answer = request(&shared, peer, protocol, wire::encode_hash_request(hash, height)).await?;
    checked(&shared, peer, wire::decode_block(&answer)).await
}

/// Asks a peer for the genesis file. It is for the caller to check against the hash it knows.
pub(super) async fn request_genesis(shared: Arc<Shared>, peer: PeerId) -> Result<Bytes, RequestError> {
    let protocol = shared.protocols.genesis.clone();
    Ok(Bytes(request(&shared, peer, protocol, vec![0]).await?))
}

async fn checked<T>(shared: &Shared, peer: PeerId, answer: Result<T, DecodeError>) -> Result<T, RequestError> {
    match answer {
        Ok(answer) => Ok(answer),
        Err(e) => {
            shared.report(peer, Offence::Garbage, e.to_string()).await;
            Err(RequestError::Malformed(e.to_string()))
        }
    }
}

async fn request(
    shared: &Shared,
    id: PeerId,
    protocol: StreamProtocol,
    body: Vec<u8>,
) -> Result<bytes::Bytes, RequestError> {
    let deadline = shared.config.request_timeout;
    let peer = shared.table.get(&id).ok_or(RequestError::NotConnected)?;
    let _permit = peer.requests.try_acquire().map_err(|_| RequestError::Busy)?;
    let exchange = async {
        let mut stream = shared.open(id, protocol).await?;
        let max = shared.config.max_response();
        let answer = async {
            frame::write_frame(&mut stream, &body, REQUEST_DEADLINE).await?;
            frame::flush(&mut stream, REQUEST_DEADLINE).await?;
            frame::read_frame(&mut stream, max, deadline).await
        };
        match answer.await {
            Ok(answer) => Ok(answer),
            Err(e) if e.is_offence() => {
                shared.report(id, Offence::Garbage, format!("answer to a block request: {e}")).await;
                Err(RequestError::Malformed(e.to_string()))
            }
            Err(FrameError::Timeout) => Err(RequestError::Timeout(deadline.as_millis())),
            Err(e) => Err(RequestError::Io(e.to_string())),
        }
    };
    let answer = timeout(deadline, exchange).await.map_err(|_| RequestError::Timeout(deadline.as_millis()))??;
    shared.stats.sync.sent(body.len());
    shared.stats.sync.received(answer.len());
    peer.sent(body.len());
    peer.received(answer.len());
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_source_that_gives_too_much_is_cut() {
        let blocks: Vec<Bytes> = (0..10).map(|_| Bytes::from(vec![1; 100])).collect();
        assert_eq!(bounded(blocks.clone(), 4, 10_000).len(), 4);
        assert_eq!(bounded(blocks.clone(), 100, 350).len(), 3);
        assert!(wire::encode_blocks(bounded(blocks.clone(), 100, 350)).len() <= 350);
        assert_eq!(bounded(blocks, 100, 10).len(), 0);
    }
}
