//! The directory against forgers, floods, old records and clocks that went wrong.

use super::*;

const GENESIS: B256 = B256::repeat_byte(1);

fn key(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32])
}

fn record(key: &SecretKey, sequence: Millis, name: &str) -> NodeRecord {
    let record = NodeRecord {
        node_key: key.public_key(),
        sequence,
        name: name.into(),
        organisation: "org\u{1b}[31m".into(),
        software: "basalt/1".into(),
        address: "/ip4/1.2.3.4/tcp/5".into(),
        height: 7,
        validator: None,
        signature: Signature([0; 64]),
    };
    record.sign(key, GENESIS)
}

fn voter(key: &SecretKey, name: Option<&str>, address: &str) -> Voter {
    let name = name.map(str::to_owned);
    Voter { key: key.public_key(), name, address: address.into(), connected: false, is_self: false }
}

/// A key of one of many.
fn stranger(n: u32) -> SecretKey {
    let mut seed = [7; 32];
    seed[..4].copy_from_slice(&n.to_be_bytes());
    SecretKey::from_bytes(&seed)
}

fn directory() -> Directory {
    Directory::new(GENESIS, key(1).public_key())
}

fn nobody(_: &PublicKey) -> bool {
    false
}

fn names(d: &Directory, mono: Millis) -> Vec<(String, bool)> {
    d.list(mono, 30_000, &[], &[]).into_iter().map(|v| (v.name, v.on)).collect()
}

#[test]
fn records_travel_from_one_directory_to_another_and_age() {
    let (a, b) = (directory(), Directory::new(GENESIS, key(2).public_key()));
    a.announce(&key(1), None, &Myself { name: "a".into(), ..Myself::default() }, 3, (0, 1_000_000));
    assert!(a.learn(vec![record(&key(3), 1_000_000, "c")], nobody, (0, 1_000_000)));
    assert!(b.learn(a.newer(&b.request()), nobody, (50, 1_000_000)));
    assert_eq!(names(&b, 60), [("a".into(), true), ("c".into(), true)]);
    assert!(a.newer(&b.request()).is_empty(), "nothing is told twice");
    assert_eq!(names(&b, 40_000), [("a".into(), false), ("c".into(), false)]);
    let c = peer_id_of(&key(3).public_key()).expect("an id");
    b.connected(&[c], 40_000);
    assert_eq!(names(&b, 40_001), [("a".into(), false), ("c".into(), true)]);
    assert_eq!(b.list(40_001, 30_000, &[c], &[])[1].organisation, "org[31m", "no control characters");
}

#[test]
fn forged_old_and_own_records_change_nothing() {
    let d = directory();
    let good = record(&key(3), 1_000_000, "c");
    let forged = NodeRecord { name: "x".into(), sequence: 2_000_000, ..good.clone() };
    assert!(d.learn(vec![good], nobody, (0, 1_000_000)));
    assert!(!d.learn(vec![forged], nobody, (0, 1_000_000)));
    assert!(d.learn(vec![record(&key(3), 999_999, "older")], nobody, (0, 1_000_000)));
    assert!(d.learn(vec![record(&key(1), 9_000_000, "me?")], nobody, (0, 1_000_000)));
    assert_eq!(names(&d, 0), [("c".into(), true)]);
    assert!(d.learn(vec![record(&key(4), 1_000, "long gone")], nobody, (0, 1_000_000)));
    assert_eq!(names(&d, 0), [("c".into(), true), ("long gone".into(), false)]);
}

#[test]
fn strangers_do_not_push_validators_out_and_what_is_never_heard_of_again_is_forgotten() {
    let d = directory();
    let validator = key(9);
    let node = key(8);
    let peer = peer_id_of(&node.public_key()).expect("an id");
    let proof = ValidatorProof::sign(&validator, GENESIS, &peer.to_bytes());
    let proven = NodeRecord { validator: Some(proof), ..record(&node, 1_000_000, "v") }.sign(&node, GENESIS);
    let is_validator = |k: &PublicKey| *k == validator.public_key();
    assert!(d.learn(vec![proven], is_validator, (0, 1_000_000)));
    for n in 0..1_100u32 {
        assert!(d.learn(vec![record(&stranger(n), 1_000_000, "s")], is_validator, (u64::from(n), 1_000_000)));
    }
    assert_eq!(d.request().known.len(), MAX_NODES);
    let views = d.list(0, 30_000, &[], &[voter(&validator, Some("node8"), "0x9")]);
    assert_eq!((views[0].name.as_str(), views[0].role), ("node8", "validator"), "genesis' name, not its own");
    assert!(d.learn(vec![record(&key(5), 1_000_000, "later")], nobody, (FORGET_MS + 2_000, 1_000_000)));
    assert_eq!(d.request().known.len(), 1);
}

