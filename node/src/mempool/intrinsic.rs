//! Gas that a transaction takes before its first instruction, and the rules that need no state.

use alloy_consensus::Transaction as _;
use basalt_primitives::{
    Height, Transaction,
    chainspec::EvmFork,
    tx::{Payload, native},
};

use super::{PoolContext, PoolError};

const TX_GAS: u64 = 21_000;
/// A contract creation costs this more.
const CREATE_GAS: u64 = 32_000;
/// EIP-2028: tokens (a zero byte is one, another byte four) cost this.
const TOKEN_GAS: u64 = 4;
/// EIP-7623: what a token costs at least.
const FLOOR_TOKEN_GAS: u64 = 10;
/// EIP-3860: per 32-byte word of init code.
const INIT_CODE_WORD_GAS: u64 = 2;
/// EIP-3860: most init code.
const MAX_INIT_CODE: usize = 49_152;
/// EIP-2930.
const ACCESS_ADDRESS_GAS: u64 = 2_400;
/// EIP-2930.
const ACCESS_SLOT_GAS: u64 = 1_900;
/// EIP-7702: per authorization.
const AUTHORIZATION_GAS: u64 = 25_000;
/// EIP-7825, from Osaka on.
const TX_GAS_CAP: u64 = 1 << 24;

/// The least gas of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntrinsicGas {
    /// Charged before the first instruction.
    pub intrinsic: u64,
    /// What the call data costs in any case (EIP-7623); 0 before Prague.
    pub floor: u64,
}

/// The least gas of a transaction under a fork's rules.
#[must_use]
pub fn intrinsic_gas(payload: &Payload, fork: EvmFork) -> IntrinsicGas {
    let input = payload.input();
    // At most 128 KiB of data and lists bounded by the same size: no overflow.
    let zeros = input.iter().filter(|b| **b == 0).count() as u64;
    let tokens = zeros + (input.len() as u64 - zeros) * 4;
    let mut gas = TX_GAS + tokens * TOKEN_GAS;
    if payload.to().is_none() {
        gas += CREATE_GAS + (input.len() as u64).div_ceil(32) * INIT_CODE_WORD_GAS;
    }
    if let Payload::Ethereum(tx) = payload {
        if let Some(list) = tx.access_list() {
            gas += list.0.len() as u64 * ACCESS_ADDRESS_GAS + list.storage_keys_count() as u64 * ACCESS_SLOT_GAS;
        }
        gas += tx.authorization_list().map_or(0, <[_]>::len) as u64 * AUTHORIZATION_GAS;
    }
    let floor = if fork >= EvmFork::Prague { TX_GAS + tokens * FLOOR_TOKEN_GAS } else { 0 };
    IntrinsicGas { intrinsic: gas, floor }
}

/// Checks everything that needs no account: fork, gas limits, fees, size of init code, validity window.
pub(super) fn check_stateless(tx: &Transaction, ctx: &PoolContext, min_fee: u128) -> Result<(), PoolError> {
    let payload = tx.payload();
    check_type(payload, ctx.fork)?;
    check_gas(payload, ctx)?;
    check_fees(payload, min_fee)?;
    check_window(payload, ctx.next_height)
}

fn check_type(payload: &Payload, fork: EvmFork) -> Result<(), PoolError> {
    if payload.to().is_none() && payload.input().len() > MAX_INIT_CODE {
        return Err(PoolError::InitCode { size: payload.input().len(), limit: MAX_INIT_CODE });
    }
    let Payload::Ethereum(tx) = payload else { return Ok(()) };
    if !tx.is_eip7702() {
        return Ok(());
    }
    if fork < EvmFork::Prague {
        return Err(PoolError::TypeNotSupported("set-code transactions (EIP-7702) need the Prague fork on this chain"));
    }
    if tx.authorization_list().is_none_or(<[_]>::is_empty) {
        return Err(PoolError::EmptyAuthorizations);
    }
    Ok(())
}

fn check_gas(payload: &Payload, ctx: &PoolContext) -> Result<(), PoolError> {
    let gas = payload.gas_limit();
    if gas > ctx.gas_limit {
        return Err(PoolError::BlockGasLimit { gas, limit: ctx.gas_limit });
    }
    if ctx.fork >= EvmFork::Osaka && gas > TX_GAS_CAP {
        return Err(PoolError::GasCap { gas, cap: TX_GAS_CAP });
    }
    let need = intrinsic_gas(payload, ctx.fork);
    if gas < need.intrinsic {
        return Err(PoolError::IntrinsicGas { have: gas, need: need.intrinsic });
    }
    if gas < need.floor {
        return Err(PoolError::FloorGas { have: gas, need: need.floor });
    }
    Ok(())
}

fn check_fees(payload: &Payload, min: u128) -> Result<(), PoolError> {
    let (fee, tip) = (payload.max_fee_per_gas(), payload.max_priority_fee_per_gas());
    if tip > fee {
        return Err(PoolError::TipAboveFee { tip, fee });
    }
    if fee < min {
        return Err(PoolError::Underpriced { fee, min });
    }
    Ok(())
}

fn check_window(payload: &Payload, next: Height) -> Result<(), PoolError> {
    let Some((from, Some(until))) = window(payload) else { return Ok(()) };
    if from > until {
        return Err(PoolError::EmptyWindow { from, until });
    }
    if until < next {
        return Err(PoolError::Expired { until, next });
    }
    Ok(())
}

/// First and last height at which a native transaction may be in a block; `None` for Ethereum's.
pub(super) fn window(payload: &Payload) -> Option<(Height, Option<Height>)> {
    match payload {
        Payload::Native(n) => {
            debug_assert_eq!(payload.tx_type(), native::TX_TYPE);
            Some((n.tx.valid_from, n.tx.valid_until))
        }
        Payload::Ethereum(_) | Payload::Edit(_) => None,
    }
}
