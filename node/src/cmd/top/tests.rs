//! What is made of answers, and how it looks on terminals of every size.

use ratatui::{Terminal, backend::TestBackend};
use serde_json::{Value, json};

use super::{
    cells,
    draw::Screen,
    model::{Answer, Picture, State},
    plain,
    targets::{self, Target},
};

/// The time of all pictures here.
const NOW: u64 = 1_795_339_038_301;

fn target(port: u16) -> Target {
    targets::read(&[format!("http://127.0.0.1:{port}")]).expect("an address").remove(0)
}

/// A node's row in `monitor_nodes`.
fn told(name: &str, on: bool) -> Value {
    json!({ "id": format!("12D3{name}"), "name": name, "role": "validator", "on": on, "lastSeenMs": if on { 400 } else { 61_000 },
            "height": 40, "version": "basalt/v9", "organisation": "Example" })
}

/// What a node that is well answers.
fn well(name: &str, height: u64) -> Value {
    let status = json!({
        "node": { "id": format!("12D3{name}"), "name": name, "role": "validator" },
        "platform": { "network": "demo", "chainId": 7, "consensus": "pbft", "client": "basalt/v9" },
        "consensus": { "executed": height, "round": 1, "step": "prepare", "lastCommitAgeMs": 250, "explanation": "Votes are missing." },
        "peers": 3,
        "tps": { "current": 123.45, "state": "above", "threshold": { "upper": 100.0, "lower": null, "windowSeconds": 10 } },
        "alerts": [{ "alert": "tps_above", "severity": "warning", "value": 123.45, "threshold": 100.0, "since": NOW - 90_000 }],
        "clock": { "offsetMs": -3 },
    });
    let resources = json!({
        "cpu": { "usedCores": 0.42 }, "memory": { "residentBytes": 99 << 20, "limitBytes": 1u64 << 30 },
        "disk": { "availableBytes": 50u64 << 30, "totalBytes": 99u64 << 30 },
    });
    json!([
        { "id": 2, "result": [told("node0", true), told("node1", true), told("node2", false), told("archive", true)] },
        { "id": 0, "result": status },
        { "id": 1, "result": resources },
        { "id": 3, "result": { "lastBlock": { "proposedMs": 1000, "committedMs": 1045 } } },
    ])
}

fn read(v: &Value) -> Result<Answer, String> {
    Answer::read(v.to_string().as_bytes())
}

/// Two nodes that are well, the second ahead, and one that does not answer.
fn picture() -> Picture {
    let targets = [target(1), target(2), target(3)];
    let answers = [read(&well("node0", 40)), read(&well("node1", 42)), Err("no answer within 3 s".to_owned())];
    Picture::new(NOW, targets.iter().zip(answers))
}

#[test]
fn the_picture_is_the_highest_nodes_and_shows_who_is_behind_down_or_only_told_of() {
    let p = picture();
    assert_eq!((p.network.as_deref(), p.chain_id, p.height, p.on_of()), (Some("demo"), Some(7), Some(42), (2, 3)));
    assert_eq!((p.commit_ms, p.tps.as_ref().map(|t| t.current)), (Some(45), Some(123.45)));
    assert_eq!(p.nodes.iter().map(|n| n.behind(&p)).collect::<Vec<_>>(), [Some(2), Some(0), None]);
    let down = &p.nodes[2];
    assert_eq!((down.name.as_str(), down.state), ("127.0.0.1:3", State::Down));
    assert_eq!(down.note.as_deref(), Some("no answer within 3 s"));
    let told: Vec<_> = p.told.iter().map(|t| (t.name.as_str(), t.on)).collect();
    assert_eq!(told, [("archive", true), ("node2", false)], "those that answered themselves are not told of again");
    assert_eq!(p.alerts.len(), 1, "the same on two nodes is one");
    assert_eq!(p.alerts[0].nodes, ["node0", "node1"]);
}

#[test]
fn json_has_stable_names() {
    let v = serde_json::to_value(picture()).expect("JSON");
    assert_eq!((&v["height"], &v["commitMs"], &v["tps"]["windowSeconds"]), (&json!(42), &json!(45), &json!(10)));
    let node = &v["nodes"][0];
    assert_eq!((&node["state"], &node["round"], &node["memoryBytes"]), (&json!("on"), &json!(1), &json!(99 << 20)));
    assert_eq!((&v["nodes"][2]["state"], &v["nodes"][2]["height"]), (&json!("down"), &Value::Null));
    assert_eq!((&v["told"][1]["name"], &v["told"][1]["on"]), (&json!("node2"), &json!(false)));
    assert!(v["told"][1].get("id").is_none());
}

