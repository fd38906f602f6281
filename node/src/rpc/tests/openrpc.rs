//! The OpenRPC document: complete, made of the public specification where that knows a method, and true.

use std::{collections::BTreeSet, path::PathBuf};

use basalt_primitives::{Height, chainspec::EvmFork};
use serde_json::{Value, json};

use super::{
    Fake,
    backend::{CONTRACT, native, one_of_each},
    call, fail, schema,
};
use crate::{
    mempool::test_util,
    monitor::{
        View,
        forks::ForkView,
        logging,
        nodes::NodeView,
        resources::{Disk, Resources, Transfer},
    },
    rpc::openrpc::{Catalogue, Document},
};

fn name_of(method: &Value) -> &str {
    method["name"].as_str().expect("a name")
}

/// The names of components that a value refers to, and those that they refer to.
fn reachable(value: &Value, spec: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|v| reachable(v, spec, found)),
        Value::Object(fields) => {
            if let Some(name) = fields.get("$ref").and_then(Value::as_str) {
                let name = name.strip_prefix("#/components/schemas/").expect("a schema");
                let name = name.split('/').next().unwrap_or(name);
                if found.insert(name.to_owned()) {
                    reachable(&spec["components"]["schemas"][name], spec, found);
                }
            }
            fields.values().for_each(|v| reachable(v, spec, found));
        }
        _ => {}
    }
}

/// What the specification says of the methods that are served here.
fn served_part(spec: &Value, served: &BTreeSet<&str>) -> Value {
    let mut methods: Vec<_> =
        spec["methods"].as_array().expect("methods").iter().filter(|m| served.contains(name_of(m))).cloned().collect();
    for method in &mut methods {
        method.as_object_mut().expect("an object").retain(|key, _| key != "examples" && key != "error-groups");
    }
    methods.sort_by_key(|m| name_of(m).to_owned());
    let mut names = BTreeSet::new();
    reachable(&json!(methods), spec, &mut names);
    let schemas: serde_json::Map<_, _> =
        names.into_iter().map(|n| (n.clone(), spec["components"]["schemas"][&n].clone())).collect();
    json!({ "info": spec["info"], "methods": methods, "components": { "schemas": schemas } })
}

#[test]
fn the_public_part_is_the_specifications() {
    let Some(spec) = schema::openrpc() else { return };
    let app = Fake::new().app(Default::default());
    let part = served_part(&spec, &app.registry.iter().map(|(name, _)| name).collect());
    if std::env::var_os("BASALT_BLESS").is_some() {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/rpc/openrpc/execution-apis.json");
        let text = serde_json::to_string_pretty(&part).expect("JSON");
        std::fs::write(path, text + "\n").expect("it can be written");
        return;
    }
    assert!(
        Catalogue::new().public == part,
        "execution-apis.json is not what the specification says of the served methods; BASALT_BLESS=1 writes it anew"
    );
}

#[test]
fn every_method_is_described_once_and_with_its_parameters() {
    let app = Fake::new().app(Default::default());
    let catalogue = Catalogue::new();
    for (name, method) in app.registry.iter() {
        let entry = catalogue.describe(name).unwrap_or_else(|| panic!("{name} is in neither catalogue"));
        let params = entry["params"].as_array().expect("parameters");
        assert_eq!(params.len(), method.params.len(), "{name} has parameters {:?}", method.params);
        let required: Vec<_> = params.iter().map(|p| p["required"] == json!(true)).collect();
        assert!(required.is_sorted_by(|a, b| a >= b) || name == "eth_getProof", "{name}: required ones come first");
    }
    let known: Vec<_> = [&catalogue.public, &catalogue.ours]
        .into_iter()
        .flat_map(|c| c["methods"].as_array().expect("methods"))
        .map(name_of)
        .collect();
    assert_eq!(known.len(), known.iter().collect::<BTreeSet<_>>().len(), "each once");
    for name in known {
        assert!(app.registry.iter().any(|(n, _)| n == name), "{name} is described and not there");
    }
}

