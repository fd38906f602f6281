//! The command line: what it prints, and what it says to bad requests.

use std::process::{Command, Output};

fn sim(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_basalt-sim")).args(args).output().expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_run_reports_in_words_and_in_json() {
    let words = sim(&["run", "--seeds", "5", "--scenario", "calm", "--jobs", "2"]);
    assert!(
        words.status.success() && text(&words.stdout).contains("5 runs of calm from seed 0: no violation"),
        "{words:?}"
    );
    let json = sim(&["run", "--seeds", "3", "--from", "7", "--nodes", "5", "--json"]);
    let value: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!((&value["report"]["runs"], &value["from"]), (&3.into(), &7.into()));
}

#[test]
fn a_replay_tells_who_said_what_and_is_the_same_each_time() {
    let args = ["replay", "5", "--scenario", "all-down"];
    let (first, again) = (sim(&args), sim(&args));
    let log = text(&first.stdout);
    for part in ["says Proposal 1/0", "says commit", "CRASH", "DECIDES", "HEALED", "sound: height"] {
        assert!(log.contains(part), "{part} is missing:\n{log}");
    }
    assert_eq!(first.stdout, again.stdout);
}

#[test]
fn proof_of_work_runs_beside_it() {
    let words = sim(&["run", "--engine", "pow", "--scenario", "deep-partition", "--seeds", "2"]);
    assert!(words.status.success() && text(&words.stdout).contains("2 runs of deep-partition"), "{words:?}");
    let log = text(&sim(&["replay", "1", "--engine", "pow", "--scenario", "private-chain"]).stdout);
    for part in ["finds 1 ", "SHOWS", "HEAD", "HEALED", "sound: height"] {
        assert!(log.contains(part), "{part} is missing:\n{log}");
    }
}

#[test]
fn scenarios_are_listed() {
    let value: serde_json::Value = serde_json::from_slice(&sim(&["scenarios", "--json"]).stdout).expect("JSON");
    let names: Vec<&str> = value.as_array().expect("a list").iter().filter_map(|s| s["name"].as_str()).collect();
    assert!(names.len() > 30 && names[0] == "chaos" && names.contains(&"torn-record"), "{names:?}");
}

#[test]
fn bad_requests_are_refused_with_a_reason() {
    let cases: [(&[&str], &str); 6] = [
        (&["run", "--scenario", "nonsense"], "no scenario 'nonsense'"),
        (&["run", "--engine", "raft"], "no simulator of engine 'raft'"),
        (&["run", "--level", "9"], "at level 9"),
        (&["run", "--nodes", "0"], "--nodes must be between 1 and 256"),
        (&["twins", "--nodes", "13"], "--nodes must be between 1 and 12"),
        (&["twins", "--twinned", "5"], "--twinned must be at most"),
    ];
    for (args, reason) in cases {
        let output = sim(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(text(&output.stderr).contains(reason), "{args:?}: {}", text(&output.stderr));
    }
}

#[test]
fn a_conflict_ends_with_exit_code_one_and_how_to_see_it_again() {
    let output = sim(&["twins", "--twinned", "2", "--schedules", "200"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stdout);
    assert!(said.contains("CONFLICT in schedule") && said.contains("again: basalt-sim twins"), "{said}");
}
