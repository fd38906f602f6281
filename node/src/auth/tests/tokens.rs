//! Tokens: what is taken, and every way around that is known.

use std::{fs, sync::Arc};

use ring::{
    hmac,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use serde_json::{Value, json};

use super::{super::*, Fixture, showing};

/// Public key of a key pair that nobody has any more.
const RSA: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAyOY4Dczg5QQq+3eFusNm
9l8PbFNA1Yu0rH+TvgxbzJ7cU9mYqF/dKhgrAg3XTGNX3QukxdEZa0/K5HmlWe7L
VycuzMJn6xtMqhUrma9XtAUQH4CORU8dFut2nydJvGXbNilG6FgViq+0pmpKaeTe
KP6/9Q5D5sCcYWyNbuNDUDUGXi9rMgo2Tzrh+bL2dNOkekh3KnYc7Gr8Wf4tvWo6
rStB+6WVBTrL/i+/dZSwt+UevumEt4LZ7iBlJq8LbdgRSUxGc2saDr1bC8QHdBbe
ctgcpKxvprDLYu6OpTyW2sm+zq3YoJvF3ZuECryC/w3oOWaUIugAgVbIrb8A6rK2
vQIDAQAB
-----END PUBLIC KEY-----
";
/// Made with it by openssl: desk, reader, until 2100.
const RS256: &str = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJkZXNrIiwicm9sZXMiOlsicmVhZGVyIl0sImV4cCI6NDEwMjQ0NDgwMH0.U8Ui_cqV5cXE2svjxxHZwWK17FkaBKcJ-TZ7niSHWF6Xv1dwZUQAR4pVLEN-dX-LfP5DmdCCLo81jLyBL9PafPL0AuDVHdMa6xw4mDbjX2TK7H8kHLAnEBG_-vPMrI8oYTwG9J3UgKpXCC3YaLZQPAZZhnH-PWOXah_Ao87yr6oBhuEkYH_EG74gWAZI4_dQRBGK2gALZzV-xRM4zt_spWIR9xKoGr8UidPU8c10ytaG0l87g46_LIGYbl7cWhcPDXklTTrteDma4ZjzGswcEikq-wgiC8JEy9p3QM_yiCwM3GfDfrRrSZBh3j3WRrifOXYc2BxSCPU3vOxrzmioUQ";
const SHORT_RSA: &str = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDWP5YpheGit1uRKG33vNMrFoVf
NiyVwYlv+6l1BJDPetXslOmH+Ey9WdWTBkz7aBJvwyB2mj+z7IYRAv9SS1WS/ukR
7lWnrYPQcicUODvTkY7Gld2vZOPajxWgx3jXod0W6hnj7m8TVeBiq+VHV7EhIeQD
jP58yNg2/la90bVHoQIDAQAB
-----END PUBLIC KEY-----
";
const P256: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEikTDC9+vB5thLPjntADMC0yk1v0P
0tKP35yCyXtiJupdULNAsDrqBXOnkZEiBs3KymXW11krUMhvMa2QftcQBQ==
-----END PUBLIC KEY-----
";
const SECRET: [u8; 32] = [0x42; 32];

fn now() -> u64 {
    crate::clock::wall_ms() / 1000
}

/// Base64 of URLs without padding, as tokens have it (RFC 7515).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let digits = bytes.chunks(3).flat_map(|chunk| {
        let word = chunk.iter().enumerate().fold(0u32, |w, (i, b)| w | u32::from(*b) << (16 - 8 * i));
        (0..=chunk.len()).map(move |i| char::from(DIGITS[(word >> (18 - 6 * i)) as usize & 63]))
    });
    digits.collect()
}

fn token(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", base64(header.to_string().as_bytes()), base64(claims.to_string().as_bytes()));
    format!("{signed}.{}", base64(&sign(signed.as_bytes())))
}

fn by_secret(secret: &[u8]) -> impl FnOnce(&[u8]) -> Vec<u8> {
    move |m| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), m).as_ref().to_vec()
}

fn hs256(claims: &Value) -> String {
    token(&json!({ "alg": "HS256", "typ": "JWT" }), claims, by_secret(&SECRET))
}

fn claims() -> Value {
    json!({ "sub": "desk", "roles": ["reader", "submitter"], "exp": now() + 60 })
}

fn pem(info: &[u8]) -> String {
    // Of PEM's base64 only the digits differ.
    let text = base64(info).replace('-', "+").replace('_', "/");
    let text = format!("{text}{}", "=".repeat((4 - text.len() % 4) % 4));
    format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
}

struct Signers {
    fixture: Fixture,
    ed25519: Ed25519KeyPair,
    ed25519_pem: String,
}

