//! Answers against Ethereum's execution API, `execution-apis.openrpc.json`: just enough of JSON Schema for it.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::{Fake, call};
use crate::{
    mempool::test_util,
    rpc::{
        ports::ChainReader as _,
        tests::backend::{CONTRACT, TOPIC, native, one_of_each},
    },
};

/// The specification; `None`, with a word about it, where the folder of fixtures is not.
pub(super) fn openrpc() -> Option<Value> {
    let folder = std::env::var("BASALT_FIXTURES");
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/fixtures");
    let path = PathBuf::from(folder.as_deref().unwrap_or(default)).join("execution-apis.openrpc.json");
    match std::fs::read(&path) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes).expect("the specification is JSON")),
        Err(e) if folder.is_ok() => panic!("BASALT_FIXTURES is set, but {} cannot be read: {e}", path.display()),
        Err(_) => {
            println!("skipped: {} is not here; see github.com/ethereum/execution-apis", path.display());
            None
        }
    }
}

/// Whether a text matches one of the patterns that the specification uses.
fn matches(pattern: &str, text: &str) -> bool {
    let hex = |s: &str| s.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let body = pattern.strip_prefix('^').and_then(|p| p.strip_suffix('$')).unwrap_or(pattern);
    if body == "(0|[1-9][0-9]*)" {
        return text.parse::<u64>().is_ok_and(|n| n.to_string() == text);
    }
    let Some(digits) = text.strip_prefix("0x") else { return false };
    let Some(rest) = body.strip_prefix("0x") else { panic!("unknown pattern {pattern}") };
    if let Some(quantity) = rest.strip_prefix("(0|[1-9a-f][0-9a-f]") {
        let most = match quantity {
            "*)" => usize::MAX,
            other => 1 + between(other.strip_suffix(')').expect("closes")).1,
        };
        return hex(digits)
            && !digits.is_empty()
            && digits.len() <= most
            && (digits == "0" || !digits.starts_with('0'));
    }
    if let Some(count) = rest.strip_prefix("[0-9a-fA-F]") {
        return hex(&digits.to_ascii_lowercase()) && in_range(digits.len(), count);
    }
    if let Some(count) = rest.strip_prefix("[0-9a-f]") {
        return hex(digits) && in_range(digits.len(), count);
    }
    assert!(hex(rest), "unknown pattern {pattern}");
    digits == rest
}

fn in_range(len: usize, count: &str) -> bool {
    if count == "*" {
        return true;
    }
    let (least, most) = between(count);
    (least..=most).contains(&len)
}

/// `{n}` or `{a,b}`.
fn between(count: &str) -> (usize, usize) {
    let inner = count.strip_prefix('{').and_then(|c| c.strip_suffix('}')).expect("a count");
    let (a, b) = inner.split_once(',').unwrap_or((inner, inner));
    (a.parse().expect("a number"), b.parse().expect("a number"))
}

pub(super) struct Schemas(pub(super) Value);

impl Schemas {
    pub(super) fn result_of(&self, method: &str) -> &Value {
        let methods = self.0["methods"].as_array().expect("methods");
        let found = methods.iter().find(|m| m["name"] == method);
        &found.unwrap_or_else(|| panic!("{method} is not in the specification"))["result"]["schema"]
    }

    /// Why a value does not fit; `Ok` if it does.
    pub(super) fn check(&self, schema: &Value, value: &Value) -> Result<(), String> {
        if let Some(path) = schema["$ref"].as_str() {
            let target = self.0.pointer(path.strip_prefix('#').expect("local")).expect("it exists");
            return self.check(target, value);
        }
        for part in schema["allOf"].as_array().into_iter().flatten() {
            self.check(part, value)?;
        }
        for (key, exactly_one) in [("oneOf", true), ("anyOf", false)] {
            let Some(choices) = schema[key].as_array() else { continue };
            let errors: Vec<_> = choices.iter().filter_map(|c| self.check(c, value).err()).collect();
            let fitting = choices.len() - errors.len();
            if fitting == 0 || (exactly_one && fitting > 1) {
                return Err(format!("{fitting} of {key} fit {value}: {}", errors.join(" | ")));
            }
        }
        self.check_type(schema, value)?;
        self.check_object(schema, value)?;
        let items = value.as_array().filter(|_| schema.get("items").is_some());
        items.into_iter().flatten().try_for_each(|item| self.check(&schema["items"], item))
    }

