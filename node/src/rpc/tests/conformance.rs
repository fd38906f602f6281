//! JSON-RPC 2.0 itself: malformed input, batches, notifications, limits. Nothing panics.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Fake, call, fail, raw};
use crate::rpc::{App, RpcConfig, dispatch};

fn app() -> Arc<App> {
    Fake::new().app(RpcConfig::default())
}

fn code(answer: &Value) -> i64 {
    answer["error"]["code"].as_i64().unwrap_or_else(|| panic!("{answer} is no error"))
}

async fn code_of(body: &str) -> i64 {
    code(&raw(&app(), body).await.expect("an answer"))
}

#[tokio::test]
async fn malformed_requests_get_the_codes_of_the_standard() {
    for body in ["", "{", "nonsense", "{\"jsonrpc\":\"2.0\",}", "\u{1}", "[1,", "\"\\u12\""] {
        assert_eq!(code_of(body).await, -32700, "{body}");
    }
    for body in [
        "1",
        "null",
        "\"x\"",
        "[]",
        "{}",
        r#"{"jsonrpc":"1.0","id":1,"method":"eth_chainId"}"#,
        r#"{"id":1,"method":"eth_chainId"}"#,
        r#"{"jsonrpc":"2.0","id":1}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":7}"#,
        r#"{"jsonrpc":"2.0","id":[],"method":"eth_chainId"}"#,
    ] {
        assert_eq!(code_of(body).await, -32600, "{body}");
    }
    for params in ["7", "\"x\"", "[1]", "[1,2,3,4,5]", "{\"other\":1}"] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":{params}}}"#);
        assert_eq!(code_of(&body).await, -32602, "{body}");
    }
}

#[tokio::test]
async fn the_id_comes_back_as_it_was() {
    for id in [json!(7), json!("a\"b"), json!(null), json!(1.5), json!(-3)] {
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": "net_version" }).to_string();
        let answer = raw(&app(), body).await.expect("an answer");
        assert_eq!((&answer["id"], &answer["jsonrpc"]), (&id, &json!("2.0")));
    }
}

#[tokio::test]
async fn a_notification_gets_no_answer() {
    let one = r#"{"jsonrpc":"2.0","method":"eth_chainId"}"#;
    assert_eq!(raw(&app(), one).await, None);
    assert_eq!(raw(&app(), format!("[{one},{one}]")).await, None);
}

#[tokio::test]
async fn a_batch_is_answered_in_order_and_its_bad_parts_alone_fail() {
    let body = json!([
        { "jsonrpc": "2.0", "id": 1, "method": "eth_chainId" },
        1,
        { "jsonrpc": "2.0", "method": "eth_chainId" },
        { "jsonrpc": "2.0", "id": "x", "method": "eth_nothing" },
        { "jsonrpc": "2.0", "id": 2, "method": "net_version", "params": [] },
    ]);
    let answer = raw(&app(), body.to_string()).await.expect("an answer");
    let answers = answer.as_array().expect("a batch");
    let ids: Vec<_> = answers.iter().map(|a| a["id"].clone()).collect();
    assert_eq!(ids, [json!(1), json!(null), json!("x"), json!(2)]);
    assert_eq!(answers[0]["result"], "0x7a69");
    assert_eq!((code(&answers[1]), code(&answers[2])), (-32600, -32601));
}

#[tokio::test]
async fn transactions_of_a_batch_are_handed_in_together_and_each_has_its_answer() {
    let fake = Fake::new();
    let app = fake.app(RpcConfig::default());
    let send = |id: Value, params: Value| json!({ "jsonrpc": "2.0", "id": id, "method": "eth_sendRawTransaction", "params": params });
    let mut unanswered = send(json!(0), json!(["0x03"]));
    unanswered.as_object_mut().expect("an object").remove("id");
    let body = json!([
        send(json!(1), json!(["0x01"])),
        send(json!(2), json!({ "transaction": "0x02" })),
        unanswered,
        send(json!(4), json!(["no hex"])),
        send(json!(5), json!(["0xff"])),
        send(json!(6), json!([])),
        { "jsonrpc": "2.0", "id": 7, "method": "eth_chainId" },
        send(json!(8), json!(["0x08"])),
        send(json!([]), json!(["0x09"])),
        send(json!(10), json!(["0x0a"])),
    ]);
    let answer = raw(&app, body.to_string()).await.expect("an answer");
    let answers = answer.as_array().expect("a batch");
    let ids: Vec<_> = answers.iter().map(|a| a["id"].clone()).collect();
    let expected: Vec<_> =
        [1, 2, 4, 5, 6, 7, 8].map(|n| json!(n)).into_iter().chain([json!(null), json!(10)]).collect();
    assert_eq!(ids, expected);
    let hash = |byte: u8| json!(alloy_primitives::keccak256([byte]));
    let accepted = |i: usize| answers[i]["result"].clone();
    assert_eq!([0, 1, 6, 8].map(accepted), [1, 2, 8, 10].map(hash));
    assert_eq!([2, 3, 4, 7].map(|i| code(&answers[i])), [-32602, -32000, -32602, -32600]);
    assert_eq!(fake.submitted.lock().concat(), [1, 2, 3, 0xff, 8, 10], "in order, and nothing that cannot be read");
    assert_eq!(fake.submissions.load(std::sync::atomic::Ordering::Relaxed), 3, "neighbours together");
}

