//! API keys, certificates by name, limits, the audit log.

use std::{
    fs,
    time::{Duration, Instant},
};

use super::{super::*, Fixture, STRANGER, showing};

/// A file that is being written, once it has so many lines.
/// The first file of the audit log.
const LOG: &str = "audit/00000001.jsonl";

fn written(path: &std::path::Path, lines: usize) -> String {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let text = fs::read_to_string(path).unwrap_or_default();
        if text.lines().count() == lines && text.ends_with('\n') {
            return text;
        }
        assert!(Instant::now() < end, "{text}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_key_is_known_by_its_whole_secret_only() {
    let mut f = Fixture::new();
    let secret = f.key("ops-1", &[Role::Operator], |_| ());
    let other = f.key("app", &[Role::Reader], |_| ());
    let auth = f.open(AuthConfig { failures_per_minute: 100, ..f.config() });
    let known = auth.authenticate(&showing(&secret)).expect("known");
    assert_eq!((known.who, known.address), (Who::Key("ops-1".into()), Some(STRANGER)));
    let digits = |s: &str| s.rsplit_once('_').expect("digits").1.to_owned();
    let last = if secret.ends_with('0') { "1" } else { "0" };
    let wrong = [
        format!("{}{last}", &secret[..secret.len() - 1]),
        format!("basalt_ops-1_{}", digits(&other)),
        format!("basalt_nobody_{}", digits(&secret)),
        format!("basalt_ops-1_{}", "0".repeat(64)),
    ];
    for secret in wrong {
        assert_eq!(auth.authenticate(&showing(&secret)).expect_err("refused"), Denied::Wrong, "{secret}");
    }
    let hash = f.file.keys[0].secret_sha256.clone();
    assert_eq!(auth.authenticate(&showing(&format!("basalt_ops-1_{hash}"))).expect_err("refused"), Denied::Wrong);
    for text in ["basalt_", "basalt_ops-1", "basalt_ops-1_", "basalt_OPS_00", "basalt_ops-1_zz", "", "x", "a.b.c"] {
        let denied = auth.authenticate(&showing(text)).expect_err("refused");
        assert!(matches!(denied, Denied::Malformed(_)), "{text}: {denied}");
    }
    assert_eq!(auth.authenticate(&Shown::default()).expect_err("refused"), Denied::Missing);
}

#[test]
fn a_change_of_the_file_is_in_force_for_those_who_are_connected_as_well() {
    let mut f = Fixture::new();
    let secret = f.key("a", &[Role::Administrator], |_| ());
    let auth = f.open(f.config());
    let known = auth.authenticate(&showing(&secret)).expect("known");
    assert_eq!(auth.authorise(&known, "admin_addPeer"), Ok(()));
    f.file.keys[0].roles = vec![Role::Reader];
    f.write();
    auth.refresh();
    let denied = auth.authorise(&known, "admin_addPeer").expect_err("refused");
    assert_eq!(
        denied.to_string(),
        "the API key \"a\" may not call admin_addPeer: it needs the role administrator; ask the node's operator for it"
    );
    fs::write(f.path("keys.toml"), "[[key]]\nid = 3").expect("written");
    auth.refresh();
    assert_eq!(auth.authorise(&known, "eth_call"), Ok(()), "a damaged file changes nothing");
    f.file.keys.clear();
    // The same id with another secret is another key.
    f.key("a", &[Role::Administrator], |_| ());
    auth.refresh();
    assert_eq!((auth.authorise(&known, "eth_call"), auth.holds(&known)), (Err(Denied::Expired), Err(Denied::Expired)));
    assert_eq!(auth.authenticate(&showing(&secret)).expect_err("refused"), Denied::Wrong);
}

#[test]
fn a_key_ends_and_may_be_for_some_methods_only() {
    let mut f = Fixture::new();
    let now = crate::clock::wall_ms() / 1000;
    let old = f.key("old", &[Role::Reader], |k| k.expires = Some(now));
    let narrow = f.key("narrow", &[Role::Reader], |k| k.allow = vec!["net".into(), "eth_call".into()]);
    let auth = f.open(f.config());
    assert_eq!(auth.authenticate(&showing(&old)).expect_err("refused"), Denied::Expired);
    let narrow = auth.authenticate(&showing(&narrow)).expect("known");
    for (method, allowed) in [("eth_call", true), ("net_version", true), ("eth_chainId", false), ("metrics", false)] {
        assert_eq!(auth.authorise(&narrow, method).is_ok(), allowed, "{method}");
    }
    assert!(matches!(auth.authorise(&narrow, "eth_sendRawTransaction"), Err(Denied::Role { .. })));
}

#[test]
fn certificates_have_the_roles_of_their_name() {
    let mut f = Fixture::new();
    f.file.certificates.push(keys::CertificateEntry {
        name: "gateway".into(),
        roles: vec![Role::Submitter],
        allow: Vec::new(),
        rate_per_second: None,
        burst: None,
    });
    f.write();
    let show = |name| Shown { certificate: Some(name), ..Shown::default() };
    let auth = f.open(f.config());
    let gateway = auth.authenticate(&show("gateway")).expect("known");
    assert_eq!(gateway.who, Who::Certificate("gateway".into()));
    assert!(auth.authorise(&gateway, "eth_sendRawTransaction").is_ok());
    assert!(auth.authorise(&gateway, "monitor_addWebhook").is_err());
    assert_eq!(auth.authenticate(&show("other")).expect_err("refused"), Denied::Missing);
    let auth = f.open(AuthConfig { certificate_roles: vec![Role::Reader], ..f.config() });
    assert!(auth.authorise(&auth.authenticate(&show("other")).expect("known"), "eth_call").is_ok());
}

#[test]
fn a_rate_is_of_the_key_and_says_when_to_try_again() {
    let mut f = Fixture::new();
    let slow = f.key("slow", &[Role::Reader], |k| (k.rate_per_second, k.burst) = (Some(1), Some(3)));
    let free = f.key("free", &[Role::Reader], |_| ());
    let auth = f.open(f.config());
    let (slow, free) = (auth.authenticate(&showing(&slow)), auth.authenticate(&showing(&free)));
    let (slow, free) = (slow.expect("known"), free.expect("known"));
    let (granted, denied) = auth.take(&slow, 5);
    let denied = denied.expect("beyond the burst");
    assert!(granted == 3 && denied.retry_ms().is_some_and(|ms| (1..=1_000).contains(&ms)), "{denied}");
    assert!(denied.to_string().starts_with("limit exceeded: the API key \"slow\" may send 1 requests per second"));
    assert_eq!(auth.take(&free, 100_000), (100_000, None));
    let config = AuthConfig { anonymous: vec![Role::Reader], rate_per_second: Some(2), ..f.config() };
    let auth = f.open(config);
    let from = |last| Shown { address: Some([192, 0, 2, last].into()), ..Shown::default() };
    for last in [1, 2] {
        let stranger = auth.authenticate(&from(last)).expect("anybody");
        assert_eq!(auth.take(&stranger, 9).0, 4, "each address its own, twice the rate at once");
    }
}

#[test]
fn guessing_from_one_address_is_cut_short_and_what_is_right_still_passes() {
    let mut f = Fixture::new();
    let secret = f.key("a", &[Role::Reader], |_| ());
    let auth = f.open(AuthConfig { failures_per_minute: 3, ..f.config() });
    let guess = format!("basalt_a_{}", "1".repeat(64));
    for _ in 0..3 {
        assert_eq!(auth.authenticate(&showing(&guess)).expect_err("refused"), Denied::Wrong);
    }
    for _ in 0..50 {
        let denied = auth.authenticate(&showing(&guess)).expect_err("refused");
        assert!(matches!(denied, Denied::TooMany { retry_ms: 1..=20_000 }), "{denied}");
    }
    assert!(auth.authenticate(&showing(&secret)).is_ok());
    let elsewhere = Shown { address: Some([198, 51, 100, 1].into()), ..showing(&guess) };
    assert_eq!(auth.authenticate(&elsewhere).expect_err("refused"), Denied::Wrong);
    let metrics = f.metrics.encode();
    assert!(metrics.contains("basalt_auth_failures_total{reason=\"wrong\"} 4"), "{metrics}");
    assert!(metrics.contains("basalt_auth_failures_total{reason=\"too_many\"} 50"), "{metrics}");
}

#[test]
fn refusals_are_in_the_audit_log_without_the_secret() {
    let mut f = Fixture::new();
    let secret = f.key("a", &[Role::Reader], |_| ());
    let auth = f.open(f.config());
    let reader = auth.authenticate(&showing(&secret)).expect("known");
    let wrong = secret.replace("basalt_a_", "basalt_b_");
    auth.authenticate(&showing(&wrong)).expect_err("refused");
    auth.authorise(&reader, "admin_addPeer").expect_err("refused");
    let path = f.path(LOG);
    let lines = written(&path, 3);
    let entries: Vec<serde_json::Value> =
        lines.lines().skip(1).map(|l| serde_json::from_str(l).expect("JSON")).collect();
    assert_eq!((&entries[0]["act"], &entries[0]["address"]), (&"authentication-failed".into(), &"192.0.2.7".into()));
    assert_eq!((&entries[1]["act"], &entries[1]["method"]), (&"authorisation-refused".into(), &"admin_addPeer".into()));
    assert!(entries[1]["principal"].as_str().is_some_and(|p| p.contains("\"a\"")));
    let digits = secret.rsplit_once('_').expect("digits").1;
    assert!(!lines.contains(digits) && !lines.contains(&f.file.keys[0].secret_sha256));
    assert!(!format!("{auth:?} {reader:?}").contains(digits));
}

#[test]
fn a_keys_file_with_a_mistake_is_refused_and_nothing_of_it_is_told() {
    let f = Fixture::new();
    let hash = "ab".repeat(32);
    let good = format!("[[key]]\nid='a'\nsecret_sha256='{hash}'\nroles=['reader']\n");
    let cases = [
        (good.replace("'a'", "'A'"), "1 to 32 of a-z"),
        (format!("{good}{good}"), "there twice"),
        (good.replace(&hash, &hash[2..]), "64 hexadecimal digits"),
        (good.replace("['reader']", "[]"), "has no roles"),
        (good.replace("reader", "king"), "unknown variant `king`"),
        (format!("{good}allow=['ethh']\n"), "`allow` is no namespace"),
        (format!("{good}burst=3\n"), "a burst needs a rate"),
        (format!("{good}rate_per_second=0\n"), "above 0"),
        (format!("{good}secret='x'\n"), "unknown field `secret`"),
        (good.replace("secret_sha256='", "secret_sha256='\n"), "line"),
        ("[[certificate]]\nname=''\nroles=['reader']".into(), "has no name"),
    ];
    for (text, expected) in cases {
        fs::write(f.path("keys.toml"), &text).expect("written");
        let error = keys::KeysFile::read(&f.path("keys.toml")).expect_err("refused").to_string();
        assert!(error.contains(expected) && !error.contains(&hash), "{text}\n{error}");
    }
    fs::write(f.path("keys.toml"), vec![b'#'; 2 << 20]).expect("written");
    assert!(keys::KeysFile::read(&f.path("keys.toml")).is_err_and(|e| e.to_string().contains("larger")));
}

#[test]
fn settings_that_let_nobody_in_are_refused() {
    let check = |text: &str| toml::from_str::<AuthConfig>(text).expect("settings").check();
    assert!(check("").is_err_and(|(_, problem)| problem.contains("lets nobody in")));
    assert_eq!(check("keys_file='k'"), Ok(()));
    assert_eq!(check("anonymous=['reader']"), Ok(()));
    for bad in ["rate_per_second=0", "burst=1", "failures_per_minute=0", "jwt_leeway_seconds=601", "jwt_issuer=['i']"] {
        assert!(check(&format!("keys_file='k'\n{bad}")).is_err(), "{bad}");
    }
}

#[test]
fn a_rewritten_file_keeps_its_mode_and_a_new_one_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let f = Fixture::new();
    let path = f.path("keys.toml");
    let mode = || fs::metadata(&path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("ours");
    f.write();
    assert_eq!(mode(), 0o640);
}

#[test]
fn a_reason_is_never_too_long_for_the_audit_log() {
    let f = Fixture::new();
    let auth = f.open(f.config());
    let name = "\u{ad}".repeat(64);
    let known = Principal { who: Who::Token(name.into()), ..Principal::default() };
    let denied = Denied::Role { who: known.who.to_string(), method: "eth_call".into(), needs: "x".repeat(200) };
    assert!(denied.to_string().chars().count() > 500);
    auth.reporter.refused(&denied, &known, "eth_call");
    assert!(written(&f.path(LOG), 2).contains("authorisation-refused"));
}
