//! The mempool, as geth shows it.

use std::{collections::BTreeMap, sync::Arc};

use alloy_primitives::Address;
use basalt_primitives::Transaction;
use serde::Serialize;
use serde_json::{Value, json};

use super::super::{
    RpcError,
    format::TxJson,
    registry::{Call, Registry},
    types::Hex64,
};
use crate::mempool::{PoolContent, SenderContent};

pub(super) fn add(r: &mut Registry) {
    r.quick("txpool_status", &[], |c: &Call, ()| {
        let s = c.app.ports.pool.status();
        Ok(json!({ "pending": Hex64(s.pending as u64), "queued": Hex64(s.queued as u64) }))
    });
    r.blocking("txpool_content", &[], |c: &Call, ()| Ok(by_sender(&content(c)?, TxJson::pending)));
    r.blocking("txpool_inspect", &[], |c: &Call, ()| Ok(by_sender(&content(c)?, summary)));
    r.blocking("txpool_contentFrom", &["address"], |c: &Call, (address,): (Address,)| {
        let SenderContent { pending, queued } = c.app.ports.pool.content_of(&address);
        Ok(json!({ "pending": by_nonce(&pending, TxJson::pending), "queued": by_nonce(&queued, TxJson::pending) }))
    });
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
