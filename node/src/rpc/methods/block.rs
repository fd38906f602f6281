//! Blocks and what is in them.

use std::sync::Arc;

use alloy_primitives::{B256, Bytes};
use serde_json::Value;

use super::super::{
    RpcError,
    format::{BlockJson, ReceiptJson, TxJson},
    ports::BlockView,
    registry::{Call, Registry},
    types::{BlockId, Hex64},
};

pub(super) fn add(r: &mut Registry) {
    r.quick("eth_blockNumber", &[], |c: &Call, ()| Ok(Hex64(c.app.chain.reader().head().0)));
    r.blocking("eth_getBlockByNumber", &["block", "hydrated"], |c: &Call, (id, full): (BlockId, Option<bool>)| {
        block(c, id, full)
    });
    r.blocking("eth_getBlockByHash", &["hash", "hydrated"], |c: &Call, (hash, full): (B256, Option<bool>)| {
        block(c, BlockId::Hash(hash), full)
    });
    r.quick("eth_getBlockTransactionCountByNumber", &["block"], |c: &Call, (id,): (BlockId,)| count(c, id));
    r.quick("eth_getBlockTransactionCountByHash", &["hash"], |c: &Call, (h,): (B256,)| count(c, BlockId::Hash(h)));
    r.quick("eth_getUncleCountByBlockNumber", &["block"], |c: &Call, (id,): (BlockId,)| uncles(c, id));
    r.quick("eth_getUncleCountByBlockHash", &["hash"], |c: &Call, (h,): (B256,)| uncles(c, BlockId::Hash(h)));
    r.quick("eth_getUncleByBlockNumberAndIndex", &["block", "index"], |_: &Call, _: (BlockId, Hex64)| Ok(Value::Null));
    r.quick("eth_getUncleByBlockHashAndIndex", &["hash", "index"], |_: &Call, _: (B256, Hex64)| Ok(Value::Null));
    r.blocking("eth_getBlockReceipts", &["block"], |c: &Call, (id,): (BlockId,)| receipts(c, id));
    r.quick(
        "eth_getRawTransactionByBlockNumberAndIndex",
        &["block", "index"],
        |c: &Call, (id, index): (BlockId, Hex64)| raw_transaction(c, id, index),
    );
    r.quick("eth_getRawTransactionByBlockHashAndIndex", &["hash", "index"], |c: &Call, (h, index): (B256, Hex64)| {
        raw_transaction(c, BlockId::Hash(h), index)
    });
    r.quick(
        "eth_getTransactionByBlockNumberAndIndex",
        &["block", "index"],
        |c: &Call, (id, index): (BlockId, Hex64)| transaction(c, id, index),
    );
    r.quick("eth_getTransactionByBlockHashAndIndex", &["hash", "index"], |c: &Call, (h, index): (B256, Hex64)| {
        transaction(c, BlockId::Hash(h), index)
    });
}

fn block(c: &Call, id: BlockId, full: Option<bool>) -> Result<Option<BlockJson>, RpcError> {
    let Some(view) = c.app.chain.view(id)? else { return Ok(None) };
    if !full.unwrap_or(false) {
        return Ok(Some(BlockJson::new(&view, None)));
    }
    let (txs, receipts) = (c.app.chain.transactions(&view)?, c.app.chain.receipts(&view)?);
    Ok(Some(BlockJson::new(&view, Some((&txs, &receipts)))))
}

fn count(c: &Call, id: BlockId) -> Result<Option<Hex64>, RpcError> {
    Ok(c.app.chain.view(id)?.map(|v| Hex64(v.tx_hashes.len() as u64)))
}

fn uncles(c: &Call, id: BlockId) -> Result<Option<Hex64>, RpcError> {
    Ok(c.app.chain.resolve(id)?.map(|_| Hex64(0)))
}

fn receipts(c: &Call, id: BlockId) -> Result<Option<Vec<ReceiptJson>>, RpcError> {
    let Some(view) = c.app.chain.view(id)? else { return Ok(None) };
    let (txs, receipts) = (c.app.chain.transactions(&view)?, c.app.chain.receipts(&view)?);
    Ok(Some(ReceiptJson::all(&receipts, &txs, &view)))
}

fn transaction(c: &Call, id: BlockId, index: Hex64) -> Result<Option<TxJson>, RpcError> {
    let Some(view) = c.app.chain.view(id)? else { return Ok(None) };
    let Ok(index) = u32::try_from(index.0) else { return Ok(None) };
    at(c, &view, index)
}

/// Its bytes as they were signed; empty if there is none, as geth has it.
fn raw_transaction(c: &Call, id: BlockId, index: Hex64) -> Result<Bytes, RpcError> {
    let (Some(view), Ok(index)) = (c.app.chain.view(id)?, u32::try_from(index.0)) else { return Ok(Bytes::new()) };
    Ok(c.app.chain.transaction(&view, index)?.map(|t| t.raw().clone()).unwrap_or_default())
}

/// The transaction at an index of a block, as it is shown.
pub(super) fn at(c: &Call, view: &Arc<BlockView>, index: u32) -> Result<Option<TxJson>, RpcError> {
    let receipts = c.app.chain.receipts(view)?;
    let Some(receipt) = receipts.get(index as usize) else { return Ok(None) };
    let tx = c.app.chain.transaction(view, index)?;
    Ok(tx.map(|t| TxJson::mined(&t, view, index as usize, receipt)))
}
