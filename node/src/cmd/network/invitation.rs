//! An invitation: what a node needs to find a network and to know that it is the right one. It admits nobody by itself: the
//! node's key must be on the network's list.

use std::{fs, path::Path};

use anyhow::{Context as _, bail};
use basalt_primitives::{B256, Height, PublicKey};
use serde::{Deserialize, Serialize};

use crate::network::PeerAddr;

/// What an invitation's text begins with when it is one string.
const PREFIX: &str = "basalt-invitation:";
/// The only format there is.
const FORMAT: u32 = 1;
/// Longer is no invitation.
const MAX_BYTES: u64 = 64 * 1024;
/// More nobody needs to find the way.
const MAX_BOOTNODES: usize = 32;

/// A block that must be on the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::cmd) struct Checkpoint {
    pub height: Height,
    pub hash: B256,
}

/// The way into a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::cmd) struct Invitation {
    pub format: u32,
    /// Name of the network, for people.
    pub network: String,
    /// Whether its keys may be plain.
    pub development: bool,
    /// Hash of the genesis block: which network it is.
    pub genesis: B256,
    /// Members to ask, each with its identity.
    pub bootnodes: Vec<String>,
    pub checkpoint: Checkpoint,
    /// What the node will be: validator, full, observer or gateway.
    pub role: String,
    /// The node key it is for, if that was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<PublicKey>,
    /// Seconds since 1970 after which it is refused.
    pub expires: u64,
}

impl Invitation {
    /// One string.
    pub fn to_text(&self) -> anyhow::Result<String> {
        Ok(format!("{PREFIX}{}", hex::encode(serde_json::to_string(self)?)))
    }

    /// Of a file, or of the text itself.
    pub fn read(given: &str) -> anyhow::Result<Self> {
        if given.starts_with(PREFIX) {
            return Self::parse(given);
        }
        let path = Path::new(given);
        let about = || format!("cannot read the invitation {given}");
        if fs::metadata(path).with_context(about)?.len() > MAX_BYTES {
            bail!("{given} is too long to be an invitation");
        }
        Self::parse(&fs::read_to_string(path).with_context(about)?).with_context(|| given.to_owned())
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let text = text.trim();
        let json = match text.strip_prefix(PREFIX) {
            Some(hex) => hex::decode(hex).context("the invitation was cut or changed on its way; ask for it again")?,
            None => text.as_bytes().to_vec(),
        };
        let invitation: Self =
            serde_json::from_slice(&json).context("this is no invitation; make one with `basalt permission invite`")?;
        if invitation.format != FORMAT {
            bail!("the invitation has format {}, and this version reads {FORMAT}; update basalt", invitation.format);
        }
        if invitation.bootnodes.is_empty() || invitation.bootnodes.len() > MAX_BOOTNODES {
            bail!("the invitation names {} bootnodes; it needs 1 to {MAX_BOOTNODES}", invitation.bootnodes.len());
        }
        invitation.peers()?;
        Ok(invitation)
    }

    /// The bootnodes, all with their identity.
    pub fn peers(&self) -> anyhow::Result<Vec<PeerAddr>> {
        let peer = |text: &String| {
            let peer: PeerAddr = text.parse()?;
            if peer.peer_id.is_none() {
                bail!("the bootnode {text} has no identity; end it in /p2p/ID");
            }
            Ok(peer)
        };
        self.bootnodes.iter().map(peer).collect()
    }

    /// Whether it may still be used, by this node.
    pub fn check(&self, now_s: u64, key: &PublicKey) -> anyhow::Result<()> {
        if now_s > self.expires {
            bail!("the invitation has expired; ask for a new one");
        }
        match self.node {
            Some(node) if node != *key => bail!(
                "the invitation is for the node key {node}, and this node's is {key}; give that one with --node-key, or ask for \
                 an invitation for this one"
            ),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use basalt_primitives::SecretKey;

    use super::*;
    use crate::network::Identity;

    fn invitation() -> Invitation {
        let peer = Identity::new(&SecretKey::from_bytes(&[1; 32])).peer_id();
        Invitation {
            format: FORMAT,
            network: "test".into(),
            development: false,
            genesis: B256::repeat_byte(1),
            bootnodes: vec![format!("/ip4/127.0.0.1/tcp/1/p2p/{peer}")],
            checkpoint: Checkpoint { height: Height(7), hash: B256::repeat_byte(2) },
            role: "full".into(),
            node: None,
            expires: 1000,
        }
    }

    #[test]
    fn an_invitation_survives_its_way_and_damage_is_refused() {
        let i = invitation();
        let text = i.to_text().expect("plain data");
        assert_eq!(Invitation::read(&text).expect("reads"), i);
        assert_eq!(Invitation::parse(&serde_json::to_string(&i).expect("plain data")).expect("reads"), i);
        for bad in [&text[..text.len() - 1], &text[..text.len() - 2], "basalt-invitation:", "{}", ""] {
            assert!(Invitation::parse(bad).is_err(), "{bad}");
        }
        let anonymous = Invitation { bootnodes: vec!["/ip4/127.0.0.1/tcp/1".into()], ..i.clone() };
        let e = Invitation::parse(&anonymous.to_text().expect("plain data")).expect_err("no identity");
        assert!(e.to_string().contains("has no identity"), "{e}");
        let none = Invitation { bootnodes: Vec::new(), ..i };
        assert!(Invitation::parse(&none.to_text().expect("plain data")).is_err());
    }

    #[test]
    fn an_old_invitation_or_anothers_is_refused() {
        let key = |n| SecretKey::from_bytes(&[n; 32]).public_key();
        let mine = Invitation { node: Some(key(1)), ..invitation() };
        assert!(mine.check(1000, &key(1)).is_ok());
        assert!(mine.check(1001, &key(1)).expect_err("late").to_string().contains("has expired"));
        assert!(mine.check(1000, &key(2)).expect_err("another's").to_string().contains("is for the node key"));
    }
}
