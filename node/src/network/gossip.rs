//! Transactions: batched on the way out, spread by gossipsub, checked before they are relayed.

use std::{collections::HashSet, collections::VecDeque, time::Duration};

use basalt_primitives::{Bytes, HashFn, tx::MAX_TX_BYTES};
use libp2p::{
    PeerId,
    gossipsub::{
        self, ConfigBuilder, IdentTopic, IdentityTransform, MessageAuthenticity, MessageId, ValidationMode,
        WhitelistSubscriptionFilter,
    },
};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{
    error::NetworkError,
    wire::{self, Protocols},
};

/// Payload a batch is closed at.
const BATCH_BYTES: usize = 64 << 10;
/// Messages gossipsub keeps for one peer; above, it drops and says so.
const PEER_QUEUE: usize = 512;
/// For how long a batch counts as a duplicate of the same one. Longer than it takes to go round; shorter than `ingress` waits
/// before it passes on again what no block has taken.
pub(crate) const DUPLICATES_FOR: Duration = Duration::from_secs(5);
/// Payload of a message may exceed the batch size by one largest transaction; this is for the framing.
const FRAMING: usize = 64 << 10;

pub(super) type Gossip = gossipsub::Behaviour<IdentityTransform, WhitelistSubscriptionFilter>;

/// Gossipsub with one topic, anonymous messages (a transaction carries its own signature), and ids by content.
pub(super) fn behaviour(protocols: &Protocols) -> Result<(Gossip, IdentTopic), NetworkError> {
    let fail = |e: &dyn std::fmt::Display| NetworkError::Transport(e.to_string());
    let settings = ConfigBuilder::default()
        .protocol_id_prefix(protocols.gossip_prefix.clone())
        .validation_mode(ValidationMode::Anonymous)
        .validate_messages()
        .message_id_fn(|m| MessageId::new(&HashFn::Blake3.hash(&m.data)[..20]))
        .max_transmit_size(BATCH_BYTES + MAX_TX_BYTES + FRAMING)
        .flood_publish(false)
        .heartbeat_interval(Duration::from_secs(1))
        .heartbeat_initial_delay(Duration::from_millis(500))
        .duplicate_cache_time(DUPLICATES_FOR)
        .connection_handler_queue_len(PEER_QUEUE)
        .max_publish_messages(256)
        .max_control_messages_sent(512)
        .build()
        .map_err(|e| fail(&e))?;
    let topic = IdentTopic::new(protocols.topic.clone());
    let only_ours = WhitelistSubscriptionFilter(HashSet::from([topic.hash()]));
    let mut gossip = Gossip::new_with_subscription_filter(MessageAuthenticity::Anonymous, settings, only_ours)
        .map_err(|e| fail(&e))?;
    gossip.subscribe(&topic).map_err(|e| fail(&e))?;
    Ok((gossip, topic))
}

/// Names a received batch until the mempool has judged it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BatchId {
    pub(super) message: MessageId,
    pub(super) from: PeerId,
}

impl BatchId {
    /// A number that stands for the peer that brought it, for as long as this node runs.
    #[must_use]
    pub fn peer_number(&self) -> u64 {
        use std::hash::{DefaultHasher, Hash as _, Hasher as _};
        let mut hasher = DefaultHasher::new();
        self.from.hash(&mut hasher);
        hasher.finish()
    }
}

/// The mempool's judgement of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchVerdict {
    /// Every signature holds: pass it on.
    Relay,
    /// Nothing wrong, but not worth passing on (known, too late, no room).
    Ignore,
    /// It holds something no honest node passes on (a bad signature, another chain's transaction): the peer is
    /// penalised, because honest nodes check before they relay.
    Invalid,
}

/// Transactions waiting to be published.
#[derive(Debug)]
pub(super) struct Outbox {
    waiting: Mutex<Waiting>,
    added: Notify,
    max_bytes: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    transactions: VecDeque<Bytes>,
    bytes: usize,
}

impl Outbox {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { waiting: Mutex::default(), added: Notify::new(), max_bytes }
    }

    /// Takes what there is room for and says how many were dropped.
    pub(super) fn push(&self, transactions: Vec<Bytes>) -> u64 {
        let mut dropped = 0;
        let mut waiting = self.waiting.lock();
        for tx in transactions {
            let fits = waiting.bytes + tx.len() <= self.max_bytes;
            if tx.is_empty() || tx.len() > MAX_TX_BYTES || !fits {
                dropped += 1;
            } else {
                waiting.bytes += tx.len();
                waiting.transactions.push_back(tx);
            }
        }
        let some = !waiting.transactions.is_empty();
        drop(waiting);
        if some {
            self.added.notify_one();
        }
        dropped
    }

    /// Waits until something was added.
    pub(super) async fn added(&self) {
        self.added.notified().await;
    }

    /// The next batch: its encoding and how many transactions are in it.
    pub(super) fn next_batch(&self) -> Option<(Vec<u8>, usize)> {
        let mut waiting = self.waiting.lock();
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < wire::MAX_BATCH && bytes < BATCH_BYTES {
            let Some(tx) = waiting.transactions.pop_front() else { break };
            bytes += tx.len();
            batch.push(tx);
        }
        waiting.bytes -= bytes;
        drop(waiting);
        let count = batch.len();
        (count > 0).then(|| (wire::encode_batch(batch), count))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.lock().transactions.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn txs(n: usize, size: usize) -> Vec<Bytes> {
        (0..n).map(|i| Bytes::from(vec![i as u8; size])).collect()
    }

    #[test]
    fn the_outbox_is_bounded_and_counts_what_it_drops() {
        let outbox = Outbox::new(1000);
        assert_eq!(outbox.push(txs(12, 100)), 2);
        assert_eq!(outbox.push(txs(1, 100)), 1);
        let (bytes, count) = outbox.next_batch().expect("a batch");
        assert_eq!(count, 10);
        assert_eq!(wire::decode_batch(bytes).expect("decodes"), txs(10, 100));
        assert!(outbox.is_empty() && outbox.next_batch().is_none());
        let outbox = Outbox::new(1 << 30);
        assert_eq!(outbox.push(vec![Bytes::new(), vec![0; MAX_TX_BYTES + 1].into(), vec![0; MAX_TX_BYTES].into()]), 2);
    }

    #[test]
    fn batches_are_closed_by_size_and_by_number() {
        let outbox = Outbox::new(1 << 30);
        outbox.push(txs(100, 10_000));
        assert_eq!(outbox.next_batch().expect("a batch").1, 7);
        let outbox = Outbox::new(1 << 30);
        outbox.push(txs(wire::MAX_BATCH + 1, 1));
        assert_eq!(outbox.next_batch().expect("a batch").1, wire::MAX_BATCH);
        assert_eq!(outbox.next_batch().expect("a batch").1, 1);
    }
}
