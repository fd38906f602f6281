//! The alert engine and its rules, over made-up time.

use super::*;
use crate::monitor::{settings::TpsThreshold, tps::TpsWindow};

const OFF: TpsThreshold = TpsThreshold { upper: None, lower: None, window_seconds: 5 };
const THRESHOLDS: Thresholds = Thresholds {
    node_down_ms: 30_000,
    stall_ms: 30_000,
    disk_percent: 90,
    memory_percent: 90,
    clock_offset_ms: 500,
    min_peers: 1,
};

/// A node that is well.
fn well(mono_ms: Millis) -> Observation {
    Observation { mono_ms, peers: 3, ..Observation::default() }
}

/// Lets the engine see a second after the other; gives (second, kind, state) of all that was told.
fn run(
    seconds: std::ops::Range<u64>,
    engine: &mut AlertEngine,
    at: impl Fn(u64) -> Observation,
) -> Vec<(u64, AlertKind, AlertState)> {
    let mut told = Vec::new();
    for second in seconds {
        let o = at(second);
        let readings = readings(&o, None, &OFF, &THRESHOLDS);
        told.extend(engine.observe(o.mono_ms, &readings).into_iter().map(|t| (second, t.kind, t.state)));
    }
    told
}

/// Runs TPS through window and engine, one sample a second; gives (second, kind, state).
fn run_tps(threshold: TpsThreshold, rates: &[u64]) -> Vec<(u64, AlertKind, AlertState)> {
    let (mut window, mut engine, mut total, mut told) = (TpsWindow::default(), AlertEngine::default(), 0, Vec::new());
    for (second, rate) in (0..).zip(rates) {
        total += rate;
        window.sample(second * 1000, total);
        let o = well(second * 1000);
        let readings = readings(&o, window.rate(threshold.window_seconds * 1000), &threshold, &THRESHOLDS);
        told.extend(engine.observe(o.mono_ms, &readings).into_iter().map(|t| (second, t.kind, t.state)));
    }
    told
}

#[test]
fn the_upper_threshold_fires_within_two_windows_once_and_ends_with_hysteresis() {
    let threshold = TpsThreshold { upper: Some(100.0), ..OFF };
    let mut rates = vec![50; 20];
    rates.extend([200; 20]); // from second 20 on
    rates.extend([95; 20]); // from 40 on: below the threshold, not below its hysteresis
    rates.extend([50; 20]); // from 60 on
    let told = run_tps(threshold, &rates);
    let [(fired, _, AlertState::Firing), (ended, _, AlertState::Resolved)] = told[..] else { panic!("{told:?}") };
    assert!((20..=20 + 2 * 5).contains(&fired), "{fired}");
    assert!((60..=60 + 2 * 5).contains(&ended), "{ended}");
    assert!(told.iter().all(|t| t.1 == AlertKind::TpsAbove));
}

#[test]
fn no_alert_below_the_threshold_nor_at_it_nor_from_one_block_at_the_start() {
    let threshold = TpsThreshold { upper: Some(100.0), ..OFF };
    assert_eq!(run_tps(threshold, &[99; 60]), []);
    assert_eq!(run_tps(threshold, &[100; 60]), []);
    let mut burst = vec![0, 400];
    burst.extend([0; 30]);
    assert_eq!(run_tps(threshold, &burst), [], "400 transactions are 80 per second over the window of 5 s");
}

#[test]
fn the_lower_threshold_needs_a_whole_window_and_ends_above_its_hysteresis() {
    let threshold = TpsThreshold { lower: Some(10.0), ..OFF };
    let told = run_tps(threshold, &[[0; 10], [10; 10], [20; 10]].concat());
    assert_eq!(told[0], (5, AlertKind::TpsBelow, AlertState::Firing), "{told:?}");
    assert!(told[1].0 >= 20 && told[1].2 == AlertState::Resolved && told.len() == 2, "{told:?}");
}

