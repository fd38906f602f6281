//! The log under changes, crashes, several writers, rotation, retention, and against a chain.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use basalt_primitives::{B256, PublicKey, SecretKey};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    Act, AuditConfig, AuditError, AuditLog, Entry, OLD_FILE, Reads, Teller,
    anchor::{self, Anchor, AnchorError, OnChain},
    entry, listed, verify,
};

fn key(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32])
}

fn open(dir: &Path) -> AuditLog {
    AuditLog::open(dir, key(1), &AuditConfig::default()).expect("a log")
}

fn act(n: usize) -> Act {
    Act::new("administration").with("principal", format!("caller {n}")).with("method", "admin_addPeer")
}

/// A log with entries 0 (its opening) to `n`.
fn log_of(n: usize) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let log = open(dir.path());
    (1..=n).for_each(|i| assert_eq!(log.append(act(i)).expect("written"), i as u64));
    dir
}

fn first_file(dir: &Path) -> PathBuf {
    dir.join("audit/00000001.jsonl")
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).expect("text").lines().map(str::to_owned).collect()
}

fn write_lines(path: &Path, lines: &[String]) {
    fs::write(path, lines.iter().map(|l| format!("{l}\n")).collect::<String>()).expect("writes");
}

fn trusted() -> Vec<PublicKey> {
    vec![key(1).public_key()]
}

fn broken(dir: &Path) -> String {
    verify::directory(dir, &trusted()).expect_err("found").to_string()
}

#[test]
fn an_entry_is_these_very_bytes() {
    let act = Act::new("reset-record").with("reason", "two \"disks\"\nburnt").with("seq", 99).with("answers", 2);
    let (line, head) = entry::write(None, 1_700_000_000_000, &act, &key(1));
    // A golden vector: changing it changes what old logs are verified by.
    let expected = "{\"seq\":0,\"timeMs\":1700000000000,\"act\":\"reset-record\",\"answers\":2,\"reason\":\"two \\\"disks\\\"\\nburnt\",\
                    \"key\":\"8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c\",\"prev\":\"0000000000000000000000000000000000000000000000000000000000000000\"";
    assert_eq!(line.split(",\"hash\"").next(), Some(expected));
    assert_eq!(hex::encode(head.hash), GOLDEN_HASH);
    let entry = Entry::read(&line).expect("an entry");
    assert!(entry.is_signed());
    assert_eq!((entry.seq, entry.act.as_str(), entry.number("answers")), (0, "reset-record", Some(2)));
    assert_eq!(entry.text("reason"), Some("two \"disks\"\nburnt"));
}

const GOLDEN_HASH: &str = "710b2cc105b3b80abc9fc4cfd358eebf7b2cdc6a7f7a2bc1e111b6bed799663d";

#[test]
fn a_log_in_order_is_said_to_be() {
    let dir = log_of(20);
    let report = verify::directory(dir.path(), &trusted()).expect("in order");
    assert_eq!((report.entries, report.first, report.last, report.files), (21, 0, 20, 1));
    assert_eq!(report.keys, trusted());
    assert_eq!(report.acts, BTreeMap::from([("administration".into(), 20), ("log-opened".into(), 1)]));
}

#[test]
fn whatever_is_changed_is_found_and_named() {
    let dir = log_of(5);
    let path = first_file(dir.path());
    let good = lines(&path);
    let with = |change: &dyn Fn(&mut Vec<String>)| {
        let mut changed = good.clone();
        change(&mut changed);
        write_lines(&path, &changed);
        broken(dir.path())
    };
    let changed = with(&|l| l[3] = l[3].replace("caller 3", "caller 4"));
    assert!(
        changed.contains("line 4") && changed.contains("entry 3") && changed.contains("it was changed"),
        "{changed}"
    );
    let missing = with(&|l| drop(l.remove(2)));
    assert!(missing.contains("entry 3 follows entry 1: entries 2 to 2 are missing"), "{missing}");
    let swapped = with(&|l| l.swap(2, 3));
    assert!(swapped.contains("entry 3 follows entry 1"), "{swapped}");
    let repeated = with(&|l| l.insert(3, good[2].clone()));
    assert!(repeated.contains("entry 2 stands where entry 3 should"), "{repeated}");
    let beheaded = with(&|l| drop(l.drain(..2)));
    assert!(beheaded.contains("entries 0 to 1 are missing"), "{beheaded}");
    // Whoever has no key of the node's makes a good chain of their own.
    let forged = with(&|l| {
        let before = Entry::read(&l[2]).expect("good").head();
        l[3] = entry::write(Some(before), 1, &act(9), &key(2)).0;
        l.truncate(4);
    });
    assert!(forged.contains("entry 3 is signed by") && forged.contains("not the node's key"), "{forged}");
    fs::write(&path, good.join("\n")).expect("writes");
    assert!(broken(dir.path()).contains("unfinished"));
    fs::remove_dir_all(dir.path().join("audit")).expect("removes");
    assert!(broken(dir.path()).contains("no audit log here"));
}

