//! All of Ethereum's own tests that there are in the fixtures.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use basalt_statetest::{Class, folder, run};

#[test]
fn ethereum_tests_pass() {
    let fixtures = std::env::var("BASALT_FIXTURES")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/fixtures").to_owned());
    let archive = Path::new(&fixtures).join("ethereum-tests.tar.xz");
    if !archive.exists() {
        assert!(std::env::var_os("CI").is_none(), "{} must be there in CI", archive.display());
        println!("skipped: {} is not there; get it from github.com/ethereum/tests", archive.display());
        return;
    }
    let unpacked = folder::unpack(&archive).unwrap();
    let files = folder::files(unpacked.path()).unwrap();
    let report = run(&files, std::thread::available_parallelism().map_or(1, usize::from)).unwrap();
    println!("{report}");
    assert!(report.sound(), "{report}");
    let least = [
        (Class::GeneralStateTests, 20_739),
        (Class::TrieTests, 9),
        (Class::RLPTests, 50),
        (Class::TransactionTests, 349),
    ];
    for (class, least) in least {
        assert!(report.passed(class) >= least, "only {} of {class:?}", report.passed(class));
    }
}

#[test]
fn what_is_wrong_is_reported_as_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wrong_secure.json");
    let root = "0xd4cd937e4a4368d7931a9cf51686b7e10abb3dce38a39000fd7902a092b64585";
    let trie = |value: &str| {
        format!(r#"{{"in": {{"doe": "{value}", "dog": "puppy", "dogglesworth": "cat"}}, "root": "{root}"}}"#)
    };
    let rlp = |kind: &str| format!(r#"{{"in": "{kind}", "out": "0xf80180"}}"#);
    let tests = format!(
        r#"{{"good": {}, "bad root": {}, "bad rlp": {}, "good rlp": {}, "panics": {{"in": [null], "out": "0x"}}}}"#,
        trie("reindeer"),
        trie("reindeer!"),
        rlp("VALID"),
        rlp("INVALID")
    );
    std::fs::write(&file, tests).unwrap();
    let report = run(&folder::files(folder.path()).unwrap(), 2).unwrap();
    assert!(!report.sound());
    assert_eq!((report.passed(Class::TrieTests), report.passed(Class::RLPTests)), (1, 1));
    let failed: Vec<&str> = report.classes.values().flat_map(|t| &t.failed).map(String::as_str).collect();
    assert!(failed[0].starts_with("bad root: root 0x"), "{failed:?}");
    assert!(failed[1].starts_with("bad rlp: "), "{failed:?}");
    assert!(failed[2].starts_with("panics: panicked: "), "{failed:?}");
}
