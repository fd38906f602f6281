//! The set override: the remaining validators declare the others lost for good, and restart a chain that has no quorum any
//! more (ADR-0015).
//!
//! In: a JSON file that every node is given. Out: who counts at two heights, once the file is checked against the set of the
//! first of them. What is signed has a fixed layout; the JSON is only its dress.

use alloy_primitives::{B256, hex};
use serde::{Deserialize, Serialize};

use crate::{Height, PublicKey, SecretKey, Signature, ValidatorSet, layout::Layout, validators::SetError};

/// Longest file that is read: a full set of keys and signatures with names of fields and white space to spare.
pub const MAX_BYTES: usize = 256 << 10;

/// What the file says it is.
const FORMAT: &str = "basalt/set-override/v1";

/// The validators at `height` and the height after it without the lost ones; from the one after that on the lost ones have
/// left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetOverride {
    /// Always `basalt/set-override/v1`.
    format: String,
    /// Hash of the chain's genesis block.
    pub genesis: B256,
    /// The first height that is decided without the lost ones: one above the head of every remaining validator.
    pub height: Height,
    /// Keys of the validators that are gone for good, rising.
    pub lost: Vec<PublicKey>,
    /// Of all remaining validators of the set of `height`, by rising key.
    #[serde(default)]
    pub signatures: Vec<Signed>,
}

/// One signature of an override.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Signed {
    /// Whose.
    pub validator: PublicKey,
    /// 64 bytes in hex.
    #[serde(with = "signature_hex")]
    pub signature: Signature,
}

/// Why an override was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverrideError {
    /// The text.
    #[error("it cannot be read: {0}; take the file that `basalt validator override create` made")]
    Text(String),
    /// More than [`MAX_BYTES`].
    #[error("it is larger than {MAX_BYTES} bytes; take the file that `basalt validator override create` made")]
    TooLarge,
    /// Another format.
    #[error("its format is not `{FORMAT}`; take a file, and a version of this software, that fit")]
    Format,
    /// A list that is empty, too long, out of order, or names a key twice.
    #[error(
        "{0} must be listed once each, by rising key, 1 to 255 of them; make the file with `override create` and `override sign`"
    )]
    List(&'static str),
    /// Below the first height that is voted on.
    #[error(
        "height 0 is the genesis block, on which nobody votes; name the height above the head of the remaining validators"
    )]
    Genesis,
    /// Another chain.
    #[error("it is for the chain with genesis {0}, not for this one; take this chain's file")]
    OtherChain(B256),
    /// A key that was declared lost is no member.
    #[error("{0} is declared lost, but is no validator at that height; make the file anew")]
    Unknown(PublicKey),
    /// The others can still decide.
    #[error(
        "{remaining} of {total} validators remain, which is a quorum: the chain goes on without the lost ones, so remove them by \
         vote with `basalt validator propose-remove`"
    )]
    NotNeeded {
        /// How many remain.
        remaining: usize,
        /// Of how many.
        total: usize,
    },
    /// Nobody remains.
    #[error("it declares every validator lost; with nobody left a new network must be made from an export")]
    All,
    /// A signature of somebody who has no say.
    #[error("it is signed by {0}, who is no remaining validator at that height; take that signature out")]
    Stranger(PublicKey),
    /// Signatures are missing.
    #[error("signatures of {} remaining validators are missing; each runs `basalt validator override sign`", .0.len())]
    Missing(Vec<PublicKey>),
    /// A signature that does not verify.
    #[error("the signature of {0} does not verify; that validator must sign the very same file")]
    Signature(PublicKey),
}

impl SetOverride {
    /// An override that nobody has signed yet.
    ///
    /// # Errors
    /// If no key, too many, or one twice is given, or height 0.
    pub fn new(genesis: B256, height: Height, mut lost: Vec<PublicKey>) -> Result<Self, OverrideError> {
        lost.sort_unstable();
        let made = Self { format: FORMAT.to_owned(), genesis, height, lost, signatures: Vec::new() };
        made.check_shape()?;
        Ok(made)
    }

    /// Reads a file strictly: unknown fields, other formats and unsorted lists are refused. Signatures are not verified
    /// here: see [`Self::check`].
    pub fn from_json(text: &[u8]) -> Result<Self, OverrideError> {
        if text.len() > MAX_BYTES {
            return Err(OverrideError::TooLarge);
        }
        let read: Self = serde_json::from_slice(text).map_err(|e| OverrideError::Text(e.to_string()))?;
        read.check_shape()?;
        Ok(read)
    }