#[test]
fn a_signature_is_bound_to_its_entry() {
    let dir = log_of(2);
    let path = first_file(dir.path());
    let mut all = lines(&path);
    let (one, two) = (all[1].clone(), all[2].clone());
    all[2] = format!("{}{}", &two[..two.len() - 130], &one[one.len() - 130..]);
    write_lines(&path, &all);
    assert!(broken(dir.path()).contains("entry 2 is not signed by the key it names"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_changed_byte_goes_unseen(at in any::<prop::sample::Index>(), flip in 1u8..=255) {
        let dir = log_of(3);
        let path = first_file(dir.path());
        let mut bytes = fs::read(&path).expect("reads");
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        fs::write(&path, &bytes).expect("writes");
        prop_assert!(verify::directory(dir.path(), &trusted()).is_err(), "byte {at}");
        // And the node goes on all the same.
        let log = open(dir.path());
        prop_assert!(log.append(act(9)).is_ok());
    }

    #[test]
    fn no_bytes_make_the_reader_fail(line in ".{0,600}") {
        let _ = Entry::read(&line);
    }
}

#[test]
fn an_unfinished_line_is_cut_off_and_told_of() {
    let dir = log_of(2);
    let path = first_file(dir.path());
    let mut file = File::options().append(true).open(&path).expect("opens");
    file.write_all(b"{\"seq\":3,\"timeMs\":1").expect("writes");
    let log = open(dir.path());
    assert_eq!(log.append(act(4)).expect("written"), 4);
    let all = lines(&path);
    let cut = Entry::read(&all[3]).expect("an entry");
    assert_eq!((cut.act.as_str(), cut.number("bytes")), ("unfinished-entry-cut", Some(19)));
    verify::directory(dir.path(), &trusted()).expect("in order");
}

#[test]
fn a_crash_at_the_very_first_entry_leaves_no_hole() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("audit")).expect("makes");
    for left in ["", "{\"seq\":0,"] {
        fs::write(first_file(dir.path()), left).expect("writes");
        open(dir.path());
        let report = verify::directory(dir.path(), &trusted()).expect("in order");
        assert_eq!((report.entries, report.acts.get("log-opened")), (1, Some(&1)));
    }
}

#[test]
fn a_damaged_log_goes_on_in_a_new_file_that_says_so() {
    let dir = log_of(4);
    let path = first_file(dir.path());
    let text = fs::read_to_string(&path).expect("text").replace("caller 3", "caller 7");
    fs::write(&path, &text).expect("writes");
    let log = open(dir.path());
    log.append(act(5)).expect("written");
    assert_eq!(fs::read_to_string(&path).expect("text"), text, "left as evidence");
    let second = lines(&dir.path().join("audit/00000002.jsonl"));
    let first: Value = serde_json::from_str(&second[0]).expect("JSON");
    assert_eq!((&first["act"], &first["after"]), (&json!("log-continued"), &json!("00000001.jsonl")));
    assert!(first["damage"].as_str().is_some_and(|d| d.contains("changed")), "{first}");
    assert!(broken(dir.path()).contains("entry 3"), "the damage stays to be found");
}

#[test]
fn a_log_cut_off_while_the_node_runs_is_noticed_at_the_next_entry() {
    let dir = log_of(0);
    let log = open(dir.path());
    for i in 1..4 {
        log.append(act(i)).expect("written");
    }
    let path = first_file(dir.path());
    let kept = lines(&path)[..2].to_vec();
    write_lines(&path, &kept);
    log.append(act(4)).expect("written");
    let second = lines(&dir.path().join("audit/00000002.jsonl"));
    assert!(second[0].contains("\"damage\":\"00000001.jsonl had"), "{}", second[0]);
    assert!(broken(dir.path()).contains("are missing"));
}