#[test]
fn a_load_that_swings_around_the_threshold_does_not_flap() {
    let threshold = TpsThreshold { upper: Some(100.0), ..OFF };
    let rates: Vec<u64> = (0..600).map(|s| if s % 4 < 2 { 97 } else { 105 }).collect();
    let told = run_tps(threshold, &rates);
    assert_eq!(told.len(), 1, "{told:?}");
}

#[test]
fn a_threshold_that_is_switched_off_ends_its_alert() {
    let mut engine = AlertEngine::default();
    let on = TpsThreshold { upper: Some(1.0), ..OFF };
    let told = engine.observe(0, &readings(&well(0), Some(5.0), &on, &THRESHOLDS));
    assert_eq!(told.len(), 1);
    assert_eq!(engine.active().len(), 1);
    let told = engine.observe(1, &readings(&well(1), Some(5.0), &OFF, &THRESHOLDS));
    assert_eq!((told[0].state, told[0].watched), (AlertState::Resolved, false));
    assert!(engine.active().is_empty());
    let event = AlertEvent::new(&Origin::default(), &told[0], 1);
    assert_eq!(event.message, "tps_above is no longer watched");
}

#[test]
fn every_other_rule_fires_when_it_should_and_ends_when_it_is_over() {
    use AlertKind::*;
    type Bad = fn(&mut Observation);
    let cases: [(AlertKind, Bad); 7] = [
        (NodeDown, |o| o.nodes[0].unseen_ms = 31_000),
        (ConsensusStalled, |o| o.block_overdue_ms = 30_001),
        (Disk, |o| o.disk_used = Some(0.901)),
        (Memory, |o| o.memory_used = Some(0.95)),
        (Clock, |o| o.clock_offset_ms = Some(-501)),
        (Peers, |o| o.peers = 0),
        (CertificateExpiry, |o| o.certificates[0].seconds_left = 29 * 86_400),
    ];
    for (kind, bad) in cases {
        let at = |second: u64| {
            let mut o = Observation {
                nodes: vec![NodeSeen { name: "node3".into(), unseen_ms: 0 }],
                disk_used: Some(0.5),
                memory_used: Some(0.5),
                clock_offset_ms: Some(3),
                certificates: vec![Certificate { name: "tls".into(), seconds_left: 365 * 86_400 }],
                ..well(second * 1000)
            };
            if (10..30).contains(&second) {
                bad(&mut o);
            }
            o
        };
        let told = run(0..60, &mut AlertEngine::default(), at);
        let [(fired, first, AlertState::Firing), (ended, second, AlertState::Resolved)] = told[..] else {
            panic!("{kind:?}: {told:?}")
        };
        assert_eq!((first, second), (kind, kind));
        assert!((10..=15).contains(&fired) && (30..=35).contains(&ended), "{kind:?}: {told:?}");
    }
}

#[test]
fn a_fork_without_a_ready_quorum_is_told_of_once_the_others_could_have_been_heard() {
    let fork = |seconds_left, quorum_ready| vec![Fork { name: "osaka at height 9".into(), seconds_left, quorum_ready }];
    let at_days = |days: f64| {
        let at = move |second: u64| Observation {
            forks: fork((days * 86_400.0) as u64 - second, !(5..60).contains(&second)),
            ..well(second * 1000)
        };
        run(0..90, &mut AlertEngine::default(), at)
    };
    let expected =
        [(35, AlertKind::ForkApproaching, AlertState::Firing), (60, AlertKind::ForkApproaching, AlertState::Resolved)];
    assert_eq!(at_days(6.9), expected);
    assert_eq!(at_days(8.0), [], "there is time");
    let starting = |second: u64| Observation { forks: fork(60, second >= 15), ..well(second * 1000) };
    assert_eq!(run(0..90, &mut AlertEngine::default(), starting), [], "a start is no alert");

    let mut engine = AlertEngine::default();
    for (second, forks) in [(0, fork(60, false)), (30, fork(60, false))] {
        engine.observe(second * 1000, &readings(&Observation { forks, ..well(second) }, None, &OFF, &THRESHOLDS));
    }
    let over = engine.observe(31_000, &readings(&well(31_000), None, &OFF, &THRESHOLDS));
    let event = AlertEvent::new(&Origin::default(), &over[0], 1);
    assert_eq!(event.message, "over: fork_approaching of osaka at height 9");
}