#[test]
fn what_is_no_answer_says_so_and_odd_fields_are_left_out() {
    let refused = |v: Value| read(&v).expect_err("refused");
    assert!(Answer::read(b"<html>").expect_err("refused").contains("does not speak JSON-RPC"));
    assert!(refused(json!({ "id": 0 })).contains("does not speak JSON-RPC"));
    assert!(refused(json!([])).contains("does not speak JSON-RPC"));
    let old = json!([{ "id": 0, "error": { "code": -32601, "message": "the method monitor_status does not exist" } }]);
    assert!(refused(old).contains("answers, but not how it is: the method"));
    let odd = json!([{ "id": 0, "result": { "node": 5, "consensus": { "executed": "many" }, "alerts": { "a": 1 }, "tps": [] } }]);
    let targets = [target(1)];
    let p = Picture::new(0, targets.iter().zip([read(&odd)]));
    assert_eq!((p.nodes[0].state, p.nodes[0].height, p.height), (State::On, None, None));
    assert!(plain::text(&p).contains("127.0.0.1:1"));
}

#[test]
fn what_strangers_write_does_not_move_the_cursor() {
    let mut evil = well("node0", 1);
    evil[1]["result"]["node"]["name"] = json!("a\u{1b}[2Jb\u{202e}c");
    evil[1]["result"]["consensus"]["explanation"] = json!("x\r\ny".repeat(500));
    let targets = [target(1)];
    let p = Picture::new(0, targets.iter().zip([read(&evil)]));
    assert_eq!(p.nodes[0].name, "a[2Jbc");
    assert!(p.explanation.expect("there").chars().count() <= 300);
}

#[test]
fn plain_text_has_a_line_for_everything() {
    let text = plain::text(&picture());
    let has = |needle: &str| assert!(text.contains(needle), "{needle} is missing in:\n{text}");
    has("demo (chain id 7, pbft)   2 of 3 nodes on   height 42");
    has("TPS 123.5 over 10 s, upper 100, lower -: ABOVE   newest block: proposal to commit 45 ms");
    has("127.0.0.1:3  DOWN      -               -  no answer within 3 s");
    has("archive      told on   validator      40  not asked; seen 0 s ago by the others, basalt/v9, Example");
    has("warning  tps_above: 123.5 (threshold 100) for 90 s, on node0, node1");
    has("node0        on        validator      40       2      1  prepare      3  ▲123.5   45 ms");
    assert!(text.lines().all(|l| l.trim_end() == l), "no trailing spaces:\n{text}");
}

#[test]
fn columns_that_matter_less_go_first() {
    let p = picture();
    let (wide, _) = cells::nodes(&p, 200);
    let (narrow, rows) = cells::nodes(&p, 60);
    assert!(wide.contains("DISK FREE") && wide.contains("CLOCK"));
    assert!(narrow.starts_with("NODE") && narrow.contains("HEIGHT") && narrow.contains("TPS"), "{narrow}");
    assert!(!narrow.contains("CLOCK") && narrow.chars().count() <= 60, "{narrow}");
    assert_eq!(rows.len(), 5);
    let (least, _) = cells::nodes(&p, 0);
    assert_eq!(least.split_whitespace().collect::<Vec<_>>(), ["NODE", "STATE", "HEIGHT"]);
}

fn drawn(screen: &Screen, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    terminal.draw(|frame| screen.draw(frame)).expect("drawn");
    // The backend cannot show itself without a column.
    if width == 0 { String::new() } else { terminal.backend().to_string() }
}

#[test]
fn the_screen_shows_it_all_and_no_size_is_too_small() {
    let mut screen = Screen::default();
    assert!(drawn(&screen, 40, 5).contains("asking the nodes"));
    for _ in 0..600 {
        screen.show(picture());
    }
    let full = drawn(&screen, 150, 30);
    for needle in
        ["2 of 3 nodes on", "Votes are missing.", "node1", "DOWN", "told OFF", "TPS 123.5", "alerts: 1", "q quits", "█"]
    {
        assert!(full.contains(needle), "{needle} is missing in:\n{full}");
    }
    for width in (0..=24).chain([80, 300]) {
        for height in (0..=24).chain([60]) {
            drawn(&screen, width, height);
        }
    }
    let low = drawn(&screen, 100, 12);
    assert!(low.contains("more nodes"), "{low}");
    screen.scroll(isize::MAX);
    assert!(drawn(&screen, 100, 12).contains("node2"), "the last row is in sight");
    screen.scroll(isize::MIN);
    assert!(drawn(&screen, 100, 12).contains("node0"));
}

#[test]
fn a_network_larger_than_the_screen_says_how_many_are_hidden() {
    let targets: Vec<Target> = (1..=256).map(target).collect();
    let mut screen = Screen::default();
    screen.show(Picture::new(NOW, targets.iter().map(|t| (t, Err("no answer".to_owned())))));
    let text = drawn(&screen, 120, 30);
    assert!(text.contains("no node answers   0 of 256 nodes on"), "{text}");
    let listed = text.lines().filter(|l| l.contains("DOWN")).count();
    assert!(text.contains(&format!("… {} more nodes", 256 - listed)), "{listed} of 256 are listed:\n{text}");
}
