//! Key files: one Ed25519 secret key per file, encrypted under a passphrase (Argon2id, XChaCha20-Poly1305), or plain and
//! marked so, for development networks only.

pub mod dev;
mod passphrase;

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use argon2::Argon2;
use basalt_primitives::{PublicKey, SecretKey};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce, aead::Aead as _};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub use passphrase::Passphrase;

/// Argon2id: memory in KiB, passes, lanes (RFC 9106 section 4 shapes, sized for small nodes as OWASP advises).
const ARGON2: (u32, u32, u32) = (19 * 1024, 2, 1);
/// A key file is small; more is not read.
const MAX_FILE: u64 = 16 * 1024;

/// Why a key file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Reading or writing the file.
    #[error("cannot access key file {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not a key file.
    #[error("{path} is not a Basalt key file ({problem}); make one with `basalt key new --out FILE`")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Encrypted, and there is no passphrase.
    #[error(
        "key file {0} is encrypted; give its passphrase in a file (`keys.passphrase_file`) or in BASALT_PASSPHRASE"
    )]
    PassphraseNeeded(PathBuf),
    /// Wrong passphrase, or a damaged file: authenticated encryption cannot tell which.
    #[error("key file {0} does not open with this passphrase (or the file is damaged)")]
    WrongPassphrase(PathBuf),
    /// The operating system gave no randomness.
    #[error("the operating system gave no randomness: {0}")]
    Random(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    version: u32,
    algorithm: String,
    public_key: PublicKey,
    address: String,
    secret: Secret,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "protection", rename_all = "lowercase")]
enum Secret {
    /// For development networks: readable by whoever reads the file.
    Plain { development_only: bool, seed: String },
    /// Argon2id and XChaCha20-Poly1305, the public key as associated meaning: it is checked after opening.
    Passphrase {
        kdf: String,
        memory_kib: u32,
        passes: u32,
        lanes: u32,
        salt: String,
        nonce: String,
        ciphertext: String,
    },
}

/// Fills an array with randomness of the operating system.
pub fn random<const N: usize>() -> Result<[u8; N], KeyError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| KeyError::Random(e.to_string()))?;
    Ok(bytes)
}

/// Makes a fresh secret key.
pub fn generate() -> Result<SecretKey, KeyError> {
    Ok(SecretKey::from_bytes(&Zeroizing::new(random::<32>()?)))
}

/// Writes a key file that only its owner can read; refuses to overwrite. Without a passphrase the file is plain and says
/// so.
pub fn save(path: &Path, key: &SecretKey, passphrase: Option<&Passphrase>) -> Result<(), KeyError> {
    let secret = match passphrase {
        None => Secret::Plain { development_only: true, seed: hex::encode(key.to_bytes().as_slice()) },
        Some(p) => seal(path, key, p)?,
    };
    let file = KeyFile {
        version: 1,
        algorithm: "ed25519".into(),
        public_key: key.public_key(),
        address: key.public_key().address().to_string(),
        secret,
    };
    write_private(path, format!("{}\n", serde_json::to_string_pretty(&file).expect("plain data")).as_bytes())
}

/// Writes a new file that only its owner can read, and syncs it; refuses to overwrite.
pub fn write_private(path: &Path, content: &[u8]) -> Result<(), KeyError> {
    let io = |source| KeyError::Io { path: path.to_owned(), source };
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(io)?;
    out.write_all(content).map_err(io)?;
    out.sync_all().map_err(io)
}

/// Reads a key file; `passphrase` is asked only when the file is encrypted.
pub fn load(path: &Path, passphrase: Option<&Passphrase>) -> Result<SecretKey, KeyError> {
    let file = read(path)?;
    let format = |problem: String| KeyError::Format { path: path.to_owned(), problem };
    let seed: Zeroizing<Vec<u8>> = match &file.secret {
        Secret::Plain { seed, .. } => Zeroizing::new(hex::decode(seed).map_err(|e| format(e.to_string()))?),
        Secret::Passphrase { .. } => {
            open(path, &file.secret, passphrase.ok_or_else(|| KeyError::PassphraseNeeded(path.to_owned()))?)?
        }
    };
    let seed: &[u8; 32] = seed.as_slice().try_into().map_err(|_| format("the seed is not 32 bytes".into()))?;
    let key = SecretKey::from_bytes(seed);
    if key.public_key() != file.public_key {
        return Err(format("its secret and public keys do not belong together".into()));
    }
    Ok(key)
}

/// The public key in a key file, without opening the secret.
pub fn public_key(path: &Path) -> Result<PublicKey, KeyError> {
    Ok(read(path)?.public_key)
}

