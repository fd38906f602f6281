//! Log filters: what they match, and the scan over blocks. A block whose bloom cannot contain a match is passed over
//! without reading its receipts.

use alloy_primitives::{Address, B256, Bloom, BloomInput};
use basalt_primitives::{Height, Log, Receipt};
use serde::Deserialize;

use super::{App, RpcError, chain::Chain, format::LogJson, ports::BlockView, types::BlockId};

/// Most addresses in a filter, and most alternatives for one topic.
const MAX_ALTERNATIVES: usize = 1_000;

/// One or many, as clients send it.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(v) => vec![v],
            Self::Many(v) => v,
        }
    }
}

/// The filter object of `eth_getLogs`, `eth_newFilter` and `eth_subscribe`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FilterArgs {
    from_block: Option<BlockId>,
    to_block: Option<BlockId>,
    block_hash: Option<B256>,
    address: Option<OneOrMany<Address>>,
    topics: Option<Vec<Option<OneOrMany<Option<B256>>>>>,
}

/// What a filter lets through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogFilter {
    /// Any of these; empty for all.
    addresses: Vec<Address>,
    /// By position any of these; empty for all.
    topics: Vec<Vec<B256>>,
}

/// Which blocks a filter looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogRange {
    /// One block.
    Block(B256),
    /// From one to the other, both included.
    Between(BlockId, BlockId),
}

impl FilterArgs {
    /// Checks and splits into what and where.
    pub fn split(self) -> Result<(LogFilter, LogRange), RpcError> {
        let range = match (self.block_hash, self.from_block, self.to_block) {
            (Some(h), None, None) => LogRange::Block(h),
            (Some(_), _, _) => {
                return Err(RpcError::params(
                    "cannot specify both blockHash and fromBlock/toBlock, choose one or the other",
                ));
            }
            (None, from, to) => LogRange::Between(from.unwrap_or_default(), to.unwrap_or_default()),
        };
        let addresses = self.address.map(OneOrMany::into_vec).unwrap_or_default();
        let topics: Vec<Vec<B256>> = self.topics.unwrap_or_default().into_iter().map(alternatives).collect();
        if topics.len() > 4 {
            return Err(RpcError::params(format!("{} topics given; a log has at most 4", topics.len())));
        }
        if addresses.len() > MAX_ALTERNATIVES || topics.iter().any(|t| t.len() > MAX_ALTERNATIVES) {
            let text =
                format!("more than {MAX_ALTERNATIVES} addresses or alternatives of a topic; use several filters");
            return Err(RpcError::params(text));
        }
        Ok((LogFilter { addresses, topics }, range))
    }
}

/// No topic, or null among the alternatives, lets everything through.
fn alternatives(topic: Option<OneOrMany<Option<B256>>>) -> Vec<B256> {
    let all = topic.map(OneOrMany::into_vec).unwrap_or_default();
    all.into_iter().collect::<Option<Vec<_>>>().unwrap_or_default()
}

impl LogFilter {
    /// Whether a log passes.
    #[must_use]
    pub fn matches(&self, log: &Log) -> bool {
        let any =
            |wanted: &[B256], topic: Option<&B256>| topic.is_some_and(|t| wanted.is_empty() || wanted.contains(t));
        (self.addresses.is_empty() || self.addresses.contains(&log.address))
            && self.topics.iter().enumerate().all(|(i, wanted)| any(wanted, log.topics.get(i)))
    }

    /// Whether a block with this bloom may have a log that passes.
    #[must_use]
    pub fn may_match(&self, bloom: &Bloom) -> bool {
        let has = |bytes: &[u8]| bloom.contains_input(BloomInput::Raw(bytes));
        (self.addresses.is_empty() || self.addresses.iter().any(|a| has(a.as_slice())))
            && self.topics.iter().all(|t| t.is_empty() || t.iter().any(|h| has(h.as_slice())))
    }

    /// The logs of a block that pass, appended; stops beyond `limit`.
    pub fn collect(&self, view: &BlockView, receipts: &[Receipt], limit: usize, out: &mut Vec<LogJson>) -> bool {
        let mut index = 0;
        for (tx_index, receipt) in receipts.iter().enumerate() {
            for log in &receipt.logs {
                if self.matches(log) {
                    if out.len() >= limit {
                        return false;
                    }
                    out.push(LogJson::new(log, view, receipt.tx_hash, tx_index, index));
                }
                index += 1;
            }
        }
        true
    }
}

/// Answers `eth_getLogs`.
pub fn get_logs(app: &App, args: FilterArgs) -> Result<Vec<LogJson>, RpcError> {
    let (filter, range) = args.split()?;
    query(app, &filter, range)
}

/// All logs in a range that pass.
pub fn query(app: &App, filter: &LogFilter, range: LogRange) -> Result<Vec<LogJson>, RpcError> {
    match range {
        LogRange::Block(hash) => {
            let unknown = || RpcError::server("unknown block: this node has no block with this hash");
            let view = app.chain.view(BlockId::Hash(hash))?.ok_or_else(unknown)?;
            let mut out = Vec::new();
            scan_block(&app.chain, filter, &view, app.config.max_logs, &mut out)?;
            Ok(out)
        }
        LogRange::Between(from, to) => {
            let Some((from, to)) = heights(&app.chain, from, to)? else { return Ok(Vec::new()) };
            scan(app, filter, from, to)
        }
    }
}

/// The heights of a range, cut at the head; `None` if it begins above.
fn heights(chain: &Chain, from: BlockId, to: BlockId) -> Result<Option<(Height, Height)>, RpcError> {
    let head = chain.reader().head();
    let height = |id| match id {
        BlockId::Number(n) => Ok(Height(n)),
        id => {
            chain.resolve(id)?.ok_or_else(|| RpcError::server("unknown block: this node has no block with this hash"))
        }
    };
    let (from, to) = (height(from)?, height(to)?);
    if from > to {
        return Err(RpcError::params("invalid block range params: fromBlock is after toBlock"));
    }
    Ok((from <= head).then(|| (from, to.min(head))))
}

/// The logs of `from..=to` that pass, within the limits.
pub fn scan(app: &App, filter: &LogFilter, from: Height, to: Height) -> Result<Vec<LogJson>, RpcError> {
    let blocks = to.0.saturating_sub(from.0).saturating_add(1);
    let limit = app.config.max_logs_blocks;
    if blocks > limit {
        return Err(RpcError::limit(format!(
            "query exceeds the limit of {limit} blocks: {blocks} asked for; ask for smaller ranges"
        )));
    }
    let mut out = Vec::new();
    for height in from.0..=to.0 {
        let Some(view) = app.chain.view(BlockId::Number(height))? else { break };
        scan_block(&app.chain, filter, &view, app.config.max_logs, &mut out)?;
    }
    Ok(out)
}

fn scan_block(
    chain: &Chain,
    filter: &LogFilter,
    view: &BlockView,
    limit: usize,
    out: &mut Vec<LogJson>,
) -> Result<(), RpcError> {
    if view.bloom.is_zero() || !filter.may_match(&view.bloom) {
        return Ok(());
    }
    if filter.collect(view, &chain.receipts(view)?, limit, out) {
        return Ok(());
    }
    Err(RpcError::limit(format!(
        "query returned more than the limit of {limit} logs by block {}; ask for a smaller range or a narrower filter",
        view.height()
    )))
}
