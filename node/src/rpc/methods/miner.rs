//! The miner, and work for programs elsewhere, on chains of proof of work.

use std::sync::Arc;

use alloy_primitives::{B64, B256, U64, U256};

use super::{
    super::{
        RpcError,
        registry::{Call, Registry},
    },
    may_change,
};
use crate::miner::{Miner, MinerError};

/// The part of Ethash that no work here has.
const NO_SEED: B256 = B256::ZERO;

pub(super) fn add(r: &mut Registry) {
    r.quick("miner_start", &["threads"], |c: &Call, (threads,): (Option<usize>,)| {
        may_change(c)?;
        miner(c)?.start(threads.unwrap_or(1)).map_err(|e| refused(&e))?;
        Ok(true)
    });
    r.quick("miner_stop", &[], |c: &Call, ()| {
        may_change(c)?;
        miner(c)?.stop();
        Ok(true)
    });
    r.quick("miner_hashrate", &[], |c: &Call, ()| Ok(U256::from(miner(c)?.hashrate())));
    r.quick("eth_getWork", &[], |c: &Call, ()| {
        let work = miner(c)?.work().map_err(|e| refused(&e))?;
        Ok([work.sealing_hash, NO_SEED, work.target.into()])
    });
    r.quick("eth_submitWork", &["nonce", "sealingHash", "mix"], |c: &Call, work: (B64, B256, Option<B256>)| {
        let (nonce, sealing_hash, _mix) = work;
        Ok(miner(c)?.submit(u64::from_be_bytes(nonce.0), sealing_hash))
    });
    r.quick("eth_submitHashrate", &["rate", "id"], |c: &Call, (rate, id): (U64, B256)| {
        miner(c)?.report(id, rate.to());
        Ok(true)
    });
}

fn miner(c: &Call) -> Result<&Arc<Miner>, RpcError> {
    let none = || RpcError::server("this chain has no proof of work, so there is nothing to mine");
    c.app.ports.miner.as_ref().ok_or_else(none)
}

fn refused(e: &MinerError) -> RpcError {
    match e {
        MinerError::Threads => RpcError::params(e.to_string()),
        _ => RpcError::server(e.to_string()),
    }
}