    fn check_type(&self, schema: &Value, value: &Value) -> Result<(), String> {
        let fits = match schema["type"].as_str() {
            None => true,
            Some("object") => value.is_object(),
            Some("array") => value.is_array(),
            Some("string") => value.is_string(),
            Some("boolean") => value.is_boolean(),
            Some("null") => value.is_null(),
            Some("number" | "integer") => value.is_number(),
            Some(other) => panic!("unknown type {other}"),
        };
        if !fits {
            return Err(format!("{value} is not of type {}", schema["type"]));
        }
        if let (Some(pattern), Some(text)) = (schema["pattern"].as_str(), value.as_str())
            && !matches(pattern, text)
        {
            return Err(format!("{text} does not match {pattern}"));
        }
        match schema["enum"].as_array() {
            Some(allowed) if !allowed.contains(value) => Err(format!("{value} is not one of {allowed:?}")),
            _ => Ok(()),
        }
    }

    fn check_object(&self, schema: &Value, value: &Value) -> Result<(), String> {
        let Some(object) = value.as_object() else { return Ok(()) };
        for name in schema["required"].as_array().into_iter().flatten() {
            let name = name.as_str().expect("a name");
            object.get(name).ok_or_else(|| format!("{name} is missing from {value}"))?;
        }
        for (name, field) in object {
            match schema["properties"].get(name) {
                Some(s) => self.check(s, field).map_err(|e| format!("{name}: {e}"))?,
                None if schema["additionalProperties"] == Value::Bool(false)
                    && schema["patternProperties"].is_null() =>
                {
                    return Err(format!("{name} is not allowed"));
                }
                None => {}
            }
        }
        Ok(())
    }
}

#[test]
fn patterns_are_understood() {
    assert!(matches("^0x(0|[1-9a-f][0-9a-f]*)$", "0x0") && matches("^0x(0|[1-9a-f][0-9a-f]*)$", "0x1f"));
    assert!(!matches("^0x(0|[1-9a-f][0-9a-f]*)$", "0x01") && !matches("^0x(0|[1-9a-f][0-9a-f]*)$", "0x"));
    assert!(!matches("^0x(0|[1-9a-f][0-9a-f]{0,7})$", "0x123456789"));
    assert!(matches("^0x[0-9a-f]{8}$", "0x00000000") && !matches("^0x[0-9a-f]{8}$", "0x0000000"));
    assert!(matches("^0x4$", "0x4") && !matches("^0x4$", "0x42"));
}