#[test]
fn the_clock_is_compared_by_the_median() {
    assert_eq!(clock_offset(vec![]), None);
    assert_eq!(clock_offset(vec![700]), Some(-700));
    assert_eq!(clock_offset(vec![3, i64::MIN, 2, i64::MAX, 1]), Some(-2));
    assert_eq!(clock_offset(vec![i64::MIN]), Some(i64::MAX));
}

#[test]
fn of_one_answer_only_so_many_signatures_are_checked() {
    let d = directory();
    let many = (0..MAX_LEARNT as u32 + 50).map(|n| record(&stranger(n), 1_000_000, "s")).collect::<Vec<_>>();
    assert!(d.learn(many.clone(), nobody, (0, 1_000_000)));
    assert_eq!(d.request().known.len(), MAX_LEARNT);
    // What is known already costs nothing and takes no room of the new.
    assert!(d.learn(many, nobody, (0, 1_000_000)));
    assert_eq!(d.request().known.len(), MAX_LEARNT + 50);
}

#[test]
fn when_there_is_more_than_an_answer_holds_nobody_is_left_out_for_ever() {
    let (a, b) = (directory(), Directory::new(GENESIS, key(2).public_key()));
    let keys: Vec<_> = (0..600).map(stranger).collect();
    // Everybody says something new before every exchange; each may be two rounds old, and the new ones find room.
    let rounds = 12;
    for round in 1..=rounds {
        let now = 1_000_000 + round * 5_000;
        for part in keys.chunks(MAX_LEARNT) {
            assert!(a.learn(part.iter().map(|k| record(k, now, "s")).collect(), nobody, (round * 5_000, now)));
        }
        assert!(b.learn(a.newer(&b.request()), nobody, (round * 5_000, now)));
    }
    let known = b.request().known;
    assert_eq!(known.len(), keys.len(), "all are known");
    let oldest = known.iter().map(|(_, sequence)| *sequence).min().expect("some");
    assert!(oldest >= 1_000_000 + (rounds - 4) * 5_000, "none is forgotten over the others: {oldest}");
}

#[test]
fn a_node_whose_clock_was_ahead_is_heard_again() {
    let (a, b) = (directory(), Directory::new(GENESIS, key(2).public_key()));
    let me = Myself { name: "a".into(), ..Myself::default() };
    let hour = 3_600_000;
    a.announce(&key(1), None, &me, 3, (0, 1_000_000 + hour));
    assert!(b.learn(a.newer(&b.request()), nobody, (0, 1_000_000)));
    // Set right while it runs.
    a.announce(&key(1), None, &me, 4, (5_000, 1_005_000));
    assert_eq!(a.newer(&b.request()).len(), 1, "newer than what it said before");
    assert!(b.learn(a.newer(&b.request()), nobody, (5_000, 1_005_000)));
    // And started anew: its peers tell it what it once said.
    let a = directory();
    a.announce(&key(1), None, &me, 5, (0, 1_010_000));
    assert!(a.newer(&b.request()).is_empty());
    assert!(a.learn(b.newer(&a.request()), nobody, (0, 1_010_000)));
    a.announce(&key(1), None, &me, 6, (5_000, 1_015_000));
    assert!(b.learn(a.newer(&b.request()), nobody, (15_000, 1_015_000)));
    assert_eq!(b.list(15_000, 30_000, &[], &[])[0].height, Some(6));
}

#[test]
fn validators_that_were_never_heard_of_are_listed_as_off() {
    let d = directory();
    d.announce(&key(1), None, &Myself { name: "me".into(), ..Myself::default() }, 3, (0, 1_000_000));
    let views = d.list(0, 30_000, &[], &[voter(&key(9), Some("node9"), "0x9"), voter(&key(8), None, "0x8")]);
    let shown: Vec<_> = views.iter().map(|v| (v.name.as_str(), v.role, v.on, v.last_seen_ms, v.height)).collect();
    let off = |name| (name, "validator", false, None, None);
    assert_eq!(shown, [off("0x8"), off("node9"), ("me", "follower", true, Some(0), Some(3))]);
}

#[test]
fn names_cannot_play_tricks_with_a_terminal() {
    assert_eq!(printable("a\u{1b}[2J\u{202e}b\u{2066}c\u{feff}\n"), "a[2Jbc");
    assert_eq!(printable("Bücher & Söhne 株式会社"), "Bücher & Söhne 株式会社");
}
