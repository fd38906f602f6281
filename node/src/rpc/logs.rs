//! Log filters: what they match, and the search over blocks, which the chain's log index answers.

use alloy_primitives::{Address, B256};
use basalt_primitives::{Height, Receipt};
use serde::Deserialize;

use super::{
    App, RpcError,
    chain::Chain,
    format::LogJson,
    ports::{BlockView, LogQuery, LogSearch, SCANNED_BLOCKS, matching, may_match},
    types::BlockId,
};

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
pub struct LogFilter(LogQuery);

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
        Ok((LogFilter(LogQuery { addresses, topics }), range))
    }
}

/// No topic, or null among the alternatives, lets everything through.
fn alternatives(topic: Option<OneOrMany<Option<B256>>>) -> Vec<B256> {
    let all = topic.map(OneOrMany::into_vec).unwrap_or_default();
    all.into_iter().collect::<Option<Vec<_>>>().unwrap_or_default()
}

impl LogFilter {
    /// Whether a block with this bloom may have a log that passes.
    #[must_use]
    pub fn may_match(&self, bloom: &alloy_primitives::Bloom) -> bool {
        may_match(&self.0, bloom)
    }

    /// The logs of a block that pass.
    pub fn collect<'a>(&'a self, view: &'a BlockView, receipts: &'a [Receipt]) -> impl Iterator<Item = LogJson> + 'a {
        matching(&self.0, view, receipts).map(LogJson::found)
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
            one_block(app, filter, &view)
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
    match app.chain.reader().find_logs(&filter.0, from, to, app.config.max_logs)? {
        LogSearch::Found(logs) => Ok(logs.into_iter().map(LogJson::found).collect()),
        LogSearch::TooMany(height) => Err(too_many(app, height)),
        LogSearch::TooMuchWork(height) => Err(RpcError::limit(format!(
            "query takes more work than the limit allows and stopped at block {height}; ask for a smaller range or a narrower filter"
        ))),
        LogSearch::NotIndexed(blocks) => Err(RpcError::limit(format!(
            "query exceeds the limit of {SCANNED_BLOCKS} blocks without a log index: {blocks} of those asked for were stored by \
             an older version; ask for smaller ranges"
        ))),
    }
}

fn one_block(app: &App, filter: &LogFilter, view: &BlockView) -> Result<Vec<LogJson>, RpcError> {
    if view.bloom.is_zero() || !filter.may_match(&view.bloom) {
        return Ok(Vec::new());
    }
    let receipts = app.chain.receipts(view)?;
    let found: Vec<LogJson> = filter.collect(view, &receipts).take(app.config.max_logs + 1).collect();
    if found.len() > app.config.max_logs { Err(too_many(app, view.height())) } else { Ok(found) }
}

fn too_many(app: &App, height: Height) -> RpcError {
    RpcError::limit(format!(
        "query returned more than the limit of {} logs by block {height}; ask for a smaller range or a narrower filter",
        app.config.max_logs
    ))
}
