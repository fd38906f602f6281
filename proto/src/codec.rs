//! The one way in and out of every format, and the conversions of the values inside.

use basalt_primitives::{Address, B256, Height, U256};
use prost::{Message, bytes::Bytes};

use crate::{
    DecodeError,
    scan::{Field, scan},
};

/// A domain type that has a protobuf encoding.
pub trait Codec: Sized {
    /// Longest encoding that is looked at, in bytes. A frame or a stored value can be bounded by it.
    const MAX_BYTES: usize;

    /// The encoding.
    fn encode(&self) -> Vec<u8>;

    /// Decodes and checks. Byte strings inside are slices of `bytes`.
    fn decode(bytes: impl Into<Bytes>) -> Result<Self, DecodeError>;
}

/// How a domain type and its generated message relate: what [`Codec`] is made of.
///
/// `try_from` must be injective: two different messages never give the same value. Together with the comparison in
/// [`decode_canonical`] that makes the accepted encoding of a value unique.
pub trait Convert: Sized {
    /// The generated type.
    type Pb: Message + Default;
    /// Name in errors.
    const NAME: &'static str;
    /// Longest encoding.
    const MAX: usize;
    /// Limits of its repeated and nested fields.
    const FIELDS: &'static [Field];
    /// Whether unknown fields and other encodings of the same message are tolerated.
    const LENIENT: bool = false;

    /// The generated message of a value.
    fn to_pb(&self) -> Self::Pb;
    /// The checked value of a message.
    fn from_pb(pb: Self::Pb) -> Result<Self, DecodeError>;
}

impl<T: Convert> Codec for T {
    const MAX_BYTES: usize = T::MAX;

    fn encode(&self) -> Vec<u8> {
        self.to_pb().encode_to_vec()
    }

    fn decode(bytes: impl Into<Bytes>) -> Result<Self, DecodeError> {
        let decode = if T::LENIENT { decode_any::<T::Pb> } else { decode_canonical::<T::Pb> };
        T::from_pb(decode(T::NAME, T::MAX, T::FIELDS, bytes.into())?)
    }
}

/// Decodes a generated message within its limits, whatever its encoding and with unknown fields skipped.
fn decode_any<M: Message + Default>(
    what: &'static str,
    max: usize,
    fields: &'static [Field],
    bytes: Bytes,
) -> Result<M, DecodeError> {
    if bytes.len() > max {
        return Err(DecodeError::TooLarge { what, have: bytes.len(), max });
    }
    scan(what, &bytes, fields)?;
    M::decode(bytes).map_err(|e| DecodeError::Protobuf { what, problem: e.to_string() })
}

/// Decodes a generated message within its limits and refuses every encoding but the canonical one.
pub fn decode_canonical<M: Message + Default>(
    what: &'static str,
    max: usize,
    fields: &'static [Field],
    bytes: Bytes,
) -> Result<M, DecodeError> {
    let message: M = decode_any(what, max, fields, bytes.clone())?;
    if message.encode_to_vec() == *bytes { Ok(message) } else { Err(DecodeError::NotCanonical(what)) }
}

/// A field that must be there.
pub fn required<T>(what: &'static str, v: Option<T>) -> Result<T, DecodeError> {
    v.ok_or(DecodeError::Missing(what))
}

/// A byte string of known length.
pub fn array<const N: usize>(what: &'static str, b: &[u8]) -> Result<[u8; N], DecodeError> {
    b.try_into().map_err(|_| DecodeError::Length { what, have: b.len(), want: N })
}

/// A hash.
pub fn hash(what: &'static str, b: &[u8]) -> Result<B256, DecodeError> {
    array(what, b).map(B256::new)
}

/// An address.
pub fn address(what: &'static str, b: &[u8]) -> Result<Address, DecodeError> {
    array(what, b).map(Address::new)
}

/// A height. The bound keeps sums from overflowing.
pub fn height(what: &'static str, h: u64) -> Result<Height, DecodeError> {
    if h > Height::MAX.0 { Err(DecodeError::Value { what, problem: "is beyond any chain" }) } else { Ok(Height(h)) }
}

/// A 256-bit integer, big-endian without leading zeros.
pub fn u256(what: &'static str, b: &[u8]) -> Result<U256, DecodeError> {
    match b {
        [0, ..] => Err(DecodeError::NotCanonical(what)),
        _ if b.len() > 32 => Err(DecodeError::TooLarge { what, have: b.len(), max: 32 }),
        _ => Ok(U256::from_be_slice(b)),
    }
}

/// A 128-bit integer, big-endian without leading zeros.
pub fn u128(what: &'static str, b: &[u8]) -> Result<u128, DecodeError> {
    if b.len() > 16 {
        return Err(DecodeError::TooLarge { what, have: b.len(), max: 16 });
    }
    Ok(u256(what, b)?.to())
}

/// Bytes of a hash or address.
pub fn copy(b: &[u8]) -> Bytes {
    Bytes::copy_from_slice(b)
}

/// Big-endian without leading zeros.
pub fn minimal(v: U256) -> Bytes {
    copy(&v.to_be_bytes_trimmed_vec())
}
