//! JSON-RPC 2.0: from the bytes of a request, single or batch, to the bytes of the answer. Nothing a caller sends panics
//! or grows without bound.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream};
use serde_json::{Map, Value};
use tokio::sync::Semaphore;

use super::{
    App, RpcError, audited, bounds,
    error::{INVALID_REQUEST, METHOD_NOT_FOUND, PARSE, RESPONSE_TOO_LARGE, TIMEOUT},
    registry::{Answer, Call, Handler, Method, Run},
    session::Session,
};
use crate::{auth::Principal, monitor::traces::Arrival};

/// Requests of one batch that are at work at once.
const BATCH_CONCURRENCY: usize = 16;

/// One well-formed request.
struct Request {
    /// `None` for a notification, which gets no answer.
    id: Option<Value>,
    method: String,
    params: Value,
}

/// A request, or why it is none, for whoever has this id.
type Read = Result<Request, (Value, RpcError)>;

/// Who a request came from, and how.
#[derive(Clone, Default)]
pub struct Caller {
    /// The WebSocket connection it came by, if it did.
    pub session: Option<Arc<Session>>,
    /// Who it is; without guards nobody, and nobody asks.
    pub principal: Principal,
    /// When it came and which trace it belongs to; only while transactions are traced.
    pub arrival: Option<Arrival>,
}

/// Answers the bytes of a request; `None` when there is nothing to answer (notifications).
pub async fn handle(app: &Arc<App>, caller: &Caller, body: &[u8]) -> Option<Vec<u8>> {
    match parse(app, body) {
        Err(e) => Some(error_response(&Value::Null, &e)),
        Ok(Value::Array(batch)) => handle_batch(app, caller, batch).await,
        Ok(value) => handle_group(app, caller, vec![Request::from_value(value)]).await.pop()?,
    }
}

fn parse(app: &App, body: &[u8]) -> Result<Value, RpcError> {
    let config = &app.config;
    if body.len() > config.max_request_bytes {
        return Err(too_large(config.max_request_bytes));
    }
    bounds::check(body, config.max_json_depth, config.max_json_values)
        .map_err(|e| RpcError::new(INVALID_REQUEST, e.to_string()))?;
    serde_json::from_slice(body).map_err(|e| RpcError::new(PARSE, format!("parse error: {e}")))
}

/// The error of a request beyond the size limit.
#[must_use]
pub fn too_large(limit: usize) -> RpcError {
    RpcError::new(
        INVALID_REQUEST,
        format!("request is larger than the limit of {limit} bytes; send it in smaller parts"),
    )
}

async fn handle_batch(app: &Arc<App>, caller: &Caller, batch: Vec<Value>) -> Option<Vec<u8>> {
    let limit = app.config.max_batch;
    if batch.is_empty() {
        return Some(error_response(&Value::Null, &RpcError::new(INVALID_REQUEST, "empty batch")));
    }
    if batch.len() > limit {
        let text = format!("batch too large: {} requests, the limit is {limit}", batch.len());
        return Some(error_response(&Value::Null, &RpcError::new(INVALID_REQUEST, text)));
    }
    let groups = stream::iter(groups(app, batch)).map(|g| handle_group(app, caller, g));
    let mut answers = groups.buffered(BATCH_CONCURRENCY);
    let mut out = vec![b'['];
    while let Some(group) = answers.next().await {
        for answer in group.into_iter().flatten() {
            if out.len() + answer.len() > app.config.max_response_bytes {
                return Some(error_response(&Value::Null, &response_too_large(app)));
            }
            if out.len() > 1 {
                out.push(b',');
            }
            out.extend_from_slice(&answer);
        }
    }
    out.push(b']');
    (out.len() > 2).then_some(out)
}

/// What is answered together: mostly a single request, or neighbours that call the same method which takes them so.
fn groups(app: &App, batch: Vec<Value>) -> Vec<Vec<Read>> {
    let together = |name: &str| app.registry.find(name).is_ok_and(|(_, m)| matches!(m.run, Run::Together(_)));
    let mut groups: Vec<Vec<Read>> = Vec::new();
    for read in batch.into_iter().map(Request::from_value) {
        match (&read, groups.last_mut()) {
            (Ok(r), Some(group)) if group_method(group) == Some(&r.method) && together(&r.method) => group.push(read),
            _ => groups.push(vec![read]),
        }
    }
    groups
}