#[test]
fn a_moment_of_a_full_disk_is_no_alert() {
    let at = |second: u64| Observation { disk_used: Some(if second == 5 { 0.99 } else { 0.5 }), ..well(second * 1000) };
    assert_eq!(run(0..20, &mut AlertEngine::default(), at), []);
}

#[test]
fn certificates_are_told_of_at_thirty_seven_and_one_day() {
    let mut engine = AlertEngine::default();
    let mut told = Vec::new();
    for day in (0..=40).rev() {
        let certificates = vec![Certificate { name: "tls".into(), seconds_left: day * 86_400 }];
        let o = Observation { certificates, ..well(1) };
        let all = engine.observe(1, &readings(&o, None, &OFF, &THRESHOLDS));
        told.extend(all.into_iter().map(|t| (day, t.subject, t.severity)));
    }
    let expected = [
        (29, "tls (30 d)", Severity::Warning),
        (6, "tls (7 d)", Severity::Warning),
        (0, "tls (1 d)", Severity::Critical),
    ];
    assert_eq!(told, expected.map(|(day, name, severity)| (day, name.to_owned(), severity)));
}

#[test]
fn nodes_are_alerted_apart_and_without_bound_nothing_grows() {
    let mut engine = AlertEngine::default();
    let seen =
        |i: usize| NodeSeen { name: format!("node{i}"), unseen_ms: if i.is_multiple_of(2) { 0 } else { 60_000 } };
    let o = Observation { nodes: (0..20_000).map(seen).collect(), ..well(0) };
    let told = engine.observe(0, &readings(&o, None, &OFF, &THRESHOLDS));
    assert_eq!(told.len(), 4_096);
    assert!(told.iter().all(|t| t.kind == AlertKind::NodeDown));
    assert_eq!(engine.left_out(), 10_000 - 4_096);
}

#[test]
fn an_event_says_all_and_its_id_is_its_own() {
    let origin = Origin { network: "net".into(), node: "node0".into() };
    let t = Transition {
        kind: AlertKind::NodeDown,
        subject: "node3".into(),
        state: AlertState::Firing,
        severity: Severity::Warning,
        value: 31.234_56,
        threshold: 30.0,
        watched: true,
    };
    let event = AlertEvent::new(&origin, &t, 1_700_000_000_000);
    let json = serde_json::to_value(&event).expect("JSON");
    for (key, value) in
        [("alert", "node_down"), ("state", "firing"), ("subject", "node3"), ("network", "net"), ("node", "node0")]
    {
        assert_eq!(json[key], value);
    }
    assert_eq!((json["value"].as_f64(), json["at"].as_u64()), (Some(31.235), Some(1_700_000_000_000)));
    assert!(event.message.contains("node3 has not been seen for 31 s (limit 30 s)"), "{}", event.message);
    assert_eq!(event.id, AlertEvent::new(&origin, &t, 1_700_000_000_000).id);
    let others = [
        AlertEvent::new(&origin, &t, 1_700_000_000_001),
        AlertEvent::new(&origin, &Transition { state: AlertState::Resolved, ..t.clone() }, 1_700_000_000_000),
        AlertEvent::new(&Origin { node: "node1".into(), ..origin }, &t, 1_700_000_000_000),
    ];
    assert!(others.iter().all(|o| o.id != event.id && o.id.len() == 32));
    assert_eq!(serde_json::from_value::<AlertEvent>(json).expect("reads"), event);
}

#[test]
fn names_in_json_are_the_names_of_labels() {
    for kind in AlertKind::ALL {
        assert_eq!(serde_json::to_value(kind).expect("JSON"), kind.name());
        assert!(kind.sentence("x", 1.0, 2.0).len() > 20);
    }
}
