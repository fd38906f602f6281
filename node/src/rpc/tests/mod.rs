//! The RPC against a chain in memory.

mod backend;
mod conformance;
mod methods;
mod monitor;
mod openrpc;
mod rest;
mod schema;
mod websocket;

use serde_json::{Value, json};

use self::backend::Fake;
use super::{App, dispatch};

/// Sends a body through the dispatcher.
async fn raw(app: &std::sync::Arc<App>, body: impl AsRef<[u8]>) -> Option<Value> {
    let answer = dispatch::handle(app, &dispatch::Caller::default(), body.as_ref()).await?;
    Some(serde_json::from_slice(&answer).expect("answers are JSON"))
}

/// Calls a method; gives the result.
async fn call(app: &std::sync::Arc<App>, method: &str, params: Value) -> Value {
    let answer = request(app, method, params).await;
    assert!(answer.get("error").is_none(), "{method}: {answer}");
    answer["result"].clone()
}

/// Calls a method that must fail; gives code and message.
async fn fail(app: &std::sync::Arc<App>, method: &str, params: Value) -> (i64, String) {
    let answer = request(app, method, params).await;
    let error = &answer["error"];
    (error["code"].as_i64().expect("a code"), error["message"].as_str().expect("a message").to_owned())
}

async fn request(app: &std::sync::Arc<App>, method: &str, params: Value) -> Value {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    raw(app, body.to_string()).await.expect("an answer")
}
