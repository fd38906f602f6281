//! Watching this node and its network: rates, alerts, and where alerts are sent.

use serde::Deserialize;
use serde_json::Value;

use super::{
    super::{
        RpcError, dispatch,
        registry::{Call, Registry},
        reports,
        types::Given,
    },
    may_change,
};
use crate::monitor::{
    AddedWebhook, WebhookError,
    settings::{SettingsError, TpsThreshold},
    webhook::WebhookInfo,
};

pub(super) fn add(r: &mut Registry) {
    r.quick("monitor_status", &[], |c: &Call, ()| Ok(reports::status(&c.app)));
    r.quick("monitor_nodes", &[], |c: &Call, ()| Ok(reports::nodes(&c.app)));
    r.quick("monitor_resources", &[], |c: &Call, ()| Ok(reports::resources(&c.app)));
    r.quick("monitor_tps", &[], |c: &Call, ()| Ok(c.app.monitor.tps()));
    r.blocking(
        "monitor_setTpsThreshold",
        &["upper", "lower", "windowSeconds"],
        |c: &Call, (upper, lower, window): (Value, Value, Value)| set_threshold(c, upper, lower, window),
    );
    r.quick("monitor_alerts", &[], |c: &Call, ()| Ok(c.app.monitor.alerts()));
    r.blocking("monitor_addWebhook", &["url", "secret"], |c: &Call, (url, secret): (Value, Option<String>)| {
        add_webhook(c, url, secret)
    });
    r.quick("monitor_listWebhooks", &[], |c: &Call, ()| list_webhooks(c));
    r.blocking("monitor_removeWebhook", &["id"], |c: &Call, (id,): (String,)| remove_webhook(c, &id));
    r.quick("monitor_subscribe", &["kind"], |c: &Call, (kind,): (String,)| {
        c.caller.session.as_ref().ok_or_else(dispatch::no_notifications)?.subscribe_monitor(&kind)
    });
    r.quick("monitor_unsubscribe", &["id"], |c: &Call, (id,): (Given,)| {
        Ok(c.caller.session.as_ref().ok_or_else(dispatch::no_notifications)?.unsubscribe(&id.0))
    });
}

/// The parameters by place, by name, or as one object; what is not named keeps its value, null switches a bound off.
fn set_threshold(c: &Call, upper: Value, lower: Value, window: Value) -> Result<TpsThreshold, RpcError> {
    may_change(c)?;
    let (now, _) = c.app.monitor.tps_threshold();
    let wanted = match upper {
        Value::Object(mut named) => {
            let mut bound = |name, now: Option<f64>| named.remove(name).map_or(Ok(now), |v| number(name_of(name), &v));
            let (upper, lower) = (bound("upper", now.upper)?, bound("lower", now.lower)?);
            let window = named.remove("windowSeconds").unwrap_or(Value::Null);
            if let Some(other) = named.keys().next() {
                let shown: String = other.chars().take(40).collect();
                return Err(RpcError::params(format!("unknown argument `{shown}`, want upper, lower, windowSeconds")));
            }
            (upper, lower, window)
        }
        upper => (number("upper", &upper)?, number("lower", &lower)?, window),
    };
    let window_seconds = match wanted.2 {
        Value::Null => now.window_seconds,
        v => v.as_u64().ok_or_else(|| RpcError::params(SettingsError::Window.to_string()))?,
    };
    let threshold = TpsThreshold { upper: wanted.0, lower: wanted.1, window_seconds };
    c.app.monitor.set_tps_threshold(threshold).map_err(settings_error)?;
    Ok(threshold)
}

/// The static name of a bound, for errors.
fn name_of(name: &str) -> &'static str {
    if name == "upper" { "upper" } else { "lower" }
}

fn number(name: &'static str, value: &Value) -> Result<Option<f64>, RpcError> {
    match value {
        Value::Null => Ok(None),
        v => v.as_f64().map(Some).ok_or_else(|| RpcError::params(SettingsError::Threshold(name).to_string())),
    }
}

fn settings_error(e: SettingsError) -> RpcError {
    match e {
        SettingsError::Write { .. } => RpcError::server(e.to_string()),
        _ => RpcError::params(e.to_string()),
    }
}

/// What `monitor_addWebhook` takes as one object.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewWebhook {
    url: String,
    secret: Option<String>,
}

fn add_webhook(c: &Call, url: Value, secret: Option<String>) -> Result<AddedWebhook, RpcError> {
    may_change(c)?;
    let new = match url {
        Value::String(url) => NewWebhook { url, secret },
        object => serde_json::from_value(object).map_err(|e| RpcError::params(format!("invalid argument 0: {e}")))?,
    };
    c.app.monitor.add_webhook(&new.url, new.secret).map_err(webhook_error)
}

fn list_webhooks(c: &Call) -> Result<Vec<WebhookInfo>, RpcError> {
    // Addresses of webhooks are often secrets themselves.
    may_change(c)?;
    Ok(c.app.monitor.webhooks())
}

fn remove_webhook(c: &Call, id: &str) -> Result<bool, RpcError> {
    may_change(c)?;
    c.app.monitor.remove_webhook(id).map_err(webhook_error)?;
    Ok(true)
}

fn webhook_error(e: WebhookError) -> RpcError {
    match e {
        WebhookError::Settings(e) => settings_error(e),
        WebhookError::Random(_) => RpcError::internal(e),
        WebhookError::Full => RpcError::limit(e.to_string()),
        WebhookError::Target(_) | WebhookError::Secret | WebhookError::Unknown(_) => RpcError::params(e.to_string()),
    }
}
