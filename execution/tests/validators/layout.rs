//! What the node reads from storage is where the compiler has put it.

use basalt_primitives::system::validators::slot;
use serde_json::{Value, json};

/// What the compiler said about the contract.
pub fn artefact() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../contracts/artefacts/Validators.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn slots_and_offsets_are_the_compilers() {
    let artefact = artefact();
    let variables = artefact["layout"]["slots"].as_array().unwrap();
    let at = |name: &str| variables.iter().find(|v| v["name"] == name).unwrap()["slot"].as_u64().unwrap();
    for (name, slot) in [
        ("pending", slot::PENDING),
        ("genesisHash", slot::GENESIS_HASH),
        ("lifetime", slot::LIFETIME),
        ("members", slot::MEMBERS),
        ("changes", slot::CHANGES),
        ("indexPlusOne", slot::INDEX),
        ("proposalCount", slot::PROPOSAL_COUNT),
        ("proposals", slot::PROPOSALS),
        ("openIds", slot::OPEN),
        ("readyAt", slot::READY_AT),
        ("evidence", slot::EVIDENCE),
    ] {
        assert_eq!(at(name), slot, "{name}");
    }
    assert!(variables.iter().all(|v| v["offset"] == 0), "every variable begins a slot");
    let fields = |name: &str| {
        let s = &artefact["layout"]["structs"][name];
        let at = |f: &Value| (f["name"].as_str().unwrap().to_owned(), f["slot"].as_u64(), f["offset"].as_u64());
        (s["slots"].clone(), s["fields"].as_array().unwrap().iter().map(at).collect::<Vec<_>>())
    };
    let want = |list: &[(&str, u64, u64)]| -> Vec<_> {
        list.iter().map(|(n, s, o)| ((*n).to_owned(), Some(*s), Some(*o))).collect()
    };
    assert_eq!(
        fields("Member"),
        (json!(3), want(&[("key", 0, 0), ("name", 1, 0), ("account", 2, 0), ("since", 2, 20)]))
    );
    let change =
        [("validFrom", 0, 0), ("kind", 0, 8), ("index", 0, 9), ("proposal", 0, 11), ("key", 1, 0), ("name", 2, 0)];
    assert_eq!(fields("Change"), (json!(3), want(&change)));
    let head = [("kind", 0, 0), ("status", 0, 1), ("reason", 0, 2), ("have", 0, 3), ("need", 0, 5), ("opened", 0, 7)];
    let rest = [("decided", 0, 15), ("validFrom", 0, 23), ("proposer", 1, 0), ("oldKey", 2, 0), ("newKey", 3, 0)];
    let tail = [("name", 4, 0), ("approvers", 5, 0)];
    assert_eq!(fields("Proposal"), (json!(6), want(&[&head[..], &rest, &tail].concat())));
    let evidence = [("key", 0, 0), ("height", 1, 0), ("round", 1, 8), ("kind", 1, 12), ("reportedAt", 1, 13)];
    assert_eq!(fields("Evidence"), (json!(4), want(&[&evidence[..], &[("first", 2, 0), ("second", 3, 0)]].concat())));
}
