//! What the protocol itself does at the start of a block, before the first transaction: the call that applies an approved
//! change of the validator set (as EIP-7002's system call does, with the opposite direction of flow), and the genesis hash
//! the validator contract verifies evidence with.
//!
//! Everything here follows from the chain before the block alone, so it is the same on every node.

use std::collections::BTreeSet;

use alloy_primitives::U256;
use basalt_primitives::{
    ChainSpec, Height, PublicKey, keccak256,
    system::{
        SYSTEM_CALLER, VALIDATORS, calls,
        validators::{self, Change, Member, ReadError, slot},
    },
};
use revm::{SystemCallEvm, context_interface::result::EVMError};

use crate::{
    block_state::BlockState,
    env::BlockEnv,
    evm::BlockEvm,
    executor::ExecError,
    ports::{StateError, StateReader},
};

impl From<ReadError<Self>> for StateError {
    fn from(e: ReadError<Self>) -> Self {
        match e {
            ReadError::State(e) => e,
            damaged @ ReadError::Damaged(_) => Self::Corrupt(damaged.to_string()),
        }
    }
}

/// The newest set in a state: after block h that of h + 2.
pub fn members(state: &dyn StateReader) -> Result<Vec<Member>, StateError> {
    Ok(validators::members(|slot| state.storage(&VALIDATORS, slot))?)
}

/// The changes of the set from number `first` on.
pub fn changes(state: &dyn StateReader, first: u64) -> Result<Vec<Change>, StateError> {
    Ok(validators::changes(|slot| state.storage(&VALIDATORS, slot), first)?)
}

/// In block 1 the parent is genesis, whose hash cannot be in genesis itself.
pub(crate) fn store_genesis_hash(env: &BlockEnv, state: &mut BlockState<'_>) -> Result<(), StateError> {
    if env.height != Height(1) {
        return Ok(());
    }
    let deployed = state.account(VALIDATORS)?.map(|a| a.code_hash);
    if deployed == Some(keccak256(validators::code())) {
        state.put_slot(VALIDATORS, U256::from(slot::GENESIS_HASH), env.parent_hash.into())?;
    }
    Ok(())
}

/// Applies or refuses the oldest approved change of the validator set. Costs one storage read when there is none.
pub(crate) fn apply_change(
    spec: &ChainSpec,
    env: &BlockEnv,
    reader: &dyn StateReader,
    evm: &mut BlockEvm<'_>,
) -> Result<(), ExecError> {
    if reader.storage(&VALIDATORS, U256::from(slot::PENDING))?.is_zero() {
        return Ok(());
    }
    let data = calls::apply_change(taking_part(spec, env.height, reader)?);
    let ran = evm.system_call_with_caller(SYSTEM_CALLER, VALIDATORS, data).map_err(|e| match e {
        EVMError::Database(e) => ExecError::State(e),
        other => ExecError::Evm(other.to_string()),
    })?;
    let state = &mut evm.ctx.journaled_state.database;
    if ran.result.is_success() {
        state.commit(ran.state)?;
    } else {
        // The contract never fails this call. Should it, the chain goes on: on all nodes alike nothing is applied.
        state.put_slot(VALIDATORS, U256::from(slot::PENDING), U256::ZERO)?;
    }
    Ok(())
}

/// Lost validators that one call removes: their logs cost the most gas, of which a system call has 30 million.
const LOST_A_CALL: usize = 64;

/// Carries a set override out: removes the lost validators from the set of two heights on.
pub(crate) fn remove_lost(lost: &[PublicKey], evm: &mut BlockEvm<'_>) -> Result<(), ExecError> {
    for some in lost.chunks(LOST_A_CALL) {
        let data = calls::remove_lost(some);
        let ran = evm.system_call_with_caller(SYSTEM_CALLER, VALIDATORS, data).map_err(|e| match e {
            EVMError::Database(e) => ExecError::State(e),
            other => ExecError::Evm(other.to_string()),
        })?;
        if !ran.result.is_success() {
            return Err(ExecError::Override(format!("{:?}", ran.result)));
        }
        evm.ctx.journaled_state.database.commit(ran.state)?;
    }
    Ok(())
}

/// Bit i: the i-th validator of the newest set has signed one of the certificates that the bodies of the last blocks before
/// `height` carry. The block at hand is left out, so that the answer follows from its parent's ledger alone.
fn taking_part(spec: &ChainSpec, height: Height, reader: &dyn StateReader) -> Result<U256, StateError> {
    let signers = recent_signers(spec, height, reader)?;
    let members = members(reader)?;
    let bit = |(i, m): (usize, &Member)| U256::from(u8::from(signers.contains(&m.key))) << i;
    Ok(members.iter().enumerate().map(bit).fold(U256::ZERO, |all, bit| all | bit))
}

/// Keys whose signatures are in the certificates of the last [`validators::CERTIFICATES`] heights up to `height` − 2, as
/// the blocks after them carry them.
pub fn recent_signers(
    spec: &ChainSpec,
    height: Height,
    reader: &dyn StateReader,
) -> Result<BTreeSet<PublicKey>, StateError> {
    let last = height.0.saturating_sub(2);
    let first = (last + 1).saturating_sub(validators::CERTIFICATES).max(1);
    let changes = changes(reader, 0)?;
    let mut changes = changes.iter().peekable();
    let mut set: Vec<_> = spec.validators.iter().map(|v| (v.validator.public_key, v.name.clone())).collect();
    let mut signers = BTreeSet::new();
    for h in first..=last {
        while let Some(change) = changes.next_if(|c| c.valid_from.0 <= h) {
            validators::apply(&mut set, change).map_err(|e| StateError::Corrupt(e.into()))?;
        }
        let indexes = reader.certificate_signers(h)?;
        signers.extend(indexes.iter().filter_map(|i| set.get(usize::from(*i))).map(|(key, _)| *key));
    }
    Ok(signers)
}
