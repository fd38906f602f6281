//! Editing accounts. Each edit is a block of its own, which carries it.

use alloy_primitives::{Address, Bytes, U256};

use super::{
    super::super::{
        RpcError,
        registry::{Call, Registry},
        types::{Hex64, Slot},
    },
    order,
};
use crate::dev::Order;
use basalt_primitives::tx::development::Change;

pub(super) fn add(r: &mut Registry) {
    for name in ["hardhat_setBalance", "anvil_setBalance"] {
        r.waiting(name, &["address", "balance"], |c: Call, (address, wei): (Address, U256)| {
            edit(c, address, Change::Balance(wei))
        });
    }
    for name in ["hardhat_setNonce", "anvil_setNonce", "evm_setAccountNonce"] {
        r.waiting(name, &["address", "nonce"], |c: Call, (address, nonce): (Address, Hex64)| {
            edit(c, address, Change::Nonce(nonce.0))
        });
    }
    for name in ["hardhat_setCode", "anvil_setCode"] {
        r.waiting(name, &["address", "code"], |c: Call, (address, code): (Address, Bytes)| {
            edit(c, address, Change::Code(code))
        });
    }
    for name in ["hardhat_setStorageAt", "anvil_setStorageAt"] {
        r.waiting(name, &["address", "slot", "value"], |c: Call, (address, slot, value): (Address, Slot, Slot)| {
            edit(c, address, Change::Slot(slot.0, value.0))
        });
    }
}

async fn edit(c: Call, address: Address, change: Change) -> Result<bool, RpcError> {
    order(c, Order::Edit(address, change)).await?;
    Ok(true)
}
