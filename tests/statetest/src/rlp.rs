//! RLP tests: items encode and decode as written; what is no encoding is refused by every decoder of RLP that we have.

use alloy_primitives::{Bytes, U256, hex, keccak256};
use alloy_rlp::{Encodable, Header};
use basalt_execution::{StateError, TrieReader, trie};
use basalt_primitives::{HashFn, state::TrieKey, tx::ethereum};
use serde_json::Value;

use crate::{Case, Verdict};

/// Nesting that a test may have; beyond it a decoder's stack would be at the mercy of the input.
const MAX_DEPTH: usize = 1024;

#[derive(Debug, PartialEq, Eq)]
enum Item {
    Bytes(Vec<u8>),
    List(Vec<Item>),
}

pub(crate) fn run(test: &Value) -> Case {
    let encoded = hex::decode(test["out"].as_str().unwrap_or_default()).map_err(|e| e.to_string())?;
    match test["in"].as_str() {
        Some("VALID") => decode(&encoded).map(|_| Verdict::Passed),
        Some("INVALID") => refused(&encoded),
        _ => same(&item(&test["in"]), &encoded),
    }
}

fn same(item: &Item, encoded: &[u8]) -> Case {
    let mut ours = Vec::new();
    encode(item, &mut ours);
    if ours != encoded {
        return Err(format!("encoded as {}", hex::encode(ours)));
    }
    let decoded = decode(encoded)?;
    if decoded != *item { Err(format!("decoded as {decoded:?}")) } else { Ok(Verdict::Passed) }
}

fn refused(encoded: &[u8]) -> Case {
    if let Ok(item) = decode(encoded) {
        return Err(format!("decoded as {item:?}"));
    }
    if ethereum::decode(encoded).is_ok() {
        return Err("decoded as a transaction".into());
    }
    let raw = Bytes::copy_from_slice(encoded);
    if basalt_proto::tx::decode(raw.clone(), 1, HashFn::Sha256).is_ok() {
        return Err("decoded as a transaction from the network".into());
    }
    // The name of the node is right, so that what refuses it is the decoder.
    match trie::proof(&OneNode(raw), keccak256(encoded), &Default::default(), &[]) {
        Ok(_) => Err("decoded as a trie node".into()),
        Err(_) => Ok(Verdict::Passed),
    }
}

/// A store whose every node is this one.
struct OneNode(Bytes);

impl TrieReader for OneNode {
    fn node(&self, _: &TrieKey) -> Result<Option<Bytes>, StateError> {
        Ok(Some(self.0.clone()))
    }
}

fn item(value: &Value) -> Item {
    let integer = |n: U256| Item::Bytes(n.to_be_bytes_trimmed_vec());
    match value {
        Value::Array(items) => Item::List(items.iter().map(item).collect()),
        Value::Number(n) => integer(U256::from(n.as_u64().expect("a whole number"))),
        Value::String(s) => match s.strip_prefix('#') {
            Some(decimal) => Item::Bytes(big(decimal)),
            None => Item::Bytes(s.clone().into_bytes()),
        },
        other => panic!("{other} is no item"),
    }
}

/// A decimal number of any size, as big-endian bytes.
fn big(decimal: &str) -> Vec<u8> {
    let mut digits: Vec<u8> = Vec::new();
    for digit in decimal.bytes() {
        let mut carry = u32::from(digit - b'0');
        for byte in digits.iter_mut().rev() {
            carry += u32::from(*byte) * 10;
            *byte = carry as u8;
            carry >>= 8;
        }
        if carry > 0 {
            digits.insert(0, carry as u8);
        }
    }
    digits
}

fn encode(item: &Item, out: &mut Vec<u8>) {
    match item {
        Item::Bytes(bytes) => bytes.as_slice().encode(out),
        Item::List(items) => {
            let mut payload = Vec::new();
            items.iter().for_each(|item| encode(item, &mut payload));
            Header { list: true, payload_length: payload.len() }.encode(out);
            out.extend(payload);
        }
    }
}

/// The one item that these bytes are, by the header decoder that all our decoders of RLP use.
fn decode(mut encoded: &[u8]) -> Result<Item, String> {
    let item = decode_one(&mut encoded, 0)?;
    if encoded.is_empty() { Ok(item) } else { Err(format!("{} bytes follow", encoded.len())) }
}

fn decode_one(rest: &mut &[u8], depth: usize) -> Result<Item, String> {
    if depth > MAX_DEPTH {
        return Err("nested too deeply".into());
    }
    let header = Header::decode(rest).map_err(|e| e.to_string())?;
    let (mut payload, after) = rest.split_at_checked(header.payload_length).ok_or("too short")?;
    *rest = after;
    if !header.list {
        return Ok(Item::Bytes(payload.to_vec()));
    }
    let mut items = Vec::new();
    while !payload.is_empty() {
        items.push(decode_one(&mut payload, depth + 1)?);
    }
    Ok(Item::List(items))
}
