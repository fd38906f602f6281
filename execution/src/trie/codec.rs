//! Ethereum's encoding of trie nodes: to hash and store them, and back.

use alloy_primitives::{B256, KECCAK256_EMPTY, U256};
use alloy_rlp::{Decodable, Encodable, Header};
use alloy_trie::EMPTY_ROOT_HASH;
use basalt_primitives::state::Account;

use super::node::{Kid, Node, NodeRef, Value, nibble, with_nibble};

/// Encodes a node that hangs at `depth`; its children are named already.
pub(super) fn encode(node: &Node, depth: usize, out: &mut Vec<u8>) {
    match node {
        Node::Vacant => unreachable!("a vacant place is no node"),
        Node::Leaf { key, value, .. } => encode_leaf(key, depth, value, out),
        Node::Extension { key, end, kid, .. } => encode_extension(key, depth, usize::from(*end), kid, out),
        Node::Branch { mask, kids, .. } => encode_branch(*mask, kids, out),
    }
}

/// No encoding of the node is longer; true of all but the raw leaves of tests.
pub(super) fn max_encoded_len(node: &Node) -> usize {
    match node {
        Node::Branch { kids, .. } => 3 + 17 + 32 * kids.len(),
        _ => 3 + 35 + 112,
    }
}

fn encode_leaf(key: &B256, depth: usize, value: &Value, out: &mut Vec<u8>) {
    let mut buf = ValueBuf::new();
    let value = buf.encode(value);
    let (path, path_len) = hex_prefix(key, depth, 64, true);
    let path = &path[..path_len];
    Header { list: true, payload_length: path.length() + value.length() }.encode(out);
    path.encode(out);
    value.encode(out);
}

fn encode_extension(key: &B256, depth: usize, end: usize, kid: &Kid, out: &mut Vec<u8>) {
    let (path, path_len) = hex_prefix(key, depth, end, false);
    let path = &path[..path_len];
    Header { list: true, payload_length: path.length() + ref_len(&kid.node) }.encode(out);
    path.encode(out);
    encode_ref(&kid.node, out);
}

fn encode_branch(mask: u16, kids: &[Kid], out: &mut Vec<u8>) {
    let payload = kids.iter().map(|k| ref_len(&k.node)).sum::<usize>() + 17 - kids.len();
    Header { list: true, payload_length: payload }.encode(out);
    // Filled on the stack and appended at once: a branch is most of what there is to encode.
    let (mut buf, mut len) = ([0x80; 17 + 16 * 32], 0);
    let mut kids = kids.iter();
    for n in 0..16 {
        if mask & 1 << n != 0
            && let Some(kid) = kids.next()
        {
            match kid.node.as_hash() {
                Some(hash) => {
                    buf[len] = 0xa0;
                    buf[len + 1..len + 33].copy_from_slice(&hash.0);
                }
                None => buf[len..len + ref_len(&kid.node)].copy_from_slice(kid.node.as_slice()),
            }
            len += ref_len(&kid.node);
        } else {
            len += 1;
        }
    }
    out.extend_from_slice(&buf[..=len]);
}

fn ref_len(node: &NodeRef) -> usize {
    let len = node.as_slice().len();
    debug_assert!(len > 0, "children are named before their parent");
    len + usize::from(len == 32)
}

fn encode_ref(node: &NodeRef, out: &mut Vec<u8>) {
    if node.as_hash().is_some() {
        out.push(0xa0);
    }
    out.extend_from_slice(node.as_slice());
}

/// Hex-prefix encoding of the nibbles of `key` in `from..to`.
fn hex_prefix(key: &B256, from: usize, to: usize, leaf: bool) -> ([u8; 33], usize) {
    let mut out = [0; 33];
    let odd = (to - from) % 2;
    out[0] = if leaf { 0x20 } else { 0 };
    if odd == 1 {
        out[0] |= 0x10 | nibble(key, from);
    }
    let len = (to - from) / 2;
    let start = from + odd;
    if start.is_multiple_of(2) {
        out[1..=len].copy_from_slice(&key.0[start / 2..start / 2 + len]);
    } else {
        for i in 0..len {
            out[1 + i] = nibble(key, start + 2 * i) << 4 | nibble(key, start + 2 * i + 1);
        }
    }
    (out, len + 1)
}

/// Room for an encoded value: an account takes at most 110 bytes.
struct ValueBuf {
    bytes: [u8; 112],
    raw: Vec<u8>,
}

impl ValueBuf {
    const fn new() -> Self {
        Self { bytes: [0; 112], raw: Vec::new() }
    }

    fn encode(&mut self, value: &Value) -> &[u8] {
        let mut rest: &mut [u8] = &mut self.bytes;
        match value {
            Value::Slot(v) => v.encode(&mut rest),
            Value::Plain { nonce, balance: [low, high] } => {
                let balance = u128::from(*high) << 64 | u128::from(*low);
                encode_account(*nonce, &balance, EMPTY_ROOT_HASH, KECCAK256_EMPTY, &mut rest);
            }
            Value::Account(a) => {
                encode_account(a.account.nonce, &a.account.balance, a.storage_root, a.account.code_hash, &mut rest);
            }
            Value::Raw(b) => {
                self.raw = b.to_vec();
                return &self.raw;
            }
        }
        let len = 112 - rest.len();
        &self.bytes[..len]
    }
}