fn group_method(group: &[Read]) -> Option<&String> {
    group.first()?.as_ref().ok().map(|r| &r.method)
}

/// Answers requests that all call the same method, in order; `None` for those that want no answer.
async fn handle_group(app: &Arc<App>, caller: &Caller, group: Vec<Read>) -> Vec<Option<Vec<u8>>> {
    let (mut ids, mut calls, mut method) = (Vec::with_capacity(group.len()), Vec::with_capacity(group.len()), None);
    for read in group {
        match read {
            Ok(request) => {
                ids.push(request.id);
                calls.push(request.params);
                method = Some(request.method);
            }
            Err((id, e)) => return vec![Some(error_response(&id, &e))],
        }
    }
    let answers = run(app, caller, method.as_deref().unwrap_or_default(), calls).await;
    let response = |(id, answer): (Option<Value>, Answer)| {
        let id = id?;
        Some(match answer {
            Ok(result) if result.len() > app.config.max_response_bytes => error_response(&id, &response_too_large(app)),
            Ok(result) => result_response(&id, &result),
            Err(e) => error_response(&id, &e),
        })
    };
    ids.into_iter().zip(answers).map(response).collect()
}

impl Request {
    fn from_value(value: Value) -> Read {
        let invalid = |id: Value, text: &str| (id, RpcError::new(INVALID_REQUEST, text));
        let Value::Object(mut o) = value else {
            return Err(invalid(Value::Null, "invalid request: a request is a JSON object"));
        };
        let id = o.remove("id");
        if id.as_ref().is_some_and(|i| !matches!(i, Value::Null | Value::Number(_) | Value::String(_))) {
            return Err(invalid(Value::Null, "invalid request: id must be a string, a number or null"));
        }
        let fail = |id: Option<Value>, text| invalid(id.unwrap_or(Value::Null), text);
        if o.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
            return Err(fail(id, "invalid request: \"jsonrpc\" must be \"2.0\""));
        }
        let Some(Value::String(method)) = o.remove("method") else {
            return Err(fail(id, "invalid request: \"method\" must be a string"));
        };
        let params = o.remove("params").unwrap_or(Value::Null);
        Ok(Self { id, method, params })
    }
}

/// Runs one method once for each of the calls, within its time, and counts them. As many answers as calls.
async fn run(app: &Arc<App>, caller: &Caller, name: &str, mut calls: Vec<Value>) -> Vec<Answer> {
    let started = Instant::now();
    let (count, mut denied) = (calls.len(), None);
    if let Some(auth) = &app.auth {
        let (granted, beyond) = auth.take(&caller.principal, count);
        calls.truncate(granted);
        denied = beyond.map(RpcError::from);
    }
    let (label, mut answers) = match app.registry.find(name) {
        Err(e) => ("unknown", vec![Err(e); calls.len()]),
        Ok((known, method)) => (
            known,
            match authorise(app, caller, known) {
                Err(e) => vec![Err(e); calls.len()],
                Ok(()) if calls.is_empty() => Vec::new(),
                Ok(()) => match audited::before(app, caller, known, &calls).await {
                    Err(e) => vec![Err(e); calls.len()],
                    Ok(noted) => {
                        let answers = run_method(app, caller, method, calls).await;
                        audited::after(app, noted, &answers).await;
                        answers
                    }
                },
            },
        ),
    };
    if let Some(e) = denied {
        answers.resize(count, Err(e));
    }
    for answer in &answers {
        app.metrics.rpc_request(label, answer.as_ref().err().map(|e| e.code), started.elapsed());
    }
    answers
}

/// Whether this caller may call this method.
fn authorise(app: &App, caller: &Caller, method: &'static str) -> Result<(), RpcError> {
    app.auth.as_ref().map_or(Ok(()), |auth| auth.authorise(&caller.principal, method)).map_err(RpcError::from)
}

