//! Ethereum transactions, exactly as wallets sign them: legacy, EIP-2930, EIP-1559 and EIP-7702.

use alloy_consensus::{TxEnvelope, TxLegacy, transaction::RlpEcdsaDecodableTx as _};
use alloy_eips::eip2718::{Decodable2718 as _, Eip2718Error, Encodable2718 as _};
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
    let tx = TxEnvelope::decode_2718(&mut rest).map_err(|e| TxError::Malformed(problem(raw, &e)))?;
    if !rest.is_empty() {
        return Err(TxError::Malformed(format!("{} bytes after the transaction", rest.len())));
    }
    if tx.encoded_2718() != raw {
        return Err(TxError::Malformed("not the canonical encoding".into()));
    }
    Ok(tx)
}

/// What is wrong. Of a list that is no legacy transaction the envelope says only that it has no type.
fn problem(raw: &[u8], e: &Eip2718Error) -> String {
    let list = raw.first().is_some_and(|b| *b >= alloy_rlp::EMPTY_LIST_CODE);
    let legacy = || TxLegacy::rlp_decode_signed(&mut &raw[..]).err();
    if list && let Some(e) = legacy() { e.to_string() } else { e.to_string() }
}

/// The address that signed the transaction, or `None` when the signature does not verify.
pub(super) fn recover(tx: &TxEnvelope) -> Option<Address> {
    let sig = tx.signature();
    secp256k1::recover(&tx.signature_hash(), sig.r(), sig.s(), sig.v())
}

#[cfg(test)]
mod tests {
    use alloy_primitives::hex;

    /// `TransactionWithHighGasPrice` of Ethereum's transaction tests: a gas price above 2^128.
    #[test]
    fn a_legacy_transaction_with_a_bad_field_is_not_called_one_of_unknown_type() {
        let raw = hex!(
            "f87e809f031eea408f8e1799cb883da2927b1336521d73c2c14accfebb70d5c5ae466982520894095e7baea6a6c7c4c2dfeb977efac326"
            "af552d8780801ba048b55bfa915ac795c431978d8a6a992b628d557da5ff759b307d495a36649353a01fffd310ac743f371de3b9f7f9cb"
            "56c0b28ad43601b4ab949f53faa07bd2c804"
        );
        let refused = super::decode(&raw).expect_err("the price is above 2^128").to_string();
        assert_eq!(refused, "malformed transaction: overflow");
    }
}
