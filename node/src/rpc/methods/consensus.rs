//! Consensus, and what this platform is made of.

use super::super::{
    RpcError,
    ports::SkippedTx,
    registry::{Call, Registry},
    reports,
    types::BlockId,
};

pub(super) fn add(r: &mut Registry) {
    r.quick("consensus_status", &[], |c: &Call, ()| Ok(c.app.ports.consensus.status()));
    r.quick("consensus_explain", &[], |c: &Call, ()| Ok(c.app.ports.consensus.explain()));
    r.quick("consensus_skipped", &["block"], |c: &Call, (id,): (BlockId,)| skipped(c, id));
    r.quick("platform_status", &[], |c: &Call, ()| Ok(reports::platform(&c.app)));
}

fn skipped(c: &Call, id: BlockId) -> Result<Vec<SkippedTx>, RpcError> {
    let missing = || RpcError::server("this node has no such block yet");
    let height = c.app.chain.resolve(id)?.ok_or_else(missing)?;
    Ok(c.app.chain.reader().skipped(height)?)
}
