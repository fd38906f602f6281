//! Looks at frames of peers off the engine's thread: decodes them, checks headers, cheap things first, and answers questions for
//! headers from the ledger, which shows this node's chain. What passes is for the engine; whoever sends what no correct node
//! sends is reported.

use basalt_consensus::{Input, Verified};
use basalt_pow::{Message, SealedHeader, Sealing, message::MAX_HEADERS};
use basalt_primitives::{B256, Bytes, Header, Height, Seal};
use basalt_proto::{Codec as _, pow::PowMessage};
use basalt_storage::{Reader as _, StorageError};
use libp2p::PeerId;

use super::{PowInput, peers::PeerNumbers};
use crate::{
    chain::Chain,
    network::{ConsensusTarget, NetworkHandle, Offence},
};

/// A frame as it came.
#[derive(Debug)]
pub struct Frame {
    /// Who sent it.
    pub peer: PeerId,
    /// What.
    pub bytes: Bytes,
}

/// What looking at frames needs.
#[derive(Clone)]
pub struct Checker {
    /// The chain.
    pub chain: Chain,
    /// What sealing takes.
    pub sealing: Sealing,
    /// Where answers go.
    pub network: NetworkHandle,
    /// Numbers of peers.
    pub peers: PeerNumbers,
}

impl Checker {
    /// Looks at a frame; what the engine must hear of it.
    #[must_use]
    pub fn check(&self, frame: &Frame) -> Option<PowInput> {
        match PowMessage::decode(frame.bytes.0.clone()) {
            Ok(PowMessage::GetHeaders(locator)) => {
                self.answer(frame.peer, &locator);
                None
            }
            Ok(PowMessage::Headers(headers)) => match self.sealed(headers) {
                Ok(headers) => {
                    let message = Verified::assume(Message::Headers(headers));
                    Some(Input::Message { from: self.peers.of(&frame.peer), message })
                }
                Err(reason) => self.report(frame.peer, &reason),
            },
            Err(e) => self.report(frame.peer, &e.to_string()),
        }
    }

    fn report(&self, peer: PeerId, reason: &str) -> Option<PowInput> {
        tracing::warn!(%peer, "refused: {reason}");
        self.network.report_peer(peer, Offence::Garbage, reason);
        None
    }

    /// Cheap things first: that they are of this chain, follow each other and are no easier than any block may be; then their seals.
    fn sealed(&self, headers: Vec<Header>) -> Result<Vec<SealedHeader>, String> {
        let spec = &self.chain.spec;
        let easiest = spec.pow().map(|p| p.max_target).unwrap_or_default();
        for h in &headers {
            let soft = matches!(h.seal, Seal::Work { target, .. } if target > easiest);
            if h.chain_id != spec.chain_id || h.height == Height::GENESIS || soft {
                return Err(format!("the header of height {} is none of this chain", h.height));
            }
        }
        if headers.windows(2).any(|pair| pair[1].height != pair[0].height.next()) {
            return Err("headers that do not follow each other".to_owned());
        }
        let sealed: Vec<SealedHeader> =
            headers.into_iter().map(|h| self.sealing.check(h)).collect::<Result<_, _>>().map_err(|e| e.to_string())?;
        if sealed.windows(2).any(|pair| pair[1].parent() != pair[0].hash()) {
            return Err("headers that do not follow each other".to_owned());
        }
        Ok(sealed)
    }

    /// Answers with the headers after the first of these hashes that is on this node's chain, or after genesis.
    fn answer(&self, peer: PeerId, locator: &[B256]) {
        match self.after(locator) {
            Ok(headers) if headers.is_empty() => {}
            Ok(headers) => {
                let bytes = Bytes::from(PowMessage::Headers(headers).encode());
                self.network.send_consensus(ConsensusTarget::Peer(peer), bytes);
            }
            Err(e) => tracing::error!("headers could not be read for a peer: {e}"),
        }
    }

    fn after(&self, locator: &[B256]) -> Result<Vec<Header>, StorageError> {
        let ledger = self.chain.ledger.snapshot();
        let mut from = Height::GENESIS;
        for hash in locator {
            if let Some(height) = ledger.height_of(hash)? {
                from = height;
                break;
            }
        }
        let last = (from.0 + MAX_HEADERS as u64).min(ledger.head().height().0);
        let headers = (from.0 + 1..=last).map(|h| ledger.header(Height(h)));
        headers.filter_map(Result::transpose).collect()
    }

    /// Tells a new peer where this node's chain ends, so that it asks for what it lacks.
    pub fn greet(&self, peer: PeerId) {
        let head = self.chain.ledger.head();
        if head.height() > Height::GENESIS {
            let bytes = Bytes::from(PowMessage::Headers(vec![head.block.header().clone()]).encode());
            self.network.send_consensus(ConsensusTarget::Peer(peer), bytes);
        }
    }
}