#[tokio::test]
async fn answers_fit_the_execution_api() {
    let Some(spec) = openrpc() else { return };
    let schemas = Schemas(spec);
    let fake = Fake::new();
    fake.admit(vec![native(2, 0), native(2, 2)]);
    let app = fake.app(Default::default());
    let account = test_util::address(1);
    let hash = fake.view(fake.block(basalt_primitives::Height(1)).expect("ok").expect("there").height()).hash;
    // Native transactions are of a type that the specification does not know; they are tested beside it.
    let ethereum: Vec<_> = one_of_each().iter().take(5).map(|t| t.hash()).collect();
    let logs = json!({ "fromBlock": "0x0", "toBlock": "latest", "address": CONTRACT, "topics": [TOPIC] });
    let mut calls = vec![
        ("eth_blockNumber", json!([])),
        ("eth_chainId", json!([])),
        ("eth_syncing", json!([])),
        ("eth_accounts", json!([])),
        ("eth_gasPrice", json!([])),
        ("eth_maxPriorityFeePerGas", json!([])),
        ("eth_baseFee", json!([])),
        ("eth_feeHistory", json!(["0x3", "latest", [10.0, 50.0]])),
        ("eth_getBalance", json!([account, "latest"])),
        ("eth_getTransactionCount", json!([account, "pending"])),
        ("eth_getCode", json!([CONTRACT, "latest"])),
        ("eth_getStorageAt", json!([CONTRACT, "0x0", "latest"])),
        ("eth_getStorageValues", json!([{ CONTRACT.to_string(): ["0x0", TOPIC] }, "latest"])),
        ("eth_getProof", json!([account, ["0x0", TOPIC], "latest"])),
        ("eth_getProof", json!([CONTRACT, [], "latest"])),
        ("eth_getBlockByNumber", json!(["0x0", true])),
        ("eth_getBlockByNumber", json!(["0x1", false])),
        ("eth_getBlockByNumber", json!(["0x99", false])),
        ("eth_getBlockByHash", json!([hash, false])),
        ("eth_getBlockTransactionCountByNumber", json!(["0x1"])),
        ("eth_getBlockTransactionCountByHash", json!([hash])),
        ("eth_getBlockReceipts", json!(["0x1"])),
        ("eth_getTransactionByBlockHashAndIndex", json!([hash, "0x0"])),
        ("eth_getTransactionByBlockNumberAndIndex", json!(["0x1", "0x3"])),
        ("eth_getTransactionByHash", json!([TOPIC])),
        ("eth_call", json!([{ "to": CONTRACT, "input": "0x1234" }, "latest"])),
        ("eth_estimateGas", json!([{ "to": CONTRACT }])),
        ("eth_getLogs", json!([logs])),
        ("eth_newFilter", json!([logs])),
        ("eth_newBlockFilter", json!([])),
        ("eth_newPendingTransactionFilter", json!([])),
        ("net_version", json!([])),
        ("txpool_status", json!([])),
        ("eth_sendRawTransaction", json!(["0x02aa"])),
        ("eth_blobBaseFee", json!([])),
        ("eth_createAccessList", json!([{ "to": CONTRACT, "input": "0x1234" }, "latest"])),
        ("eth_simulateV1", json!([{ "blockStateCalls": [{ "calls": [{ "to": CONTRACT }] }] }, "latest"])),
        ("debug_getRawHeader", json!(["0x1"])),
        ("debug_getRawBlock", json!(["latest"])),
        ("debug_getRawReceipts", json!([hash])),
        ("debug_getRawTransaction", json!([ethereum[0]])),
        ("debug_getBadBlocks", json!([])),
        ("debug_traceTransaction", json!([ethereum[0]])),
        ("debug_traceBlockByNumber", json!(["0x1", {}])),
        ("debug_traceBlockByHash", json!([hash, { "disableStack": true }])),
        ("eth_uninstallFilter", json!(["0x1"])),
    ];
    calls.extend(ethereum.iter().map(|h| ("eth_getTransactionByHash", json!([h]))));
    calls.extend(ethereum.iter().map(|h| ("eth_getTransactionReceipt", json!([h]))));
    for (method, params) in calls {
        let result = call(&app, method, params.clone()).await;
        if let Err(e) = schemas.check(schemas.result_of(method), &result) {
            panic!("{method}{params} answers what the specification does not allow: {e}");
        }
    }
}

/// Methods of the specification that this node does not have, each with the reason.
const LEFT_OUT: &[(&str, &str)] = &[
    ("eth_getBlockAccessList", "block access lists (EIP-7928) belong to a fork that no chain has yet"),
    ("debug_getRawBlockAccessList", "as eth_getBlockAccessList"),
    ("eth_capabilities", "experimental; consensus_status and the errors of reads say what is kept"),
    ("eth_coinbase", "blocks have proposers, and the key of this node's is not an account of its RPC"),
    (
        "eth_config",
        "describes forks by time and fork ids (EIP-7910); here forks are chosen by height, see platform_status",
    ),
    (
        "eth_fillTransaction",
        "experimental; wallets fill in transactions by eth_estimateGas, eth_feeHistory and eth_getTransactionCount",
    ),
    ("eth_sendTransaction", "the node keeps no account keys"),
    ("eth_sign", "the node keeps no account keys"),
    ("eth_signTransaction", "the node keeps no account keys"),
];

#[tokio::test]
async fn every_public_method_is_served_or_left_out_with_a_reason() {
    let Some(spec) = openrpc() else { return };
    let app = Fake::new().app(Default::default());
    for method in spec["methods"].as_array().expect("methods") {
        let name = method["name"].as_str().expect("a name");
        let served = app.registry.iter().any(|(n, _)| n == name);
        let left_out = LEFT_OUT.iter().any(|(n, reason)| *n == name && !reason.is_empty());
        assert!(served != left_out, "{name}: served {served}, left out {left_out}");
    }
    for (name, _) in LEFT_OUT {
        assert!(spec["methods"].as_array().expect("methods").iter().any(|m| m["name"] == *name), "{name} is unknown");
    }
}
