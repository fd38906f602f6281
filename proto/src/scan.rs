//! The look at a message before it is decoded: are all lengths inside the bytes, and all counts within their limits?
//!
//! A protobuf decoder grows a vector for every repeated field it meets, so a few megabytes of two-byte items would become
//! hundreds of megabytes. Counting first costs one pass over keys and lengths and allocates nothing.

use prost::bytes::Buf;
use prost::encoding::{WireType, decode_key, decode_varint};

use crate::DecodeError;

/// The limits of one length-delimited field.
#[derive(Debug)]
pub struct Field {
    /// Its tag.
    pub tag: u32,
    /// Its name, for errors.
    pub what: &'static str,
    /// How often it may occur. Singular messages say 1: protobuf merges repeated ones, which would get around the
    /// limits inside.
    pub max_count: usize,
    /// Most bytes of each.
    pub max_len: usize,
    /// Limits inside, when it is a message that has any.
    pub inner: &'static [Self],
}

impl Field {
    /// Byte strings.
    pub const fn bytes(tag: u32, what: &'static str, max_count: usize, max_len: usize) -> Self {
        Self { tag, what, max_count, max_len, inner: &[] }
    }

    /// Messages, as long as what they are in.
    pub const fn message(tag: u32, what: &'static str, max_count: usize, inner: &'static [Self]) -> Self {
        Self { tag, what, max_count, max_len: usize::MAX, inner }
    }
}

/// Most length-delimited fields any message has.
const MAX_FIELDS: usize = 8;

/// Checks the limits. `what` names the message.
pub fn scan(what: &'static str, mut buf: &[u8], fields: &'static [Field]) -> Result<(), DecodeError> {
    let mut counts = [0usize; MAX_FIELDS];
    assert!(fields.len() <= MAX_FIELDS, "{what}: raise MAX_FIELDS");
    let broken = |problem: &str| DecodeError::Protobuf { what, problem: problem.to_owned() };
    while !buf.is_empty() {
        let (tag, wire_type) = decode_key(&mut buf).map_err(|e| broken(&e.to_string()))?;
        let skip = match wire_type {
            WireType::Varint => {
                decode_varint(&mut buf).map_err(|e| broken(&e.to_string()))?;
                continue;
            }
            WireType::SixtyFourBit => 8,
            WireType::ThirtyTwoBit => 4,
            WireType::LengthDelimited => decode_varint(&mut buf).map_err(|e| broken(&e.to_string()))?,
            WireType::StartGroup | WireType::EndGroup => return Err(broken("groups are not used")),
        };
        let skip = usize::try_from(skip).ok().filter(|n| *n <= buf.len()).ok_or_else(|| broken("cut short"))?;
        if let Some(i) = fields.iter().position(|f| f.tag == tag) {
            counts[i] += 1;
            check_field(&fields[i], counts[i], &buf[..skip])?;
        }
        buf.advance(skip);
    }
    Ok(())
}

fn check_field(field: &'static Field, count: usize, content: &[u8]) -> Result<(), DecodeError> {
    let Field { what, max_count, max_len, inner, .. } = *field;
    if count > max_count {
        return Err(DecodeError::TooMany { what, max: max_count });
    }
    if content.len() > max_len {
        return Err(DecodeError::TooLarge { what, have: content.len(), max: max_len });
    }
    if inner.is_empty() { Ok(()) } else { scan(what, content, inner) }
}