#[tokio::test]
async fn every_limit_is_named_in_its_error() {
    let config = RpcConfig {
        max_request_bytes: 4_000,
        max_batch: 3,
        max_json_depth: 5,
        max_json_values: 100,
        max_response_bytes: 1_000,
        ..RpcConfig::default()
    };
    let app = Fake::new().app(config);
    let one = r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}"#;
    let text = async |body: String| {
        let answer = raw(&app, body).await.expect("an answer");
        answer["error"]["message"].as_str().expect("an error").to_owned()
    };
    assert!(text(" ".repeat(4_001)).await.contains("limit of 4000 bytes"));
    assert!(text(format!("[{one},{one},{one},{one}]")).await.contains("the limit is 3"));
    assert!(text("[".repeat(6)).await.contains("limit of 5"));
    assert!(text(format!("[{}]", "0,".repeat(100))).await.contains("limit of 100"));
    let block = r#"{"jsonrpc":"2.0","id":1,"method":"eth_getBlockByNumber","params":["0x1",true]}"#;
    assert!(text(block.into()).await.contains("limit of 1000 bytes"));
    assert_eq!(code(&raw(&app, block).await.expect("an answer")), -32003);
    let twice = r#"{"jsonrpc":"2.0","id":1,"method":"platform_status"}"#;
    assert!(text(format!("[{twice},{twice},{twice}]")).await.contains("limit of 1000 bytes"));
}

#[tokio::test]
async fn brackets_in_strings_are_not_depth() {
    let body = json!({ "jsonrpc": "2.0", "id": "[[[[\\\"[[", "method": "eth_chainId" }).to_string();
    let app = Fake::new().app(RpcConfig { max_json_depth: 1, ..RpcConfig::default() });
    assert_eq!(raw(&app, body).await.expect("an answer")["result"], "0x7a69");
}

#[tokio::test]
async fn an_unknown_method_gets_a_mend() {
    let app = app();
    let (code, text) = fail(&app, "eth_getBalanse", json!([])).await;
    assert_eq!(code, -32601);
    assert!(text.contains("does not exist") && text.contains("did you mean eth_getBalance?"), "{text}");
    let (_, text) = fail(&app, "eth_sendTransaction", json!([{}])).await;
    assert!(text.contains("eth_sendRawTransaction"), "{text}");
    let (_, text) = fail(&app, &"x".repeat(10_000), json!([])).await;
    assert!(text.len() < 300, "a long name is not echoed");
}

#[tokio::test]
async fn parameters_are_named_in_their_errors() {
    let app = app();
    assert_eq!(fail(&app, "eth_getBalance", json!([])).await.1, "missing value for required argument 0");
    let (code, text) = fail(&app, "eth_getBalance", json!(["0x12"])).await;
    assert!(code == -32602 && text.starts_with("invalid argument 0: "), "{text}");
    let (_, text) = fail(&app, "eth_getBlockByNumber", json!(["newest", false])).await;
    assert!(text.contains("invalid argument 0") && text.contains("\"latest\""), "{text}");
    assert_eq!(fail(&app, "eth_chainId", json!([1])).await.1, "too many arguments, want at most 0");
}

#[tokio::test]
async fn parameters_can_be_given_by_name() {
    let params = json!({ "address": crate::mempool::test_util::address(1) });
    assert_eq!(call(&app(), "eth_getBalance", params).await, "0x3e8");
}

#[tokio::test]
async fn a_namespace_that_is_not_served_says_so() {
    let app = Fake::new().app(RpcConfig { namespaces: vec!["eth".into()], ..RpcConfig::default() });
    assert_eq!(call(&app, "eth_chainId", json!([])).await, "0x7a69");
    let (code, text) = fail(&app, "admin_peers", json!([])).await;
    assert!(code == -32601 && text.contains("`admin` is not served"), "{text}");
}

/// JSON of any shape, with the names and values that methods look for sprinkled in.
fn any_json() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        Just("latest".to_owned()),
        Just("0x1".to_owned()),
        Just("0x".to_owned()),
        Just(format!("0x{}", "ab".repeat(20))),
        Just(format!("0x{}", "cd".repeat(32))),
        Just("0xffffffffffffffffffffffffffffffff".to_owned()),
        "\\PC{0,12}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.prop_map(Value::from),
    ];
    let key = prop_oneof![
        Just("to"),
        Just("data"),
        Just("fromBlock"),
        Just("toBlock"),
        Just("topics"),
        Just("address"),
        Just("blockHash"),
        Just("blockNumber"),
        Just("accessList"),
        Just("storageKeys"),
        Just("gas"),
        Just("value"),
    ];
    leaf.prop_recursive(4, 24, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::hash_map(key.clone().prop_map(str::to_owned), inner, 0..5)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

fn answers(app: &Arc<App>, body: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    if let Some(answer) = runtime.block_on(dispatch::handle(app, &dispatch::Caller::default(), body)) {
        let answer: Value = serde_json::from_slice(&answer).expect("answers are JSON");
        for one in answer.as_array().unwrap_or(&vec![answer.clone()]) {
            assert!(one.get("result").is_some() != one.get("error").is_some(), "{one}");
            assert_ne!(one["error"]["code"], -32603, "bad input is never our fault: {one}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn random_parameters_never_panic(params in proptest::collection::vec(any_json(), 0..4), pick in any::<prop::sample::Index>()) {
        let app = app();
        let methods: Vec<_> = app.registry.iter().map(|(name, _)| name).collect();
        let method = methods[pick.index(methods.len())];
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        answers(&app, body.to_string().as_bytes());
    }

    #[test]
    fn random_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        answers(&app(), &body);
    }

    #[test]
    fn damaged_requests_never_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let request = r#"[{"jsonrpc":"2.0","id":1,"method":"eth_getLogs","params":[{"fromBlock":"0x0","topics":[null,["0x"]]}]}]"#;
        let mut body = request.as_bytes().to_vec();
        let at = at.index(body.len());
        body[at] = byte;
        answers(&app(), &body);
    }
}
