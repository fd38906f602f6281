//! The mempool: verified transactions that wait to be put into a block.
//!
//! In: [`Mempool::insert`] takes a transaction whose signature was checked, with the sender's account and the rules of the
//! moment; [`Mempool::on_block`] tells what a block changed. Out: [`Mempool::ready`] gives the proposer executable
//! transactions by price, and [`Mempool::content`] shows everything to the RPC.
//!
//! [`Mempool`] is a plain struct without clock, lock or I/O; [`SharedPool`] is the lock around it. Every sender has a queue
//! by nonce. The consecutive run from the account's nonce on is *executable* ("pending" in `txpool_`); what waits beyond a
//! gap is *queued*. Every transaction has a [`Lane`]: system (a validator calls a system contract), essential (its sender is
//! listed), normal; a better lane goes first and gives way last, and has only its share of the pool and of a block. At a limit the
//! queued go first, the most distant before the others; an executable transaction only gives way to an executable one that pays
//! more, and that counts for no more than what must run before it (`evict`, `sender::Rank`).

mod admit;
mod block;
mod config;
mod error;
mod evict;
mod explain;
mod gone;
mod intrinsic;
mod journal;
mod lane;
mod pool;
mod ready;
mod sender;
mod shared;
#[cfg(test)]
pub(crate) mod test_util;
#[cfg(test)]
mod tests;
mod view;

pub use block::{BlockUpdate, Reorg};
pub use config::MempoolConfig;
pub use error::PoolError;
pub use explain::{Explanation, Standing};
pub use gone::{Gone, Left};
pub use intrinsic::{IntrinsicGas, intrinsic_gas};
pub use journal::Journal;
pub use lane::{Lane, Origin, is_system_contract};
pub use pool::{Inserted, Mempool, PoolContext};
pub use ready::Ready;
pub use sender::AccountView;
pub use shared::SharedPool;
pub use view::{PoolContent, PoolStatus, SenderContent};
