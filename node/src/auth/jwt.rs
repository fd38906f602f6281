//! Tokens (JWT, RFC 7519): HS256 by a shared secret, RS256 and EdDSA by public keys. Each key has one algorithm, chosen by its
//! kind when it is read; what a token says of its algorithm only chooses among keys, so that none can be used for another.
//!
//! `jsonwebtoken` reads tokens and judges claims; signatures are verified by ring, through the provider below.

use std::{path::Path, sync::Once};

use der::{Decode as _, asn1::BitString, oid::ObjectIdentifier};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Validation,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    errors::{ErrorKind, Result as JwtResult},
    signature,
};
use ring::signature::{ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use rustls::pki_types::{SubjectPublicKeyInfoDer, pem::PemObject as _};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{AuthConfig, AuthError, Denied, Grant, Role, read};

/// Longest token that is read.
const MAX_TOKEN: usize = 8 * 1024;
/// Longest subject.
const MAX_SUBJECT: usize = 128;
/// Least bytes of a shared secret (RFC 7518, section 3.2).
const MIN_SECRET: usize = 32;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ED25519_OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// What we read of a token's claims; `exp` and others are judged by the library.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    roles: Vec<String>,
    /// Seconds, perhaps with a fraction (RFC 7519, section 2).
    exp: f64,
    iat: Option<f64>,
}

/// Those who sign tokens, and what tokens must say.
pub(super) struct Tokens {
    keys: Vec<(Algorithm, DecodingKey)>,
    validation: Validation,
    rate: Option<super::buckets::Rate>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

impl Tokens {
    /// Reads the keys that the configuration names; `None` without any.
    pub fn open(config: &AuthConfig) -> Result<Option<Self>, AuthError> {
        if !config.takes_tokens() {
            return Ok(None);
        }
        install();
        let secret = config.jwt_secret_file.as_deref().map(shared_secret);
        let public = config.jwt_public_keys.iter().map(|p| public_key(p));
        let keys = secret.into_iter().chain(public).collect::<Result<Vec<_>, _>>()?;
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = config.jwt_leeway_seconds;
        validation.validate_nbf = true;
        let mut required = vec!["exp", "sub"];
        if config.jwt_audience.is_empty() {
            validation.validate_aud = false;
        } else {
            validation.set_audience(&config.jwt_audience);
            required.push("aud");
        }
        if !config.jwt_issuer.is_empty() {
            validation.set_issuer(&config.jwt_issuer);
            required.push("iss");
        }
        validation.set_required_spec_claims(&required);
        Ok(Some(Self { keys, validation, rate: config.rate() }))
    }

    /// Subject and grant of a token that holds at this moment.
    pub fn verify(&self, token: &str, now_s: u64) -> Result<(String, Grant), Denied> {
        if token.len() > MAX_TOKEN {
            return Err(Denied::Malformed("the token is longer than 8 KiB"));
        }
        let malformed =
            |_| Denied::Malformed("it is neither an API key of Basalt nor a token (JWT) by HS256, RS256 or EdDSA");
        let header = jsonwebtoken::decode_header(token).map_err(malformed)?;
        // Extensions that must be understood, and are not (RFC 7515, section 4.1.11).
        if header.crit.is_some() {
            return Err(Denied::Claims("it asks for extensions (crit) that are not known here"));
        }
        let mut validation = self.validation.clone();
        validation.algorithms = vec![header.alg];
        for (_, key) in self.keys.iter().filter(|(algorithm, _)| *algorithm == header.alg) {
            match jsonwebtoken::decode::<Claims>(token, key, &validation) {
                Ok(data) => return self.grant(data.claims, now_s),
                Err(e) => match e.kind() {
                    ErrorKind::InvalidSignature => {}
                    kind => return Err(denied(kind)),
                },
            }
        }
        Err(Denied::Wrong)
    }

    fn grant(&self, claims: Claims, now_s: u64) -> Result<(String, Grant), Denied> {
        if claims.sub.is_empty() || claims.sub.len() > MAX_SUBJECT || claims.sub.chars().any(char::is_control) {
            return Err(Denied::Claims("its subject (sub) must have 1 to 128 characters"));
        }
        if claims.iat.is_some_and(|at| at > (now_s + self.validation.leeway) as f64) {
            return Err(Denied::Claims("it was issued in the future (iat); compare the clocks"));
        }
        let roles: Option<_> = claims.roles.iter().map(|r| Role::named(r)).collect();
        let roles: std::collections::BTreeSet<Role> = roles.ok_or(Denied::Claims("it names an unknown role"))?;
        if roles.is_empty() {
            return Err(Denied::Claims("it names no roles"));
        }
        // A cast of a float saturates.
        let expires = Some((claims.exp as u64).saturating_add(self.validation.leeway));
        Ok((claims.sub, Grant { roles, allow: Vec::new(), rate: self.rate, expires }))
    }
}

/// What is told of a token whose signature is good.
fn denied(kind: &ErrorKind) -> Denied {
    match kind {
        ErrorKind::ExpiredSignature => Denied::Expired,
        ErrorKind::ImmatureSignature => Denied::Claims("it is not valid yet (nbf); compare the clocks"),
        ErrorKind::InvalidAudience => Denied::Claims("it is for somebody else (aud)"),
        ErrorKind::InvalidIssuer => Denied::Claims("its issuer (iss) is not taken here"),
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) | ErrorKind::Json(_) => Denied::Claims(
            "it needs the claims sub, exp (a number) and roles (a list), and aud and iss where the node asks for them",
        ),
        _ => Denied::Wrong,
    }
}

