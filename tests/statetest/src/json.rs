//! The tests' way of writing numbers and bytes. The files are ours to trust: what is not as it should be is a panic, which
//! is reported as the failure of its case.

use alloy_primitives::{Bytes, U256, hex};
use serde_json::Value;

/// A number in hex or decimal; zero where there is none.
pub(crate) fn number(value: &Value) -> U256 {
    value.as_str().map_or(U256::ZERO, |s| s.parse().expect("a number"))
}

/// Bytes in hex.
pub(crate) fn bytes(value: &Value) -> Bytes {
    hex::decode(value.as_str().expect("hex")).expect("hex").into()
}

/// A field that is a hash, an address or the like.
pub(crate) fn field<T: std::str::FromStr>(value: &Value) -> T {
    value.as_str().and_then(|s| s.parse().ok()).expect("a hash or an address")
}

/// The entries of an object.
pub(crate) fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().expect("an object").iter()
}
