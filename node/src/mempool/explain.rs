//! Why a transaction waits, and what to do about it.

use alloy_primitives::{Address, B256};
use serde::Serialize;

use super::{
    Gone, Lane, Left, Mempool, Ready,
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
    /// It came by RPC and was not taken.
    Refused,
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

    /// About one that left or never came in.
    fn left(hash: B256, left: &Left) -> Self {
        let why = one_line(&left.why.to_string());
        let (state, reason) = match &left.why {
            Gone::Skipped(..) => (Standing::Skipped, why),
            Gone::Refused(_) => (Standing::Refused, why),
            _ => (Standing::Gone, format!("it left the pool: {why}")),
        };
        let outside = Self::outside(state, Some(hash), reason, left.why.mend());
        Self { sender: Some(left.sender), nonce: Some(left.nonce), ..outside }
    }
}

/// Transactions that are counted at most, to say how many are before one.
const COUNTED: usize = 1_000;
/// Senders that are looked at for that at most: whoever asks holds up the whole pool meanwhile.
const LOOKED_AT: usize = 1_000;

impl Mempool {
    /// About a transaction; `None` when the pool has never heard of it or has forgotten.
    #[must_use]
    pub fn explain(&self, hash: &B256) -> Option<Explanation> {
        let Some(tx) = self.get(hash) else {
            let left = self.memory.get(hash).or_else(|| self.refusals.get(hash))?;
            return Some(Explanation::left(*hash, left));
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

    /// About the first transaction of a sender that the next block cannot take, or else its first; when none waits, about
    /// the last that left or was refused; `None` when the pool knows of none.
    #[must_use]
    pub fn explain_sender(&self, sender: &Address) -> Option<Explanation> {
        let Some(all) = self.senders.get(sender) else {
            let (hash, left) = self.memory.last_of(sender).or_else(|| self.refusals.last_of(sender))?;
            return Some(Explanation::left(hash, left));
        };
        let (base_fee, height) = self.next_block;
        let stuck = all.executable().find(|(_, e)| e.tip_at(base_fee, height).is_none());
        let first = stuck.or_else(|| all.queued().next()).or_else(|| all.txs.iter().next());
        self.explain(&first?.1.tx.hash())
    }

    fn why(&self, sender: &Sender, e: &Entry) -> (Standing, String, String) {
        let (nonce, gap) = (e.tx.payload().nonce(), sender.first_gap());
        if nonce >= gap {
            let missing = (gap..nonce).filter(|n| !sender.txs.contains_key(n)).count();
            let missing = count(missing, "earlier nonce of its sender is", "earlier nonces of its sender are");
            return (
                Standing::Queued,
                format!("{missing} missing here, the first is {gap}"),
                format!("send the transaction with nonce {gap}; what waits behind it runs after it by itself"),
            );
        }
        let (base_fee, height) = self.next_block;
        let blocking = sender.executable().find(|(n, e)| **n <= nonce && e.tip_at(base_fee, height).is_none());
        match blocking {
            Some((n, first)) if *n < nonce => {
                let (_, reason, mend) = self.stuck(first);
                let hash = first.tx.hash();
                let reason = format!("nonce {n} ({hash}) of the same sender must go first, and {reason}");
                (Standing::Waiting, reason, format!("for that one: {mend}"))
            }
            Some(_) => self.stuck(e),
            None => self.its_turn(sender, e),
        }
    }

    /// Of one that the next block could take.
    fn its_turn(&self, sender: &Sender, e: &Entry) -> (Standing, String, String) {
        let (base_fee, height) = self.next_block;
        let (hash, address) = (e.tx.hash(), e.tx.sender());
        let others = self.tails.iter().rev().map(|k| k.sender).filter(|a| *a != address).take(LOOKED_AT);
        let others = others.filter_map(|a| self.senders.get(&a));
        let ready = Ready::new(others.chain([sender]), base_fee, height, &self.config);
        let before = ready.take(COUNTED).take_while(|t| t.hash() != hash).count();
        let own = (e.tx.payload().nonce() - sender.account.nonce) as usize;
        let before = match before {
            COUNTED => format!("{COUNTED} or more transactions are"),
            n => count(n, "transaction is", "transactions are"),
        };
        let all = self.tails.len();
        let among = match all > LOOKED_AT + 1 {
            true => format!(", counting the {LOOKED_AT} senders that offer most, of {all}"),
            false => String::new(),
        };
        let reason =
            format!("it waits its turn for block {height}: {before} before it, {own} of them of its own sender{among}");
        let mend = "nothing; if no blocks come, consensus_explain says why; where fees are charged, a replacement with the same \
                    nonce and a higher tip goes sooner";
        (Standing::Ready, reason, mend.to_owned())
    }

    /// Of one that is executable by its nonce, and that yet cannot be in the next block.
    fn stuck(&self, e: &Entry) -> (Standing, String, String) {
        let (base_fee, height) = self.next_block;
        if height < e.valid_from {
            let reason = format!("it is valid from block {} and the next is {height}", e.valid_from);
            return (Standing::Waiting, reason, "wait, or replace it by one with an earlier validFrom".into());
        }
        let bump = self.config.price_bump_percent;
        (
            Standing::Waiting,
            format!("it offers {} wei per gas and the next block asks for {base_fee}", e.fee),
            format!(
                "wait until the base fee falls, or send a replacement with the same nonce that offers at least {base_fee} wei per \
                 gas, and {bump} % more than now in fee and tip"
            ),
        )
    }
}

/// Texts of the executor may be of several lines, where it panicked.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn count(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}
