//! Consensus, and what this platform is made of.

use basalt_primitives::Height;

use super::super::{
    RpcError,
    ports::{SkippedTx, ValidatorInfo},
    registry::{Call, Registry},
    reports,
    types::{BlockId, Hex64},
};

pub(super) fn add(r: &mut Registry) {
    r.quick("consensus_status", &[], |c: &Call, ()| Ok(c.app.ports.consensus.status()));
    r.quick("consensus_validators", &["height"], |c: &Call, (height,): (Option<Hex64>,)| validators(c, height));
    r.quick("consensus_skipped", &["block"], |c: &Call, (id,): (BlockId,)| skipped(c, id));
    r.quick("platform_status", &[], |c: &Call, ()| Ok(reports::platform(&c.app)));
}

fn validators(c: &Call, height: Option<Hex64>) -> Result<Vec<ValidatorInfo>, RpcError> {
    let height = height.map(|h| Height(h.0));
    let unknown = || RpcError::server("the validators of that height are not known here; ask without a height");
    c.app.ports.consensus.validators(height).ok_or_else(unknown)
}

fn skipped(c: &Call, id: BlockId) -> Result<Vec<SkippedTx>, RpcError> {
    let missing = || RpcError::server("this node has no such block yet");
    let height = c.app.chain.resolve(id)?.ok_or_else(missing)?;
    Ok(c.app.chain.reader().skipped(height)?)
}
