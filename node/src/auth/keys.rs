//! API keys: the file that holds their hashes, and the secrets that people hold.
//!
//! A secret is `basalt_ID_HEX`, with 256 bits of the operating system's randomness in hexadecimal. The file has the SHA-256
//! of these 32 bytes: what has 256 bits cannot be guessed, so a slow hash would defend nothing and make each request dear.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    path::Path,
};

use basalt_primitives::HashFn;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::{AuthError, Denied, Grant, Role, buckets::Rate, read, roles};
use crate::keys::{KeyError, random};

const WHAT: &str = "keys file";
const PREFIX: &str = "basalt_";
/// Most entries of a file.
const MAX_ENTRIES: usize = 4_096;
/// Longest id of a key.
const MAX_ID: usize = 32;

const HEAD: &str = "# API keys and client certificates of this node, and what they may do. Written by `basalt auth key`; the node reads it
# again within seconds. It holds hashes only: whoever reads it learns no secret, whoever writes it may call everything.\n\n";

/// A keys file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeysFile {
    /// API keys.
    #[serde(default, rename = "key")]
    pub keys: Vec<KeyEntry>,
    /// Client certificates.
    #[serde(default, rename = "certificate", skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<CertificateEntry>,
}

/// One API key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyEntry {
    /// Its name, which is also in the secret.
    pub id: String,
    /// SHA-256 of the secret's 32 bytes, in hexadecimal.
    pub secret_sha256: String,
    /// What it may do.
    pub roles: Vec<Role>,
    /// Namespaces and methods that it may call; none named: all that the roles reach.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// Requests per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_per_second: Option<u32>,
    /// Requests at once; without it twice the rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// When it ends, in seconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
}

/// One client certificate, of an authority in `rpc.tls_client_ca`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateEntry {
    /// Common name of its subject.
    pub name: String,
    /// What it may do.
    pub roles: Vec<Role>,
    /// As of a key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// As of a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_per_second: Option<u32>,
    /// As of a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
}

/// A secret, before it is shown to whoever made it.
pub struct NewSecret {
    /// All of it, for the header.
    pub text: Zeroizing<String>,
    /// What the file holds of it.
    pub sha256: String,
}

impl NewSecret {
    /// A fresh one for a key of this id.
    pub fn generate(id: &str) -> Result<Self, KeyError> {
        let bytes = Zeroizing::new(random::<32>()?);
        let hex = Zeroizing::new(hex::encode(bytes.as_slice()));
        Ok(Self {
            text: Zeroizing::new(format!("{PREFIX}{id}_{}", hex.as_str())),
            sha256: hex::encode(HashFn::Sha256.hash(bytes.as_slice()).0),
        })
    }
}

/// Whether a credential has the form of an API key; else it may be a token.
#[must_use]
pub fn is_key(secret: &str) -> bool {
    secret.starts_with(PREFIX)
}

/// The id of a shown secret and its hash.
fn parse(secret: &str) -> Result<(&str, [u8; 32]), Denied> {
    let malformed = Denied::Malformed("an API key is basalt_, its id, _ and 64 hexadecimal digits");
    let parts = secret.strip_prefix(PREFIX).and_then(|rest| rest.rsplit_once('_'));
    let Some((id, digits)) = parts.filter(|(id, _)| id_is_good(id)) else { return Err(malformed) };
    let mut bytes = Zeroizing::new([0; 32]);
    hex::decode_to_slice(digits, bytes.as_mut_slice()).map_err(|_| malformed)?;
    Ok((id, HashFn::Sha256.hash(bytes.as_slice()).0))
}

/// One key in force.
#[derive(Debug)]
pub(super) struct Key {
    hash: [u8; 32],
    pub grant: std::sync::Arc<Grant>,
}

/// What a keys file grants.
#[derive(Debug, Default)]
pub(super) struct Granted {
    keys: BTreeMap<std::sync::Arc<str>, Key>,
    pub certificates: BTreeMap<String, std::sync::Arc<Grant>>,
}

