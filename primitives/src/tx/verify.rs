//! Signature checks of many transactions at once.

use super::{Payload, Transaction, TxError, Unverified, ethereum};
use crate::crypto::ed25519;

/// Native signatures are checked in batches of at most this many: larger ones gain little and lose more when one is bad.
const BATCH: usize = 256;

/// Checks every signature, native ones in batches. The results come in the order of the input; a bad signature spoils no
/// other transaction.
#[must_use]
pub fn verify_all(txs: Vec<Unverified>) -> Vec<Result<Transaction, TxError>> {
    let natives: Vec<usize> =
        txs.iter().enumerate().filter(|(_, t)| matches!(t.payload, Payload::Native(_))).map(|(i, _)| i).collect();
    let mut good = vec![false; txs.len()];
    for batch in natives.chunks(BATCH) {
        mark_valid(&txs, batch, &mut good);
    }
    txs.into_iter()
        .zip(good)
        .map(|(tx, native_ok)| {
            let sender = tx.unsigned.or_else(|| match &tx.payload {
                Payload::Native(n) => native_ok.then(|| n.public_key.address()),
                Payload::Ethereum(e) => ethereum::recover(e),
                Payload::Edit(_) => None,
            });
            sender.map(|s| tx.with_sender(s)).ok_or(TxError::Signature)
        })
        .collect()
}

/// Marks which of the batch are valid; halves a failing batch until the bad ones are alone, so that k bad signatures
/// cost about k·log n batches and never n single checks for one.
fn mark_valid(txs: &[Unverified], batch: &[usize], good: &mut [bool]) {
    let layouts: Vec<_> =
        batch.iter().filter_map(|&i| native(&txs[i])).map(|n| n.tx.signing_layout(&n.public_key)).collect();
    let items = batch
        .iter()
        .filter_map(|&i| native(&txs[i]))
        .zip(&layouts)
        .map(|(n, l)| (n.public_key, l.as_slice(), n.signature));
    if ed25519::verify_batch(items) {
        batch.iter().for_each(|&i| good[i] = true);
    } else if batch.len() > 1 {
        let (a, b) = batch.split_at(batch.len() / 2);
        mark_valid(txs, a, good);
        mark_valid(txs, b, good);
    }
}

fn native(tx: &Unverified) -> Option<&super::SignedNative> {
    match &tx.payload {
        Payload::Native(n) => Some(n),
        Payload::Ethereum(_) | Payload::Edit(_) => None,
    }
}
