//! The accounts that a development network sends and signs for: the well-known ones, whose keys it has, and those that are
//! impersonated, for whom nobody signs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, Ordering},
};

use alloy_consensus::{SignableTransaction as _, TxEnvelope};
use alloy_primitives::Signature;
use basalt_primitives::{Address, B256, system::SYSTEM_CALLER};
use parking_lot::Mutex;
use secp256k1::{Message, SECP256K1, SecretKey};

use super::DevError;
use crate::keys::dev;

/// Most accounts impersonated at once by name.
const MAX_IMPERSONATED: usize = 10_000;

/// Who may send without signing themselves.
pub struct Accounts {
    addresses: Vec<Address>,
    keys: BTreeMap<Address, SecretKey>,
    impersonated: Mutex<BTreeSet<Address>>,
    everyone: AtomicBool,
}

impl Accounts {
    /// The well-known accounts, nobody impersonated.
    #[must_use]
    pub fn new() -> Self {
        let keys: Vec<(Address, SecretKey)> = dev::ethereum_keys().collect();
        Self {
            addresses: keys.iter().map(|(address, _)| *address).collect(),
            keys: keys.into_iter().collect(),
            impersonated: Mutex::default(),
            everyone: AtomicBool::new(false),
        }
    }

    /// The accounts whose keys are here, in the order of their derivation.
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Lets an account send without a signature.
    pub fn impersonate(&self, address: Address) -> Result<(), DevError> {
        refuse_system(address)?;
        let mut all = self.impersonated.lock();
        if all.len() >= MAX_IMPERSONATED && !all.contains(&address) {
            return Err(DevError(format!(
                "the limit of {MAX_IMPERSONATED} impersonated accounts is reached; stop some with hardhat_stopImpersonatingAccount, or use anvil_autoImpersonateAccount"
            )));
        }
        all.insert(address);
        Ok(())
    }

    /// Ends that; whether it was so.
    pub fn stop(&self, address: &Address) -> bool {
        self.impersonated.lock().remove(address)
    }

    /// Lets every account send without a signature, or no more.
    pub fn impersonate_everyone(&self, on: bool) {
        self.everyone.store(on, Ordering::Relaxed);
    }

    /// As at the start.
    pub fn reset(&self) {
        self.impersonated.lock().clear();
        self.impersonate_everyone(false);
    }

    /// Whether the key is here.
    #[must_use]
    pub fn has_key(&self, address: &Address) -> bool {
        self.keys.contains_key(address)
    }

    /// Whether the account may send without a signature.
    pub fn check_impersonated(&self, address: Address) -> Result<(), DevError> {
        refuse_system(address)?;
        if self.everyone.load(Ordering::Relaxed) || self.impersonated.lock().contains(&address) {
            return Ok(());
        }
        Err(unknown(address))
    }

    /// Signs a digest.
    pub fn sign(&self, address: Address, digest: B256) -> Result<Signature, DevError> {
        let key = self.keys.get(&address).ok_or_else(|| unknown(address))?;
        let (id, bytes) = SECP256K1.sign_ecdsa_recoverable(Message::from_digest(digest.0), key).serialize_compact();
        Ok(Signature::from_bytes_and_parity(&bytes, i32::from(id) == 1))
    }

    /// Signs a transaction that has a placeholder for its signature.
    pub fn sign_tx(&self, address: Address, tx: TxEnvelope) -> Result<TxEnvelope, DevError> {
        let signature = self.sign(address, tx.signature_hash())?;
        Ok(match tx {
            TxEnvelope::Legacy(t) => t.strip_signature().into_signed(signature).into(),
            TxEnvelope::Eip2930(t) => t.strip_signature().into_signed(signature).into(),
            TxEnvelope::Eip1559(t) => t.strip_signature().into_signed(signature).into(),
            TxEnvelope::Eip7702(t) => t.strip_signature().into_signed(signature).into(),
            TxEnvelope::Eip4844(_) => return Err(DevError("blob transactions (EIP-4844) are not supported".into())),
        })
    }
}

impl Default for Accounts {
    fn default() -> Self {
        Self::new()
    }
}

/// The protocol's own calls come from there; as anybody else's they could take the chain's validator away.
pub fn refuse_system(address: Address) -> Result<(), DevError> {
    if address == SYSTEM_CALLER {
        return Err(DevError(format!("{address} is the protocol's own account and cannot be impersonated")));
    }
    Ok(())
}

fn unknown(address: Address) -> DevError {
    DevError(format!(
        "unknown account {address}: it is none of eth_accounts and not impersonated; call hardhat_impersonateAccount or anvil_impersonateAccount first"
    ))
}