#[test]
fn two_processes_append_in_turn() {
    let dir = log_of(0);
    let (node, command) = (open(dir.path()), open(dir.path()));
    for i in 0..10 {
        assert_eq!(node.append(act(i)).expect("written"), 2 * i as u64 + 1);
        assert_eq!(command.append(act(i)).expect("written"), 2 * i as u64 + 2);
    }
    let many: Vec<_> = (0..4)
        .map(|_| {
            let log = open(dir.path());
            std::thread::spawn(move || {
                for i in 0..25 {
                    log.append(act(i)).expect("written");
                }
            })
        })
        .collect();
    many.into_iter().for_each(|t| t.join().expect("no panic"));
    assert_eq!(verify::directory(dir.path(), &trusted()).expect("in order").entries, 121);
}

/// A log with small files, so that it is soon rotated.
fn rotating(dir: &Path, keep_days: u32) -> AuditLog {
    let config = AuditConfig { max_file_mib: 1, keep_days, anchor_seconds: None };
    AuditLog::open(dir, key(1), &config).expect("a log")
}

fn fill(log: &AuditLog, entries: usize) {
    let long = "x".repeat(60_000);
    for _ in 0..entries {
        log.append(Act::new("administration").with("params", long.as_str())).expect("written");
    }
}

#[test]
fn files_follow_each_other_and_a_missing_one_is_found() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = rotating(dir.path(), 0);
    fill(&log, 60);
    let other = rotating(dir.path(), 0);
    other.append(act(1)).expect("written");
    log.append(act(2)).expect("the newer file is found");
    let files = listed(dir.path()).expect("files");
    assert!(files.len() >= 4, "{files:?}");
    let report = verify::directory(dir.path(), &trusted()).expect("in order");
    assert_eq!(report.entries, 60 + 2 + 1 + 2 * (files.len() as u64 - 1));
    let aside = |i: usize, test: &dyn Fn(&str)| {
        let away = dir.path().join("away");
        fs::rename(&files[i].1, &away).expect("moves");
        test(&broken(dir.path()));
        fs::rename(&away, &files[i].1).expect("moves back");
    };
    aside(0, &|e| assert!(e.contains("entries 0 to") && e.contains("no entry says that they were removed"), "{e}"));
    aside(1, &|e| assert!(e.contains("00000002.jsonl is missing"), "{e}"));
    aside(files.len() - 1, &|e| assert!(e.contains("is missing: entries after"), "{e}"));
    verify::directory(dir.path(), &trusted()).expect("in order again");
}

#[test]
fn old_files_are_removed_with_an_entry_that_says_what_they_held() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("audit")).expect("makes");
    // Written forty days ago.
    let then = crate::clock::wall_ms() - 40 * 86_400_000;
    let mut head = None;
    let mut old = String::new();
    for act in [Act::new("log-opened"), act(1), Act::new("log-closed").with("next", "00000002.jsonl")] {
        let (line, next) = entry::write(head, then, &act, &key(1));
        head = Some(next);
        old += &format!("{line}\n");
    }
    fs::write(first_file(dir.path()), old).expect("writes");
    let log = rotating(dir.path(), 30);
    fill(&log, 20);
    assert!(!first_file(dir.path()).exists(), "it is too old");
    let report = verify::directory(dir.path(), &trusted()).expect("in order without it");
    assert_eq!((report.first, report.removed), (3, 1));
    let files = listed(dir.path()).expect("files");
    assert!(files.len() >= 2, "newer ones are kept: {files:?}");
}

#[test]
fn the_log_of_an_earlier_version_is_kept_and_bound() {
    let dir = tempfile::tempdir().expect("a directory");
    let old = dir.path().join(OLD_FILE);
    fs::write(&old, "{\"act\":\"reset-record\",\"reason\":\"burnt\"}\n").expect("writes");
    open(dir.path());
    verify::directory(dir.path(), &trusted()).expect("in order");
    let opened = Entry::read(&lines(&first_file(dir.path()))[0]).expect("an entry");
    assert_eq!(opened.fields["earlierLog"]["lines"], json!(1));
    fs::write(&old, "{\"act\":\"reset-record\",\"reason\":\"lost\"}\n").expect("writes");
    assert!(broken(dir.path()).contains("not what entry 0 says it was"));
    fs::remove_file(&old).expect("removes");
    assert!(broken(dir.path()).contains("cannot be read"));
}