fn encode_account(nonce: u64, balance: &impl Encodable, root: B256, code: B256, out: &mut &mut [u8]) {
    Header { list: true, payload_length: nonce.length() + balance.length() + 66 }.encode(out);
    nonce.encode(out);
    balance.encode(out);
    root.encode(out);
    code.encode(out);
}

/// What the leaves of a trie hold.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaves {
    Accounts,
    Slots,
    Raw,
}

type Problem = &'static str;

/// Decodes a node that hangs at `depth` below the first nibbles of `path`.
pub(super) fn decode(bytes: &[u8], path: &B256, depth: usize, leaves: Leaves) -> Result<Node, Problem> {
    let mut rest = bytes;
    let mut payload = Header::decode_bytes(&mut rest, true).map_err(|_| "not an RLP list")?;
    if !rest.is_empty() {
        return Err("bytes after the node");
    }
    let items = raw_items(&mut payload)?;
    match items.count {
        2 => decode_path_node(items.items[0], items.items[1], path, depth, leaves),
        17 => decode_branch(&items.items),
        _ => Err("neither 2 nor 17 items"),
    }
}

struct Items<'a> {
    items: [&'a [u8]; 17],
    count: usize,
}

/// Splits a list into its items, each with its own RLP header.
fn raw_items<'a>(payload: &mut &'a [u8]) -> Result<Items<'a>, Problem> {
    let mut out = Items { items: [&[]; 17], count: 0 };
    while !payload.is_empty() {
        let start = *payload;
        let header = Header::decode(payload).map_err(|_| "an item is not RLP")?;
        *payload = payload.get(header.payload_length..).ok_or("an item is cut short")?;
        let slot = out.items.get_mut(out.count).ok_or("more than 17 items")?;
        *slot = &start[..start.len() - payload.len()];
        out.count += 1;
    }
    Ok(out)
}

fn decode_path_node(path_item: &[u8], value: &[u8], at: &B256, depth: usize, leaves: Leaves) -> Result<Node, Problem> {
    let mut path_item = path_item;
    let path = Header::decode_bytes(&mut path_item, false).map_err(|_| "a path is not a string")?;
    let first = *path.first().ok_or("an empty path")?;
    if first >> 4 > 3 {
        return Err("an unknown path flag");
    }
    let (leaf, odd) = (first & 0x20 != 0, usize::from(first & 0x10 != 0));
    let end = depth + odd + (path.len() - 1) * 2;
    if end > 64 || leaf != (end == 64) || end == depth {
        return Err("a path of the wrong length");
    }
    let mut key = *at;
    if odd == 1 {
        key = with_nibble(&key, depth, first & 15);
    }
    for (i, byte) in path[1..].iter().enumerate() {
        key = with_nibble(&key, depth + odd + 2 * i, byte >> 4);
        key = with_nibble(&key, depth + odd + 2 * i + 1, byte & 15);
    }
    if leaf {
        let mut value = value;
        let value = Header::decode_bytes(&mut value, false).map_err(|_| "a value is not a string")?;
        return Ok(Node::Leaf { key, value: decode_value(value, leaves)?, stamp: 0 });
    }
    Ok(Node::Extension { key, end: end as u8, kid: Kid::cold(decode_ref(value)?), stamp: 0 })
}

fn decode_branch(items: &[&[u8]; 17]) -> Result<Node, Problem> {
    if items[16] != [0x80] {
        return Err("a branch with a value");
    }
    let present = items[..16].iter().filter(|i| **i != [0x80]).count();
    let (mut mask, mut kids) = (0, Vec::with_capacity(present));
    for (n, item) in items[..16].iter().enumerate().filter(|(_, i)| **i != [0x80]) {
        mask |= 1 << n;
        kids.push(Kid::cold(decode_ref(item)?));
    }
    if present < 2 {
        return Err("a branch with fewer than two children");
    }
    Ok(Node::Branch { mask, kids, stamp: 0 })
}

fn decode_ref(item: &[u8]) -> Result<NodeRef, Problem> {
    match item {
        [0xa0, hash @ ..] if hash.len() == 32 => Ok(NodeRef::hash(B256::from_slice(hash))),
        [first, ..] if *first >= 0xc0 && item.len() < 32 => Ok(NodeRef::inline(item)),
        _ => Err("a child that is neither a hash nor a short node"),
    }
}

fn decode_value(mut value: &[u8], leaves: Leaves) -> Result<Value, Problem> {
    match leaves {
        Leaves::Slots => U256::decode(&mut value).map(Value::Slot).map_err(|_| "a slot that is no number"),
        Leaves::Accounts => decode_account(value),
        Leaves::Raw => Ok(Value::Raw(value.into())),
    }
}

fn decode_account(value: &[u8]) -> Result<Value, Problem> {
    let decode = |mut b: &[u8]| -> alloy_rlp::Result<Value> {
        let mut fields = Header::decode_bytes(&mut b, true)?;
        let nonce = u64::decode(&mut fields)?;
        let balance = U256::decode(&mut fields)?;
        let storage_root = B256::decode(&mut fields)?;
        let code_hash = B256::decode(&mut fields)?;
        if !fields.is_empty() || !b.is_empty() {
            return Err(alloy_rlp::Error::UnexpectedLength);
        }
        Ok(Value::account(Account { nonce, balance, code_hash }, storage_root))
    };
    decode(value).map_err(|_| "a leaf that is no account")
}
