//! Ethereum transactions, exactly as wallets sign them: legacy, EIP-2930, EIP-1559 and EIP-7702.

use alloy_consensus::TxEnvelope;
use alloy_eips::eip2718::{Decodable2718 as _, Encodable2718 as _};
use alloy_primitives::Address;

use super::TxError;
use crate::crypto::secp256k1;

/// Decodes an EIP-2718 envelope and refuses whatever does not encode to the same bytes again.
pub fn decode(raw: &[u8]) -> Result<TxEnvelope, TxError> {
    if raw.first() == Some(&3) {
        return Err(TxError::Unsupported(
            "blob transactions (EIP-4844, type 3) are not supported: there is no blob market here; send the data as call data or a data record",
        ));
    }
    let mut rest = raw;
    let tx = TxEnvelope::decode_2718(&mut rest).map_err(|e| TxError::Malformed(e.to_string()))?;
    if !rest.is_empty() {
        return Err(TxError::Malformed(format!("{} bytes after the transaction", rest.len())));
    }
    if tx.encoded_2718() != raw {
        return Err(TxError::Malformed("not the canonical encoding".into()));
    }
    Ok(tx)
}

/// The address that signed the transaction, or `None` when the signature does not verify.
pub(super) fn recover(tx: &TxEnvelope) -> Option<Address> {
    let sig = tx.signature();
    secp256k1::recover(&tx.signature_hash(), sig.r(), sig.s(), sig.v())
}
