//! EVM execution and the state trie.
//!
//! Transactions of an ordered block come in with the block's environment and a [`StateReader`] of the state before it;
//! receipts and [`StateChanges`](basalt_primitives::state::StateChanges) go out ([`Executor`]). The changes go into the
//! [`trie`], which answers with the new state root and the nodes to write. Nothing here writes to disk, and nothing knows
//! how state is stored: execution owns the ports it reads through ([`ports`]).

mod ahead;
mod block_state;
pub mod call;
mod deadline;
mod development;
pub mod env;
mod evm;
pub mod executor;
pub mod genesis;
pub mod memory;
pub mod overrides;
pub mod permission;
pub mod ports;
mod precompiles;
pub mod simulate;
pub mod skip;
pub mod system;
pub mod trace;
mod transfer;
pub mod trie;

pub use call::{Accessed, CallEnd, CallError, CallOutcome, CallRequest};
pub use deadline::Deadline;
pub use env::BlockEnv;
pub use executor::{BuildLimits, Built, ExecError, Executed, Executor, Overrides};
pub use genesis::genesis_state;
pub use memory::MemoryState;
pub use overrides::{AccountOverride, BlockOverrides, StateOverrides};
pub use ports::{StateError, StateReader, TrieReader};
pub use skip::SkipReason;
pub use trie::{StateTrie, TrieBatch, TrieError};
