//! `monitor_`: thresholds, webhooks, alerts.

use serde_json::json;

use super::{Fake, call, fail};
use crate::{
    monitor::alert::Observation,
    rpc::{RpcConfig, error},
};

fn open() -> RpcConfig {
    RpcConfig { admin: true, ..RpcConfig::default() }
}

#[tokio::test]
async fn thresholds_are_set_by_name_by_place_and_as_an_object() {
    let app = Fake::new().app(open());
    let off = json!({ "upper": null, "lower": null, "windowSeconds": 10 });
    let tps = call(&app, "monitor_tps", json!([])).await;
    assert_eq!((&tps["threshold"], &tps["state"], &tps["source"]), (&off, &json!("off"), &json!("configuration")));
    let by_name = call(&app, "monitor_setTpsThreshold", json!({ "upper": 10, "windowSeconds": 5 })).await;
    assert_eq!(by_name, json!({ "upper": 10.0, "lower": null, "windowSeconds": 5 }));
    let by_place = call(&app, "monitor_setTpsThreshold", json!([100, 1.5])).await;
    assert_eq!(by_place, json!({ "upper": 100.0, "lower": 1.5, "windowSeconds": 5 }));
    let object = call(&app, "monitor_setTpsThreshold", json!([{ "lower": null }])).await;
    assert_eq!(object, json!({ "upper": 100.0, "lower": null, "windowSeconds": 5 }), "what is not named stays");
    let tps = call(&app, "monitor_tps", json!([])).await;
    assert_eq!((&tps["state"], &tps["source"], &tps["measured"]), (&json!("normal"), &json!("runtime"), &json!(false)));
}

#[tokio::test]
async fn nonsense_thresholds_are_refused_with_a_mend_and_change_nothing() {
    let app = Fake::new().app(open());
    let cases = [
        (json!({ "upper": 0 }), "upper must be a number of transactions per second above 0"),
        (json!({ "upper": "many" }), "upper must be a number"),
        (json!({ "lower": -1 }), "lower must be a number"),
        (json!({ "upper": 5, "lower": 5 }), "below upper"),
        (json!({ "upper": 5, "windowSeconds": 0 }), "1 to 3600"),
        (json!({ "upper": 5, "windowSeconds": "long" }), "1 to 3600"),
        (json!([{ "uper": 5 }]), "unknown argument `uper`"),
        (json!([[5]]), "upper must be a number"),
    ];
    for (params, text) in cases {
        let (code, message) = fail(&app, "monitor_setTpsThreshold", params).await;
        assert!(code == error::INVALID_PARAMS && message.contains(text), "{message}");
    }
    assert_eq!(call(&app, "monitor_tps", json!([])).await["state"], "off");
}

#[tokio::test]
async fn webhooks_come_and_go_and_their_secrets_are_never_shown() {
    let app = Fake::new().app(open());
    let secret = "0123456789abcdef";
    let added = call(&app, "monitor_addWebhook", json!({ "url": "http://127.0.0.1:9/x", "secret": secret })).await;
    assert!(added.get("secret").is_none(), "{added}");
    let made = call(&app, "monitor_addWebhook", json!([{ "url": "http://127.0.0.1:9/y" }])).await;
    assert_eq!(made["secret"].as_str().map(str::len), Some(64), "one is made, and shown this once");
    let list = call(&app, "monitor_listWebhooks", json!([])).await;
    assert_eq!(list.as_array().map(Vec::len), Some(2));
    assert!(!list.to_string().contains(secret) && !list.to_string().contains(made["secret"].as_str().expect("made")));
    assert_eq!(call(&app, "monitor_removeWebhook", json!([added["id"]])).await, true);
    assert_eq!(call(&app, "monitor_listWebhooks", json!([])).await[0]["id"], made["id"]);
    for (method, params, text) in [
        ("monitor_removeWebhook", json!([added["id"]]), "monitor_listWebhooks names"),
        ("monitor_addWebhook", json!(["ftp://x"]), "http://"),
        ("monitor_addWebhook", json!(["http://127.0.0.1/", "short"]), "16 to 256 bytes"),
        ("monitor_addWebhook", json!([7]), "invalid argument 0"),
    ] {
        let (code, message) = fail(&app, method, params).await;
        assert!(code == error::INVALID_PARAMS && message.contains(text), "{message}");
    }
    for _ in 0..15 {
        call(&app, "monitor_addWebhook", json!(["http://127.0.0.1:9/z"])).await;
    }
    let (code, message) = fail(&app, "monitor_addWebhook", json!(["http://127.0.0.1:9/z"])).await;
    assert!(code == error::LIMIT && message.contains("16 webhooks already"), "{message}");
}

#[tokio::test]
async fn a_port_that_strangers_may_reach_takes_no_changes() {
    let app = Fake::new().app(RpcConfig::default());
    for (method, params) in [
        ("monitor_setTpsThreshold", json!([5])),
        ("monitor_addWebhook", json!(["http://127.0.0.1/"])),
        ("monitor_listWebhooks", json!([])),
        ("monitor_removeWebhook", json!(["x"])),
    ] {
        let (code, message) = fail(&app, method, params).await;
        assert!(code == error::SERVER && message.contains("rpc.admin = true"), "{message}");
    }
    assert_eq!(call(&app, "monitor_alerts", json!([])).await, json!({ "active": [], "recent": [] }));
}

#[tokio::test]
async fn what_fires_is_told_and_what_is_over_is_no_longer_active() {
    let app = Fake::new().app(open());
    call(&app, "monitor_setTpsThreshold", json!({ "upper": 10, "windowSeconds": 2 })).await;
    let at = |second: u64, transactions| Observation {
        mono_ms: second * 1000,
        transactions,
        peers: 1,
        ..Default::default()
    };
    for second in 0..=4 {
        app.monitor.observe(&at(second, second * 20));
    }
    let tps = call(&app, "monitor_tps", json!([])).await;
    assert_eq!((&tps["state"], &tps["current"], &tps["total"]), (&json!("above"), &json!(20.0), &json!(80)));
    let alerts = call(&app, "monitor_alerts", json!([])).await;
    assert_eq!(alerts["active"][0]["alert"], "tps_above");
    assert_eq!((&alerts["recent"][0]["state"], &alerts["recent"][0]["network"]), (&json!("firing"), &json!("test")));
    for second in 5..=8 {
        app.monitor.observe(&at(second, 80));
    }
    let alerts = call(&app, "monitor_alerts", json!([])).await;
    assert_eq!(alerts["active"], json!([]));
    let states: Vec<_> = alerts["recent"].as_array().expect("a list").iter().map(|e| e["state"].clone()).collect();
    assert_eq!(states, ["resolved", "firing"], "the newest first");
}
