//! What the command line says of nodes and ends.

use anyhow::{Context as _, bail};
use basalt_primitives::{
    B256, PublicKey,
    system::{
        permission::{Role, Until},
        validators::{MAX_NAME, name_word},
    },
};
use clap::Args;

use super::file_of;
use crate::{clock, keys, network::PeerId};

/// How long an entry holds; without end if nothing is said.
#[derive(Debug, Default, Args)]
pub(in crate::cmd) struct End {
    /// The last block at which it holds.
    #[arg(long)]
    until_height: Option<u64>,
    /// How long it holds from now on, such as 90d, 12h, 30m or 45s.
    #[arg(long)]
    valid_for: Option<String>,
}

impl End {
    pub(super) fn until(&self) -> anyhow::Result<Until> {
        let time_s = match &self.valid_for {
            None => 0,
            Some(text) => clock::wall_ms() / 1000 + seconds(text)?,
        };
        Ok(Until { height: self.until_height.unwrap_or(0), time_s })
    }
}

/// The seconds of a text such as `90d`.
pub(super) fn seconds(text: &str) -> anyhow::Result<u64> {
    let bad = || format!("`{text}` is no length of time; write it as 90d, 12h, 30m or 45s");
    let unit = match text.chars().last() {
        Some('d') => 86_400,
        Some('h') => 3_600,
        Some('m') => 60,
        Some('s') => 1,
        _ => bail!(bad()),
    };
    let count: u64 = text[..text.len() - 1].parse().with_context(bad)?;
    count.checked_mul(unit).filter(|s| *s > 0 && *s < 1 << 40).with_context(bad)
}

/// A node as it is proposed.
#[derive(Debug, Args)]
pub(in crate::cmd) struct NodeEntry {
    /// Its node key: peer id, public key (hex) or key file.
    pub(super) node_key: String,
    /// What it may do: validator, full, observer or gateway.
    #[arg(long)]
    role: String,
    /// Its name, at most 32 bytes.
    #[arg(long)]
    name: String,
    /// The organisation it belongs to.
    #[arg(long)]
    organisation: Option<String>,
    /// The validator key it speaks for (hex or key file), if its role is validator.
    #[arg(long)]
    validator_key: Option<String>,
    #[command(flatten)]
    end: End,
}

/// A [`NodeEntry`], checked.
pub(super) struct Entry {
    pub(super) key: PublicKey,
    pub(super) role: Role,
    pub(super) name: String,
    pub(super) organisation: Option<B256>,
    pub(super) validator: Option<PublicKey>,
    pub(super) until: Until,
}

impl NodeEntry {
    pub(super) fn check(&self) -> anyhow::Result<Entry> {
        let role: Role = self.role.parse().map_err(anyhow::Error::msg)?;
        let validator = self.validator_key.as_deref().map(public_key).transpose()?;
        match (role, &validator) {
            (Role::Validator, None) => {
                bail!("a node of the role validator speaks for a validator: give --validator-key")
            }
            (Role::Validator, Some(_)) | (_, None) => {}
            (_, Some(_)) => bail!("only a node of the role validator has a --validator-key"),
        }
        Ok(Entry {
            key: public_key(&self.node_key)?,
            role,
            name: name(&self.name)?.to_owned(),
            organisation: self.organisation.as_deref().map(organisation).transpose()?,
            validator,
            until: self.end.until()?,
        })
    }
}

/// A name that the contract can hold.
pub(super) fn name(text: &str) -> anyhow::Result<&str> {
    if text.is_empty() || text.len() > MAX_NAME || text.chars().any(char::is_control) {
        bail!("a name has 1 to {MAX_NAME} bytes and no control characters");
    }
    Ok(text)
}

/// An organisation by its name.
pub(super) fn organisation(text: &str) -> anyhow::Result<B256> {
    Ok(name_word(name(text)?))
}

/// A public key: of a key file, hex, or in a peer id.
pub(super) fn public_key(text: &str) -> anyhow::Result<PublicKey> {
    if let Some(path) = file_of(text) {
        return Ok(keys::public_key(&path)?);
    }
    if let Some(key) = text.parse::<PeerId>().ok().and_then(|peer| key_of_peer(&peer)) {
        return Ok(key);
    }
    let bytes = hex::decode(text.strip_prefix("0x").unwrap_or(text)).ok().and_then(|b| <[u8; 32]>::try_from(b).ok());
    bytes.map(PublicKey).with_context(|| {
        format!("`{text}` is neither a peer id, nor 64 hex digits of a public key, nor a key file that exists")
    })
}

/// The Ed25519 key in a peer id: an identity multihash (0x00, 36 bytes) of the key's protobuf encoding.
fn key_of_peer(peer: &PeerId) -> Option<PublicKey> {
    let bytes = peer.to_bytes();
    let key = bytes.strip_prefix(&[0x00, 0x24, 0x08, 0x01, 0x12, 0x20])?;
    Some(PublicKey(key.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use basalt_primitives::SecretKey;

    use super::*;
    use crate::network::Identity;

    #[test]
    fn keys_are_read_from_peer_ids_and_hex() {
        let key = SecretKey::from_bytes(&[7; 32]);
        let public = key.public_key();
        assert_eq!(public_key(&Identity::new(&key).peer_id().to_string()).expect("a peer id"), public);
        assert_eq!(public_key(&format!("0x{}", hex::encode(public.0))).expect("hex"), public);
        assert!(public_key("nonsense").is_err());
    }

    #[test]
    fn lengths_of_time_are_read() {
        assert_eq!(seconds("90d").expect("days"), 90 * 86_400);
        assert_eq!(seconds("45s").expect("seconds"), 45);
        for bad in ["", "d", "5", "-1d", "0s", "99999999999999999999d", "18446744073709551615d", "1é"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
