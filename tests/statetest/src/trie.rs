//! Trie tests: the root of keys and values that are set and deleted one after the other, with nothing kept in memory.

use alloy_primitives::{B256, hex, keccak256};
use basalt_execution::{MemoryState, StateTrie, trie::EMPTY_ROOT};
use serde_json::Value;

use crate::{
    Case, Verdict,
    json::{entries, field},
};

type Step = (Vec<u8>, Option<Vec<u8>>);

pub(crate) fn run(test: &Value, secure: bool) -> Case {
    if test.get("root").is_none() {
        return Ok(Verdict::Skipped("next and previous key: state is not searched in key order"));
    }
    if !secure {
        return Ok(Verdict::Skipped("keys that are not hashed and of any length, which state never has"));
    }
    let expected: B256 = field(&test["root"]);
    let (mut trie, mut store) = (StateTrie::open(EMPTY_ROOT, 0), MemoryState::new());
    for (key, value) in steps(&test["in"]) {
        let batch = trie.apply_raw(&[(keccak256(key), value)], &store).map_err(|e| e.to_string())?;
        store.apply_trie(&batch.updates);
        trie.commit();
    }
    let root = trie.root();
    if root == expected { Ok(Verdict::Passed) } else { Err(format!("root {root}, expected {expected}")) }
}

fn steps(list: &Value) -> Vec<Step> {
    match list {
        Value::Array(list) => list.iter().map(|kv| (text(&kv[0]).expect("a key"), text(&kv[1]))).collect(),
        map => entries(map).map(|(k, v)| (literal(k), text(v))).collect(),
    }
}

fn text(value: &Value) -> Option<Vec<u8>> {
    value.as_str().map(literal)
}

/// Hex where it begins as such, else the letters themselves.
fn literal(s: &str) -> Vec<u8> {
    s.strip_prefix("0x").map_or_else(|| s.into(), |h| hex::decode(h).expect("hex"))
}
