//! What the node reads from storage is where the compiler has put it, and what it calls are the contract's functions.

use alloy_primitives::{hex, keccak256};
use basalt_primitives::system::permission::{
    calls::{PROPOSED, SIGNATURES},
    slot,
};
use serde_json::Value;

fn artefact() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../contracts/artefacts/Permission.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn slots_and_offsets_are_the_compilers() {
    let artefact = artefact();
    let variables = artefact["layout"]["slots"].as_array().unwrap();
    let at = |name: &str| variables.iter().find(|v| v["name"] == name).unwrap()["slot"].as_u64().unwrap();
    for (name, slot) in [
        ("accountStamp", slot::ACCOUNT_STAMP),
        ("nodeStamp", slot::NODE_STAMP),
        ("authority", slot::AUTHORITY),
        ("percent", slot::PERCENT),
        ("mode", slot::MODE),
        ("lifetime", slot::LIFETIME),
        ("nodeKeys", slot::NODE_KEYS),
        ("nodes", slot::NODES),
        ("organisationNames", slot::ORGANISATION_NAMES),
        ("organisations", slot::ORGANISATIONS),
        ("accounts", slot::ACCOUNTS),
        ("rules", slot::RULES),
        ("calls", slot::CALLS),
        ("administrators", slot::ADMINISTRATORS),
        ("proposalCount", slot::PROPOSAL_COUNT),
        ("proposals", slot::PROPOSALS),
        ("openIds", slot::OPEN),
    ] {
        assert_eq!(at(name), slot, "{name}");
    }
    assert!(variables.iter().all(|v| v["offset"] == 0), "every variable begins a slot");
    let fields = |name: &str| -> Vec<(String, u64, u64)> {
        let list = artefact["layout"]["structs"][name]["fields"].as_array().unwrap();
        let of = |f: &Value, k: &str| f[k].as_u64().unwrap();
        list.iter().map(|f| (f["name"].as_str().unwrap().to_owned(), of(f, "slot"), of(f, "offset"))).collect()
    };
    let same = |name: &str, want: &[(&str, u64, u64)]| {
        let want: Vec<_> = want.iter().map(|(n, s, o)| ((*n).to_owned(), *s, *o)).collect();
        assert_eq!(fields(name), want, "{name}");
    };
    let ends = [("since", 0, 2), ("untilHeight", 0, 10), ("untilTime", 0, 18), ("organisation", 1, 0)];
    same("Node", &[&[("role", 0, 0), ("status", 0, 1)], &ends[..], &[("validator", 2, 0), ("name", 3, 0)]].concat());
    same("Rule", &[&[("rights", 0, 0), ("flags", 0, 1)], &ends[..]].concat());
    same("Organisation", &[("status", 0, 0), ("since", 0, 1), ("untilHeight", 0, 9), ("untilTime", 0, 17)]);
    let words = [("subject", 2, 0), ("a", 3, 0), ("b", 4, 0), ("c", 5, 0), ("d", 6, 0), ("approvers", 7, 0)];
    let head = [("kind", 0, 0), ("status", 0, 1), ("opened", 0, 2), ("decided", 0, 10), ("proposer", 1, 0)];
    same("Proposal", &[&head[..], &words].concat());
}

#[test]
fn calls_are_the_contracts_functions() {
    let artefact = artefact();
    for signature in SIGNATURES {
        let selector = hex::encode(&keccak256(signature)[..4]);
        assert_eq!(artefact["selectors"][signature], selector.as_str(), "{signature}");
    }
    let events = artefact["abi"].as_array().unwrap().iter().filter(|e| e["type"] == "event" && e["name"] == "Proposed");
    let types: Vec<_> =
        events.flat_map(|e| e["inputs"].as_array().unwrap()).map(|i| i["type"].as_str().unwrap()).collect();
    assert_eq!(PROPOSED, format!("Proposed({})", types.join(",")));
}
