//! The chain as the node's parts share it: rules, ledger and executor, and the adapters between storage and those who own
//! a port to it. Storage and execution do not know each other; they meet here.

mod calls;
mod logs;
pub(crate) mod proof;
mod prune;
mod reader;
mod simulate;
mod state;
#[cfg(test)]
mod tests;
mod traces;

use std::{collections::VecDeque, sync::Arc};

use basalt_execution::{BlockEnv, Executor};
use basalt_primitives::{B256, ChainSpec, Header};
use basalt_storage::{Head, Ledger};
use parking_lot::Mutex;

pub use prune::prune_states;
pub(crate) use simulate::unsigned_tx;
pub use state::{PastView, StateView};

use crate::{dev::NextBlock, driver::branches, rpc::ports::BlockView, validators::ValidatorSets};

/// How many blocks clients can lag behind the head and still be answered from memory.
const NEWEST: usize = 16;

/// The newest blocks as clients see them, made when they were executed: whoever polls need not have them read, decoded and
/// hashed again.
#[derive(Clone, Debug, Default)]
pub struct Newest(Arc<Mutex<VecDeque<Arc<BlockView>>>>);

impl Newest {
    /// Keeps the head's.
    pub fn push(&self, view: Arc<BlockView>) {
        let mut views = self.0.lock();
        views.push_front(view);
        views.truncate(NEWEST);
    }

    /// The block of this hash.
    #[must_use]
    pub fn get(&self, hash: &B256) -> Option<Arc<BlockView>> {
        self.0.lock().iter().find(|v| v.hash == *hash).cloned()
    }
}

/// What every part of a node needs of its chain. Cheap to clone.
#[derive(Clone)]
pub struct Chain {
    /// The rules.
    pub spec: Arc<ChainSpec>,
    /// Hash of the genesis block.
    pub genesis: B256,
    /// Who votes when.
    pub sets: ValidatorSets,
    /// The finalized chain and its state.
    pub ledger: Arc<Ledger>,
    /// Runs transactions.
    pub executor: Arc<Executor>,
    /// On a development network: what the next block shall be like.
    pub next_block: Option<NextBlock>,
    /// The newest blocks as clients see them.
    pub newest: Newest,
}

impl Chain {
    /// The environment of a block on `parent`: where headers' times may go back, contracts see the highest so far.
    #[must_use]
    pub fn env_on(&self, parent: &Head, header: &Header) -> BlockEnv {
        let env = BlockEnv::of(header);
        if self.spec.pow().is_some() { env.at(branches::time_after(parent, header)) } else { env }
    }

    /// Most gas of the block after `head`: what its header says, unless it was set otherwise on a development network.
    #[must_use]
    pub fn next_gas_limit(&self, head: &Head) -> u64 {
        let wish = self.next_block.as_ref().and_then(|next| next.wishes().gas_limit);
        wish.unwrap_or(head.block.header().gas_limit)
    }
}