#[test]
fn a_new_key_takes_over_by_the_word_of_both() {
    let dir = log_of(1);
    let old = open(dir.path());
    old.hand_over(&key(2), "rotated").expect("written");
    let new = AuditLog::open(dir.path(), key(2), &AuditConfig::default()).expect("a log");
    new.append(act(5)).expect("written");
    for trusted in [key(1), key(2)] {
        let report = verify::directory(dir.path(), &[trusted.public_key()]).expect("either vouches for the other");
        assert_eq!(report.keys.len(), 2);
    }
    let third = AuditLog::open(dir.path(), key(3), &AuditConfig::default()).expect("a log");
    third.append(act(6)).expect("written");
    for trusted in [key(1), key(2)] {
        let error = verify::directory(dir.path(), &[trusted.public_key()]).expect_err("a stranger").to_string();
        assert!(error.contains("name it with --key"), "{error}");
    }
    let both = [key(2).public_key(), key(3).public_key()];
    verify::directory(dir.path(), &both).expect("named");
}

#[test]
fn what_cannot_be_written_is_refused_and_counted_later() {
    let dir = log_of(1);
    let log = open(dir.path());
    let folder = dir.path().join("audit");
    let away = dir.path().join("away");
    fs::rename(&folder, &away).expect("moves");
    fs::write(&folder, "no folder").expect("writes");
    for _ in 0..3 {
        assert!(matches!(log.append(act(2)), Err(AuditError::Write { .. })));
    }
    assert!(log.is_failing());
    fs::remove_file(&folder).expect("removes");
    fs::rename(&away, &folder).expect("moves back");
    log.probe();
    assert!(!log.is_failing());
    let all = lines(&first_file(dir.path()));
    let last = Entry::read(all.last().expect("entries")).expect("an entry");
    assert_eq!((last.act.as_str(), last.number("entriesLostBefore")), ("log-writable-again", Some(3)));
    verify::directory(dir.path(), &trusted()).expect("in order");
}

#[test]
fn an_operators_act_needs_a_reason_and_says_who_it_was() {
    for reason in ["", "  ", &"x".repeat(501)] {
        assert!(matches!(Act::of_operator("reset-record", reason), Err(AuditError::Reason)));
    }
    let act = Act::of_operator("reset-record", " two disks\nlost ").expect("good");
    assert_eq!(act.details["reason"], json!("two disks\nlost"));
    assert_eq!(act.details["uid"], json!(rustix::process::getuid().as_raw()));
}

#[test]
fn a_too_long_entry_is_refused_and_nothing_else_suffers() {
    let dir = log_of(1);
    let log = open(dir.path());
    let long = log.append(Act::new("administration").with("params", "x".repeat(70_000)));
    assert!(matches!(long, Err(AuditError::TooLong(_))));
    assert!(!log.is_failing());
    log.append(act(2)).expect("written");
    verify::directory(dir.path(), &trusted()).expect("in order");
}

#[test]
fn the_first_read_of_a_minute_is_written_down_and_the_others_are_counted() {
    let dir = log_of(0);
    let log = open(dir.path());
    let reads = Reads::default();
    for _ in 0..500 {
        reads.note(&log, "the API key \"audit\"", None, "debug_traceTransaction").expect("written");
    }
    reads.note(&log, "the API key \"other\"", None, "debug_traceTransaction").expect("written");
    reads.flush(&log, false);
    assert_eq!(lines(&first_file(dir.path())).len(), 3, "the minute is not over");
    reads.flush(&log, true);
    let all = lines(&first_file(dir.path()));
    let last = Entry::read(&all[3]).expect("an entry");
    assert_eq!((last.act.as_str(), last.number("count")), ("sensitive-reads", Some(499)));
    assert_eq!(all.len(), 4, "who has read once is not told of twice");
}

