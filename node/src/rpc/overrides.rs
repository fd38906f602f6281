//! State and block overrides as clients send them (go-ethereum's forms, and those of `eth_simulateV1`).

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, Bytes, U256};
use basalt_execution::{AccountOverride, BlockOverrides, StateOverrides};
use serde::Deserialize;

use super::{
    RpcError,
    types::{Hex64, Slot},
};

/// Most accounts, and most slots of all accounts together, that one request may change.
const MAX_ACCOUNTS: usize = 1_000;
const MAX_SLOTS: usize = 10_000;

/// State overrides, by account.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct StateArgs(BTreeMap<Address, AccountArgs>);

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct AccountArgs {
    balance: Option<U256>,
    nonce: Option<Hex64>,
    code: Option<Bytes>,
    state: Option<BTreeMap<B256, Slot>>,
    state_diff: Option<BTreeMap<B256, Slot>>,
    move_precompile_to_address: Option<Address>,
}

impl StateArgs {
    /// Checks and converts.
    pub fn into_overrides(self) -> Result<StateOverrides, RpcError> {
        let slots = |a: &AccountArgs| [&a.state, &a.state_diff].into_iter().flatten().map(BTreeMap::len).sum::<usize>();
        if self.0.len() > MAX_ACCOUNTS || self.0.values().map(slots).sum::<usize>() > MAX_SLOTS {
            return Err(RpcError::limit(format!(
                "state overrides of more than {MAX_ACCOUNTS} accounts or {MAX_SLOTS} storage slots; override less at once"
            )));
        }
        self.0.into_iter().map(|(address, a)| Ok((address, a.convert(address)?))).collect()
    }
}

impl AccountArgs {
    fn convert(self, address: Address) -> Result<AccountOverride, RpcError> {
        if self.state.is_some() && self.state_diff.is_some() {
            return Err(RpcError::params(format!("account {address} has both 'state' and 'stateDiff'")));
        }
        if self.move_precompile_to_address.is_some() {
            return Err(RpcError::params(
                "movePrecompileToAddress is not supported: precompiles stay where they are; override the caller's code instead",
            ));
        }
        let slots = |m: BTreeMap<B256, Slot>| m.into_iter().map(|(k, v)| (k.into(), v.0)).collect();
        Ok(AccountOverride {
            balance: self.balance,
            nonce: self.nonce.map(|n| n.0),
            code: self.code,
            state: self.state.map(slots),
            state_diff: self.state_diff.map(slots),
        })
    }
}

/// Block overrides, under the names of `eth_simulateV1` and those of geth's older methods.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct BlockArgs {
    #[serde(alias = "blockNumber")]
    number: Option<Hex64>,
    #[serde(alias = "timestamp")]
    time: Option<Hex64>,
    gas_limit: Option<Hex64>,
    #[serde(alias = "coinbase")]
    fee_recipient: Option<Address>,
    #[serde(alias = "random")]
    prev_randao: Option<B256>,
    #[serde(alias = "baseFee")]
    base_fee_per_gas: Option<Hex64>,
    /// There is no proof of work in the EVM since the merge: taken and without effect.
    difficulty: Option<U256>,
    blob_base_fee: Option<U256>,
    withdrawals: Option<Vec<serde_json::Value>>,
    #[serde(alias = "parentBeaconBlockRoot")]
    beacon_root: Option<B256>,
}

impl BlockArgs {
    /// Checks and converts.
    pub fn into_overrides(self) -> Result<BlockOverrides, RpcError> {
        if self.blob_base_fee.is_some_and(|f| f != U256::ONE) {
            return Err(RpcError::params(
                "blobBaseFee cannot be overridden: there is no blob market here, it is always 1",
            ));
        }
        if self.withdrawals.is_some_and(|w| !w.is_empty()) || self.beacon_root.is_some_and(|r| !r.is_zero()) {
            return Err(RpcError::params(
                "there is no beacon chain here: withdrawals and beaconRoot cannot be overridden",
            ));
        }
        let _ = self.difficulty;
        if self.time.is_some_and(|t| t.0 > basalt_primitives::header::MAX_TIMESTAMP_MS / 1000) {
            return Err(RpcError::params("the block's time is in seconds, and at most that of the year 10889"));
        }
        Ok(BlockOverrides {
            number: self.number.map(|n| n.0),
            time_s: self.time.map(|n| n.0),
            gas_limit: self.gas_limit.map(|n| n.0),
            beneficiary: self.fee_recipient,
            prev_randao: self.prev_randao,
            base_fee: self.base_fee_per_gas.map(|n| n.0),
        })
    }
}
