//! The mempool, as geth shows it.

use std::{collections::BTreeMap, sync::Arc};

use alloy_primitives::{Address, B256};
use basalt_primitives::Transaction;
use serde::Serialize;
use serde_json::{Value, json};

use super::super::{
    RpcError,
    format::TxJson,
    registry::{Call, Registry},
    types::Hex64,
};
use crate::{
    mempool::{Explanation, PoolContent, SenderContent, Standing},
    rpc::ports::StateAt,
};

pub(super) fn add(r: &mut Registry) {
    r.quick("txpool_status", &[], |c: &Call, ()| {
        let s = c.app.ports.pool.status();
        Ok(json!({ "pending": Hex64(s.pending as u64), "queued": Hex64(s.queued as u64) }))
    });
    r.blocking("txpool_content", &[], |c: &Call, ()| Ok(by_sender(&content(c)?, TxJson::pending)));
    r.blocking("txpool_inspect", &[], |c: &Call, ()| Ok(by_sender(&content(c)?, summary)));
    r.blocking("txpool_explain", &["what"], |c: &Call, (what,): (String,)| explain(c, &what));
    r.blocking("txpool_contentFrom", &["address"], |c: &Call, (address,): (Address,)| {
        let SenderContent { pending, queued } = c.app.ports.pool.content_of(&address);
        Ok(json!({ "pending": by_nonce(&pending, TxJson::pending), "queued": by_nonce(&queued, TxJson::pending) }))
    });
}

/// Why a transaction, or the next one of an account, is not in a block, and what to do.
fn explain(c: &Call, what: &str) -> Result<Explanation, RpcError> {
    if let Ok(hash) = what.parse::<B256>() {
        return explain_transaction(c, hash);
    }
    let address: Address = what
        .parse()
        .map_err(|_| RpcError::params("expected a transaction hash (32 bytes of hex) or an address (20 bytes)"))?;
    let next = c.app.chain.reader().account(StateAt::Latest, &address)?.unwrap_or_default().nonce;
    // What left is old news once the account has used its nonce.
    let waits = |e: &Explanation| matches!(e.state, Standing::Ready | Standing::Waiting | Standing::Queued);
    let news = |e: &Explanation| waits(e) || e.nonce.is_some_and(|n| n >= next);
    if let Some(found) = c.app.ports.pool.explain_sender(&address).filter(news) {
        return Ok(found);
    }
    let reason = format!("no transaction of {address} waits here; its next nonce is {next}");
    let mend = "ask with the transaction's hash, or at the node it was sent to; if it is lost, send it again";
    let outside = Explanation::outside(Standing::Unknown, None, reason, mend);
    Ok(Explanation { sender: Some(address), nonce: Some(next), ..outside })
}

fn explain_transaction(c: &Call, hash: B256) -> Result<Explanation, RpcError> {
    if let Some((height, index)) = c.app.chain.reader().locate(&hash)? {
        let reason = format!("it is in block {height} at index {index}");
        return Ok(Explanation::outside(
            Standing::Included,
            Some(hash),
            reason,
            "nothing; its receipt says how it ended",
        ));
    }
    if let Some(found) = c.app.ports.pool.explain(&hash) {
        return Ok(found);
    }
    let reason = "it is in no block, and this node does not know it or has forgotten why it left the pool".to_owned();
    let mend =
        "send it again and read the answer; if its nonce is used, another transaction of its sender took its place";
    Ok(Explanation::outside(Standing::Unknown, Some(hash), reason, mend))
}

/// Most transactions shown at once.
const MAX_SHOWN: usize = 10_000;

fn content(c: &Call) -> Result<PoolContent, RpcError> {
    let status = c.app.ports.pool.status();
    let count = status.pending + status.queued;
    if count > MAX_SHOWN {
        return Err(RpcError::limit(format!(
            "the pool holds {count} transactions, more than the limit of {MAX_SHOWN} to show at once; use txpool_contentFrom"
        )));
    }
    Ok(c.app.ports.pool.content())
}

#[derive(Serialize)]
struct Content<T> {
    pending: BTreeMap<String, BTreeMap<String, T>>,
    queued: BTreeMap<String, BTreeMap<String, T>>,
}

fn by_sender<T>(content: &PoolContent, show: impl Fn(&Transaction) -> T + Copy) -> Content<T> {
    let pick = |of: fn(&SenderContent) -> &[Arc<Transaction>]| {
        let with = content.iter().filter(|(_, s)| !of(s).is_empty());
        with.map(|(a, s)| (a.to_checksum(None), by_nonce(of(s), show))).collect()
    };
    Content { pending: pick(|s| &s.pending), queued: pick(|s| &s.queued) }
}

fn by_nonce<T>(txs: &[Arc<Transaction>], show: impl Fn(&Transaction) -> T) -> BTreeMap<String, T> {
    txs.iter().map(|t| (t.payload().nonce().to_string(), show(t))).collect()
}

fn summary(tx: &Transaction) -> Value {
    let p = tx.payload();
    let to = p.to().map_or("contract creation".to_owned(), |a| a.to_checksum(None));
    Value::String(format!("{to}: {} wei + {} gas × {} wei", p.value(), p.gas_limit(), p.max_fee_per_gas()))
}