#[test]
fn the_methods_of_development_networks_are_described_as_well() {
    let (catalogue, config) = (Catalogue::new(), crate::rpc::RpcConfig::default());
    let others = crate::rpc::methods::registry(&config, false);
    let all = crate::rpc::methods::registry(&config, true);
    let mut further: Vec<_> = all.iter().filter(|(name, _)| others.iter().all(|(n, _)| n != *name)).collect();
    further.sort_by_key(|(name, _)| *name);
    let described: Vec<_> = catalogue.development["methods"].as_array().expect("methods").iter().map(name_of).collect();
    assert_eq!(described, further.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    for (name, method) in further {
        let entry = catalogue.describe(name).expect("described");
        let names: Vec<_> = entry["params"].as_array().expect("parameters").iter().map(name_of).collect();
        assert_eq!(names, method.params, "{name}");
    }
    let document = serde_json::to_value(Document::new(&all, "0")).expect("JSON");
    references(&document, &document);
}

#[tokio::test]
async fn the_document_names_what_is_served_and_every_reference_leads_somewhere() {
    let config = crate::rpc::RpcConfig { namespaces: vec!["eth".into(), "rpc".into()], ..Default::default() };
    let app = Fake::new().app(config);
    let document = call(&app, "rpc_discover", json!([])).await;
    let names: Vec<_> = document["methods"].as_array().expect("methods").iter().map(name_of).collect();
    assert_eq!(names, app.registry.served().map(|(n, _)| n).collect::<Vec<_>>());
    assert!(names.contains(&"eth_call") && names.iter().all(|n| n.starts_with("eth_") || n.starts_with("rpc_")));
    let call = &document["methods"][names.iter().position(|n| *n == "eth_call").expect("there")];
    let params: Vec<_> = call["params"].as_array().expect("parameters").iter().map(name_of).collect();
    assert_eq!(params, ["transaction", "block", "stateOverrides", "blockOverrides"]);
    references(&document, &document);
}

fn references(value: &Value, document: &Value) {
    if let Some(target) = value["$ref"].as_str() {
        let found = document.pointer(target.strip_prefix('#').expect("local"));
        assert!(found.is_some(), "{target} leads nowhere");
    }
    let parts: Box<dyn Iterator<Item = &Value>> = match value {
        Value::Array(items) => Box::new(items.iter()),
        Value::Object(fields) => Box::new(fields.values()),
        _ => return,
    };
    parts.for_each(|v| references(v, document));
}

/// Methods that only a WebSocket has; `websocket.rs` tests them.
fn is_of_websocket(method: &str) -> bool {
    method.ends_with("_subscribe") || method.ends_with("_unsubscribe")
}

/// Everything that may be null is there.
fn monitor_view() -> View {
    let moved = Some(Transfer { in_bytes: 1, out_bytes: 2, in_per_second: 0.5, out_per_second: 0.25 });
    let node = NodeView {
        id: Some("id".into()),
        role: "follower",
        height: Some(1),
        last_seen_ms: Some(0),
        ..NodeView::default()
    };
    let resources = Resources { disk: Some(Disk::default()), io: moved, network: moved, ..Resources::default() };
    let nodes = vec![NodeView { is_self: true, ..node.clone() }, node];
    let fork = ForkView {
        fork: EvmFork::Osaka,
        height: Height(1_000),
        seconds_left: 200,
        quorum_ready: false,
        unready: vec!["node3".into()],
    };
    View { resources, nodes, forks: vec![fork], clock_offset_ms: Some(-3), clock_peers: 1 }
}

#[tokio::test]
async fn answers_are_as_the_document_says() {
    let fake = Fake::new();
    fake.admit(vec![native(2, 0), native(2, 2)]);
    let app = fake.app(crate::rpc::RpcConfig { admin: true, ..Default::default() });
    let schemas = schema::Schemas(call(&app, "rpc_discover", json!([])).await);
    // Another test of this process may have set it up already.
    let _ = logging::init(&logging::LogConfig::default());
    app.monitor.show(monitor_view());
    let hash = fake.view(Height(1)).hash;
    let native = one_of_each().pop().expect("the last is native").hash();
    let mut calls = vec![
        ("admin_logLevel", json!([])),
        ("admin_setLogLevel", json!(["info,basalt_node::rpc=debug"])),
        ("admin_nodeInfo", json!([])),
        ("admin_peers", json!([])),
        ("admin_addPeer", json!(["/ip4/1.2.3.4/tcp/1"])),
        ("admin_removePeer", json!(["id"])),
        ("basalt_sendRawTransactions", json!([["0x02aa", "0x"]])),
        ("consensus_evidence", json!([])),
        ("consensus_explain", json!([])),
        ("consensus_proposals", json!([])),
        ("consensus_skipped", json!(["0x1"])),
        ("consensus_status", json!([])),
        ("consensus_validators", json!([])),
        ("debug_traceCall", json!([{ "to": CONTRACT, "input": "0x1234" }, "latest", { "tracer": "callTracer" }])),
        ("eth_getWork", json!([])),
        ("eth_submitHashrate", json!(["0x10", hash])),
        ("eth_submitWork", json!(["0x0000000000000001", hash, hash])),
        ("eth_getTransactionByHash", json!([native])),
        ("eth_getTransactionReceipt", json!([native])),
        ("eth_getBlockByNumber", json!(["0x1", true])),
        ("eth_getBlockReceipts", json!(["0x1"])),
        ("eth_getRawTransactionByHash", json!([native])),
        ("eth_getRawTransactionByBlockHashAndIndex", json!([hash, "0x0"])),
        ("eth_getRawTransactionByBlockNumberAndIndex", json!(["0x1", "0x1"])),
        ("eth_getUncleByBlockHashAndIndex", json!([hash, "0x0"])),
        ("eth_getUncleByBlockNumberAndIndex", json!(["0x1", "0x0"])),
        ("eth_getUncleCountByBlockHash", json!([hash])),
        ("eth_getUncleCountByBlockNumber", json!(["0x1"])),
        ("miner_hashrate", json!([])),
        ("miner_start", json!([1])),
        ("miner_stop", json!([])),
        ("monitor_status", json!([])),
        ("monitor_nodes", json!([])),
        ("monitor_resources", json!([])),
        ("monitor_tps", json!([])),
        ("monitor_setTpsThreshold", json!({ "upper": 10, "lower": null, "windowSeconds": 5 })),
        ("monitor_alerts", json!([])),
        ("monitor_addWebhook", json!(["http://127.0.0.1:1/alerts"])),
        ("monitor_listWebhooks", json!([])),
        ("net_listening", json!([])),
        ("net_peerCount", json!([])),
        ("permission_status", json!([])),
        ("platform_status", json!([])),
        ("rpc_discover", json!([])),
        ("rpc_modules", json!([])),
        ("txpool_content", json!([])),
        ("txpool_contentFrom", json!([test_util::address(2)])),
        ("txpool_explain", json!([test_util::address(2)])),
        ("txpool_explain", json!([hash])),
        ("txpool_inspect", json!([])),
        ("web3_clientVersion", json!([])),
        ("web3_sha3", json!(["0x"])),
    ];
    let webhook = call(&app, "monitor_addWebhook", json!(["http://127.0.0.1:1/other"])).await;
    calls.push(("monitor_removeWebhook", json!([webhook["id"]])));
    for (method, params) in &calls {
        let result = call(&app, method, params.clone()).await;
        if let Err(e) = schemas.check(schemas.result_of(method), &result) {
            panic!("{method}{params} answers what the document does not say: {e}");
        }
    }
    for method in Catalogue::new().ours["methods"].as_array().expect("methods").iter().map(name_of) {
        assert!(is_of_websocket(method) || calls.iter().any(|(m, _)| *m == method), "{method} is not called here");
    }
}

#[tokio::test]
async fn required_parameters_are_required_and_the_others_are_not() {
    let app = Fake::new().app(crate::rpc::RpcConfig { admin: true, ..Default::default() });
    let document = call(&app, "rpc_discover", json!([])).await;
    let mut checked = 0;
    for method in document["methods"].as_array().expect("methods") {
        let name = name_of(method);
        // Those that subscribe are refused before that, outside a WebSocket.
        if method["params"][0]["required"] == json!(true) && !is_of_websocket(name) {
            let (code, text) = fail(&app, name, json!([])).await;
            assert_eq!(code, -32602, "{name}: {text}");
            assert!(text.contains("argument 0"), "{name}: {text}");
            checked += 1;
        }
    }
    assert!(checked > 40, "{checked}");
}
