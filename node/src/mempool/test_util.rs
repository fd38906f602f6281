//! Transactions for tests of the mempool and the RPC.

use alloy_primitives::{Address, Bytes, U256};
use basalt_primitives::{
    HashFn, Height, SecretKey, Transaction,
    chainspec::EvmFork,
    tx::{NativeTx, Payload, Unverified},
};

use super::{AccountView, PoolContext, SharedPool};

/// Chain id of tests.
pub(crate) const CHAIN_ID: u64 = 31_337;

/// The key of a test account.
pub(crate) fn key(seed: u8) -> SecretKey {
    SecretKey::from_bytes(&[seed; 32])
}

/// Admits a transaction for block 2; its sender is rich.
pub(crate) fn admit(pool: &SharedPool, tx: Transaction) {
    let context =
        PoolContext { next_height: Height(2), base_fee: 0, gas_limit: 30_000_000, fork: EvmFork::Osaka, now_ms: 1 };
    let account = AccountView { nonce: 0, balance: U256::MAX };
    pool.lock().insert(tx, account, &context).expect("admitted");
}

/// The address of a test account.
pub(crate) fn address(seed: u8) -> Address {
    key(seed).public_key().address()
}

/// A plain transfer.
pub(crate) fn transfer(nonce: u64) -> NativeTx {
    NativeTx {
        chain_id: CHAIN_ID,
        nonce,
        valid_from: Height::GENESIS,
        valid_until: None,
        max_fee_per_gas: 0,
        max_priority_fee_per_gas: 0,
        gas_limit: 21_000,
        to: Some(Address::repeat_byte(0x77)),
        value: U256::from(1),
        input: Bytes::new(),
        level: Default::default(),
        payload: None,
    }
}

/// Signs as a test account. The encoding is a stand-in of about the true size: what is tested here never decodes it.
pub(crate) fn sign(seed: u8, tx: NativeTx) -> Transaction {
    sign_with(&key(seed), tx)
}

/// As [`sign`], for tests that need more than 256 accounts.
pub(crate) fn sign_with(key: &SecretKey, tx: NativeTx) -> Transaction {
    let signed = tx.sign(key);
    let mut raw = signed.tx.signing_layout(&signed.public_key).as_slice().to_vec();
    raw.extend_from_slice(&signed.signature.0);
    let unverified = Unverified::from_canonical(raw.into(), Payload::Native(Box::new(signed)), HashFn::Sha256);
    unverified.assume_verified().expect("just signed")
}