#[test]
fn what_is_told_is_written_in_order_and_what_finds_no_room_is_counted() {
    let dir = log_of(0);
    let teller = Teller::start(Arc::new(open(dir.path()))).expect("a thread");
    let told = (0..2_000).filter(|i| teller.tell(act(*i))).count();
    teller.flush(std::time::Duration::from_secs(60));
    teller.tell(act(9));
    teller.flush(std::time::Duration::from_secs(60));
    let all: Vec<Entry> = lines(&first_file(dir.path())).iter().map(|l| Entry::read(l).expect("good")).collect();
    assert_eq!(all.len(), told + 2);
    let left_out: u64 = all.iter().filter_map(|e| e.number("leftOutBefore")).sum();
    assert_eq!(left_out, 2_000 - told as u64, "every one is accounted for");
}

/// A log with anchors of nonces 0 to 2, each as the chain has it.
fn anchored() -> (tempfile::TempDir, Vec<(Anchor, OnChain)>) {
    let dir = log_of(3);
    let log = open(dir.path());
    for nonce in 0..3u64 {
        log.append_after(|_| {
            let hash = hex::encode([nonce as u8 + 1; 32]);
            Ok(Act::new(anchor::ACT).with("nonce", nonce).with("transaction", hash))
        })
        .expect("written");
        log.append(act(7)).expect("written");
    }
    let report = verify::directory(dir.path(), &trusted()).expect("in order");
    let chain = report.anchors.iter().map(|a| {
        let (from, to) = (key(1).public_key().address(), Some(anchor::ADDRESS));
        (*a, OnChain { height: Some(5), from, to, input: anchor::payload(a.head) })
    });
    (dir, chain.collect())
}

#[test]
fn an_end_that_was_cut_off_is_found_by_the_chain() {
    let (dir, chain) = anchored();
    let account = key(1).public_key().address();
    let sent = BTreeMap::from([(account, 3)]);
    let compare = || {
        let report = verify::directory(dir.path(), &trusted()).expect("in order by itself");
        report.anchors.iter().try_for_each(|a| {
            let found = chain.iter().find(|(k, _)| k.transaction == a.transaction).map(|(_, c)| c);
            anchor::check(a, found).map(drop)
        })?;
        anchor::check_complete(&report.anchors, &sent, report.first, report.removed > 0)
    };
    assert_eq!(compare(), Ok(()));
    let path = first_file(dir.path());
    let all = lines(&path);
    // Up to the newest anchor nothing can be missed.
    write_lines(&path, &all[..all.len() - 1]);
    assert_eq!(compare(), Ok(()), "behind the newest anchor the chain knows nothing");
    write_lines(&path, &all[..all.len() - 2]);
    assert_eq!(compare(), Err(AnchorError::Missing { account, nonce: 2, first: 0 }));
    write_lines(&path, &all[..1]);
    assert_eq!(compare(), Err(AnchorError::Missing { account, nonce: 0, first: 0 }));
}

#[test]
fn a_log_written_anew_by_a_thief_of_the_key_is_found_by_the_chain() {
    let (dir, chain) = anchored();
    let path = first_file(dir.path());
    let mut head = None;
    let forged = lines(&path).into_iter().map(|line| {
        let old = Entry::read(&line).expect("good");
        let kind = if old.act == anchor::ACT { anchor::ACT } else { "administration" };
        let mut act = Act::new(kind).with("principal", "nobody");
        for field in ["nonce", "transaction"] {
            act = old.fields.get(field).into_iter().fold(act, |act, v| act.with(field, v.clone()));
        }
        let (line, next) = entry::write(head, old.time_ms, &act, &key(1));
        head = Some(next);
        line
    });
    let forged: Vec<String> = forged.collect();
    write_lines(&path, &forged);
    let report = verify::directory(dir.path(), &trusted()).expect("by itself it looks good");
    let (first, on_chain) = (&report.anchors[0], &chain[0].1);
    assert_eq!(
        anchor::check(first, Some(on_chain)),
        Err(AnchorError::Other { seq: 3, transaction: B256::repeat_byte(1) })
    );
}

#[test]
fn an_anchor_that_is_in_no_block_is_no_fault() {
    let (_dir, chain) = anchored();
    let (known, found) = &chain[0];
    assert_eq!(anchor::check(known, None), Ok(false));
    assert_eq!(anchor::check(known, Some(&OnChain { height: None, ..found.clone() })), Ok(false));
    assert_eq!(anchor::check(known, Some(found)), Ok(true));
    let elsewhere = OnChain { to: None, ..found.clone() };
    assert!(anchor::check(known, Some(&elsewhere)).is_err());
}
