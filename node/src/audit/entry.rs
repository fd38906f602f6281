//! One entry of the audit log: a line of JSON whose last two fields are its hash and the signature over it.
//!
//! ```text
//! {"seq":7,"timeMs":…,"act":"…",…details…,"key":"…","prev":"…","hash":"<64 hex>","signature":"<128 hex>"}
//! └──────────────────── body: these very bytes are hashed ──────┘
//! ```
//!
//! The hash is SHA-256 over a domain and the body, the signature is by the node's Ed25519 key over another domain and the hash.
//! The bytes themselves are bound, so there is no canonical form of JSON to agree on, and every tool that reads JSON lines reads
//! the log.

use basalt_primitives::{B256, HashFn, PublicKey, SecretKey, Signature, layout::Layout};
use serde_json::{Map, Value};

use super::{Act, Head};

/// Most bytes of a line.
pub const MAX_LINE: usize = 64 * 1024;

const HASH: &str = ",\"hash\":\"";
const SIGNATURE: &str = "\",\"signature\":\"";
const END: &str = "\"}";
const HASH_DIGITS: usize = 64;
const SIGNATURE_DIGITS: usize = 128;
const SEAL: usize = HASH.len() + HASH_DIGITS + SIGNATURE.len() + SIGNATURE_DIGITS + END.len();
/// Fields that details cannot have.
const OURS: [&str; 7] = ["seq", "timeMs", "act", "key", "prev", "hash", "signature"];

/// An entry that was read. Its hash is that of its body; the signature is still to be checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its number.
    pub seq: u64,
    /// When, in milliseconds since the Unix epoch, by the clock of the machine.
    pub time_ms: u64,
    /// What kind of act.
    pub act: String,
    /// Hash of the entry before; zero in the first.
    pub prev: B256,
    /// Who signed.
    pub key: PublicKey,
    /// Hash of the body.
    pub hash: B256,
    /// Signature over the hash.
    pub signature: Signature,
    /// All fields.
    pub fields: Map<String, Value>,
}

fn hash_of(body: &[u8]) -> B256 {
    HashFn::Sha256.of(Layout::new("basalt/audit-entry/v1").bytes(body))
}

fn signed_bytes(hash: B256) -> Layout {
    let mut l = Layout::new("basalt/audit-signature/v1");
    l.fixed(&hash.0);
    l
}

/// The line of a new entry after `prev`, without a line break, and the head it makes.
pub fn write(prev: Option<Head>, time_ms: u64, act: &Act, key: &SecretKey) -> (String, Head) {
    let seq = prev.map_or(0, |h| h.seq + 1);
    let before = prev.map_or(B256::ZERO, |h| h.hash);
    let mut body = format!("{{\"seq\":{seq},\"timeMs\":{time_ms},\"act\":{}", Value::from(act.act));
    for (name, value) in act.details.iter().filter(|(name, _)| !OURS.contains(&name.as_str())) {
        body.push_str(&format!(",{}:{value}", Value::from(name.as_str())));
    }
    let digits = |bytes: &[u8]| hex::encode(bytes);
    body.push_str(&format!(",\"key\":\"{}\",\"prev\":\"{}\"", digits(&key.public_key().0), digits(&before.0)));
    let hash = hash_of(body.as_bytes());
    let signature = key.sign(signed_bytes(hash).as_slice());
    let line = format!("{body}{HASH}{}{SIGNATURE}{}{END}", digits(&hash.0), digits(&signature.0));
    (line, Head { seq, hash })
}

impl Entry {
    /// Reads a line (without its break). The error says what is wrong with it.
    pub fn read(line: &str) -> Result<Self, String> {
        if line.len() > MAX_LINE {
            return Err(format!("it has {} bytes, more than any entry", line.len()));
        }
        let cut = line.len().checked_sub(SEAL).filter(|at| line.is_char_boundary(*at));
        let (body, seal) = line.split_at(cut.ok_or("it is too short for an entry")?);
        let sealed = || {
            let (hash, rest) = seal.strip_prefix(HASH)?.split_at_checked(HASH_DIGITS)?;
            let (signature, end) = rest.strip_prefix(SIGNATURE)?.split_at_checked(SIGNATURE_DIGITS)?;
            (end == END).then_some((digits::<32>(hash)?, digits::<64>(signature)?))
        };
        let (hash, signature) = sealed().ok_or("it does not end in a hash and a signature")?;
        if hash_of(body.as_bytes()).0 != hash {
            return Err("its hash is not that of its content: it was changed".into());
        }
        let fields: Map<String, Value> = serde_json::from_str(line).map_err(|e| format!("it is no JSON: {e}"))?;
        let number = |name: &str| fields.get(name).and_then(Value::as_u64).ok_or(format!("it has no {name}"));
        let text = |name: &str| fields.get(name).and_then(Value::as_str).ok_or(format!("it has no {name}"));
        let bytes = |name: &str| digits::<32>(text(name)?).ok_or(format!("its {name} is not 64 hexadecimal digits"));
        Ok(Self {
            seq: number("seq")?,
            time_ms: number("timeMs")?,
            act: text("act")?.to_owned(),
            prev: B256::new(bytes("prev")?),
            key: PublicKey(bytes("key")?),
            hash: B256::new(hash),
            signature: Signature(signature),
            fields,
        })
    }

    /// Whether the key it names has signed it.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        self.key.verify(signed_bytes(self.hash).as_slice(), &self.signature)
    }

    /// The head that it makes.
    #[must_use]
    pub const fn head(&self) -> Head {
        Head { seq: self.seq, hash: self.hash }
    }

    /// A detail that is text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name)?.as_str()
    }

    /// A detail that is a whole number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        self.fields.get(name)?.as_u64()
    }

    /// A detail that is 32 bytes in hexadecimal digits, with or without 0x.
    #[must_use]
    pub fn bytes32(&self, name: &str) -> Option<[u8; 32]> {
        let text = self.text(name)?;
        digits(text.strip_prefix("0x").unwrap_or(text))
    }
}

/// Exactly so many bytes in lower-case digits.
pub(super) fn digits<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let lower = !text.bytes().any(|b| b.is_ascii_uppercase());
    (lower && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(bytes)
}
