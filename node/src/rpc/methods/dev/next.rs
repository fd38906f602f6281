//! What the next block shall be like, and who is impersonated: nothing here makes a block.

use alloy_primitives::Address;
use serde_json::Value;

use super::{
    super::super::{
        RpcError,
        registry::{Call, Registry},
        types::Hex64,
    },
    devnet, head_ms, quantity,
};
use crate::clock;

/// The least and the most that the gas limit of a block can be set to.
const GAS_LIMITS: std::ops::RangeInclusive<u64> = 21_000..=1 << 40;

pub(super) fn add(r: &mut Registry) {
    for name in ["evm_increaseTime", "anvil_increaseTime"] {
        r.quick(name, &["seconds"], |c: &Call, (seconds,): (Value,)| {
            Ok(devnet(c)?.next.advance(quantity(&seconds)?, head_ms(c)?, clock::wall_ms())?)
        });
    }
    for name in ["evm_setNextBlockTimestamp", "anvil_setNextBlockTimestamp"] {
        r.quick(name, &["timestamp"], |c: &Call, (time,): (Value,)| {
            Ok(devnet(c)?.next.at(quantity(&time)?, head_ms(c)?)?)
        });
    }
    for name in ["evm_setBlockTimestampInterval", "anvil_setBlockTimestampInterval"] {
        r.quick(name, &["seconds"], |c: &Call, (seconds,): (Value,)| {
            let seconds = quantity(&seconds)?.clamp(1, crate::dev::next::LATEST_S / 1_000_000);
            devnet(c)?.next.wish(|w| w.interval_s = Some(seconds));
            Ok(())
        });
    }
    for name in ["evm_removeBlockTimestampInterval", "anvil_removeBlockTimestampInterval"] {
        r.quick(name, &[], |c: &Call, ()| {
            let mut was = false;
            devnet(c)?.next.wish(|w| was = w.interval_s.take().is_some());
            Ok(was)
        });
    }
    for name in ["hardhat_setNextBlockBaseFeePerGas", "anvil_setNextBlockBaseFeePerGas"] {
        r.quick(name, &["baseFee"], |c: &Call, (fee,): (Hex64,)| {
            devnet(c)?.next.wish(|w| w.base_fee = Some(fee.0));
            Ok(true)
        });
    }
    for name in ["evm_setBlockGasLimit", "anvil_setBlockGasLimit"] {
        r.quick(name, &["gasLimit"], |c: &Call, (limit,): (Hex64,)| set_gas_limit(c, limit.0));
    }
    for name in ["hardhat_setCoinbase", "anvil_setCoinbase"] {
        r.quick(name, &["address"], |c: &Call, (address,): (Address,)| {
            devnet(c)?.next.wish(|w| w.coinbase = Some(address));
            Ok(true)
        });
    }
    for name in ["hardhat_impersonateAccount", "anvil_impersonateAccount"] {
        r.quick(name, &["address"], |c: &Call, (address,): (Address,)| {
            devnet(c)?.accounts.impersonate(address)?;
            Ok(true)
        });
    }
    for name in ["hardhat_stopImpersonatingAccount", "anvil_stopImpersonatingAccount"] {
        r.quick(name, &["address"], |c: &Call, (address,): (Address,)| Ok(devnet(c)?.accounts.stop(&address)));
    }
    r.quick("anvil_autoImpersonateAccount", &["enabled"], |c: &Call, (on,): (bool,)| {
        devnet(c)?.accounts.impersonate_everyone(on);
        Ok(true)
    });
}

fn set_gas_limit(c: &Call, limit: u64) -> Result<bool, RpcError> {
    if !GAS_LIMITS.contains(&limit) {
        let (least, most) = GAS_LIMITS.into_inner();
        return Err(RpcError::params(format!("the gas limit must be between {least} and {most}, not {limit}")));
    }
    devnet(c)?.next.wish(|w| w.gas_limit = Some(limit));
    Ok(true)
}