    /// The file's text.
    #[must_use]
    pub fn to_json(&self) -> String {
        let text = serde_json::to_string_pretty(self).expect("plain data");
        format!("{text}\n")
    }

    fn check_shape(&self) -> Result<(), OverrideError> {
        let rising = |keys: &[PublicKey]| keys.windows(2).all(|w| w[0] < w[1]) && keys.len() < ValidatorSet::MAX;
        if self.format != FORMAT {
            return Err(OverrideError::Format);
        }
        if self.lost.is_empty() || !rising(&self.lost) {
            return Err(OverrideError::List("lost validators"));
        }
        let signers: Vec<_> = self.signatures.iter().map(|s| s.validator).collect();
        if !rising(&signers) {
            return Err(OverrideError::List("signatures"));
        }
        if self.height == Height::GENESIS { Err(OverrideError::Genesis) } else { Ok(()) }
    }

    /// What is signed.
    #[must_use]
    pub fn signing_layout(&self) -> Layout {
        let mut l = Layout::new(FORMAT);
        l.fixed(&self.genesis.0).u64(self.height.0).len(self.lost.len());
        for key in &self.lost {
            l.fixed(&key.0);
        }
        l
    }

    /// Adds the signature of a key, in the place of an earlier one.
    pub fn sign(&mut self, key: &SecretKey) {
        let (validator, signature) = (key.public_key(), key.sign(self.signing_layout().as_slice()));
        self.signatures.retain(|s| s.validator != validator);
        let at = self.signatures.partition_point(|s| s.validator < validator);
        self.signatures.insert(at, Signed { validator, signature });
    }

    /// Checks everything but that all have signed: the chain, the keys against the set of `height` as it is without the
    /// override, that it is needed, and every signature that is there. Gives back who has still to sign.
    pub fn check_signed_so_far(&self, genesis: B256, set: &ValidatorSet) -> Result<Vec<PublicKey>, OverrideError> {
        if self.genesis != genesis {
            return Err(OverrideError::OtherChain(self.genesis));
        }
        if let Some(unknown) = self.lost.iter().find(|key| set.index_of(key).is_none()) {
            return Err(OverrideError::Unknown(*unknown));
        }
        let without = set.without(&self.lost, true).map_err(|_| OverrideError::All)?;
        let remaining: Vec<PublicKey> = without.remaining().map(|(_, v)| v.public_key).collect();
        if without.total_power() >= set.quorum() {
            return Err(OverrideError::NotNeeded { remaining: remaining.len(), total: set.len() });
        }
        let bytes = self.signing_layout();
        for s in &self.signatures {
            if !remaining.contains(&s.validator) {
                return Err(OverrideError::Stranger(s.validator));
            }
            if !s.validator.verify(bytes.as_slice(), &s.signature) {
                return Err(OverrideError::Signature(s.validator));
            }
        }
        Ok(remaining.into_iter().filter(|key| !self.signatures.iter().any(|s| s.validator == *key)).collect())
    }

    /// As [`Self::check_signed_so_far`], and that all remaining validators have signed.
    pub fn check(&self, genesis: B256, set: &ValidatorSet) -> Result<(), OverrideError> {
        let missing = self.check_signed_so_far(genesis, set)?;
        if missing.is_empty() { Ok(()) } else { Err(OverrideError::Missing(missing)) }
    }

    /// Whether a height is one of the two that are decided by all that remain.
    #[must_use]
    pub fn covers(&self, height: Height) -> bool {
        height == self.height || height == self.height.next()
    }

    /// The set that votes at a height: `set` itself but for the two heights of the override.
    pub fn applied(&self, height: Height, set: &ValidatorSet) -> Result<ValidatorSet, SetError> {
        if self.covers(height) { set.without(&self.lost, height == self.height) } else { Ok(set.clone()) }
    }
}

mod signature_hex {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use super::{Signature, hex};

    pub(super) fn serialize<S: Serializer>(signature: &Signature, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&hex::encode(signature.0))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Signature, D::Error> {
        let text = String::deserialize(d)?;
        let mut bytes = [0; 64];
        hex::decode_to_slice(&text, &mut bytes).map_err(|_| D::Error::custom("a signature must be 64 bytes in hex"))?;
        Ok(Signature(bytes))
    }
}
