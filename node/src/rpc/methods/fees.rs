//! What gas costs.

use basalt_primitives::{Height, Receipt, chainspec::Fees};
use serde::Serialize;

use super::super::{
    App, RpcError,
    ports::BlockView,
    registry::{Call, Registry},
    types::{BlockId, Hex64, Hex128},
};

/// Most blocks of one `eth_feeHistory`, as geth has it.
const MAX_HISTORY: u64 = 1_024;
/// Most blocks of one `eth_feeHistory` with rewards, which reads every receipt.
const MAX_REWARD_BLOCKS: u64 = 128;
/// Most percentiles of one `eth_feeHistory`.
const MAX_PERCENTILES: usize = 100;
/// How many blocks the suggested tip looks back.
const TIP_BLOCKS: u64 = 5;
/// Suggested tip, in wei, when recent blocks say nothing and gas is not free.
const DEFAULT_TIP: u128 = 1_000_000;

pub(super) fn add(r: &mut Registry) {
    r.blocking("eth_gasPrice", &[], |c: &Call, ()| Ok(Hex128(next_base_fee(&c.app)? + suggested_tip(&c.app)?)));
    r.blocking("eth_maxPriorityFeePerGas", &[], |c: &Call, ()| Ok(Hex128(suggested_tip(&c.app)?)));
    // There is no blob market: BLOBBASEFEE stands at EIP-4844's minimum for ever.
    r.quick("eth_blobBaseFee", &[], |_: &Call, ()| Ok(Hex128(basalt_execution::env::BLOB_BASE_FEE)));
    r.quick("eth_baseFee", &[], |c: &Call, ()| Ok(Hex128(next_base_fee(&c.app)?)));
    r.blocking(
        "eth_feeHistory",
        &["blockCount", "newestBlock", "rewardPercentiles"],
        |c: &Call, (count, newest, percentiles): (Hex64, BlockId, Option<Vec<f64>>)| {
            history(&c.app, count.0, newest, percentiles.as_deref().unwrap_or_default())
        },
    );
}

/// The base fee of the block that follows.
pub(super) fn base_fee_after(app: &App, view: &BlockView) -> u64 {
    let h = &view.header;
    app.spec.next_base_fee(h.height, h.base_fee, view.gas_used, h.gas_limit)
}

/// Base fee of the next block, in wei per gas.
pub(super) fn next_base_fee(app: &App) -> Result<u128, RpcError> {
    if let Some(fee) = app.ports.dev.as_ref().and_then(|dev| dev.next.wishes().base_fee) {
        return Ok(fee.into());
    }
    Ok(base_fee_after(app, &*app.chain.head_view()?).into())
}

/// The 60th percentile of what the transactions of the last blocks paid; nothing where gas is free.
fn suggested_tip(app: &App) -> Result<u128, RpcError> {
    if app.spec.fees == Fees::Zero {
        return Ok(0);
    }
    let head = app.chain.reader().head().0;
    let mut tips = Vec::new();
    for n in head.saturating_sub(TIP_BLOCKS - 1)..=head {
        let Some(view) = app.chain.view(BlockId::Number(n))? else { continue };
        let base = u128::from(view.header.base_fee);
        tips.extend(app.chain.receipts(&view)?.iter().map(|r| r.effective_gas_price.saturating_sub(base)));
    }
    tips.sort_unstable();
    Ok(tips.get(tips.len() * 6 / 10).copied().unwrap_or(DEFAULT_TIP))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct History {
    oldest_block: Hex64,
    base_fee_per_gas: Vec<Hex64>,
    gas_used_ratio: Vec<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reward: Option<Vec<Vec<Hex128>>>,
}

fn history(app: &App, count: u64, newest: BlockId, percentiles: &[f64]) -> Result<History, RpcError> {
    check_percentiles(percentiles)?;
    let missing = || RpcError::server("request beyond head block: the newest block asked for does not exist yet");
    let newest = app.chain.resolve(newest)?.ok_or_else(missing)?;
    let most = if percentiles.is_empty() { MAX_HISTORY } else { MAX_REWARD_BLOCKS };
    let count = count.min(most).min(newest.0 + 1);
    let oldest = newest.0 + 1 - count;
    let mut out = History {
        oldest_block: Hex64(oldest),
        base_fee_per_gas: Vec::new(),
        gas_used_ratio: Vec::new(),
        reward: (!percentiles.is_empty()).then(Vec::new),
    };
    for n in oldest..=newest.0 {
        let view = app.chain.view(BlockId::Number(n))?.ok_or_else(missing)?;
        out.base_fee_per_gas.push(Hex64(view.header.base_fee));
        out.gas_used_ratio.push(view.gas_used as f64 / view.header.gas_limit.max(1) as f64);
        if let Some(reward) = &mut out.reward {
            reward.push(rewards(&app.chain.receipts(&view)?, view.header.base_fee, percentiles));
        }
        if Height(n) == newest {
            out.base_fee_per_gas.push(Hex64(base_fee_after(app, &view)));
        }
    }
    Ok(out)
}

fn check_percentiles(percentiles: &[f64]) -> Result<(), RpcError> {
    if percentiles.len() > MAX_PERCENTILES {
        return Err(RpcError::params(format!("over the query limit {MAX_PERCENTILES} of reward percentiles")));
    }
    let in_range = percentiles.iter().all(|p| (0.0..=100.0).contains(p));
    if !in_range || percentiles.windows(2).any(|w| w[0] > w[1]) {
        return Err(RpcError::params("invalid reward percentile: they must rise and be between 0 and 100"));
    }
    Ok(())
}

/// Tips at percentiles of the block's gas, the transactions sorted by tip.
fn rewards(receipts: &[Receipt], base_fee: u64, percentiles: &[f64]) -> Vec<Hex128> {
    let tip = |r: &Receipt| r.effective_gas_price.saturating_sub(base_fee.into());
    let mut sorted: Vec<(u128, u64)> = receipts.iter().map(|r| (tip(r), r.gas_used)).collect();
    sorted.sort_unstable();
    let total: u64 = sorted.iter().map(|(_, gas)| gas).sum();
    let at = |p: &f64| {
        let threshold = (total as f64 * p / 100.0) as u64;
        let mut sum = 0;
        let found = sorted.iter().find(|(_, gas)| {
            sum += gas;
            sum >= threshold
        });
        Hex128(found.map_or(0, |(tip, _)| *tip))
    };
    percentiles.iter().map(at).collect()
}