fn read(path: &Path) -> Result<KeyFile, KeyError> {
    let io = |source| KeyError::Io { path: path.to_owned(), source };
    let format = |problem: String| KeyError::Format { path: path.to_owned(), problem };
    if fs::metadata(path).map_err(io)?.len() > MAX_FILE {
        return Err(format("it is too large".into()));
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(io)?);
    let file: KeyFile = serde_json::from_str(&text).map_err(|e| format(e.to_string()))?;
    if file.version != 1 || file.algorithm != "ed25519" {
        return Err(format(format!("version {} of algorithm {}", file.version, file.algorithm)));
    }
    Ok(file)
}

fn derive(passphrase: &Passphrase, salt: &[u8], (m, t, p): (u32, u32, u32)) -> Result<Zeroizing<[u8; 32]>, String> {
    let mut key = Zeroizing::new([0u8; 32]);
    let params = argon2::Params::new(m, t, p, Some(32)).map_err(|e| e.to_string())?;
    Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), salt, key.as_mut_slice())
        .map_err(|e| e.to_string())?;
    Ok(key)
}

fn seal(path: &Path, key: &SecretKey, passphrase: &Passphrase) -> Result<Secret, KeyError> {
    let format = |problem: String| KeyError::Format { path: path.to_owned(), problem };
    let (salt, nonce) = (random::<16>()?, random::<24>()?);
    let kek = derive(passphrase, &salt, ARGON2).map_err(format)?;
    let cipher = XChaCha20Poly1305::new_from_slice(kek.as_slice()).expect("32 bytes");
    let ciphertext =
        cipher.encrypt(&XNonce::from(nonce), key.to_bytes().as_slice()).map_err(|e| format(e.to_string()))?;
    Ok(Secret::Passphrase {
        kdf: "argon2id".into(),
        memory_kib: ARGON2.0,
        passes: ARGON2.1,
        lanes: ARGON2.2,
        salt: hex::encode(salt),
        nonce: hex::encode(nonce),
        ciphertext: hex::encode(ciphertext),
    })
}

fn open(path: &Path, secret: &Secret, passphrase: &Passphrase) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let Secret::Passphrase { kdf, memory_kib, passes, lanes, salt, nonce, ciphertext } = secret else {
        return Err(KeyError::Format { path: path.to_owned(), problem: "not encrypted".into() });
    };
    let format = |problem: String| KeyError::Format { path: path.to_owned(), problem };
    // A stranger's file must not make us allocate without bound.
    if kdf != "argon2id" || *memory_kib > 1024 * 1024 || *passes > 64 || *lanes > 16 {
        return Err(format(format!("unsupported key derivation {kdf} m={memory_kib} t={passes} p={lanes}")));
    }
    let unhex = |s: &str| hex::decode(s).map_err(|e| format(e.to_string()));
    let nonce: [u8; 24] = unhex(nonce)?.try_into().map_err(|_| format("the nonce is not 24 bytes".into()))?;
    let kek = derive(passphrase, &unhex(salt)?, (*memory_kib, *passes, *lanes)).map_err(format)?;
    let cipher = XChaCha20Poly1305::new_from_slice(kek.as_slice()).expect("32 bytes");
    cipher
        .decrypt(&XNonce::from(nonce), unhex(ciphertext)?.as_slice())
        .map(Zeroizing::new)
        .map_err(|_| KeyError::WrongPassphrase(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encrypted_key_opens_with_its_passphrase_only() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("k");
        let key = generate().expect("key");
        save(&path, &key, Some(&Passphrase::new("right"))).expect("saves");
        assert!(!fs::read_to_string(&path).expect("text").contains(&hex::encode(key.to_bytes().as_slice())));
        assert_eq!(load(&path, Some(&Passphrase::new("right"))).expect("opens").public_key(), key.public_key());
        assert!(matches!(load(&path, Some(&Passphrase::new("wrong"))), Err(KeyError::WrongPassphrase(_))));
        assert!(matches!(load(&path, None), Err(KeyError::PassphraseNeeded(_))));
        assert!(matches!(save(&path, &key, None), Err(KeyError::Io { .. })), "never overwritten");
    }

    #[test]
    fn a_plain_key_says_so_and_a_damaged_one_is_refused() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("k");
        let key = generate().expect("key");
        save(&path, &key, None).expect("saves");
        let text = fs::read_to_string(&path).expect("text");
        assert!(text.contains("\"protection\": \"plain\"") && text.contains("\"development_only\": true"));
        assert_eq!(load(&path, None).expect("opens").public_key(), key.public_key());
        let other = generate().expect("key").public_key().to_string();
        fs::write(&path, text.replace(&key.public_key().to_string(), &other)).expect("writes");
        assert!(matches!(load(&path, None), Err(KeyError::Format { .. })));
        fs::write(&path, "garbage").expect("writes");
        assert!(matches!(load(&path, None), Err(KeyError::Format { .. })));
    }
}