impl Granted {
    /// The key that a secret belongs to, with its id and its hash. An id that is not there takes as long as a wrong secret.
    pub fn find(&self, secret: &str) -> Result<(&std::sync::Arc<str>, &Key), Denied> {
        let (id, hash) = parse(secret)?;
        let found = self.keys.get_key_value(id);
        let expected = found.map_or([0; 32], |(_, key)| key.hash);
        let same = bool::from(expected.ct_eq(&hash));
        found.filter(|_| same).ok_or(Denied::Wrong)
    }

    /// What a key grants now, if it is still the one with this hash.
    pub fn still(&self, id: &str, proof: &[u8; 32]) -> Option<&std::sync::Arc<Grant>> {
        self.keys.get(id).filter(|k| bool::from(k.hash.ct_eq(proof))).map(|k| &k.grant)
    }
}

impl Granted {
    /// Who was added, revoked or changed, by id or name; never more than a file has.
    pub fn changes_since(&self, before: &Self) -> serde_json::Value {
        let named = |granted: &Self| -> BTreeMap<String, ([u8; 32], std::sync::Arc<Grant>)> {
            let keys = granted.keys.iter().map(|(id, k)| (format!("key {id}"), (k.hash, k.grant.clone())));
            let certificates =
                granted.certificates.iter().map(|(n, g)| (format!("certificate {n}"), ([0; 32], g.clone())));
            keys.chain(certificates).collect()
        };
        let (old, new) = (named(before), named(self));
        let listed = |names: Vec<&String>| names.into_iter().take(MAX_LISTED).cloned().collect::<Vec<_>>();
        serde_json::json!({
            "added": listed(new.keys().filter(|n| !old.contains_key(*n)).collect()),
            "removed": listed(old.keys().filter(|n| !new.contains_key(*n)).collect()),
            "changed": listed(new.iter().filter(|(n, v)| old.get(*n).is_some_and(|o| o != *v)).map(|(n, _)| n).collect()),
        })
    }
}

/// Most names in one entry of the audit log; the digest of the file covers all.
const MAX_LISTED: usize = 200;

impl Key {
    pub const fn proof(&self) -> [u8; 32] {
        self.hash
    }
}

