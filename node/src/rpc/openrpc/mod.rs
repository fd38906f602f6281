//! The OpenRPC document of this node (<https://spec.open-rpc.org>), made of four parts: the table of methods says what is
//! served and what its parameters are called, `execution-apis.json` describes the methods of Ethereum's public
//! specification, `basalt.json` all others, and `development.json` those that only development networks serve.
//!
//! `execution-apis.json` is a copy (github.com/ethereum/execution-apis, CC0-1.0) of what is served here, without examples;
//! a test makes and compares it. `basalt.json` may add parameters to a public method (`furtherParams`) and alternatives to a
//! public schema (`extends`): native transactions are of a type of their own. A value may fit several alternatives of the
//! schemas called `ambiguous`: an empty list is one of hashes as well as one of logs. Fields called `nullable` are null where
//! there is no value yet: a pending block has no hash.

use std::sync::Arc;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::registry::Registry;

const PUBLIC: &str = include_str!("execution-apis.json");
const OURS: &str = include_str!("basalt.json");
const DEVELOPMENT: &str = include_str!("development.json");

/// Errors that any method may answer with, by their names in the document's components.
const COMMON_ERRORS: [&str; 8] =
    ["InvalidParams", "Timeout", "ResponseTooLarge", "Limit", "Unauthorized", "MethodNotFound", "Internal", "Server"];

/// The catalogues, parsed.
pub(super) struct Catalogue {
    pub(super) public: Value,
    pub(super) ours: Value,
    pub(super) development: Value,
}

impl Catalogue {
    /// Reads what is compiled in.
    pub(super) fn new() -> Self {
        let parse = |name: &str, text: &str| -> Value {
            serde_json::from_str(text).unwrap_or_else(|e| panic!("{name}, a part of this program, is not JSON: {e}"))
        };
        Self {
            public: parse("execution-apis.json", PUBLIC),
            ours: parse("basalt.json", OURS),
            development: parse("development.json", DEVELOPMENT),
        }
    }

    /// The entry of a method, with all its parameters and errors; `None` if nothing describes it.
    pub(super) fn describe(&self, name: &str) -> Option<Value> {
        let catalogues = [&self.ours, &self.public, &self.development];
        let mut entry = catalogues.into_iter().find_map(|c| named(&c["methods"], name))?.clone();
        if let (Some(more), Some(params)) =
            (self.ours["furtherParams"][name].as_array(), entry["params"].as_array_mut())
        {
            params.extend(more.iter().cloned());
        }
        Some(entry)
    }

    /// Schemas and errors that the entries refer to.
    fn components(&self) -> Value {
        let mut schemas = self.public["components"]["schemas"].as_object().cloned().unwrap_or_default();
        for (name, more) in self.ours["extends"].as_object().into_iter().flatten() {
            let choices = schemas.get_mut(name).and_then(|s| s["oneOf"].as_array_mut());
            if let (Some(choices), Some(more)) = (choices, more.as_array()) {
                choices.extend(more.iter().cloned());
            }
        }
        for name in self.ours["ambiguous"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if let Some(schema) = schemas.get_mut(name).and_then(Value::as_object_mut)
                && let Some(choices) = schema.remove("oneOf")
            {
                schema.insert("anyOf".into(), choices);
            }
        }
        for (name, fields) in self.ours["nullable"].as_object().into_iter().flatten() {
            for field in fields.as_array().into_iter().flatten().filter_map(Value::as_str) {
                if let Some(schema) = schemas.get_mut(name).and_then(|s| s["properties"].get_mut(field)) {
                    *schema = json!({ "oneOf": [{ "type": "null" }, schema.take()] });
                }
            }
        }
        schemas.extend(self.ours["components"]["schemas"].as_object().cloned().unwrap_or_default());
        json!({ "schemas": schemas, "errors": self.ours["components"]["errors"] })
    }
}

fn named<'a>(methods: &'a Value, name: &str) -> Option<&'a Value> {
    methods.as_array()?.iter().find(|m| m["name"] == name)
}

/// The document, made once and shared by all answers.
#[derive(Clone, Debug)]
pub struct Document(Arc<Value>);

impl Document {
    /// Of the methods that a table serves; `version` is this program's.
    #[must_use]
    pub fn new(registry: &Registry, version: &str) -> Self {
        Self(Arc::new(document(registry, version)))
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// The document of the methods that this node serves.
fn document(registry: &Registry, version: &str) -> Value {
    let catalogue = Catalogue::new();
    let served = registry.served().filter_map(|(name, method)| {
        let mut entry = catalogue.describe(name)?;
        rename(&mut entry, method.params);
        add_errors(&mut entry);
        Some(entry)
    });
    json!({
        "openrpc": "1.3.2",
        "info": {
            "title": "Basalt",
            "version": version,
            "description": "JSON-RPC 2.0 over HTTP (POST) and WebSocket at one address. Parameters by place or by name.",
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "methods": served.collect::<Vec<_>>(),
        "components": catalogue.components(),
    })
}

/// Gives the parameters the names by which this node takes them.
fn rename(entry: &mut Value, names: &[&str]) {
    for (param, name) in entry["params"].as_array_mut().into_iter().flatten().zip(names) {
        param["name"] = json!(name);
    }
    entry["paramStructure"] = json!("either");
}

/// Adds the errors that every method can answer with.
fn add_errors(entry: &mut Value) {
    let mut errors = entry["errors"].as_array().cloned().unwrap_or_default();
    for name in COMMON_ERRORS {
        let reference = json!({ "$ref": format!("#/components/errors/{name}") });
        if !errors.contains(&reference) {
            errors.push(reference);
        }
    }
    if let Some(entry) = entry.as_object_mut() {
        Map::insert(entry, "errors".into(), Value::Array(errors));
    }
}
