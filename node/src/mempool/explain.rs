//! Why a transaction waits, and what to do about it.

use alloy_primitives::{Address, B256};
use serde::Serialize;

use super::{
    Lane, Mempool,
    sender::{Entry, Sender},
};

/// Where a transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Standing {
    /// The next block can take it.
    Ready,
    /// Nothing is missing before it, but the next block cannot take it.
    Waiting,
    /// An earlier nonce is missing.
    Queued,
    /// It is in a block.
    Included,
    /// A block carried it, but it could not run.
    Skipped,
    /// It was here and left.
    Gone,
    /// Never seen, or so long ago that it is forgotten.
    Unknown,
}

/// An answer to "why is it stuck": the state, its cause, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Where it stands.
    pub state: Standing,
    /// The transaction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<B256>,
    /// Its sender.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<Address>,
    /// Its nonce.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nonce: Option<u64>,
    /// Its lane.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lane: Option<Lane>,
    /// Why.
    pub reason: String,
    /// What to do.
    pub mend: String,
}

impl Explanation {
    /// About something that is not in the pool.
    #[must_use]
    pub fn outside(state: Standing, hash: Option<B256>, reason: String, mend: &str) -> Self {
        Self { state, hash, sender: None, nonce: None, lane: None, reason, mend: mend.to_owned() }
    }
}

impl Mempool {
    /// About a transaction; `None` when the pool has never heard of it or has forgotten.
    #[must_use]
    pub fn explain(&self, hash: &B256) -> Option<Explanation> {
        let Some(tx) = self.get(hash) else {
            let why = self.why_gone(hash)?;
            return Some(Explanation::outside(Standing::Gone, Some(*hash), format!("it left the pool: {why}"), ""));
        };
        let sender = self.senders.get(&tx.sender())?;
        let entry = sender.txs.get(&tx.payload().nonce())?;
        let (state, reason, mend) = self.why(sender, entry);
        Some(Explanation {
            state,
            hash: Some(*hash),
            sender: Some(tx.sender()),
            nonce: Some(tx.payload().nonce()),
            lane: Some(entry.lane),
            reason,
            mend,
        })
    }

    /// About the first transaction of a sender that the next block cannot take, or else its first; `None` when the pool has
    /// none of it.
    #[must_use]
    pub fn explain_sender(&self, sender: &Address) -> Option<Explanation> {
        let all = self.senders.get(sender)?;
        let (base_fee, height) = self.next_block;
        let stuck = all.executable().find(|(_, e)| e.tip_at(base_fee, height).is_none());
        let first = stuck.or_else(|| all.queued().next()).or_else(|| all.txs.iter().next());
        self.explain(&first?.1.tx.hash())
    }

    fn why(&self, sender: &Sender, e: &Entry) -> (Standing, String, String) {
        let (nonce, gap) = (e.tx.payload().nonce(), sender.first_gap());
        if nonce >= gap {
            let missing = (gap..nonce).filter(|n| !sender.txs.contains_key(n)).count();
            return (
                Standing::Queued,
                format!("{missing} earlier nonces of its sender are missing, the first is {gap}"),
                format!("send the transaction with nonce {gap}; this one runs after it by itself"),
            );
        }
        let (base_fee, height) = self.next_block;
        let blocking = sender.executable().find(|(n, e)| **n <= nonce && e.tip_at(base_fee, height).is_none());
        match blocking {
            Some((n, first)) if *n < nonce => {
                let (_, reason, mend) = self.stuck(first);
                let hash = first.tx.hash();
                (Standing::Waiting, format!("nonce {n} ({hash}) of the same sender must go first, and {reason}"), mend)
            }
            Some(_) => self.stuck(e),
            None => {
                let before = self.ready(base_fee, height).take_while(|t| t.hash() != e.tx.hash()).count();
                let reason = format!("the next block can take it; {before} transactions are before it");
                let mend = "nothing; if no blocks come at all, consensus_explain says why, and if many others pay more, a \
                            replacement with a higher tip goes sooner";
                (Standing::Ready, reason, mend.to_owned())
            }
        }
    }

    /// Of one that is executable by its nonce, and that yet cannot be in the next block.
    fn stuck(&self, e: &Entry) -> (Standing, String, String) {
        let (base_fee, height) = self.next_block;
        if height < e.valid_from {
            let reason = format!("it is valid from block {} and the next is {height}", e.valid_from);
            return (Standing::Waiting, reason, "wait, or sign it again with an earlier validFrom".into());
        }
        let bump = self.config.price_bump_percent;
        (
            Standing::Waiting,
            format!("it offers {} wei per gas and the next block asks for {base_fee}", e.fee),
            format!(
                "wait until the base fee falls, or send a replacement with the same nonce, at least {base_fee} wei per gas and \
                 {bump} % more than now"
            ),
        )
    }
}