const SECRET: &str = "secret of tokens";

fn shared_secret(path: &Path) -> Result<(Algorithm, DecodingKey), AuthError> {
    let refused = || AuthError::Content {
        what: SECRET,
        path: path.to_owned(),
        problem: "it must be one line of at least 64 hexadecimal digits; make one with `openssl rand -hex 32`".into(),
    };
    let bytes = read(SECRET, path)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| refused())?.trim();
    let secret = Zeroizing::new(hex::decode(text.strip_prefix("0x").unwrap_or(text)).map_err(|_| refused())?);
    if secret.len() < MIN_SECRET {
        return Err(refused());
    }
    Ok((Algorithm::HS256, DecodingKey::from_secret(&secret)))
}

const PUBLIC: &str = "public key of tokens";

/// A public key, and the one algorithm that it is for.
fn public_key(path: &Path) -> Result<(Algorithm, DecodingKey), AuthError> {
    let refused =
        |problem: &str| AuthError::Content { what: PUBLIC, path: path.to_owned(), problem: problem.to_owned() };
    let bytes = read(PUBLIC, path)?;
    let not_pem = |_| refused("it holds no public key in PEM form (it begins with -----BEGIN PUBLIC KEY-----)");
    let der = SubjectPublicKeyInfoDer::from_pem_slice(&bytes).map_err(not_pem)?;
    let (algorithm, key) = key_of(&der).map_err(|_| refused("the public key is damaged"))?;
    match algorithm {
        // 2048 bits are 256 bytes, and what is around them in PKCS #1.
        RSA if key.len() >= 256 => Ok((Algorithm::RS256, DecodingKey::from_rsa_der(&key))),
        RSA => Err(refused("the RSA key has less than 2048 bits")),
        ED25519_OID if key.len() == 32 => Ok((Algorithm::EdDSA, DecodingKey::from_ed_der(&key))),
        _ => Err(refused("it is neither an RSA nor an Ed25519 key")),
    }
}

/// Algorithm and key of a SubjectPublicKeyInfo (RFC 5280, section 4.1).
fn key_of(info: &[u8]) -> der::Result<(ObjectIdentifier, Vec<u8>)> {
    let info = der::AnyRef::from_der(info)?;
    let mut fields = der::SliceReader::new(info.value())?;
    let algorithm: der::AnyRef<'_> = der::Reader::decode(&mut fields)?;
    let key: BitString = der::Reader::decode(&mut fields)?;
    let oid: ObjectIdentifier = der::Reader::decode(&mut der::SliceReader::new(algorithm.value())?)?;
    let key = key.as_bytes().ok_or_else(|| der::Error::from(der::ErrorKind::Failed))?;
    Ok((oid, key.to_vec()))
}

/// Lets the library verify by ring.
fn install() {
    static PROVIDER: CryptoProvider =
        CryptoProvider { signer_factory, verifier_factory, key_utils: KeyUtils::new_unimplemented() };
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Nobody else in this process installs one; if somebody did, tokens are verified all the same.
        let _ = PROVIDER.install_default();
    });
}

/// Nothing signs tokens here.
fn signer_factory(_: &Algorithm, _: &EncodingKey) -> JwtResult<Box<dyn JwtSigner>> {
    Err(ErrorKind::UnsupportedAlgorithm.into())
}

fn verifier_factory(algorithm: &Algorithm, key: &DecodingKey) -> JwtResult<Box<dyn JwtVerifier>> {
    if algorithm.family() != key.family() {
        return Err(ErrorKind::InvalidAlgorithm.into());
    }
    let bytes = key.try_get_as_bytes()?;
    Ok(Box::new(match algorithm {
        Algorithm::HS256 => Verifier::Hmac(ring::hmac::Key::new(ring::hmac::HMAC_SHA256, bytes)),
        Algorithm::RS256 => {
            Verifier::Public(UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, bytes.to_vec()), *algorithm)
        }
        Algorithm::EdDSA => Verifier::Public(UnparsedPublicKey::new(&ED25519, bytes.to_vec()), *algorithm),
        _ => return Err(ErrorKind::UnsupportedAlgorithm.into()),
    }))
}

enum Verifier {
    Hmac(ring::hmac::Key),
    Public(UnparsedPublicKey<Vec<u8>>, Algorithm),
}

impl signature::Verifier<Vec<u8>> for Verifier {
    fn verify(&self, message: &[u8], tag: &Vec<u8>) -> Result<(), signature::Error> {
        match self {
            // In constant time.
            Self::Hmac(key) => ring::hmac::verify(key, message, tag),
            Self::Public(key, _) => key.verify(message, tag),
        }
        .map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Verifier {
    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Hmac(_) => Algorithm::HS256,
            Self::Public(_, algorithm) => *algorithm,
        }
    }
}
