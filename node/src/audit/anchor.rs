//! Anchors: now and then the node writes the number and hash of its newest entry on chain, as the data of a transaction from the
//! account of its own key to [`ADDRESS`]. The account is used for nothing else and its nonces count the anchors, and each anchor
//! is an entry before it is sent; so a chain that has more of them than the log knows proves that the log's end was cut off.

use std::collections::BTreeMap;

use basalt_primitives::{Address, B256, Bytes, address};

use super::{Entry, Head};

/// The act of an anchor's entry.
pub const ACT: &str = "anchor";
/// Where anchors are sent: an address in the system's range, at which nothing is. Nobody can hold its key.
pub const ADDRESS: Address = address!("0x000000000000000000000000000000000B450201");

const MAGIC: &[u8] = b"basalt/audit-anchor/v1";

/// The data of an anchor's transaction.
#[must_use]
pub fn payload(head: Head) -> Bytes {
    [MAGIC, &head.seq.to_be_bytes(), &head.hash.0].concat().into()
}

/// An anchor as the log has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Number of its entry.
    pub seq: u64,
    /// The entry before, which it anchors.
    pub head: Head,
    /// The account that it was sent from.
    pub account: Address,
    /// The transaction's nonce.
    pub nonce: u64,
    /// The transaction's hash.
    pub transaction: B256,
}

impl Anchor {
    /// What an entry anchors, if it is an anchor. The head is the entry before it, whatever it says itself.
    #[must_use]
    pub fn of(entry: &Entry) -> Option<Self> {
        if entry.act != ACT || entry.seq == 0 {
            return None;
        }
        let head = Head { seq: entry.seq - 1, hash: entry.prev };
        let (nonce, transaction) = (entry.number("nonce")?, B256::new(entry.bytes32("transaction")?));
        Some(Self { seq: entry.seq, head, account: entry.key.address(), nonce, transaction })
    }
}

/// What the chain says of one anchor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnChain {
    /// Height of its block; `None` while it is in none.
    pub height: Option<u64>,
    /// Who sent it.
    pub from: Address,
    /// To whom.
    pub to: Option<Address>,
    /// Its data.
    pub input: Bytes,
}

/// Why log and chain do not agree.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnchorError {
    /// The chain has another hash for that entry.
    #[error(
        "entry {seq} is not the one whose hash was anchored on chain in transaction {transaction}: the log before it was changed"
    )]
    Other {
        /// The anchored entry.
        seq: u64,
        /// The transaction.
        transaction: B256,
    },
    /// The chain has anchors that the log does not know.
    #[error(
        "the chain has an anchor of account {account} with nonce {nonce} that the log does not know: entries are missing, at the \
         end of the log or all before entry {first}"
    )]
    Missing {
        /// The node's account.
        account: Address,
        /// The nonce.
        nonce: u64,
        /// The log's first entry.
        first: u64,
    },
}

/// Compares one anchor with its transaction on chain. True if it is in a block.
pub fn check(anchor: &Anchor, found: Option<&OnChain>) -> Result<bool, AnchorError> {
    // One that is not there was never taken into a block: the node sends another.
    let Some(found) = found else { return Ok(false) };
    let same = found.from == anchor.account && found.to == Some(ADDRESS) && found.input == payload(anchor.head);
    match same {
        true => Ok(found.height.is_some()),
        false => Err(AnchorError::Other { seq: anchor.head.seq, transaction: anchor.transaction }),
    }
}

/// Compares the anchors that the log knows with how many transactions each account has sent. `removed` says that the log's
/// first files were removed in order, and their anchors with them.
pub fn check_complete(
    anchors: &[Anchor],
    sent: &BTreeMap<Address, u64>,
    first: u64,
    removed: bool,
) -> Result<(), AnchorError> {
    for (account, sent) in sent {
        let known: std::collections::BTreeSet<u64> =
            anchors.iter().filter(|a| a.account == *account).map(|a| a.nonce).collect();
        let from = if removed { known.first().copied().unwrap_or(*sent) } else { 0 };
        let from = if removed && known.is_empty() && *sent > 0 { sent - 1 } else { from };
        if let Some(nonce) = (from..*sent).find(|nonce| !known.contains(nonce)) {
            return Err(AnchorError::Missing { account: *account, nonce, first });
        }
    }
    Ok(())
}
