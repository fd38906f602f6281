//! Signatures of the well-known accounts.

use alloy_dyn_abi::TypedData;
use alloy_primitives::{Address, Bytes, eip191_hash_message};
use serde_json::Value;

use super::{
    super::super::{
        RpcError,
        registry::{Call, Registry},
    },
    devnet,
};

pub(super) fn add(r: &mut Registry) {
    r.quick("eth_sign", &["address", "data"], |c: &Call, (address, data): (Address, Bytes)| message(c, address, &data));
    r.quick("personal_sign", &["data", "address"], |c: &Call, (data, address): (Bytes, Address)| {
        message(c, address, &data)
    });
    for name in ["eth_signTypedData_v4", "eth_signTypedData"] {
        r.quick(name, &["address", "typedData"], |c: &Call, (address, data): (Address, Value)| typed(c, address, data));
    }
}

/// EIP-191, version 0x45.
fn message(c: &Call, address: Address, data: &Bytes) -> Result<Bytes, RpcError> {
    let signature = devnet(c)?.accounts.sign(address, eip191_hash_message(data))?;
    Ok(Bytes::copy_from_slice(&signature.as_bytes()))
}

/// EIP-712; the data as an object, or as the text of one.
fn typed(c: &Call, address: Address, data: Value) -> Result<Bytes, RpcError> {
    let refused = |e: &dyn std::fmt::Display| RpcError::params(format!("invalid argument 1: not typed data: {e}"));
    let data: TypedData = match data {
        Value::String(text) => serde_json::from_str(&text).map_err(|e| refused(&e))?,
        object => serde_json::from_value(object).map_err(|e| refused(&e))?,
    };
    let digest = data.eip712_signing_hash().map_err(|e| refused(&e))?;
    let signature = devnet(c)?.accounts.sign(address, digest)?;
    Ok(Bytes::copy_from_slice(&signature.as_bytes()))
}