async fn run_method(app: &Arc<App>, caller: &Caller, method: &Method, calls: Vec<Value>) -> Vec<Answer> {
    let call = Call { app: app.clone(), caller: caller.clone() };
    let count = calls.len();
    let work = async {
        let values = calls.into_iter().map(|params| positional(method.params, params));
        if let Run::Together(f) = &method.run {
            return f(call, values.collect()).await;
        }
        let mut answers = Vec::with_capacity(count);
        for values in values {
            answers.push(match values {
                Ok(values) => run_one(app, &method.run, call.clone(), values).await,
                Err(e) => Err(e),
            });
        }
        answers
    };
    let limit = app.config.request_timeout_ms;
    let timed_out = |_| vec![Err(RpcError::new(TIMEOUT, format!("request timed out after {limit} ms"))); count];
    tokio::time::timeout(Duration::from_millis(limit), work).await.unwrap_or_else(timed_out)
}

async fn run_one(app: &Arc<App>, run: &Run, call: Call, values: Vec<Value>) -> Answer {
    match run {
        Run::Quick(f) => f(&call, values),
        Run::Blocking(f) => run_blocking(&app.blocking, f.clone(), call, values).await,
        Run::Tracing(f) => run_blocking(&app.tracing, f.clone(), call, values).await,
        Run::Async(f) => f(call, values).await,
        Run::Together(f) => {
            f(call, vec![Ok(values)]).await.pop().unwrap_or_else(|| Err(RpcError::internal("no answer")))
        }
    }
}

/// The permit goes with the work, so that work which outlives its request still counts.
async fn run_blocking(places: &Arc<Semaphore>, f: Handler, call: Call, values: Vec<Value>) -> Answer {
    let permit = places.clone().acquire_owned().await.map_err(RpcError::internal)?;
    let work = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        f(&call, values)
    });
    work.await.map_err(RpcError::internal)?
}

/// Parameters in order, missing ones as null.
fn positional(names: &[&str], params: Value) -> Result<Vec<Value>, RpcError> {
    let mut values = match params {
        Value::Null => Vec::new(),
        Value::Array(values) => values,
        Value::Object(o) => by_name(names, o)?,
        _ => return Err(RpcError::params("non-array args: \"params\" must be an array, or an object by name")),
    };
    if values.len() > names.len() {
        return Err(RpcError::params(format!("too many arguments, want at most {}", names.len())));
    }
    values.resize(names.len(), Value::Null);
    Ok(values)
}

fn by_name(names: &[&str], mut o: Map<String, Value>) -> Result<Vec<Value>, RpcError> {
    let values = names.iter().map(|n| o.remove(*n).unwrap_or(Value::Null)).collect();
    match o.keys().next() {
        None => Ok(values),
        Some(other) => {
            let shown: String = other.chars().take(40).collect();
            Err(RpcError::params(format!("unknown argument `{shown}`, want {}", names.join(", "))))
        }
    }
}

fn response_too_large(app: &App) -> RpcError {
    let limit = app.config.max_response_bytes;
    RpcError::new(
        RESPONSE_TOO_LARGE,
        format!("response is larger than the limit of {limit} bytes; ask for less at once"),
    )
}

fn result_response(id: &Value, result: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(result.len() + 64);
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    out.extend_from_slice(id.to_string().as_bytes());
    out.extend_from_slice(b",\"result\":");
    out.extend_from_slice(result);
    out.push(b'}');
    out
}

/// The answer that carries an error.
#[must_use]
pub fn error_response(id: &Value, error: &RpcError) -> Vec<u8> {
    serde_json::json!({ "jsonrpc": "2.0", "id": id, "error": error }).to_string().into_bytes()
}

/// The error of `eth_subscribe` over plain HTTP.
#[must_use]
pub fn no_notifications() -> RpcError {
    RpcError::new(METHOD_NOT_FOUND, "notifications not supported over HTTP; open a WebSocket at the same address")
}
