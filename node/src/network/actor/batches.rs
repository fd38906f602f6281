//! Transactions: what the node has goes out in batches, what peers send goes to the mempool's door.

use std::{sync::Arc, time::Instant};

use libp2p::{
    PeerId,
    gossipsub::{self, MessageAcceptance, PublishError},
};
use tracing::debug;

use super::Actor;
use crate::network::{
    gossip::BatchId,
    shared::{Offence, TransactionBatch},
    wire,
};

/// Batches published in one go, so that the swarm is never long without attention.
const PUBLISH_BURST: usize = 8;

impl Actor {
    pub(super) fn schedule_flush(&mut self) {
        self.flush_at = Some(Instant::now().max(self.last_flush + self.context.shared.config.batch_interval));
    }

    pub(super) fn flush(&mut self) {
        let context = Arc::clone(&self.context);
        let (outbox, stats) = (&context.shared.outbox, &context.shared.stats);
        for _ in 0..PUBLISH_BURST {
            let Some((batch, count)) = outbox.next_batch() else { break };
            let bytes = batch.len();
            match self.swarm.behaviour_mut().gossip.publish(self.topic.hash(), batch) {
                Ok(_) => {
                    stats.transactions.sent(bytes);
                    stats.transactions_out.add(count as u64);
                }
                Err(PublishError::Duplicate) => {}
                Err(error) => {
                    stats.unsent_batches.inc();
                    debug!(%error, count, "transactions not published");
                }
            }
        }
        self.last_flush = Instant::now();
        self.flush_at = (!outbox.is_empty()).then(Instant::now);
    }

    pub(super) fn on_batch(&mut self, from: PeerId, id: gossipsub::MessageId, data: Vec<u8>) {
        let stats = Arc::clone(&self.context.shared.stats);
        let (bytes, now) = (data.len(), Instant::now());
        let Some(session) = self.sessions.get_mut(&from) else {
            stats.dropped_batches_limited.inc();
            return self.judge(&id, &from, MessageAcceptance::Ignore);
        };
        if !session.batches.take(1.0, now) || !session.batch_bytes.take(bytes as f64, now) {
            stats.dropped_batches_limited.inc();
            self.on_offence(from, Offence::Flood, "more gossip than its share");
            return self.judge(&id, &from, MessageAcceptance::Ignore);
        }
        session.peer.received(bytes);
        let transactions = match wire::decode_batch(data) {
            Ok(transactions) => transactions,
            Err(e) => {
                self.on_offence(from, Offence::Garbage, &e.to_string());
                return self.judge(&id, &from, MessageAcceptance::Reject);
            }
        };
        let count = transactions.len() as u64;
        stats.transactions.received(bytes);
        stats.transactions_in.add(count);
        let name = BatchId { message: id, from };
        if let Err(full) = self.transactions.try_send(TransactionBatch { peer: from, id: name, transactions }) {
            stats.dropped_transactions_in.add(count);
            self.judge(&full.into_inner().id.message, &from, MessageAcceptance::Ignore);
        }
    }

    pub(super) fn judge(&mut self, id: &gossipsub::MessageId, from: &PeerId, acceptance: MessageAcceptance) {
        // False when the message has left the cache meanwhile: then it is not relayed, which is allowed.
        self.swarm.behaviour_mut().gossip.report_message_validation_result(id, from, acceptance);
    }
}
