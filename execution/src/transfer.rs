//! The fast path: a plain transfer of value between accounts without code, done without the EVM.
//!
//! It must leave the very same receipts and changes as the general path (`tests/transfers.rs` compares them). Wherever
//! anything is out of the ordinary it steps aside and lets the general path decide, so a refusal has one source only.

use alloy_consensus::Transaction as _;
use alloy_primitives::{Address, KECCAK256_EMPTY, U256};
use basalt_primitives::{Transaction, state::Account, tx::Payload};
use revm::{handler::EthPrecompiles, primitives::hardfork::SpecId};

use crate::{block_state::BlockState, env::BlockEnv, ports::StateError, precompiles::precompiles};

/// Gas of a transfer without data, in every fork we know; EIP-7623's floor is the same.
pub(crate) const TRANSFER_GAS: u64 = 21_000;

/// What a fork says about transfers.
pub(crate) struct TransferRules {
    precompiles: EthPrecompiles,
    chain_id: u64,
    gas_cap: u64,
}

impl TransferRules {
    pub(crate) fn new(spec: SpecId, chain_id: u64, gas_cap: u64) -> Self {
        Self { precompiles: precompiles(spec), chain_id, gas_cap }
    }

    /// Whether the transaction itself, whatever the state, is a plain transfer.
    pub(crate) fn candidate(&self, payload: &Payload) -> Option<Address> {
        let to = payload.to()?;
        let plain = match payload {
            Payload::Native(_) => true,
            Payload::Edit(_) => false,
            Payload::Ethereum(e) => {
                (e.is_legacy() || e.is_eip2930() || e.is_eip1559()) && e.access_list().is_none_or(|l| l.is_empty())
            }
        };
        let gas = (TRANSFER_GAS..=self.gas_cap).contains(&payload.gas_limit());
        let chain = payload.chain_id().is_none_or(|id| id == self.chain_id);
        (plain && gas && chain && payload.input().is_empty() && !self.precompiles.contains(&to)).then_some(to)
    }
}

/// Carries the transfer out and says whether it did. `false`: nothing was changed, the general path must decide.
pub(crate) fn transfer(
    rules: &TransferRules,
    env: &BlockEnv,
    tx: &Transaction,
    state: &mut BlockState<'_>,
) -> Result<bool, StateError> {
    let payload = tx.payload();
    let Some(to) = rules.candidate(payload) else { return Ok(false) };
    let Some((price, tip)) = payload.effective_gas_price(env.base_fee) else { return Ok(false) };
    if payload.max_priority_fee_per_gas() > payload.max_fee_per_gas()
        && !matches!(payload, Payload::Ethereum(e) if e.is_legacy())
    {
        return Ok(false);
    }
    let from = state.account(tx.sender())?.unwrap_or_default();
    let receiver = state.account(to)?.unwrap_or_default();
    let Some(paid) = pay(payload, from, price) else { return Ok(false) };
    let Some(received) = receiver.balance.checked_add(payload.value()) else { return Ok(false) };
    if from.code_hash != KECCAK256_EMPTY || receiver.code_hash != KECCAK256_EMPTY {
        return Ok(false);
    }
    if to == tx.sender() {
        state.put(to, Account { balance: paid.balance + payload.value(), ..paid })?;
    } else {
        state.put(tx.sender(), paid)?;
        state.put(to, Account { balance: received, ..receiver })?;
    }
    reward(state, env.beneficiary, tip, TRANSFER_GAS)?;
    Ok(true)
}

/// The sender after paying, when nonce and balance allow it.
fn pay(payload: &Payload, from: Account, price: u128) -> Option<Account> {
    let most = u128::from(payload.gas_limit()).checked_mul(payload.max_fee_per_gas())?;
    let most = U256::from(most).checked_add(payload.value())?;
    if from.nonce != payload.nonce() || from.nonce == u64::MAX || from.balance < most {
        return None;
    }
    let cost = U256::from(u128::from(TRANSFER_GAS) * price) + payload.value();
    Some(Account { nonce: from.nonce + 1, balance: from.balance - cost, ..from })
}

/// The proposer's tip. The account is touched even by a tip of zero, so an empty one ceases to exist.
pub(crate) fn reward(
    state: &mut BlockState<'_>,
    beneficiary: Address,
    tip: u128,
    gas_used: u64,
) -> Result<(), StateError> {
    give(state, beneficiary, U256::from(tip.wrapping_mul(u128::from(gas_used))))
}

/// Adds to a balance; what does not fit into one is not added.
pub(crate) fn give(state: &mut BlockState<'_>, to: Address, amount: U256) -> Result<(), StateError> {
    let account = state.account(to)?.unwrap_or_default();
    let balance = account.balance.checked_add(amount).unwrap_or(account.balance);
    state.put(to, Account { balance, ..account })
}
