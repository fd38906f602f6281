//! Blocks and what is in them.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bloom, Bytes};
use basalt_primitives::{Header, block::transactions_root, receipt::receipts_root};
use serde_json::Value;

use super::super::{
    RpcError,
    format::{BlockJson, ReceiptJson, TxJson},
    ports::BlockView,
    registry::{Call, Registry},
    types::{BlockId, Hex64},
};
use super::fees;
use crate::clock;

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
    if id == BlockId::Pending {
        return Ok(Some(BlockJson::pending(&to_come(c)?)));
    }
    let Some(view) = c.app.chain.view(id)? else { return Ok(None) };
    if !full.unwrap_or(false) {
        return Ok(Some(BlockJson::new(&view, None)));
    }
    let (txs, receipts) = (c.app.chain.transactions(&view)?, c.app.chain.receipts(&view)?);
    Ok(Some(BlockJson::new(&view, Some((&txs, &receipts)))))
}

/// The block to come, on the newest one and without transactions: what waits in the mempool has not been ordered.
fn to_come(c: &Call) -> Result<BlockView, RpcError> {
    let head = c.app.chain.head_view()?;
    let hash_fn = c.app.spec.hash_fn;
    let height = head.height().next();
    let header = Header {
        height,
        timestamp_ms: clock::wall_ms().max(head.header.timestamp_ms + 1),
        parent_hash: head.hash,
        transactions_root: transactions_root(hash_fn, &[]),
        base_fee: fees::base_fee_after(&c.app, &head),
        proposer: Address::ZERO,
        ..head.header.clone()
    };
    Ok(BlockView {
        hash: B256::ZERO,
        header,
        state_root: head.state_root,
        receipts_root: receipts_root(hash_fn, &[]),
        gas_used: 0,
        bloom: Bloom::ZERO,
        tx_hashes: Vec::new(),
        size_bytes: 0,
        fork: c.app.spec.fork_at(height),
    })
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
