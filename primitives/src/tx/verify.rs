//! Signature checks of many transactions at once.

use rayon::prelude::*;

use super::{Payload, Transaction, TxError, Unverified, ethereum};
use crate::crypto::ed25519;

/// Native signatures are checked in batches of at most this many: larger ones gain little and lose more when one is bad.
const BATCH: usize = 512;

/// Recoveries given to another thread at once: fewer cost more in handing over than they save.
const RECOVERIES: usize = 8;

/// Checks every signature on all processors, native ones in batches. The results come in the order of the input; a bad
/// signature spoils no other transaction.
#[must_use]
pub fn verify_all(txs: Vec<Unverified>) -> Vec<Result<Transaction, TxError>> {
    let natives: Vec<usize> =
        txs.iter().enumerate().filter(|(_, t)| matches!(t.payload, Payload::Native(_))).map(|(i, _)| i).collect();
    let valid: Vec<usize> = match natives.len() {
        0..=BATCH => valid_of(&txs, &natives),
        _ => natives.par_chunks(BATCH).flat_map_iter(|batch| valid_of(&txs, batch)).collect(),
    };
    let mut good = vec![false; txs.len()];
    valid.into_iter().for_each(|i| good[i] = true);
    if txs.len() - natives.len() <= RECOVERIES {
        return txs.into_iter().zip(good).map(|(tx, native_ok)| with_sender(tx, native_ok)).collect();
    }
    let checked = txs.into_par_iter().zip(good).with_min_len(RECOVERIES);
    checked.map(|(tx, native_ok)| with_sender(tx, native_ok)).collect()
}

fn with_sender(tx: Unverified, native_ok: bool) -> Result<Transaction, TxError> {
    let sender = tx.unsigned.or_else(|| match &tx.payload {
        Payload::Native(n) => native_ok.then(|| n.public_key.address()),
        Payload::Ethereum(e) => ethereum::recover(e),
        Payload::Edit(_) => None,
    });
    sender.map(|s| tx.with_sender(s)).ok_or(TxError::Signature)
}

/// Which of the batch are valid; halves a failing batch until the bad ones are alone, so that k bad signatures cost about
/// k·log n batches and never n single checks for one.
fn valid_of(txs: &[Unverified], batch: &[usize]) -> Vec<usize> {
    let layouts: Vec<_> =
        batch.iter().filter_map(|&i| native(&txs[i])).map(|n| n.tx.signing_layout(&n.public_key)).collect();
    let items = batch
        .iter()
        .filter_map(|&i| native(&txs[i]))
        .zip(&layouts)
        .map(|(n, l)| (n.public_key, l.as_slice(), n.signature));
    if ed25519::verify_batch(items) {
        batch.to_vec()
    } else if batch.len() > 1 {
        let (a, b) = batch.split_at(batch.len() / 2);
        [valid_of(txs, a), valid_of(txs, b)].concat()
    } else {
        Vec::new()
    }
}

fn native(tx: &Unverified) -> Option<&super::SignedNative> {
    match &tx.payload {
        Payload::Native(n) => Some(n),
        Payload::Ethereum(_) | Payload::Edit(_) => None,
    }
}