impl Signers {
    fn new() -> Self {
        let fixture = Fixture::new();
        let ed25519 = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a seed");
        let prefix = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
        let ed25519_pem = pem(&[&prefix, ed25519.public_key().as_ref()].concat());
        fs::write(fixture.path("secret"), hex::encode(SECRET) + "\n").expect("written");
        fs::write(fixture.path("rsa"), RSA).expect("written");
        fs::write(fixture.path("ed25519"), &ed25519_pem).expect("written");
        Self { fixture, ed25519, ed25519_pem }
    }

    fn config(&self) -> AuthConfig {
        let f = &self.fixture;
        AuthConfig {
            jwt_secret_file: Some(f.path("secret")),
            jwt_public_keys: vec![f.path("rsa"), f.path("ed25519")],
            failures_per_minute: 1_000,
            ..AuthConfig::default()
        }
    }

    fn open(&self) -> Arc<Auth> {
        self.fixture.open(self.config())
    }
}

fn refused(auth: &Auth, token: &str) -> Denied {
    auth.authenticate(&showing(token)).expect_err(token)
}

#[test]
fn tokens_by_each_algorithm_carry_subject_and_roles() {
    let signers = Signers::new();
    let auth = signers.open();
    let eddsa = token(&json!({ "alg": "EdDSA" }), &claims(), |m| signers.ed25519.sign(m).as_ref().to_vec());
    for (name, token, submits) in
        [("HS256", hs256(&claims()), true), ("EdDSA", eddsa, true), ("RS256", RS256.into(), false)]
    {
        let known = auth.authenticate(&showing(&token)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(known.who, Who::Token("desk".into()), "{name}");
        assert!(auth.authorise(&known, "eth_call").is_ok() && auth.authorise(&known, "admin_peers").is_err(), "{name}");
        assert_eq!(auth.authorise(&known, "eth_sendRawTransaction").is_ok(), submits, "{name}");
        assert!(auth.holds(&known).is_ok());
        let last = if token.ends_with('A') { 'Q' } else { 'A' };
        let changed = format!("{}{last}", &token[..token.len() - 1]);
        assert!(auth.authenticate(&showing(&changed)).is_err(), "{name}");
    }
}

#[test]
fn no_algorithm_but_a_keys_own_is_taken() {
    let signers = Signers::new();
    let auth = signers.open();
    for none in ["none", "None", "NONE", "nOnE", ""] {
        for signature in [&b""[..], b"x"] {
            let denied = refused(&auth, &token(&json!({ "alg": none }), &claims(), |_| signature.to_vec()));
            assert!(matches!(denied, Denied::Malformed(_)), "{none}: {denied}");
        }
    }
    let unsigned = hs256(&claims()).rsplit_once('.').expect("parts").0.to_owned();
    assert!(matches!(refused(&auth, &unsigned), Denied::Malformed(_)));
    assert_eq!(refused(&auth, &format!("{unsigned}.")), Denied::Wrong);
    // The public keys, which everybody has, as the shared secret: as files have them, and as their bytes.
    let raw = signers.ed25519.public_key().as_ref();
    for secret in [RSA.as_bytes(), RSA.trim().as_bytes(), signers.ed25519_pem.as_bytes(), raw] {
        let header = json!({ "alg": "HS256" });
        assert_eq!(refused(&auth, &token(&header, &claims(), by_secret(secret))), Denied::Wrong);
    }
    // Without a shared secret HS256 is not taken, whatever it is signed with.
    let public_only = signers.fixture.open(AuthConfig { jwt_secret_file: None, ..signers.config() });
    for secret in [RSA.as_bytes(), raw, b""] {
        assert_eq!(
            refused(&public_only, &token(&json!({ "alg": "HS256" }), &claims(), by_secret(secret))),
            Denied::Wrong
        );
    }
    for alg in ["HS384", "HS512", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA", "RS256"] {
        let denied = refused(&auth, &token(&json!({ "alg": alg }), &claims(), by_secret(&SECRET)));
        assert_eq!(denied, Denied::Wrong, "{alg}");
    }
    // Keys that a token brings along are not looked at.
    let brought = json!({ "alg": "HS256", "jwk": { "kty": "oct", "k": base64(b"mine") }, "kid": "/dev/null" });
    assert_eq!(refused(&auth, &token(&brought, &claims(), by_secret(b"mine"))), Denied::Wrong);
    let critical = json!({ "alg": "HS256", "crit": ["b64"], "b64": false });
    assert!(matches!(refused(&auth, &token(&critical, &claims(), by_secret(&SECRET))), Denied::Claims(_)));
}

#[test]
fn claims_are_required_and_judged_with_the_stated_leeway() {
    let signers = Signers::new();
    let auth = signers.open();
    let with = |name: &str, value: Value| {
        let mut all = claims();
        all[name] = value;
        hs256(&all)
    };
    let without = |name: &str| {
        let mut all = claims();
        all.as_object_mut().expect("an object").remove(name);
        hs256(&all)
    };
    for name in ["sub", "roles", "exp"] {
        assert!(matches!(refused(&auth, &without(name)), Denied::Claims(_)), "{name}");
        assert!(matches!(refused(&auth, &with(name, Value::Null)), Denied::Claims(_)), "{name}");
    }
    let claims_of = [
        with("roles", json!([])),
        with("roles", json!(["king"])),
        with("roles", json!("administrator")),
        with("sub", json!("")),
        with("sub", json!("a\nb")),
        with("exp", json!("never")),
        with("nbf", json!(now() + 120)),
        with("iat", json!(now() + 120)),
    ];
    for token in claims_of {
        let denied = refused(&auth, &token);
        assert!(matches!(denied, Denied::Claims(_)), "{denied}");
    }
    assert_eq!(refused(&auth, &with("exp", json!(now() - 60))), Denied::Expired);
    assert_eq!(refused(&auth, &with("exp", json!(0))), Denied::Expired);
    for near in [with("exp", json!(now() - 10)), with("nbf", json!(now() + 10)), with("iat", json!(now() + 10))] {
        assert!(auth.authenticate(&showing(&near)).is_ok(), "within 30 seconds");
    }
    for far in [json!(1.5e18), json!(u64::MAX), json!(now() as f64 + 60.5)] {
        assert!(auth.authenticate(&showing(&with("exp", far))).is_ok());
    }
    for odd in [json!(-1), json!(-1.5), json!(true), json!([now() + 60])] {
        let denied = refused(&auth, &with("exp", odd));
        assert!(matches!(denied, Denied::Claims(_) | Denied::Expired), "{denied}");
    }
    let long = with("sub", json!("x".repeat(9_000)));
    assert!(matches!(refused(&auth, &long), Denied::Malformed(_)));
}

#[test]
fn audience_and_issuer_are_asked_for_where_they_are_set() {
    let signers = Signers::new();
    let config = AuthConfig { jwt_audience: vec!["basalt".into()], jwt_issuer: vec!["idp".into()], ..signers.config() };
    let auth = signers.fixture.open(config);
    let with = |aud: Value, iss: Value| {
        let mut all = claims();
        (all["aud"], all["iss"]) = (aud, iss);
        hs256(&all)
    };
    for aud in [json!("basalt"), json!(["other", "basalt"])] {
        assert!(auth.authenticate(&showing(&with(aud, json!("idp")))).is_ok());
    }
    let wrong = [
        hs256(&claims()),
        with(json!("other"), json!("idp")),
        with(json!("basalt"), json!("me")),
        with(Value::Null, json!("idp")),
        with(json!("basalt"), Value::Null),
    ];
    for token in wrong {
        assert!(matches!(refused(&auth, &token), Denied::Claims(_)));
    }
    let auth = signers.open();
    assert!(auth.authenticate(&showing(&with(json!("anything"), json!("anyone")))).is_ok(), "not asked for");
}

#[test]
fn keys_that_are_no_good_are_refused_when_they_are_read() {
    let signers = Signers::new();
    let open = |config: AuthConfig| {
        let reporter = super::Reporter::new(signers.fixture.metrics.clone(), None);
        Auth::open(config, reporter).expect_err("refused").to_string()
    };
    let path = signers.fixture.path("bad");
    for bad in [
        "",
        "00",
        "not hexadecimal at all, but long enough to be taken for a secret of some kind",
        &hex::encode([1; 31]),
    ] {
        fs::write(&path, bad).expect("written");
        let error = open(AuthConfig { jwt_secret_file: Some(path.clone()), ..AuthConfig::default() });
        assert!(
            error.contains("64 hexadecimal digits") && (bad.is_empty() || !error.contains(&format!(": {bad}"))),
            "{error}"
        );
    }
    for (bad, expected) in [
        (SHORT_RSA, "2048 bits"),
        (P256, "neither an RSA nor an Ed25519"),
        ("x", "no public key"),
        (&pem(b"x"), "damaged"),
    ] {
        fs::write(&path, bad).expect("written");
        let error = open(AuthConfig { jwt_public_keys: vec![path.clone()], ..AuthConfig::default() });
        assert!(error.contains(expected), "{error}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_shown_is_refused_without_a_panic(text in "\\PC{0,200}", cut in 0usize..400, byte in 0u8..128) {
        let signers = Signers::new();
        let auth = signers.open();
        let good = hs256(&claims());
        let mut changed = good.clone().into_bytes();
        let at = cut % changed.len();
        changed[at] = byte;
        let changed = String::from_utf8(changed).expect("ASCII");
        for shown in [&text, &format!("basalt_{text}"), &format!("{text}.{text}.{text}"), &good[..at].to_owned()] {
            proptest::prop_assert!(auth.authenticate(&showing(shown)).is_err());
        }
        // The last digit of base64 has bits that do not count.
        let same = changed == good || at + 1 == good.len();
        proptest::prop_assert!(same || auth.authenticate(&showing(&changed)).is_err(), "{}", changed);
    }
}