impl KeysFile {
    /// Reads and checks a file.
    pub fn read(path: &Path) -> Result<Self, AuthError> {
        let refused = |problem: String| AuthError::Content { what: WHAT, path: path.to_owned(), problem };
        let bytes = read(WHAT, path)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| refused("it is not UTF-8".into()))?;
        // The parser's whole error would quote the line, and the line may hold a hash or what someone took for one.
        let file: Self = toml::from_str(text).map_err(|e| {
            let line = e.span().map_or(0, |s| text.get(..s.start).unwrap_or_default().lines().count().max(1));
            refused(format!("line {line}: {}", e.message()))
        })?;
        file.check().map_err(refused)?;
        Ok(file)
    }

    /// What is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        if self.keys.len() + self.certificates.len() > MAX_ENTRIES {
            return Err(format!("it has more than {MAX_ENTRIES} entries"));
        }
        let mut seen = BTreeSet::new();
        for key in &self.keys {
            check_id(&key.id)?;
            let what = format!("key {:?}", key.id);
            if !seen.insert(&key.id) {
                return Err(format!("{what} is there twice"));
            }
            if hex::decode(&key.secret_sha256).map_or(0, |h| h.len()) != 32 {
                return Err(format!("{what}: secret_sha256 must be 64 hexadecimal digits"));
            }
            check_grant(&what, &key.roles, &key.allow, key.rate_per_second, key.burst)?;
        }
        let mut seen = BTreeSet::new();
        for c in &self.certificates {
            let what = format!("certificate {:?}", c.name);
            if c.name.is_empty() || !seen.insert(&c.name) {
                return Err(format!("{what} has no name, or is there twice"));
            }
            check_grant(&what, &c.roles, &c.allow, c.rate_per_second, c.burst)?;
        }
        Ok(())
    }

    /// Replaces the file as a whole. A new one is readable by its owner alone; one that was there keeps its owner and mode, so
    /// that the node may still read it.
    pub fn write(&self, path: &Path) -> Result<(), AuthError> {
        let failed = |why| AuthError::Write { path: path.to_owned(), why };
        self.check().map_err(|problem| AuthError::Content { what: WHAT, path: path.to_owned(), problem })?;
        let text = toml::to_string(self).map_err(|e| failed(std::io::Error::other(e.to_string())))?;
        let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // A temporary file of this library is made with mode 0600.
        let mut file = tempfile::NamedTempFile::new_in(dir).map_err(failed)?;
        file.write_all(HEAD.as_bytes()).and_then(|()| file.write_all(text.as_bytes())).map_err(failed)?;
        if let Ok(old) = std::fs::metadata(path) {
            keep_access(file.as_file(), &old).map_err(failed)?;
        }
        file.as_file().sync_all().map_err(failed)?;
        file.persist(path).map_err(|e| failed(e.error))?;
        std::fs::File::open(dir).and_then(|d| d.sync_all()).map_err(failed)
    }

    /// What it grants; `default` for those without a rate of their own.
    pub(super) fn granted(&self, default: Option<Rate>) -> Granted {
        let grant = |roles: &[Role], allow: &[String], rate: Option<Rate>, expires| {
            let roles = roles.iter().copied().collect();
            std::sync::Arc::new(Grant { roles, allow: allow.to_vec(), rate: rate.or(default), expires })
        };
        let key = |k: &KeyEntry| {
            let mut hash = [0; 32];
            // Checked when the file was read.
            hex::decode_to_slice(&k.secret_sha256, &mut hash).ok()?;
            let grant = grant(&k.roles, &k.allow, rate(k.rate_per_second, k.burst), k.expires);
            Some((k.id.as_str().into(), Key { hash, grant }))
        };
        let certificate =
            |c: &CertificateEntry| (c.name.clone(), grant(&c.roles, &c.allow, rate(c.rate_per_second, c.burst), None));
        Granted {
            keys: self.keys.iter().filter_map(key).collect(),
            certificates: self.certificates.iter().map(certificate).collect(),
        }
    }
}

/// Gives a file the owner and the mode of another.
fn keep_access(file: &std::fs::File, old: &std::fs::Metadata) -> std::io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, fchown};
    let new = file.metadata()?;
    if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
        fchown(file, Some(old.uid()), Some(old.gid()))?;
    }
    file.set_permissions(old.permissions())
}

/// The rate of these settings; a burst is twice the rate unless it is said.
#[must_use]
pub fn rate(per_second: Option<u32>, burst: Option<u32>) -> Option<Rate> {
    per_second.map(|n| Rate { per_second: n, burst: burst.unwrap_or(n.saturating_mul(2)) })
}

fn id_is_good(id: &str) -> bool {
    (1..=MAX_ID).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Whether a key can be called so.
pub fn check_id(id: &str) -> Result<(), String> {
    let shown: String = id.chars().take(40).collect();
    if id_is_good(id) { Ok(()) } else { Err(format!("{shown:?} is no id: 1 to {MAX_ID} of a-z, 0-9 and -")) }
}

fn check_grant(
    what: &str,
    roles: &[Role],
    allow: &[String],
    per_second: Option<u32>,
    burst: Option<u32>,
) -> Result<(), String> {
    if roles.is_empty() {
        return Err(format!("{what} has no roles: name some of {}", roles::names(&Role::ALL)));
    }
    if let Some(unknown) = allow.iter().find(|a| !roles::is_known(a)) {
        return Err(format!("{what}: {unknown:?} in `allow` is no namespace, nor a method of one"));
    }
    if per_second == Some(0) || burst == Some(0) || (burst.is_some() && per_second.is_none()) {
        return Err(format!("{what}: rate_per_second and burst must be above 0, and a burst needs a rate"));
    }
    Ok(())
}
