//! Sending transactions and asking what became of them.

use alloy_primitives::{B256, Bytes};
use serde::Serialize;

use super::{
    super::{
        RpcError,
        format::{ReceiptJson, TxJson},
        ports::SubmitError,
        registry::{Call, Registry},
        types::BlockId,
    },
    block,
};

/// Most transactions of one `basalt_sendRawTransactions`.
const MAX_BATCH: usize = 10_000;

pub(super) fn add(r: &mut Registry) {
    r.together("eth_sendRawTransaction", &["transaction"], |c: Call, raws: Vec<(Bytes,)>| async move {
        let arrival = c.caller.arrival.map(|a| a.by("eth_sendRawTransaction"));
        let answers = c.app.ports.submit.submit(raws.into_iter().map(|(raw,)| raw).collect(), arrival).await;
        answers.into_iter().map(|a| a.map_err(RpcError::from)).collect()
    });
    r.waiting("basalt_sendRawTransactions", &["transactions"], |c: Call, (raw,): (Vec<Bytes>,)| send_many(c, raw));
    r.quick("eth_getTransactionByHash", &["hash"], |c: &Call, (h,): (B256,)| by_hash(c, &h));
    r.quick("eth_getRawTransactionByHash", &["hash"], |c: &Call, (h,): (B256,)| raw_by_hash(c, &h));
    r.blocking("eth_getTransactionReceipt", &["hash"], |c: &Call, (h,): (B256,)| receipt(c, &h));
}

/// What became of one transaction of a batch.
#[derive(Serialize)]
#[serde(untagged)]
enum Sent {
    Accepted { hash: B256 },
    Refused { error: RpcError },
}

async fn send_many(c: Call, raw: Vec<Bytes>) -> Result<Vec<Sent>, RpcError> {
    if raw.len() > MAX_BATCH {
        return Err(RpcError::params(format!("{} transactions given, the limit is {MAX_BATCH}", raw.len())));
    }
    let answers = c.app.ports.submit.submit(raw, c.caller.arrival.map(|a| a.by("basalt_sendRawTransactions"))).await;
    let sent = |a: Result<B256, SubmitError>| match a {
        Ok(hash) => Sent::Accepted { hash },
        Err(e) => Sent::Refused { error: e.into() },
    };
    Ok(answers.into_iter().map(sent).collect())
}

fn by_hash(c: &Call, hash: &B256) -> Result<Option<TxJson>, RpcError> {
    if let Some((height, index)) = c.app.chain.reader().locate(hash)? {
        let Some(view) = c.app.chain.view(BlockId::Number(height.0))? else { return Ok(None) };
        return block::at(c, &view, index);
    }
    Ok(c.app.ports.pool.get(hash).map(|t| TxJson::pending(&t)))
}

/// The bytes of a transaction; empty if there is none.
pub(super) fn raw_by_hash(c: &Call, hash: &B256) -> Result<Bytes, RpcError> {
    let tx = match c.app.chain.reader().locate(hash)? {
        Some((height, index)) => c.app.chain.reader().transaction(height, index)?.map(|t| t.raw().clone()),
        None => c.app.ports.pool.get(hash).map(|t| t.raw().clone()),
    };
    Ok(tx.unwrap_or_default())
}

fn receipt(c: &Call, hash: &B256) -> Result<Option<ReceiptJson>, RpcError> {
    let Some((height, index)) = c.app.chain.reader().locate(hash)? else { return Ok(None) };
    let Some(view) = c.app.chain.view(BlockId::Number(height.0))? else { return Ok(None) };
    let receipts = c.app.chain.receipts(&view)?;
    let (before, rest) = receipts.split_at(receipts.len().min(index as usize));
    let (Some(receipt), Some(tx)) = (rest.first(), c.app.chain.transaction(&view, index)?) else { return Ok(None) };
    let first_log = before.iter().map(|r| r.logs.len()).sum();
    let json = ReceiptJson::new(receipt, &tx, &view, index as usize, first_log);
    let on_top = c.app.chain.reader().head().0.saturating_sub(height.0);
    Ok(Some(if c.app.spec.pow().is_some() { json.confirmed_by(on_top + 1) } else { json }))
}
