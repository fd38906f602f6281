//! What a caller wants to be different for a call that changes nothing: accounts ([`StateOverrides`]) and the block it
//! runs in ([`BlockOverrides`]). The semantics are go-ethereum's.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, Bytes, U256};
use basalt_primitives::{Height, Millis};

use crate::{BlockEnv, StateError, block_state::BlockState};

/// One account, as a call shall see it; what is not named stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountOverride {
    /// Balance in wei.
    pub balance: Option<U256>,
    /// Nonce.
    pub nonce: Option<u64>,
    /// Code.
    pub code: Option<Bytes>,
    /// All of its storage: slots that are not named are zero.
    pub state: Option<BTreeMap<U256, U256>>,
    /// Single slots; the others stay. Not together with `state`.
    pub state_diff: Option<BTreeMap<U256, U256>>,
}

/// Accounts, as a call shall see them.
pub type StateOverrides = BTreeMap<Address, AccountOverride>;

/// The block, as a call shall see it; what is not named stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockOverrides {
    /// NUMBER; it also chooses the fork.
    pub number: Option<u64>,
    /// TIMESTAMP, in seconds.
    pub time_s: Option<u64>,
    /// Gas limit of the block.
    pub gas_limit: Option<u64>,
    /// COINBASE.
    pub beneficiary: Option<Address>,
    /// PREVRANDAO.
    pub prev_randao: Option<B256>,
    /// BASEFEE, in wei.
    pub base_fee: Option<u64>,
}

impl BlockOverrides {
    /// Changes the environment.
    pub fn apply(&self, env: &mut BlockEnv) {
        let set = |field: &mut u64, value: Option<u64>| *field = value.unwrap_or(*field);
        env.height = self.number.map_or(env.height, Height);
        env.timestamp_ms = self.time_s.map_or(env.timestamp_ms, |s| -> Millis { s.saturating_mul(1000) });
        set(&mut env.gas_limit, self.gas_limit);
        set(&mut env.base_fee, self.base_fee);
        env.beneficiary = self.beneficiary.unwrap_or(env.beneficiary);
        env.prev_randao = self.prev_randao.unwrap_or(env.prev_randao);
    }
}

impl BlockState<'_> {
    /// Makes the accounts what the caller wants them to be.
    pub(crate) fn override_accounts(&mut self, overrides: &StateOverrides) -> Result<(), StateError> {
        for (address, wanted) in overrides {
            let mut account = self.account(*address)?.unwrap_or_default();
            account.balance = wanted.balance.unwrap_or(account.balance);
            account.nonce = wanted.nonce.unwrap_or(account.nonce);
            if let Some(code) = &wanted.code {
                account.code_hash = self.put_code(code.clone());
            }
            self.put(*address, account)?;
            if wanted.state.is_some() {
                self.wipe(*address)?;
            }
            for (slot, value) in wanted.state.iter().chain(&wanted.state_diff).flatten() {
                self.put_slot(*address, *slot, *value)?;
            }
        }
        Ok(())
    }
}
