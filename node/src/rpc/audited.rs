//! The audit log of what callers do: an act is on the disk before it is done, and what came of it after; of reads that are not for
//! every reader the first in a minute is, and how many follow. Which methods are meant is said in `auth/roles.rs`.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{App, RpcError, dispatch::Caller, registry::Answer};
use crate::{
    audit::{Act, AuditError, AuditLog, Reads},
    auth::roles::{self, Audited},
};

/// Most characters of a parameter that is written down.
const MAX_SHOWN: usize = 256;

/// The audit log, and who has read lately.
#[derive(Debug)]
pub struct Audit {
    /// The log.
    pub log: Arc<AuditLog>,
    /// Reads that are counted.
    pub reads: Reads,
}

impl Audit {
    /// Of a log.
    #[must_use]
    pub fn new(log: Arc<AuditLog>) -> Arc<Self> {
        Arc::new(Self { log, reads: Reads::default() })
    }
}

/// An act whose outcome is still to be written down: the number of its entry.
pub(super) struct Noted(Option<u64>);

/// Writes down what is about to be done. Without it, it is not done.
pub(super) async fn before(
    app: &App,
    caller: &Caller,
    method: &'static str,
    calls: &[Value],
) -> Result<Noted, RpcError> {
    let kind = roles::audited(method);
    let Some(audit) = app.audit.clone().filter(|_| kind != Audited::No) else { return Ok(Noted(None)) };
    let (who, address) = (caller.principal.who.to_string(), caller.principal.address);
    let shown: Vec<Value> = calls.iter().map(|params| shown(method, params)).collect();
    let write = move || match kind {
        Audited::Read => audit.reads.note(&audit.log, &who, address, method).map(|()| None),
        _ => {
            let details = json!({ "principal": who, "address": address, "method": method, "params": shown });
            audit.log.append(Act::new("administration").with_all(details)).map(Some)
        }
    };
    let written = tokio::task::spawn_blocking(write).await.map_err(RpcError::internal)?;
    written.map(Noted).map_err(|e: AuditError| {
        tracing::error!(method, "refused, because it cannot be audited: {e}");
        RpcError::server(format!(
            "{method} is refused, because the audit log of this node cannot be written; tell its operator"
        ))
    })
}

/// Writes down what came of it.
pub(super) async fn after(app: &App, noted: Noted, answers: &[Answer]) {
    let (Some(of), Some(audit)) = (noted.0, app.audit.clone()) else { return };
    let code = answers.iter().find_map(|a| a.as_ref().err().map(|e| e.code));
    let act =
        Act::new("administration-done").with("of", of).with("result", if code.is_none() { "done" } else { "failed" });
    let act = code.into_iter().fold(act, |act, code| act.with("code", code));
    let written = tokio::task::spawn_blocking(move || audit.log.append(act)).await;
    if let Ok(Err(e)) = written {
        tracing::error!(of, "the outcome of an act is not in the audit log: {e}");
    }
}

/// What of the parameters is written down: what says what was changed, and nothing that may be secret. Of methods that nobody
/// has thought of here: nothing.
fn shown(method: &str, params: &Value) -> Value {
    let first = |name: &str| params.get(0).or_else(|| params.get(name)).cloned().unwrap_or(Value::Null);
    let cut = |value: Value| match value {
        Value::String(text) => Value::String(text.chars().take(MAX_SHOWN).collect()),
        Value::Number(_) | Value::Null | Value::Bool(_) => value,
        other => Value::String(other.to_string().chars().take(MAX_SHOWN).collect()),
    };
    match method {
        "admin_addPeer" => cut(first("address")),
        "admin_removePeer" => cut(first("peer")),
        "admin_setLogLevel" => cut(first("level")),
        "monitor_removeWebhook" => cut(first("id")),
        "monitor_setTpsThreshold" => cut(params.clone()),
        // Path and query of such an address are often secrets themselves.
        "monitor_addWebhook" => {
            let url = first("url");
            let text = url.as_str().or_else(|| url["url"].as_str()).unwrap_or_default();
            let host = text.split_once("://").and_then(|(_, rest)| rest.split(['/', '?', '#']).next());
            cut(host.map_or(Value::Null, |h| h.rsplit('@').next().unwrap_or(h).into()))
        }
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_webhook_only_the_host_is_written_down() {
        for params in [
            json!(["https://user:secret@hooks.example:8443/services/T0/secret?token=secret", "a-secret-of-16-bytes"]),
            json!({ "url": "https://hooks.example:8443/secret", "secret": "a-secret-of-16-bytes" }),
            json!([{ "url": "https://hooks.example:8443#secret", "secret": "a-secret-of-16-bytes" }]),
        ] {
            assert_eq!(shown("monitor_addWebhook", &params), json!("hooks.example:8443"), "{params}");
        }
    }

    #[test]
    fn what_is_written_down_is_short_and_what_nobody_thought_of_is_left_out() {
        let long = "x".repeat(10_000);
        assert_eq!(shown("admin_addPeer", &json!([long])).as_str().map(str::len), Some(MAX_SHOWN));
        assert_eq!(shown("monitor_setTpsThreshold", &json!([10, null])), json!("[10,null]"));
        assert_eq!(shown("admin_somethingNew", &json!(["secret"])), Value::Null);
    }
}
