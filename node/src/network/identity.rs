//! Who this node is on the network, and how a validator shows that a connection belongs to its key.

use basalt_primitives::{B256, PublicKey, SecretKey, Signature, layout::Layout};
use libp2p::{PeerId, identity};

/// The node's network identity: its Ed25519 node key. Peers know it by the peer id that follows from the key.
#[derive(Clone)]
pub struct Identity {
    keypair: identity::Keypair,
}

impl Identity {
    /// The identity of a node key.
    #[must_use]
    pub fn new(key: &SecretKey) -> Self {
        // `ed25519_from_bytes` clears the copy it is given, and fails only for a length other than 32.
        let mut seed = key.to_bytes();
        let keypair = identity::Keypair::ed25519_from_bytes(&mut seed[..]).expect("a seed has 32 bytes");
        Self { keypair }
    }

    /// The peer id.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.keypair.public().to_peer_id()
    }

    pub(super) fn keypair(&self) -> identity::Keypair {
        self.keypair.clone()
    }
}

/// The peer id of a node's public key, as it stands in peer addresses.
#[must_use]
pub fn peer_id_of(key: &PublicKey) -> Option<PeerId> {
    let key = identity::ed25519::PublicKey::try_from_bytes(&key.0).ok()?;
    Some(identity::PublicKey::from(key).to_peer_id())
}

/// A validator's signed word that a peer id speaks for its key. Bound to the chain and to the peer id, so it is
/// worth nothing to anyone else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValidatorProof {
    /// The validator's consensus key.
    pub public_key: PublicKey,
    /// Its signature over the fixed layout.
    pub signature: Signature,
}

impl ValidatorProof {
    /// Signs the proof for a peer id.
    #[must_use]
    pub fn sign(key: &SecretKey, genesis: &B256, peer: &PeerId) -> Self {
        Self { public_key: key.public_key(), signature: key.sign(&proof_bytes(genesis, peer)) }
    }

    /// Whether it holds for this chain and peer id.
    #[must_use]
    pub fn verify(&self, genesis: &B256, peer: &PeerId) -> bool {
        self.public_key.verify(&proof_bytes(genesis, peer), &self.signature)
    }
}

fn proof_bytes(genesis: &B256, peer: &PeerId) -> Vec<u8> {
    let mut l = Layout::new("basalt/validator-peer/v1");
    l.fixed(&genesis.0).bytes(&peer.to_bytes());
    l.as_slice().to_vec()
}
